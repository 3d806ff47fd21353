/*
 * queued as its callers see it. The accept call is the hot path of the house:
 * one request frame per message up to 64 KB (envelope and content inline), in
 * chunks above; the answer comes when the message is durable.
 */
#ifndef LIB_CLIENT_QUEUE_H
#define LIB_CLIENT_QUEUE_H

#include "lib/mail/envelope.h"
#include "lib/proc/chan.h"

enum {
	MSG_QUEUE_ACCEPT = MSG_TYPE(ROLE_QUEUED, 1),
	MSG_QUEUE_CHUNK = MSG_TYPE(ROLE_QUEUED, 2),   /* content of a large message: stream id, bytes */
	MSG_QUEUE_ABORT = MSG_TYPE(ROLE_QUEUED, 3),   /* forget the chunks of a stream id */
	MSG_QUEUE_FLUSH = MSG_TYPE(ROLE_QUEUED, 6),   /* mail for a domain: queue_flush.h */
	MSG_QUEUE_ADMIN = MSG_TYPE(ROLE_QUEUED, 16),  /* CLI: list, show, hold ... */
	MSG_QUEUE_EV_PRESSURE = MSG_TYPE(ROLE_QUEUED, 32), /* event: slow down / stop / go on */
};

enum queue_outcome { QUEUE_TEMPFAIL, QUEUE_ACCEPTED, QUEUE_DELIVERED, QUEUE_REJECTED };

struct queue_rcpt_result {      /* LMTP: one per recipient, in order */
	enum queue_outcome outcome;
	unsigned smtp;
	struct str enhanced, text;
};
struct queue_answer {
	uint64_t spool_id;          /* shown as 16 hexadecimal digits: the queue id */
	enum queue_outcome outcome;
	unsigned smtp;              /* when not accepted: 452, 451, 552 ... */
	struct str enhanced, text;
	bool duplicate;             /* dedup_key was known: spool_id is the first message's */
	struct queue_rcpt_result *rcpts; /* only for ENV_LMTP */
	size_t n_rcpts;
};

/* Content as pieces that must stay until the call returns (trace headers, then
 * the message). Any total size up to the limit: the call chooses inline or
 * chunks. 0 and *ret, or negative (no answer: the client gets 451 4.3.0). */
int queue_accept(const struct envelope *env, const struct iovec *content, size_t n,
    struct arena *a, struct queue_answer *ret);

/* A deduplication key in an envelope is remembered for QUEUE_DEDUP_MS; a message with
 * the same key is answered with the first one's id, and not taken. */
#define QUEUE_DEDUP_MS (24u * 3600 * 1000)
#define QUEUE_DEDUP_KEY 64       /* bytes at most */

/* Content ahead of its envelope: a message that comes in slowly or is large need
 * not be in memory whole. A stream that was begun (its first put) ends in
 * queue_stream_accept or queue_stream_abort, always. */
struct queue_stream {           /* zeroed before the first put */
	uint64_t id;
	uint64_t size;          /* bytes sent: env->size must agree with it */
};
/* As queue_accept; a refusal (452, 451) is in *ret_error, strings in the arena. */
int queue_stream_put(struct queue_stream *s, const struct iovec *content, size_t n, struct arena *a,
    struct wire_error *ret_error);
int queue_stream_accept(const struct envelope *env, struct queue_stream *s, struct arena *a,
    struct queue_answer *ret);
void queue_stream_abort(struct queue_stream *s);

/* What back-pressure says now: 0 go on; 1 slow down (delay new transactions by
 * *ret_delay_ms); 2 stop (452 4.3.1). Kept up to date by events. */
int queue_pressure(uint64_t *ret_delay_ms);

void queue_answer_put(struct buf *b, const struct queue_answer *r);
int queue_answer_get(struct str body, struct arena *a, struct queue_answer *ret);

#endif
