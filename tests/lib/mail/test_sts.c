/* lib/mail/sts: records and policies of MTA-STS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "lib/mail/sts.h"

static const struct {
	const char *in, *id; /* NULL: not good */
	bool is;
} records[] = {
	{ "v=STSv1; id=20160831085700Z;", "20160831085700Z", true },
	{ "v=STSv1;id=1", "1", true },
	{ "v=STSv1 ; id=1 ; ", "1", true },
	{ "v=STSv1; x=y; id=a1; more=2", "a1", true },
	{ "v=STSv1; id=1; id=2", "1", true },
	{ "v=STSv1; id=12345678901234567890123456789012", "12345678901234567890123456789012", true },
	{ "v=STSv1; id=123456789012345678901234567890123", NULL, true },
	{ "v=STSv1; id=", NULL, true },
	{ "v=STSv1; id=a-b", NULL, true },
	{ "v=STSv1; id", NULL, true },
	{ "v=STSv1; =1; id=1", NULL, true },
	{ "v=STSv1;", NULL, true },
	{ "v=STSv1", NULL, false },
	{ "v=STSv2; id=1", NULL, false },
	{ "V=STSv1; id=1", NULL, false },
	{ "id=1; v=STSv1", NULL, false },
	{ "v=spf1 -all", NULL, false },
	{ "", NULL, false },
};

static void
test_records(void **st)
{
	(void)st;
	for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
		struct str id = STR("untouched");
		int r = sts_record_get(str_c(records[i].in), &id);

		assert_int_equal(sts_record_is(str_c(records[i].in)), records[i].is);
		assert_int_equal(r, records[i].id ? 0 : -EINVAL);
		assert_true(str_eq(id, records[i].id ? str_c(records[i].id) : STR("untouched")));
	}
}

#define HEAD "version: STSv1\nmode: enforce\nmax_age: 100\n"
static const struct {
	const char *in;
	enum sts_mode mode;
	uint32_t max_age;
	const char *mx;      /* by blanks; NULL: not good, and err has */
	const char *err;
} policies[] = {
	{ HEAD "mx: mx.example.test\n", STS_MODE_ENFORCE, 100, "mx.example.test", NULL },
	{ "version: STSv1\r\nmode: testing\r\nmx: A.Test\r\nmx: *.b.test\r\nmax_age: 604800\r\n",
	    STS_MODE_TESTING, 604800, "a.test *.b.test", NULL },
	{ "version:STSv1\nmode:none\nmax_age:0", STS_MODE_NONE, 0, "", NULL },
	{ "mx: a.test  \nmax_age: 9999999999\nmode: enforce \nversion: STSv1", STS_MODE_ENFORCE,
	    STS_MAX_AGE, "a.test", NULL },
	{ HEAD "mx: a.test\nmode: none\nmax_age: 5\nx-more.1_2: what: ever\n", STS_MODE_ENFORCE, 100,
	    "a.test", NULL },
	{ "", 0, 0, NULL, "no version" },
	{ "version: STSv1\n", 0, 0, NULL, "no mode" },
	{ "version: STSv1\nmode: enforce\nmx: a.test\n", 0, 0, NULL, "no max_age" },
	{ HEAD, 0, 0, NULL, "no mx" },
	{ "version: STSv2\n", 0, 0, NULL, "not STSv1" },
	{ "version: STSv1\nmode: Enforce\n", 0, 0, NULL, "no mode 'Enforce'" },
	{ "version: STSv1\nmax_age: -1\n", 0, 0, NULL, "seconds" },
	{ "version: STSv1\nmax_age: 12345678901\n", 0, 0, NULL, "seconds" },
	{ HEAD "mx: a\n", 0, 0, NULL, "no host" },
	{ HEAD "mx: \n", 0, 0, NULL, "no host" },
	{ HEAD "mx: *\n", 0, 0, NULL, "no host" },
	{ HEAD "mx: a.*.test\n", 0, 0, NULL, "no host" },
	{ HEAD "mx: a..test\n", 0, 0, NULL, "no host" },
	{ HEAD "mx: -a.test\n", 0, 0, NULL, "no host" },
	{ HEAD "mx: a.test.\n", 0, 0, NULL, "no host" },
	{ HEAD "mx: b\xc3\xbc.test\n", 0, 0, NULL, "no host" },
	{ HEAD "hello\n", 0, 0, NULL, "no field" },
	{ HEAD " mx x: a.test\n", 0, 0, NULL, "no field" },
};

static void
test_policies(void **st)
{
	(void)st;
	for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
		struct arena *a = arena_new(0);
		struct sts_policy p;
		struct err e = { 0 };
		struct buf mx = { 0 };
		int r = sts_policy_get(str_c(policies[i].in), a, &p, &e);

		assert_int_equal(r, policies[i].mx ? 0 : -EINVAL);
		if (r) {
			assert_non_null(strstr(e.text, policies[i].err));
		} else {
			for (size_t k = 0; k < p.n_mx; k++)
				buf_printf(&mx, "%s%.*s", k ? " " : "", STR_ARG(p.mx[k]));
			assert_string_equal(buf_cstr(&mx), policies[i].mx);
			assert_int_equal(p.mode, policies[i].mode);
			assert_int_equal(p.max_age, policies[i].max_age);
		}
		buf_done(&mx);
		arena_free(&a);
	}
}

static void
test_limits(void **st)
{
	struct arena *a = arena_new(0);
	struct sts_policy p;
	struct buf b = { 0 };
	struct err e;

	(void)st;
	buf_puts(&b, HEAD);
	for (int i = 0; i < STS_MX_MAX; i++)
		buf_printf(&b, "mx: m%d.test\n", i);
	assert_int_equal(sts_policy_get(buf_view(&b), a, &p, &e), 0);
	assert_int_equal(p.n_mx, STS_MX_MAX);
	buf_puts(&b, "mx: more.test\n");
	assert_int_equal(sts_policy_get(buf_view(&b), a, &p, &e), -EINVAL);
	buf_clear(&b);
	buf_puts(&b, HEAD "mx: a.test\n");
	while (b.n < STS_POLICY_MAX)
		buf_puts(&b, "x: y\n");
	assert_int_equal(sts_policy_get(buf_view(&b), a, &p, &e), -EINVAL);
	assert_int_equal(sts_policy_get(str_from(HEAD "mx: a.test\n\0", sizeof HEAD + 12), a, &p, &e), -EINVAL);
	buf_done(&b);
	arena_free(&a);
}

static void
test_hosts(void **st)
{
	static const struct {
		const char *pattern, *host;
		bool fits;
	} rows[] = {
		{ "mx.example.test", "mx.example.test", true },
		{ "mx.example.test", "MX.Example.TEST.", true },
		{ "mx.example.test", "example.test", false },
		{ "*.example.test", "mx.example.test", true },
		{ "*.example.test", "a.mx.example.test", false },
		{ "*.example.test", "example.test", false },
		{ "*.example.test", ".example.test", true },
		{ "*.example.test", "mxexample.test", false },
		{ "example.test", "mx.example.test", false },
		{ "*.example.test", "", false },
	};

	(void)st;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str mx = str_c(rows[i].pattern);
		struct sts_policy p = { .mx = &mx, .n_mx = 1 };

		assert_int_equal(sts_policy_has(&p, str_c(rows[i].host)), rows[i].fits);
	}
	assert_false(sts_policy_has(&(struct sts_policy){ 0 }, STR("mx.example.test")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
