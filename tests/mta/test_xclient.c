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
		struct xclient x;
		struct str wrong;

		assert_int_equal(xclient_parse(str_c(t[i].in), a, &x, &wrong), 0);
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
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct arena *a = arena_new(0);
		struct xclient x;
		struct str wrong;

		assert_int_equal(xclient_parse(str_c(t[i]), a, &x, &wrong), -EINVAL);
		arena_free(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_bad) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
