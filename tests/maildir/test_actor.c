/* maildir: volumes, their ledger, actors and the take-in, on real files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maildir/actor.h"
#include "maildir/deliver.h"
#include "maildir/takein.h"

#define ACCOUNT 0x42

static char root[64];
static uint64_t looked_at = ACCOUNT;

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	return remove(path);
}

static int
setup(void **st)
{
	snprintf(root, sizeof root, "/tmp/ph-actor-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int
teardown(void **st)
{
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct volume *
open_volume(unsigned instances, const struct blob_ops *ops)
{
	struct volume_options o = { .store_dir = root, .instances = instances, .blob = ops };
	struct volume *v = NULL;
	struct err e = { 0 };

	if (volume_open(&o, &v, &e) < 0)
		fail_msg("%s", e.text);
	return v;
}

/* ---- the run and the ledger ---- */

static void
test_run(void **st)
{
	static const struct {
		unsigned mailds;      /* of this start */
		bool clean;           /* how it ends */
		bool same;            /* whether it goes on with the run before */
	} t[] = {
		{ 1, true, false }, { 1, true, true }, { 1, false, true }, { 1, true, false },
		{ 2, true, false }, { 2, true, true }, { 1, true, false },
	};
	uint64_t before = 0;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct volume *v = open_volume(t[i].mailds, NULL);

		assert_int_equal(volume_run(v) == before, t[i].same);
		assert_int_equal(volume_was_unclean(v), !t[i].same);
		before = volume_run(v);
		volume_close(&v, t[i].clean);
	}
}

static void
test_ledger(void **st)
{
	struct ledger *l = ledger_new(), *m = ledger_new();
	struct buf b = { 0 };
	uint64_t due = 0;

	assert_false(ledger_promise(l, 1, 0, 10)); /* unknown: the actor's */
	assert_int_equal(ledger_room(l, 1, 100, 10), -EAGAIN);
	ledger_known(l, 1, 50, 0);
	assert_true(ledger_promise(l, 1, 0, 10));
	assert_false(ledger_published(l, 1, 1000));
	assert_int_equal(ledger_waiting(l, 1), 1);
	assert_int_equal(ledger_room(l, 1, 100, 40), 0);
	assert_int_equal(ledger_room(l, 1, 100, 41), -EDQUOT);
	assert_false(ledger_promise(l, 1, 100, 38)); /* near its quota */
	assert_false(ledger_due(l, 2, 999, &due));
	assert_true(ledger_due(l, 2, 1000, &due));
	assert_int_equal(due, 1);
	assert_false(ledger_due(l, 1, 2000, &due));
	ledger_connect(l, 1, 1);
	assert_false(ledger_promise(l, 1, 0, 10));
	ledger_connect(l, 1, -1);
	ledger_save(l, 7, &b);
	assert_int_equal(ledger_load(m, buf_view(&b), 8), -ESTALE);
	assert_int_equal(ledger_load(m, buf_view(&b), 7), 0);
	assert_int_equal(ledger_waiting(m, 1), 1);
	b.p[9] ^= 1;
	assert_int_equal(ledger_load(m, buf_view(&b), 7), -EBADMSG);
	buf_done(&b);
	ledger_free(&l);
	ledger_free(&m);
}

/* ---- the group sync ---- */

static struct {
	struct sync_wait wait;
	sem_t done;
	int result;
} waiter;

static void
wait_done(struct sync_wait *w, int result)
{
	waiter.result = result;
	sem_post(&waiter.done);
}

static int
sync_now(struct volume *v)
{
	waiter.wait = (struct sync_wait){ .fd = -1, .fn = wait_done };
	volume_sync(v, &waiter.wait);
	sem_wait(&waiter.done);
	return waiter.result;
}

static int
bad_sync(struct blob_store *b, int fd)
{
	return b->user ? -EIO : 0;
}

static void
test_failed_sync(void **st)
{
	struct blob_ops ops = blob_files;
	struct volume *v;
	struct err e;

	ops.sync = bad_sync;
	v = open_volume(1, &ops);
	assert_int_equal(sync_now(v), 0);
	volume_blobs(v)->user = v;
	assert_int_equal(sync_now(v), -EIO);
	assert_int_equal(volume_room(v, 0), -EIO);
	assert_true(volume_revive(v, &e) < 0);
	assert_int_equal(sync_now(v), -EIO); /* never trusted again in this run */
	volume_blobs(v)->user = NULL;
	assert_int_equal(volume_revive(v, &e), 0);
	assert_int_equal(sync_now(v), 0);
	volume_close(&v, true);
}

/* ---- an account ---- */

struct look {
	struct job job;
	sem_t done;
	int code;
	struct store_mailbox inbox;
	struct arena *ar;
};

static enum job_next
look_step(struct job *j, struct actor *a)
{
	struct look *l = LIST_ENTRY(&j->link, struct look, job.link);
	struct err e;

	l->code = index_status(actor_index(a), index_find(actor_index(a), STR("INBOX")), l->ar,
	    &l->inbox, &e);
	sem_post(&l->done);
	return JOB_DONE;
}

/* As an attach does: what the fast way brought while the index was open. */
static enum job_next
look_first(struct job *j, struct actor *a)
{
	return actor_take_in(a, j, look_step);
}

static void
look_fail(struct job *j, int code, const char *text)
{
	struct look *l = LIST_ENTRY(&j->link, struct look, job.link);

	l->code = code;
	sem_post(&l->done);
}

static int
look(struct actors *as, struct volume_seat *seat, struct store_mailbox *ret)
{
	struct look l = { .job = { .step = look_first, .fail = look_fail }, .ar = arena_new(0) };

	sem_init(&l.done, 0, 0);
	assert_int_equal(actor_post(as, seat, looked_at, &l.job), 0);
	sem_wait(&l.done);
	*ret = l.inbox;
	arena_free(&l.ar);
	sem_destroy(&l.done);
	return l.code;
}

static void
publish(struct volume *v, uint64_t spool_id)
{
	char text[] = "Return-Path: <>\r\nSubject: hello\r\n\r\nhello\r\n", dir[VOLUME_DIR_MAX];
	struct iovec iov = { text, sizeof text - 1 };
	struct blob_source src = { .iov = &iov, .n = 1, .fd = -1 };
	struct blob_draft d;
	struct buf b = { 0 };
	struct err e;

	volume_account_dir(ACCOUNT, dir);
	assert_int_equal(volume_make_account(v, dir, &e), 0);
	assert_int_equal(blob_draft(volume_blobs(v), &src, &d), 0);
	close(d.fd);
	buf_printf(&b, "%s/new/", dir);
	name_base(&b, 1732440000000000u + spool_id, NAME_DELIVERED, spool_id, sizeof text - 1, NULL);
	if (blob_move(volume_blobs(v), d.name, buf_cstr(&b)) == -EEXIST)
		blob_remove(volume_blobs(v), d.name);
	buf_done(&b);
}

static void
close_house(struct actors **as, struct sched **s, struct volume **v)
{
	for (int i = 0; i < 1000 && !actors_close_all(*as); i++)
		usleep(5000);
	assert_true(actors_close_all(*as));
	sched_free(s);
	actors_free(as);
	volume_close(v, true);
}

static void
test_take_in(void **st)
{
	struct err e = { 0 };

	assert_int_equal(index_init(&e), 0);
	for (unsigned round = 0; round < 3; round++) {
		struct volume_seat seat = { .volume = open_volume(1, NULL) };
		struct sched *s = sched_new(4, &e);
		struct actors *as = actors_new(s, 10);
		struct store_mailbox inbox;

		sched_lane(s, &seat.lane);
		actors_on_take_in(as, takein_new);
		publish(seat.volume, 1);  /* the same every round: taken in once */
		publish(seat.volume, 100 + round);
		assert_int_equal(look(as, &seat, &inbox), 0);
		assert_int_equal(inbox.total, 2 + round);
		assert_int_equal(ledger_waiting(volume_ledger(seat.volume), ACCOUNT), 0);
		assert_true(ledger_promise(volume_ledger(seat.volume), ACCOUNT, 0, 1));
		ledger_unpromise(volume_ledger(seat.volume), ACCOUNT, 1);
		close_house(&as, &s, &seat.volume);
	}
}

/* A sync that fails under a take-in: the job fails with 'lost', nothing is shown;
 * after the volume is back the message is there, once. */
static void
test_lost(void **st)
{
	struct blob_ops ops = blob_files;
	struct volume_seat seat;
	struct err e = { 0 };
	struct sched *s = sched_new(4, &e);
	struct actors *as = actors_new(s, 10);
	struct store_mailbox before, after;

	ops.sync = bad_sync;
	seat.volume = open_volume(1, &ops);
	sched_lane(s, &seat.lane);
	actors_on_take_in(as, takein_new);
	assert_int_equal(look(as, &seat, &before), 0);
	while (!actors_close_all(as))
		usleep(5000);
	publish(seat.volume, 500);
	volume_blobs(seat.volume)->user = &ops;
	assert_true(look(as, &seat, &after) < 0);
	volume_blobs(seat.volume)->user = NULL;
	assert_int_equal(volume_revive(seat.volume, &e), 0);
	assert_int_equal(look(as, &seat, &after), 0);
	assert_int_equal(after.total, before.total + 1);
	close_house(&as, &s, &seat.volume);
}

/* ---- deliveries: the peer is this test ---- */

static struct {
	sem_t done;
	struct arena *ar;
	struct deliver_result *results;
	size_t n;
	int error;
} answer;

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

void
chan_answer(struct peer *p, uint64_t id, uint16_t type, const struct buf *b, int fd)
{
	struct str own = arena_dup(answer.ar, buf_view(b));

	answer.error = deliver_results_get(own, answer.ar, &answer.results, &answer.n);
	sem_post(&answer.done);
}

void
chan_answer_error(struct peer *p, uint64_t id, uint16_t type, const struct wire_error *e)
{
	answer.error = e->code;
	sem_post(&answer.done);
}

static struct volume_seat *the_seat;

static struct volume_seat *
seat_of(uint32_t volume)
{
	return volume == 0 ? the_seat : NULL;
}

static void
test_deliver(void **st)
{
	static const struct {
		uint64_t spool_id, accounts[3], quota;
		bool maybe;
		unsigned smtp;
		size_t want[3];       /* messages of each account after */
	} t[] = {
		{ 1001, { 0x51, 0x52, 0x53 }, 0, false, 250, { 1, 1, 1 } },  /* unknown: the actor's */
		{ 1002, { 0x51, 0x52, 0x53 }, 0, false, 250, { 2, 2, 2 } },  /* by file */
		{ 1002, { 0x51, 0x52, 0x53 }, 0, true, 250, { 2, 2, 2 } },   /* done before */
		{ 1003, { 0x51 }, 0, false, 250, { 3, 0, 0 } },
		{ 1003, { 0x51 }, 0, false, 250, { 3, 0, 0 } },              /* in new/ or taken in */
		{ 1004, { 0x51 }, 5, false, 552, { 3, 0, 0 } },
		{ 1005, { 0x51 }, 150, false, 452, { 3, 0, 0 } },
	};
	struct err e = { 0 };
	struct sched *s = sched_new(4, &e);
	struct actors *as = actors_new(s, 10);
	struct volume_seat seat = { .volume = open_volume(1, NULL) };

	sched_lane(s, &seat.lane);
	actors_on_take_in(as, takein_new);
	the_seat = &seat;
	answer.ar = arena_new(0);
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct deliver_rcpt to[3] = { 0 };
		struct deliver_request q = { .spool_id = t[i].spool_id, .arrived_us = 1732440000000000u,
			.sender = STR("a@example.test"), .rcpts = to, .content = STR("Subject: x\r\n\r\ny\r\n") };
		struct buf b = { 0 };

		q.size = q.content.n;
		for (; q.n_rcpts < 3 && t[i].accounts[q.n_rcpts]; q.n_rcpts++)
			to[q.n_rcpts] = (struct deliver_rcpt){ .account = t[i].accounts[q.n_rcpts],
				.quota = t[i].quota, .maybe_done = t[i].maybe, .address = STR("b@example.test") };
		deliver_request_put(&b, &q);
		deliver_frame(as, s, seat_of, NULL, &(struct frame){ .body = buf_view(&b), .fd = -1 });
		sem_wait(&answer.done);
		assert_int_equal(answer.error, 0);
		assert_int_equal(answer.n, q.n_rcpts);
		for (size_t k = 0; k < q.n_rcpts; k++) {
			struct store_mailbox inbox;

			assert_int_equal(answer.results[k].smtp, t[i].smtp);
			if (i == 1 || i == 3)
				continue; /* leave it in new/ for the next row */
			looked_at = t[i].accounts[k];
			assert_int_equal(look(as, &seat, &inbox), 0);
			assert_int_equal(inbox.total, t[i].want[k]);
		}
		buf_done(&b);
	}
	looked_at = ACCOUNT;
	arena_free(&answer.ar);
	close_house(&as, &s, &seat.volume);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run),
		cmocka_unit_test(test_ledger),
		cmocka_unit_test(test_failed_sync),
		cmocka_unit_test(test_take_in),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_deliver),
	};

	sem_init(&waiter.done, 0, 0);
	sem_init(&answer.done, 0, 0);
	return cmocka_run_group_tests(tests, setup, teardown);
}
