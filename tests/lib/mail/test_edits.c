/* Edits of a text: what becomes of it, the bytes in the envelope, and what is no edit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/mail/edits.h"

static struct arena *arena;

static int
setup(void **st)
{
	arena = arena_new(0);
	return arena ? 0 : -1;
}

static int
teardown(void **st)
{
	arena_free(&arena);
	return 0;
}

static struct edits
edits_of(const struct edit *v, size_t n)
{
	struct edits e = { 0 };

	for (size_t i = 0; i < n; i++)
		assert_int_equal(edits_add(&e, arena, v[i].at, v[i].n, v[i].text), 0);
	return e;
}

static void
test_apply(void **st)
{
	static const struct {
		struct edit v[3];
		size_t n;
		const char *in, *want; /* NULL: not of this text */
	} t[] = {
		{ { { 0 } }, 0, "abc", "abc" },
		{ { { 0 } }, 0, "", "" },
		{ { { 0, 0, STR_INIT("x") } }, 1, "", "x" },
		{ { { 0, 1, STR_INIT("x") } }, 1, "abc", "xbc" },
		{ { { 1, 1, STR_INIT("") } }, 1, "abc", "ac" },
		{ { { 3, 0, STR_INIT("x") } }, 1, "abc", "abcx" },
		{ { { 0, 1, STR_INIT("12") }, { 1, 1, STR_INIT("34") }, { 1 + 1, 1, STR_INIT("") } }, 3, "abc", "1234" },
		{ { { 0, 3, STR_INIT("") } }, 1, "abc", "" },
		{ { { 0, 4, STR_INIT("") } }, 1, "abc", NULL },
		{ { { 4, 0, STR_INIT("") } }, 1, "abc", NULL },
		{ { { 2, 1, STR_INIT("") }, { 1, 1, STR_INIT("") } }, 2, "abc", NULL },
		{ { { 0, 2, STR_INIT("") }, { 1, 1, STR_INIT("") } }, 2, "abc", NULL },
		{ { { 1, SIZE_MAX, STR_INIT("") } }, 1, "abc", NULL },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct edits e = edits_of(t[i].v, t[i].n);
		struct buf b = { 0 };
		int r = edits_apply(&e, str_c(t[i].in), &b);

		assert_int_equal(r, t[i].want ? 0 : -EINVAL);
		if (t[i].want)
			assert_string_equal(buf_cstr(&b), t[i].want);
		buf_done(&b);
	}
}

/* More than the first array holds, through bytes and back. */
static void
test_round(void **st)
{
	struct edits e = { 0 }, again;
	struct buf text = { 0 }, bytes = { 0 }, one = { 0 }, two = { 0 };

	for (size_t i = 0; i < 100; i++) {
		buf_puts(&text, "abc");
		assert_int_equal(edits_add(&e, arena, 3 * i + 1, i % 3, STR("xyz")), 0);
	}
	assert_int_equal(edits_end(&e), 3 * 99 + 1);
	edits_put(&bytes, &e);
	assert_int_equal(edits_get(buf_view(&bytes), arena, &again), 0);
	assert_int_equal(again.n, 100);
	assert_int_equal(edits_apply(&e, buf_view(&text), &one), 0);
	assert_int_equal(edits_apply(&again, buf_view(&text), &two), 0);
	assert_true(str_eq(buf_view(&one), buf_view(&two)));
	assert_int_equal(one.n, 300 + 300 - 33 - 2 * 33);
	buf_done(&text);
	buf_done(&bytes);
	buf_done(&one);
	buf_done(&two);
}

/* Cut anywhere between two edits it is fewer of them, elsewhere none. */
static void
test_cut(void **st)
{
	const struct edit v[] = { { 1, 1, STR_INIT("12345") }, { 9, 2, STR_INIT("") } };
	struct edits e = edits_of(v, 2), got;
	struct buf b = { 0 };

	edits_put(&b, &e);
	assert_int_equal(b.n, 12 + 5 + 12);
	for (size_t n = 0; n <= b.n; n++) {
		got = (struct edits){ .n = 77 };
		if (n == 0 || n == 17 || n == b.n)
			assert_int_equal(edits_get(str_from(b.p, n), arena, &got), 0);
		else
			assert_int_equal(edits_get(str_from(b.p, n), arena, &got), -EPROTO);
		assert_int_equal(got.n, n == 0 ? 0 : n == 17 ? 1 : n == b.n ? 2 : 77);
	}
	b.p[17] = 1; /* before the end of the first one */
	assert_int_equal(edits_get(buf_view(&b), arena, &got), -EPROTO);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_apply), cmocka_unit_test(test_round),
		cmocka_unit_test(test_cut) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
