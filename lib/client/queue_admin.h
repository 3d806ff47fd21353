/*
 * The admin's requests to queued (MSG_QUEUE_ADMIN), over its control socket.
 * LIST, SHOW, WHY, SITES and CAT have long answers (lib/client/control.h); the others one.
 */
#ifndef LIB_CLIENT_QUEUE_ADMIN_H
#define LIB_CLIENT_QUEUE_ADMIN_H

#include "lib/base/arena.h"
#include "lib/client/queue.h"

enum queue_verb {
	QUEUE_LIST = 1,    /* rows without recipients' results */
	QUEUE_SHOW,        /* rows with them */
	QUEUE_CAT,         /* the content, in pieces */
	QUEUE_RETRY,
	QUEUE_HOLD,
	QUEUE_RELEASE,
	QUEUE_DELETE,
	QUEUE_SUMMARY,
	QUEUE_HOLD_NEW,    /* on: 1 */
	QUEUE_BOUNCE,      /* gives up: what waits fails, and its sender is told */
	QUEUE_WHY,         /* rows that say what each recipient waits for */
	QUEUE_SITES,       /* struct queue_site rows */
	QUEUE_VERBS
};

struct queue_admin {
	enum queue_verb verb;
	uint64_t *ids;           /* these; none: all that the filter lets through */
	size_t n_ids;
	struct str sender, rcpt, domain; /* whole addresses; of any recipient; ASCII case folded */
	struct str site;         /* of any open recipient: the name of its site, a host of it, its
	                          * domain or next hop */
	struct str state;        /* "active", "deferred", "held" or empty */
	uint64_t older_ms;
	uint64_t limit;          /* 0: none */
	bool all;                /* no filter is meant: needed for verbs that change */
	bool dry_run, on;
};
void queue_admin_put(struct buf *b, const struct queue_admin *q);
int queue_admin_get(struct str body, struct arena *a, struct queue_admin *ret);

struct queue_row_rcpt {
	struct str address, state; /* "waiting", "delivered", ... */
	unsigned smtp;
	struct str enhanced, text;
	struct str mta;          /* the host that said it */
	struct str site, why;    /* with WHY: where it goes, what it waits for */
};
struct queue_row {
	uint64_t id, size, arrived_us, next_ms, attempts;
	struct str state, sender, tenant;
	uint64_t n_rcpts, n_open;
	bool uncertain;
	struct queue_row_rcpt *rcpts; /* those that wait; with SHOW all */
	size_t n;
};
/* One field of an answer frame, which holds several. */
void queue_row_put(struct buf *b, const struct queue_row *r);
/* The next row of a frame's body: 1, 0 at the end, -EPROTO. */
int queue_row_next(struct str *body, struct arena *a, struct queue_row *ret);

/* A site that mail waits for, and what is known of it. */
struct queue_site {
	struct str name;
	uint64_t recipients;     /* open ones, of all messages */
	uint64_t waiting, running, limit; /* deliveries */
	uint64_t failures;       /* in a row */
	uint64_t paused_until_ms; /* real time; 0: not paused */
	uint64_t gap_ms;         /* between two deliveries, as it asked for */
	struct str text;         /* why it is paused or slow */
};
void queue_site_put(struct buf *b, const struct queue_site *s);
int queue_site_next(struct str *body, struct queue_site *ret);
/* A piece of content in a frame's body (QUEUE_CAT). */
void queue_piece_put(struct buf *b, struct str piece);
int queue_piece_get(struct str body, struct str *ret);

/* RETRY ... DELETE: how many; SUMMARY: all of it. */
struct queue_summary {
	uint64_t touched;
	uint64_t messages, recipients, bytes, active, deferred, held, undeliverable;
	uint64_t oldest_ms, segments, ready, disk_bytes, disk_free, tenants;
	bool hold_new, failed;
	unsigned pressure;
};
void queue_summary_put(struct buf *b, const struct queue_summary *s);
int queue_summary_get(struct str body, struct queue_summary *ret);

#endif
