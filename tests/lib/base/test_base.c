/* lib/base: strings, buffers, arenas, tables, codings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/crc32c.h"
#include "lib/base/fd.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/base/text.h"

static void
test_numbers(void **st)
{
	static const struct {
		const char *in;
		uint64_t max;
		int ok;
		uint64_t want;
	} t[] = {
		{ "0", 10, 1, 0 },
		{ "10", 10, 1, 10 },
		{ "11", 10, 0, 0 },
		{ "", 10, 0, 0 },
		{ "-1", 10, 0, 0 },
		{ " 1", 10, 0, 0 },
		{ "18446744073709551615", UINT64_MAX, 1, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, 0, 0 },
		{ "99999999999999999999999", UINT64_MAX, 0, 0 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		uint64_t v = 77;

		assert_int_equal(str_u64(str_c(t[i].in), t[i].max, &v), t[i].ok);
		assert_int_equal(v, t[i].ok ? t[i].want : 77);
	}
}

static void
test_cut(void **st)
{
	struct str s = STR("a,,b");

	assert_true(str_eq(str_cut(&s, ','), STR("a")));
	assert_true(str_eq(str_cut(&s, ','), STR("")));
	assert_true(str_eq(str_cut(&s, ','), STR("b")));
	assert_null(s.p);
}

static void
test_buf_limit(void **st)
{
	struct buf b;

	buf_init(&b, 8);
	buf_puts(&b, "12345678");
	assert_false(b.over);
	buf_putc(&b, '9');
	assert_true(b.over);
	assert_int_equal(b.n, 8);
	buf_clear(&b);
	buf_puts(&b, "ok");
	assert_string_equal(buf_cstr(&b), "ok");
	buf_done(&b);
}

static void
count(void *arg)
{
	++*(int *)arg;
}

/* An arena whose pointer stands in itself. */
static void
test_arena_within(void **st)
{
	struct holder {
		struct arena *a;
	} *h;
	struct arena *a = arena_new(1 << 20);

	h = ARENA_NEW(a, struct holder);
	h->a = a;
	arena_free(&h->a);
}

static void
test_files(void **st)
{
	static char text[20000];
	char path[] = "/tmp/test_base.XXXXXX";
	struct buf all = { 0 }, some = { .max = sizeof text - 1 };
	int fd = mkstemp(path);

	memset(text, 'x', sizeof text);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, str_from(text, sizeof text)), 0);
	close(fd);
	assert_int_equal(fd_read_file(path, &all), 0);
	assert_true(str_eq(buf_view(&all), str_from(text, sizeof text)));
	assert_int_equal(fd_read_file(path, &some), -EFBIG);
	unlink(path);
	assert_int_equal(fd_read_file(path, &some), -ENOENT);
	buf_done(&all);
	buf_done(&some);
}

static void
test_arena(void **st)
{
	struct arena *a = arena_new(1 << 20);
	int n = 0;

	for (int i = 0; i < 1000; i++) {
		char *p = arena_alloc(a, (size_t)i);

		assert_non_null(p);
		memset(p, i, (size_t)i);
	}
	assert_null(arena_alloc(a, 1 << 20));
	arena_defer(a, count, &n);
	arena_defer(a, count, &n);
	arena_reset(a);
	assert_int_equal(n, 2);
	assert_int_equal(arena_used(a), 0);
	arena_free(&a);
	assert_null(a);
}

static void
test_maps(void **st)
{
	struct map m = { 0 };
	struct strmap sm = { 0 };
	char key[32];
	size_t pos = 0, seen = 0;

	for (uintptr_t i = 1; i <= 1000; i++) {
		assert_int_equal(map_set(&m, i * 64, (void *)i), 0);
		snprintf(key, sizeof key, "k%zu", (size_t)i);
		assert_int_equal(strmap_set(&sm, str_c(key), (void *)i), 0);
	}
	for (uintptr_t i = 1; i <= 1000; i += 2) {
		assert_ptr_equal(map_del(&m, i * 64), (void *)i);
		snprintf(key, sizeof key, "k%zu", (size_t)i);
		assert_ptr_equal(strmap_del(&sm, str_c(key)), (void *)i);
	}
	for (uintptr_t i = 1; i <= 1000; i++) {
		snprintf(key, sizeof key, "k%zu", (size_t)i);
		assert_ptr_equal(map_get(&m, i * 64), i % 2 ? NULL : (void *)i);
		assert_ptr_equal(strmap_get(&sm, str_c(key)), i % 2 ? NULL : (void *)i);
	}
	while (map_next(&m, &pos, NULL))
		seen++;
	assert_int_equal(seen, 500);
	map_done(&m);
	strmap_done(&sm);
}

static void
test_base64(void **st)
{
	static const char *const good[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
	};
	static const char *const bad[] = { "Z", "Zg=", "Zg==Zg==", "Zh==", "Zm9", "Zm 9", "=g==", "Z===" };
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		buf_clear(&b);
		base64_put(&b, str_c(good[i][0]));
		assert_true(str_eq(buf_view(&b), str_c(good[i][1])));
		buf_clear(&b);
		assert_int_equal(base64_get(&b, str_c(good[i][1])), 0);
		assert_true(str_eq(buf_view(&b), str_c(good[i][0])));
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		buf_clear(&b);
		assert_true(base64_get(&b, str_c(bad[i])) < 0);
		assert_int_equal(b.n, 0);
	}
	buf_done(&b);
}

static void
test_utf8(void **st)
{
	assert_true(utf8_valid(STR("gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xaf")));
	assert_false(utf8_valid(STR("\xc0\x80")));
	assert_false(utf8_valid(STR("\xed\xa0\x80")));
	assert_false(utf8_valid(STR("\xf4\x90\x80\x80")));
	assert_false(utf8_valid(STR("\xc3")));
}

static void
test_crc(void **st)
{
	/* the check value of CRC-32/ISCSI */
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);

	/* however it is cut: long pieces are summed in three parts */
	static unsigned char text[9000];
	uint32_t whole, bytewise = 0;

	for (size_t i = 0; i < sizeof text; i++) {
		text[i] = (unsigned char)(i * 7 + i / 251);
		bytewise = crc32c(bytewise, text + i, 1);
	}
	whole = crc32c(0, text, sizeof text);
	assert_int_equal(whole, bytewise);
	for (size_t cut = 1; cut < sizeof text; cut += 511)
		assert_int_equal(crc32c(crc32c(0, text, cut), text + cut, sizeof text - cut), whole);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_buf_limit),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_arena_within),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_crc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
