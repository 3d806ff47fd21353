/* lib/mail/esmtp: values of SMTP parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

#include "lib/mail/date.h"
#include "lib/mail/envelope.h"
#include "lib/mail/esmtp.h"

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static void
test_notify(void **st)
{
	static const struct {
		const char *in;
		int want; /* -1: refused */
	} t[] = {
		{ "NEVER", NOTIFY_NEVER }, { "never", NOTIFY_NEVER }, { "SUCCESS", NOTIFY_SUCCESS },
		{ "Success,FAILURE,delay", NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY },
		{ "DELAY,DELAY", NOTIFY_DELAY }, { "", -1 }, { "NEVER,DELAY", -1 }, { "DELAY,NEVER", -1 },
		{ "DELAY,", -1 }, { ",DELAY", -1 }, { "DELAY,,FAILURE", -1 }, { "ALWAYS", -1 },
		{ "SUCCESS;FAILURE", -1 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct buf b = { 0 };
		uint32_t got = 0, again = 0;
		int r = esmtp_notify(str_c(t[i].in), &got);

		if ((r < 0) != (t[i].want < 0) || (r == 0 && (int)got != t[i].want))
			fail_msg("'%s': %d %u", t[i].in, r, got);
		if (r < 0)
			continue;
		esmtp_notify_put(&b, got);
		assert_int_equal(esmtp_notify(buf_view(&b), &again), 0);
		assert_int_equal(got, again);
		buf_done(&b);
	}
}

static void
test_orcpt(void **st)
{
	static const struct {
		const char *in;
		bool utf8;
		const char *want;                /* NULL: refused */
		const char *ascii, *utf8_again;  /* as it is sent on; NULL: as `in` */
	} t[] = {
		{ "rfc822;user1@example.test", false, "rfc822;user1@example.test", NULL, NULL },
		{ "RFC822;user+2B1@example.test", false, "RFC822;user+1@example.test", NULL, NULL },
		{ "rfc822;a+20b@example.test", false, "rfc822;a b@example.test", NULL, NULL },
		{ "rfc822;a+3db@example.test", false, "rfc822;a=b@example.test", "rfc822;a+3Db@example.test",
		    "rfc822;a+3Db@example.test" },
		{ "x400;/c=us/", false, NULL, NULL, NULL },
		{ "x400;/c+3Dus/", false, "x400;/c=us/", NULL, NULL },
		{ "utf-8;us\\x{E9}r@example.test", false, "utf-8;us\303\251r@example.test", NULL,
		    "utf-8;us\303\251r@example.test" },
		{ "UTF-8;us\303\251r@example.test", true, "UTF-8;us\303\251r@example.test",
		    "UTF-8;us\\x{E9}r@example.test", NULL },
		{ "utf-8;us\303\251r@example.test", false, NULL, NULL, NULL },
		{ "utf-8;a\\x{20}b\\x{2B}\\x{3D}\\x{5C}@example.test", false, "utf-8;a b+=\\@example.test", NULL, NULL },
		{ "utf-8;\\x{1F600}@example.test", false, "utf-8;\360\237\230\200@example.test", NULL,
		    "utf-8;\360\237\230\200@example.test" },
		{ "utf-8;\\x{D800}@example.test", false, "utf-8;\\x{D800}@example.test",
		    "utf-8;\\x{5C}x{D800}@example.test", "utf-8;\\x{5C}x{D800}@example.test" },
		{ "utf-8;user1@example.test", false, "utf-8;user1@example.test", NULL, NULL },
		{ "rfc822;us\303\251r@example.test", true, NULL, NULL, NULL },
		{ "rfc822;us+C3+A9r@example.test", false, NULL, NULL, NULL },
		{ "rfc822;a+0D+0AX:+20y", false, NULL, NULL, NULL }, { "utf-8;a\\x{0D}", false, "utf-8;a\\x{0D}",
		    "utf-8;a\\x{5C}x{0D}", "utf-8;a\\x{5C}x{0D}" },
		{ "utf-8;a+0D", false, NULL, NULL, NULL }, { "utf-8;a\\x{85}", false, "utf-8;a\\x{85}",
		    "utf-8;a\\x{5C}x{85}", "utf-8;a\\x{5C}x{85}" },
		{ "rfc822;", false, NULL, NULL, NULL }, { "rfc822", false, NULL, NULL, NULL }, { ";a@b", false, NULL, NULL, NULL },
		{ "rf c;a@b", false, NULL, NULL, NULL }, { "rfc822;a+2", false, NULL, NULL, NULL },
		{ "rfc822;a=b", false, NULL, NULL, NULL }, { "", false, NULL, NULL, NULL },
		{ "rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10, false,
		    "rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10, NULL, NULL },
		{ "rfc822;" X100 X100 X100 X100 X100, false, NULL, NULL, NULL },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct arena *a = arena_new(0);
		struct buf b = { 0 };
		struct str got = STR_NULL;
		int r = esmtp_orcpt(str_c(t[i].in), t[i].utf8, a, &got);

		if ((r < 0) != !t[i].want || (!r && !str_eq(got, str_c(t[i].want))))
			fail_msg("'%s': %d '%.*s'", t[i].in, r, STR_ARG(got));
		for (int utf8 = 0; !r && utf8 < 2; utf8++) {
			const char *want = utf8 ? t[i].utf8_again : t[i].ascii;

			buf_clear(&b);
			esmtp_orcpt_put(&b, got, utf8);
			if (!str_eq(buf_view(&b), str_c(want ? want : t[i].in)))
				fail_msg("'%s' again: '%.*s'", t[i].in, STR_ARG(buf_view(&b)));
		}
		buf_done(&b);
		arena_free(&a);
	}
}

static void
test_envid_ret(void **st)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "QQ314159", "QQ314159" }, { "a+2Bb", "a+b" }, { "a+20b", "a b" }, { X100, X100 },
		{ X100 "x", NULL }, { "", NULL }, { "a+0A", NULL }, { "a+7F", NULL }, { "a+E9", NULL }, { "a=b", NULL },
	};
	struct arena *a = arena_new(0);
	uint32_t ret = 0;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct str got = STR_NULL;
		int r = esmtp_envid(str_c(t[i].in), a, &got);

		if ((r < 0) != !t[i].want || (!r && !str_eq(got, str_c(t[i].want))))
			fail_msg("'%s': %d", t[i].in, r);
	}
	assert_int_equal(esmtp_ret(STR("full"), &ret), 0);
	assert_int_equal(ret, 1);
	assert_int_equal(esmtp_ret(STR("HDRS"), &ret), 0);
	assert_int_equal(ret, 2);
	assert_int_equal(esmtp_ret(STR("BODY"), &ret), -EINVAL);
	assert_int_equal(esmtp_ret(STR_NULL, &ret), -EINVAL);
	arena_free(&a);
}

static void
test_by(void **st)
{
	static const struct {
		const char *in;
		int seconds; /* 0 in mode R: refused */
		bool notify, trace;
	} t[] = {
		{ "120;R", 120, false, false }, { "+120;rt", 120, false, true }, { "-1;N", -1, true, false },
		{ "0;NT", 0, true, true }, { "999999999;R", 999999999, false, false }, { "1000000000;R", 0, false, false },
		{ "0;R", 0, false, false }, { "-5;R", 0, false, false }, { "120", 0, false, false }, { "120;", 0, false, false },
		{ ";R", 0, false, false }, { "120;X", 0, false, false }, { "120;RX", 0, false, false }, { "120;RTT", 0, false, false },
		{ "1x;R", 0, false, false }, { "+-1;R", 0, false, false }, { "", 0, false, false },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct esmtp_by by = { 0 };
		int r = esmtp_by(str_c(t[i].in), &by);
		bool refused = !t[i].seconds && !t[i].notify;

		if ((r < 0) != refused || by.seconds != t[i].seconds || by.notify != t[i].notify ||
		    by.trace != t[i].trace)
			fail_msg("'%s': %d %d", t[i].in, r, by.seconds);
	}
}

static void
test_hold(void **st)
{
	static const char *const bad_for[] = { "", "0", "-1", "+1", "01", "1000000000", "1h", "1 " };
	static const char *const bad_until[] = { "", "2026-11-24", "2026-11-24T08:49:51", "2026-13-24T08:49:51Z",
		"2026-11-24 08:49:51Z", "2026-11-24T08:49Z", "2026-11-24T08:49:51.Z", "2026-11-24T24:49:51Z",
		"2026-02-29T08:49:51Z", "2026-11-24T08:49:51+0100", "2026-11-24T08:49:51+01:60", "2026-11-24T08:49:51Zx" };
	struct buf b = { 0 };
	uint64_t s = 0;
	int64_t t = 0;

	assert_int_equal(esmtp_hold_for(STR("86400"), &s), 0);
	assert_int_equal(s, 86400);
	for (size_t i = 0; i < sizeof bad_for / sizeof *bad_for; i++)
		assert_int_equal(esmtp_hold_for(str_c(bad_for[i]), &s), -EINVAL);
	assert_int_equal(esmtp_hold_until(STR("2026-11-24T08:49:51Z"), &t), 0);
	assert_int_equal(t, 1795510191);
	assert_int_equal(esmtp_hold_until(STR("2026-11-24t09:49:51.250+01:00"), &t), 0);
	assert_int_equal(t, 1795510191);
	for (size_t i = 0; i < sizeof bad_until / sizeof *bad_until; i++)
		if (!esmtp_hold_until(str_c(bad_until[i]), &t))
			fail_msg("'%s' was taken", bad_until[i]);
	date_put_rfc3339(&b, 1795510191);
	assert_true(str_eq(buf_view(&b), STR("2026-11-24T08:49:51Z")));
	buf_done(&b);
}

static void
test_priority(void **st)
{
	static const char *const bad[] = { "", "-", "10", "+1", "-10", "x", "-0", "1 " };
	int32_t p = 0;

	assert_int_equal(esmtp_priority(STR("-9"), &p), 0);
	assert_int_equal(p, -9);
	assert_int_equal(esmtp_priority(STR("4"), &p), 0);
	assert_int_equal(p, 4);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(esmtp_priority(str_c(bad[i]), &p), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_orcpt),
		cmocka_unit_test(test_envid_ret),
		cmocka_unit_test(test_by),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_priority),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
