/*
 * relayd: sends messages to other servers by SMTP and LMTP. queued says what to send
 * where; relayd finds the servers, sends, and says what became of each recipient. It
 * keeps connections for a few seconds, and nothing else.
 *
 *	request -> route -> [idle connection] -> hosts, addresses -> connect -> send -> answer
 *
 * A host that cannot be reached, does not greet, or closes before the text has gone to
 * it makes room for the next one; what is said about a recipient or a message holds.
 */
#include "mta/relayd.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fd.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"

#define ARENA_MAX (8u << 20)
#define CA_MAX (8u << 20)

struct relayd relayd;
static struct service *self;

static struct metric done = METRIC_COUNTER("relay_recipients_total", "result=\"sent\"",
    "Recipients by what other servers said");
static struct metric deferred = METRIC_COUNTER("relay_recipients_total", "result=\"deferred\"",
    "Recipients by what other servers said");
static struct metric rejected = METRIC_COUNTER("relay_recipients_total", "result=\"rejected\"",
    "Recipients by what other servers said");
static struct metric going = METRIC_GAUGE("relay_deliveries", NULL,
    "Messages that are being sent to other servers");
static struct metric seconds = METRIC_HISTOGRAM("relay_seconds", NULL,
    "Time that sending a message to other servers took");

/* ---- faults ---- */

enum fault_kind
fault_set(struct fault *f, enum fault_kind kind, struct arena *a, unsigned smtp,
    const char *enhanced, const char *fmt, ...)
{
	char text[RELAY_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	f->kind = kind;
	f->result = (struct relay_result){
		.outcome = smtp >= 500 ? RELAY_REJECT : RELAY_TEMPFAIL,
		.smtp = smtp,
		.enhanced = str_c(enhanced),
		.text = arena_dup(a, str_c(text)),
	};
	return kind;
}

enum fault_kind
fault_reply(struct fault *f, enum fault_kind kind, struct arena *a, const struct reply *r,
    const char *mta)
{
	struct str e = reply_enhanced(r);
	bool permanent = reply_class(r) == 5;

	f->kind = kind;
	f->reached = true;
	f->result = (struct relay_result){
		.outcome = permanent ? RELAY_REJECT : RELAY_TEMPFAIL,
		.smtp = permanent || reply_class(r) == 4 ? r->code : 451,
		.enhanced = e.n && (permanent || reply_class(r) == 4) ? arena_dup(a, e) :
		    permanent ? STR("5.0.0") : STR("4.0.0"),
		.text = reply_text(r, a),
		.mta = arena_dup(a, str_c(mta)),
		.remote = true,
	};
	return kind;
}

/* ---- a delivery ---- */

struct delivery {
	struct relay_request q;
	struct arena *a;
	int fd;
	uint64_t began_us, deadline_ms;
	struct relay_route route;
	struct str key;
	struct relay_answer ans;
	struct fault fault;          /* the last of this try */
	struct fault worst;          /* what the open recipients will get */
	unsigned tried;
	bool reached;
	char address[RELAY_ADDRESS_TEXT];
	char tls[16];
	bool verified;
};

static bool
is_open(const struct delivery *d)
{
	for (size_t i = 0; i < d->ans.n_rcpts; i++)
		if (!d->ans.rcpts[i].outcome)
			return true;
	return false;
}

static void
fill_open(struct delivery *d, const struct relay_result *r)
{
	for (size_t i = 0; i < d->ans.n_rcpts; i++)
		if (!d->ans.rcpts[i].outcome)
			d->ans.rcpts[i] = *r;
}

/* A host was of no use: what it said stands unless another may be tried later with hope. */
static void
note_fault(struct delivery *d, struct str host)
{
	d->reached |= d->fault.reached;
	LOG_INFO("relay.host_failed", L_HEX("qid", d->q.spool_id), L_STR("host", host),
	    L_C("ip", d->address), L_U64("smtp", d->fault.result.smtp),
	    L_STR("enhanced", d->fault.result.enhanced), L_STR("text", d->fault.result.text));
	if (!d->worst.kind || d->fault.result.outcome == RELAY_TEMPFAIL)
		d->worst = d->fault;
}

/* Sends over c: whether the delivery is over. */
static bool
send_over(struct delivery *d, struct relay_conn **cp, bool *ret_untouched)
{
	struct relay_conn *c = *cp;
	const struct tls_info *tls = stream_tls(c->s);
	enum fault_kind k;

	relay_address_text(&c->addr, d->address);
	snprintf(d->tls, sizeof d->tls, "%s", tls ? tls->version : "");
	d->verified = c->verified;
	c->deadline_ms = d->deadline_ms;
	d->fault = (struct fault){ .reached = true };
	k = relay_send(c, &d->q, d->fd, d->a, d->ans.rcpts, &d->fault, ret_untouched);
	d->reached |= !*ret_untouched;
	if (k == FAULT_MESSAGE)
		fill_open(d, &d->fault.result);
	if (k == FAULT_HOST && !*ret_untouched)
		note_fault(d, str_c(c->host));
	relay_conn_done(cp, d->key);
	return !is_open(d);
}

static bool
try_idle(struct delivery *d)
{
	struct relay_conn *c;
	bool untouched;

	while ((c = relay_conn_take(d->key))) {
		d->ans.reused = true;
		if (send_over(d, &c, &untouched))
			return true;
		if (!untouched)
			return false;
		d->ans.reused = false; /* it had gone stale: as if it had not been there */
	}
	return false;
}

static bool
may_go_on(const struct delivery *d)
{
	return d->tried < relayd.s->relay_host_limit && clock_ms() < d->deadline_ms;
}

/* One address of a host: whether the delivery is over. */
static bool
try_address(struct delivery *d, const struct relay_host *h, const struct sockaddr_storage *addr,
    const struct relay_policy *p)
{
	struct relay_conn *c;
	bool untouched;

	d->tried++;
	d->fault = (struct fault){ 0 };
	relay_address_text(addr, d->address);
	switch (relay_connect(&d->q, &d->route, h, addr, p, d->a, &c, &d->fault)) {
	case FAULT_MESSAGE:
		fill_open(d, &d->fault.result);
		return true;
	case FAULT_HOST:
		note_fault(d, h->name);
		return false;
	case FAULT_NONE:
		break;
	}
	d->reached = true;
	if (send_over(d, &c, &untouched))
		return true;
	if (untouched)
		note_fault(d, h->name);
	return false;
}

static bool
try_host(struct delivery *d, const struct relay_host *h)
{
	struct relay_addresses ad;
	struct relay_policy p;
	bool loop;

	d->fault = (struct fault){ 0 };
	*d->address = 0;
	if (relay_addresses(&d->route, h, d->a, &ad, &loop, &d->fault)) {
		if (loop && d->tried) /* better hosts were there, and did not work */
			d->fault = d->worst;
		else
			note_fault(d, h->name);
		return loop;
	}
	if (relay_policy(&d->q, &d->route, h, &ad, d->a, &p, &d->fault)) {
		if (d->fault.seen)
			relay_report(&d->route, h, NULL, NULL, &d->fault);
		note_fault(d, h->name);
		return false;
	}
	for (size_t i = 0; i < ad.n && may_go_on(d); i++)
		if (try_address(d, h, &ad.v[i], &p))
			return true;
	return false;
}

static void
deliver(struct delivery *d)
{
	if (relay_route(&d->q, d->a, &d->route, &d->fault)) {
		fill_open(d, &d->fault.result);
		return;
	}
	d->ans.site = d->route.site;
	d->ans.site_ttl_ms = d->route.ttl_ms;
	if (relay_sts(&d->q, d->a, &d->route, &d->fault)) {
		fill_open(d, &d->fault.result);
		return;
	}
	d->key = relay_policy_key(&d->q, &d->route, d->a);
	if (!try_idle(d))
		for (size_t i = 0; i < d->route.n && may_go_on(d); i++)
			if (try_host(d, &d->route.hosts[i]))
				break;
	if (!d->worst.kind)
		fault_set(&d->worst, FAULT_MESSAGE, d->a, 451, "4.4.1", "no server could be tried");
	fill_open(d, &d->worst.result);
	d->ans.unreachable = !d->reached;
	d->ans.sessions = relay_conn_open(d->key);
}

/* ---- what is said about it ---- */

/* Whether the server asks to be left alone for a while; greylisting is not that. */
static bool
is_throttled(const struct relay_result *r)
{
	static const char *const asks[] = { "rate limit", "too many", "throttl", "too fast",
		"slow down", "limit exceeded", "exceeded the limit", "temporarily deferred" };

	if (r->outcome != RELAY_TEMPFAIL || !r->remote || str_ifind(r->text, STR("reylist")) >= 0)
		return false;
	if (r->smtp == 421 || str_starts(r->enhanced, STR("4.7.")))
		return true;
	for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
		if (str_ifind(r->text, str_c(asks[i])) >= 0)
			return true;
	return false;
}

static void
count_results(struct delivery *d, unsigned n[static RELAY_REJECT + 1])
{
	for (size_t i = 0; i < d->ans.n_rcpts; i++) {
		const struct relay_result *r = &d->ans.rcpts[i];

		n[r->outcome]++;
		d->ans.throttled |= is_throttled(r);
	}
	metric_add(&done, n[RELAY_DONE]);
	metric_add(&deferred, n[RELAY_TEMPFAIL]);
	metric_add(&rejected, n[RELAY_REJECT]);
}

/* The result that the log line shows: the first of the worst kind. */
static const struct relay_result *
worst_result(const struct delivery *d)
{
	const struct relay_result *w = &d->ans.rcpts[0];

	for (size_t i = 1; i < d->ans.n_rcpts; i++)
		if (d->ans.rcpts[i].outcome > w->outcome)
			w = &d->ans.rcpts[i];
	return w;
}

static void
log_delivery(struct delivery *d)
{
	unsigned n[RELAY_REJECT + 1] = { 0 };
	const struct relay_result *w = worst_result(d);
	uint64_t us = clock_us() - d->began_us;

	count_results(d, n);
	metric_observe_us(&seconds, us);
	LOG_INFO("relay.tried", L_HEX("qid", d->q.spool_id), L_STR("sid", d->q.trace),
	    L_STR("domain", d->q.domain), L_STR("host", w->mta), L_C("ip", d->address),
	    L_C("tls", d->tls), L_U64("verified", d->verified), L_U64("sent", n[RELAY_DONE]),
	    L_U64("deferred", n[RELAY_TEMPFAIL]), L_U64("rejected", n[RELAY_REJECT]),
	    L_U64("smtp", w->smtp), L_STR("text", w->text), L_U64("reused", d->ans.reused),
	    L_U64("ms", us / 1000));
}

static void
on_deliver(struct peer *p, struct frame *f)
{
	struct delivery d = { .a = arena_new(ARENA_MAX), .fd = f->fd, .began_us = clock_us() };
	struct buf b = { 0 };
	int rc = d.a ? relay_request_get(f->body, d.a, &d.q) : -ENOMEM;

	if (!rc && d.fd < 0 && d.q.size != d.q.content.n)
		rc = -EPROTO;
	d.ans.n_rcpts = d.q.n_rcpts;
	if (!rc && !(d.ans.rcpts = ARENA_ARRAY(d.a, struct relay_result, d.q.n_rcpts)))
		rc = -ENOMEM;
	if (rc) {
		struct wire_error e = { .code = rc, .text = STR("no delivery") };

		chan_answer_error(p, f->id, f->type, &e);
	} else {
		metric_set(&going, ++relayd.deliveries);
		d.deadline_ms = clock_ms() + relayd.s->relay_time_limit_ms;
		deliver(&d);
		log_delivery(&d);
		relay_answer_put(&b, &d.ans);
		chan_answer(p, f->id, f->type, &b, -1);
		metric_set(&going, --relayd.deliveries);
	}
	buf_done(&b);
	if (d.fd >= 0)
		close(d.fd);
	arena_free(&d.a);
	relayd_done();
}

/* ---- the program ---- */

/* The addresses of this machine, while it can ask. */
static void
learn_addresses(void)
{
	struct ifaddrs *list, *i;
	size_t n = 0;

	if (getifaddrs(&list))
		return;
	for (i = list; i; i = i->ifa_next)
		n++;
	relayd.own = calloc(n + 1, sizeof *relayd.own);
	for (i = list; i && relayd.own; i = i->ifa_next)
		if (i->ifa_addr && (i->ifa_addr->sa_family == AF_INET ||
		    i->ifa_addr->sa_family == AF_INET6))
			memcpy(&relayd.own[relayd.n_own++], i->ifa_addr,
			    i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
			    sizeof(struct sockaddr_in6));
	freeifaddrs(list);
}

static int
relayd_init(struct service *s, struct err *e)
{
	struct buf pem = { .max = CA_MAX };
	char *path;

	self = s;
	relayd.s = service_settings(s);
	path = arena_cstr(relayd.s->arena, relayd.s->relay_ca_file);
	learn_addresses();
	if (path)
		fd_read_file(path, &pem);
	if (pem.n && !pem.over)
		relayd.tls = tls_client_new(buf_view(&pem), false, e);
	relayd.has_authorities = relayd.tls != NULL;
	if (!relayd.tls) {
		LOG_WARN("relay.no_authorities", L_STR("file", relayd.s->relay_ca_file));
		relayd.tls = tls_client_new(STR_NULL, false, e);
	}
	buf_done(&pem);
	return relayd.tls ? 0 : e->code;
}

static int
relayd_start(struct service *s, struct err *e)
{
	(void)e;
	relayd.loop = service_loop(s);
	return 0;
}

static void
relayd_config(struct service *s, const struct settings *now)
{
	(void)s;
	relayd.s = now;
}

void
relayd_done(void)
{
	if (relayd.stopping && !relayd.deliveries && !relayd.farewells)
		service_stopped(self);
}

static void
relayd_stop(struct service *s)
{
	(void)s;
	relayd.stopping = true;
	relay_conn_close_all();
	relayd_done();
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_RELAY_DELIVER, "deliver", on_deliver, MSG_CO },
	};
	static const struct confine_spec confinement = { .kind = CONFINE_RELAY };
	static const struct service_spec spec = {
		.role = ROLE_RELAYD,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = relayd_init,
		.start = relayd_start,
		.config = relayd_config,
		.stop = relayd_stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
