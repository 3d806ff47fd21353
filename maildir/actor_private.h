/* What the files of the actors share; see actor.h and the invariants in actor.c. */
#ifndef MAILDIR_ACTOR_PRIVATE_H
#define MAILDIR_ACTOR_PRIVATE_H

#include <pthread.h>

#include "lib/base/map.h"
#include "maildir/actor.h"

struct actor {
	struct work work;
	struct actors *all;
	struct volume_seat *seat;
	uint64_t account;
	char dir[VOLUME_DIR_MAX];

	/* the running thread's */
	struct index *index;
	struct takein *takein;     /* kept while the actor lives */
	uint64_t life;
	_Atomic uint64_t quota;

	/* under the actors' lock */
	struct list jobs, resumed, handles;
	unsigned n_jobs, parked, n_handles;
	bool busy, hold, close, is_open;
	bool recover;              /* was lost: recovers before anything else; kept until then */
	bool kept;                 /* no job but upkeep has begun since the last upkeep */
	int lose;                  /* the volume failed: drop the account first */
	uint64_t used_ms;
	struct list idle;          /* of open ones, least recently used first */
	struct list unasked;
	uint64_t unasked_ms;
};

struct actors {
	struct sched *sched;
	unsigned max_open;
	struct takein *(*make_takein)(struct actor *a);
	void (*ask)(struct inquiry *q);
	pthread_mutex_t lock;      /* of all below, and of the fields named above */
	struct map map;            /* account -> actor */
	struct list idle, unasked;
	unsigned n_open, n_handles, n_jobs;
	struct low_water low;      /* its `open` is ours */
};

/* ---- actor.c ---- */

/* Locked: the account's actor, made if missing; NULL without memory. */
struct actor *actor_find(struct actors *as, struct volume_seat *seat, uint64_t account);
/* Locked: gets the actor a thread when it has something to do and none yet. */
void actor_schedule(struct actor *a);
/* Locked: actor_post. */
int actor_post_locked(struct actor *a, struct job *j);
/* Locked: nobody finds it any more. Then, unlocked, actor_free. */
void actor_forget(struct actor *a);
void actor_free(struct actor *a);

/* ---- actor_open.c ---- */

/* Opens the account; recovers it if need be, which *ret_recovered says. */
int actor_open_index(struct actor *a, bool *ret_recovered, struct err *e);

/* ---- actor_handles.c ---- */

/* Locked: tells the handles of a generation below that they are void, each once. */
void actor_void_handles(struct actor *a, uint64_t below);

#endif
