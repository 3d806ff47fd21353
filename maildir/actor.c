/*
 * Actors: their queues, jobs and commits; see actor.h. What opens and drops an account
 * is in actor_open.c, handles are in actor_handles.c, upkeep in actor_upkeep.c.
 *
 * Invariants:
 *  1. An actor is queued at its lane or running, or neither; `busy` says so, and
 *     only the thread that runs it touches `index` and `dir`.
 *  2. jobs holds what has not begun; resumed what may go on. While `hold` is set
 *     (the account is being opened) nothing new begins.
 *  3. parked counts jobs that are in neither list; an actor with any of the three,
 *     or with handles, is not freed.
 *  4. The commits of an actor are settled in their order: the volume's groups are
 *     first in, first out, and so is `resumed`.
 */
#include "maildir/actor_private.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "maildir/takein.h"

enum { RUN_STEPS = 32 };

struct actors *
actors_new(struct sched *s, unsigned max_open)
{
	struct actors *as = calloc(1, sizeof *as);

	if (!as)
		return NULL;
	as->sched = s;
	as->max_open = max_open;
	list_init(&as->idle);
	list_init(&as->unasked);
	pthread_mutex_init(&as->lock, NULL);
	return as;
}

void
actors_on_take_in(struct actors *as, struct takein *(*make)(struct actor *))
{
	as->make_takein = make;
}

void
actors_on_inquiry(struct actors *as, void (*ask)(struct inquiry *))
{
	as->ask = ask;
}

bool
actors_inquire(struct actors *as, struct inquiry *q)
{
	if (as->ask)
		as->ask(q);
	return as->ask != NULL;
}

bool
actor_can_inquire(const struct actor *a)
{
	return a->all->ask != NULL;
}

void
actor_inquire(struct actor *a, struct inquiry *q)
{
	a->all->ask(q);
}

void
actor_free(struct actor *a)
{
	takein_free(&a->takein);
	free(a);
}

void
actors_free(struct actors **asp)
{
	struct actors *as = *asp;
	struct actor *a;
	size_t pos = 0;

	if (!as)
		return;
	while ((a = map_next(&as->map, &pos, NULL))) {
		index_close(&a->index);
		actor_free(a);
	}
	map_done(&as->map);
	free(as->low.open);
	pthread_mutex_destroy(&as->lock);
	free(as);
	*asp = NULL;
}

/* ---- the queue ---- */

static void run(struct work *w);

/* Locked. */
struct actor *
actor_find(struct actors *as, struct volume_seat *seat, uint64_t account)
{
	struct actor *a = map_get(&as->map, account);

	if (a)
		return a;
	a = calloc(1, sizeof *a);
	if (!a)
		return NULL;
	a->work.run = run;
	a->all = as;
	a->seat = seat;
	a->account = account;
	a->life = 1;
	volume_account_dir(account, a->dir);
	list_init(&a->jobs);
	list_init(&a->resumed);
	list_init(&a->handles);
	if (map_set(&as->map, account, a) < 0) {
		free(a);
		return NULL;
	}
	return a;
}

/* Locked: gets the actor a thread when it has something to do and none yet. */
void
actor_schedule(struct actor *a)
{
	if (a->busy)
		return;
	if (list_empty(&a->resumed) && (list_empty(&a->jobs) || a->hold) && !a->close && !a->lose)
		return;
	a->busy = true;
	list_remove(&a->idle);
	sched_post(a->all->sched, &a->seat->lane, &a->work);
}

/* Locked. */
int
actor_post_locked(struct actor *a, struct job *j)
{
	if (a->n_jobs >= ACTOR_JOBS_MAX)
		return -EAGAIN;
	j->actor = a;
	j->commit = 0;
	j->life = 0;
	a->kept = j->quiet;
	a->n_jobs++;
	a->all->n_jobs++;
	list_push(&a->jobs, &j->link);
	actor_schedule(a);
	return 0;
}

int
actor_post(struct actors *as, struct volume_seat *seat, uint64_t account, struct job *j)
{
	struct actor *a;
	int r;

	pthread_mutex_lock(&as->lock);
	a = actor_find(as, seat, account);
	r = a ? actor_post_locked(a, j) : -ENOMEM;
	pthread_mutex_unlock(&as->lock);
	return r;
}

void
actor_resume(struct job *j)
{
	struct actor *a = j->actor;

	pthread_mutex_lock(&a->all->lock);
	a->parked--;
	list_push(&a->resumed, &j->link);
	actor_schedule(a);
	pthread_mutex_unlock(&a->all->lock);
}

/* ---- commits ---- */

static void
synced(struct sync_wait *w, int result)
{
	struct job *j = LIST_ENTRY(&w->link, struct job, wait.link);

	j->result = result;
	actor_resume(j);
}

int
actor_commit(struct actor *a, struct job *j, int fd,
    enum job_next (*next)(struct job *, struct actor *), struct err *e)
{
	int r = index_commit(a->index, &j->commit, e);

	if (r < 0) {
		j->commit = 0;
		actor_failed(a, r);
		return r;
	}
	j->step = next;
	j->wait.fd = fd;
	j->wait.fn = synced;
	volume_sync(a->seat->volume, &j->wait);
	return 0;
}

/* Hangs a job of the actor's own, whose commit is set, on the next group sync. */
static void
park_for_sync(struct actor *a, struct job *j)
{
	j->actor = a;
	j->life = a->life;
	j->wait.fd = -1;
	j->wait.fn = synced;
	pthread_mutex_lock(&a->all->lock);
	a->parked++;
	a->n_jobs++;
	a->all->n_jobs++;
	pthread_mutex_unlock(&a->all->lock);
}

/* A commit that nobody waits for still has to be settled: a job of its own. */
static enum job_next
lazy_done(struct job *j, struct actor *a)
{
	free(j);
	return JOB_DONE;
}

static void
lazy_fail(struct job *j, int code, const char *text)
{
	free(j);
}

int
actor_commit_lazily(struct actor *a, struct err *e)
{
	struct job *j = calloc(1, sizeof *j);
	int r;

	if (!j) {
		index_rollback(a->index);
		return err_set(e, -ENOMEM, "out of memory");
	}
	r = index_commit(a->index, &j->commit, e);
	if (r < 0) {
		free(j);
		actor_failed(a, r);
		return r;
	}
	j->step = lazy_done;
	j->fail = lazy_fail;
	park_for_sync(a, j);
	volume_sync_soon(a->seat->volume, &j->wait);
	return 0;
}

/* ---- running ---- */

static void
job_ended(struct actor *a)
{
	pthread_mutex_lock(&a->all->lock);
	a->n_jobs--;
	a->all->n_jobs--;
	pthread_mutex_unlock(&a->all->lock);
}

static void
job_failed(struct actor *a, struct job *j, int code, const char *text)
{
	j->fail(j, code, text);
	job_ended(a);
}

/* The job is counted as parked while it steps, since it may be resumed from
 * another thread before its step returns. */
static void
step(struct actor *a, struct job *j)
{
	enum job_next next;

	j->life = a->life;
	pthread_mutex_lock(&a->all->lock);
	a->parked++;
	pthread_mutex_unlock(&a->all->lock);
	next = j->step(j, a);
	if (next == JOB_WAIT)
		return;
	pthread_mutex_lock(&a->all->lock);
	a->parked--;
	a->n_jobs--;
	a->all->n_jobs--;
	pthread_mutex_unlock(&a->all->lock);
}

static void
resume(struct actor *a, struct job *j)
{
	struct err e = { 0 };
	uint64_t no = j->commit;
	int r;

	j->commit = 0;
	if (j->life != a->life || (no && !a->index)) {
		job_failed(a, j, -ESTALE, "the account was lost");
		return;
	}
	if (no) {
		r = j->result < 0 ? j->result : index_settle(a->index, no, &e);
		if (r < 0) {
			actor_lose(a, r);
			job_failed(a, j, -ESTALE, "the change could not be made durable");
			return;
		}
	}
	step(a, j);
}

void
actor_start(struct actor *a, struct job *j)
{
	j->actor = a;
	j->commit = 0;
	pthread_mutex_lock(&a->all->lock);
	a->n_jobs++;
	a->all->n_jobs++;
	pthread_mutex_unlock(&a->all->lock);
	step(a, j);
}

enum job_next
actor_yield(struct actor *a, struct job *j, enum job_next (*next)(struct job *, struct actor *))
{
	j->step = next;
	pthread_mutex_lock(&a->all->lock);
	a->parked--;
	list_push(&a->jobs, &j->link);
	pthread_mutex_unlock(&a->all->lock);
	return JOB_WAIT;
}

/* After an opening the take-in goes first; what was posted waits for it. */
static enum job_next
opened(struct job *j, struct actor *a)
{
	free(j);
	pthread_mutex_lock(&a->all->lock);
	a->hold = false;
	pthread_mutex_unlock(&a->all->lock);
	return JOB_DONE;
}

static enum job_next
open_take_in(struct job *j, struct actor *a)
{
	return actor_take_in(a, j, opened);
}

static void
open_failed(struct job *j, int code, const char *text)
{
	struct actor *a = j->actor;

	pthread_mutex_lock(&a->all->lock);
	a->hold = false;
	pthread_mutex_unlock(&a->all->lock);
	free(j);
}

/* What a recovery did is shown when it is durable, as any other change. */
static int
open_account(struct actor *a, struct err *e)
{
	struct job *j = calloc(1, sizeof *j);
	bool recovered = false;
	int r;

	if (!j)
		return err_set(e, -ENOMEM, "out of memory");
	r = actor_open_index(a, &recovered, e);
	if (r < 0) {
		free(j);
		return r;
	}
	j->step = open_take_in;
	j->fail = open_failed;
	pthread_mutex_lock(&a->all->lock);
	a->hold = true;
	pthread_mutex_unlock(&a->all->lock);
	if (!recovered) {
		actor_start(a, j);
		return 0;
	}
	j->commit = index_commit_no(a->index);
	park_for_sync(a, j);
	volume_sync(a->seat->volume, &j->wait);
	return 0;
}

static void
begin(struct actor *a, struct job *j)
{
	struct err e = { 0 };
	int r;

	if (a->index || j->without_index) {
		step(a, j);
		return;
	}
	r = open_account(a, &e);
	if (r < 0) {
		job_failed(a, j, r, e.text);
		return;
	}
	pthread_mutex_lock(&a->all->lock);
	list_push_front(&a->jobs, &j->link);
	pthread_mutex_unlock(&a->all->lock);
}

/* The next job, and whether it goes on (or begins). */
static struct job *
next_job(struct actor *a, bool *ret_resumed, bool *ret_close, int *ret_lose)
{
	struct list *l;

	pthread_mutex_lock(&a->all->lock);
	*ret_lose = a->lose;
	l = list_pop(&a->resumed);
	*ret_resumed = l != NULL;
	if (!l && !a->hold)
		l = list_pop(&a->jobs);
	*ret_close = a->close && !l && a->parked == 0;
	pthread_mutex_unlock(&a->all->lock);
	return l ? LIST_ENTRY(l, struct job, link) : NULL;
}

/* Locked. */
void
actor_forget(struct actor *a)
{
	list_remove(&a->unasked);
	map_del(&a->all->map, a->account);
}

/* The thread leaves the actor: which is queued again, put among the idle ones,
 * or freed. */
static void
leave(struct actor *a)
{
	struct actors *as = a->all;
	bool gone;

	pthread_mutex_lock(&as->lock);
	a->busy = false;
	a->close = false;
	actor_schedule(a);
	gone = !a->busy && !a->n_jobs && !a->n_handles && !a->is_open && !a->recover;
	if (gone) {
		actor_forget(a);
	} else if (!a->busy && a->is_open && !a->n_jobs) {
		a->used_ms = clock_ms();
		list_remove(&a->idle);
		list_push(&as->idle, &a->idle);
	}
	pthread_mutex_unlock(&as->lock);
	if (gone)
		actor_free(a);
}

static void
run(struct work *w)
{
	struct actor *a = LIST_ENTRY(w, struct actor, work);

	for (int i = 0; i < RUN_STEPS; i++) {
		bool resumed, close;
		int lose;
		struct job *j = next_job(a, &resumed, &close, &lose);

		if (lose)
			actor_lose(a, lose);
		if (close)
			actor_close_index(a);
		if (!j)
			break;
		if (resumed)
			resume(a, j);
		else
			begin(a, j);
	}
	leave(a);
}

/* ---- for steps ---- */

struct index *
actor_index(struct actor *a)
{
	return a->index;
}

uint64_t
actor_account(const struct actor *a)
{
	return a->account;
}

struct volume *
actor_volume(const struct actor *a)
{
	return a->seat->volume;
}

struct volume_seat *
actor_seat(const struct actor *a)
{
	return a->seat;
}

const char *
actor_dir(const struct actor *a)
{
	return a->dir;
}

uint64_t
actor_quota(const struct actor *a)
{
	return atomic_load(&a->quota);
}

void
actor_set_quota(struct actor *a, uint64_t quota)
{
	atomic_store(&a->quota, quota);
}

enum job_next
actor_take_in(struct actor *a, struct job *j, enum job_next (*next)(struct job *, struct actor *))
{
	if (!a->takein)
		a->takein = a->all->make_takein(a);
	j->step = next;
	if (!a->takein)
		return next(j, a);
	takein_run(a->takein, j);
	return JOB_WAIT;
}
