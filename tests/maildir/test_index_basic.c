/* The index: opening, mailboxes, messages in, flags, copy, move, expunge. */
#include "tests/maildir/store_test.h"

#include <sys/mman.h>

#include "lib/client/view.h"

static void
test_new_account(void **st)
{
	static const char *const want[] = { "INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive" };
	struct store *s = *st;
	struct store_mailbox *m;
	size_t n;

	OK(s, index_list(s->x, s->ar, &m, &n, &s->e));
	assert_int_equal(n, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_true(str_eq(m[i].name, str_c(want[i])));
		assert_true(m[i].subscribed);
		assert_int_equal(m[i].uidnext, 1);
	}
	assert_true(str_eq(m[1].role, STR("sent")));
	assert_true(has_file(s, ".Sent/cur"));
	assert_true(has_file(s, ".Sent/posthorn-folder"));
	assert_true(has_file(s, "cur"));
	assert_int_equal(index_find(s->x, STR("inbox")), m[0].id);
	check_clean(s);
}

static void
test_append_and_reopen(void **st)
{
	struct store *s = *st;
	struct index_added a, b;
	uint64_t size;
	struct str path;

	store_begin(s);
	a = append(s, box(s, "INBOX"), F_SEEN, 100);
	b = append(s, box(s, "INBOX"), 0, 50);
	store_commit(s);
	assert_int_equal(a.uid, 1);
	assert_int_equal(b.uid, 2);
	assert_true(b.email > a.email);
	index_close(&s->x);
	store_open(s);
	assert_int_equal(status(s, "INBOX").total, 2);
	assert_int_equal(status(s, "INBOX").unseen, 1);
	assert_int_equal(status(s, "INBOX").bytes, 150);
	assert_int_equal(status(s, "INBOX").uidnext, 3);
	OK(s, index_path(s->x, box(s, "INBOX"), 2, s->ar, &path, &size, &s->e));
	assert_true(str_eq(path, b.path));
	assert_int_equal(size, 50);
	assert_int_equal(index_path(s->x, box(s, "INBOX"), 3, s->ar, &path, &size, &s->e), -ENOENT);
	check_clean(s);
}

static void
test_rollback_removes(void **st)
{
	struct store *s = *st;
	struct index_added a;
	uint32_t id;

	store_begin(s);
	a = append(s, box(s, "INBOX"), 0, 10);
	OK(s, index_create(s->x, STR("Work/Plans"), STR(""), &id, &s->e));
	assert_true(has_file(s, ".Work.Plans/new"));
	index_rollback(s->x);
	assert_false(has_file(s, arena_cstr(s->ar, a.path)));
	assert_false(has_file(s, ".Work.Plans"));
	assert_int_equal(index_find(s->x, STR("Work")), 0);
	assert_int_equal(status(s, "INBOX").total, 0);
	check_clean(s);
}

/* A delivery in new/ is named by settle; a second one is told. */
static void
test_delivery_once(void **st)
{
	struct store *s = *st;
	struct index_new n = { .mailbox = box(s, "INBOX"), .size = 30, .spool_id = 77,
		.in_new = true, .opaque = true, .internal_date = 1 };
	struct index_added a, b;
	struct buf base;
	char new[256];
	uint64_t no, email;

	buf_init(&base, 0);
	name_base(&base, 1732440000123456, NAME_DELIVERED, 77, 30, NULL);
	n.base = buf_view(&base);
	snprintf(new, sizeof new, "new/%s", buf_cstr(&base));
	put_file(s, new, 30);
	store_begin(s);
	assert_int_equal(index_add(s->x, &n, s->ar, &a, &s->e), 0);
	OK(s, index_commit(s->x, &no, &s->e));
	assert_int_equal(status(s, "INBOX").uidnext, 1); /* not shown before it is durable */
	assert_true(has_file(s, new));
	OK(s, index_settle(s->x, no, &s->e));
	assert_int_equal(status(s, "INBOX").uidnext, 2);
	assert_false(has_file(s, new));
	assert_true(has_file(s, arena_cstr(s->ar, a.path)));

	put_file(s, new, 30); /* the same again */
	store_begin(s);
	assert_int_equal(index_add(s->x, &n, s->ar, &b, &s->e), 1);
	assert_int_equal(b.uid, a.uid);
	store_commit(s);
	assert_false(has_file(s, new));
	assert_int_equal(status(s, "INBOX").total, 1);

	store_begin(s); /* even when it was expunged */
	OK(s, flags(s, box(s, "INBOX"), 1, 1, FLAGS_ADD, F_DELETED));
	OK(s, index_expunge(s->x, box(s, "INBOX"), NULL, s->ar, &(struct uid_set){ 0 }, &no, &s->e));
	store_commit(s);
	assert_false(has_file(s, arena_cstr(s->ar, a.path)));
	put_file(s, new, 30);
	store_begin(s);
	assert_int_equal(index_add(s->x, &n, s->ar, &b, &s->e), 1);
	assert_int_equal(b.uid, 0);
	store_commit(s);
	assert_false(has_file(s, new));

	assert_int_equal(index_delivered(s->x, 77, &email, &s->e), 1);
	assert_int_equal(email, a.email);
	store_begin(s);
	OK(s, index_prune_delivered(s->x, 78, (uint64_t[]){ 77 }, 1, &s->e));
	assert_int_equal(index_delivered(s->x, 77, &email, &s->e), 1);
	OK(s, index_prune_delivered(s->x, 78, NULL, 0, &s->e));
	store_commit(s);
	assert_int_equal(index_delivered(s->x, 77, &email, &s->e), 0);
	check_clean(s);
	buf_done(&base);
}

static void
test_flags(void **st)
{
	struct store *s = *st;
	uint32_t in = box(s, "INBOX");
	struct uid_range r = { 1, 10 };
	struct uid_set set = { &r, 1 }, mod;
	struct str kw[] = { STR("$Forwarded"), STR("blue") };
	struct index_jmap_counts j;
	struct store_delta d;
	uint64_t m0, m1;

	store_begin(s);
	for (int i = 0; i < 10; i++)
		append(s, in, 0, 10);
	store_commit(s);
	m0 = status(s, "INBOX").modseq;
	store_begin(s);
	OK(s, flags(s, in, 2, 4, FLAGS_ADD, F_SEEN));
	OK(s, flags(s, in, 4, 5, FLAGS_ADD, F_DELETED));
	OK(s, index_flags(s->x, in, &set, FLAGS_ADD, 0, kw, 2, m0, s->ar, &mod, &m1, &s->e));
	assert_int_equal(mod.n, 1);
	assert_int_equal(mod.v[0].lo, 2);
	assert_int_equal(mod.v[0].hi, 5);
	store_commit(s);
	assert_int_equal(status(s, "INBOX").unseen, 7);
	assert_int_equal(status(s, "INBOX").deleted, 2);
	OK(s, index_jmap_counts(s->x, in, &j, &s->e));
	assert_int_equal(j.total, 8);
	assert_int_equal(j.unread, 6);
	assert_int_equal(j.threads, 8);
	assert_int_equal(j.unread_threads, 6);
	OK(s, index_sync(s->x, in, m0, false, s->ar, &d, &s->e));
	assert_int_equal(d.n, 10);
	assert_int_equal(d.n_keywords, 2);
	assert_true(str_eq(d.keywords[1], STR("blue")));
	assert_int_equal(d.flags[0], F_KEYWORD0 | F_KEYWORD0 << 1);
	assert_int_equal(d.flags[3], F_SEEN | F_DELETED);
	OK(s, index_sync(s->x, in, d.modseq, false, s->ar, &d, &s->e));
	assert_int_equal(d.n, 0);
	assert_null(d.keywords);
	store_begin(s);
	OK(s, flags(s, in, 1, 10, FLAGS_SET, F_FLAGGED));
	store_commit(s);
	assert_int_equal(status(s, "INBOX").unseen, 10);
	assert_int_equal(status(s, "INBOX").deleted, 0);
	check_clean(s);
}

/* Thirty keywords: those past the twenty-fourth live in rows of their own. */
static void
test_rare_keywords(void **st)
{
	struct store *s = *st;
	uint32_t in = box(s, "INBOX");
	struct uid_range r = { 1, 2 };
	struct uid_set set = { &r, 1 }, mod;
	struct str kw[30];
	struct store_copied c;
	struct store_delta d;
	uint64_t modseq, since;

	for (int i = 0; i < 30; i++)
		kw[i] = arena_printf(s->ar, "k%d", i);
	store_begin(s);
	append(s, in, 0, 10);
	append(s, in, 0, 10);
	OK(s, index_flags(s->x, in, &set, FLAGS_ADD, 0, kw, 30, UINT64_MAX, s->ar, &mod, &modseq,
	    &s->e));
	store_commit(s);
	OK(s, index_sync(s->x, in, 1, false, s->ar, &d, &s->e));
	if (d.gone_unknown)
		OK(s, index_sync(s->x, in, d.modseq - 3, false, s->ar, &d, &s->e));
	assert_int_equal(d.n, 2);
	assert_int_equal(d.n_more, 12);
	assert_true(d.flags[0] & F_MORE);
	since = d.modseq;
	store_begin(s);
	OK(s, index_flags(s->x, in, &set, FLAGS_REMOVE, 0, kw + 24, 6, UINT64_MAX, s->ar, &mod,
	    &modseq, &s->e));
	store_commit(s);
	OK(s, index_sync(s->x, in, since, false, s->ar, &d, &s->e));
	assert_int_equal(d.n, 2);
	assert_int_equal(d.n_more, 0);
	assert_false(d.flags[0] & F_MORE);
	store_begin(s);
	OK(s, index_flags(s->x, in, &set, FLAGS_SET, 0, kw + 29, 1, UINT64_MAX, s->ar, &mod,
	    &modseq, &s->e));
	OK(s, index_copy(s->x, in, &set, box(s, "Archive"), false, 0, s->ar, &c, &s->e));
	store_commit(s);
	OK(s, index_sync(s->x, box(s, "Archive"), status(s, "Archive").modseq - 1, false, s->ar, &d,
	    &s->e));
	assert_int_equal(d.n, 2);
	assert_int_equal(d.n_keywords, 1);
	assert_true(str_eq(d.keywords[0], STR("k29")));
	assert_int_equal(d.flags[0], F_KEYWORD0);
	check_clean(s);
}

static void
test_copy_move_expunge(void **st)
{
	struct store *s = *st;
	uint32_t in = box(s, "INBOX"), ar = box(s, "Archive"), tr = box(s, "Trash");
	struct uid_range r = { 1, 3 };
	struct uid_set set = { &r, 1 }, gone;
	struct index_jmap_counts j;
	struct store_copied c;
	struct store_delta d;
	struct str path;
	uint64_t m0, modseq;

	store_begin(s);
	for (int i = 0; i < 5; i++)
		append(s, in, i == 0 ? F_SEEN : 0, 10);
	store_commit(s);
	m0 = status(s, "INBOX").modseq;
	store_begin(s);
	OK(s, index_copy(s->x, in, &set, ar, false, 0, s->ar, &c, &s->e));
	store_commit(s);
	assert_int_equal(c.n, 3);
	assert_int_equal(c.from[2], 3);
	assert_int_equal(c.to[2], 3);
	OK(s, index_path(s->x, ar, 2, s->ar, &path, NULL, &s->e));
	assert_true(has_file(s, arena_cstr(s->ar, path)));
	OK(s, index_jmap_counts(s->x, ar, &j, &s->e));
	assert_int_equal(j.total, 3);
	assert_int_equal(j.unread, 2);
	store_begin(s); /* the Email is read only when every place of it is */
	OK(s, flags(s, ar, 1, 3, FLAGS_ADD, F_SEEN));
	store_commit(s);
	OK(s, index_jmap_counts(s->x, ar, &j, &s->e));
	assert_int_equal(j.unread, 2);
	store_begin(s);
	OK(s, index_copy(s->x, in, &set, tr, true, 0, s->ar, &c, &s->e));
	store_commit(s);
	assert_int_equal(status(s, "INBOX").total, 2);
	assert_int_equal(status(s, "Trash").total, 3);
	OK(s, index_sync(s->x, in, m0, false, s->ar, &d, &s->e));
	assert_int_equal(d.gone.n, 1);
	assert_int_equal(d.gone.v[0].hi, 3);
	assert_int_equal(index_path(s->x, in, 1, s->ar, &path, NULL, &s->e), -ENOENT);
	store_begin(s);
	OK(s, flags(s, tr, 1, 2, FLAGS_ADD, F_DELETED));
	OK(s, index_expunge(s->x, tr, &set, s->ar, &gone, &modseq, &s->e));
	assert_int_equal(gone.v[0].hi, 2);
	store_commit(s);
	store_begin(s); /* a twin in one mailbox counts once */
	OK(s, index_copy(s->x, ar, &set, ar, false, 0, s->ar, &c, &s->e));
	store_commit(s);
	assert_int_equal(status(s, "Archive").total, 6);
	OK(s, index_jmap_counts(s->x, ar, &j, &s->e));
	assert_int_equal(j.total, 3);
	check_clean(s);
}

static void
test_quota(void **st)
{
	struct store *s = *st;
	struct index_new n = { .mailbox = box(s, "INBOX"), .size = 60, .opaque = true, .quota = 100 };
	struct uid_range r = { 1, 1 };
	struct uid_set set = { &r, 1 };
	struct store_copied c;
	struct index_added a;

	store_begin(s);
	append(s, n.mailbox, 0, 60);
	assert_int_equal(index_add(s->x, &n, s->ar, &a, &s->e), -EDQUOT);
	assert_int_equal(index_copy(s->x, n.mailbox, &set, n.mailbox, false, 100, s->ar, &c, &s->e),
	    -EDQUOT);
	OK(s, index_copy(s->x, n.mailbox, &set, box(s, "Sent"), true, 100, s->ar, &c, &s->e));
	store_commit(s); /* refusals leave the transaction alive */
	check_clean(s);
}

static void
test_mailboxes(void **st)
{
	static const struct {
		const char *name;
		int want;
	} t[] = {
		{ "Work", 0 }, { "Work", -EEXIST }, { "a/b/c", 0 }, { "a/b", 0 }, { "inbox", -EEXIST },
		{ "Inbox/x", 0 }, { "", -EINVAL }, { "/x", -EINVAL }, { "x/", -EINVAL },
		{ "x//y", -EINVAL }, { "x/../y", -EINVAL }, { "bad\001", -EINVAL }, { "\xff", -EINVAL },
		{ "B\xc3\xbc" "cher & mehr", 0 }, { "v1.2", 0 }, { "v1_2", 0 },
	};
	struct store *s = *st;
	uint32_t id, work;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		store_begin(s);
		assert_int_equal(index_create(s->x, str_c(t[i].name), STR(""), &id, &s->e), t[i].want);
		store_commit(s);
	}
	assert_int_not_equal(index_find(s->x, STR("INBOX/x")), 0);
	work = box(s, "Work");
	store_begin(s);
	append(s, work, 0, 10);
	append(s, box(s, "a/b/c"), 0, 10);
	store_commit(s);
	store_begin(s);
	OK(s, index_rename(s->x, work, STR("Old/Work"), &s->e));
	OK(s, index_rename(s->x, box(s, "a"), STR("z"), &s->e));
	assert_int_equal(index_rename(s->x, box(s, "z"), STR("z/y"), &s->e), -EINVAL);
	store_commit(s);
	assert_int_equal(box(s, "Old/Work"), work);
	assert_int_equal(status(s, "z/b/c").total, 1);
	assert_true(has_file(s, ".Old.Work/cur"));
	assert_true(has_file(s, ".z.b.c/cur"));
	assert_false(has_file(s, ".Work"));
	index_close(&s->x);
	store_open(s);
	check_clean(s);
	store_begin(s);
	assert_int_equal(index_delete(s->x, box(s, "INBOX"), &s->e), -EPERM);
	OK(s, index_delete(s->x, box(s, "z/b"), &s->e)); /* keeps its child */
	assert_int_equal(index_delete(s->x, box(s, "z/b"), &s->e), -EBUSY);
	OK(s, index_delete(s->x, work, &s->e));
	store_commit(s);
	assert_true(status(s, "z/b").noselect);
	assert_int_equal(index_find(s->x, STR("Old/Work")), 0);
	assert_false(has_file(s, ".Old.Work"));
	store_begin(s);
	OK(s, index_create(s->x, STR("Old/Work"), STR(""), &id, &s->e));
	assert_int_not_equal(id, work);
	store_commit(s);
	check_clean(s);
}

static void
test_rename_inbox(void **st)
{
	struct store *s = *st;

	store_begin(s);
	append(s, box(s, "INBOX"), 0, 10);
	append(s, box(s, "INBOX"), 0, 10);
	store_commit(s);
	store_begin(s);
	OK(s, index_rename(s->x, box(s, "INBOX"), STR("Saved"), &s->e));
	store_commit(s);
	assert_int_equal(status(s, "INBOX").total, 0);
	assert_int_equal(status(s, "Saved").total, 2);
	check_clean(s);
}

static void
test_subscriptions(void **st)
{
	struct store *s = *st;
	struct store_mailbox *m;
	size_t n;

	store_begin(s);
	OK(s, index_subscribe(s->x, STR("Sent"), false, &s->e));
	OK(s, index_subscribe(s->x, STR("not there"), true, &s->e));
	store_commit(s);
	OK(s, index_list(s->x, s->ar, &m, &n, &s->e));
	assert_int_equal(n, 7);
	assert_true(str_eq(m[6].name, STR("not there")));
	assert_true(m[6].noselect && m[6].subscribed);
	assert_false(status(s, "Sent").subscribed);
}

/* The view is the same from rows, from chunks, and from chunks with changes over them. */
static void
view_is(struct store *s, uint32_t mailbox, size_t n, uint32_t first, uint32_t flag_first)
{
	struct view_head *h;
	size_t size;
	int fd;

	OK(s, index_view(s->x, mailbox, false, &fd, &size, &s->e));
	h = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(h != MAP_FAILED);
	assert_int_equal(view_size(h), size);
	assert_int_equal(h->n, n);
	for (size_t i = 1; i < n; i++)
		assert_true(view_uid(h)[i] > view_uid(h)[i - 1]);
	assert_int_equal(view_uid(h)[0], first);
	assert_int_equal(view_flags(h)[0], flag_first);
	munmap(h, size);
	close(fd);
}

static void
test_views(void **st)
{
	struct store *s = *st;
	uint32_t in = box(s, "INBOX");
	struct uid_set gone;
	uint64_t modseq;

	store_begin(s);
	for (int i = 0; i < 3000; i++)
		append(s, in, 0, 3);
	store_commit(s);
	view_is(s, in, 3000, 1, 0);
	store_begin(s);
	while (index_upkeep(s->x, 10000, &s->e) > 0)
		;
	store_commit(s);
	view_is(s, in, 3000, 1, 0);
	store_begin(s);
	OK(s, flags(s, in, 2, 2, FLAGS_ADD, F_SEEN));
	OK(s, flags(s, in, 1, 1, FLAGS_ADD, F_DELETED));
	OK(s, index_expunge(s->x, in, NULL, s->ar, &gone, &modseq, &s->e));
	append(s, in, 0, 3);
	store_commit(s);
	view_is(s, in, 3000, 2, F_SEEN);
	check_clean(s);
}

static int
note(void *arg, const struct store_fact *f)
{
	uint32_t *v = arg;

	if (v[0] == 3)
		return 1;
	v[0]++;
	v[1] += f->uid;
	assert_int_equal(f->size, 10);
	assert_int_equal(f->internal_zone, 60);
	assert_true(f->envelope.n > 0);
	return 0;
}

static void
test_facts(void **st)
{
	struct store *s = *st;
	struct uid_range r[] = { { 1, 2 }, { 4, UINT32_MAX } };
	struct uid_set set = { r, 2 };
	uint32_t v[2] = { 0 }, next;

	store_begin(s);
	for (int i = 0; i < 6; i++)
		append(s, box(s, "INBOX"), 0, 10);
	store_commit(s);
	OK(s, index_facts(s->x, box(s, "INBOX"), &set, 0, FACT_DATES | FACT_ENVELOPE, note, v, &next,
	    &s->e));
	assert_int_equal(v[1], 1 + 2 + 4);
	assert_int_equal(next, 5);
	v[0] = v[1] = 0;
	OK(s, index_facts(s->x, box(s, "INBOX"), &set, next, FACT_DATES | FACT_ENVELOPE, note, v,
	    &next, &s->e));
	assert_int_equal(v[1], 5 + 6);
	assert_int_equal(next, 0);
}

static void
test_recent(void **st)
{
	struct store *s = *st;
	struct store_delta d;
	uint32_t in = box(s, "INBOX");

	store_begin(s);
	append(s, in, 0, 3);
	store_commit(s);
	OK(s, index_sync(s->x, in, status(s, "INBOX").modseq, true, s->ar, &d, &s->e));
	assert_int_equal(d.first_recent, 1);
	OK(s, index_sync(s->x, in, status(s, "INBOX").modseq, true, s->ar, &d, &s->e));
	assert_int_equal(d.first_recent, 2);
}

static void
test_snapshot(void **st)
{
	struct store *s = *st;
	int r;

	store_begin(s);
	for (int i = 0; i < 150; i++)
		append(s, box(s, "INBOX"), 0, 3);
	store_commit(s);
	assert_true(index_snapshot_due(s->x));
	while ((r = index_snapshot_step(s->x, 5, &s->e)) > 0)
		;
	assert_int_equal(r, 0);
	assert_true(has_file(s, "index.snap"));
	assert_false(has_file(s, "index.snap.tmp"));
	assert_false(index_snapshot_due(s->x));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_new_account, up, down),
		cmocka_unit_test_setup_teardown(test_append_and_reopen, up, down),
		cmocka_unit_test_setup_teardown(test_rollback_removes, up, down),
		cmocka_unit_test_setup_teardown(test_delivery_once, up, down),
		cmocka_unit_test_setup_teardown(test_flags, up, down),
		cmocka_unit_test_setup_teardown(test_rare_keywords, up, down),
		cmocka_unit_test_setup_teardown(test_copy_move_expunge, up, down),
		cmocka_unit_test_setup_teardown(test_quota, up, down),
		cmocka_unit_test_setup_teardown(test_mailboxes, up, down),
		cmocka_unit_test_setup_teardown(test_rename_inbox, up, down),
		cmocka_unit_test_setup_teardown(test_subscriptions, up, down),
		cmocka_unit_test_setup_teardown(test_views, up, down),
		cmocka_unit_test_setup_teardown(test_facts, up, down),
		cmocka_unit_test_setup_teardown(test_recent, up, down),
		cmocka_unit_test_setup_teardown(test_snapshot, up, down),
	};
	struct err e;

	if (index_init(&e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
