/*
 * Who is tried when. A message that is due becomes a job for each destination
 * that has recipients of it; jobs wait in queues of (tenant, destination), and
 * a destination takes from its tenants in turn, so that no tenant starves
 * another. Messages that are not due lie in a heap by the time of their next
 * try. Waits grow exponentially, with jitter, for a message that was deferred
 * and for a destination that cannot be reached.
 */
#include <stdlib.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "mta/queued.h"

#define ACTIVE_MAX 20000u       /* jobs at a time; the rest stays in the heap */
#define TENANT_ACTIVE_MAX 5000u
#define WINDOW 1024u            /* jobs at a destination at a time */
#define WINDOW_BYTES ((size_t)32 << 20)
#define TURN 8u                 /* jobs of one tenant before the next one's */
#define PAUSE_MIN_MS 200u
#define PAUSE_MAX_MS 30000u
#define CROWDED_MS 1000u

uint64_t
queued_now_ms(void)
{
	return clock_real_us() / 1000;
}

/* ms, 20 % more or less. */
static uint64_t
jitter(uint64_t ms)
{
	uint16_t r = 0;

	if (getrandom(&r, sizeof r, GRND_NONBLOCK) != sizeof r)
		r = 32768;
	return ms - ms / 5 + ms * 2 / 5 * r / 65536;
}

/* ---- heap ---- */

static bool
before(const struct qmsg *a, const struct qmsg *b)
{
	return a->next_ms < b->next_ms;
}

static void
place(size_t i, struct qmsg *m)
{
	queued.heap[i] = m;
	m->heap = (uint32_t)i + 1;
}

static void
sift(size_t i, struct qmsg *m)
{
	for (; i && before(m, queued.heap[(i - 1) / 2]); i = (i - 1) / 2)
		place(i, queued.heap[(i - 1) / 2]);
	for (size_t c; (c = 2 * i + 1) < queued.heap_n; i = c) {
		if (c + 1 < queued.heap_n && before(queued.heap[c + 1], queued.heap[c]))
			c++;
		if (!before(queued.heap[c], m))
			break;
		place(i, queued.heap[c]);
	}
	place(i, m);
}

static void
heap_push(struct qmsg *m)
{
	if (m->heap) {
		sift(m->heap - 1, m);
		return;
	}
	if (queued.heap_n == queued.heap_cap) {
		size_t cap = queued.heap_cap * 2 + 1024;
		struct qmsg **h = realloc(queued.heap, cap * sizeof(struct qmsg *));

		if (!h)
			fatal("queue.memory", "no memory for %zu messages", cap);
		queued.heap = h;
		queued.heap_cap = cap;
	}
	sift(queued.heap_n++, m);
}

void
sched_forget(struct qmsg *m)
{
	size_t i = m->heap;
	struct qmsg *last;

	if (!i--)
		return;
	m->heap = 0;
	last = queued.heap[--queued.heap_n];
	if (last != m)
		sift(i, last);
}

/* ---- jobs ---- */

/* A tenant has few destinations: its own list is the one to look through. */
static struct tenant_queue *
tenant_queue(struct tenant *t, struct qdest *d)
{
	struct tenant_queue *tq;

	LIST_FOREACH(tq, &t->queues, struct tenant_queue, of_tenant)
		if (tq->d == d)
			return tq;
	tq = calloc(1, sizeof *tq);
	if (!tq)
		fatal("queue.memory", "no memory");
	tq->tenant = t;
	tq->d = d;
	tq->turn = TURN;
	list_init(&tq->jobs);
	list_push(&t->queues, &tq->of_tenant);
	list_push(&d->ring, &tq->ring);
	return tq;
}

static void
on_turn_end(void *arg)
{
	(void)arg;
	sched_dispatch_all();
}

static void
enqueue(struct qjob *j, bool first)
{
	static struct turn_hook hook;

	j->tq = tenant_queue(j->m->tenant, j->d);
	if (first)
		list_push_front(&j->tq->jobs, &j->link);
	else
		list_push(&j->tq->jobs, &j->link);
	j->d->waiting++;
	loop_turn_hook(queued.loop, &hook, on_turn_end, NULL);
}

static void
dequeue(struct qjob *j)
{
	struct tenant_queue *tq = j->tq;

	list_remove(&j->link);
	j->tq = NULL;
	j->d->waiting--;
	if (!list_empty(&tq->jobs))
		return;
	list_remove(&tq->ring);
	list_remove(&tq->of_tenant);
	free(tq);
}

static void
make_job(struct qmsg *m, struct qdest *d)
{
	struct qjob *j = calloc(1, sizeof *j);

	if (!j)
		fatal("queue.memory", "no memory");
	j->m = m;
	j->d = d;
	queue_pin(m);
	m->jobs++;
	m->tenant->active++;
	queued.jobs++;
	enqueue(j, false);
}

static bool
has_rcpt_for(const struct qmsg *m, const struct qdest *d)
{
	for (uint32_t i = 0; i < m->n_rcpts; i++)
		if (deliver_wants(&m->rcpts[i], d))
			return true;
	return false;
}

static void
make_jobs(struct qmsg *m)
{
	for (unsigned i = 0; i < queued.n_dests; i++)
		if (has_rcpt_for(m, &queued.dest[i]))
			make_job(m, &queued.dest[i]);
}

/* ---- due messages ---- */

static void on_wake(void *arg);

static void
set_wake(void)
{
	uint64_t now = queued_now_ms(), at;

	if (!queued.heap_n)
		return;
	at = queued.heap[0]->next_ms;
	at = at > now ? at - now : queued.jobs >= ACTIVE_MAX ? 50 : 0;
	loop_timer(queued.loop, &queued.wake, at < 60000 ? at : 60000, on_wake, NULL);
}

/* Onto the heap until next_ms. */
static void
wait_due(struct qmsg *m)
{
	heap_push(m);
	if (queued.heap[0] == m || !queued.wake.pos)
		set_wake();
}

/* No job could be made: no recipient has a way to go. */
static void
no_way(struct qmsg *m)
{
	m->next_ms = queued_now_ms() + queued.settings->retry_max_ms;
	wait_due(m);
	queue_set_state(&queued.q, m, QS_DEFERRED);
}

static void
activate(struct qmsg *m)
{
	if (m->tenant->active >= TENANT_ACTIVE_MAX) {
		m->next_ms = queued_now_ms() + CROWDED_MS;
		wait_due(m);
		return;
	}
	make_jobs(m);
	if (!m->jobs)
		no_way(m);
}

static void
on_wake(void *arg)
{
	uint64_t now = queued_now_ms();

	(void)arg;
	while (queued.heap_n && queued.heap[0]->next_ms <= now && queued.jobs < ACTIVE_MAX &&
	    !queued.stopping) {
		struct qmsg *m = queued.heap[0];

		sched_forget(m);
		activate(m);
	}
	set_wake();
	sched_dispatch_all();
}

void
sched_message(struct qmsg *m)
{
	if (m->gone || m->finishing || m->jobs || m->flags & MSG_HELD) {
		if (m->flags & MSG_HELD)
			sched_forget(m);
		return;
	}
	if (!m->n_open) { /* its final record did not become durable */
		record_update(m, &(struct queue_update){ 0 }, false, NULL, NULL);
		return;
	}
	if (m->next_ms <= queued_now_ms() && queued.jobs < ACTIVE_MAX && !queued.stopping) {
		sched_forget(m);
		activate(m);
		return;
	}
	wait_due(m);
}

/* ---- destinations ---- */

void
sched_init(void)
{
	queued.n_dests = chan_instances(ROLE_MAILD);
	if (queued.n_dests > DESTS_MAX)
		queued.n_dests = DESTS_MAX;
	for (unsigned i = 0; i < queued.n_dests; i++) {
		queued.dest[i].instance = i;
		list_init(&queued.dest[i].ring);
	}
}

static struct qjob *
next_job(struct qdest *d)
{
	struct tenant_queue *tq;
	struct qjob *j;

	if (list_empty(&d->ring))
		return NULL;
	tq = LIST_ENTRY(d->ring.next, struct tenant_queue, ring);
	j = LIST_ENTRY(tq->jobs.next, struct qjob, link);
	if (!--tq->turn) {
		tq->turn = TURN;
		list_remove(&tq->ring);
		list_push(&d->ring, &tq->ring);
	}
	dequeue(j);
	return j;
}

void
sched_dispatch(struct qdest *d)
{
	struct qjob *j;

	while (!d->paused && !queued.stopping && d->running < WINDOW &&
	    d->running_bytes < WINDOW_BYTES && (j = next_job(d))) {
		d->running++;
		d->running_bytes += j->m->size;
		j->running = true;
		deliver_start(j);
	}
}

void
sched_dispatch_all(void)
{
	for (unsigned i = 0; i < queued.n_dests; i++)
		sched_dispatch(&queued.dest[i]);
}

static void
on_pause_end(void *arg)
{
	struct qdest *d = arg;

	d->paused = false;
	sched_dispatch(d);
}

void
sched_pause(struct qdest *d)
{
	uint64_t ms = PAUSE_MIN_MS;

	if (d->paused)
		return;
	for (unsigned i = 0; i < d->fails && ms < PAUSE_MAX_MS; i++)
		ms *= 2;
	d->fails++;
	d->paused = true;
	LOG_WARN("queue.destination_paused", L_U64("maild", d->instance), L_U64("ms", ms));
	loop_timer(queued.loop, &d->pause, jitter(ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS),
	    on_pause_end, d);
}

void
sched_up(unsigned instance)
{
	struct qdest *d = &queued.dest[instance];

	if (instance >= queued.n_dests || !d->paused)
		return;
	loop_timer(queued.loop, &d->pause, PAUSE_MIN_MS, on_pause_end, d);
}

static void
stop_running(struct qjob *j)
{
	if (!j->running)
		return;
	j->running = false;
	j->d->running--;
	j->d->running_bytes -= j->m->size;
}

void
sched_again(struct qjob *j)
{
	stop_running(j);
	j->lost = false;
	enqueue(j, true);
}

/* ---- after a try ---- */

static uint64_t
backoff(unsigned attempts)
{
	uint64_t ms = queued.settings->retry_min_ms, max = queued.settings->retry_max_ms;

	for (unsigned i = 1; i < attempts && ms < max; i++)
		ms *= 2;
	return jitter(ms < max ? ms : max);
}

/* All jobs of a message have ended and recipients are left. */
static void
defer(struct qmsg *m)
{
	struct queue_update u = { .has_next = true, .attempts = m->attempts + 1u };

	if (m->flags & MSG_HELD || queued.stopping)
		return; /* not tried, or not to the end */
	if (u.attempts > UINT16_MAX)
		u.attempts = UINT16_MAX;
	u.next_ms = queued_now_ms() + backoff(u.attempts);
	record_update(m, &u, false, NULL, NULL);
	LOG_INFO("queue.deferred", L_HEX("qid", m->id), L_U64("open", m->n_open),
	    L_U64("attempts", m->attempts), L_U64("next_ms", u.next_ms - queued_now_ms()));
	heap_push(m);
	set_wake();
}

void
sched_job_done(struct qjob *j)
{
	struct qmsg *m = j->m;

	stop_running(j);
	queued.jobs--;
	m->jobs--;
	m->tenant->active--;
	if (!m->jobs && !m->gone && !m->finishing && m->n_open)
		defer(m);
	queue_unpin(&queued.q, m);
	free(j);
}
