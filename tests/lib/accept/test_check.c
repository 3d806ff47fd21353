/*
 * lib/accept: rules on lines as a message streams in. Each message is fed whole, byte by
 * byte and cut at each place, and must become the same and be judged alike.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lib/accept/check.h"
#include "lib/mail/header.h"

static const char config[] =
    "config 1\nhostname mx.example.test\nbase-dir /tmp\nlisten smtp { address 127.0.0.1 }\n"
    "checks {\n"
    "  header \"/^Subject: bad/ REJECT\", \"/^X-Later:/ REJECT 4.7.1 come back\",\n"
    "    \"/^X-Odd:/ REJECT 5.7 not a code\", \"/^X-Throw:/ DISCARD\", \"/^X-Hold:/ HOLD\",\n"
    "    \"/^X-To:/ REDIRECT user2@example.test\", \"/^X-Copy:/ BCC user2@example.test\",\n"
    "    \"/^X-Fold: a\\\\n b$/ REPLACE X-Flat: c\", \"/^X-Tag: (\\\\w+)/ PREPEND X-Before: ${1}\",\n"
    "    \"/^X-Gone:/ IGNORE\", \"/^X-Break:/ REPLACE no field here\",\n"
    "    \"if /^X-If:/\", \"/two/ STRIP\", \"endif\", \"/^X-If: tw/ HOLD\"\n"
    "  mime-header \"/name=.*exe/ REJECT 5.7.3 programs\", \"/^Content-Tag:/ REPLACE Content-Seen: 1\"\n"
    "  nested-header \"/^Subject: inner/ REPLACE Subject: outer\"\n"
    "  body \"/^--b/ REJECT boundary seen as text\", \"/^secret (\\\\d+)/ REPLACE ($1)\", \"/^drop/ IGNORE\",\n"
    "    \"/^before/ PREPEND first\", \"/virus/ REJECT\", \"/^Subject: inner/ REJECT header seen as text\"\n"
    "}\n";

#define MULTI "Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n"

static const struct {
	const char *in, *want; /* want NULL: as it was */
	unsigned smtp;
	const char *enhanced, *redirect, *copy;
	bool hold;
} rows[] = {
	{ "Subject: good\r\n\r\ntext\r\n", NULL },
	{ "Subject: good\r\n\r\ntext without an end", NULL },
	{ "\r\nonly text\r\n", NULL },
	{ "Subject: good\r\n", NULL },
	{ "no field\r\n\r\nsecret 5\r\n", "no field\r\n\r\n(5)\r\n" },
	{ "Subject: bad\r\n\r\n", NULL, 550, "5.7.1" },
	{ "subject: BAD\r\n\r\n", NULL, 550, "5.7.1" },
	{ "X-Later: 1\r\n\r\n", NULL, 450, "4.7.1" },
	{ "X-Odd: 1\r\n\r\n", NULL, 550, "5.7.1" },
	{ "X-Throw: 1\r\n\r\n", NULL, 250, "2.0.0" },
	{ "X-Hold: 1\r\n\r\n", NULL, .hold = true },
	{ "X-To: 1\r\n\r\n", NULL, .redirect = "user2@example.test" },
	{ "X-Copy: 1\r\n\r\n", NULL, .copy = "user2@example.test" },
	{ "X-Fold: a\r\n b\r\nA: b\r\n\r\n", "X-Flat: c\r\nA: b\r\n\r\n" },
	{ "X-Fold: a\n b\nA: b\n\n", "X-Flat: c\r\nA: b\n\n" },
	{ "X-Tag: one two\r\n\r\n", "X-Before: one\r\nX-Tag: one two\r\n\r\n" },
	{ "A: b\r\nX-Gone: 1\r\n 2\r\nC: d\r\n\r\n", "A: b\r\nC: d\r\n\r\n" },
	{ "X-Break: 1\r\n\r\n", NULL },
	{ "X-If: two\r\n\r\n", "\r\n" },
	{ "X-If: tw\r\n\r\n", NULL, .hold = true },
	{ "X-It: two\r\n\r\n", NULL },
	/* text */
	{ "A: b\r\n\r\nsecret 1\r\nsecret 2", "A: b\r\n\r\n(1)\r\n(2)\r\n" },
	{ "A: b\r\n\r\none\r\ndrop two\r\nthree\r\n", "A: b\r\n\r\none\r\nthree\r\n" },
	{ "A: b\r\n\r\nbefore\r\n", "A: b\r\n\r\nfirst\r\nbefore\r\n" },
	{ "A: b\r\n\r\na virus\r\n", NULL, 550, "5.7.1" },
	{ "A: b\r\n\r\n--b is text here\r\n", NULL, 550, "5.7.1" },
	{ "A: b\r\n\r\nSubject: inner\r\n", NULL, 550, "5.7.1" },
	/* parts */
	{ MULTI "Content-Tag: 1\r\n\r\nContent-Tag: text\r\n--b--\r\nend\r\n",
	    MULTI "Content-Seen: 1\r\n\r\nContent-Tag: text\r\n--b--\r\nend\r\n" },
	{ MULTI "Content-Type: a/b;\r\n\tname=x.exe\r\n\r\ntext\r\n--b--\r\n", NULL, 550, "5.7.3" },
	{ MULTI "\r\nname=x.exe\r\n--b--\r\n", NULL },
	{ MULTI "\r\n--b--\r\nContent-Tag: epilogue\r\n", NULL },
	{ MULTI "\r\ntext\r\n--b--\r\n--b \r\n", NULL, 550, "5.7.1" },
	{ MULTI "\r\ntext\r\n--b \t\r\nContent-Tag: 2\r\n\r\nx\r\n--b--\r\n",
	    MULTI "\r\ntext\r\n--b \t\r\nContent-Seen: 1\r\n\r\nx\r\n--b--\r\n" },
	{ MULTI "Content-Type: multipart/alternative; boundary=\"b2\"\r\n\r\n--b2\r\nContent-Tag: in\r\n\r\nx\r\n"
	    "--b\r\nContent-Tag: out\r\n\r\nx\r\n--b--\r\n",
	    MULTI "Content-Type: multipart/alternative; boundary=\"b2\"\r\n\r\n--b2\r\nContent-Seen: 1\r\n\r\nx\r\n"
	    "--b\r\nContent-Seen: 1\r\n\r\nx\r\n--b--\r\n" },
	{ MULTI "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n--b--\r\n",
	    MULTI "Content-Type: message/rfc822\r\n\r\nSubject: outer\r\n\r\ntext\r\n--b--\r\n" },
	{ "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n",
	    "Content-Type: message/rfc822\r\n\r\nSubject: outer\r\n\r\nx\r\n" },
	{ MULTI "Content-Tag: cut", MULTI "Content-Seen: 1\r\n" },
};

static struct settings *settings;

static int
setup(void **st)
{
	struct arena *a = arena_new(0);
	struct conf_errors errors;

	settings = settings_parse(str_c(config), "test", a, &errors);
	for (size_t i = 0; !settings && i < errors.n; i++)
		print_error("line %u: %.*s\n", errors.v[i].line, STR_ARG(errors.v[i].text));
	arena_free(&a);
	return settings ? 0 : -1;
}

static int
teardown(void **st)
{
	settings_free(&settings);
	return 0;
}

/* Where the text behind the header section begins. */
static size_t
body_at(struct str text)
{
	struct str rest = text;
	struct header_field f;

	while (header_next(&rest, &f))
		;
	return text.n - rest.n + header_blank(rest);
}

/* The message as it becomes, its text fed in pieces: up to cut, and the rest by `step`. */
static const struct check_result *
feed(struct str text, size_t cut, size_t step, struct arena *a, struct buf *out)
{
	static const struct envelope env;
	struct accept_request r = { .settings = settings, .env = &env };
	struct check *c = check_new(&r, a);
	size_t at = body_at(text);
	bool same;

	assert_non_null(c);
	assert_true(check_wanted(&r));
	assert_int_equal(check_header(c, str_head(text, at), out, &same), 0);
	assert_int_equal(same, str_eq(buf_view(out), str_head(text, at)));
	text = str_skip(text, at);
	assert_int_equal(check_body(c, str_head(text, cut), false, out), 0);
	text = str_skip(text, cut);
	while (text.n) {
		assert_int_equal(check_body(c, str_head(text, step), false, out), 0);
		text = str_skip(text, step);
	}
	assert_int_equal(check_body(c, STR(""), true, out), 0);
	return check_result(c);
}

static void
expect(size_t row, size_t cut, size_t step)
{
	struct arena *a = arena_new(0);
	struct buf out = { 0 };
	const struct check_result *r = feed(str_c(rows[row].in), cut, step, a, &out);

	assert_string_equal(buf_cstr(&out), rows[row].want ? rows[row].want : rows[row].in);
	assert_int_equal(r->verdict.smtp, rows[row].smtp);
	if (rows[row].smtp)
		assert_string_equal(r->verdict.enhanced, rows[row].enhanced);
	assert_int_equal(r->hold, rows[row].hold);
	assert_true(str_eq(r->redirect, str_c(rows[row].redirect ? rows[row].redirect : "")));
	assert_int_equal(r->copies.n, rows[row].copy != NULL);
	if (rows[row].copy)
		assert_true(str_eq(r->copies.v[0], str_c(rows[row].copy)));
	buf_done(&out);
	arena_free(&a);
}

static void
test_rows(void **st)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		expect(i, SIZE_MAX, SIZE_MAX);
		expect(i, 0, 1);
		for (size_t cut = 1; cut < strlen(rows[i].in); cut++)
			expect(i, cut, SIZE_MAX);
	}
}

static void
repeat(struct buf *b, const char *what, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_puts(b, what);
}

/* What is longer than what is held back is cut at the same places however it comes, and a
 * boundary within a line is none. */
static void
test_long(void **st)
{
	static const size_t steps[] = { SIZE_MAX, 1, 7, 4096, 8191, 8192, 8193, 10000 };
	struct conf_rules was = settings->check_body;
	struct buf text = { 0 };

	settings->check_body = (struct conf_rules){ 0 };
	buf_puts(&text, MULTI "\r\n");
	repeat(&text, "x", 8192);
	buf_puts(&text, "--b--\r\nstill text\r\n");
	repeat(&text, "y", 30000);
	buf_puts(&text, "\r\n--b\r\nContent-Long: ");
	repeat(&text, "z", 16384 - 14);
	buf_puts(&text, "Content-Tag: within\r\n folded\r\nContent-Huge: ");
	repeat(&text, "z", 70000);
	buf_puts(&text, "\r\n ");
	repeat(&text, "name=exe ", 8000);
	buf_puts(&text, "\r\nContent-Tag: behind\r\n\r\nx\r\n--b--\r\n");
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct arena *a = arena_new(0);
		struct buf out = { 0 };
		const struct check_result *r = feed(buf_view(&text), 0, steps[i], a, &out);
		struct str got = buf_view(&out), tail = STR("\r\nContent-Seen: 1\r\n\r\nx\r\n--b--\r\n");
		size_t kept = text.n - strlen("\r\nContent-Tag: behind\r\n\r\nx\r\n--b--\r\n");

		assert_int_equal(r->verdict.smtp, 0);
		assert_int_equal(out.n, kept + tail.n);
		assert_memory_equal(got.p, text.p, kept);
		assert_true(str_ends(got, tail));
		buf_done(&out);
		arena_free(&a);
	}
	settings->check_body = was;
	buf_done(&text);
}

/* Behind checks.body-limit a part's text is let through. */
static void
test_body_limit(void **st)
{
	uint64_t was = settings->check_body_limit;
	struct arena *a = arena_new(0);
	struct buf out = { 0 };

	settings->check_body_limit = 10;
	feed(STR("A: b\r\n\r\nsecret 1\r\nsecret 2\r\nsecret 3\r\n"), 0, 3, a, &out);
	assert_string_equal(buf_cstr(&out), "A: b\r\n\r\n(1)\r\nsecret 2\r\nsecret 3\r\n");
	settings->check_body_limit = was;
	buf_done(&out);
	arena_free(&a);
}

/* A check that cannot be made is not passed. */
static void
test_costly(void **st)
{
	struct rule *r = &settings->check_body.rules[0];
	struct rule was = *r;
	struct arena *a = arena_new(0);
	struct str line = STR("/^(a+)+$/ HOLD");
	struct buf out = { 0 };
	struct err e;
	const struct check_result *got;

	assert_int_equal(regex_take(&line, a, &r->pattern, &e), 0);
	got = feed(STR("A: b\r\n\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\r\n"), 0, 5, a, &out);
	assert_int_equal(got->verdict.smtp, 451);
	assert_false(got->hold);
	*r = was;
	buf_done(&out);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_long),
		cmocka_unit_test(test_body_limit), cmocka_unit_test(test_costly) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
