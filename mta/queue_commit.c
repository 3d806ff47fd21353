/*
 * Group commit; see queue_commit.h. A buffer goes round:
 *
 *	free -> cur (loop's thread gathers) -> ready -> committer -> loop: entries'
 *	done() -> hot (readable until reused) -> free
 */
#include "mta/queue_commit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/queue.h"
#include "lib/proc/metrics.h"

#define BUFFERS_MAX 24u /* in all; above, new mail is put off */
#define BUFFERS_HOT 4u  /* kept readable when nothing presses */
#define LAZY_MS 20

static struct metric batches = METRIC_COUNTER("queue_batches_total", NULL, "Batches committed");
static struct metric batch_records = METRIC_COUNTER("queue_batch_records_total", NULL,
    "Records in committed batches");
static struct metric batch_bytes = METRIC_COUNTER("queue_batch_bytes_total", NULL,
    "Bytes of committed batches");
static struct metric batch_failed = METRIC_COUNTER("queue_batches_failed_total", NULL,
    "Batches that could not be made durable");
static struct metric sync_seconds = METRIC_HISTOGRAM("queue_commit_seconds", NULL,
    "Time of write and sync of a batch");

struct cbatch {
	struct list link;
	struct commit *c;
	struct spool_batch b;
	struct commit_entry *e;
	unsigned n, cap;
};

struct commit {
	struct loop *loop;
	struct spool *spool;
	pthread_t thread;
	struct turn_hook hook;
	struct timer lazy;
	struct list hot;      /* oldest first */
	unsigned n_buffers, n_hot;
	size_t pending;
	uint64_t applied;

	pthread_mutex_t mu;   /* guards what follows */
	pthread_cond_t more;
	struct cbatch *cur;
	struct list ready;
	bool handed;          /* cur may be taken */
	bool stop;
};

/* ---- committer thread ---- */

static void
answer_failed(const struct commit_entry *e, int code)
{
	struct queue_answer a = { .outcome = QUEUE_TEMPFAIL };
	struct buf b = { 0 };
	bool full = code == -ENOSPC || code == -EDQUOT;

	a.smtp = full ? 452 : 451;
	a.enhanced = full ? STR("4.3.1") : STR("4.3.0");
	a.text = full ? STR("Insufficient system storage") : STR("Local error in processing");
	queue_answer_put(&b, &a);
	chan_answer(e->peer, e->request, MSG_QUEUE_ACCEPT, &b, -1);
	buf_done(&b);
}

static void
answer_accepted(const struct commit_entry *e, struct buf *b)
{
	struct queue_answer a = { .spool_id = e->id, .outcome = QUEUE_ACCEPTED, .smtp = 250 };

	buf_clear(b);
	queue_answer_put(b, &a);
	chan_answer(e->peer, e->request, MSG_QUEUE_ACCEPT, b, -1);
	LOG_INFO("queue.accepted", L_HEX("qid", e->id), L_STR("sid", qmsg_trace(e->m)),
	    L_STR("from", qmsg_sender(e->m)), L_U64("size", e->m->size),
	    L_U64("rcpts", e->m->n_rcpts));
}

static void
answer_batch(struct cbatch *cb, struct buf *b)
{
	struct peer *last = NULL;

	for (unsigned i = 0; i < cb->n; i++) {
		struct commit_entry *e = &cb->e[i];

		if (!e->peer)
			continue;
		if (cb->b.code)
			answer_failed(e, cb->b.code);
		else
			answer_accepted(e, b);
	}
	/* one send for each peer: flushing one that has nothing left is free */
	for (unsigned i = 0; i < cb->n; i++) {
		if (cb->e[i].peer && cb->e[i].peer != last)
			chan_peer_flush(cb->e[i].peer);
		last = cb->e[i].peer ? cb->e[i].peer : last;
	}
	log_flush();
}

static void
commit_one(struct cbatch *cb, struct buf *b)
{
	uint64_t t = clock_us();

	if (spool_commit(cb->c->spool, &cb->b)) {
		metric_add(&batch_failed, 1);
		LOG_ERROR("queue.commit_failed", L_C("error", strerror(-cb->b.code)),
		    L_U64("records", cb->n));
	} else {
		metric_add(&batches, 1);
		metric_add(&batch_records, cb->n);
		metric_add(&batch_bytes, cb->b.len);
	}
	metric_observe_us(&sync_seconds, clock_us() - t);
	answer_batch(cb, b);
}

static struct cbatch *
take(struct commit *c)
{
	struct cbatch *cb = NULL;
	struct list *l;

	pthread_mutex_lock(&c->mu);
	for (;;) {
		l = list_pop(&c->ready);
		if (l) {
			cb = LIST_ENTRY(l, struct cbatch, link);
			break;
		}
		if (c->cur && c->cur->n && (c->handed || c->stop)) {
			cb = c->cur;
			c->cur = NULL;
			c->handed = false;
			break;
		}
		if (c->stop)
			break;
		pthread_cond_wait(&c->more, &c->mu);
	}
	pthread_mutex_unlock(&c->mu);
	return cb;
}

static void batch_done(void *arg);

static void *
committer(void *arg)
{
	struct commit *c = arg;
	struct buf b = { 0 };
	struct cbatch *cb;

	log_batch(true);
	while ((cb = take(c))) {
		commit_one(cb, &b);
		loop_post(c->loop, batch_done, cb);
	}
	log_batch(false);
	buf_done(&b);
	return NULL;
}

/* ---- loop's thread ---- */

static void
batch_done(void *arg)
{
	struct cbatch *cb = arg;
	struct commit *c = cb->c;

	c->pending -= cb->b.len;
	if (!cb->b.code && cb->b.last_seq > c->applied)
		c->applied = cb->b.last_seq;
	/* hot before the entries: they deliver from it */
	list_push(&c->hot, &cb->link);
	c->n_hot++;
	for (unsigned i = 0; i < cb->n; i++) {
		struct commit_entry *e = &cb->e[i];
		struct spool_place at = { cb->b.seg, e->len, cb->b.off + e->at };

		if (e->done)
			e->done(e, cb->b.code, &at);
		if (e->peer)
			chan_peer_unref(&e->peer);
	}
	cb->n = 0;
}

static struct cbatch *
new_buffer(struct commit *c)
{
	struct cbatch *cb = calloc(1, sizeof *cb);

	if (!cb)
		return NULL;
	cb->c = c;
	if (spool_batch_init(&cb->b, spool_batch_max(c->spool))) {
		free(cb);
		return NULL;
	}
	c->n_buffers++;
	return cb;
}

/* An empty buffer: the oldest hot one when enough are kept, else a new one. */
static struct cbatch *
get_buffer(struct commit *c)
{
	struct cbatch *cb = NULL;
	struct list *l;

	if (c->n_buffers < BUFFERS_HOT)
		cb = new_buffer(c);
	if (!cb && (l = list_pop(&c->hot))) {
		cb = LIST_ENTRY(l, struct cbatch, link);
		c->n_hot--;
		if (cb->n) { /* its entries are being gone through: not this one */
			list_push_front(&c->hot, &cb->link);
			c->n_hot++;
			cb = NULL;
		}
	}
	if (!cb && c->n_buffers < BUFFERS_MAX)
		cb = new_buffer(c);
	if (cb)
		spool_batch_clear(&cb->b);
	return cb;
}

static void
hand_over(void *arg)
{
	struct commit *c = arg;

	loop_timer_clear(c->loop, &c->lazy);
	pthread_mutex_lock(&c->mu);
	c->handed = true;
	pthread_cond_signal(&c->more);
	pthread_mutex_unlock(&c->mu);
}

/* The batch that takes the record, mutex held. */
static struct cbatch *
batch_for(struct commit *c, size_t meta, size_t content)
{
	if (c->cur && !spool_batch_fits(&c->cur->b, meta, content)) {
		list_push(&c->ready, &c->cur->link);
		c->cur = NULL;
		c->handed = false;
		pthread_cond_signal(&c->more);
	}
	if (!c->cur)
		c->cur = get_buffer(c);
	return c->cur;
}

static struct commit_entry *
entry_for(struct cbatch *cb)
{
	if (cb->n == cb->cap) {
		unsigned cap = cb->cap * 2 + 64;
		struct commit_entry *e = realloc(cb->e, cap * sizeof *e);

		if (!e)
			return NULL;
		cb->e = e;
		cb->cap = cap;
	}
	return &cb->e[cb->n];
}

static void
copy_record(unsigned char *p, const struct commit_record *r)
{
	for (size_t i = 0; i < 4; i++) {
		if (r->meta[i].n)
			memcpy(p, r->meta[i].p, r->meta[i].n);
		p += r->meta[i].n;
	}
	if (r->content.n)
		memcpy(p, r->content.p, r->content.n);
}

static int
add_locked(struct commit *c, const struct commit_record *r, const struct commit_entry *e, size_t meta)
{
	struct cbatch *cb = batch_for(c, meta, r->content.n);
	struct commit_entry *slot = cb ? entry_for(cb) : NULL;
	size_t before;
	unsigned char *p;

	if (!slot)
		return -EAGAIN;
	*slot = *e;
	before = cb->b.len;
	p = spool_batch_add(&cb->b, r->type, r->seq, r->id, meta, r->content.n, &slot->at);
	if (!p)
		return -EMSGSIZE;
	copy_record(p, r);
	slot->len = (uint32_t)(SPOOL_RECORD_HEAD + meta + r->content.n);
	cb->b.mail |= r->mail;
	c->pending += cb->b.len - before + (cb->n ? 0 : SPOOL_BATCH_HEAD);
	cb->n++;
	return 0;
}

int
commit_add(struct commit *c, const struct commit_record *r, const struct commit_entry *e)
{
	size_t meta = r->meta[0].n + r->meta[1].n + r->meta[2].n + r->meta[3].n;
	int rc;

	if (spool_record_size(meta, r->content.n) + SPOOL_BATCH_HEAD > spool_batch_max(c->spool))
		return -EMSGSIZE;
	pthread_mutex_lock(&c->mu);
	rc = add_locked(c, r, e, meta);
	pthread_mutex_unlock(&c->mu);
	if (rc)
		return rc;
	if (e->peer)
		chan_peer_ref(e->peer);
	if (r->urgent)
		loop_turn_hook(c->loop, &c->hook, hand_over, c);
	else if (!c->lazy.pos)
		loop_timer(c->loop, &c->lazy, LAZY_MS, hand_over, c);
	return 0;
}

struct commit *
commit_new(struct loop *l, struct spool *s, struct err *e)
{
	struct commit *c = calloc(1, sizeof *c);
	int rc;

	if (!c) {
		err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	c->loop = l;
	c->spool = s;
	c->applied = spool_last(s);
	list_init(&c->hot);
	list_init(&c->ready);
	pthread_mutex_init(&c->mu, NULL);
	pthread_cond_init(&c->more, NULL);
	rc = pthread_create(&c->thread, NULL, committer, c);
	if (rc) {
		err_sys(e, -rc, "starting the committer");
		free(c);
		return NULL;
	}
	return c;
}

void
commit_free(struct commit **cp)
{
	struct commit *c = *cp;
	struct list *l;

	if (!c)
		return;
	pthread_mutex_lock(&c->mu);
	c->stop = true;
	pthread_cond_signal(&c->more);
	pthread_mutex_unlock(&c->mu);
	pthread_join(c->thread, NULL);
	loop_timer_clear(c->loop, &c->lazy);
	while ((l = list_pop(&c->hot))) {
		struct cbatch *cb = LIST_ENTRY(l, struct cbatch, link);

		spool_batch_done(&cb->b);
		free(cb->e);
		free(cb);
	}
	free(c);
	*cp = NULL;
}

size_t
commit_pending(const struct commit *c)
{
	return c->pending;
}

uint64_t
commit_applied(const struct commit *c)
{
	return c->applied;
}

const unsigned char *
commit_hot(const struct commit *c, uint32_t seg, uint64_t off, uint32_t len)
{
	const struct list *l;

	for (l = c->hot.prev; l != &c->hot; l = l->prev) {
		const struct cbatch *cb = LIST_ENTRY(l, struct cbatch, link);

		if (!cb->b.code && cb->b.seg == seg && off >= cb->b.off &&
		    off + len <= cb->b.off + cb->b.len)
			return cb->b.mem + (off - cb->b.off);
	}
	return NULL;
}
