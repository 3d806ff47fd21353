/*
 * What has happened to a message since it was accepted, as one record says it:
 * results of recipients, the next try, holding. The meta of SPOOL_UPDATE and
 * SPOOL_FINAL records is this; a message record that was moved to the tail
 * carries all of it at once. Everything is absolute (numbers of attempts, not
 * 'one more'), so that applying an update twice changes nothing.
 */
#ifndef MTA_QUEUE_UPDATE_H
#define MTA_QUEUE_UPDATE_H

#include <stdbool.h>

#include "lib/base/arena.h"
#include "lib/base/buf.h"

/* A recipient is open until its state says that nothing is left to do for it. Numbers
 * are for ever; a state that a later version wrote reads as waiting, and its message is
 * held as uncertain. */
enum rcpt_state {
	RCPT_WAITING = 0,   /* not tried, or to be tried again: open */
	RCPT_DELIVERED = 1, /* and whoever wanted to be told has been */
	RCPT_RETURNED = 2,  /* the client of an LMTP transaction was told the failure */
	RCPT_REMOVED = 3,   /* by the admin */
	RCPT_FAILED = 4,    /* for good, but nobody has been told: open */
	RCPT_BOUNCED = 5,   /* failed, and the notification is durable */
	RCPT_DROPPED = 6,   /* failed, and nobody is to be told */
	RCPT_TELL = 7,      /* delivered; a success notification is owed: open */
	RCPT_TELL_RELAYED = 8, /* the same, taken by a next hop that tells nobody: open */
	RCPT_TELL_EXPANDED = 9, /* the members got it as recipients of their own: open */
	RCPT_STATES
};

static inline bool
rcpt_is_open(enum rcpt_state s)
{
	return s == RCPT_WAITING || s == RCPT_FAILED || s == RCPT_TELL || s == RCPT_TELL_RELAYED ||
	    s == RCPT_TELL_EXPANDED;
}

/* Open, and only a notification is still to be sent. */
static inline bool
rcpt_is_owed(enum rcpt_state s)
{
	return s != RCPT_WAITING && rcpt_is_open(s);
}

enum {
	MSG_HELD = 1,
	MSG_UNCERTAIN = 2,      /* may be finished: see spool_recovery */
	MSG_DELAY_TOLD = 4,     /* the sender knows that it takes long */
	MSG_TO_POSTMASTER = 8,  /* the sender cannot be told: notifications go to the postmaster */
};

struct rcpt_result {
	uint32_t index;     /* of the recipient in the envelope */
	enum rcpt_state state;
	uint32_t smtp;      /* reply code, such as 451 */
	struct str enhanced, text;
	struct str mta;     /* the host that said it, or empty */
	uint32_t event;     /* number of the notification that tells it; 0: none yet */
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
