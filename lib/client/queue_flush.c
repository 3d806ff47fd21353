/* Bringing mail for a domain forward; see queue_flush.h. */
#include "lib/client/queue_flush.h"

#include <errno.h>

#define FLUSH_MS 60000u

enum { Q_DOMAIN = 1, Q_SUBDOMAINS };
enum { A_MESSAGES = 1 };

void
queue_flush_put(struct buf *b, const struct queue_flush *q)
{
	wire_str(b, Q_DOMAIN, q->domain);
	wire_u64(b, Q_SUBDOMAINS, q->subdomains);
}

int
queue_flush_get(struct str body, struct queue_flush *ret)
{
	struct queue_flush q = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag == Q_DOMAIN)
			q.domain = f.v;
		else if (f.tag == Q_SUBDOMAINS)
			q.subdomains = wire_int(&f) != 0;
	}
	if (!r && !q.domain.n)
		r = -EPROTO;
	if (!r)
		*ret = q;
	return r;
}

void
queue_flushed_put(struct buf *b, uint64_t messages)
{
	wire_u64(b, A_MESSAGES, messages);
}

int
queue_flushed_get(struct str body, uint64_t *ret)
{
	struct wire_field f;
	uint64_t n = 0;
	int r;

	while ((r = wire_next(&body, &f)) > 0)
		if (f.tag == A_MESSAGES)
			n = wire_int(&f);
	if (!r)
		*ret = n;
	return r;
}

int
queue_flush(const struct queue_flush *q, struct arena *a, uint64_t *ret_messages)
{
	struct chan *c = chan_to(ROLE_QUEUED, 0);
	struct wire_error we = { 0 };
	struct buf b = { 0 };
	struct frame f;
	int r;

	queue_flush_put(&b, q);
	r = c ? chan_call_buf(c, MSG_QUEUE_FLUSH, &b, FLUSH_MS, a, &f, &we) : -ENOTCONN;
	buf_done(&b);
	return r ? r : queue_flushed_get(f.body, ret_messages);
}
