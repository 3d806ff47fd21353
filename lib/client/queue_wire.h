/* Fields of queued's messages, shared by its callers' side and the daemon. */
#ifndef LIB_CLIENT_QUEUE_WIRE_H
#define LIB_CLIENT_QUEUE_WIRE_H

#include "lib/base/buf.h"

/* MSG_QUEUE_ACCEPT: envelope, and content or stream; MSG_QUEUE_CHUNK: stream,
 * offset, content; MSG_QUEUE_ABORT: stream. The offset, and the envelope's size
 * against what came, keep a queued that restarted in the middle of a stream from
 * taking its rest for the whole. */
enum { QUEUE_ENVELOPE = 1, QUEUE_CONTENT = 2, QUEUE_STREAM = 3, QUEUE_OFFSET = 4 };
#define QUEUE_INLINE (256u << 10)
#define QUEUE_CHUNK_SIZE (256u << 10)

struct queue_pressure_event {
	unsigned level;     /* 0 go on, 1 slow down, 2 stop */
	uint64_t delay_ms;
};
void queue_pressure_put(struct buf *b, const struct queue_pressure_event *p);
int queue_pressure_get(struct str body, struct queue_pressure_event *ret);

#endif
