/*
 * Actors; see actor.h.
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
#include "maildir/actor.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/client/store_wire.h"
#include "lib/proc/metrics.h"
#include "maildir/takein.h"

enum { RUN_STEPS = 32, OPEN_SLACK = 32 };

static struct metric open_gauge = METRIC_GAUGE("store_open_accounts", NULL,
    "Accounts whose index is open");
static struct metric opened_total = METRIC_COUNTER("store_opens_total", NULL,
    "Indexes opened");
static struct metric lost_total = METRIC_COUNTER("store_lost_total", NULL,
    "Accounts dropped because an outcome became unknown");
static struct metric damaged_total = METRIC_COUNTER("store_damaged_total", NULL,
    "Times that an index was found damaged");
static struct metric recovered_total = METRIC_COUNTER("store_recovered_total", NULL,
    "Accounts recovered after an unclean stop");

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

static void
free_actor(struct actor *a)
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
		free_actor(a);
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
static struct actor *
find(struct actors *as, struct volume_seat *seat, uint64_t account)
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
static void
schedule(struct actor *a)
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
static int
post(struct actor *a, struct job *j)
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
	schedule(a);
	return 0;
}

int
actor_post(struct actors *as, struct volume_seat *seat, uint64_t account, struct job *j)
{
	struct actor *a;
	int r;

	pthread_mutex_lock(&as->lock);
	a = find(as, seat, account);
	r = a ? post(a, j) : -ENOMEM;
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
	schedule(a);
	pthread_mutex_unlock(&a->all->lock);
}

/* ---- opening and dropping ---- */

static void
report(void *arg, enum index_finding what, const char *mailbox, uint32_t uid, const char *path,
    const char *text)
{
	struct actor *a = arg;

	LOG_WARN("store.recovered", L_HEX("account", a->account), L_U64("finding", what),
	    L_C("mailbox", mailbox), L_U64("uid", uid), L_C("path", path), L_C("text", text));
}

void
actor_report_again(struct actor *a)
{
	if (a->index)
		index_set_report(a->index, report, a);
}

/* Counts the index in, or -EAGAIN when too many are open; asks the one that was
 * not used for longest to close. */
static int
count_open(struct actor *a)
{
	struct actors *as = a->all;
	int r = 0;

	pthread_mutex_lock(&as->lock);
	if (as->n_open >= as->max_open && !list_empty(&as->idle)) {
		struct actor *old = LIST_ENTRY(as->idle.next, struct actor, idle);

		old->close = true;
		schedule(old);
	}
	if (as->n_open >= as->max_open + OPEN_SLACK)
		r = -EAGAIN;
	else
		as->n_open++;
	a->is_open = r == 0;
	metric_set(&open_gauge, as->n_open);
	pthread_mutex_unlock(&as->lock);
	return r;
}

static void
count_closed(struct actor *a)
{
	pthread_mutex_lock(&a->all->lock);
	if (a->is_open)
		a->all->n_open--;
	a->is_open = false;
	metric_set(&open_gauge, a->all->n_open);
	pthread_mutex_unlock(&a->all->lock);
}

/* A damaged index is told to the admin, whoever ran into it. */
static void
note_damage(struct actor *a, int code)
{
	if (code != -EUCLEAN)
		return;
	metric_add(&damaged_total, 1);
	LOG_ERROR("store.damaged", L_HEX("account", a->account), L_C("dir", a->dir),
	    L_C("hint", "posthorn store check, posthorn store rebuild"));
}

/* What was committed before the loss may be undone by a power cut as long as no sync has
 * covered it, so the recovery must not build on it before. */
static int
sync_before_recovery(struct volume *v, struct err *e)
{
	int r = blob_sync(volume_blobs(v), -1);

	if (r < 0)
		volume_fail(v, r);
	return r < 0 ? err_sys(e, r, "%s", volume_path(v)) : 0;
}

void
actor_rebuilt(struct actor *a)
{
	pthread_mutex_lock(&a->all->lock);
	a->recover = false;
	pthread_mutex_unlock(&a->all->lock);
}

static int
open_index(struct actor *a, bool *ret_recovered, struct err *e)
{
	struct volume *v = a->seat->volume;
	struct index_options o = { .create = true, .run = volume_run(v), .recover = a->recover,
		.report = report, .report_arg = a };
	char *path = NULL;
	bool recovered = false;
	int r = volume_failed(v);

	if (r < 0)
		return err_set(e, -EIO, "the volume has failed");
	r = count_open(a);
	if (r < 0)
		return err_set(e, r, "too many accounts are open");
	if (asprintf(&path, "%s/%s", volume_path(v), a->dir) < 0)
		path = NULL;
	r = path ? volume_make_account(v, a->dir, e) : err_set(e, -ENOMEM, "out of memory");
	if (r == 0 && o.recover)
		r = sync_before_recovery(v, e);
	if (r == 0) {
		o.dir = path;
		r = index_open(&o, &a->index, &recovered, e);
	}
	free(path);
	if (r < 0) {
		count_closed(a);
		LOG_ERROR("store.open_failed", L_HEX("account", a->account), L_I64("code", r),
		    L_C("text", e->text));
		note_damage(a, r);
		return r;
	}
	metric_add(&opened_total, 1);
	metric_add(&recovered_total, recovered);
	actor_rebuilt(a);
	*ret_recovered = recovered;
	return 0;
}

void
actor_close_index(struct actor *a)
{
	if (!a->index)
		return;
	index_close(&a->index);
	count_closed(a);
}

/* Handles of a dropped account: each front end is told once. Locked. */
static void
void_handles(struct actor *a, uint64_t below)
{
	struct handle *h;

	LIST_FOREACH(h, &a->handles, struct handle, link) {
		struct store_event ev = { .handle = h->number };
		struct buf b = { 0 };

		if (h->generation >= below || atomic_exchange(&h->is_void, true))
			continue;
		store_event_put(&b, &ev);
		chan_event(h->peer, MSG_STORE_EV_CHANGED, &b, -1);
		chan_peer_flush(h->peer);
		buf_done(&b);
	}
}

void
actor_lose(struct actor *a, int code)
{
	if (a->index) {
		index_abandon(a->index);
		actor_close_index(a);
	}
	a->life++;
	ledger_unknown(volume_ledger(a->seat->volume), a->account);
	metric_add(&lost_total, 1);
	LOG_WARN("store.lost", L_HEX("account", a->account), L_I64("code", code));
	pthread_mutex_lock(&a->all->lock);
	a->lose = 0;
	a->hold = false;
	a->recover = true;
	void_handles(a, UINT64_MAX);
	pthread_mutex_unlock(&a->all->lock);
}

void
actor_failed(struct actor *a, int code)
{
	note_damage(a, code);
	if (!a->index)
		return;
	if (code == -ESTALE || index_lost(a->index))
		actor_lose(a, code);
	else
		index_rollback(a->index);
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
	r = open_index(a, &recovered, e);
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
static void
forget(struct actor *a)
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
	schedule(a);
	gone = !a->busy && !a->n_jobs && !a->n_handles && !a->is_open && !a->recover;
	if (gone) {
		forget(a);
	} else if (!a->busy && a->is_open && !a->n_jobs) {
		a->used_ms = clock_ms();
		list_remove(&a->idle);
		list_push(&as->idle, &a->idle);
	}
	pthread_mutex_unlock(&as->lock);
	if (gone)
		free_actor(a);
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

bool
actors_know_quota(struct actors *as, uint64_t account)
{
	struct actor *a;
	bool r;

	pthread_mutex_lock(&as->lock);
	a = map_get(&as->map, account);
	r = a && a->n_handles;
	pthread_mutex_unlock(&as->lock);
	return r;
}

void
actors_set_quota(struct actors *as, uint64_t account, uint64_t quota)
{
	struct actor *a;

	pthread_mutex_lock(&as->lock);
	a = map_get(&as->map, account);
	if (a)
		actor_set_quota(a, quota);
	pthread_mutex_unlock(&as->lock);
}

unsigned
actor_handles(struct actor *a)
{
	unsigned n;

	pthread_mutex_lock(&a->all->lock);
	n = a->n_handles;
	pthread_mutex_unlock(&a->all->lock);
	return n;
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

void
actor_event(struct actor *a, uint32_t mailbox, uint64_t modseq)
{
	struct store_event ev = { .mailbox = mailbox, .modseq = modseq };
	struct handle *h;

	pthread_mutex_lock(&a->all->lock);
	LIST_FOREACH(h, &a->handles, struct handle, link) {
		struct buf b = { 0 };

		if (atomic_load(&h->is_void))
			continue;
		ev.handle = h->number;
		store_event_put(&b, &ev);
		chan_event(h->peer, MSG_STORE_EV_CHANGED, &b, -1);
		chan_peer_flush(h->peer);
		buf_done(&b);
	}
	pthread_mutex_unlock(&a->all->lock);
}

/* ---- handles ---- */

int
actor_attach(struct actors *as, struct volume_seat *seat, uint64_t account, struct handle *h)
{
	struct actor *a;
	int r = 0;

	pthread_mutex_lock(&as->lock);
	a = find(as, seat, account);
	if (!a)
		r = -ENOMEM;
	else if (a->n_handles >= ACTOR_HANDLES_MAX)
		r = -EAGAIN;
	if (r == 0) {
		h->actor = a;
		list_push(&a->handles, &h->link);
		a->n_handles++;
		as->n_handles++;
	}
	pthread_mutex_unlock(&as->lock);
	if (r == 0)
		ledger_connect(volume_ledger(seat->volume), account, 1);
	return r;
}

void
actor_detach(struct actors *as, struct handle *h)
{
	struct actor *a = h->actor;
	bool gone;

	if (!a)
		return;
	ledger_connect(volume_ledger(a->seat->volume), a->account, -1);
	pthread_mutex_lock(&as->lock);
	list_remove(&h->link);
	h->actor = NULL;
	a->n_handles--;
	as->n_handles--;
	gone = !a->busy && !a->n_jobs && !a->n_handles && !a->is_open && !a->recover;
	if (gone)
		forget(a);
	pthread_mutex_unlock(&as->lock);
	if (gone)
		free_actor(a);
}

int
actor_post_handle(struct handle *h, struct job *j)
{
	struct actors *as = h->actor->all;
	int r;

	pthread_mutex_lock(&as->lock);
	r = post(h->actor, j);
	pthread_mutex_unlock(&as->lock);
	return r;
}

uint64_t
handle_account(const struct handle *h)
{
	return h->actor->account;
}

void
actors_revoke(struct actors *as, uint64_t account, uint64_t generation)
{
	struct actor *a;

	pthread_mutex_lock(&as->lock);
	a = map_get(&as->map, account);
	if (a)
		void_handles(a, generation);
	pthread_mutex_unlock(&as->lock);
}

/* ---- upkeep ---- */

void
actor_unasked(struct actor *a)
{
	pthread_mutex_lock(&a->all->lock);
	a->unasked_ms = clock_ms();
	list_remove(&a->unasked);
	list_push(&a->all->unasked, &a->unasked);
	pthread_mutex_unlock(&a->all->lock);
}

bool
actors_unasked(struct actors *as, uint64_t now_ms, struct volume_seat **ret_seat, uint64_t *ret)
{
	struct actor *a = NULL;

	pthread_mutex_lock(&as->lock);
	if (!list_empty(&as->unasked)) {
		a = LIST_ENTRY(as->unasked.next, struct actor, unasked);
		if (a->unasked_ms + ACTOR_UNASKED_MS > now_ms) {
			a = NULL;
		} else {
			list_remove(&a->unasked);
			*ret_seat = a->seat;
			*ret = a->account;
		}
	}
	pthread_mutex_unlock(&as->lock);
	return a != NULL;
}

void
actors_tick(struct actors *as, uint64_t now_ms)
{
	struct actor *a, *tmp;

	pthread_mutex_lock(&as->lock);
	LIST_FOREACH_SAFE(a, tmp, &as->idle, struct actor, idle) {
		if (a->used_ms + ACTOR_IDLE_MS > now_ms)
			break;
		a->close = true;
		schedule(a);
	}
	pthread_mutex_unlock(&as->lock);
}

bool
actors_quiet(struct actors *as, uint64_t now_ms, struct volume_seat **ret_seat, uint64_t *ret)
{
	struct actor *a;
	bool found = false;

	pthread_mutex_lock(&as->lock);
	LIST_FOREACH(a, &as->idle, struct actor, idle) {
		if (a->used_ms + ACTOR_QUIET_MS > now_ms)
			break;
		if (a->kept || a->close)
			continue;
		*ret_seat = a->seat;
		*ret = a->account;
		found = true;
		break;
	}
	pthread_mutex_unlock(&as->lock);
	return found;
}

void
actors_lose_volume(struct actors *as, struct volume *v, int code)
{
	struct actor *a;
	size_t pos = 0;

	pthread_mutex_lock(&as->lock);
	while ((a = map_next(&as->map, &pos, NULL))) {
		if (a->seat->volume != v)
			continue;
		a->lose = code;
		schedule(a);
	}
	pthread_mutex_unlock(&as->lock);
}

bool
actors_close_all(struct actors *as)
{
	struct actor *a;
	size_t pos = 0;
	bool all = true;

	pthread_mutex_lock(&as->lock);
	while ((a = map_next(&as->map, &pos, NULL))) {
		if (!a->is_open && !a->n_jobs && !a->busy)
			continue;
		all = false;
		a->close = true;
		schedule(a);
	}
	pthread_mutex_unlock(&as->lock);
	return all;
}

bool
actors_all_recovered(struct actors *as)
{
	struct actor *a;
	size_t pos = 0;
	bool all = true;

	pthread_mutex_lock(&as->lock);
	while ((a = map_next(&as->map, &pos, NULL)))
		all &= !a->recover;
	pthread_mutex_unlock(&as->lock);
	return all;
}

void
actors_low_water(struct actors *as, const struct low_water *w)
{
	uint64_t *open = malloc((w->n + 1) * sizeof *open);

	if (!open)
		return;
	if (w->n)
		memcpy(open, w->open, w->n * sizeof *open);
	pthread_mutex_lock(&as->lock);
	free(as->low.open);
	as->low = (struct low_water){ w->mark, open, w->n };
	pthread_mutex_unlock(&as->lock);
}

int
actor_prune(struct actor *a, struct err *e)
{
	struct low_water w;
	uint64_t *open;
	int r = 0;

	pthread_mutex_lock(&a->all->lock);
	w = a->all->low;
	open = malloc((w.n + 1) * sizeof *open);
	if (open && w.n)
		memcpy(open, w.open, w.n * sizeof *open);
	pthread_mutex_unlock(&a->all->lock);
	if (open && w.mark)
		r = index_prune_delivered(a->index, w.mark, open, w.n, e);
	free(open);
	return r;
}

void
actors_stat(struct actors *as, struct actors_stat *ret)
{
	pthread_mutex_lock(&as->lock);
	*ret = (struct actors_stat){ (unsigned)as->map.n, as->n_open, as->n_handles, as->n_jobs };
	pthread_mutex_unlock(&as->lock);
}
