/*
 * What has happened to a message since it was accepted, as one record says it:
 * results of recipients, the next try, holding. The meta of SPOOL_UPDATE and
 * SPOOL_FINAL records is this; a message record that was moved to the tail
 * carries all of it at once. Everything is absolute (numbers of attempts, not
 * 'one more'), so that applying an update twice changes nothing.
 */
#ifndef MTA_QUEUE_UPDATE_H
#define MTA_QUEUE_UPDATE_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"

enum rcpt_state {
	RCPT_WAITING = 0,   /* not tried, or to be tried again */
	RCPT_DELIVERED = 1,
	RCPT_RETURNED = 2,  /* the client of an LMTP transaction was told the failure */
	RCPT_REMOVED = 3,   /* by the admin */
	RCPT_STATES
};

enum { MSG_HELD = 1, MSG_UNCERTAIN = 2 /* may be finished: see spool_recovery */ };

struct rcpt_result {
	uint32_t index;     /* of the recipient in the envelope */
	enum rcpt_state state;
	uint32_t smtp;      /* reply code, such as 451 */
	struct str enhanced, text;
	uint64_t email;     /* of a delivery through the actor; 0: not known */
};

struct queue_update {
	bool has_next;
	uint64_t next_ms;   /* real time of the next try */
	uint32_t attempts;
	uint32_t set, clear; /* MSG_* */
	struct rcpt_result *results;
	size_t n_results;
};

void queue_update_put(struct buf *b, const struct queue_update *u);
/* 0 or -EPROTO. Strings point into body, the array is in the arena. */
int queue_update_get(struct str body, struct arena *a, struct queue_update *ret);

#endif
