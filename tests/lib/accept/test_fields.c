/*
 * lib/accept: addresses in header fields. authd is played here: it knows some addresses,
 * and writes down what it was asked.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/accept/fields.h"
#include "lib/client/rewrite.h"

int __wrap_auth_rewrite(const struct rewrite_ask *v, size_t n, struct arena *a, struct str *ret);

static const char kinds[] = { [REWRITE_HEADER_SENDER] = 's', [REWRITE_HEADER_RCPT] = 'r',
	[REWRITE_GENERIC] = 'g' };
static struct buf asked;
static bool down;

int
__wrap_auth_rewrite(const struct rewrite_ask *v, size_t n, struct arena *a, struct str *ret)
{
	for (size_t i = 0; i < n; i++) {
		buf_printf(&asked, "%s%c %.*s", asked.n ? ", " : "", kinds[v[i].kind], STR_ARG(v[i].address));
		ret[i] = str_starts(v[i].address, STR("old@")) ? STR("new@example.test") : STR_NULL;
	}
	return down ? -EAGAIN : 0;
}

static struct settings
rules(void)
{
	static struct str table = STR_INIT("t");

	return (struct settings){ .origin_domain = STR("origin.test"), .generic = { &table, 1 },
		.canonical = { &table, 1 },
		.canonical_classes = CONF_CLASS_HEADER_SENDER | CONF_CLASS_HEADER_RCPT };
}

static void
test_rows(void **st)
{
	static const struct {
		const char *in, *asked, *want; /* want NULL: as it was */
		bool generic;
	} t[] = {
		{ "", "", NULL },
		{ "Subject: old@example.test\r\n\r\n", "", NULL },
		{ "From: old@example.test\r\n\r\n", "s old@example.test", "From: new@example.test\r\n\r\n" },
		{ "from : old@example.test\r\n\r\n", "s old@example.test", "from : new@example.test\r\n\r\n" },
		{ "From: \"Old, A\" (b)\r\n <old@example.test> (c)\r\n\r\n", "s old@example.test",
		    "From: \"Old, A\" (b)\r\n <new@example.test> (c)\r\n\r\n" },
		{ "To: old@a.test,\r\n\tb@c.test, g: old@d.test;\r\nCc: x\r\n\r\n",
		    "r old@a.test, r b@c.test, r old@d.test, r x@origin.test",
		    "To: new@example.test,\r\n\tb@c.test, g: new@example.test;\r\nCc: x\r\n\r\n" },
		{ "To: \"old\"@a.test\r\n\r\n", "r old@a.test", "To: new@example.test\r\n\r\n" },
		{ "To: \"a b\"@c.test, \"q\\\"\"@c.test\r\n\r\n", "r \"a b\"@c.test, r \"q\\\"\"@c.test", NULL },
		{ "To: old (in) @ (the) a.test\r\n\r\n", "r old@a.test", "To: new@example.test\r\n\r\n" },
		{ "To: <@route.test:old@a.test>\r\n\r\n", "r old@a.test",
		    "To: <@route.test:new@example.test>\r\n\r\n" },
		{ "Resent-Sender: old@a.test\r\nResent-Bcc: old@a.test\r\nReply-To: old@a.test\r\n\r\n",
		    "s old@a.test, r old@a.test, s old@a.test",
		    "Resent-Sender: new@example.test\r\nResent-Bcc: new@example.test\r\nReply-To: new@example.test\r\n\r\n" },
		{ "From: old@a.test\r\nTo: old@b.test\r\n\r\n", "g old@a.test, g old@b.test",
		    "From: new@example.test\r\nTo: new@example.test\r\n\r\n", true },
		{ "X-From: old@a.test\r\n\r\nFrom: old@a.test\r\n", "", NULL },
		{ "To: old@, <>, @, old@a..test, a@[1.2.3.4]\r\n\r\n", NULL, NULL },
	};
	const struct settings s = rules();

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct arena *a = arena_new(0);
		struct edits e = { 0 };
		struct buf out = { 0 };

		buf_clear(&asked);
		assert_int_equal(fields_rewrite(&s, str_c(t[i].in), t[i].generic, a, &e), 0);
		if (t[i].asked)
			assert_string_equal(buf_cstr(&asked), t[i].asked);
		assert_int_equal(edits_apply(&e, str_c(t[i].in), &out), 0);
		assert_string_equal(buf_cstr(&out), t[i].want ? t[i].want : t[i].in);
		buf_done(&out);
		arena_free(&a);
	}
}

/* Kinds that no rule is for are not asked about, and nobody is when there is nothing. */
static void
test_wanted(void **st)
{
	struct settings s = rules();
	struct arena *a = arena_new(0);
	struct edits e;

	s.canonical_classes = CONF_CLASS_HEADER_RCPT;
	buf_clear(&asked);
	assert_int_equal(fields_rewrite(&s, STR("From: old@a.test\r\nTo: b@a.test\r\n\r\n"), false, a, &e), 0);
	assert_string_equal(buf_cstr(&asked), "r b@a.test");
	assert_int_equal(e.n, 0);
	down = true;
	assert_int_equal(fields_rewrite(&s, STR("From: old@a.test\r\n\r\n"), false, a, &e), 0);
	assert_int_equal(fields_rewrite(&s, STR("To: old@a.test\r\n\r\n"), false, a, &e), -EAGAIN);
	down = false;
	arena_free(&a);
}

/* More addresses than the first array holds. */
static void
test_many(void **st)
{
	const struct settings s = rules();
	struct arena *a = arena_new(0);
	struct buf in = { 0 }, want = { 0 }, out = { 0 };
	struct edits e;

	for (int i = 0; i < 500; i++) {
		buf_printf(&in, "%s<%s@a.test>", i ? ",\r\n " : "To: ", i % 2 ? "old" : "b");
		buf_printf(&want, "%s<%s>", i ? ",\r\n " : "To: ", i % 2 ? "new@example.test" : "b@a.test");
	}
	buf_clear(&asked);
	assert_int_equal(fields_rewrite(&s, buf_view(&in), false, a, &e), 0);
	assert_int_equal(e.n, 250);
	assert_int_equal(edits_apply(&e, buf_view(&in), &out), 0);
	assert_true(str_eq(buf_view(&out), buf_view(&want)));
	buf_done(&in);
	buf_done(&want);
	buf_done(&out);
	arena_free(&a);
}

static int
teardown(void **st)
{
	buf_done(&asked);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_many) };

	return cmocka_run_group_tests(tests, NULL, teardown);
}
