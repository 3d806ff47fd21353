/* Authentication-Results: whose a field is, and the one that is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/accept/authres.h"

static void
test_names(void **state)
{
	static const struct {
		const char *raw;
		bool ours;
	} v[] = {
		{ " mx.example.test; spf=pass", true },
		{ " MX.Example.TEST; none", true },
		{ "mx.example.test", true },
		{ " mx.example.test.; none", true },
		{ "\r\n\t(a (b) \\) c) mx.example.test (x) 1; spf=pass", true },
		{ " mx.example.test 7 ; spf=pass", true },
		{ " mx.example.test(x); spf=pass", true },
		{ " \"mx.example.test\"; none", true },
		{ " \"m\\x.example.test\" 1; none", true },
		{ " \"mx.example.test.evil\"; none", false },
		{ " \"mx.example\"; none", false },
		{ " mx.example.testing; none", false },
		{ " sub.mx.example.test; none", false },
		{ " (mx.example.test) other.test; none", false },
		{ " (mx.example.test", false },
		{ "", false },
		{ ";mx.example.test", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		assert_int_equal(authres_names(str_c(v[i].raw), STR("mx.example.test")), v[i].ours);
	}
	assert_false(authres_names(STR("; none"), STR_NULL));
}

/* Each place to cut a value at must do. */
static void
test_names_cut(void **state)
{
	struct str s = STR(" (a \\) (b)) \"m\\x.exa\" (c) 1; d=\"e;f\"");

	(void)state;
	for (size_t i = 0; i <= s.n; i++)
		assert_false(authres_names(str_head(s, i), STR("mx.example.test")));
}

static void
check(struct filter_note *s, size_t n_s, struct filter_note *t, size_t n_t, const char *want)
{
	struct filter_notes session = { s, n_s }, txn = { t, n_t };
	struct buf b = { 0 };

	authres_put(&b, STR("mx.test"), &session, &txn);
	assert_string_equal(buf_cstr(&b), want);
	buf_done(&b);
}

static void
test_put(void **state)
{
	struct filter_note s[] = {
		{ STR("auth.iprev"), STR("iprev=pass policy.iprev=192.0.2.1") },
		{ STR("auth.spf"), STR("spf=none") },
	};
	struct filter_note t[] = {
		{ STR("spf"), STR("pass a.test mfrom") },
		{ STR("auth.spf"), STR("spf=pass (one; two) smtp.mailfrom=a.test") },
		{ STR("auth.dkim"), STR("dkim=pass header.d=\"a;b\"; dkim=fail header.d=c.test; ") },
	};
	struct filter_note bad[] = { { STR("auth.x"), STR("x=pass\r\nEvil: 1") } };
	struct filter_note empty[] = { { STR("auth.x"), STR(" ; ") }, { STR("authx"), STR("x=pass") } };

	(void)state;
	check(NULL, 0, NULL, 0, "");
	check(NULL, 0, empty, 2, "");
	check(s, 2, t, 3, "Authentication-Results: mx.test;\r\n\tiprev=pass policy.iprev=192.0.2.1;\r\n"
	    "\tspf=pass (one; two) smtp.mailfrom=a.test;\r\n\tdkim=pass header.d=\"a;b\";\r\n"
	    "\tdkim=fail header.d=c.test\r\n");
	check(NULL, 0, bad, 1, "Authentication-Results: mx.test;\r\n\tx=pass Evil: 1\r\n");
}

static void
test_fold(void **state)
{
	struct filter_note t[] = { { STR("auth.dkim"), STR("dkim=pass (2048-bit key; unprotected) "
	    "header.d=a-rather-long-name.example.test header.i=@a-rather-long-name.example.test "
	    "header.s=selector") } };

	(void)state;
	check(NULL, 0, t, 1, "Authentication-Results: mx.test;\r\n"
	    "\tdkim=pass (2048-bit key; unprotected)\r\n"
	    "\t header.d=a-rather-long-name.example.test\r\n"
	    "\t header.i=@a-rather-long-name.example.test header.s=selector\r\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_names_cut),
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_fold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
