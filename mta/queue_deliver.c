/*
 * What deliveries have in common, wherever they go: reading the message (from the log's
 * memory while it is hot, else from disk by a worker), requests that are answered, and
 * what a recipient becomes by the outcome.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/io/wire.h"
#include "lib/proc/metrics.h"
#include "mta/queued.h"

#define RESULTS "Recipients by the result of a try"
static struct metric delivered = METRIC_COUNTER("queue_deliveries_total", "result=\"delivered\"", RESULTS);
static struct metric tempfail = METRIC_COUNTER("queue_deliveries_total", "result=\"deferred\"", RESULTS);
static struct metric rejected = METRIC_COUNTER("queue_deliveries_total", "result=\"rejected\"", RESULTS);
static struct metric lost = METRIC_COUNTER("queue_deliveries_total", "result=\"lost\"", RESULTS);

/* ---- outcomes ---- */

enum rcpt_state
deliver_failed(const struct qmsg *m, const struct qrcpt *r)
{
	if (accept_lmtp_waits(m))
		return RCPT_RETURNED;
	if (m->env_flags & ENV_NOTICE || (r->notify && !(r->notify & NOTIFY_FAILURE)))
		return RCPT_DROPPED;
	return RCPT_FAILED;
}

enum rcpt_state
deliver_done(const struct qmsg *m, const struct qrcpt *r, bool relayed)
{
	if (!(r->notify & NOTIFY_SUCCESS) || r->notify & NOTIFY_NEVER || !bounce_has_sender(m))
		return RCPT_DELIVERED;
	return relayed ? RCPT_TELL_RELAYED : RCPT_TELL;
}

static void
log_delivered(const struct qmsg *m, const struct rcpt_result *r)
{
	const struct qrcpt *q = &m->rcpts[r->index];
	uint64_t ms = (clock_real_us() - m->arrived_us) / 1000;

	metric_add(&delivered, 1);
	if (q->route == ROUTE_LOCAL)
		LOG_INFO("queue.delivered", L_HEX("qid", m->id), L_STR("sid", qmsg_trace(m)),
		    L_STR("to", qrcpt_address(m, q)), L_HEX("account", q->account),
		    L_HEX("email", r->email), L_U64("ms", ms));
	else
		LOG_INFO("queue.sent", L_HEX("qid", m->id), L_STR("sid", qmsg_trace(m)),
		    L_STR("to", qrcpt_address(m, q)), L_STR("mta", r->mta), L_U64("smtp", r->smtp),
		    L_STR("text", r->text), L_U64("ms", ms));
}

void
deliver_log(const struct qmsg *m, const struct rcpt_result *r)
{
	const struct qrcpt *q = &m->rcpts[r->index];

	if (r->state == RCPT_DELIVERED || r->state == RCPT_TELL || r->state == RCPT_TELL_RELAYED) {
		log_delivered(m, r);
		return;
	}
	metric_add(r->smtp >= 500 ? &rejected : &tempfail, 1);
	LOG_INFO("queue.not_delivered", L_HEX("qid", m->id), L_STR("to", qrcpt_address(m, q)),
	    L_HEX("account", q->route == ROUTE_LOCAL ? q->account : 0), L_STR("mta", r->mta),
	    L_U64("smtp", r->smtp), L_STR("enhanced", r->enhanced), L_STR("text", r->text));
	if (r->state == RCPT_DROPPED)
		LOG_INFO("queue.dropped", L_HEX("qid", m->id), L_STR("to", qrcpt_address(m, q)),
		    L_STR("from", qmsg_sender(m)), L_C("text", "failed, and nobody is to be told"));
}

void
deliver_record(struct qmsg *m, const struct queue_update *u)
{
	if (!u->n_results || m->gone)
		return;
	/* an LMTP client hears of a failure when it is durable */
	if (accept_lmtp_waits(m))
		record_update(m, u, true, accept_lmtp_recorded, (void *)(uintptr_t)m->id);
	else
		record_update(m, u, false, NULL, NULL);
}

/* ---- frames ---- */

uint32_t *
deliver_rcpts(const struct qjob *j, uint32_t *ret_n)
{
	const struct qmsg *m = j->m;
	uint32_t *v = calloc(m->n_rcpts + 1u, sizeof *v), n = 0;

	if (!v)
		fatal("queue.memory", "no memory");
	for (uint32_t i = 0; i < m->n_rcpts; i++)
		if (dest_wants(&m->rcpts[i], j->d))
			v[n++] = i;
	*ret_n = n;
	return v;
}

struct dframe *
deliver_frame(struct qjob *j, const uint32_t *v, uint32_t n)
{
	struct dframe *df = malloc(sizeof *df + n * sizeof *v);

	if (!df)
		fatal("queue.memory", "no memory");
	df->job = j;
	df->n = n;
	memcpy(df->v, v, n * sizeof *v);
	for (uint32_t i = 0; i < n; i++)
		j->m->rcpts[v[i]].flags |= RCPT_BUSY;
	return df;
}

void
deliver_frame_done(struct qjob *j)
{
	struct qdest *d = j->d;

	if (--j->frames)
		return;
	if (j->lost && !j->m->gone && !queued.stopping)
		sched_again(j);
	else
		sched_job_done(j);
	dest_wake(d);
}

/* Recipients in the store are 'maybe done' then: it looks before it delivers again. To
 * another server the message may go twice (RFC 1047). */
void
deliver_lost(struct dframe *df, int code)
{
	struct qjob *j = df->job;
	struct qmsg *m = j->m;
	bool gone = code == -EPIPE || code == -ENOTCONN || code == -ETIMEDOUT;
	bool again = gone && (j->d->kind == DEST_MAILD || code == -ENOTCONN);

	metric_add(&lost, df->n);
	if (j->d->kind != DEST_MAILD && code != -ENOTCONN)
		LOG_WARN("queue.answer_lost", L_HEX("qid", m->id), L_STR("site", j->d->name),
		    L_U64("rcpts", df->n), L_C("error", strerror(-code)));
	for (uint32_t i = 0; i < df->n; i++) {
		struct qrcpt *r = &m->rcpts[df->v[i]];

		r->flags = (uint8_t)((r->flags & ~RCPT_BUSY) | RCPT_MAYBE_DONE);
		if (!again || dest_of(r) != j->d)
			r->flags &= (uint8_t)~RCPT_COVERED;
	}
	if (again)
		j->lost = true;
	if (gone)
		dest_pause(j->d);
}

bool
deliver_send(struct dframe *df, struct chan *c, uint16_t type, const struct buf *b, int fd,
    uint64_t ms, void (*fn)(void *, int, const struct frame *))
{
	struct qjob *j = df->job;
	int rc = -ENOTCONN;

	j->frames++;
	if (b->over)
		rc = -ENOMEM;
	else if (c)
		rc = chan_send(c, type, b, fd, ms, fn, df);
	if (!rc)
		return true;
	deliver_lost(df, rc);
	free(df);
	deliver_frame_done(j);
	return false;
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

/* ---- reading ---- */

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

typedef void mail_fn(struct qjob *j, const struct mail *mail);

/* What is too long for a frame goes into a memfd, made once for all frames. */
static void
give(struct qjob *j, struct mail *mail, mail_fn *fn)
{
	int fd = -1;

	if (mail->bytes.n > WIRE_INLINE) {
		fd = mail->fd = make_fd(mail->bytes);
		mail->bytes = STR_NULL;
		if (fd < 0) {
			sched_job_done(j);
			return;
		}
	}
	fn(j, mail);
	if (fd >= 0)
		close(fd);
}

struct fetch {
	struct qjob *job;
	mail_fn *fn;
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

	f->mem = malloc(f->at.len);
	f->code = f->mem ? spool_read(queued.spool, &f->at, f->id, f->mem, &f->r) : -ENOMEM;
	if (f->code || !f->file)
		return;
	f->fd = spool_large_open(queued.spool, f->file, f->size);
	f->code = f->fd < 0 ? f->fd : 0;
}

static void
fetch_done(void *arg)
{
	struct fetch *f = arg;
	struct qjob *j = f->job;

	spool_read_end(queued.spool, f->at.seg);
	if (!sched_startable(j))
		sched_job_drop(j);
	else if (f->code)
		unreadable(j, f->code);
	else
		give(j, &(struct mail){ .meta = f->r.meta, .bytes = f->r.content, .fd = f->fd }, f->fn);
	if (f->fd >= 0)
		close(f->fd);
	free(f->mem);
	free(f);
}

static void
fetch(struct qjob *j, mail_fn *fn)
{
	struct qmsg *m = j->m;
	struct fetch *f = malloc(sizeof *f);

	if (!f)
		fatal("queue.memory", "no memory");
	*f = (struct fetch){ .job = j, .fn = fn, .at = { m->seg, m->rec_len, m->off }, .id = m->id,
		.file = m->large, .size = m->size, .fd = -1 };
	spool_read_begin(queued.spool, m->seg);
	if (work_post(queued.io, fetch_run, fetch_done, f))
		fatal("queue.memory", "no memory");
}

void
deliver_read(struct qjob *j, mail_fn *fn)
{
	struct qmsg *m = j->m;
	const unsigned char *p;
	struct spool_record r;

	if (!sched_startable(j)) {
		sched_job_drop(j);
		return;
	}
	p = m->large ? NULL : commit_hot(queued.commit, m->seg, m->off, m->rec_len);
	if (p && !spool_record_get(p, m->rec_len, &r) && r.id == m->id)
		give(j, &(struct mail){ .meta = r.meta, .bytes = r.content, .fd = -1 }, fn);
	else
		fetch(j, fn);
}

int
deliver_envelope(struct str meta, struct arena *a, struct envelope *ret)
{
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&meta, &f)) > 0)
		if (f.tag == SPOOL_META_ENVELOPE)
			return envelope_get(f.v, a, ret);
	return rc ? rc : -EBADMSG;
}

void
deliver_start(struct qjob *j)
{
	switch (j->d->kind) {
	case DEST_MAILD:
		local_start(j);
		break;
	case DEST_SITE:
		deliver_read(j, relay_send);
		break;
	case DEST_PIPE:
		deliver_read(j, pipe_send);
		break;
	case DEST_BOUNCE:
		bounce_start(j);
		break;
	}
}
