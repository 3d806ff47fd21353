/* lib/accept: what the header section may hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/accept/accept.h"

static void
test_check(void **st)
{
	static const struct {
		const char *in;
		unsigned smtp, received;
		bool date, no_header;
		size_t return_path_n;
	} t[] = {
		{ "Subject: x\r\n\r\nDate: y\r\n", 0, 0, false, false, 0 },
		{ "DATE: y\r\nReturn-Path: <a@b.test>\r\n\r\n", 0, 0, true, false, 25 },
		{ "just text\r\n", 0, 0, false, true, 0 },
		{ "", 0, 0, false, false, 0 },
		{ "Received: a\r\nReceived: b\r\n\r\n", 0, 2, false, false, 0 },
		{ "Received: a\r\nReceived: b\r\nReceived: c\r\n\r\n", 554, 0, false, false, 0 },
		{ "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n\r\n", 554, 0, false, false, 0 },
		{ "Subject: 0123456789012345678901234567890123456789\r\n\r\n", 552, 0, false, false, 0 },
	};
	const struct settings s = { .hop_limit = 2, .header_count_limit = 4, .header_size_limit = 48 };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct accept_header h = { 0 };
		struct accept_verdict v = accept_check(&s, str_c(t[i].in), false, &h);

		assert_int_equal(v.smtp, t[i].smtp);
		assert_int_equal(h.received, t[i].received);
		assert_int_equal(h.date, t[i].date);
		assert_int_equal(h.no_header, t[i].no_header);
		assert_int_equal(h.n_cuts ? h.cuts[0].n : 0, t[i].return_path_n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_check) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
