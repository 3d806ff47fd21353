/*
 * Notifications by bounced, of recipients that failed or were delivered and whose fate
 * the sender is to be told, and of messages that take long. A recipient is final only
 * after bounced has said that the notification is durable.
 *
 * A notification is named by the message and a number. Recipients get theirs when the
 * job starts, all that have none the same (so that one notification tells of all that
 * failed together), and it stands in the log before bounced is asked: after a crash the
 * same recipients are told under the same number, which submitd knows then. The delay
 * notice is one for the whole message and has a number of its own.
 *
 * A copy with a sender of its own (of a list, or forwarded under another name) is that
 * sender's: its failure is told to him, apart from what is told to the message's sender
 * under the same number. He is told of no delay.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/client/bounce.h"
#include "lib/proc/metrics.h"
#include "mta/queued.h"

#define BOUNCE_MS 120000u
#define EVENT_DELAY UINT16_MAX

static struct metric sent = METRIC_COUNTER("queue_notifications_total", NULL,
    "Notifications of failed, delayed and delivered recipients");

bool
bounce_has_sender(const struct qmsg *m)
{
	return m->sender_n > 0;
}

static bool
is_owed(const struct qrcpt *r)
{
	return rcpt_is_owed((enum rcpt_state)r->state);
}

/* ---- answers ---- */

/* What an owed recipient becomes; it stays what it is when it must be told again. */
static enum rcpt_state
after(const struct qrcpt *r, enum bounce_outcome o)
{
	bool failed = r->state == RCPT_FAILED;

	switch (o) {
	case BOUNCE_SENT:
		return failed ? RCPT_BOUNCED : RCPT_DELIVERED;
	case BOUNCE_DROPPED:
		return failed ? RCPT_DROPPED : RCPT_DELIVERED;
	case BOUNCE_REFUSED:
		return failed ? RCPT_FAILED : RCPT_DELIVERED;
	case BOUNCE_TEMPFAIL:
		break;
	}
	return (enum rcpt_state)r->state;
}

static struct rcpt_result
result_of(const struct qmsg *m, uint32_t i, enum rcpt_state s)
{
	const struct qrcpt *r = &m->rcpts[i];
	struct rcpt_result res = { .index = i, .state = s, .event = r->event };

	if (r->why) {
		res.smtp = r->why->smtp;
		res.enhanced = r->why->enhanced;
		res.text = r->why->text;
		res.mta = r->why->mta;
	}
	return res;
}

static bool
goes_to_postmaster(const struct qmsg *m)
{
	return !bounce_has_sender(m) || m->flags & MSG_TO_POSTMASTER;
}

static void
log_told(const struct qmsg *m, bool own, const struct bounce_answer *ans, size_t n)
{
	static const char *const outcome[] = { "", "sent", "deferred", "refused", "dropped" };

	LOG_INFO("queue.notified", L_HEX("qid", m->id), L_C("outcome", outcome[ans->outcome]),
	    L_HEX("notice", ans->spool_id), L_STR("to", goes_to_postmaster(m) ? STR("postmaster") :
	    own ? STR("the sender of the copy") : qmsg_sender(m)), L_U64("rcpts", n), L_U64("smtp", ans->smtp), L_STR("text", ans->text));
	if (ans->outcome == BOUNCE_SENT)
		metric_add(&sent, 1);
}

/* The sender cannot be told: the postmaster is; nor he: nobody. */
static void
take_answer(struct dframe *df, const struct bounce_answer *ans)
{
	struct qjob *j = df->job;
	struct qmsg *m = j->m;
	enum bounce_outcome o = ans->outcome;
	struct queue_update u = { .results = calloc(df->n + 1u, sizeof *u.results) };

	if (!u.results)
		fatal("queue.memory", "no memory");
	log_told(m, df->n && m->rcpts[df->v[0]].flags & RCPT_OWN_SENDER, ans, df->n);
	if (o == BOUNCE_REFUSED && goes_to_postmaster(m))
		o = BOUNCE_DROPPED;
	if (o == BOUNCE_REFUSED) {
		u.set = MSG_TO_POSTMASTER;
		j->again = true;
	}
	for (uint32_t i = 0; i < df->n; i++) {
		struct qrcpt *r = &m->rcpts[df->v[i]];

		r->flags &= (uint8_t)~(RCPT_BUSY | RCPT_COVERED | RCPT_MAYBE_DONE);
		if (is_owed(r))
			u.results[u.n_results++] = result_of(m, df->v[i], after(r, o));
	}
	if (o != BOUNCE_TEMPFAIL)
		deliver_record(m, &u);
	free(u.results);
}

static void
on_answer(void *arg, int code, const struct frame *f)
{
	struct dframe *df = arg;
	struct qjob *j = df->job;
	struct bounce_answer ans;

	if (!code)
		code = bounce_answer_get(f->body, &ans);
	if (code) {
		deliver_lost(df, code);
	} else {
		j->d->fails = 0;
		take_answer(df, &ans);
	}
	free(df);
	deliver_frame_done(j);
}

/* Of a delay nobody need be told twice, nor the postmaster. */
static void
on_delay_answer(void *arg, int code, const struct frame *f)
{
	struct dframe *df = arg;
	struct qjob *j = df->job;
	struct queue_update u = { .set = MSG_DELAY_TOLD };
	struct bounce_answer ans;

	if (!code)
		code = bounce_answer_get(f->body, &ans);
	if (!code) {
		log_told(j->m, false, &ans, 0);
		if (ans.outcome != BOUNCE_TEMPFAIL && !j->m->gone)
			record_update(j->m, &u, false, NULL, NULL);
	} else if (code == -EPIPE || code == -ENOTCONN || code == -ETIMEDOUT) {
		dest_pause(j->d);
	}
	j->m->delay_due = j->m->delay_asked = false;
	free(df);
	deliver_frame_done(j);
}

/* ---- requests ---- */

static enum bounce_action
action_of(const struct qrcpt *r)
{
	switch (r->state) {
	case RCPT_TELL:
		return BOUNCE_DELIVERED;
	case RCPT_TELL_RELAYED:
		return BOUNCE_RELAYED;
	case RCPT_TELL_EXPANDED:
		return BOUNCE_EXPANDED;
	case RCPT_WAITING:
		return BOUNCE_DELAYED;
	}
	return BOUNCE_FAILED;
}

struct telling {
	struct qmsg *m;
	const struct mail *mail;
	struct envelope env;
	uint16_t event;
	struct str own;          /* sender of the copies that are told of; empty: the message's */
	struct bounce_request req;
};

static struct str
own_sender(const struct telling *t, uint32_t i)
{
	bool own = t->m->rcpts[i].flags & RCPT_OWN_SENDER && i < t->env.n_rcpts;

	return own ? t->env.rcpts[i].sender : STR_NULL;
}

static void
add_rcpt(struct telling *t, uint32_t i)
{
	static const struct envelope_rcpt none;
	const struct qrcpt *r = &t->m->rcpts[i];
	const struct envelope_rcpt *er = i < t->env.n_rcpts ? &t->env.rcpts[i] : &none;
	struct bounce_rcpt *b = &t->req.rcpts[t->req.n_rcpts++];

	*b = (struct bounce_rcpt){
		.address = qrcpt_address(t->m, r),
		.original = er->original,
		.orcpt = er->orcpt,
		.action = action_of(r),
	};
	if (r->why) {
		b->smtp = r->why->smtp;
		b->enhanced = r->why->enhanced;
		b->text = r->why->text;
		b->mta = r->why->mta;
	}
	if (r->state == RCPT_WAITING)
		b->will_retry_until_ms = t->m->born_s * UINT64_C(1000) +
		    queued.settings->queue_lifetime_ms;
}

/* A report is no binary message: it returns the header of one. */
static uint32_t
ret_of(const struct telling *t)
{
	if (t->env.body == ENV_BINARYMIME)
		return BOUNCE_RET_HDRS;
	return t->own.n ? 0 : t->env.ret;
}

static void
fill(struct telling *t, struct arena *a, uint32_t n)
{
	struct qmsg *m = t->m;

	t->req = (struct bounce_request){
		.kind = goes_to_postmaster(m) ? BOUNCE_POSTMASTER : BOUNCE_SENDER,
		.spool_id = m->id,
		.event = t->event,
		.sender = t->own.n ? t->own : qmsg_sender(m),
		.envid = t->own.n ? STR_NULL : t->env.envid,
		.ret = ret_of(t),
		.flags = m->env_flags,
		.arrived_us = m->arrived_us,
		.client_name = t->env.client_name,
		.client_ip = t->env.client_ip,
		.trace = qmsg_trace(m),
		.rcpts = ARENA_ARRAY(a, struct bounce_rcpt, n),
		.size = m->size,
		.content = t->mail->fd < 0 ? t->mail->bytes : STR_NULL,
	};
	if (!t->req.rcpts)
		fatal("queue.memory", "no memory");
}

static bool
ask(struct dframe *df, const struct telling *t, void (*fn)(void *, int, const struct frame *))
{
	struct buf b = { 0 };
	bool asked;

	bounce_request_put(&b, &t->req);
	asked = deliver_send(df, chan_to(ROLE_BOUNCED, 0), MSG_BOUNCE_NOTIFY, &b, t->mail->fd, BOUNCE_MS,
	    fn);
	buf_done(&b);
	return asked;
}

/* ---- events of recipients ---- */

/* Those of v that have this event and sender, at most what a frame takes (no event has
 * more). */
static uint32_t
of_event(const struct telling *t, const uint32_t *v, uint32_t n, uint32_t *out)
{
	const struct qmsg *m = t->m;
	uint32_t k = 0;

	for (uint32_t i = 0; i < n && k < BOUNCE_RCPTS_MAX; i++)
		if (m->rcpts[v[i]].event == t->event && !(m->rcpts[v[i]].flags & RCPT_BUSY) &&
		    str_eq(own_sender(t, v[i]), t->own))
			out[k++] = v[i];
	return k;
}

static void
tell_events(struct qjob *j, struct telling *t, struct arena *a)
{
	uint32_t n, k, *v = deliver_rcpts(j, &n), *some = calloc(n + 1u, sizeof *some);

	if (!some)
		fatal("queue.memory", "no memory");
	for (uint32_t i = 0; i < n; i++) {
		t->event = j->m->rcpts[v[i]].event;
		if (!t->event || j->m->rcpts[v[i]].flags & RCPT_BUSY)
			continue;
		t->own = own_sender(t, v[i]);
		k = of_event(t, v, n, some);
		fill(t, a, k);
		for (uint32_t r = 0; r < k; r++)
			add_rcpt(t, some[r]);
		ask(deliver_frame(j, some, k), t, on_answer);
	}
	free(some);
	free(v);
}

/* ---- delay ---- */

bool
bounce_wants_delay(const struct qrcpt *r)
{
	return r->state == RCPT_WAITING && !(r->flags & RCPT_OWN_SENDER) &&
	    (!r->notify || r->notify & NOTIFY_DELAY);
}

static void
tell_delay(struct qjob *j, struct telling *t, struct arena *a)
{
	struct qmsg *m = j->m;

	t->event = EVENT_DELAY;
	t->own = STR_NULL;
	fill(t, a, BOUNCE_RCPTS_MAX);
	for (uint32_t i = 0; i < m->n_rcpts && t->req.n_rcpts < BOUNCE_RCPTS_MAX; i++)
		if (bounce_wants_delay(&m->rcpts[i]))
			add_rcpt(t, i);
	m->delay_asked = t->req.n_rcpts && ask(deliver_frame(j, NULL, 0), t, on_delay_answer);
}

/* ---- the job ---- */

static void
tell(struct qjob *j, const struct mail *mail)
{
	struct telling t = { .m = j->m, .mail = mail };
	struct arena *a = arena_new(0);
	int rc = a ? deliver_envelope(mail->meta, a, &t.env) : -ENOMEM;

	j->frames = 1; /* until all are sent */
	if (rc)
		LOG_ERROR("queue.envelope", L_HEX("qid", j->m->id), L_C("error", strerror(-rc)));
	if (!rc)
		tell_events(j, &t, a);
	if (!rc && j->m->delay_due && !j->m->delay_asked)
		tell_delay(j, &t, a);
	arena_free(&a);
	deliver_frame_done(j);
}

/* A job whose numbers wait for the log: from first to last. */
struct numbering {
	struct qjob *job;
	uint16_t first, last;
};

/* What is not in the log must not be told: after a crash the number might be given to more. */
static void
take_back(const struct numbering *n)
{
	struct qmsg *m = n->job->m;

	for (uint32_t i = 0; i < m->n_rcpts; i++)
		if (is_owed(&m->rcpts[i]) && m->rcpts[i].event >= n->first && m->rcpts[i].event <= n->last)
			m->rcpts[i].event = 0;
}

/* The numbers stand in the log. */
static void
numbered(void *arg, int code)
{
	struct numbering *n = arg;
	struct qjob *j = n->job;

	if (code)
		take_back(n);
	free(n);
	if (code)
		sched_job_done(j);
	else
		deliver_read(j, tell);
}

/* Numbers for those that have none; how many. */
static size_t
number(struct qjob *j, struct queue_update *u)
{
	uint32_t n, *v = deliver_rcpts(j, &n);
	uint16_t event = qmsg_next_event(j->m);

	u->results = calloc(n + 1u, sizeof *u->results);
	if (!u->results)
		fatal("queue.memory", "no memory");
	for (uint32_t i = 0; i < n; i++) {
		const struct qrcpt *r = &j->m->rcpts[v[i]];

		if (r->event || !is_owed(r))
			continue;
		u->results[u->n_results] = result_of(j->m, v[i], (enum rcpt_state)r->state);
		u->results[u->n_results].event = event + (uint32_t)(u->n_results / BOUNCE_RCPTS_MAX);
		u->n_results++;
	}
	free(v);
	return u->n_results;
}

void
bounce_start(struct qjob *j)
{
	struct queue_update u = { 0 };
	size_t n = number(j, &u);
	struct numbering *arg = n ? malloc(sizeof *arg) : NULL;

	if (n && !arg)
		fatal("queue.memory", "no memory");
	if (n) {
		*arg = (struct numbering){ j, (uint16_t)u.results[0].event, (uint16_t)u.results[n - 1].event };
		record_update(j->m, &u, true, numbered, arg);
	} else {
		deliver_read(j, tell);
	}
	free(u.results);
}
