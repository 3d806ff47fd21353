/*
 * Who is tried when. A message that is due becomes a job for each destination that its
 * open recipients lead to; jobs wait in lanes of (tenant, destination), see queue_dest.c.
 * When a job has ended, the recipients that it leaves are tried again after a wait that
 * grows from try to try, with jitter, and stands in the log; until then the message lies
 * in a heap. A recipient that is covered belongs to a job, so that a message may have
 * jobs and lie in the heap at the same time.
 */
#include <stdlib.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "mta/queued.h"

#define WAKE_MAX_MS 60000u
#define WAKE_BATCH 10000u /* messages a turn */

uint64_t
queued_now_ms(void)
{
	return clock_real_us() / 1000;
}

uint64_t
sched_jitter(uint64_t ms)
{
	uint16_t r = 0;

	if (getrandom(&r, sizeof r, GRND_NONBLOCK) != sizeof r)
		r = 32768;
	return ms - ms / 5 + ms * 2 / 5 * r / 65536;
}

/* ---- jobs ---- */

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
	dest_enqueue(j, false);
}

/* Covers the recipients from i on that lead to d. */
static void
cover(struct qmsg *m, uint32_t i, const struct qdest *d)
{
	for (; i < m->n_rcpts; i++)
		if (!(m->rcpts[i].flags & RCPT_COVERED) && dest_of(&m->rcpts[i]) == d)
			m->rcpts[i].flags |= RCPT_COVERED;
}

/* Jobs for all open recipients that have none. False: some lead nowhere. */
static bool
make_jobs(struct qmsg *m)
{
	bool all = true;

	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		struct qrcpt *r = &m->rcpts[i];
		struct qdest *d;

		if (r->flags & RCPT_COVERED || !qrcpt_is_open(r))
			continue;
		d = dest_of(r);
		if (!d) {
			all = false;
			continue;
		}
		cover(m, i, d);
		make_job(m, d);
	}
	return all;
}

/* ---- due messages ---- */

static void on_wake(void *arg);

static void
set_wake(void)
{
	const struct qmsg *first = heap_first();
	uint64_t now = queued_now_ms(), ms;

	if (!first)
		return;
	ms = first->next_ms > now ? first->next_ms - now : 0;
	loop_timer(queued.loop, &queued.wake, ms < WAKE_MAX_MS ? ms : WAKE_MAX_MS, on_wake, NULL);
}

/* Onto the heap until next_ms. */
static void
wait_due(struct qmsg *m)
{
	heap_push(m);
	if (heap_first() == m || !queued.wake.pos)
		set_wake();
}

static void
activate(struct qmsg *m)
{
	if (make_jobs(m))
		return;
	m->next_ms = queued_now_ms() + queued.settings->retry_max_ms;
	wait_due(m);
	queue_set_state(&queued.q, m, QS_DEFERRED);
}

static void
on_wake(void *arg)
{
	uint64_t now = queued_now_ms();
	struct qmsg *m;

	(void)arg;
	for (unsigned i = 0; i < WAKE_BATCH && (m = heap_first()) && m->next_ms <= now; i++) {
		heap_remove(m);
		activate(m);
	}
	set_wake();
}

void
sched_message(struct qmsg *m)
{
	if (m->flags & MSG_HELD)
		heap_remove(m);
	if (m->gone || m->finishing || m->flags & MSG_HELD)
		return;
	if (!m->n_open) { /* its final record did not become durable */
		record_update(m, &(struct queue_update){ 0 }, false, NULL, NULL);
		return;
	}
	if (m->next_ms <= queued_now_ms() && !queued.stopping) {
		heap_remove(m);
		activate(m);
		return;
	}
	wait_due(m);
}

void
sched_forget(struct qmsg *m)
{
	heap_remove(m);
}

void
sched_tell_delay(struct qmsg *m)
{
	m->delay_due = true;
	make_job(m, &queued.bounce);
}

bool
sched_startable(const struct qjob *j)
{
	return !j->m->gone && !j->m->finishing && !(j->m->flags & MSG_HELD);
}

/* ---- after a try ---- */

static uint64_t
backoff(unsigned attempts)
{
	uint64_t ms = queued.settings->retry_min_ms, max = queued.settings->retry_max_ms;

	for (unsigned i = 1; i < attempts && ms < max; i++)
		ms *= 2;
	return sched_jitter(ms < max ? ms : max);
}

/* Recipients are left after a try. When another job of the same round has said so
 * already, the wait is known. */
static void
defer(struct qmsg *m)
{
	struct queue_update u = { .has_next = true, .attempts = m->attempts + 1u };

	if (m->heap && m->next_ms > queued_now_ms())
		return;
	if (u.attempts > UINT16_MAX)
		u.attempts = UINT16_MAX;
	u.next_ms = queued_now_ms() + backoff(u.attempts);
	record_update(m, &u, false, NULL, NULL);
	LOG_INFO("queue.deferred", L_HEX("qid", m->id), L_U64("open", m->n_open),
	    L_U64("attempts", m->attempts), L_U64("next_ms", u.next_ms - queued_now_ms()));
	wait_due(m);
}

/* What a job left uncovered: recipients whose fate is to be told go on at once, unless
 * that is what has just failed. */
static void
settle(struct qmsg *m, bool tried, bool told)
{
	bool waiting = false, owed = false;

	if (m->gone || m->finishing || m->flags & MSG_HELD || queued.stopping)
		return; /* not tried, or not to the end */
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		const struct qrcpt *r = &m->rcpts[i];

		if (r->flags & RCPT_COVERED || !qrcpt_is_open(r))
			continue;
		if (rcpt_is_owed((enum rcpt_state)r->state) && !told)
			owed = true;
		else
			waiting = true;
	}
	if (owed) {
		cover(m, 0, &queued.bounce);
		make_job(m, &queued.bounce);
	}
	if (waiting && tried)
		defer(m);
	else if (waiting)
		sched_message(m);
}

static void
end_job(struct qjob *j, bool tried)
{
	struct qmsg *m = j->m;

	dest_stop_running(j);
	for (uint32_t i = 0; i < m->n_rcpts; i++)
		if (!(m->rcpts[i].flags & RCPT_BUSY) && dest_wants(&m->rcpts[i], j->d))
			m->rcpts[i].flags &= (uint8_t)~RCPT_COVERED;
	if (j->d->kind == DEST_BOUNCE && !m->delay_asked)
		m->delay_due = false; /* what still wants it asks again */
	m->jobs--;
	settle(m, tried, tried && j->d->kind == DEST_BOUNCE);
	queue_unpin(&queued.q, m);
	free(j);
}

void
sched_job_done(struct qjob *j)
{
	end_job(j, !j->again);
}

void
sched_job_drop(struct qjob *j)
{
	end_job(j, false);
}

void
sched_again(struct qjob *j)
{
	dest_stop_running(j);
	j->lost = false;
	j->again = false;
	dest_enqueue(j, true);
}
