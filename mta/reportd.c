/*
 * reportd: counts how TLS with other servers went, and tells the domains that ask for it once a
 * day (RFC 8460).
 *
 *	relayd --seen--> tls.db --a day later--> TXT _smtp._tls.DOMAIN -> mailto: submitd
 *	                                                               -> https:  fetchd
 *
 * A report that cannot be handed over is tried again every hour, for a day. Two rows of one
 * day and domain never make two reports, unless the admin asks for what there is at once.
 * It holds counts of other people's domains and nothing else.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/client/dns.h"
#include "lib/client/fetch.h"
#include "lib/client/submit.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"
#include "mta/tlsrpt_store.h"

#define ARENA_MAX (32u << 20)
#define DAY_S 86400
#define COMMIT_MS 1000
#define LOOK_MS 60000
#define RETRY_S 3600
#define TRIES 24u
#define POST_MS 60000
#define BATCH 50u  /* reports in a turn */

static struct metric seen = METRIC_COUNTER("tls_sessions_total", NULL,
    "TLS sessions with other servers that were counted for reports");
#define REPORTS(result)                                                                            \
	METRIC_COUNTER("tls_reports_total", "result=\"" result "\"", "Reports about TLS, by what became of them")
static struct metric sent = REPORTS("sent");
static struct metric unwanted = REPORTS("unwanted");
static struct metric deferred = REPORTS("deferred");
static struct metric failed = REPORTS("failed");
static struct metric planned = METRIC_GAUGE("tls_reports_planned", NULL,
    "Reports about TLS that are not sent yet");

static struct {
	struct service *service;
	struct loop *loop;
	struct tlsrpt_store *store;
	struct timer commit, look;
	bool committing, sending, stopping;
} reportd;

static const struct settings *
settings(void)
{
	return service_settings(reportd.service);
}

static int64_t
now_s(void)
{
	return (int64_t)(clock_real_us() / 1000000);
}

static void
db_failed(const char *what)
{
	LOG_ERROR("tlsrpt.database_failed", L_C("what", what));
}

/* ---- counting ---- */

static void
commit(void *arg)
{
	(void)arg;
	reportd.committing = false;
	if (tlsrpt_store_commit(reportd.store))
		db_failed("commit");
}

static void
commit_soon(void)
{
	if (reportd.committing)
		return;
	reportd.committing = true;
	loop_timer(reportd.loop, &reportd.commit, COMMIT_MS, commit, NULL);
}

static void
on_seen(struct peer *p, struct frame *f)
{
	struct tls_seen v;
	struct wire_error e = { .code = -EPROTO, .text = STR("not what was seen") };
	struct buf none = { 0 };
	int r = tls_seen_get(f->body, &v);

	if (r) {
		chan_answer_error(p, f->id, f->type, &e);
		return;
	}
	r = settings()->tls_report ? tlsrpt_store_add(reportd.store, now_s() / DAY_S, &v) : 0;
	if (r && r != -ENOSPC)
		db_failed("count");
	metric_add(&seen, 1);
	commit_soon();
	chan_answer(p, f->id, f->type, &none, -1);
}

/* ---- a report ---- */

struct sending {
	struct arena *a;
	struct tlsrpt_due due;
	struct tlsrpt_report r;
	struct buf gzip;
	unsigned done, refused, later; /* of its destinations */
};

static struct str
random_hex(struct arena *a)
{
	unsigned char bytes[12];
	struct buf b = { 0 };
	struct str s;

	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		panic("no random bytes");
	hex_put(&b, str_from(bytes, sizeof bytes));
	s = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return s;
}

static struct str
or_postmaster(struct str set, struct arena *a)
{
	return set.n ? set : arena_printf(a, "postmaster@%.*s", STR_ARG(settings()->hostname));
}

/* The id is the same when the report is tried again. */
static void
describe(struct sending *s)
{
	const struct settings *c = settings();
	int64_t begin = s->due.day * DAY_S, end = begin + DAY_S - 1;

	s->r.domain = s->due.domain;
	s->r.submitter = c->hostname;
	s->r.organization = c->tls_report_organization.n ? c->tls_report_organization : c->hostname;
	s->r.contact = or_postmaster(c->tls_report_contact, s->a);
	s->r.begin_s = (uint64_t)begin;
	s->r.end_s = (uint64_t)(end < now_s() ? end : now_s());
	s->r.id = arena_printf(s->a, "%lld.%.*s@%.*s", (long long)begin, STR_ARG(s->r.domain),
	    STR_ARG(s->r.submitter));
}

static void
log_sent(const struct sending *s, struct str uri, unsigned code, struct str text)
{
	LOG_INFO("tlsrpt.report", L_STR("domain", s->r.domain), L_STR("to", uri),
	    L_U64("policies", s->r.n_policies), L_U64("code", code), L_STR("text", text));
}

static void
send_mail(struct sending *s, struct str uri)
{
	struct str to, from = or_postmaster(settings()->tls_report_sender, s->a);
	struct submit_request q = { .sender = from, .rcpts = &to, .n_rcpts = 1, .notify = NOTIFY_NEVER };
	struct submit_answer v = { 0 };
	struct buf text = { 0 };
	int r = tlsrpt_mailto(uri, s->a, &to);

	if (r) {
		s->refused++;
		log_sent(s, uri, 0, STR("no address"));
		return;
	}
	tlsrpt_message(&text, &s->r, from, to, arena_printf(s->a, "=_%.*s", STR_ARG(random_hex(s->a))),
	    buf_view(&s->gzip));
	q.content = buf_view(&text);
	q.dedup_key = arena_printf(s->a, "tlsrpt %.*s %lld %.*s", STR_ARG(s->r.id),
	    (long long)s->r.end_s, STR_ARG(to));
	r = text.over ? -ENOMEM : submit_message(&q, s->a, &v);
	buf_done(&text);
	if (r || v.smtp / 100 == 4)
		s->later++;
	else if (v.smtp / 100 == 2)
		s->done++;
	else
		s->refused++;
	log_sent(s, uri, v.smtp, r ? STR("no answer of submitd") : v.text);
}

static void
send_post(struct sending *s, struct str uri)
{
	struct fetch_request q = { .post = true, .url = uri, .type = STR("application/tlsrpt+gzip"),
		.body = buf_view(&s->gzip), .max_bytes = 64 << 10, .timeout_ms = POST_MS };
	struct fetch_answer v = { 0 };
	int r = fetch(&q, s->a, &v);

	if (!r && v.status == FETCH_OK && v.http / 100 == 2)
		s->done++;
	else if (!r && ((v.status == FETCH_OK && v.http / 100 == 4) || v.status == FETCH_REFUSED))
		s->refused++;
	else
		s->later++;
	log_sent(s, uri, v.http, r ? STR("no answer of fetchd") : v.why);
}

/* Where the domain wants its reports: 1 and the URIs, 0: nowhere, negative: not known now. */
static int
destinations(struct sending *s, struct str ret[static TLSRPT_RUA_MAX], size_t *ret_n)
{
	struct str name = arena_printf(s->a, "_smtp._tls.%.*s", STR_ARG(s->due.domain));
	struct dns_texts t = { 0 };
	size_t n = 0, at = 0;

	if (dns_txt(name, s->a, &t) || t.from.status == DNS_FAILED || t.from.status == DNS_BOGUS)
		return -EAGAIN;
	for (size_t i = 0; i < t.n; i++)
		if (tlsrpt_record_is(t.v[i])) {
			n++;
			at = i;
		}
	return n == 1 && !tlsrpt_record_get(t.v[at], ret, ret_n);
}

/* Whether it is over with the report. */
static bool
deliver(struct sending *s)
{
	struct str uri[TLSRPT_RUA_MAX];
	size_t n = 0;
	int r = destinations(s, uri, &n);

	if (!r) {
		metric_add(&unwanted, 1);
		return true;
	}
	describe(s);
	if (r < 0 || tlsrpt_store_read(reportd.store, &s->due, s->a, &s->r) ||
	    tlsrpt_gzip(&s->gzip, &s->r))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (str_istarts(uri[i], STR("mailto:")))
			send_mail(s, uri[i]);
		else
			send_post(s, uri[i]);
	}
	metric_add(&sent, s->done > 0 && !s->later);
	metric_add(&failed, !s->done && !s->later);
	return !s->later;
}

static void
send_one(struct sending *s)
{
	bool over = deliver(s);

	if (!over && s->due.tries + 1 >= TRIES) {
		LOG_WARN("tlsrpt.given_up", L_STR("domain", s->due.domain));
		metric_add(&failed, 1);
		over = true;
	}
	if (over ? tlsrpt_store_drop(reportd.store, &s->due) :
	    tlsrpt_store_later(reportd.store, &s->due, now_s() + RETRY_S))
		db_failed("report");
	metric_add(&deferred, !over);
	commit_soon();
}

/* ---- when ---- */

/* All that are due, one after the other, on a coroutine. */
static void
send_due(void *arg)
{
	int r = 1;

	(void)arg;
	for (unsigned i = 0; i < BATCH && r > 0 && !reportd.stopping; i++) {
		struct sending s = { .a = arena_new(ARENA_MAX) };

		r = s.a ? tlsrpt_store_due(reportd.store, now_s(), s.a, &s.due) : -ENOMEM;
		if (r > 0)
			send_one(&s);
		else if (r < 0)
			db_failed("due");
		buf_done(&s.gzip);
		arena_free(&s.a);
	}
	reportd.sending = false;
}

static void
start_sending(void)
{
	if (reportd.sending || reportd.stopping)
		return;
	reportd.sending = !co_spawn(reportd.loop, "reports", send_due, NULL);
}

static void
plan(int64_t before, uint64_t spread_s)
{
	uint64_t n = 0;

	if (tlsrpt_store_plan(reportd.store, before, now_s(), spread_s) ||
	    tlsrpt_store_planned(reportd.store, &n))
		db_failed("plan");
	metric_set(&planned, (int64_t)n);
	commit_soon();
}

static void
look(void *arg)
{
	(void)arg;
	if (settings()->tls_report) {
		plan(now_s() / DAY_S, settings()->tls_report_spread_ms / 1000);
		start_sending();
	}
	loop_timer(reportd.loop, &reportd.look, LOOK_MS, look, NULL);
}

/* The admin: of all days, today's so far too, without waiting. */
static void
on_now(struct peer *p, struct frame *f)
{
	struct buf none = { 0 };

	plan(INT64_MAX, 0);
	if (tlsrpt_store_hurry(reportd.store, now_s()))
		db_failed("hurry");
	start_sending();
	chan_answer(p, f->id, f->type, &none, -1);
}

/* ---- the program ---- */

static struct confine_spec confinement = { .kind = CONFINE_STORE, .max_fds = 1024 };

static int
reportd_init(struct service *s, struct err *e)
{
	const struct settings *c = service_settings(s);
	const char *dir = arena_cstr(c->arena, c->reports_dir);

	reportd.service = s;
	if (!dir)
		return err_set(e, -ENOMEM, "out of memory");
	confinement.paths[0] = (struct confine_path){ dir, true };
	return tlsrpt_store_open(dir, &reportd.store, e);
}

static int
reportd_start(struct service *s, struct err *e)
{
	(void)e;
	reportd.loop = service_loop(s);
	look(NULL);
	return 0;
}

static void
reportd_stop(struct service *s)
{
	reportd.stopping = true;
	if (!reportd.sending)
		tlsrpt_store_close(&reportd.store);
	else if (tlsrpt_store_commit(reportd.store))
		db_failed("commit");
	service_stopped(s);
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_TLS_SEEN, "seen", on_seen, 0 },
		{ MSG_TLS_REPORT_NOW, "now", on_now, 0 },
	};
	static const struct service_spec spec = {
		.role = ROLE_REPORTD,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = reportd_init,
		.start = reportd_start,
		.stop = reportd_stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
