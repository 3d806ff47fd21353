/* Reading of the rules of checks: each form of a line, and what is said of mistakes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "lib/conf/rules.h"

static const struct {
	const char *text, *want; /* "ACTION|text " for each rule, or what is wrong */
} rows[] = {
	{ "/a/ REJECT", "REJECT|" },
	{ "/a/i reject  5.7.2 go  away ", "REJECT|5.7.2 go  away" },
	{ "!/a b/ DISCARD", "DISCARD|" },
	{ "|a| HOLD", "HOLD|" },
	{ "/a/ REDIRECT user1@example.test", "REDIRECT|user1@example.test" },
	{ "/a/ BCC user1@example.test", "BCC|user1@example.test" },
	{ "/a/ PREPEND X-A: b", "PREPEND|X-A: b" },
	{ "/(a)/ REPLACE $1", "REPLACE|$1" },
	{ "/a/ IGNORE\n/b/ STRIP x\n/c/ WARN\n/d/ INFO y\n/e/ DUNNO",
	    "IGNORE| STRIP|x WARN| INFO|y DUNNO|" },
	{ "# none\n\n/a/\n\tREJECT\n   two\n# more\n  three\nif /b/\n/c/ HOLD\nendif\n",
	    "REJECT|two three IF HOLD| ENDIF" },
	{ "if /a/\nif !/b/\nendif\nendif", "IF IF ENDIF ENDIF" },
	{ "/a/ HOLD\r\n/b/ HOLD\r\n", "HOLD| HOLD|" },
	{ "none", "none" },
	{ " none ", "none" },
	{ "", "" },
	{ "# nothing\n\n", "" },

	{ "/a/", "the pattern has no action" },
	{ "/a/ EXPLODE", "unknown action 'EXPLODE'" },
	{ "/a/ PREPEND", "PREPEND needs a text" },
	{ "/a/ BCC", "BCC needs an address" },
	{ "/a/ REDIRECT user1", "'user1' is not a mail address" },
	{ "/a/ REDIRECT @example.test", "'@example.test' is not a mail address" },
	{ "/a/ DUNNO now", "DUNNO takes no text" },
	{ "endif", "endif without if" },
	{ "if /a/ HOLD", "text behind if" },
	{ "/a/ HOLD\n\n/b/ NO\n", "line 3: unknown action 'NO'" },
	{ "/a/ HOLD\n/b/\n  NO\n", "line 2: unknown action 'NO'" },
	{ "if /a/\nif /a/\nif /a/\nif /a/\nif /a/\nif /a/\nif /a/\nif /a/\nif /a/\n",
	    "line 9: more than 8 times if" },
	{ "none\n/a/ HOLD", NULL },
	{ "/(/ HOLD", NULL },
	{ "/a HOLD", NULL },
	{ "/a/q HOLD", NULL },
};

/* The rules as the table writes them. */
static void
put_rules(const struct conf_rules *rs, struct buf *b)
{
	if (rules_none(rs)) {
		buf_puts(b, "none");
		return;
	}
	for (size_t i = 0; i < rs->n; i++) {
		const struct rule *r = &rs->rules[i];

		buf_puts(b, i ? " " : "");
		if (r->action == RULE_IF || r->action == RULE_ENDIF)
			buf_puts(b, r->action == RULE_IF ? "IF" : "ENDIF");
		else
			buf_printf(b, "%s|%.*s", rule_action_name(r->action), STR_ARG(r->text));
		assert_int_equal(r->pattern != NULL, r->action != RULE_ENDIF);
	}
}

static void
test_rows(void **st)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new(0);
		struct conf_rules rs = { 0 };
		struct err e = { 0 };
		struct buf got = { 0 };
		int r = rules_add(&rs, str_c(rows[i].text), a, &e);

		if (r)
			buf_puts(&got, e.text);
		else
			put_rules(&rs, &got);
		if (rows[i].want)
			assert_string_equal(buf_cstr(&got), rows[i].want);
		else
			assert_true(r < 0 && e.text[0]);
		buf_done(&got);
		arena_free(&a);
	}
}

/* As a setting brings them: one text after the other. */
static void
test_pieces(void **st)
{
	struct arena *a = arena_new(0);
	struct conf_rules rs = { 0 };
	struct err e = { 0 };

	assert_int_equal(rules_add(&rs, STR("if /a/"), a, &e), 0);
	assert_int_equal(rs.open, 1);
	assert_int_equal(rules_add(&rs, STR("/b/ HOLD"), a, &e), 0);
	assert_int_equal(rules_add(&rs, STR("endif"), a, &e), 0);
	assert_int_equal(rs.open, 0);
	assert_int_equal(rs.n, 3);
	assert_int_equal(rs.rules[1].action, RULE_HOLD);
	assert_int_equal(rules_add(&rs, STR("none"), a, &e), -EINVAL);
	rs = (struct conf_rules){ 0 };
	assert_int_equal(rules_add(&rs, STR("none"), a, &e), 0);
	assert_int_equal(rules_add(&rs, STR("/b/ HOLD"), a, &e), -EINVAL);
	arena_free(&a);
}

static void
test_limits(void **st)
{
	struct arena *a = arena_new(64u << 20);
	struct conf_rules rs = { 0 };
	struct err e = { 0 };
	struct buf b = { 0 };

	for (unsigned i = 0; i < RULES_MAX; i++)
		assert_int_equal(rules_add(&rs, STR("/a/ HOLD"), a, &e), 0);
	assert_int_equal(rules_add(&rs, STR("/a/ HOLD"), a, &e), -E2BIG);
	assert_string_equal(e.text, "more than 2000 rules");
	assert_int_equal(rs.n, RULES_MAX);
	rs = (struct conf_rules){ 0 };
	buf_puts(&b, "/a/ REJECT ");
	while (b.n < 8193)
		buf_putc(&b, 'x');
	assert_int_equal(rules_add(&rs, str_head(buf_view(&b), 8192), a, &e), 0);
	assert_int_equal(rules_add(&rs, buf_view(&b), a, &e), -E2BIG);
	while (b.n < 40000)
		buf_putc(&b, 'x');
	assert_int_equal(rules_add(&rs, buf_view(&b), a, &e), -E2BIG);
	buf_done(&b);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_limits) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
