/*
 * Every message of the spool as the scheduler needs it, in memory: under 400
 * bytes for a message of one recipient. Built at start from the checkpoint's
 * entries and the log's records, changed by what happens after; no I/O here.
 *
 * A message lives from the commit of its record to the commit of its final
 * record. It may be named by a pointer while it lives; who keeps it across a
 * wait takes a pin (queue_pin), and a pinned message that was removed is
 * `gone` until the last pin is let go.
 */
#ifndef MTA_QUEUE_STATE_H
#define MTA_QUEUE_STATE_H

#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/mail/envelope.h"
#include "mta/queue_dedup.h"
#include "mta/queue_update.h"
#include "mta/spool.h"

/* The last result of a recipient; equal ones are shared. */
struct reason {
	uint32_t refs;
	uint16_t smtp;
	struct str enhanced, text, mta; /* behind this struct */
	struct str key;            /* the strmap's: all of it */
};

/* Where the mail of some recipients goes: a next hop as routing gave it, else the MX
 * of a domain; or what a pipe ends in. */
#define HOP_MAX 4096u
struct hop {
	struct str key;            /* behind this struct, as the two that follow */
	struct str next_hop, domain; /* domain: lower case, only without a next hop */
	uint32_t refs;             /* recipients */
	uint8_t route;             /* ROUTE_REMOTE, ROUTE_PIPE */
	struct list idle;          /* of the queue, while refs is 0 */
	/* the scheduler's */
	struct qdest *dest;        /* NULL: not looked for yet */
	struct list of_dest;
	uint64_t known_until_ms;   /* that dest is the site which DNS named; 0: it was not asked */
};

enum {
	RCPT_MAYBE_DONE = 1,
	RCPT_BUSY = 2,          /* an answer about it is awaited */
	RCPT_ASKING = 4,        /* authd is asked anew */
	RCPT_COVERED = 8,       /* a job that waits or runs will see to it */
	RCPT_OWN_SENDER = 16,   /* its envelope sender differs from the message's */
};

struct qrcpt {
	union {
		uint64_t account; /* ROUTE_LOCAL */
		struct hop *hop;  /* others */
	};
	uint64_t quota;
	struct reason *why;       /* NULL: never tried */
	uint32_t volume;
	uint32_t address;         /* offset in the message's strings */
	uint16_t address_n, detail_n; /* the detail follows the address */
	uint16_t slot;
	uint16_t event;           /* number of the notification that tells its fate; 0: none yet */
	uint8_t route, state, flags;
	uint8_t notify;           /* NOTIFY_* */
};

enum qmsg_state { QS_ACTIVE, QS_DEFERRED, QS_HELD, QS_STATES };

struct tenant {
	struct str name;          /* the strmap's copy is its own; this one lives here */
	uint32_t refs;
	struct list idle;         /* in queue.idle_tenants, without refs */
	uint32_t no;              /* its number, of this run */
	uint32_t running;         /* deliveries to other servers that run */
	uint64_t next_us;         /* of the scheduler: no such delivery before (clock_us) */
	uint32_t configured;      /* the reading of the settings that the next two are from */
	uint32_t interval_us;     /* between two such deliveries; 0: no limit */
	uint8_t weight;
	uint64_t messages, recipients, bytes;
};

struct qmsg {
	struct list all;          /* queue.all, by id */
	uint64_t id, seq;
	uint64_t size, arrived_us;
	uint64_t next_ms;         /* real time of the next try */
	uint64_t off;             /* of the record in its segment */
	uint64_t large;           /* number of its file; 0: content in the record */
	uint32_t seg, rec_len;
	uint32_t large_crc;
	uint32_t heap;            /* 1 + place in the scheduler's heap; 0: not in it */
	uint32_t n_rcpts, n_open; /* n_open: waiting */
	uint32_t jobs;            /* struct qjob of the scheduler */
	uint32_t strings_n;
	uint32_t born_s;          /* real time from which its lifetime counts */
	uint32_t deliver_by_s;    /* real time; 0: none */
	uint32_t pins;
	uint16_t sender_n, trace_n; /* strings begin with sender, trace */
	uint16_t attempts;
	uint16_t env_flags;       /* ENV_LMTP and the like */
	uint8_t flags;            /* MSG_* */
	uint8_t state;            /* enum qmsg_state */
	int8_t priority;
	bool gone, finishing;     /* finishing: its final record waits for the commit */
	bool delay_due;           /* the sender is to be told that it takes long: */
	bool delay_asked;         /* bounced has been asked to */
	struct tenant *tenant;
	struct qrcpt rcpts[];     /* then the strings */
};

struct queue {
	struct list all;
	struct map by_id;
	struct strmap tenants, reasons, hops;
	struct list idle_tenants; /* the longest idle first */
	unsigned n_idle_tenants;
	struct list idle_hops;    /* oldest first */
	unsigned n_idle_hops;
	uint32_t tenant_no;
	struct dedup dedup;
	uint64_t messages, recipients, bytes; /* recipients: waiting ones */
	uint64_t in_state[QS_STATES];
	uint64_t undeliverable;   /* recipients that failed and of which nobody knows yet */
	uint64_t max_recipients;
	void *arg;
	/* A message is about to be forgotten (off the heap, its large file...). */
	void (*on_remove)(void *arg, struct qmsg *m);
	/* A hop is about to be forgotten. */
	void (*on_hop_free)(void *arg, struct hop *h);
};

void queue_init(struct queue *q, uint64_t max_recipients);
void queue_done(struct queue *q);

/* Makes a message of an envelope; it is not in the queue yet. NULL: no memory. */
struct qmsg *qmsg_new(struct queue *q, uint64_t id, const struct envelope *e);
/* Forgets one that never entered. */
void qmsg_free(struct queue *q, struct qmsg **m);
/* Enters it. 0 or -ENOMEM. */
int queue_enter(struct queue *q, struct qmsg *m, uint64_t seq, const struct spool_place *at);
struct qmsg *queue_find(const struct queue *q, uint64_t id);
/* Applies what an update says. */
void queue_apply(struct queue *q, struct qmsg *m, const struct queue_update *u);
/* Removes (frees unless pinned). */
void queue_remove(struct queue *q, struct qmsg *m);
void queue_pin(struct qmsg *m);
void queue_unpin(struct queue *q, struct qmsg *m);
void queue_set_state(struct queue *q, struct qmsg *m, enum qmsg_state s);

/* The number of the next notification about the message. */
uint16_t qmsg_next_event(const struct qmsg *m);

/* ---- start ---- */

/* The calls of spool_visitor; arg is the struct queue. A record that cannot be
 * understood gives -EBADMSG to *_record, which the caller reports and goes on. */
int queue_visit_entry(void *arg, struct str bytes);
int queue_visit_record(void *arg, const struct spool_record *r, const struct spool_place *at);
/* After recovery: counts live records into their segments; marks what may have
 * been delivered (unclean), holds what is uncertain. */
void queue_recovered(struct queue *q, struct spool *s, const struct spool_recovery *rec);

/* ---- checkpoint, moving ---- */

/* One entry, with its u32 length. */
void queue_entry_put(struct buf *b, const struct qmsg *m);
/* All that happened, for a record moved to the tail. */
int queue_summary(const struct qmsg *m, struct arena *a, struct queue_update *ret);
/* The record stands elsewhere now, under a higher sequence. */
void queue_moved(struct queue *q, struct spool *s, struct qmsg *m, uint64_t seq,
    const struct spool_place *at);

static inline const char *
qmsg_strings(const struct qmsg *m)
{
	return (const char *)&m->rcpts[m->n_rcpts];
}

static inline struct str
qmsg_sender(const struct qmsg *m)
{
	return str_from(qmsg_strings(m), m->sender_n);
}

static inline bool
qrcpt_is_open(const struct qrcpt *r)
{
	return rcpt_is_open((enum rcpt_state)r->state);
}

static inline struct str
qmsg_trace(const struct qmsg *m)
{
	return str_from(qmsg_strings(m) + m->sender_n, m->trace_n);
}

static inline struct str
qrcpt_address(const struct qmsg *m, const struct qrcpt *r)
{
	return str_from(qmsg_strings(m) + r->address, r->address_n);
}

static inline struct str
qrcpt_detail(const struct qmsg *m, const struct qrcpt *r)
{
	return str_from(qmsg_strings(m) + r->address + r->address_n, r->detail_n);
}

#endif
