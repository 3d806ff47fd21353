/* MSG_QUEUE_FLUSH: mail that waits for a domain is tried now (RFC 1985). */
#ifndef LIB_CLIENT_QUEUE_FLUSH_H
#define LIB_CLIENT_QUEUE_FLUSH_H

#include "lib/client/queue.h"

struct queue_flush {
	struct str domain;     /* of recipients; ASCII case does not matter */
	bool subdomains;       /* those below it too */
};

/* On a coroutine. *ret_messages: how many have recipients there that wait; held ones are
 * let alone. -EBUSY: another flush runs; else no answer now. */
int queue_flush(const struct queue_flush *q, struct arena *a, uint64_t *ret_messages);

void queue_flush_put(struct buf *b, const struct queue_flush *q);
int queue_flush_get(struct str body, struct queue_flush *ret);
void queue_flushed_put(struct buf *b, uint64_t messages);
int queue_flushed_get(struct str body, uint64_t *ret);

#endif
