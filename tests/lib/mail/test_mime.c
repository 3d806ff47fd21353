/* lib/mail: the part table, sections, and facts of whole and cut messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

#include "lib/mail/facts.h"

static const char mixed[] =
    "From: A User <user1@example.test>\r\nSubject: Re: one\r\n"
    "Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
    "--b\r\n\r\nfirst\r\nline\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n"
    "--b\r\nContent-Type: multipart/alternative; boundary=bb\r\n\r\n"
    "--bb\r\n\r\nx\r\n--bb--\r\n"
    "--b--\r\nepilogue\r\n";

static void
test_structure(void **st)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "", "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 0 0)" },
		{ "A: b\r\n\r\nx\r\n", "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 3 1)" },
		{ mixed,
		    "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 11 1)"
		    "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 15 "
		    "(NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) "
		    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 0 0) 2)"
		    "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 1 0) \"alternative\")"
		    " \"mixed\")" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct buf blob = { 0 }, out = { 0 };
		struct facts f;

		assert_int_equal(facts_make(str_c(t[i].in), 0, 0, &blob), 0);
		assert_int_equal(facts_get(buf_view(&blob), &f), 0);
		facts_structure_imap(f.structure, &out, false);
		assert_string_equal(buf_cstr(&out), t[i].want);
		buf_done(&blob);
		buf_done(&out);
	}
}

static void
test_sections(void **st)
{
	static const struct {
		const char *spec, *want; /* want NULL: no such part */
	} t[] = {
		{ "1", "first\r\nline" }, { "1.MIME", "\r\n" }, { "2.HEADER", "Subject: in\r\n\r\n" },
		{ "2", "Subject: in\r\n\r\n" }, { "2.TEXT", "" }, { "2.1", "" }, { "3.1", "x" },
		{ "3.2", NULL }, { "1.1", NULL }, { "1.HEADER", NULL }, { "4", NULL },
	};
	struct arena *a = arena_new(0);
	struct mime_section s;
	struct mime m;

	assert_int_equal(mime_parse(str_c(mixed), a, 0, &m), 0);
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		int r = mime_section(&m, str_c(t[i].spec), &s);

		assert_int_equal(r, t[i].want ? 0 : -ENOENT);
		if (t[i].want)
			assert_true(str_eq(str_from(mixed + s.off, s.len), str_c(t[i].want)));
	}
	assert_int_equal(mime_section(&m, STR("MIME"), &s), -EINVAL);
	assert_int_equal(mime_section(&m, STR("0"), &s), -EINVAL);
	assert_int_equal(mime_section(&m, STR("1."), &s), -EINVAL);
	arena_free(&a);
}

/* Cut at each place, a message still has facts that the store takes. */
static void
test_cut(void **st)
{
	for (size_t n = 0; n < sizeof mixed; n++) {
		struct buf blob = { 0 };
		struct facts f;
		char *copy = malloc(n + 1);

		memcpy(copy, mixed, n);
		assert_int_equal(facts_make(str_from(copy, n), FACTS_WANT_SEARCH, 0, &blob), 0);
		assert_int_equal(facts_get(buf_view(&blob), &f), 0);
		buf_done(&blob);
		free(copy);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structure),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
