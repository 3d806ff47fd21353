/*
 * The parts of queued and what they share. All of it belongs to the loop's
 * thread; the committer (queue_commit.c) and the workers (queue_work.c) get
 * what they need by value.
 *
 *	smtpd ---accept---> queue_accept ---> queue_commit ---> spool
 *	                 (queue_park while the log has no room)
 *	                                          | done
 *	maild <--deliver--- queue_deliver <--- queue_sched
 *	          results -----> update/final records ---> queue_commit
 */
#ifndef MTA_QUEUED_H
#define MTA_QUEUED_H

#include "lib/proc/service.h"
#include "mta/queue_commit.h"
#include "mta/queue_state.h"
#include "mta/queue_work.h"

#define DESTS_MAX 64u

/* One message for one destination: waits in a tenant's queue, then runs. */
struct qjob {
	struct list link;
	struct qmsg *m;          /* pinned */
	struct tenant_queue *tq; /* NULL while it runs */
	struct qdest *d;
	unsigned frames;         /* answers that are awaited */
	bool lost;               /* an answer did not come: look again soon */
	bool running;
};

/* The jobs of a tenant for a destination; in the destination's ring while it has
 * some. */
struct tenant_queue {
	struct list ring, of_tenant;
	struct list jobs;
	struct tenant *tenant;
	struct qdest *d;
	unsigned turn;           /* jobs it may still start in this round */
};

/* A destination: one maild. */
struct qdest {
	unsigned instance;
	struct list ring;        /* of tenant_queue */
	unsigned waiting, running;
	size_t running_bytes;
	unsigned fails;          /* in a row */
	struct timer pause;
	bool paused;
};

struct lmtp_wait {
	struct peer *peer;
	uint64_t request;
	struct qmsg *m;          /* pinned */
	struct timer timer;
};

struct queued {
	struct service *service;
	struct loop *loop;
	const struct settings *settings;
	struct spool *spool;
	struct queue q;
	struct commit *commit;
	struct work *io, *large, *fill;
	struct spool_recovery recovery;
	bool hold_new, stopping;
	unsigned pressure;       /* as sent last */
	/* scheduler */
	struct qdest dest[DESTS_MAX];
	unsigned n_dests;
	struct qmsg **heap;
	size_t heap_n, heap_cap;
	unsigned jobs;
	struct timer wake;
	/* accept */
	struct map lmtp;         /* spool id -> lmtp_wait */
	struct list streams;
	struct arena *arena;     /* of the request being handled */
	struct list peers;       /* front ends, for events */
};

extern struct queued queued;

uint64_t queued_now_ms(void); /* real time */

/* ---- queue_sched.c ---- */
void sched_init(void);
/* A message that may be due: new, released, after a restart, after its jobs. */
void sched_message(struct qmsg *m);
/* Takes it off the heap. */
void sched_forget(struct qmsg *m);
/* Starts what may be started. */
void sched_dispatch(struct qdest *d);
void sched_dispatch_all(void);
/* A job ended; when it was the message's last, decides what comes next. */
void sched_job_done(struct qjob *j);
/* The destination cannot be reached: nothing is sent there for a while. */
void sched_pause(struct qdest *d);
void sched_up(unsigned instance);
/* Puts the job back to the head of its queue. */
void sched_again(struct qjob *j);

/* ---- queue_deliver.c ---- */
void deliver_start(struct qjob *j);
bool deliver_wants(const struct qrcpt *r, const struct qdest *d);
void deliver_low_water(void);

/* ---- queue_record.c: records of what happened ---- */
/* Applies the update and records it: a final record when nothing is left to do.
 * done (may be NULL) on the loop's thread after the commit. */
void record_update(struct qmsg *m, const struct queue_update *u, bool urgent,
    void (*done)(void *arg, int code), void *arg);
/* The message's record again at the tail (its bytes as read from the spool). */
int record_move(struct qmsg *m, const struct spool_record *r);
void record_checkpoint(uint64_t covers);

/* ---- queue_accept.c ---- */
void accept_message(struct peer *p, struct frame *f);
/* Answers the request, now or later; false when the log has no room for it. */
bool accept_try(struct peer *p, const struct frame *f);
void accept_no_room(struct peer *p, const struct frame *f);
void accept_chunk(struct peer *p, struct frame *f);
void accept_abort(struct peer *p, struct frame *f);
void accept_peer(struct peer *p, bool up);
/* An event to every front end. */
void accept_send_event(uint16_t type, const struct buf *b);
/* Whether an LMTP client waits for this message's results. */
bool accept_lmtp_waits(const struct qmsg *m);
/* Results of a message (its spool id in arg) were recorded: answers the client
 * when all are there. */
void accept_lmtp_recorded(void *arg, int code);

/* ---- queue_upkeep.c ---- */
void upkeep_start(void);
void upkeep_forget(const struct qmsg *m);
/* At a stop: a last checkpoint, then done. */
void upkeep_last_checkpoint(void (*done)(int code));
/* Whether the queue's limits let new mail in: 0, or the reply code. exempt: they do not
 * hold. */
unsigned upkeep_refuses(const struct tenant *t, size_t rcpts, bool exempt);
/* Whether the log has room for it now, and whether it may have in a moment. */
bool upkeep_has_room(size_t bytes);
bool upkeep_room_comes(void);

/* ---- queue_park.c ---- */
bool park_any(void);
/* Keeps a copy of the request; false: too much waits already. */
bool park_message(struct peer *p, const struct frame *f);
/* There may be room; hopeless: there will be none, all are refused. Those that have
 * waited too long are refused in any case. */
void park_retry(bool hopeless);

/* ---- queue_admin.c ---- */
void admin_request(struct peer *p, struct frame *f);
/* Whether new mail is held, as it was before the restart. */
bool admin_hold_new_load(void);
const char *admin_spool_path(void);

#endif
