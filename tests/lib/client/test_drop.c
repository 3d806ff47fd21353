/* The maildrop's files: format, damage, writing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/crc32c.h"
#include "lib/client/drop.h"

static struct arena *arena;

static struct drop
sample(void)
{
	static struct str rcpts[] = { STR_INIT("user2"), STR_INIT("user3@example.test") };

	return (struct drop){ .has_sender = true, .sender = STR("user1@example.test"),
		.login = STR("user1"), .name = STR("User One"), .rcpts = rcpts, .n_rcpts = 2,
		.notify = 6, .ret = 2, .body = 1, .envid = STR("x1"),
		.content = STR("Subject: x\r\n\r\n\nrcpt nobody\r\n") };
}

static void
test_round_trip(void **st)
{
	struct drop d = sample(), e;
	struct buf b = { 0 };

	buf_puts(&b, "before");
	drop_put(&b, &d);
	assert_int_equal(drop_get(str_skip(buf_view(&b), 6), arena, &e), 0);
	assert_true(e.has_sender && str_eq(e.sender, d.sender) && str_eq(e.name, d.name));
	assert_true(str_eq(e.login, d.login) && str_eq(e.envid, d.envid) && str_eq(e.content, d.content));
	assert_int_equal(e.n_rcpts, 2);
	assert_true(str_eq(e.rcpts[1], d.rcpts[1]));
	assert_int_equal(e.notify, 6);
	assert_int_equal(e.ret, 2);
	assert_int_equal(e.body, 1);
	buf_done(&b);
}

/* The null sender is not the same as none said. */
static void
test_senders(void **st)
{
	struct drop d = sample(), e;
	struct buf b = { 0 };

	d.sender = STR_NULL;
	drop_put(&b, &d);
	assert_int_equal(drop_get(buf_view(&b), arena, &e), 0);
	assert_true(e.has_sender && !e.sender.n);
	buf_clear(&b);
	d.has_sender = false;
	drop_put(&b, &d);
	assert_int_equal(drop_get(buf_view(&b), arena, &e), 0);
	assert_false(e.has_sender);
	buf_done(&b);
}

/* Every cut and every changed byte is seen. */
static void
test_damage(void **st)
{
	struct drop d = sample(), e;
	struct buf b = { 0 };

	drop_put(&b, &d);
	for (size_t n = 0; n < b.n; n++)
		assert_true(drop_get(str_head(buf_view(&b), n), arena, &e) < 0);
	for (size_t i = 0; i < b.n; i++) {
		b.p[i] ^= 0x14;
		assert_true(drop_get(buf_view(&b), arena, &e) < 0);
		b.p[i] ^= 0x14;
	}
	assert_int_equal(drop_get(buf_view(&b), arena, &e), 0);
	buf_done(&b);
}

static void
test_heads(void **st)
{
	static const struct {
		const char *head;
		int want;
	} table[] = {
		{ "rcpt a\n\n", 0 }, { "later field\nrcpt a\n\n", 0 }, { "sender x\n\n", -EPROTO },
		{ "rcpt a\n", -EPROTO }, { "rcpt\n\n", -EPROTO }, { "rcpt a\tb\n\n", -EPROTO },
		{ "rcpt a\nnotify 16\n\n", -EPROTO }, { "rcpt a\nret x\n\n", -EPROTO },
		{ "rcpt a\r\n\n", -EPROTO }, { "", -EPROTO },
	};
	struct drop d;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct str h = str_c(table[i].head);
		struct buf b = { 0 };

		buf_printf(&b, "posthorn-drop 1 %08x\n%s", crc32c(0, h.p, h.n), h.p);
		assert_int_equal(drop_get(buf_view(&b), arena, &d), table[i].want);
		buf_done(&b);
	}
	assert_int_equal(drop_get(STR("posthorn-drop 2 00000000\n\n"), arena, &d), -ENOTSUP);
}

static void
test_too_many(void **st)
{
	struct buf h = { 0 }, b = { 0 };
	struct drop d;

	for (unsigned i = 0; i <= DROP_RCPTS; i++)
		buf_puts(&h, "rcpt a\n");
	buf_puts(&h, "\n");
	buf_printf(&b, "posthorn-drop 1 %08x\n", crc32c(0, h.p, h.n));
	buf_str(&b, buf_view(&h));
	assert_int_equal(drop_get(buf_view(&b), arena, &d), -E2BIG);
	buf_done(&h);
	buf_done(&b);
}

static void
test_write(void **st)
{
	char dir[] = "/tmp/test_drop.XXXXXX", path[300];
	struct drop d = sample();
	struct err e = { 0 };
	struct dirent *f = NULL;
	struct stat sb;
	DIR *all;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(drop_write(dir, &d, &e), 0);
	all = opendir(dir);
	while ((f = readdir(all)) && f->d_name[0] == '.')
		;
	assert_non_null(f);
	snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0740);
	closedir(all);
	unlink(path);
	rmdir(dir);
	assert_int_equal(drop_write(dir, &d, &e), -ENOENT);
	assert_non_null(strstr(e.text, dir));
}

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

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_round_trip), T(test_senders), T(test_damage), T(test_heads), T(test_too_many),
		T(test_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
