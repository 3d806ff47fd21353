/*
 * Random operations on an index against a small model in memory: after every
 * commit the counters agree, now and then the whole mailbox, the audit and a
 * recovery. The seed is printed; SEED=n repeats a run, OPS=n makes it longer.
 */
#include "tests/maildir/store_test.h"

#include "tests/maildir/fake_facts.h"

#define BOXES 4
#define MAX 4000

struct msg {
	uint32_t uid, flags;
};
struct mbox {
	uint32_t id, next;
	struct msg m[MAX];
	size_t n;
};
struct model {
	struct store s;
	struct mbox b[BOXES];
	uint64_t since; /* the modseq at the start */
	unsigned seed;
	int ids;
};

static unsigned
rnd(struct model *m, unsigned below)
{
	return (unsigned)rand_r(&m->seed) % below;
}

static void
op_add(struct model *m)
{
	struct mbox *b = &m->b[rnd(m, BOXES)];
	struct index_new n = { .mailbox = b->id, .size = 5, .sysflags = rnd(m, 32),
		.internal_date = 1 };
	struct index_added a;
	char id[32], ref[32];
	struct buf f;

	if (b->n == MAX)
		return;
	buf_init(&f, 0);
	snprintf(id, sizeof id, "id%d", m->ids++);
	snprintf(ref, sizeof ref, "id%d", (int)rnd(m, (unsigned)m->ids));
	fake_facts(&f, id, rnd(m, 3) ? "plans" : "other", rnd(m, 2) ? ref : "");
	n.facts = buf_view(&f);
	OK(&m->s, index_add(m->s.x, &n, m->s.ar, &a, &m->s.e));
	put_file(&m->s, arena_cstr(m->s.ar, a.path), 5);
	assert_true(a.uid >= b->next);
	b->next = a.uid + 1;
	b->m[b->n++] = (struct msg){ a.uid, n.sysflags };
	buf_done(&f);
}

static struct uid_range
some(struct model *m, const struct mbox *b)
{
	uint32_t lo = b->n ? b->m[rnd(m, (unsigned)b->n)].uid : 1;

	return (struct uid_range){ lo, lo + rnd(m, 12) };
}

static void
op_flags(struct model *m)
{
	struct mbox *b = &m->b[rnd(m, BOXES)];
	struct uid_range r = some(m, b);
	enum store_flag_op op = rnd(m, 3);
	uint32_t f = rnd(m, 32);

	OK(&m->s, flags(&m->s, b->id, r.lo, r.hi, op, f));
	for (size_t i = 0; i < b->n; i++) {
		uint32_t *v = &b->m[i].flags;

		if (b->m[i].uid >= r.lo && b->m[i].uid <= r.hi)
			*v = op == FLAGS_SET ? f : op == FLAGS_ADD ? *v | f : *v & ~f;
	}
}

static void
drop(struct mbox *b, struct uid_range r, bool only_deleted)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->n; i++)
		if (b->m[i].uid < r.lo || b->m[i].uid > r.hi ||
		    (only_deleted && !(b->m[i].flags & F_DELETED)))
			b->m[kept++] = b->m[i];
	b->n = kept;
}

static void
op_expunge(struct model *m)
{
	struct mbox *b = &m->b[rnd(m, BOXES)];
	struct uid_range r = some(m, b);
	struct uid_set set = { &r, 1 }, gone;
	uint64_t modseq;

	OK(&m->s, index_expunge(m->s.x, b->id, &set, m->s.ar, &gone, &modseq, &m->s.e));
	drop(b, r, true);
}

static void
op_copy(struct model *m)
{
	struct mbox *b = &m->b[rnd(m, BOXES)], *d = &m->b[rnd(m, BOXES)];
	struct uid_range r = some(m, b);
	struct uid_set set = { &r, 1 };
	struct store_copied c;
	bool move = rnd(m, 2);
	size_t at = 0;

	if (d->n + 20 > MAX)
		return;
	OK(&m->s, index_copy(m->s.x, b->id, &set, d->id, move, 0, m->s.ar, &c, &m->s.e));
	for (size_t i = 0; i < c.n; i++) {
		while (b->m[at].uid != c.from[i])
			at++;
		assert_true(c.to[i] >= d->next);
		d->next = c.to[i] + 1;
		d->m[d->n++] = (struct msg){ c.to[i], b->m[at].flags };
	}
	if (move)
		drop(b, (struct uid_range){ r.lo, c.n ? c.from[c.n - 1] : 0 }, false);
}

static void
compare(struct model *m, bool all)
{
	for (size_t i = 0; i < BOXES; i++) {
		struct mbox *b = &m->b[i];
		struct store_mailbox sm;
		struct store_delta d;
		uint32_t unseen = 0, deleted = 0;

		for (size_t k = 0; k < b->n; k++)
			unseen += !(b->m[k].flags & F_SEEN), deleted += !!(b->m[k].flags & F_DELETED);
		OK(&m->s, index_status(m->s.x, b->id, m->s.ar, &sm, &m->s.e));
		assert_int_equal(sm.total, b->n);
		assert_int_equal(sm.unseen, unseen);
		assert_int_equal(sm.deleted, deleted);
		if (!all)
			continue;
		OK(&m->s, index_sync(m->s.x, b->id, m->since, false, m->s.ar, &d, &m->s.e));
		assert_int_equal(d.n, b->n);
		for (size_t k = 0; k < d.n; k++) {
			assert_int_equal(d.uid[k], b->m[k].uid);
			assert_int_equal(d.flags[k], b->m[k].flags);
		}
	}
}

static void
reopen(struct model *m)
{
	index_close(&m->s.x);
	m->s.run += rnd(m, 2);
	store_open(&m->s);
	OK(&m->s, index_settle(m->s.x, index_commit_no(m->s.x), &m->s.e));
	for (int i = 0; i < 16; i++)
		assert_int_equal(m->s.found[i], 0);
}

static void
test_random(void **st)
{
	static void (*const ops[])(struct model *) = { op_add, op_add, op_add, op_flags, op_flags,
		op_expunge, op_copy };
	static const char *const names[BOXES] = { "INBOX", "Sent", "Trash", "Archive" };
	const char *seed = getenv("SEED"), *n_ops = getenv("OPS");
	struct model *m = calloc(1, sizeof *m), *undo = calloc(1, sizeof *undo);
	struct index_stat stat;
	int n = n_ops ? atoi(n_ops) : 3000;

	store_init(&m->s);
	m->seed = seed ? (unsigned)atoi(seed) : (unsigned)getpid();
	print_message("seed %u\n", m->seed);
	for (size_t i = 0; i < BOXES; i++)
		m->b[i] = (struct mbox){ .id = box(&m->s, names[i]), .next = 1 };
	index_stat(m->s.x, &stat);
	m->since = stat.modseq;
	for (int i = 0; i < n; i++) {
		memcpy(undo->b, m->b, sizeof m->b);
		store_begin(&m->s);
		for (unsigned k = 0, todo = 1 + rnd(m, 3); k < todo; k++)
			ops[rnd(m, sizeof ops / sizeof *ops)](m);
		if (rnd(m, 20) == 0) {
			index_rollback(m->s.x);
			memcpy(m->b, undo->b, sizeof m->b);
		} else {
			store_commit(&m->s);
		}
		compare(m, i % 100 == 99);
		if (i % 500 == 499) {
			check_clean(&m->s);
			reopen(m);
		}
		arena_reset(m->s.ar);
	}
	check_clean(&m->s);
	store_done(&m->s);
	free(undo);
	free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };
	struct err e;

	if (index_init(&e))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
