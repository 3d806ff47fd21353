/*
 * Actors: one for each account that is in use. An actor has a queue of jobs, run
 * by at most one worker thread at a time, so code that is given an actor may use
 * its index without locks. A job runs in steps; a step that must wait (for a
 * group sync, for mimed) parks the job, not the thread, and other jobs of the
 * account go on meanwhile.
 *
 *	post -> queue -> step -> JOB_WAIT ... actor_resume ... step -> JOB_DONE
 *
 * The actor opens the index when the first job needs it, and takes in what new/
 * holds before that job runs. An account whose outcome became unknown is lost: the
 * index is dropped, the handles become void, waiting jobs fail with -ESTALE; the
 * next job opens it anew, and recovers it: files of a change that was not committed
 * may stand in the tree. `life` counts these.
 *
 * Lock order: the actors' one lock is taken alone; nothing blocks under it.
 */
#ifndef MAILDIR_ACTOR_H
#define MAILDIR_ACTOR_H

#include "lib/proc/chan.h"
#include "maildir/index.h"
#include "maildir/sched.h"
#include "maildir/volume.h"

struct actor;
struct actors;
struct takein;
struct inquiry;
struct job;

enum {
	ACTOR_JOBS_MAX = 2000,      /* waiting for one account; more: -EAGAIN */
	ACTOR_IDLE_MS = 30 * 1000,  /* then its index is closed */
	ACTOR_HANDLES_MAX = 1000,   /* of one account */
	ACTOR_QUIET_MS = 3 * 1000,
	ACTOR_UNASKED_MS = 5000,
};

enum job_next { JOB_DONE, JOB_WAIT };

struct job {
	struct list link;
	/* The next step. JOB_DONE: the job has ended and freed itself; JOB_WAIT:
	 * somebody will call actor_resume. */
	enum job_next (*step)(struct job *j, struct actor *a);
	/* Instead of a step: the account cannot be opened, or was lost. Answers and
	 * frees. code -ESTALE: lost. */
	void (*fail)(struct job *j, int code, const char *text);
	bool without_index;         /* runs even when the account cannot be opened */
	bool quiet;                 /* upkeep: after it the account counts as looked after */

	/* the actor's */
	struct actor *actor;
	uint64_t life;
	uint64_t commit;            /* waits for the sync of this one; 0: none */
	int result;
	struct sync_wait wait;
};

/* An attached front end. Owned by the loop's thread; in its actor's list. */
struct handle {
	struct list link;           /* of the actor's handles */
	struct peer *peer;
	uint64_t number, generation, expires_ms;
	struct actor *actor;
	_Atomic bool is_void;
};

struct volume_seat {            /* a volume with its share of the threads */
	struct volume *volume;
	struct lane lane;
	uint64_t failed_at;     /* clock_ms() of the last try to revive it; the loop's */
	struct work revival;
	_Atomic bool reviving;
};

struct actors *actors_new(struct sched *s, unsigned max_open);
void actors_free(struct actors **as); /* after the sched has ended */

/* Posts a job to an account's actor, made if need be. -EAGAIN: too many wait. */
int actor_post(struct actors *as, struct volume_seat *seat, uint64_t account, struct job *j);
/* A parked job may go on (result is for it). From any thread. */
void actor_resume(struct job *j);

/* ---- for the code of a step ---- */

struct index *actor_index(struct actor *a);
uint64_t actor_account(const struct actor *a);
struct volume *actor_volume(const struct actor *a);
struct volume_seat *actor_seat(const struct actor *a);
/* The account's directory, relative to the volume. */
const char *actor_dir(const struct actor *a);
/* Quota from the account's record: what attach learned. 0: none. */
uint64_t actor_quota(const struct actor *a);
void actor_set_quota(struct actor *a, uint64_t quota);
unsigned actor_handles(struct actor *a);

/* Commits the open transaction; the job goes on with `next` after the sync and
 * the settle (JOB_WAIT). fd: a file of the change, open until then, or -1. On
 * failure the code, with e filled; the account may be lost then. */
int actor_commit(struct actor *a, struct job *j, int fd,
    enum job_next (*next)(struct job *j, struct actor *a), struct err *e);
/* Commits; nobody waits: it is synced and settled within a second. */
int actor_commit_lazily(struct actor *a, struct err *e);
/* Takes in what new/ holds now, then resumes j. JOB_WAIT. */
enum job_next actor_take_in(struct actor *a, struct job *j,
    enum job_next (*next)(struct job *j, struct actor *a));
/* Puts the job at the end of the account's queue, to go on with `next`. JOB_WAIT. */
enum job_next actor_yield(struct actor *a, struct job *j,
    enum job_next (*next)(struct job *j, struct actor *a));
/* Begins a job of the actor's own at once, before whatever is queued. */
void actor_start(struct actor *a, struct job *j);
/* An index call gave this code: rolls back, or drops the account when it is lost. */
void actor_failed(struct actor *a, int code);
/* The index's findings go to the log again (after index_set_report). */
void actor_report_again(struct actor *a);
/* Drops the account: see above. On the actor's own thread. */
void actor_lose(struct actor *a, int code);
/* Its index was made anew, durably: a lost account needs no recovery then. */
void actor_rebuilt(struct actor *a);

/* Tells every handle that a mailbox changed. */
void actor_event(struct actor *a, uint32_t mailbox, uint64_t modseq);

/* ---- handles (loop's thread) ---- */

/* Makes or finds the actor and puts the handle into its list. */
int actor_attach(struct actors *as, struct volume_seat *seat, uint64_t account, struct handle *h);
void actor_detach(struct actors *as, struct handle *h);
int actor_post_handle(struct handle *h, struct job *j);
uint64_t handle_account(const struct handle *h);
/* Voids handles of the account with a lower generation. */
void actors_revoke(struct actors *as, uint64_t account, uint64_t generation);

/* Messages of the account are left without facts: actors_unasked names it later. */
void actor_unasked(struct actor *a);

/* Whether handles of the account go by a quota that was learnt earlier; and a new one. */
bool actors_know_quota(struct actors *as, uint64_t account);
void actors_set_quota(struct actors *as, uint64_t account, uint64_t quota);

/* ---- upkeep (loop's thread) ---- */

/* The next account that actor_unasked was said of ACTOR_UNASKED_MS ago; it is not
 * named again. */
bool actors_unasked(struct actors *as, uint64_t now_ms, struct volume_seat **ret_seat,
    uint64_t *ret);

/* Closes accounts that are not used. */
void actors_tick(struct actors *as, uint64_t now_ms);
/* The open account that has been idle for longest, ACTOR_QUIET_MS at least, and had no
 * upkeep since it was last used. */
bool actors_quiet(struct actors *as, uint64_t now_ms, struct volume_seat **ret_seat,
    uint64_t *ret);
/* Every account of the volume is lost. From any thread. */
void actors_lose_volume(struct actors *as, struct volume *v, int code);
/* Closes every index; true when all are closed. Call again until then. */
bool actors_close_all(struct actors *as);
/* False while an account that was lost has not been opened since: it must be recovered,
 * so the volume's stop is no clean one. */
bool actors_all_recovered(struct actors *as);
/* Makes the account closed for a rebuild: drops it without loss of data. */
void actor_close_index(struct actor *a);

/* queued needs no `delivered` row below this mark but the open ones. */
void actors_low_water(struct actors *as, const struct low_water *w);
/* In a transaction: forgets the rows below the mark. */
int actor_prune(struct actor *a, struct err *e);

struct actors_stat {
	unsigned actors, open, handles, jobs;
};
void actors_stat(struct actors *as, struct actors_stat *ret);

/* Set once by the program: makes the take-in of an account (maildir/takein.h). */
void actors_on_take_in(struct actors *as, struct takein *(*make)(struct actor *a));
/* Set once by the program: how mimed is asked (maildir/inquiry.h). Without it nothing
 * is asked, and messages are kept without facts. */
void actors_on_inquiry(struct actors *as, void (*ask)(struct inquiry *q));
/* False: nothing can be asked. From any thread. */
bool actors_inquire(struct actors *as, struct inquiry *q);
bool actor_can_inquire(const struct actor *a);
void actor_inquire(struct actor *a, struct inquiry *q);

#endif
