/*
 * The parts of queued and what they share. All of it belongs to the loop's
 * thread; the committer (queue_commit.c) and the workers (queue_work.c) get
 * what they need by value.
 *
 *	smtpd ---accept---> queue_accept ---> queue_commit ---> spool
 *	                 (queue_park while the log has no room)
 *	                                          | done
 *	maild <------------ queue_local \
 *	relayd <----------- queue_relay  } queue_deliver <--- queue_dest <--- queue_sched
 *	piped <------------ queue_pipe  /         (jobs in lanes of tenants)
 *	bounced <---------- queue_bounce
 *	          results -----> update/final records ---> queue_commit
 */
#ifndef MTA_QUEUED_H
#define MTA_QUEUED_H

#include "lib/proc/service.h"
#include "mta/queue_commit.h"
#include "mta/queue_state.h"
#include "mta/queue_work.h"

#define MAILDS_MAX 64u

/* One message for one destination: waits in a tenant's lane, then runs. Which of the
 * message's recipients it is for: those that are covered, not busy, and lead there when
 * it starts. */
struct qjob {
	struct list link;        /* of its lane, then of dest.active */
	struct qmsg *m;          /* pinned */
	struct qdest *d;
	uint32_t frames;         /* answers that are awaited */
	bool lost : 1;           /* an answer did not come: look again soon */
	bool again : 1;          /* what is left may be tried at once, in another way */
	bool running : 1;
};

/* The jobs of a tenant for a destination, by priority; in the destination's ring while
 * it has some. */
#define BANDS 3u
struct lane {
	struct list ring;
	struct list jobs[BANDS]; /* MT-PRIORITY above, of, below 0 */
	struct tenant *tenant;
	struct qdest *d;
	unsigned n;
	unsigned turn;           /* jobs it may still start in this round */
};

enum dest_kind { DEST_MAILD, DEST_SITE, DEST_PIPE, DEST_BOUNCE };

/* Where deliveries go: a maild, a site (the set of MX hosts that domains share; a domain
 * or next hop until its site is known), piped, bounced. */
struct qdest {
	enum dest_kind kind;
	unsigned instance;       /* of the program that delivers there */
	uint32_t no;
	struct str name;         /* of a site; behind this struct */
	struct list hops;        /* that lead here */
	struct list ring;        /* lanes with jobs */
	struct list active;      /* jobs that run */
	struct list ready;       /* in queued.ready or queued.starved */
	unsigned waiting, running;
	size_t running_bytes;
	unsigned fails;          /* in a row: it cannot be reached */
	bool paused;             /* until the timer runs out */
	bool dead;               /* about to be freed */
	uint64_t next_us;        /* no start before (clock_us) */
	struct timer timer;
	/* sites, see queue_site.c */
	uint32_t limit;          /* deliveries at a time, in 1/256 */
	uint32_t gap_ms;         /* between starts, as its replies ask for; 0: none */
	uint32_t most;           /* deliveries at a time, at most */
	uint32_t interval_us;    /* between starts, by its rate; 0: none */
	uint64_t paused_until_ms; /* real time, for people */
	struct reason *why;      /* why it is paused or slowed down */
	uint64_t counted;        /* of why_sites */
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
	uint32_t configured;     /* how often they were read, from 1 on */
	struct spool *spool;
	struct queue q;
	struct commit *commit;
	struct work *io, *large, *fill;
	struct spool_recovery recovery;
	bool hold_new, stopping;
	unsigned pressure;       /* as sent last */
	/* scheduler */
	struct qdest maild[MAILDS_MAX];
	unsigned n_mailds;
	struct qdest pipe, bounce;
	struct strmap sites;     /* of struct qdest */
	struct map lanes;        /* (tenant, destination) -> struct lane */
	struct list ready;       /* destinations that may start something */
	struct list starved;     /* sites that may when another's delivery ends */
	unsigned running;        /* jobs, of all destinations */
	unsigned relaying;       /* of sites */
	size_t relaying_bytes;
	uint32_t dest_no;
	struct qmsg **heap;
	size_t heap_n, heap_cap;
	struct timer wake;
	/* accept */
	struct map lmtp;         /* spool id -> lmtp_wait */
	struct list streams;
	struct arena *arena;     /* of the request being handled */
	struct list peers;       /* front ends, for events */
};

extern struct queued queued;

uint64_t queued_now_ms(void); /* real time */

/* ---- queue_heap.c: messages by the time of their next try ---- */
void heap_push(struct qmsg *m); /* moves one that is there */
void heap_remove(struct qmsg *m); /* fine when it is not there */
struct qmsg *heap_first(void);

/* ---- queue_sched.c ---- */
/* A message that may be due: new, released, after a restart, after its jobs. */
void sched_message(struct qmsg *m);
/* Takes it off the heap. */
void sched_forget(struct qmsg *m);
/* Has the sender told that it takes long. */
void sched_tell_delay(struct qmsg *m);
/* Whether the job's message may be worked on. */
bool sched_startable(const struct qjob *j);
/* A job ended; what was not delivered is tried later. */
void sched_job_done(struct qjob *j);
/* It ends without a try. */
void sched_job_drop(struct qjob *j);
/* Puts the job back to the head of its lane. */
void sched_again(struct qjob *j);
/* ms, 20 % more or less. */
uint64_t sched_jitter(uint64_t ms);

/* ---- queue_dest.c ---- */
void dest_init(void);
/* The settings were read again: sites have their limits by them. */
void dest_configure(void);
/* Where an open recipient leads to; NULL: nowhere. */
struct qdest *dest_of(const struct qrcpt *r);
/* Whether the job is for this recipient. */
bool dest_wants(const struct qrcpt *r, const struct qdest *d);
/* The site of this name, made when there is none. */
struct qdest *dest_site(struct str name);
/* The hop leads there from now on, and the jobs for its recipients with it. */
void dest_move_hop(struct hop *h, struct qdest *to);
/* Waits in its lane; first: ahead of all others of its tenant. */
void dest_enqueue(struct qjob *j, bool first);
void dest_stop_running(struct qjob *j);
/* Something may be started there: at the end of this turn. */
void dest_wake(struct qdest *d);
/* Starts what may be started. */
void dest_dispatch(struct qdest *d);
/* The program that delivers there is gone: nothing is sent for a while. */
void dest_pause(struct qdest *d);
void dest_pause_ms(struct qdest *d, uint64_t ms);
/* Ends a pause. */
void dest_resume(struct qdest *d);
void dest_maild_up(unsigned instance);

/* ---- queue_site.c: what answers say about a site ---- */
struct relay_answer;
void site_init(struct qdest *d);
/* Its limits, by the settings. */
void site_configure(struct qdest *d);
/* The hop's dest is made when there is none. */
struct qdest *site_of_hop(struct hop *h);
/* Deliveries that it takes at a time now. */
unsigned site_limit(const struct qdest *d);
/* A delivery starts there. */
void site_starting(struct qdest *d, struct tenant *t);
void site_answered(struct qdest *d, struct hop *h, const struct relay_answer *a);
/* Jobs of the tenant in a round of its lanes. */
unsigned site_turn(struct tenant *t);

/* ---- queue_deliver.c ---- */
/* A message as the spool has it, while frames are being made of it. */
struct mail {
	struct str meta;         /* of its record */
	struct str bytes;        /* the content, inline */
	int fd;                  /* or a descriptor that has it; else -1 */
};

/* Some recipients of a job that are in one request. */
struct dframe {
	struct qjob *job;
	uint32_t n;
	uint32_t v[];            /* their indexes */
};

void deliver_start(struct qjob *j);
struct dframe *deliver_frame(struct qjob *j, const uint32_t *v, uint32_t n);
/* The job's recipients: an array of *ret_n indexes (free). */
uint32_t *deliver_rcpts(const struct qjob *j, uint32_t *ret_n);
/* Sends the request; fn gets the frame. False: it could not be sent, and has ended. */
bool deliver_send(struct dframe *df, struct chan *c, uint16_t type, const struct buf *b, int fd,
    uint64_t ms, void (*fn)(void *arg, int code, const struct frame *f));
/* No answer: the recipients are free again. */
void deliver_lost(struct dframe *df, int code);
/* Another answer of the job is there (or one of its steps): ends it after the last. */
void deliver_frame_done(struct qjob *j);
/* Reads the message and calls fn; the job ends when that cannot be. */
void deliver_read(struct qjob *j, void (*fn)(struct qjob *j, const struct mail *mail));
/* The envelope in a message record's meta. */
int deliver_envelope(struct str meta, struct arena *a, struct envelope *ret);

/* What a recipient becomes that failed for good, that was delivered. */
enum rcpt_state deliver_failed(const struct qmsg *m, const struct qrcpt *r);
enum rcpt_state deliver_done(const struct qmsg *m, const struct qrcpt *r, bool relayed);
void deliver_log(const struct qmsg *m, const struct rcpt_result *r);
/* Records the results, if there are any. */
void deliver_record(struct qmsg *m, const struct queue_update *u);

/* ---- deliveries by kind of destination ---- */
void local_start(struct qjob *j);
void local_send(struct qjob *j, const struct mail *mail);
void local_low_water(void);
void relay_send(struct qjob *j, const struct mail *mail);
void pipe_send(struct qjob *j, const struct mail *mail);
void bounce_start(struct qjob *j);
/* Whether the message's sender can be told. */
bool bounce_has_sender(const struct qmsg *m);
/* Whether the sender is to be told that this one takes long. */
bool bounce_wants_delay(const struct qrcpt *r);

/* ---- queue_expire.c: messages that take too long ---- */
void expire_start(void);
void expire_forget(const struct qmsg *m);

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

/* ---- queue_why.c: for people ---- */
struct queue_site;
/* Whether it leads to a site that is called so: by its name, a host of it, the domain or
 * the next hop. */
bool why_leads_to(const struct qrcpt *r, struct str site);
/* The name of where an open recipient leads. */
struct str why_site(const struct qrcpt *r);
/* What it waits for. */
struct str why_waits(const struct qmsg *m, const struct qrcpt *r, struct arena *a);
/* Counts the open recipients of every site, then calls fn for each. */
void why_sites(void (*fn)(void *arg, const struct queue_site *s), void *arg);

/* ---- queue_admin.c ---- */
void admin_request(struct peer *p, struct frame *f);

/* ---- queue_flush.c ---- */
void flush_request(struct peer *p, struct frame *f);
/* Whether new mail is held, as it was before the restart. */
bool admin_hold_new_load(void);
const char *admin_spool_path(void);

#endif
