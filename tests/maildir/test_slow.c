/*
 * The store on a back end that is slow, fails, and sometimes does not say whether it
 * did what it was asked: deliveries are tried until they are done, as queued does it,
 * while the volume fails and comes back. In the end every delivery is there once, and
 * the index agrees with the tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "maildir/actor.h"
#include "maildir/deliver.h"
#include "maildir/takein.h"

enum { ACCOUNTS = 5, MESSAGES = 120, IN_FLIGHT = 8, ROUNDS_MAX = 400 };

static char root[64];
static _Atomic unsigned seed = 1;
static _Atomic bool healthy;
static struct actors *as;
static struct sched *s;
static struct volume_seat seat;

/* ---- the back end ---- */

static unsigned
dice(unsigned sides)
{
	unsigned x = atomic_fetch_add(&seed, 0x9e3779b9u);

	x ^= x >> 16, x *= 0x85ebca6bu, x ^= x >> 13, x *= 0xc2b2ae35u, x ^= x >> 16;
	return x % sides;
}

static void
dawdle(void)
{
	usleep(dice(50) ? dice(400) : 20000);
}

/* Whether this call fails: before it has done anything, or (lost) after. */
static int
mishap(bool *ret_lost)
{
	unsigned d = atomic_load(&healthy) ? 99 : dice(100);

	dawdle();
	*ret_lost = d == 1;
	return d == 0 ? -EIO : d == 2 ? -ENOSPC : 0;
}

static int
slow_draft(struct blob_store *b, const struct blob_source *src, struct blob_draft *ret)
{
	bool lost;
	int r = mishap(&lost);

	return r ? r : blob_files.draft(b, src, ret);
}

static int
slow_move(struct blob_store *b, const char *from, const char *to)
{
	bool lost;
	int r = mishap(&lost);

	r = r ? r : blob_files.move(b, from, to);
	return r == 0 && lost ? -EIO : r;
}

static int
slow_link(struct blob_store *b, const char *from, const char *to)
{
	bool lost;
	int r = mishap(&lost);

	r = r ? r : dice(10) == 0 ? -EMLINK : blob_files.link(b, from, to);
	return r == 0 && lost ? -EIO : r;
}

static int
slow_sync(struct blob_store *b, int fd)
{
	dawdle();
	return !atomic_load(&healthy) && dice(60) == 0 ? -EIO : blob_files.sync(b, fd);
}

/* ---- the peer is this test ---- */

static struct {
	sem_t slots;
	pthread_mutex_t lock;  /* of all below */
	bool done[MESSAGES + 1][ACCOUNTS];
	unsigned tries[MESSAGES + 1];
} ledger = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct peer *
chan_peer_ref(struct peer *p)
{
	return p;
}

void
chan_peer_unref(struct peer **p)
{
	*p = NULL;
}

void
chan_peer_flush(struct peer *p)
{
}

void
chan_event(struct peer *p, uint16_t type, const struct buf *b, int fd)
{
}

/* Results come in the order of the recipients that were not done yet. */
void
chan_answer(struct peer *p, uint64_t id, uint16_t type, const struct buf *b, int fd)
{
	struct arena *ar = arena_new(0);
	struct deliver_result *v;
	size_t n, at = 0;

	if (deliver_results_get(buf_view(b), ar, &v, &n) < 0)
		n = 0;
	pthread_mutex_lock(&ledger.lock);
	for (size_t k = 0; k < ACCOUNTS && at < n; k++)
		if (!ledger.done[id][k])
			ledger.done[id][k] = v[at++].outcome == DELIVER_DONE;
	pthread_mutex_unlock(&ledger.lock);
	arena_free(&ar);
	sem_post(&ledger.slots);
}

void
chan_answer_error(struct peer *p, uint64_t id, uint16_t type, const struct wire_error *e)
{
	sem_post(&ledger.slots);
}

/* ---- the house ---- */

static struct volume_seat *
seat_of(uint32_t volume)
{
	return &seat;
}

static void
on_fail(void *arg, int code)
{
	actors_lose_volume(as, seat.volume, code);
}

static void
open_house(void)
{
	static struct blob_ops ops;
	struct volume_options o = { .store_dir = root, .instances = 1, .blob = &ops };
	struct err e = { 0 };

	ops = blob_files;
	ops.draft = slow_draft;
	ops.move = slow_move;
	ops.link = slow_link;
	ops.sync = slow_sync;
	assert_int_equal(volume_open(&o, &seat.volume, &e), 0);
	s = sched_new(6, &e);
	as = actors_new(s, 3); /* fewer than accounts: they close and open */
	assert_true(s && as);
	sched_lane(s, &seat.lane);
	actors_on_take_in(as, takein_new);
	volume_on_fail(seat.volume, on_fail, NULL);
}

static void
close_house(void)
{
	for (int i = 0; i < 2000 && !actors_close_all(as); i++)
		usleep(5000);
	assert_true(actors_close_all(as));
	sched_free(&s);
	actors_free(&as);
	volume_close(&seat.volume, true);
}

/* False: it is done already. */
static bool
deliver(uint64_t id)
{
	struct deliver_rcpt to[ACCOUNTS] = { 0 };
	struct deliver_request q = { .spool_id = id, .arrived_us = 1732440000000000u + id,
		.sender = STR("a@example.test"), .rcpts = to, .content = STR("Subject: x\r\n\r\ny\r\n") };
	struct buf b = { 0 };

	q.size = q.content.n;
	pthread_mutex_lock(&ledger.lock);
	for (size_t k = 0; k < ACCOUNTS; k++)
		if (!ledger.done[id][k])
			to[q.n_rcpts++] = (struct deliver_rcpt){ .account = 0x70 + k,
				.maybe_done = ledger.tries[id] > 0, .address = STR("b@example.test") };
	ledger.tries[id]++;
	pthread_mutex_unlock(&ledger.lock);
	if (!q.n_rcpts)
		return false;
	deliver_request_put(&b, &q);
	deliver_frame(as, s, seat_of, NULL, &(struct frame){ .id = id, .body = buf_view(&b), .fd = -1 });
	buf_done(&b);
	return true;
}

/* One try of everything that is not done; how many there were. */
static unsigned
deliver_all(void)
{
	unsigned n = 0;
	struct err e = { 0 };

	for (uint64_t id = 1; id <= MESSAGES; id++) {
		sem_wait(&ledger.slots);
		if (volume_failed(seat.volume))
			volume_revive(seat.volume, &e);
		if (deliver(id))
			n++;
		else
			sem_post(&ledger.slots);
	}
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		sem_wait(&ledger.slots);
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		sem_post(&ledger.slots);
	return n;
}

/* ---- what is there ---- */

struct audit {
	struct job job;
	sem_t done;
	int code, findings;
	uint64_t messages;
};

static enum job_next
audit_step(struct job *j, struct actor *a)
{
	struct audit *x = LIST_ENTRY(&j->link, struct audit, job.link);
	struct index_stat st;
	struct err e = { 0 };

	index_stat(actor_index(a), &st);
	x->messages = st.messages;
	x->findings = index_check(actor_index(a), true, &e);
	sem_post(&x->done);
	return JOB_DONE;
}

static enum job_next
audit_begin(struct job *j, struct actor *a)
{
	return actor_take_in(a, j, audit_step);
}

static void
audit_failed(struct job *j, int code, const char *text)
{
	struct audit *x = LIST_ENTRY(&j->link, struct audit, job.link);

	x->code = code;
	sem_post(&x->done);
}

static void
audit(uint64_t account)
{
	struct audit x = { .job = { .step = audit_begin, .fail = audit_failed } };

	sem_init(&x.done, 0, 0);
	assert_int_equal(actor_post(as, &seat, account, &x.job), 0);
	sem_wait(&x.done);
	sem_destroy(&x.done);
	assert_int_equal(x.code, 0);
	assert_int_equal(x.findings, 0);
	assert_int_equal(x.messages, MESSAGES);
}

static void
test_slow(void **st)
{
	struct err e = { 0 };
	unsigned rounds = 0;

	assert_int_equal(index_init(&e), 0);
	open_house();
	while (deliver_all() > 0)
		assert_true(++rounds < ROUNDS_MAX);
	assert_true(rounds > 1); /* something has failed: else this was no test */
	atomic_store(&healthy, true);
	assert_int_equal(volume_revive(seat.volume, &e), 0);
	for (uint64_t k = 0; k < ACCOUNTS; k++)
		audit(0x70 + k);
	close_house();
	open_house();
	for (uint64_t k = 0; k < ACCOUNTS; k++)
		audit(0x70 + k);
	close_house();
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	return remove(path);
}

static int
setup(void **st)
{
	const char *given = getenv("SLOW_SEED");

	if (given)
		atomic_store(&seed, (unsigned)atoi(given));
	sem_init(&ledger.slots, 0, IN_FLIGHT);
	snprintf(root, sizeof root, "/tmp/ph-slow-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int
teardown(void **st)
{
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
