/* Deduplication keys of submissions: find, forget, and through a checkpoint's entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "mta/queue_dedup.h"

static void
test_find(void **st)
{
	struct dedup d;
	struct dedup_key *k;

	dedup_init(&d, 10);
	assert_int_equal(dedup_add(&d, STR("one"), 7, 100, true), 0);
	assert_int_equal(dedup_add(&d, STR("one"), 8, 100, false), -EEXIST);
	assert_int_equal(dedup_add(&d, STR(""), 8, 100, false), -EINVAL);
	assert_null(dedup_find(&d, STR("on")));
	k = dedup_find(&d, STR("one"));
	assert_int_equal(k->id, 7);
	assert_true(k->pending);
	assert_ptr_equal(dedup_pending(&d, 7), k);
	dedup_commit(&d, k);
	assert_false(k->pending);
	assert_null(dedup_pending(&d, 7));
	dedup_remove(&d, k);
	assert_null(dedup_find(&d, STR("one")));
	assert_int_equal(d.n, 0);
	dedup_done(&d);
}

static void
test_expire(void **st)
{
	struct dedup d;

	dedup_init(&d, 10);
	dedup_add(&d, STR("a"), 1, 100, false);
	dedup_add(&d, STR("b"), 2, 200, false);
	dedup_add(&d, STR("c"), 3, 300, false);
	dedup_expire(&d, 99);
	assert_int_equal(d.n, 3);
	dedup_expire(&d, 200);
	assert_int_equal(d.n, 1);
	assert_non_null(dedup_find(&d, STR("c")));
	dedup_done(&d);
}

/* The oldest goes, but not one that somebody may wait for. */
static void
test_bound(void **st)
{
	struct dedup d;
	char key[8];

	dedup_init(&d, 4);
	dedup_add(&d, STR("waited"), 1, 100, true);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(key, sizeof key, "k%u", i);
		assert_int_equal(dedup_add(&d, str_c(key), 10 + i, 100, false), 0);
		assert_true(d.n <= 4);
	}
	assert_non_null(dedup_find(&d, STR("waited")));
	assert_null(dedup_find(&d, STR("k6")));
	assert_non_null(dedup_find(&d, STR("k7")));
	assert_non_null(dedup_find(&d, STR("k9")));
	assert_int_equal(d.forgotten, 7);
	dedup_done(&d);
}

static void
test_entries(void **st)
{
	struct dedup d, e;
	struct buf b = { 0 };
	struct str s;

	dedup_init(&d, 10);
	dedup_init(&e, 10);
	dedup_add(&d, str_from("k\0y", 3), 0x0102030405060708, 12345, false);
	dedup_entry_put(&b, dedup_first(&d));
	assert_int_equal(le32_get(b.p), b.n - 4);
	s = str_skip(buf_view(&b), 4);
	assert_true(dedup_is_entry(s));
	assert_int_equal(dedup_entry_get(&e, s), 0);
	assert_int_equal(dedup_entry_get(&e, s), 0);
	assert_int_equal(e.n, 1);
	assert_int_equal(dedup_find(&e, str_from("k\0y", 3))->id, 0x0102030405060708);
	assert_int_equal(dedup_find(&e, str_from("k\0y", 3))->expires_ms, 12345);
	for (size_t n = 0; n < s.n; n++)
		assert_int_equal(dedup_entry_get(&e, str_head(s, n)), -EBADMSG);
	b.p[12] = 9; /* another kind */
	assert_int_equal(dedup_entry_get(&e, s), -EBADMSG);
	buf_done(&b);
	dedup_done(&d);
	dedup_done(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_expire),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
