/* mta/xclient: attributes, xtext, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "mta/xclient.h"

static void
test_good(void **st)
{
	static const struct {
		const char *in;
		enum xclient_attr attr;
		const char *want; /* "": given, but not available */
	} t[] = {
		{ "NAME=host.elsewhere.test", XCLIENT_NAME, "host.elsewhere.test" },
		{ "name=h+6Fst.test", XCLIENT_NAME, "host.test" },
		{ "NAME=[UNAVAILABLE]", XCLIENT_NAME, "" },
		{ "NAME=[tempunavail]", XCLIENT_NAME, "" },
		{ "ADDR=192.0.2.1", XCLIENT_ADDR, "192.0.2.1" },
		{ "ADDR=IPV6:2001:db8::1", XCLIENT_ADDR, "2001:db8::1" },
		{ "ADDR=ipv6:::1", XCLIENT_ADDR, "::1" },
		{ "ADDR=::1", XCLIENT_ADDR, "::1" },
		{ "ADDR=192.0.2.1 ADDR=192.0.2.2", XCLIENT_ADDR, "192.0.2.2" },
		{ "PORT=0", XCLIENT_PORT, "0" },
		{ "PORT=65535", XCLIENT_PORT, "65535" },
		{ "PROTO=esmtp", XCLIENT_PROTO, "ESMTP" },
		{ "PROTO=SMTP", XCLIENT_PROTO, "SMTP" },
		{ "HELO=[192.0.2.1]", XCLIENT_HELO, "[192.0.2.1]" },
		{ "LOGIN=user1+2Blists@example.test", XCLIENT_LOGIN, "user1+lists@example.test" },
		{ "DESTADDR=192.0.2.9  DESTPORT=25", XCLIENT_DESTPORT, "25" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct arena *a = arena_new(0);
		struct xclient x = { 0 };
		struct str wrong;

		assert_int_equal(xclient_parse(XCLIENT_COMMAND, str_c(t[i].in), a, &x, &wrong), 0);
		assert_true(x.given[t[i].attr]);
		assert_true(str_eq(x.v[t[i].attr], str_c(t[i].want)));
		arena_free(&a);
	}
}

static void
test_bad(void **st)
{
	static const char *const t[] = {
		"", " ", "NAME", "NAME=", "ADDR=", "LOGIN=", "PORT=", "=x", "COLOR=red", "ADDR=300.1.1.1", "ADDR=1.2.3", "ADDR=IPV6:1.2.3.4",
		"PORT=65536", "PORT=-1", "PORT=", "PROTO=LMTP", "HELO=a+20b", "HELO=+", "HELO=+2", "HELO=+2G",
		"LOGIN=a+0Ab", "NAME=a=b", "ADDR=1.2.3.4 NAME", "NAME=h\303\266st",
		"IDENT=4Xy8", "SOURCE=LOCAL",
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct arena *a = arena_new(0);
		struct xclient x = { 0 };
		struct str wrong;

		assert_int_equal(xclient_parse(XCLIENT_COMMAND, str_c(t[i]), a, &x, &wrong), -EINVAL);
		arena_free(&a);
	}
}

/* XFORWARD: attributes of several commands come together. */
static void
test_forward(void **st)
{
	struct arena *a = arena_new(0);
	struct xclient x = { 0 };
	struct str wrong;

	assert_int_equal(xclient_parse(XFORWARD_COMMAND, STR("NAME=host.test ADDR=192.0.2.7 PORT=25"), a,
	    &x, &wrong), 0);
	assert_int_equal(xclient_parse(XFORWARD_COMMAND,
	    STR("PROTO=esmtp HELO=my+20pc IDENT=4Xy8 SOURCE=local"), a, &x, &wrong), 0);
	assert_true(str_eq(x.v[XCLIENT_ADDR], STR("192.0.2.7")));
	assert_true(str_eq(x.v[XCLIENT_HELO], STR("my pc")));
	assert_true(str_eq(x.v[XCLIENT_IDENT], STR("4Xy8")));
	assert_true(str_eq(x.v[XCLIENT_SOURCE], STR("LOCAL")));
	assert_int_equal(xclient_parse(XFORWARD_COMMAND, STR("IDENT=other SOURCE=space"), a, &x, &wrong),
	    -EINVAL);
	assert_true(str_eq(wrong, STR("SOURCE")));
	assert_true(str_eq(x.v[XCLIENT_IDENT], STR("4Xy8"))); /* nothing of a bad command holds */
	assert_int_equal(xclient_parse(XFORWARD_COMMAND, STR("LOGIN=user1"), a, &x, &wrong), -EINVAL);
	assert_int_equal(xclient_parse(XFORWARD_COMMAND, STR("IDENT=a+0Ab"), a, &x, &wrong), -EINVAL);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_forward) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
