/*
 * bounced: tells senders what became of their mail. queued brings an event of a
 * message (lib/client/bounce.h); bounced writes the notification (report.h) and
 * brings it to the inner door of the spool like any other mail of the house's:
 *
 *	queued --notify--> bounced --submit, null sender--> submitd --> queued
 *
 * It answers when the notification is durable. Spool id, event and sender are the
 * deduplication key, so that an event that is asked again after a crash is told once.
 *
 * No notification answers another: a message without a sender gets one to the
 * double-bounce-address at most, marked ENV_NOTICE, and of that nobody is told.
 *
 * It holds nothing and opens nothing: all it sees are messages and what other
 * servers said of them.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/client/submit.h"
#include "lib/mail/path.h"
#include "lib/mail/word.h"
#include "lib/proc/metrics.h"
#include "lib/proc/service.h"
#include "mta/report.h"

#define ARENA_MAX (16u << 20)
#define ACTIVE_MAX 64u          /* notifications that are made at a time */
#define NOTICE_MAX (64u << 20)  /* bytes of one */

#define HELP "Notifications by what became of them"
static struct metric sent = METRIC_COUNTER("bounce_notifications_total", "result=\"sent\"", HELP);
static struct metric deferred = METRIC_COUNTER("bounce_notifications_total", "result=\"deferred\"", HELP);
static struct metric refused = METRIC_COUNTER("bounce_notifications_total", "result=\"refused\"", HELP);
static struct metric dropped = METRIC_COUNTER("bounce_notifications_total", "result=\"dropped\"", HELP);
#define RCPT_HELP "Recipients that were told of, by what became of them"
static struct metric told[BOUNCE_ACTION_MAX] = {
	[BOUNCE_FAILED] = METRIC_COUNTER("bounce_recipients_total", "action=\"failed\"", RCPT_HELP),
	[BOUNCE_DELAYED] = METRIC_COUNTER("bounce_recipients_total", "action=\"delayed\"", RCPT_HELP),
	[BOUNCE_DELIVERED] = METRIC_COUNTER("bounce_recipients_total", "action=\"delivered\"", RCPT_HELP),
	[BOUNCE_RELAYED] = METRIC_COUNTER("bounce_recipients_total", "action=\"relayed\"", RCPT_HELP),
	[BOUNCE_EXPANDED] = METRIC_COUNTER("bounce_recipients_total", "action=\"expanded\"", RCPT_HELP),
};
static struct metric bad_frames = METRIC_COUNTER("bounce_bad_frames_total", NULL, "Malformed requests");
static struct metric seconds = METRIC_HISTOGRAM("bounce_seconds", NULL, "Time from request to answer");

static struct {
	struct service *service;
	unsigned active;
	bool stopping;
} bounced;

/* One event on its way. */
struct event {
	struct peer *peer;
	struct arena *arena;
	struct bounce_request req;
	struct str message;
	void *map;               /* of the message, or NULL */
	struct str to;           /* whom the notification goes to */
	struct report report;
	struct bounce_answer answer;
};

static const struct settings *
settings(void)
{
	return service_settings(bounced.service);
}

static bool
end(struct event *v, enum bounce_outcome outcome, unsigned smtp, struct str enhanced, struct str text)
{
	v->answer = (struct bounce_answer){ .outcome = outcome, .smtp = smtp, .enhanced = enhanced,
		.text = text };
	return false;
}

/* ---- the steps: each goes on, or has filled the answer ---- */

static bool
step_to(struct event *v)
{
	if (v->req.flags & ENV_NOTICE)
		return end(v, BOUNCE_DROPPED, 0, STR(""), STR("a notice to the postmaster failed"));
	if (v->req.kind == BOUNCE_POSTMASTER)
		v->to = settings()->double_bounce_address;
	else
		v->to = v->req.sender;
	if (!v->to.n)
		return end(v, BOUNCE_DROPPED, 0, STR(""), v->req.kind == BOUNCE_POSTMASTER ?
		    STR("double-bounce-address is none") : STR("the message has no sender"));
	return true;
}

static bool
step_message(struct event *v, int fd)
{
	struct stat st;
	void *p;

	v->message = v->req.content;
	if (fd < 0)
		return true;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
		return end(v, BOUNCE_TEMPFAIL, 451, STR("4.3.0"), STR("the message cannot be read"));
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return end(v, BOUNCE_TEMPFAIL, 451, STR("4.3.0"), STR("the message cannot be read"));
	v->map = p;
	v->message = str_from(p, (size_t)st.st_size);
	return true;
}

/* This system's name as DNS has it, since fields of reports are ASCII. */
static struct str
dns_name(struct str hostname, struct arena *a)
{
	struct str ret;

	return path_domain(hostname, PATH_UTF8, a, &ret) ? STR("localhost") : ret;
}

static bool
step_report(struct event *v)
{
	const struct settings *s = settings();
	unsigned char random[16];
	struct buf b = { 0 };

	if (getrandom(random, sizeof random, 0) != sizeof random)
		panic("no random bytes");
	buf_puts(&b, "=_");
	hex_put(&b, str_from(random, sizeof random));
	v->report = (struct report){
		.request = &v->req,
		.message = v->message,
		.hostname = dns_name(s->hostname, v->arena),
		.to = v->to,
		.boundary = arena_dup(v->arena, buf_view(&b)),
		.now_us = clock_real_us(),
		.return_limit = s->bounce_size_limit,
		.words = { s->bounce_text_failed, s->bounce_text_delayed, s->bounce_text_success,
		    s->bounce_contact },
	};
	buf_done(&b);
	if (!str_ieq(v->to, STR("postmaster")))
		return true;
	v->report.to = arena_printf(v->arena, "postmaster@%.*s", STR_ARG(v->report.hostname));
	return true;
}

/* One try: 0 and *ret, or negative without an answer. */
static int
submit(struct event *v, struct submit_answer *ret)
{
	struct buf notice = { .max = NOTICE_MAX };
	struct submit_request r = {
		.rcpts = &v->to,
		.n_rcpts = 1,
		.notify = NOTIFY_NEVER,
		.flags = (v->req.flags & ENV_REQUIRETLS) |
		    (v->req.kind == BOUNCE_POSTMASTER ? ENV_NOTICE : 0),
		.dedup_key = arena_printf(v->arena, "%016llx.%llu.%u.%.*s",
		    (unsigned long long)v->req.spool_id, (unsigned long long)v->req.event,
		    (unsigned)v->req.kind, STR_ARG(v->req.sender)),
	};
	int rc = -ENOMEM;

	report_put(&notice, &v->report, v->arena);
	r.content = buf_view(&notice);
	if (!notice.over)
		rc = submit_message(&r, v->arena, ret);
	buf_done(&notice);
	return rc;
}

static bool
step_submit(struct event *v)
{
	struct submit_answer a = { 0 };
	int rc = submit(v, &a);

	/* too large for this system, or what is returned is not to its taste: without it */
	if (!rc && (a.smtp == 552 || a.smtp == 554)) {
		v->report.bare = true;
		rc = submit(v, &a);
	}
	if (rc < 0)
		return end(v, BOUNCE_TEMPFAIL, 451, STR("4.3.0"), STR("submitd gave no answer"));
	if (a.smtp >= 500)
		return end(v, v->req.kind == BOUNCE_SENDER ? BOUNCE_REFUSED : BOUNCE_DROPPED, a.smtp,
		    a.enhanced, a.text);
	if (a.smtp >= 400)
		return end(v, BOUNCE_TEMPFAIL, a.smtp, a.enhanced, a.text);
	v->answer = (struct bounce_answer){ .outcome = BOUNCE_SENT, .spool_id = a.spool_id };
	return true;
}

/* ---- a request ---- */

static void
note_sent(const struct event *v)
{
	for (size_t i = 0; i < v->req.n_rcpts; i++)
		metric_add(&told[v->req.rcpts[i].action], 1);
	LOG_INFO("bounce.sent", L_HEX("qid", v->req.spool_id), L_STR("sid", v->req.trace),
	    L_HEX("notice", v->answer.spool_id), L_U64("event", v->req.event), L_STR("to", v->to),
	    L_U64("action", report_action(&v->req)), L_U64("rcpts", v->req.n_rcpts),
	    L_STR("rcpt", str_head(v->req.rcpts[0].address, 256)));
}

static void
note(const struct event *v, uint64_t us)
{
	const struct bounce_answer *a = &v->answer;
	static const struct {
		struct metric *count;
		const char *event;
	} kinds[] = {
		[BOUNCE_TEMPFAIL] = { &deferred, "bounce.deferred" },
		[BOUNCE_REFUSED] = { &refused, "bounce.refused" },
		[BOUNCE_DROPPED] = { &dropped, "bounce.dropped" },
	};

	metric_observe_us(&seconds, us);
	if (a->outcome == BOUNCE_SENT) {
		metric_add(&sent, 1);
		note_sent(v);
		return;
	}
	metric_add(kinds[a->outcome].count, 1);
	LOG_INFO(kinds[a->outcome].event, L_HEX("qid", v->req.spool_id), L_STR("sid", v->req.trace),
	    L_U64("event", v->req.event), L_STR("to", str_head(v->to, 256)), L_U64("code", a->smtp),
	    L_STR("enhanced", a->enhanced), L_STR("reason", str_head(a->text, 256)));
}

static void
answer(struct peer *p, const struct frame *f, const struct bounce_answer *a)
{
	struct buf b = { 0 };

	bounce_answer_put(&b, a);
	chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&b);
}

static void
bad_frame(struct peer *p, const struct frame *f, int code)
{
	struct wire_error we = { .code = code, .text = STR("malformed request") };

	metric_add(&bad_frames, 1);
	LOG_WARN("bounce.bad_frame", L_C("from", role_name(chan_peer_role(p))),
	    L_U64("instance", chan_peer_instance(p)));
	chan_answer_error(p, f->id, f->type, &we);
}

static void
run(struct event *v, const struct frame *f)
{
	uint64_t start = clock_us();

	if (step_to(v) && step_message(v, f->fd) && step_report(v))
		step_submit(v);
	note(v, clock_us() - start);
	answer(v->peer, f, &v->answer);
	if (v->map)
		munmap(v->map, v->message.n);
}

static void
notify(struct peer *p, struct frame *f)
{
	struct event v = { .peer = p };
	int rc;

	if (bounced.active >= ACTIVE_MAX || bounced.stopping || !(v.arena = arena_new(ARENA_MAX))) {
		end(&v, BOUNCE_TEMPFAIL, 451, STR("4.3.2"), STR("too busy"));
		metric_add(&deferred, 1);
		answer(p, f, &v.answer);
	} else if ((rc = bounce_request_get(f->body, v.arena, &v.req))) {
		bad_frame(p, f, rc);
	} else {
		bounced.active++;
		run(&v, f);
		bounced.active--;
	}
	arena_free(&v.arena);
	if (f->fd >= 0)
		close(f->fd);
}

/* ---- the process ---- */

static int
bounced_init(struct service *s, struct err *e)
{
	int missing = charset_preload();

	(void)e;
	bounced.service = s;
	if (missing)
		LOG_WARN("bounce.charsets_missing", L_I64("count", missing));
	return 0;
}

/* What was begun gets its answer. */
static void
bounced_stop(struct service *s)
{
	bounced.stopping = true;
	service_finish(s, &bounced.active, NULL);
}

int
main(int argc, char **argv)
{
	static const struct msg_handler handlers[] = {
		{ MSG_BOUNCE_NOTIFY, "notify", notify, MSG_CO },
	};
	static const struct confine_spec confinement = { .kind = CONFINE_PURE, .max_fds = 1024 };
	static const struct service_spec spec = {
		.role = ROLE_BOUNCED,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = bounced_init,
		.stop = bounced_stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
