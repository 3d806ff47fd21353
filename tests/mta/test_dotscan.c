/* mta/dotscan: every input whole, byte by byte and cut at each place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "mta/dotscan.h"

#define LF DOT_BARE_LF
#define CR DOT_BARE_CR

static const struct {
	const char *in, *out;
	const char *rest; /* NULL: the end is not found */
	unsigned faults;
} cases[] = {
	{ ".\r\n", "", "", 0 },
	{ "a\r\n.\r\n", "a\r\n", "", 0 },
	{ "a\r\n.\r\nMAIL", "a\r\n", "MAIL", 0 },
	{ "a\r\n..\r\n.\r\n", "a\r\n.\r\n", "", 0 },
	{ "..a\r\n.b\r\n...c\r\n.\r\nx", ".a\r\nb\r\n..c\r\n", "x", 0 },
	{ "\r\n\r\n.\r\n", "\r\n\r\n", "", 0 },
	{ "a.\r\n.\r\n", "a.\r\n", "", 0 },
	/* What must not end the data. */
	{ "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", "", LF },
	{ "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", "", LF },
	{ "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", "", LF },
	{ "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", "", CR },
	{ "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", "", CR },
	{ "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", "", CR },
	{ "a\r\r\n.\r\r\nb\r\n.\r\n", "a\r\r\n\r\r\nb\r\n", "", CR },
	{ "a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\r\nb\r\n", "", CR },
	{ "\n.\r\nb\r\n.\r\n", "\n.\r\nb\r\n", "", LF },
	{ "a\n\r\n.\r\n", "a\n\r\n", "", LF },
	{ "a\r\n.\r", "a\r\n", NULL, 0 },
	{ "a\r\n.", "a\r\n", NULL, 0 },
	{ "a\r\n\n.\n", "a\r\n\n.\n", NULL, LF },
	{ "a\r\n. \r\n.\r\n", "a\r\n \r\n", "", 0 },
	{ "", "", NULL, 0 },
};

static void
check(size_t i, const size_t *cuts, size_t n_cuts)
{
	size_t len = 0, total = strlen(cases[i].in);
	char *p = malloc(total + 1);
	struct dotscan d = { 0 };
	bool end = false;

	for (size_t k = 0; k <= n_cuts && !end; k++) {
		size_t to = k < n_cuts ? cuts[k] : total;

		memcpy(p + len, cases[i].in + len, to - len);
		len = to;
		end = dotscan(&d, p, len);
	}
	assert_int_equal(end, cases[i].rest != NULL);
	assert_int_equal(d.faults, cases[i].faults);
	assert_int_equal(d.out, strlen(cases[i].out));
	assert_memory_equal(p, cases[i].out, d.out);
	if (end) { /* what came behind the end so far is a prefix of the rest */
		assert_true(len - d.line <= strlen(cases[i].rest));
		assert_memory_equal(p + d.line, cases[i].rest, len - d.line);
	}
	free(p);
}

static void
test_cuts(void **st)
{
	size_t cuts[64];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = strlen(cases[i].in);

		check(i, cuts, 0);
		for (size_t a = 0; a <= n; a++)
			for (size_t b = a; b <= n; b++) {
				cuts[0] = a, cuts[1] = b;
				check(i, cuts, 2);
			}
		for (size_t a = 0; a < n; a++)
			cuts[a] = a;
		check(i, cuts, n);
	}
}

enum how { TAKE, DISCARD, CUT };

/* Taking, discarding and cutting at any place finds the same end. */
static void
test_take(void **st)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (enum how how = TAKE; how <= CUT; how++) {
			size_t total = strlen(cases[i].in), at = 0, len = 0;
			char p[128];
			struct buf got = { 0 };
			struct dotscan d = { 0 };
			bool end = false;

			while (at < total && !end) {
				p[len++] = cases[i].in[at++];
				end = dotscan(&d, p, len);
				if (end)
					break;
				if (how == CUT)
					dotscan_cut(&d, p, len);
				buf_put(&got, p, d.out);
				len = how == DISCARD ? dotscan_discard(&d, p, len) : dotscan_take(&d, p, len);
			}
			buf_put(&got, p, d.out);
			assert_int_equal(end, cases[i].rest != NULL);
			assert_int_equal(d.faults, cases[i].faults);
			assert_int_equal(total - at, end ? strlen(cases[i].rest) : 0);
			if (how == TAKE || (how == CUT && end))
				assert_true(str_eq(buf_view(&got), str_c(cases[i].out)));
			buf_done(&got);
		}
}

static void
test_long_line(void **st)
{
	struct dotscan d = { .line_max = 10 };
	char p[] = "12345678\r\n.\r\n", q[] = "123456789\r\n.\r\n", r[] = "12345678901";

	assert_true(dotscan(&d, p, sizeof p - 1));
	assert_int_equal(d.faults, 0);
	d = (struct dotscan){ .line_max = 10 };
	assert_true(dotscan(&d, q, sizeof q - 1));
	assert_int_equal(d.faults, DOT_LONG_LINE);
	d = (struct dotscan){ .line_max = 10 };
	assert_false(dotscan(&d, r, sizeof r - 1));
	assert_int_equal(d.faults, DOT_LONG_LINE);
}

static void
test_text(void **st)
{
	static const struct {
		const char *in, *fixed;
		unsigned faults;
	} t[] = {
		{ "a\r\nb\r\n", "a\r\nb\r\n", 0 },
		{ "a\nb", "a\r\nb", LF },
		{ "a\rb\r\n", "a\r\nb\r\n", CR },
		{ "\r\r\n", "\r\n\r\n", CR },
		{ ".\r\n.", ".\r\n.", 0 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		size_t n = strlen(t[i].in), line = 0, m;
		bool cr = false;
		unsigned f = 0;
		char out[64];

		for (size_t k = 0; k < n; k++)
			f |= dotscan_text(t[i].in + k, 1, 0, &cr, &line);
		assert_int_equal(f, t[i].faults);
		m = dotscan_normalize(t[i].in, n, out);
		assert_int_equal(m, strlen(t[i].fixed));
		assert_memory_equal(out, t[i].fixed, m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
