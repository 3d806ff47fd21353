/*
 * Deliveries into the store: the recipients of a message that live with one maild and
 * volume (and have the same sender, RFC 5321 section 3.9.2) go in one frame, each account
 * once. The result of an account is that of all recipients who end there. An answer that
 * never came marks its recipients 'maybe done': the store then looks before it delivers
 * again.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/client/auth.h"
#include "lib/client/store.h"
#include "mta/queued.h"

#define DELIVER_MS 120000u
#define LOW_WATER_OPEN 1000u

/* ---- results ---- */

static void
one_result(const struct qmsg *m, uint32_t index, const struct deliver_result *r,
    struct rcpt_result *ret)
{
	const struct qrcpt *q = &m->rcpts[index];

	*ret = (struct rcpt_result){ .index = index, .smtp = r->smtp, .enhanced = r->enhanced,
		.text = r->text, .email = r->email };
	switch (r->outcome) {
	case DELIVER_DONE:
		ret->state = deliver_done(m, q, false);
		ret->smtp = 250;
		ret->text = ret->enhanced = STR_NULL;
		break;
	case DELIVER_REJECT:
		ret->state = deliver_failed(m, q);
		ret->smtp = r->smtp >= 500 && r->smtp < 600 ? r->smtp : 550;
		break;
	case DELIVER_TEMPFAIL:
	case DELIVER_NOT_HERE:
		ret->state = accept_lmtp_waits(m) ? RCPT_RETURNED : RCPT_WAITING;
		ret->smtp = r->smtp >= 400 && r->smtp < 500 ? r->smtp : 451;
		break;
	}
}

/* The answers stand in the order of accounts, of which several recipients may have one:
 * recipients stand together by account. */
static size_t
answer_of(const struct dframe *df, uint32_t i, size_t last)
{
	const struct qmsg *m = df->job->m;

	return i && m->rcpts[df->v[i]].account != m->rcpts[df->v[i - 1]].account ? last + 1 : last;
}

/* Results of a frame, in one record. Whoever is 'maybe done' stays so: a failure does not
 * say that the store has looked. */
static void
take_results(struct dframe *df, const struct deliver_result *v, size_t n, struct arena *a)
{
	struct qmsg *m = df->job->m;
	struct queue_update u = { 0 };
	size_t at = 0;

	u.results = ARENA_ARRAY(a, struct rcpt_result, df->n + 1);
	if (!u.results)
		fatal("queue.memory", "no memory");
	for (uint32_t i = 0; i < df->n; i++) {
		struct qrcpt *r = &m->rcpts[df->v[i]];

		at = answer_of(df, i, at);
		r->flags &= (uint8_t)~(RCPT_BUSY | RCPT_COVERED);
		if (at >= n) {
			r->flags |= RCPT_MAYBE_DONE;
			continue;
		}
		if (v[at].outcome == DELIVER_NOT_HERE)
			r->flags |= RCPT_ASKING;
		one_result(m, df->v[i], &v[at], &u.results[u.n_results]);
		deliver_log(m, &u.results[u.n_results++]);
	}
	deliver_record(m, &u);
}

/* ---- asking again where an account lives ---- */

static bool
is_not_here(const struct deliver_result *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].outcome == DELIVER_NOT_HERE)
			return true;
	return false;
}

/* True: it lives elsewhere now. */
static bool
resolve_one(struct qmsg *m, struct qrcpt *r, struct arena *a)
{
	struct str address = qrcpt_address(m, r);
	struct resolve_answer ans = { 0 };
	bool moved;

	if (auth_whose(address, a, &ans) || m->gone || ans.kind != RESOLVE_ACCOUNT ||
	    ans.account != r->account)
		return false;
	moved = r->volume != ans.volume || r->slot != ans.slot;
	r->volume = ans.volume;
	r->slot = (uint16_t)ans.slot;
	r->quota = ans.quota;
	return moved;
}

static void
resolve_again(void *arg)
{
	struct qjob *j = arg;
	struct arena *a = arena_new(0);

	for (uint32_t i = 0; a && i < j->m->n_rcpts && !j->m->gone; i++) {
		struct qrcpt *r = &j->m->rcpts[i];

		if (r->flags & RCPT_ASKING && r->state == RCPT_WAITING)
			j->again |= resolve_one(j->m, r, a);
		r->flags &= (uint8_t)~RCPT_ASKING;
	}
	arena_free(&a);
	deliver_frame_done(j);
}

static void
on_answer(void *arg, int code, const struct frame *f)
{
	struct dframe *df = arg;
	struct qjob *j = df->job;
	struct arena *a = arena_new(0);
	struct deliver_result *v = NULL;
	size_t n = 0;
	bool asked = false;

	if (!code)
		code = a ? deliver_results_get(f->body, a, &v, &n) : -ENOMEM;
	if (code) {
		deliver_lost(df, code);
	} else {
		j->d->fails = 0;
		take_results(df, v, n, a);
		asked = is_not_here(v, n) && !co_spawn(queued.loop, "resolve", resolve_again, j);
	}
	arena_free(&a);
	free(df);
	if (!asked)
		deliver_frame_done(j);
}

/* ---- frames ---- */

/* What frames are cut by. */
struct sorting {
	const struct qmsg *m;
	const struct envelope *env; /* NULL: all have the message's sender */
};

static struct str
sender_of(const struct sorting *s, uint32_t i)
{
	if (!s->env || i >= s->env->n_rcpts || !s->env->rcpts[i].sender.n)
		return qmsg_sender(s->m);
	return s->env->rcpts[i].sender;
}

static int
by_place(const struct sorting *s, uint32_t i, uint32_t k)
{
	const struct qrcpt *x = &s->m->rcpts[i], *y = &s->m->rcpts[k];

	if (x->volume != y->volume)
		return x->volume < y->volume ? -1 : 1;
	return s->env ? str_cmp(sender_of(s, i), sender_of(s, k)) : 0;
}

static int
by_account(const void *a, const void *b, void *arg)
{
	const struct sorting *s = arg;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	uint64_t x = s->m->rcpts[i].account, y = s->m->rcpts[k].account;
	int rc = by_place(s, i, k);

	return rc ? rc : x < y ? -1 : x > y;
}

/* Fills the request's recipients, each account once. */
static void
frame_rcpts(const struct qmsg *m, const struct dframe *df, struct deliver_request *req)
{
	for (uint32_t i = 0; i < df->n; i++) {
		const struct qrcpt *r = &m->rcpts[df->v[i]];
		struct deliver_rcpt *last = req->n_rcpts ? &req->rcpts[req->n_rcpts - 1] : NULL;

		if (!last || last->account != r->account) {
			last = &req->rcpts[req->n_rcpts++];
			*last = (struct deliver_rcpt){
				.account = r->account,
				.quota = r->quota,
				.address = qrcpt_address(m, r),
				.detail = qrcpt_detail(m, r),
			};
		}
		last->maybe_done |= (r->flags & RCPT_MAYBE_DONE) != 0;
	}
}

static void
send_frame(struct qjob *j, const struct sorting *s, const uint32_t *v, uint32_t n,
    const struct mail *mail)
{
	struct qmsg *m = j->m;
	struct dframe *df = deliver_frame(j, v, n);
	struct deliver_request req = {
		.spool_id = m->id,
		.arrived_us = m->arrived_us,
		.sender = sender_of(s, v[0]),
		.trace = qmsg_trace(m),
		.volume = m->rcpts[v[0]].volume,
		.size = m->size,
		.content = mail->fd < 0 ? mail->bytes : STR_NULL,
	};
	struct buf b = { 0 };

	req.rcpts = calloc(n, sizeof *req.rcpts);
	if (!req.rcpts)
		fatal("queue.memory", "no memory");
	frame_rcpts(m, df, &req);
	deliver_request_put(&b, &req);
	deliver_send(df, chan_to(ROLE_MAILD, j->d->instance), MSG_STORE_DELIVER, &b, mail->fd,
	    DELIVER_MS, on_answer);
	buf_done(&b);
	free(req.rcpts);
}

static void
send_frames(struct qjob *j, const struct sorting *s, const struct mail *mail)
{
	uint32_t n, from = 0, *v = deliver_rcpts(j, &n);

	qsort_r(v, n, sizeof *v, by_account, (void *)(uintptr_t)s);
	j->frames = 1; /* until all are sent */
	for (uint32_t i = 1; i <= n; i++)
		if (i == n || by_place(s, v[i], v[from])) {
			send_frame(j, s, v + from, i - from, mail);
			from = i;
		}
	free(v);
	deliver_frame_done(j);
}

static bool
has_own_senders(const struct qjob *j)
{
	for (uint32_t i = 0; i < j->m->n_rcpts; i++)
		if (j->m->rcpts[i].flags & RCPT_OWN_SENDER && dest_wants(&j->m->rcpts[i], j->d))
			return true;
	return false;
}

void
local_send(struct qjob *j, const struct mail *mail)
{
	struct sorting s = { .m = j->m };
	struct arena *a = NULL;
	struct envelope env;

	if (has_own_senders(j)) {
		a = arena_new(0);
		if (!a || deliver_envelope(mail->meta, a, &env)) {
			arena_free(&a);
			sched_job_done(j);
			return;
		}
		s.env = &env;
	}
	send_frames(j, &s, mail);
	arena_free(&a);
}

/* ---- today's quota ---- */

/* A quota is as old as the message: one that was not delivered at once asks for
 * today's, or a mailbox that was given more room would stay too small for it. */
static bool
has_old_quota(const struct qjob *j)
{
	for (uint32_t i = 0; j->m->attempts && i < j->m->n_rcpts; i++)
		if (dest_wants(&j->m->rcpts[i], j->d) && j->m->rcpts[i].quota)
			return true;
	return false;
}

static void
renew_quotas(void *arg)
{
	struct qjob *j = arg;
	struct arena *a = arena_new(0);

	for (uint32_t i = 0; a && i < j->m->n_rcpts && !j->m->gone; i++) {
		struct qrcpt *r = &j->m->rcpts[i];

		if (!dest_wants(r, j->d) || !r->quota || !resolve_one(j->m, r, a))
			continue;
		if (dest_of(r) != j->d) { /* another job's, when this one has ended */
			r->flags &= (uint8_t)~RCPT_COVERED;
			j->again = true;
		}
	}
	arena_free(&a);
	deliver_read(j, local_send);
}

void
local_start(struct qjob *j)
{
	if (!has_old_quota(j) || co_spawn(queued.loop, "quota", renew_quotas, j))
		deliver_read(j, local_send);
}

/* ---- the low-water mark ---- */

static void
ignore(void *arg, int code, const struct frame *f)
{
	(void)arg, (void)code, (void)f;
}

void
local_low_water(void)
{
	static uint64_t sent;
	uint64_t open[LOW_WATER_OPEN];
	struct low_water w = { .open = open };
	struct buf b = { 0 };
	struct qmsg *m;

	/* what is gathered or being committed has higher ids than what is applied */
	w.mark = commit_applied(queued.commit);
	LIST_FOREACH(m, &queued.q.all, struct qmsg, all) {
		if (m->id >= w.mark)
			break;
		if (w.n == LOW_WATER_OPEN) {
			w.mark = m->id;
			break;
		}
		open[w.n++] = m->id;
	}
	if (w.mark == sent)
		return;
	sent = w.mark;
	low_water_put(&b, &w);
	for (unsigned i = 0; i < queued.n_mailds; i++)
		chan_send(chan_to(ROLE_MAILD, i), MSG_STORE_LOW_WATER, &b, -1, DELIVER_MS, ignore,
		    NULL);
	buf_done(&b);
}
