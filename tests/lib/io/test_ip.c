/* lib/io/ip: addresses as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>

#include "lib/io/ip.h"

static void
test_parse(void **st)
{
	static const struct {
		struct str in;
		int family; /* 0: it is none */
	} t[] = {
		{ STR_INIT("192.0.2.1"), AF_INET },
		{ STR_INIT("2001:db8::1"), AF_INET6 },
		{ STR_INIT("::ffff:192.0.2.1"), AF_INET6 },
		{ STR_INIT(""), 0 },
		{ STR_INIT("192.0.2"), 0 },
		{ STR_INIT("192.0.2.256"), 0 },
		{ STR_INIT("192.0.2.1\0x"), 0 },
		{ STR_INIT("[::1]"), 0 },
		{ STR_INIT("fe80::1%lo"), 0 },
		{ STR_INIT("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"), 0 },
	};

	(void)st;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct sockaddr_storage a = { .ss_family = AF_UNIX };

		assert_int_equal(ip_parse(t[i].in, &a), t[i].family != 0);
		assert_int_equal(a.ss_family, t[i].family ? t[i].family : AF_UNIX);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
