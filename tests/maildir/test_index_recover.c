/* The index after unclean stops and damage: recovery, check, rebuild. */
#include "tests/maildir/store_test.h"

/* Opens as after a power cut: another run of the volume. */
static void
crash_open(struct store *s)
{
	index_close(&s->x);
	s->run++;
	memset(s->found, 0, sizeof s->found);
	store_open(s);
	OK(s, index_settle(s->x, index_commit_no(s->x), &s->e));
}

static void
remove_file(struct store *s, struct str path)
{
	char full[800];

	snprintf(full, sizeof full, "%s/%.*s", s->dir, STR_ARG(path));
	assert_int_equal(unlink(full), 0);
}

static void
test_rows_and_files(void **st)
{
	struct store *s = *st;
	uint32_t in = box(s, "INBOX");
	struct index_added a[4];
	uint64_t modseq = status(s, "INBOX").modseq;
	char full[800];

	store_begin(s);
	for (int i = 0; i < 4; i++)
		a[i] = append(s, in, 0, 40);
	store_commit(s);
	remove_file(s, a[0].path);                       /* missing */
	snprintf(full, sizeof full, "%s/%.*s", s->dir, STR_ARG(a[1].path));
	assert_int_equal(truncate(full, 7), 0);          /* short */
	put_file(s, "cur/1732440000.M000001N00000000000000ff.ph,S=9,U=77,E=00000000000000ff:2,", 9);
	put_file(s, "cur/1732440000.M000001N00000000000000fe.ph,S=9,U=78,E=00000000000000fe:2,", 5);
	put_file(s, "new/1732440000.M000001D00000000000000fd.ph,S=9", 5);
	crash_open(s);
	assert_int_equal(s->found[FOUND_ROW_WITHOUT_FILE], 1);
	assert_int_equal(s->found[FOUND_SHORT_FILE], 1);
	assert_int_equal(s->found[FOUND_FILE_WITHOUT_ROW], 1);
	assert_int_equal(s->found[FOUND_TORN_NEW], 2);
	assert_int_equal(status(s, "INBOX").total, 3);
	assert_true(status(s, "INBOX").uidnext > INDEX_UID_GAP);
	assert_true(status(s, "INBOX").modseq > modseq + INDEX_MODSEQ_GAP);
	assert_false(has_file(s, "new/1732440000.M000001D00000000000000fd.ph,S=9"));
	check_clean(s);
	crash_open(s); /* nothing more to find */
	for (int i = 0; i < 16; i++)
		assert_int_equal(s->found[i], 0);
	check_clean(s);
}

static void
test_unfinished_copy(void **st)
{
	struct store *s = *st;
	struct index_added a;
	char from[600], to[800], path[512];
	struct buf name;
	struct msg_name n;

	store_begin(s);
	a = append(s, box(s, "INBOX"), 0, 40);
	store_commit(s);
	buf_init(&name, 0);
	assert_true(name_parse(str_skip(a.path, 4), &n));
	name_cur(&name, n.base, 500, a.email);
	snprintf(from, sizeof from, "%s/%.*s", s->dir, STR_ARG(a.path));
	snprintf(path, sizeof path, ".Trash/cur/%s", buf_cstr(&name));
	snprintf(to, sizeof to, "%s/%s", s->dir, path);
	assert_int_equal(link(from, to), 0);
	crash_open(s);
	assert_int_equal(s->found[FOUND_LINK_OF_NOTHING], 1);
	assert_false(has_file(s, path));
	assert_int_equal(status(s, "Trash").total, 0);
	assert_int_equal(status(s, "INBOX").total, 1);
	check_clean(s);
	buf_done(&name);
}

/* Committed, not settled when the process died: settle's work is made up for. */
static void
test_settle_after_restart(void **st)
{
	struct store *s = *st;
	struct index_new n = { .mailbox = box(s, "INBOX"), .size = 20, .spool_id = 5, .in_new = true,
		.opaque = true };
	struct index_added a, b;
	struct uid_set gone;
	struct buf base;
	char new[256];
	uint64_t no;

	store_begin(s);
	b = append(s, n.mailbox, F_DELETED, 10);
	store_commit(s);
	buf_init(&base, 0);
	name_base(&base, 1732440000000001, NAME_DELIVERED, 5, 20, NULL);
	n.base = buf_view(&base);
	snprintf(new, sizeof new, "new/%s", buf_cstr(&base));
	put_file(s, new, 20);
	store_begin(s);
	assert_int_equal(index_add(s->x, &n, s->ar, &a, &s->e), 0);
	OK(s, index_expunge(s->x, n.mailbox, NULL, s->ar, &gone, &no, &s->e));
	OK(s, index_commit(s->x, &no, &s->e));
	assert_true(has_file(s, arena_cstr(s->ar, b.path)));
	crash_open(s);
	assert_false(has_file(s, new));
	assert_true(has_file(s, arena_cstr(s->ar, a.path)));
	assert_false(has_file(s, arena_cstr(s->ar, b.path)));
	assert_int_equal(status(s, "INBOX").total, 1);
	check_clean(s);
	buf_done(&base);
}

/* A cut kept the rows of a move and lost its link: the old file is the last one. */
static void
test_rest_of_a_move(void **st)
{
	struct store *s = *st;
	uint32_t inbox = box(s, "INBOX"), trash = box(s, "Trash");
	struct uid_range one = { 1, 1 };
	struct store_copied c;
	struct index_added a;
	struct str path;
	uint64_t no;

	store_begin(s);
	a = append(s, inbox, F_SEEN, 30);
	store_commit(s);
	store_begin(s);
	OK(s, index_copy(s->x, inbox, &(struct uid_set){ &one, 1 }, trash, true, 0, s->ar, &c, &s->e));
	OK(s, index_commit(s->x, &no, &s->e));
	OK(s, index_path(s->x, trash, c.to[0], s->ar, &path, NULL, &s->e));
	remove_file(s, path);
	crash_open(s);
	assert_int_equal(status(s, "Trash").total, 1);
	assert_int_equal(status(s, "INBOX").total, 0);
	assert_true(has_file(s, arena_cstr(s->ar, path)));
	assert_false(has_file(s, arena_cstr(s->ar, a.path)));
	check_clean(s);
}

/* A delivery whose row came through and whose file did not is taken again. */
static void
test_lost_delivery(void **st)
{
	struct store *s = *st;
	struct index_new n = { .mailbox = box(s, "INBOX"), .size = 4, .spool_id = 5, .opaque = true };
	static const uint32_t crc = 0x9be3e0a3; /* CRC32C of "\0\1\2\3" is another */
	struct index_added a;
	struct buf base;
	uint64_t email;

	buf_init(&base, 0);
	name_base(&base, 1732440000000001, NAME_DELIVERED, 5, 4, &crc);
	n.base = buf_view(&base);
	store_begin(s);
	assert_int_equal(index_add(s->x, &n, s->ar, &a, &s->e), 0);
	put_file(s, arena_cstr(s->ar, a.path), 4); /* of the right length */
	store_commit(s);
	assert_int_equal(index_delivered(s->x, 5, &email, &s->e), 1);
	crash_open(s);
	assert_int_equal(s->found[FOUND_SHORT_FILE], 1);
	assert_int_equal(status(s, "INBOX").total, 0);
	assert_int_equal(index_delivered(s->x, 5, &email, &s->e), 0);
	check_clean(s);
	buf_done(&base);
}

static void
test_folders(void **st)
{
	struct store *s = *st;
	char path[512];

	snprintf(path, sizeof path, "%s/.Lost", s->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/.Lost/cur", s->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	put_file(s, ".Lost/cur/1732440000.M000001N00000000000000ff.ph,S=9,U=7,E=00000000000000ff:2,", 9);
	snprintf(path, sizeof path, "%s/.Empty", s->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	crash_open(s);
	assert_int_equal(s->found[FOUND_FOLDER], 2);
	assert_int_equal(status(s, "Lost").total, 1);
	assert_false(has_file(s, ".Empty"));
	check_clean(s);
}

static void
make_mail(struct store *s)
{
	struct uid_range r = { 2, 4 };
	struct uid_set set = { &r, 1 }, mod;
	struct str kw[] = { STR("blue") };
	struct store_copied c;
	uint64_t m;
	uint32_t id;

	store_begin(s);
	OK(s, index_create(s->x, STR("Work/Plans.2026"), STR(""), &id, &s->e));
	for (int i = 0; i < 120; i++)
		append(s, box(s, "INBOX"), i % 3 ? F_SEEN : 0, 10);
	OK(s, index_flags(s->x, box(s, "INBOX"), &set, FLAGS_ADD, F_FLAGGED, kw, 1, UINT64_MAX, s->ar,
	    &mod, &m, &s->e));
	OK(s, index_copy(s->x, box(s, "INBOX"), &set, id, false, 0, s->ar, &c, &s->e));
	store_commit(s);
}

static void
rebuild(struct store *s)
{
	struct index_options o;

	index_close(&s->x);
	memset(s->found, 0, sizeof s->found);
	o = store_options(s);
	OK(s, index_rebuild(&o, &s->e));
	store_open(s);
	OK(s, index_settle(s->x, index_commit_no(s->x), &s->e));
}

static void
test_rebuild(void **st)
{
	struct store *s = *st;
	struct store_mailbox before, after;
	struct index_stat stat0, stat1;
	struct store_delta d;
	struct str p0, p1;

	make_mail(s);
	while (index_snapshot_step(s->x, 100, &s->e) > 0)
		;
	store_begin(s);
	append(s, box(s, "INBOX"), F_SEEN, 33); /* the snapshot does not know it */
	store_commit(s);
	before = status(s, "INBOX");
	OK(s, index_path(s->x, before.id, 3, s->ar, &p0, NULL, &s->e));
	index_stat(s->x, &stat0);
	rebuild(s);
	after = status(s, "INBOX");
	index_stat(s->x, &stat1);
	assert_int_equal(s->found[FOUND_FLAGS_LOST], 1);
	assert_int_equal(after.id, before.id);
	assert_int_equal(after.uidvalidity, before.uidvalidity);
	assert_int_equal(after.total, before.total);
	assert_int_equal(after.unseen, before.unseen + 1);
	assert_true(after.uidnext >= before.uidnext);
	assert_true(stat1.modseq > stat0.modseq);
	assert_int_not_equal(stat1.epoch, stat0.epoch);
	OK(s, index_path(s->x, before.id, 3, s->ar, &p1, NULL, &s->e));
	assert_true(str_eq(p0, p1));
	assert_int_equal(status(s, "Work/Plans.2026").total, 3);
	OK(s, index_sync(s->x, box(s, "Work/Plans.2026"), stat1.modseq, false, s->ar, &d, &s->e));
	check_clean(s);
}

static void
test_rebuild_without_snapshot(void **st)
{
	struct store *s = *st;
	struct index_unparsed *u;
	char path[512];
	size_t n;
	FILE *f;

	make_mail(s);
	index_close(&s->x);
	snprintf(path, sizeof path, "%s/index.db", s->dir);
	f = fopen(path, "r+");
	for (int i = 0; i < 20000; i++)
		fputc(i & 0xff, f);
	fclose(f);
	{
		struct index_options o = store_options(s);

		assert_int_equal(index_open(&o, &s->x, NULL, &s->e), -EUCLEAN);
	}
	rebuild(s);
	assert_int_equal(status(s, "INBOX").total, 120);
	assert_int_equal(status(s, "INBOX").unseen, 120);
	assert_int_equal(s->found[FOUND_FLAGS_LOST], 123);
	OK(s, index_unparsed(s->x, 0, 1000, s->ar, &u, &n, &s->e));
	assert_int_equal(n, 120);
	assert_true(has_file(s, "index.db.bad"));
	store_begin(s);
	for (size_t i = 0; i < n; i++)
		OK(s, index_set_facts(s->x, u[i].email, STR_NULL, &s->e));
	store_commit(s);
	OK(s, index_unparsed(s->x, 0, 1000, s->ar, &u, &n, &s->e));
	assert_int_equal(n, 0);
	check_clean(s);
}

/* Random damage in the middle of the database never crashes the program. */
static void
test_damage(void **st)
{
	struct store *s = *st;
	unsigned seed = 1;
	char path[512];

	make_mail(s);
	snprintf(path, sizeof path, "%s/index.db", s->dir);
	for (int round = 0; round < 40; round++) {
		struct index_options o = store_options(s);
		struct stat sb;
		FILE *f;
		int fd;

		index_close(&s->x);
		assert_int_equal(stat(path, &sb), 0);
		f = fopen(path, "r+");
		for (int i = 0; i < 8; i++) {
			fseek(f, 100 + rand_r(&seed) % (sb.st_size - 100), SEEK_SET);
			fputc(rand_r(&seed) & 0xff, f);
		}
		fclose(f);
		if (index_open(&o, &s->x, NULL, &s->e)) {
			rebuild(s);
			continue;
		}
		index_check(s->x, true, &s->e);
		if (!index_begin(s->x, &s->e)) {
			flags(s, box(s, "INBOX"), 1, 200, FLAGS_ADD, F_FLAGGED);
			if (index_commit(s->x, &(uint64_t){ 0 }, &s->e))
				index_rollback(s->x);
		}
		size_t size;
		if (!index_lost(s->x) && !index_view(s->x, box(s, "INBOX"), false, &fd, &size, &s->e))
			close(fd);
		rebuild(s);
	}
	assert_int_equal(status(s, "INBOX").total, 120);
	check_clean(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rows_and_files, up, down),
		cmocka_unit_test_setup_teardown(test_unfinished_copy, up, down),
		cmocka_unit_test_setup_teardown(test_settle_after_restart, up, down),
		cmocka_unit_test_setup_teardown(test_rest_of_a_move, up, down),
		cmocka_unit_test_setup_teardown(test_lost_delivery, up, down),
		cmocka_unit_test_setup_teardown(test_folders, up, down),
		cmocka_unit_test_setup_teardown(test_rebuild, up, down),
		cmocka_unit_test_setup_teardown(test_rebuild_without_snapshot, up, down),
		cmocka_unit_test_setup_teardown(test_damage, up, down),
	};
	struct err e;

	if (index_init(&e))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
