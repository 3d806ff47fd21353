/*
 * Messages that take too long: a cursor walks the queue, a slice a second, so that each
 * message is looked at about once a minute wherever it waits. One whose lifetime is over
 * (or whose deliver-by time, RFC 2852) fails; of one that has waited for a while the
 * sender is told. Held messages stay what they are.
 */
#include <stdlib.h>

#include "lib/base/log.h"
#include "mta/queued.h"

#define TICK_MS 1000u
#define ROUND_TICKS 60u
#define SLICE_MIN 2000u

static struct {
	struct timer tick;
	struct qmsg *cursor;     /* next to look at; NULL: begin again */
} walk;

static struct qmsg *
after(const struct qmsg *m)
{
	return m->all.next == &queued.q.all ? NULL : LIST_ENTRY(m->all.next, struct qmsg, all);
}

void
expire_forget(const struct qmsg *m)
{
	if (walk.cursor == m)
		walk.cursor = after(m);
}

/* ---- the end ---- */

static struct rcpt_result
expired(const struct qmsg *m, uint32_t i, struct str enhanced, struct str text)
{
	const struct qrcpt *r = &m->rcpts[i];
	const struct qdest *d = dest_of(r);
	const struct reason *why = r->why ? r->why : d ? d->why : NULL;
	struct rcpt_result res = { .index = i, .state = deliver_failed(m, r), .enhanced = enhanced,
		.text = text };

	if (why) {
		res.smtp = why->smtp;
		res.text = why->text;
		res.mta = why->mta;
	}
	return res;
}

static void
expire(struct qmsg *m, struct str enhanced, struct str text)
{
	struct queue_update u = { .results = calloc(m->n_rcpts + 1u, sizeof *u.results) };

	if (!u.results)
		fatal("queue.memory", "no memory");
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		struct qrcpt *r = &m->rcpts[i];

		if (r->state != RCPT_WAITING || r->flags & RCPT_BUSY)
			continue;
		u.results[u.n_results] = expired(m, i, enhanced, text);
		deliver_log(m, &u.results[u.n_results++]);
		r->flags &= (uint8_t)~RCPT_COVERED; /* the job that waits will find nothing */
	}
	if (u.n_results) {
		LOG_INFO("queue.expired", L_HEX("qid", m->id), L_STR("from", qmsg_sender(m)),
		    L_U64("rcpts", u.n_results), L_STR("text", text));
		u.has_next = true;
		u.next_ms = queued_now_ms();
		record_update(m, &u, false, NULL, NULL);
		sched_message(m);
	}
	free(u.results);
}

/* ---- what is due ---- */

static uint64_t
lifetime(const struct qmsg *m)
{
	return bounce_has_sender(m) ? queued.settings->queue_lifetime_ms :
	    queued.settings->bounce_lifetime_ms;
}

static bool
wants_delay(const struct qmsg *m)
{
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		const struct qrcpt *r = &m->rcpts[i];

		if (bounce_wants_delay(r))
			return true;
	}
	return false;
}

/* Once a message, never for one that nobody sent. */
static void
tell_delay(struct qmsg *m)
{
	if (!bounce_has_sender(m) || m->flags & (MSG_DELAY_TOLD | MSG_TO_POSTMASTER) || m->delay_due ||
	    !wants_delay(m))
		return;
	sched_tell_delay(m);
}

static void
look(struct qmsg *m, uint64_t now)
{
	uint64_t born = m->born_s * UINT64_C(1000), by = m->deliver_by_s * UINT64_C(1000);
	uint64_t notice = queued.settings->delay_notice_after_ms;

	if (m->finishing || m->flags & MSG_HELD)
		return;
	if (by && now >= by && !(m->env_flags & ENV_BY_NOTIFY))
		expire(m, STR("5.4.7"), STR("Delivery time expired"));
	else if (now > born && now - born >= lifetime(m))
		expire(m, STR("4.4.7"), STR("Message could not be delivered for too long"));
	else if ((by && now >= by) || (notice && now > born && now - born >= notice))
		tell_delay(m);
}

static void
on_tick(void *arg)
{
	uint64_t now = queued_now_ms(), n = queued.q.messages / ROUND_TICKS + SLICE_MIN;

	(void)arg;
	loop_timer(queued.loop, &walk.tick, TICK_MS, on_tick, NULL);
	if (!walk.cursor && !list_empty(&queued.q.all))
		walk.cursor = LIST_ENTRY(queued.q.all.next, struct qmsg, all);
	for (uint64_t i = 0; i < n && walk.cursor && !queued.stopping; i++) {
		struct qmsg *m = walk.cursor;

		walk.cursor = after(m);
		look(m, now);
	}
}

void
expire_start(void)
{
	on_tick(NULL);
}
