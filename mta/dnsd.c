/*
 * dnsd: looks names up for the house. A frame brings some questions; each goes to the
 * resolver (resolver.h), and when all have their answers, or time is up, one frame answers.
 *
 *	frame -> request -> question, question, ... -> resolver
 *	                 <- answer,   answer,   ... <-   its cache, or the servers
 *
 * There are two resolvers where the settings say `validate auto`: one that validates and
 * one that does not. Until the first has been seen to get the root's keys validated (the probe),
 * the second answers, and nothing counts as secure: a server that drops what DNSSEC takes must
 * not stop all mail. Once it has worked, validation stays on. Requests that come
 * before the first probe has ended wait for it.
 *
 * A question never outlives its time: what the resolver has not found out by then is answered as failed.
 * A reload with other DNS settings makes new resolvers; the old ones end when nothing
 * waits for them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"
#include "mta/resolver.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define PROBE_MS 3000         /* the first one, for which requests wait */
#define PROBE_AGAIN_MS 15000  /* doubled up to PROBE_AGAIN_MAX_MS */
#define PROBE_AGAIN_MAX_MS 600000

#define QUESTIONS(status)                                                                          \
	METRIC_COUNTER("dns_questions_total", "status=\"" status "\"", "Questions by the status of their answers")
static struct metric by_status[] = {
	[DNS_OK] = QUESTIONS("ok"), [DNS_NODATA] = QUESTIONS("nodata"),
	[DNS_NXDOMAIN] = QUESTIONS("nxdomain"), [DNS_FAILED] = QUESTIONS("failed"),
	[DNS_BOGUS] = QUESTIONS("bogus"),
};
static struct metric seconds = METRIC_HISTOGRAM("dns_seconds", NULL, "Time per request");
static struct metric waiting = METRIC_GAUGE("dns_waiting", NULL, "Questions that wait for an answer");
static struct metric validating = METRIC_GAUGE("dns_validating", NULL,
    "Whether answers are validated by DNSSEC");

/* A resolver and what watches it. */
struct source {
	struct watch w;
	struct resolver *r;
	struct list link; /* in dnsd.retired: goes when nothing waits */
};

struct question {
	struct resolver_ask ask;
	struct request *req;
	struct str name;
	uint16_t type;
	bool done;
};

struct request {
	struct list link;  /* in dnsd.held */
	struct peer *peer;
	uint64_t id;
	struct arena *arena;
	struct timer timer;
	uint64_t began_us;
	size_t n, left;
	bool starting;     /* its questions are being walked over: not to be answered yet */
	struct question q[DNS_QUESTIONS_MAX];
	struct dns_answer v[DNS_QUESTIONS_MAX];
};

static struct {
	struct loop *loop;
	const struct settings *settings;
	struct arena *arena;
	struct str system[RESOLVER_SERVERS]; /* of resolv.conf, read once */
	size_t n_system;
	struct source *plain, *validating;   /* either may be NULL, not both */
	struct source *current;              /* who is asked */
	struct list retired;
	unsigned waiting;                    /* questions */
	uint64_t refused_ms;                 /* when it was last logged */

	struct resolver_ask probe;
	struct timer probe_timer;
	uint64_t probe_again_ms;
	bool probed;                         /* the first probe has ended */
	struct list held;                    /* requests until then */
} dnsd;

/* ---- resolvers ---- */

static void
source_free(void *arg)
{
	struct source *s = arg;

	resolver_free(&s->r);
	free(s);
}

/* Ends the retired ones for which nothing waits. */
static void
retired_look(void)
{
	struct source *s, *next;

	LIST_FOREACH_SAFE(s, next, &dnsd.retired, struct source, link) {
		if (resolver_waiting(s->r))
			continue;
		list_remove(&s->link);
		loop_unwatch(dnsd.loop, &s->w);
		loop_defer(dnsd.loop, source_free, s);
	}
}

static void
source_readable(struct watch *w, uint32_t events)
{
	struct source *s = (struct source *)((char *)w - offsetof(struct source, w));

	(void)events;
	resolver_process(s->r);
	retired_look();
}

static struct source *
source_new(const struct settings *c, bool validate, struct err *e)
{
	struct resolver_spec spec = resolver_spec_of(c, (struct resolver_list){ dnsd.system,
	    dnsd.n_system });
	struct source *s = calloc(1, sizeof *s);

	if (!s) {
		err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	spec.validate = validate;
	s->r = resolver_new(&spec, e);
	s->w = (struct watch){ .fn = source_readable, .fd = s->r ? resolver_fd(s->r) : -1 };
	if (s->r && !loop_watch_level(dnsd.loop, &s->w, e))
		return s;
	source_free(s);
	return NULL;
}

static void
source_retire(struct source **at)
{
	struct source *s = *at;

	*at = NULL;
	if (!s)
		return;
	list_push(&dnsd.retired, &s->link);
	retired_look();
}

/* ---- answering ---- */

static void
request_answer(struct request *q)
{
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };

	loop_timer_clear(dnsd.loop, &q->timer);
	dns_answers_put(&b, q->v, q->n);
	if (b.over) {
		struct wire_error e = { .code = -ENOMEM, .text = STR("the answers are too long") };

		chan_answer_error(q->peer, q->id, MSG_DNS_ASK, &e);
	} else {
		chan_answer(q->peer, q->id, MSG_DNS_ASK, &b, -1);
	}
	buf_done(&b);
	metric_observe_us(&seconds, clock_us() - q->began_us);
	dnsd.waiting -= (unsigned)q->n;
	metric_set(&waiting, dnsd.waiting);
	chan_peer_unref(&q->peer);
	arena_free(&q->arena);
}

/* A copy that lives as long as the request. */
static struct dns_answer
answer_keep(struct arena *a, const struct dns_answer *v)
{
	struct dns_answer k = *v;

	k.canonical = arena_dup(a, v->canonical);
	k.why = arena_dup(a, v->why);
	k.rdata = ARENA_ARRAY(a, struct str, v->n + 1);
	for (size_t i = 0; k.rdata && i < v->n; i++)
		k.rdata[i] = arena_dup(a, v->rdata[i]);
	if (!k.rdata || !k.canonical.p || (v->n && !k.rdata[v->n - 1].p))
		return (struct dns_answer){ .status = DNS_FAILED, .why = STR("out of memory") };
	return k;
}

static void
question_done(struct question *q, const struct dns_answer *v)
{
	struct request *req = q->req;

	q->done = true;
	req->v[q - req->q] = answer_keep(req->arena, v);
	metric_add(&by_status[v->status], 1);
	if (v->status == DNS_BOGUS)
		LOG_WARN("dns.bogus", L_STR("name", q->name), L_U64("type", q->type), L_STR("why", v->why));
	else if (v->status == DNS_FAILED)
		LOG_DEBUG("dns.failed", L_STR("name", q->name), L_U64("type", q->type), L_STR("why", v->why));
	if (--req->left == 0 && !req->starting)
		request_answer(req);
}

static void
question_answered(void *arg, const struct dns_answer *v)
{
	question_done(arg, v);
}

static void
question_fail(struct question *q, const char *why)
{
	struct dns_answer v = { .status = DNS_FAILED, .canonical = q->name, .why = str_c(why) };

	question_done(q, &v);
}

static void
request_timed_out(void *arg)
{
	struct request *req = arg;

	list_remove(&req->link);
	req->starting = true;
	for (size_t i = 0; i < req->n; i++) {
		resolver_cancel(&req->q[i].ask);
		if (!req->q[i].done)
			question_fail(&req->q[i], "no answer in time");
	}
	request_answer(req);
	retired_look();
}

/* Hands the questions to the resolver. */
static void
request_start(struct request *req)
{
	req->starting = true;
	for (size_t i = 0; i < req->n; i++) {
		struct question *q = &req->q[i];
		int r;

		q->ask.fn = question_answered;
		q->ask.arg = q;
		r = resolver_ask(dnsd.current->r, &q->ask, q->name, q->type);
		if (r)
			question_fail(q, r == -EINVAL ? "not a name" : "out of memory");
	}
	req->starting = false;
	if (req->left == 0)
		request_answer(req);
}

static struct request *
request_new(struct peer *p, const struct frame *f, const struct dns_question *q, size_t n)
{
	struct arena *a = arena_new(0);
	struct request *req = a ? ARENA_NEW(a, struct request) : NULL;

	if (!req) {
		arena_free(&a);
		return NULL;
	}
	*req = (struct request){ .peer = chan_peer_ref(p), .id = f->id, .arena = a,
		.began_us = clock_us(), .n = n, .left = n };
	for (size_t i = 0; i < n; i++) {
		req->q[i].req = req;
		req->q[i].type = q[i].type;
		req->q[i].name = arena_dup(a, q[i].name);
	}
	dnsd.waiting += (unsigned)n;
	metric_set(&waiting, dnsd.waiting);
	return req;
}

static void
refuse(struct peer *p, const struct frame *f, int code, const char *text)
{
	struct wire_error e = { .code = code, .text = str_c(text) };

	chan_answer_error(p, f->id, f->type, &e);
}

static void
on_ask(struct peer *p, struct frame *f)
{
	struct dns_question q[DNS_QUESTIONS_MAX];
	struct request *req = NULL;
	size_t n = 0;

	if (dns_questions_get(f->body, q, &n)) {
		refuse(p, f, -EPROTO, "not questions");
		return;
	}
	if (dnsd.waiting + n <= dnsd.settings->dns_questions)
		req = request_new(p, f, q, n);
	else if (!dnsd.refused_ms || clock_ms() - dnsd.refused_ms > 60000) {
		dnsd.refused_ms = clock_ms();
		LOG_WARN("dns.full", L_U64("waiting", dnsd.waiting));
	}
	if (!req) {
		refuse(p, f, -EAGAIN, "too many questions wait");
		return;
	}
	loop_timer(dnsd.loop, &req->timer, dnsd.settings->dns_timeout_ms, request_timed_out, req);
	if (dnsd.probed)
		request_start(req);
	else
		list_push(&dnsd.held, &req->link);
}

/* ---- the probe ---- */

static void probe(void *arg);

static void
use(struct source *s)
{
	dnsd.current = s;
	metric_set(&validating, s == dnsd.validating);
}

/* The first probe has ended, or takes too long: those that waited for it go on. */
static void
probe_over(void)
{
	struct list *l;

	dnsd.probed = true;
	while ((l = list_pop(&dnsd.held)))
		request_start(LIST_ENTRY(l, struct request, link));
}

static void
probe_again(const char *why)
{
	if (!dnsd.probed)
		LOG_WARN("dns.not_validating", L_C("why", why));
	probe_over();
	loop_timer(dnsd.loop, &dnsd.probe_timer, dnsd.probe_again_ms, probe, NULL);
	dnsd.probe_again_ms = dnsd.probe_again_ms * 2 < PROBE_AGAIN_MAX_MS ? dnsd.probe_again_ms * 2 :
	    PROBE_AGAIN_MAX_MS;
}

static void
probe_answered(void *arg, const struct dns_answer *v)
{
	char why[200];

	(void)arg;
	loop_timer_clear(dnsd.loop, &dnsd.probe_timer);
	if (v->secure) {
		LOG_INFO("dns.validating", L_C("from", "now on"));
		use(dnsd.validating);
		source_retire(&dnsd.plain);
		probe_over();
		return;
	}
	snprintf(why, sizeof why, "%.*s", STR_ARG(v->why));
	probe_again(*why ? why : "the root's keys did not come");
}

static void
probe_late(void *arg)
{
	(void)arg;
	resolver_cancel(&dnsd.probe);
	probe_again("no server answered");
}

static void
probe(void *arg)
{
	(void)arg;
	dnsd.probe.fn = probe_answered;
	if (resolver_ask(dnsd.validating->r, &dnsd.probe, STR("."), DNS_DNSKEY))
		probe_again("out of memory");
	else
		loop_timer(dnsd.loop, &dnsd.probe_timer, dnsd.probed ? 4 * PROBE_MS : PROBE_MS, probe_late, NULL);
}

/* ---- settings ---- */

static void
log_servers(const struct settings *c)
{
	struct resolver_spec spec = resolver_spec_of(c, (struct resolver_list){ dnsd.system,
	    dnsd.n_system });
	struct buf b = { 0 };

	for (size_t i = 0; i < spec.servers.n; i++)
		buf_printf(&b, "%s%.*s", i ? ", " : "", STR_ARG(spec.servers.v[i]));
	LOG_INFO("dns.servers", L_STR("servers", b.n ? buf_view(&b) : STR("those of the root")),
	    L_C("from", c->n_dns_servers ? "settings" : RESOLV_CONF));
	buf_done(&b);
}

/* Makes the resolvers that the settings ask for, in place of what there was. */
static int
take(const struct settings *c, struct err *e)
{
	bool want_plain = c->dns_validate == CONF_VALIDATE_OFF ||
	    (c->dns_validate == CONF_VALIDATE_AUTO && !c->n_dns_anchors);
	bool want_validating = c->dns_validate != CONF_VALIDATE_OFF;
	struct source *p = want_plain ? source_new(c, false, e) : NULL;
	struct source *v = want_validating && (p || !want_plain) ? source_new(c, true, e) : NULL;

	if ((want_plain && !p) || (want_validating && !v)) {
		source_retire(&p);
		return e->code;
	}
	resolver_cancel(&dnsd.probe);
	loop_timer_clear(dnsd.loop, &dnsd.probe_timer);
	source_retire(&dnsd.plain);
	source_retire(&dnsd.validating);
	dnsd.plain = p;
	dnsd.validating = v;
	dnsd.settings = c;
	dnsd.probe_again_ms = PROBE_AGAIN_MS;
	use(p ? p : v);
	log_servers(c);
	return 0;
}

/* Once confined: the library starts its thread with the first question. */
static void
begin(void)
{
	dnsd.probed = !dnsd.plain || !dnsd.validating;
	if (!dnsd.probed)
		probe(NULL);
	else
		probe_over();
}

static bool
same_dns(const struct settings *a, const struct settings *b)
{
	return strs_eq(a->dns_servers, a->n_dns_servers, b->dns_servers, b->n_dns_servers) &&
	    strs_eq(a->dns_records, a->n_dns_records, b->dns_records, b->n_dns_records) &&
	    strs_eq(a->dns_zones, a->n_dns_zones, b->dns_zones, b->n_dns_zones) &&
	    strs_eq(a->dns_anchors, a->n_dns_anchors, b->dns_anchors, b->n_dns_anchors) &&
	    a->dns_validate == b->dns_validate;
}

static void
dnsd_config(struct service *s, const struct settings *c)
{
	struct err e;

	(void)s;
	if (same_dns(c, dnsd.settings))
		dnsd.settings = c;
	else if (take(c, &e))
		LOG_ERROR("dns.settings_refused", L_C("text", e.text));
	else
		begin();
}

static int
dnsd_init(struct service *s, struct err *e)
{
	dnsd.loop = service_loop(s);
	dnsd.arena = arena_new(0);
	list_init(&dnsd.held);
	list_init(&dnsd.retired);
	if (!dnsd.arena)
		return err_set(e, -ENOMEM, "out of memory");
	resolver_root_keys();
	dnsd.n_system = resolver_system_servers(RESOLV_CONF, dnsd.arena, dnsd.system);
	return take(service_settings(s), e);
}

static int
dnsd_start(struct service *s, struct err *e)
{
	(void)s;
	(void)e;
	begin();
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_DNS_ASK, "ask", on_ask, 0 },
	};
	static const struct confine_spec confinement = { .kind = CONFINE_RESOLVE, .max_fds = 4096 };
	static const struct service_spec spec = {
		.role = ROLE_DNSD,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = dnsd_init,
		.start = dnsd_start,
		.config = dnsd_config,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
