/*
 * Deliveries into the store: the recipients of a message that live with one
 * maild and volume go in one frame, each account once. The result of an account
 * is that of all recipients who end there. An answer that never came marks its
 * recipients 'maybe done': the store then looks before it delivers again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/auth.h"
#include "lib/client/store.h"
#include "lib/proc/metrics.h"
#include "mta/queued.h"

#define DELIVER_MS 120000u
#define LOW_WATER_OPEN 1000u

static struct metric delivered = METRIC_COUNTER("queue_deliveries_total", "result=\"delivered\"",
    "Recipients by the result of a try");
static struct metric tempfail = METRIC_COUNTER("queue_deliveries_total", "result=\"deferred\"",
    "Recipients by the result of a try");
static struct metric rejected = METRIC_COUNTER("queue_deliveries_total", "result=\"rejected\"",
    "Recipients by the result of a try");
static struct metric lost = METRIC_COUNTER("queue_deliveries_total", "result=\"lost\"",
    "Recipients by the result of a try");

/* The content of a job's message, for as long as its frames are being made. */
struct content {
	struct str bytes;        /* inline */
	int fd;                  /* or -1 */
};

struct dframe {
	struct qjob *job;
	uint32_t n;
	struct dframe_rcpt {
		uint32_t index;  /* of the recipient */
		uint32_t answer; /* of its account in the frame */
	} v[];
};

bool
deliver_wants(const struct qrcpt *r, const struct qdest *d)
{
	return r->state == RCPT_WAITING && r->route == ROUTE_LOCAL && !(r->flags & RCPT_BUSY) &&
	    r->slot % queued.n_dests == d->instance;
}

/* ---- results ---- */

static void
frame_done(struct qjob *j)
{
	if (--j->frames)
		return;
	if (j->lost && !j->m->gone && !queued.stopping)
		sched_again(j);
	else
		sched_job_done(j);
}

static void
one_result(struct qmsg *m, uint32_t index, const struct deliver_result *r, struct rcpt_result *ret)
{
	bool lmtp = accept_lmtp_waits(m);

	*ret = (struct rcpt_result){ .index = index, .smtp = r->smtp, .enhanced = r->enhanced,
		.text = r->text, .email = r->email };
	switch (r->outcome) {
	case DELIVER_DONE:
		ret->state = RCPT_DELIVERED;
		ret->smtp = 250;
		ret->text = ret->enhanced = STR_NULL;
		metric_add(&delivered, 1);
		break;
	case DELIVER_REJECT:
		ret->state = lmtp ? RCPT_RETURNED : RCPT_WAITING;
		ret->smtp = r->smtp >= 500 && r->smtp < 600 ? r->smtp : 550;
		metric_add(&rejected, 1);
		break;
	case DELIVER_TEMPFAIL:
	case DELIVER_NOT_HERE:
		ret->state = lmtp ? RCPT_RETURNED : RCPT_WAITING;
		ret->smtp = r->smtp >= 400 && r->smtp < 500 ? r->smtp : 451;
		metric_add(&tempfail, 1);
		break;
	}
}

static void
log_result(const struct qmsg *m, const struct rcpt_result *r)
{
	const struct qrcpt *q = &m->rcpts[r->index];

	if (r->state == RCPT_DELIVERED)
		LOG_INFO("queue.delivered", L_HEX("qid", m->id), L_STR("sid", qmsg_trace(m)),
		    L_STR("to", qrcpt_address(m, q)), L_HEX("account", q->account),
		    L_HEX("email", r->email),
		    L_U64("ms", (clock_real_us() - m->arrived_us) / 1000));
	else
		LOG_INFO("queue.not_delivered", L_HEX("qid", m->id),
		    L_STR("to", qrcpt_address(m, q)), L_HEX("account", q->account),
		    L_U64("smtp", r->smtp), L_STR("text", r->text));
}

/* Results of a frame, in one record. Whoever is 'maybe done' stays so: a failure does not
 * say that the store has looked. */
static void
take_results(struct dframe *df, const struct deliver_result *v, size_t n, struct arena *a)
{
	struct qmsg *m = df->job->m;
	struct queue_update u = { 0 };

	u.results = ARENA_ARRAY(a, struct rcpt_result, df->n + 1);
	if (!u.results)
		return;
	for (uint32_t i = 0; i < df->n; i++) {
		struct qrcpt *r = &m->rcpts[df->v[i].index];

		r->flags &= (uint8_t)~RCPT_BUSY;
		if (df->v[i].answer >= n) {
			r->flags |= RCPT_MAYBE_DONE;
			continue;
		}
		one_result(m, df->v[i].index, &v[df->v[i].answer], &u.results[u.n_results]);
		log_result(m, &u.results[u.n_results++]);
	}
	if (!u.n_results || m->gone)
		return;
	/* an LMTP client hears of a failure when it is durable */
	if (accept_lmtp_waits(m))
		record_update(m, &u, true, accept_lmtp_recorded, (void *)(uintptr_t)m->id);
	else
		record_update(m, &u, false, NULL, NULL);
}

static void
no_answer(struct dframe *df, int code)
{
	struct qjob *j = df->job;

	metric_add(&lost, df->n);
	for (uint32_t i = 0; i < df->n; i++) {
		struct qrcpt *r = &j->m->rcpts[df->v[i].index];

		r->flags = (uint8_t)((r->flags & ~RCPT_BUSY) | RCPT_MAYBE_DONE);
	}
	if (code == -EPIPE || code == -ENOTCONN || code == -ETIMEDOUT) {
		j->lost = true;
		sched_pause(j->d);
	}
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

static void
resolve_one(struct qmsg *m, struct qrcpt *r, struct arena *a)
{
	struct str address = qrcpt_address(m, r);
	struct resolve_answer ans = { 0 };

	if (auth_whose(address, a, &ans) || m->gone || ans.kind != RESOLVE_ACCOUNT ||
	    ans.account != r->account)
		return;
	if (r->volume != ans.volume || r->slot != ans.slot)
		m->next_ms = queued_now_ms();
	r->volume = ans.volume;
	r->slot = (uint16_t)ans.slot;
	r->quota = ans.quota;
}

static void
resolve_again(void *arg)
{
	struct qjob *j = arg;
	struct arena *a = arena_new(0);

	for (uint32_t i = 0; a && i < j->m->n_rcpts && !j->m->gone; i++) {
		struct qrcpt *r = &j->m->rcpts[i];

		if (r->flags & RCPT_ASKING && r->state == RCPT_WAITING)
			resolve_one(j->m, r, a);
		r->flags &= (uint8_t)~RCPT_ASKING;
	}
	arena_free(&a);
	frame_done(j);
}

static bool
ask_again(struct dframe *df, const struct deliver_result *v, size_t n)
{
	for (uint32_t i = 0; i < df->n; i++)
		if (df->v[i].answer < n && v[df->v[i].answer].outcome == DELIVER_NOT_HERE)
			df->job->m->rcpts[df->v[i].index].flags |= RCPT_ASKING;
	return !co_spawn(queued.loop, "resolve", resolve_again, df->job);
}

static void
on_answer(void *arg, int code, const struct frame *f)
{
	struct dframe *df = arg;
	struct qjob *j = df->job;
	struct qdest *d = j->d;
	struct arena *a = arena_new(0);
	struct deliver_result *v = NULL;
	size_t n = 0;
	bool asked = false;

	if (!code)
		code = a ? deliver_results_get(f->body, a, &v, &n) : -ENOMEM;
	if (code) {
		no_answer(df, code);
	} else {
		d->fails = 0;
		take_results(df, v, n, a);
		if (is_not_here(v, n))
			asked = ask_again(df, v, n);
	}
	arena_free(&a);
	free(df);
	if (!asked)
		frame_done(j);
	sched_dispatch(d);
}

/* ---- frames ---- */

static int
by_account(const void *a, const void *b, void *arg)
{
	const struct qmsg *m = arg;
	const struct qrcpt *x = &m->rcpts[((const struct dframe_rcpt *)a)->index];
	const struct qrcpt *y = &m->rcpts[((const struct dframe_rcpt *)b)->index];

	if (x->volume != y->volume)
		return x->volume < y->volume ? -1 : 1;
	return x->account < y->account ? -1 : x->account > y->account;
}

static struct dframe *
new_frame(struct qjob *j, const struct dframe_rcpt *v, uint32_t n)
{
	struct dframe *df = malloc(sizeof *df + n * sizeof *v);

	if (!df)
		fatal("queue.memory", "no memory");
	df->job = j;
	df->n = n;
	memcpy(df->v, v, n * sizeof *v);
	return df;
}

/* Fills the request's recipients, each account once. */
static void
frame_rcpts(struct qmsg *m, struct dframe *df, struct deliver_request *req)
{
	for (uint32_t i = 0; i < df->n; i++) {
		struct qrcpt *r = &m->rcpts[df->v[i].index];
		struct deliver_rcpt *last = req->n_rcpts ? &req->rcpts[req->n_rcpts - 1] : NULL;

		r->flags |= RCPT_BUSY;
		if (!last || last->account != r->account)
			req->rcpts[req->n_rcpts++] = (struct deliver_rcpt){
				.account = r->account,
				.quota = r->quota,
				.address = qrcpt_address(m, r),
				.detail = qrcpt_detail(m, r),
			};
		last = &req->rcpts[req->n_rcpts - 1];
		last->maybe_done |= (r->flags & RCPT_MAYBE_DONE) != 0;
		df->v[i].answer = (uint32_t)req->n_rcpts - 1;
	}
}

static void
send_frame(struct qjob *j, const struct dframe_rcpt *v, uint32_t n, const struct content *c)
{
	struct qmsg *m = j->m;
	struct dframe *df = new_frame(j, v, n);
	struct deliver_request req = {
		.spool_id = m->id,
		.arrived_us = m->arrived_us,
		.sender = qmsg_sender(m),
		.trace = qmsg_trace(m),
		.volume = m->rcpts[v[0].index].volume,
		.size = m->size,
		.content = c->bytes,
	};
	struct buf b = { 0 };
	int rc;

	req.rcpts = calloc(n, sizeof *req.rcpts);
	if (!req.rcpts)
		fatal("queue.memory", "no memory");
	frame_rcpts(m, df, &req);
	deliver_request_put(&b, &req);
	j->frames++;
	rc = chan_send(chan_to(ROLE_MAILD, j->d->instance), MSG_STORE_DELIVER, &b, c->fd,
	    DELIVER_MS, on_answer, df);
	if (rc) {
		no_answer(df, rc);
		free(df);
		frame_done(j);
	}
	buf_done(&b);
	free(req.rcpts);
}

/* One frame for each volume. */
static void
send_frames(struct qjob *j, const struct content *c)
{
	struct qmsg *m = j->m;
	struct dframe_rcpt *v = calloc(m->n_rcpts, sizeof *v);
	uint32_t n = 0, from = 0;

	if (!v)
		fatal("queue.memory", "no memory");
	for (uint32_t i = 0; i < m->n_rcpts; i++)
		if (deliver_wants(&m->rcpts[i], j->d))
			v[n++].index = i;
	qsort_r(v, n, sizeof *v, by_account, m);
	j->frames = 1; /* until all are sent */
	for (uint32_t i = 1; i <= n; i++)
		if (i == n || m->rcpts[v[i].index].volume != m->rcpts[v[from].index].volume) {
			send_frame(j, v + from, i - from, c);
			from = i;
		}
	free(v);
	frame_done(j);
}

/* A sealed memfd for what is too long for a frame. */
static int
make_fd(struct str bytes)
{
	int fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t at = 0;

	if (fd < 0)
		return -errno;
	while (at < bytes.n) {
		ssize_t w = write(fd, bytes.p + at, bytes.n - at);

		if (w <= 0) {
			close(fd);
			return -ENOMEM;
		}
		at += (size_t)w;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	return fd;
}

/* The message cannot be read: it stays, held, for the admin. */
static void
unreadable(struct qjob *j, int code)
{
	struct queue_update u = { .set = MSG_HELD };

	LOG_ERROR("queue.unreadable", L_HEX("qid", j->m->id), L_U64("segment", j->m->seg),
	    L_U64("offset", j->m->off), L_HEX("file", j->m->large), L_C("error", strerror(-code)));
	if (!j->m->gone)
		record_update(j->m, &u, false, NULL, NULL);
	sched_job_done(j);
}

static void
send_bytes(struct qjob *j, struct str bytes)
{
	struct content c = { .bytes = bytes, .fd = -1 };

	if (bytes.n > WIRE_INLINE) {
		c.fd = make_fd(bytes);
		c.bytes = STR_NULL;
		if (c.fd < 0) {
			sched_job_done(j);
			return;
		}
	}
	send_frames(j, &c);
	if (c.fd >= 0)
		close(c.fd);
}

/* ---- content from disk ---- */

struct fetch {
	struct qjob *job;
	struct spool_place at;
	uint64_t id, file, size;
	void *mem;
	struct spool_record r;
	int fd, code;
};

static void
fetch_run(void *arg)
{
	struct fetch *f = arg;

	if (f->file) {
		f->fd = spool_large_open(queued.spool, f->file, f->size);
		f->code = f->fd < 0 ? f->fd : 0;
		return;
	}
	f->mem = malloc(f->at.len);
	f->code = f->mem ? spool_read(queued.spool, &f->at, f->id, f->mem, &f->r) : -ENOMEM;
}

static void
fetch_done(void *arg)
{
	struct fetch *f = arg;
	struct qjob *j = f->job;

	spool_read_end(queued.spool, f->at.seg);
	if (j->m->gone)
		sched_job_done(j);
	else if (f->code)
		unreadable(j, f->code);
	else if (f->file)
		send_frames(j, &(struct content){ .fd = f->fd });
	else
		send_bytes(j, f->r.content);
	if (f->fd >= 0)
		close(f->fd);
	free(f->mem);
	free(f);
}

static void
fetch(struct qjob *j)
{
	struct qmsg *m = j->m;
	struct fetch *f = malloc(sizeof *f);

	if (!f)
		fatal("queue.memory", "no memory");
	*f = (struct fetch){ .job = j, .at = { m->seg, m->rec_len, m->off }, .id = m->id,
		.file = m->large, .size = m->size, .fd = -1 };
	spool_read_begin(queued.spool, m->seg);
	if (work_post(queued.io, fetch_run, fetch_done, f))
		fatal("queue.memory", "no memory");
}

static bool
startable(const struct qjob *j)
{
	return !j->m->gone && !j->m->finishing && !(j->m->flags & MSG_HELD);
}

static void
send_content(struct qjob *j)
{
	struct qmsg *m = j->m;
	const unsigned char *p;
	struct spool_record r;

	if (!startable(j)) {
		sched_job_done(j);
		return;
	}
	p = m->large ? NULL : commit_hot(queued.commit, m->seg, m->off, m->rec_len);
	if (p && !spool_record_get(p, m->rec_len, &r) && r.id == m->id)
		send_bytes(j, r.content);
	else
		fetch(j);
}

/* A quota is as old as the message: one that was not delivered at once asks for
 * today's, or a mailbox that was given more room would stay too small for it. */
static bool
has_old_quota(const struct qjob *j)
{
	for (uint32_t i = 0; j->m->attempts && i < j->m->n_rcpts; i++)
		if (j->m->rcpts[i].quota && deliver_wants(&j->m->rcpts[i], j->d))
			return true;
	return false;
}

static void
renew_quotas(void *arg)
{
	struct qjob *j = arg;
	struct qdest *d = j->d;
	struct arena *a = arena_new(0);

	for (uint32_t i = 0; a && i < j->m->n_rcpts && !j->m->gone; i++)
		if (j->m->rcpts[i].quota && deliver_wants(&j->m->rcpts[i], j->d))
			resolve_one(j->m, &j->m->rcpts[i], a);
	arena_free(&a);
	send_content(j);
	sched_dispatch(d); /* it may have ended the job */
}

void
deliver_start(struct qjob *j)
{
	if (!startable(j))
		sched_job_done(j);
	else if (!has_old_quota(j) || co_spawn(queued.loop, "quota", renew_quotas, j))
		send_content(j);
}

/* ---- the low-water mark ---- */

static void
ignore(void *arg, int code, const struct frame *f)
{
	(void)arg, (void)code, (void)f;
}

void
deliver_low_water(void)
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
	for (unsigned i = 0; i < queued.n_dests; i++)
		chan_send(chan_to(ROLE_MAILD, i), MSG_STORE_LOW_WATER, &b, -1, DELIVER_MS, ignore,
		    NULL);
	buf_done(&b);
}
