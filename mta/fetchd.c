/*
 * fetchd: asks web servers for the house (lib/client/fetch.h), and knows the MTA-STS policies of
 * domains (lib/client/sts.h). Whom it may ask is looked at twice: the addresses that the DNS
 * gave, and each address again when a socket is made for it.
 */
#include "mta/fetchd.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/fd.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/client/dns.h"
#include "lib/proc/metrics.h"
#include "mta/http.h"

#define ARENA_MAX (4u << 20)
#define CA_MAX (8u << 20)
#define ACTIVE_MAX 200u  /* requests at a time */

#define REQUESTS(status)                                                                           \
	METRIC_COUNTER("fetch_requests_total", "status=\"" status "\"", "Requests to web servers, by how they ended")
static struct metric by_status[] = {
	[FETCH_OK] = REQUESTS("ok"), [FETCH_REFUSED] = REQUESTS("refused"),
	[FETCH_NO_HOST] = REQUESTS("no-host"), [FETCH_NO_CONNECTION] = REQUESTS("no-connection"),
	[FETCH_TLS] = REQUESTS("tls"), [FETCH_TIMEOUT] = REQUESTS("timeout"),
	[FETCH_TOO_LONG] = REQUESTS("too-long"), [FETCH_BROKEN] = REQUESTS("broken"),
};
static struct metric seconds = METRIC_HISTOGRAM("fetch_seconds", NULL,
    "Time that requests to web servers took");
static struct metric going = METRIC_GAUGE("fetch_active", NULL, "Requests that wait for web servers");

static struct {
	struct service *service;
	struct http *http;
	unsigned active;
} fetchd;

const struct settings *
fetchd_settings(void)
{
	return service_settings(fetchd.service);
}

/* ---- a request ---- */

/* Settings that a reload replaces live on, so that the thread may look at them. */
static bool
may_public(void *arg, const struct sockaddr *addr)
{
	const struct settings *s = arg;

	return fetch_address_public(addr, &s->fetch_private_nets);
}

static bool
may_any(void *arg, const struct sockaddr *addr)
{
	(void)arg;
	return addr->sa_family == AF_INET || addr->sa_family == AF_INET6;
}

static void
fail(struct fetch_answer *v, enum fetch_status status, struct str why)
{
	*v = (struct fetch_answer){ .status = status, .why = why };
}

static bool
is_clean(const struct fetch_request *q)
{
	bool clean = !ascii_has_control(q->type);

	for (size_t i = 0; clean && i < q->n_headers; i++)
		clean = !ascii_has_control(q->headers[i]);
	return clean;
}

/* Keeps the addresses that may be connected to; false when there are none, and v says why. */
static bool
find_addresses(struct http_call *c, struct arena *a, struct fetch_answer *v)
{
	struct dns_addresses d = { 0 };
	size_t n = 0;

	if (c->to->literal)
		return true;
	if (dns_addresses(c->to->host, DNS_IPV4 | DNS_IPV6, a, &d))
		d.from.status = DNS_FAILED;
	if (d.from.status != DNS_OK || !d.n) {
		fail(v, FETCH_NO_HOST, arena_printf(a, "no address of %.*s: %s", STR_ARG(c->to->host),
		    dns_status_name(d.from.status)));
		return false;
	}
	for (size_t i = 0; i < d.n; i++)
		if (c->may(c->arg, (const struct sockaddr *)&d.v[i]))
			d.v[n++] = d.v[i];
	if (!n)
		fail(v, FETCH_REFUSED, arena_printf(a, "%.*s has no public address",
		    STR_ARG(c->to->host)));
	c->addresses = d.v;
	c->n_addresses = n;
	return n > 0;
}

static void
ask(const struct fetch_request *q, struct arena *a, struct fetch_answer *ret)
{
	struct http_target to;
	struct http_call c = { .q = q, .to = &to, .may = q->trusted ? may_any : may_public,
		.arg = (void *)fetchd_settings(), .default_port = fetchd_settings()->fetch_https_port };

	if (!is_clean(q) || http_target(q->url, q->trusted, a, &to))
		fail(ret, FETCH_REFUSED, STR("no URL that may be asked"));
	else if (fetchd.active >= ACTIVE_MAX)
		fail(ret, FETCH_REFUSED, STR("too many requests at a time"));
	else if (find_addresses(&c, a, ret))
		http_run(fetchd.http, &c, a, ret);
}

void
fetchd_ask(const struct fetch_request *q, struct arena *a, struct fetch_answer *ret)
{
	uint64_t began = clock_us();

	metric_set(&going, ++fetchd.active);
	ask(q, a, ret);
	metric_set(&going, --fetchd.active);
	metric_add(&by_status[ret->status], 1);
	metric_observe_us(&seconds, clock_us() - began);
}

/* The URL without what may be secret in it. */
static struct str
shown(struct str url)
{
	ptrdiff_t at = str_chr(url, '?');

	return str_head(url, at < 0 ? 200 : at < 200 ? (size_t)at : 200);
}

static void
on_fetch(struct peer *p, struct frame *f)
{
	struct arena *a = arena_new(ARENA_MAX);
	struct fetch_request q;
	struct fetch_answer v = { 0 };
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };
	struct wire_error e = { .code = -ENOMEM, .text = STR("out of memory") };
	int r = a ? fetch_request_get(f->body, a, &q) : -ENOMEM;

	if (!r) {
		q.trusted = q.trusted && chan_peer_role(p) == ROLE_AUTHD;
		fetchd_ask(&q, a, &v);
		LOG_INFO("fetch.done", L_C("for", role_name(chan_peer_role(p))), L_STR("url", shown(q.url)),
		    L_C("status", fetch_status_name(v.status)), L_U64("http", v.http),
		    L_U64("bytes", v.body.n), L_STR("why", v.why));
		fetch_answer_put(&b, &v);
		r = b.over ? -ENOMEM : 0;
	}
	if (r == -EPROTO)
		e = (struct wire_error){ .code = r, .text = STR("not a request") };
	if (r)
		chan_answer_error(p, f->id, f->type, &e);
	else
		chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&b);
	arena_free(&a);
}

/* ---- the program ---- */

static int
fetchd_init(struct service *s, struct err *e)
{
	const struct settings *c = service_settings(s);
	const char *path = arena_cstr(c->arena, c->fetch_ca_file);
	struct buf pem = { .max = CA_MAX };
	int r = fetch_sts_init(c, e);

	fetchd.service = s;
	if (r)
		return r;
	if (!path || fd_read_file(path, &pem) || !pem.n)
		LOG_WARN("fetch.no_authorities", L_STR("file", c->fetch_ca_file));
	fetchd.http = http_new(buf_view(&pem), e);
	buf_done(&pem);
	return fetchd.http ? 0 : e->code;
}

static int
fetchd_start(struct service *s, struct err *e)
{
	int r = http_start(fetchd.http, service_loop(s), e);

	return r ? r : fetch_sts_start(service_loop(s), e);
}

static void
fetchd_stop(struct service *s)
{
	fetch_sts_stop();
	service_stopped(s);
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_FETCH, "fetch", on_fetch, MSG_CO },
		{ MSG_FETCH_STS, "sts", fetch_sts_answer, MSG_CO },
	};
	static const struct confine_spec confinement = { .kind = CONFINE_FETCH, .max_fds = 4096 };
	static const struct service_spec spec = {
		.role = ROLE_FETCHD,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = fetchd_init,
		.start = fetchd_start,
		.stop = fetchd_stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
