/*
 * ETRN (RFC 1985): mail that waits for a domain is tried now. The tries are brought
 * forward in memory alone: a queued that restarts before them goes by its records.
 * One request at a time walks over the queue, since each costs a walk.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/client/queue_flush.h"
#include "mta/queue_intern.h"
#include "mta/queued.h"

#define STEP 1000u /* messages, then others get their turn */

static bool walking;

/* Equal, or a subdomain where those are asked for too. */
static bool
is_meant(const struct queue_flush *q, struct str domain)
{
	if (str_ieq(domain, q->domain))
		return true;
	return q->subdomains && domain.n > q->domain.n && str_iends(domain, q->domain) &&
	    domain.p[domain.n - q->domain.n - 1] == '.';
}

/* Brings the message forward. Whether something of it waits for the domain. */
static bool
flush(struct qmsg *m, const struct queue_flush *q)
{
	bool any = false;

	if (m->gone || m->finishing || m->flags & MSG_HELD)
		return false;
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		const struct qrcpt *r = &m->rcpts[i];

		if (r->route != ROUTE_REMOTE || r->state != RCPT_WAITING ||
		    !is_meant(q, queue_domain_of(qrcpt_address(m, r))))
			continue;
		dest_resume(dest_of(r));
		any = true;
	}
	if (any && m->state == QS_DEFERRED) {
		m->next_ms = queued_now_ms();
		sched_message(m);
	}
	return any;
}

/* The ids of all messages, since they come and go during the walk. */
static uint64_t *
all_ids(size_t *ret_n)
{
	uint64_t *v = calloc(queued.q.messages + 1, sizeof *v);
	size_t n = 0;
	struct qmsg *m;

	if (!v)
		return NULL;
	LIST_FOREACH(m, &queued.q.all, struct qmsg, all)
		if (n < queued.q.messages)
			v[n++] = m->id;
	*ret_n = n;
	return v;
}

static int
flush_all(const struct queue_flush *q, uint64_t *ret)
{
	uint64_t *ids, found = 0;
	size_t n;

	if (walking)
		return -EBUSY;
	ids = all_ids(&n);
	if (!ids)
		return -ENOMEM;
	walking = true;
	for (size_t i = 0; i < n; i++) {
		struct qmsg *m = queue_find(&queued.q, ids[i]);

		found += m && flush(m, q);
		if (i % STEP == STEP - 1)
			co_yield();
	}
	walking = false;
	free(ids);
	*ret = found;
	return 0;
}

void
flush_request(struct peer *p, struct frame *f)
{
	struct buf b = { 0 };
	struct queue_flush q;
	uint64_t found = 0;
	int r = queue_flush_get(f->body, &q);

	chan_peer_ref(p);
	if (!r)
		r = flush_all(&q, &found);
	if (r) {
		chan_answer_error(p, f->id, f->type, &(struct wire_error){ .code = r,
			.text = STR("the queue cannot be flushed now") });
	} else {
		LOG_INFO("queue.flushed", L_STR("domain", q.domain), L_U64("subdomains", q.subdomains),
		    L_U64("messages", found));
		queue_flushed_put(&b, found);
		chan_answer(p, f->id, f->type, &b, -1);
		buf_done(&b);
	}
	chan_peer_unref(&p);
}
