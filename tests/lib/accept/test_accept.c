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
		struct accept_verdict v = accept_check(&s, str_c(t[i].in), 0, &h);

		assert_int_equal(v.smtp, t[i].smtp);
		assert_int_equal(h.received, t[i].received);
		assert_int_equal(h.date, t[i].date);
		assert_int_equal(h.no_header, t[i].no_header);
		assert_int_equal(h.n_cuts ? h.cuts[0].n : 0, t[i].return_path_n);
	}
}

/* What is left out, and where it stood. */
static void
test_cuts(void **st)
{
	static const char text[] = "Return-Path: <a@b.test>\r\nSubject: x\r\nbcc: a@b.test,\r\n c@d.test\r\n"
				   "Resent-BCC: e@f.test\r\nContent-Length: 3\r\nreturn-path: <>\r\n\r\nBcc: b\r\n";
	const struct settings s = { .hop_limit = 9, .header_count_limit = 99, .header_size_limit = 9999 };
	const char *const want[] = { "Return-Path:", "bcc:", "Resent-BCC:", "Content-Length:",
		"return-path:" };
	struct accept_header h;

	assert_int_equal(accept_check(&s, str_c(text), 0, &h).smtp, 0);
	assert_int_equal(h.n_cuts, 2);
	assert_int_equal(accept_check(&s, str_c(text), ACCEPT_SUBMITTED, &h).smtp, 0);
	assert_int_equal(h.n_cuts, 5);
	for (size_t i = 0; i < h.n_cuts; i++) {
		assert_memory_equal(text + h.cuts[i].at, want[i], strlen(want[i]));
		assert_int_equal(text[h.cuts[i].at + h.cuts[i].n - 1], '\n');
	}
	assert_memory_equal(text + h.cuts[1].at, "bcc: a@b.test,\r\n c@d.test\r\n", h.cuts[1].n);
}

static void
test_too_many_cuts(void **st)
{
	const struct settings s = { .hop_limit = 9, .header_count_limit = 999, .header_size_limit = 9999 };
	struct buf b = { 0 };
	struct accept_header h;

	for (int i = 0; i < ACCEPT_CUTS; i++)
		buf_puts(&b, "Bcc: a@b.test\r\n");
	assert_int_equal(accept_check(&s, buf_view(&b), ACCEPT_SUBMITTED, &h).smtp, 0);
	buf_puts(&b, "Bcc: a@b.test\r\n");
	assert_int_equal(accept_check(&s, buf_view(&b), ACCEPT_SUBMITTED, &h).smtp, 554);
	assert_int_equal(accept_check(&s, buf_view(&b), 0, &h).smtp, 0);
	buf_done(&b);
}

/* Each beginning of a message: whole from its empty line on, not before. */
static void
test_header_whole(void **st)
{
	static const struct {
		const char *in;
		size_t from;
	} t[] = {
		{ "Subject: x\r\n folded\r\nDate: y\r\n\r\nbody\r\n", 32 },
		{ "\r\nbody", 2 },
		{ "no header\r\nmore\r\n", 11 },
		{ "A: b\r\nno field\r\nC: d\r\n\r\n", 24 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		for (size_t n = 0; n <= strlen(t[i].in); n++)
			assert_int_equal(accept_header_whole(str_from(t[i].in, n)), n >= t[i].from);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_check), cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_too_many_cuts), cmocka_unit_test(test_header_whole) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
