/*
 * What goes on beside accepting and delivering: checkpoints, recycling, moving
 * live messages out of sparse segments, filling segments, back-pressure,
 * metrics. Everything is driven by one timer a second.
 *
 * A checkpoint is written in slices between other work: a cursor walks the
 * messages by id; what changes behind it is in the log after the covered
 * sequence anyway.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/queue.h"
#include "lib/client/queue_wire.h"
#include "lib/proc/metrics.h"
#include "mta/queued.h"

#define TICK_MS 1000u
#define SLICE_BYTES (256u << 10)   /* of entries, per turn */
#define SECTIONS_WAITING 8u
#define LOW_WATER_TICKS 10u
#define MOVES_WAITING 64u
#define LAG_SLOW_MS 60000u
#define CHECKPOINT_BUSY_MS 1000u   /* when segments wait for it */

static struct metric m_active = METRIC_GAUGE("queue_messages", "state=\"active\"", "Messages in the queue");
static struct metric m_deferred = METRIC_GAUGE("queue_messages", "state=\"deferred\"", "Messages in the queue");
static struct metric m_held = METRIC_GAUGE("queue_messages", "state=\"held\"", "Messages in the queue");
static struct metric m_rcpts = METRIC_GAUGE("queue_recipients", NULL, "Waiting recipients");
static struct metric m_bytes = METRIC_GAUGE("queue_bytes", NULL, "Bytes of queued messages");
static struct metric m_oldest = METRIC_GAUGE("queue_oldest_seconds", NULL, "Age of the oldest message");
static struct metric m_segments = METRIC_GAUGE("queue_segments", NULL, "Segments of the spool");
static struct metric m_free = METRIC_GAUGE("queue_disk_free_bytes", NULL, "Free bytes beside the spool");
static struct metric m_dedup = METRIC_GAUGE("queue_dedup_keys", NULL, "Deduplication keys remembered");
static struct metric m_forgot = METRIC_GAUGE("queue_dedup_forgotten", NULL, "Deduplication keys forgotten before their day was over");
static struct metric m_ckpt = METRIC_COUNTER("queue_checkpoints_total", NULL, "Checkpoints written");

static struct {
	struct timer tick, slice;
	unsigned ticks;
	struct spool_usage usage;
	/* checkpoint */
	struct spool_ckpt *ckpt;
	uint64_t covers, last_covers, last_ms;
	struct qmsg *cursor;        /* next to write; NULL: at the end */
	struct dedup_key *key;      /* after the messages; likewise */
	unsigned sections;          /* at the worker */
	int code;
	void (*then)(int code);
	bool again;                 /* the last one is still to come */
	/* others */
	bool filling;
	unsigned moving;
} up;

/* ---- checkpoint ---- */

struct section {
	struct buf b;
	uint32_t count;
};

static void slice(void *arg);
static bool ckpt_begin(void);

static void
section_run(void *arg)
{
	struct section *s = arg;

	if (!up.code)
		up.code = spool_ckpt_section(up.ckpt, buf_view(&s->b), s->count);
}

static void
section_done(void *arg)
{
	struct section *s = arg;

	up.sections--;
	buf_done(&s->b);
	free(s);
}

static void
ckpt_run(void *arg)
{
	(void)arg;
	if (up.code)
		spool_ckpt_abort(&up.ckpt);
	else
		up.code = spool_ckpt_commit(&up.ckpt);
}

static void
ckpt_done(void *arg)
{
	void (*then)(int) = up.again ? NULL : up.then;

	(void)arg;
	up.last_ms = clock_ms();
	if (up.code) {
		LOG_ERROR("queue.checkpoint_failed", L_C("error", strerror(-up.code)));
	} else {
		metric_add(&m_ckpt, 1);
		up.last_covers = up.covers;
		if (!up.then)
			record_checkpoint(up.covers);
		spool_recycle(queued.spool);
	}
	if (up.again) {
		up.again = false;
		if (!ckpt_begin())
			up.then(-EIO);
	} else if (then) {
		then(up.code);
	}
}

static struct qmsg *
first_message(void)
{
	struct list *l = queued.q.all.next;

	return l == &queued.q.all ? NULL : LIST_ENTRY(l, struct qmsg, all);
}

static struct qmsg *
message_after(const struct qmsg *m)
{
	return m->all.next == &queued.q.all ? NULL : LIST_ENTRY(m->all.next, struct qmsg, all);
}

/* Writes what the cursors stand at. */
static void
entry_put(struct buf *b)
{
	if (up.cursor)
		queue_entry_put(b, up.cursor);
	else if (!up.key->pending) /* its record will be behind the covered sequence */
		dedup_entry_put(b, up.key);
}

static void
entry_next(void)
{
	if (up.cursor)
		up.cursor = message_after(up.cursor);
	else
		up.key = dedup_next(&queued.q.dedup, up.key);
}

/* A section of entries from the cursors on. */
static struct section *
make_section(void)
{
	struct section *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->b.max = SPOOL_SECTION;
	while ((up.cursor || up.key) && s->b.n < SLICE_BYTES) {
		size_t before = s->b.n;

		entry_put(&s->b);
		if (s->b.over && before) { /* it opens the next section */
			s->b.n = before;
			s->b.over = false;
			break;
		}
		if (s->b.over)
			break;
		s->count += s->b.n > before;
		entry_next();
	}
	return s;
}

static void
post_section(void)
{
	struct section *s = make_section();

	if (!s || s->b.over) {
		up.code = -ENOMEM;
		up.cursor = NULL;
		up.key = NULL;
	}
	if (!s)
		return;
	up.sections++;
	if (work_post(queued.io, section_run, section_done, s))
		fatal("queue.memory", "no memory");
}

static void
slice(void *arg)
{
	(void)arg;
	if ((up.cursor || up.key) && up.sections < SECTIONS_WAITING)
		post_section();
	if (up.cursor || up.key) {
		loop_timer(queued.loop, &up.slice, up.sections < SECTIONS_WAITING ? 0 : 2, slice, NULL);
		return;
	}
	if (work_post(queued.io, ckpt_run, ckpt_done, NULL))
		fatal("queue.memory", "no memory");
}

static bool
ckpt_begin(void)
{
	int rc;

	up.covers = commit_applied(queued.commit);
	rc = spool_ckpt_begin(queued.spool, up.covers, &up.ckpt);
	up.last_ms = clock_ms();
	if (rc) {
		LOG_ERROR("queue.checkpoint_failed", L_C("error", strerror(-rc)));
		return false;
	}
	up.code = 0;
	up.cursor = first_message();
	up.key = dedup_first(&queued.q.dedup);
	slice(NULL);
	return true;
}

void
upkeep_forget(const struct qmsg *m)
{
	if (up.cursor == m)
		up.cursor = message_after(m);
}

static void
forget_key(struct dedup_key *k)
{
	if (up.key == k)
		up.key = dedup_next(&queued.q.dedup, k);
}

void
upkeep_last_checkpoint(void (*done)(int code))
{
	loop_timer_clear(queued.loop, &up.tick);
	park_retry(true);
	up.then = done;
	up.again = up.ckpt != NULL; /* one that runs says less */
	if (!up.again && !ckpt_begin())
		done(-EIO);
}

static void
maybe_checkpoint(void)
{
	uint64_t age = clock_ms() - up.last_ms;

	if (up.ckpt || up.covers == commit_applied(queued.commit))
		return;
	if (age >= queued.settings->checkpoint_interval_ms ||
	    (age >= CHECKPOINT_BUSY_MS && spool_wants_checkpoint(queued.spool) &&
	    up.usage.ready < SPOOL_RESERVE + 8))
		ckpt_begin();
}

/* ---- filling segments ---- */

static void
fill_run(void *arg)
{
	struct err e;
	int *code = arg;

	*code = spool_fill_segment(queued.spool, &e);
	if (*code)
		LOG_ERROR("queue.segment_failed", L_C("text", e.text));
}

static void maybe_fill(void);

static void
fill_done(void *arg)
{
	int *code = arg;

	up.filling = false;
	if (!*code)
		maybe_fill();
	park_retry(*code != 0);
	free(code);
}

static void
maybe_fill(void)
{
	int *code;

	if (up.filling || queued.stopping || !spool_wants_segment(queued.spool))
		return;
	code = calloc(1, sizeof *code);
	if (code && !work_post(queued.fill, fill_run, fill_done, code))
		up.filling = true;
}

/* ---- moving ---- */

struct move {
	uint64_t id;
	struct spool_place at;
	void *mem;
	struct spool_record r;
	int code;
};

static void
move_run(void *arg)
{
	struct move *mv = arg;

	mv->mem = malloc(mv->at.len);
	mv->code = mv->mem ? spool_read(queued.spool, &mv->at, mv->id, mv->mem, &mv->r) : -ENOMEM;
}

static void
move_done(void *arg)
{
	struct move *mv = arg;
	struct qmsg *m = queue_find(&queued.q, mv->id);

	up.moving--;
	spool_read_end(queued.spool, mv->at.seg);
	if (m && !m->finishing && m->seg == mv->at.seg && m->off == mv->at.off) {
		if (mv->code)
			LOG_ERROR("queue.unreadable", L_HEX("qid", m->id), L_U64("segment", m->seg),
			    L_U64("offset", m->off), L_C("error", strerror(-mv->code)));
		else
			record_move(m, &mv->r);
	}
	free(mv->mem);
	free(mv);
}

static void
move_one(struct qmsg *m)
{
	struct move *mv = calloc(1, sizeof *mv);

	if (!mv)
		return;
	mv->id = m->id;
	mv->at = (struct spool_place){ m->seg, m->rec_len, m->off };
	spool_read_begin(queued.spool, m->seg);
	if (work_post(queued.io, move_run, move_done, mv)) {
		spool_read_end(queued.spool, m->seg);
		free(mv);
		return;
	}
	up.moving++;
}

static void
maybe_move(void)
{
	struct qmsg *m;
	uint32_t seg;

	if (up.moving || queued.stopping || !spool_sparse(queued.spool, &seg))
		return;
	LIST_FOREACH(m, &queued.q.all, struct qmsg, all) {
		if (m->seg == seg && !m->finishing)
			move_one(m);
		if (up.moving >= MOVES_WAITING)
			break;
	}
}

/* ---- pressure ---- */

static bool
over(uint64_t v, uint64_t max, unsigned percent)
{
	return max && v / percent * 100 >= max;
}

/* Whether a job is to bring it into the store: what other servers make wait is no reason
 * to take less mail. */
static bool
waits_for_store(const struct qmsg *m)
{
	for (uint32_t i = 0; m->jobs && i < m->n_rcpts && i < 16; i++)
		if (m->rcpts[i].route == ROUTE_LOCAL && m->rcpts[i].state == RCPT_WAITING &&
		    m->rcpts[i].flags & RCPT_COVERED)
			return true;
	return false;
}

/* The oldest message that could go into the store now, in ms. */
static uint64_t
lag(void)
{
	struct qmsg *m;
	unsigned looked = 0;

	LIST_FOREACH(m, &queued.q.all, struct qmsg, all) {
		if (m->state == QS_ACTIVE && waits_for_store(m))
			return queued_now_ms() - m->arrived_us / 1000;
		if (++looked == 1000)
			break;
	}
	return 0;
}

static unsigned
level(void)
{
	const struct settings *s = queued.settings;
	const struct spool_usage *u = &up.usage;

	if (u->failed || (u->ready <= SPOOL_RESERVE && !spool_has_room(queued.spool, 0, s->spool_segment_size / 4)) ||
	    over(queued.q.recipients, s->queue_recipient_limit, 100) ||
	    over(u->live_bytes, s->spool_size_limit, 100))
		return 2;
	if ((s->spool_min_free && u->disk_free < 2 * s->spool_min_free) ||
	    over(queued.q.recipients, s->queue_recipient_limit, 80) ||
	    over(u->live_bytes, s->spool_size_limit, 80) || lag() > LAG_SLOW_MS)
		return 1;
	return 0;
}

static void
tell_pressure(void)
{
	struct queue_pressure_event p = { .level = level() };
	struct buf b = { 0 };

	p.delay_ms = p.level ? 250 : 0;
	if (p.level != queued.pressure)
		LOG_WARN("queue.pressure", L_U64("level", p.level),
		    L_U64("recipients", queued.q.recipients), L_U64("free", up.usage.disk_free));
	if (p.level == queued.pressure && !p.level)
		return;
	queued.pressure = p.level;
	queue_pressure_put(&b, &p);
	accept_send_event(MSG_QUEUE_EV_PRESSURE, &b);
	buf_done(&b);
}

/* A tenant may hold half of what is left beside the others once the queue is
 * half full. */
unsigned
upkeep_refuses(const struct tenant *t, size_t rcpts, bool exempt)
{
	uint64_t max = exempt ? 0 : queued.settings->queue_recipient_limit, used = queued.q.recipients;

	if (max && used + rcpts > max)
		return 452;
	if (max && t && used > max / 2 && t->recipients > (max - (used - t->recipients)) / 2)
		return 452;
	return 0;
}

bool
upkeep_has_room(size_t bytes)
{
	if (spool_has_room(queued.spool, commit_pending(queued.commit), bytes + SPOOL_BLOCK))
		return true;
	maybe_fill();
	return false;
}

bool
upkeep_room_comes(void)
{
	return up.filling && !queued.stopping;
}

/* ---- the second ---- */

static void
set_metrics(void)
{
	struct qmsg *m = first_message();

	metric_set(&m_active, (int64_t)queued.q.in_state[QS_ACTIVE]);
	metric_set(&m_deferred, (int64_t)queued.q.in_state[QS_DEFERRED]);
	metric_set(&m_held, (int64_t)queued.q.in_state[QS_HELD]);
	metric_set(&m_rcpts, (int64_t)queued.q.recipients);
	metric_set(&m_bytes, (int64_t)queued.q.bytes);
	metric_set(&m_oldest, m ? (int64_t)((clock_real_us() - m->arrived_us) / 1000000) : 0);
	metric_set(&m_segments, (int64_t)up.usage.segments);
	metric_set(&m_dedup, (int64_t)queued.q.dedup.n);
	metric_set(&m_forgot, (int64_t)queued.q.dedup.forgotten);
	metric_set(&m_free, (int64_t)up.usage.disk_free);
}

static void
on_tick(void *arg)
{
	(void)arg;
	loop_timer(queued.loop, &up.tick, TICK_MS, on_tick, NULL);
	spool_usage(queued.spool, &up.usage);
	spool_recycle(queued.spool);
	dedup_expire(&queued.q.dedup, queued_now_ms());
	maybe_checkpoint();
	maybe_fill();
	park_retry(false);
	maybe_move();
	tell_pressure();
	set_metrics();
	if (up.ticks++ % LOW_WATER_TICKS == 0)
		local_low_water();
}

void
upkeep_start(void)
{
	up.last_ms = clock_ms();
	queued.q.dedup.on_remove = forget_key;
	on_tick(NULL);
	if (!queued.recovery.fresh)
		ckpt_begin();
}
