/* Names of mailboxes: which patterns match, and the order that LIST walks over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "imapd/pattern.h"
#include "imapd/tree.h"

static bool
match(const char *ref, const char *text, const char *name)
{
	struct arena *ar = arena_new(0);
	struct pattern p;
	bool r;

	assert_true(pattern_make(&p, str_c(ref), str_c(text), ar));
	r = pattern_match(&p, str_c(name));
	arena_free(&ar);
	return r;
}

static void
patterns(void **state)
{
	static const struct {
		const char *ref, *text, *name;
		bool want;
	} t[] = {
		{ "", "*", "a/b/c", true }, { "", "%", "a", true }, { "", "%", "a/b", false },
		{ "", "%/%", "a/b", true }, { "", "%/%", "a/b/c", false }, { "a/", "%", "a/b", true },
		{ "a", "%", "a/b", false }, { "a", "*", "a/b", true }, { "", "a%c", "abbc", true },
		{ "", "a%c", "ab/c", false }, { "", "a*c", "ab/c", true }, { "", "", "", true },
		{ "", "", "a", false }, { "", "a", "", false }, { "", "*", "", true },
		{ "", "%*", "a/b", true }, { "", "*%", "a/b", true }, { "", "a%%%b", "axb", true },
		{ "", "a/%", "a/", true }, { "", "inbox", "INBOX", true }, { "", "Inbox/x", "INBOX/x", true },
		{ "", "Inbox/X", "INBOX/x", false }, { "", "inboxes", "INBOXes", false },
		{ "in", "BOX", "INBOX", true }, { "", "Sent", "sent", false }, { "", "*a*b*", "xaybz", true },
		{ "", "*a*b*", "xbyaz", false }, { "", "&*", "&AOk-", true },
	};
	size_t i;

	for (i = 0; i < sizeof t / sizeof *t; i++)
		if (match(t[i].ref, t[i].text, t[i].name) != t[i].want)
			fail_msg("'%s' '%s' and '%s'", t[i].ref, t[i].text, t[i].name);
}

/* Wildcards upon wildcards cost no more than name times pattern. */
static void
many_wildcards(void **state)
{
	struct arena *ar = arena_new(0);
	char text[6001], name[PATTERN_NAME_MAX + 2];
	struct pattern p;
	size_t i;

	for (i = 0; i < 6000; i++)
		text[i] = "a*%"[i % 3];
	text[i] = '\0';
	memset(name, 'a', sizeof name);
	assert_true(pattern_make(&p, STR_NULL, str_c(text), ar));
	assert_int_equal(p.text.n, 4000);
	assert_true(pattern_match(&p, str_from(name, 2500)));
	assert_false(pattern_match(&p, str_from(name, 1999)));
	assert_false(pattern_match(&p, str_from(name, PATTERN_NAME_MAX + 1)));
	arena_free(&ar);
}

static void
order(void **state)
{
	static const struct store_mailbox m[] = {
		{ .id = 1, .name = STR_INIT("b"), .role = STR_INIT("sent") },
		{ .id = 2, .name = STR_INIT("a-x") },
		{ .id = 3, .name = STR_INIT("a"), .noselect = true },
		{ .id = 4, .name = STR_INIT("a/y"), .subscribed = true },
		{ .id = 5, .name = STR_INIT("INBOX") },
		{ .id = 6, .name = STR_INIT("empty"), .noselect = true },
		{ .id = 0, .name = STR_INIT("gone/x"), .subscribed = true, .noselect = true },
		{ .id = 7, .name = STR_INIT("INBOX/z") },
	};
	static const struct {
		const char *name;
		size_t end;
		bool exists, noselect, subscribed, children;
	} want[] = {
		{ "INBOX", 2, true, false, false, true }, { "INBOX/z", 2, true, false, false, false },
		{ "a", 4, true, true, false, true }, { "a/y", 4, true, false, true, false },
		{ "a-x", 5, true, false, false, false }, { "b", 6, true, false, false, false },
		{ "empty", 7, false, true, false, false }, { "gone", 9, false, true, false, false },
		{ "gone/x", 9, false, true, true, false },
	};
	struct arena *ar = arena_new(0);
	struct tree t;
	size_t i;

	assert_true(tree_make(&t, m, sizeof m / sizeof *m, ar));
	assert_int_equal(t.n, sizeof want / sizeof *want);
	for (i = 0; i < t.n; i++) {
		assert_true(str_eq(t.v[i].name, str_c(want[i].name)));
		assert_int_equal(t.v[i].end, want[i].end);
		assert_int_equal(t.v[i].exists, want[i].exists);
		assert_int_equal(t.v[i].noselect, want[i].noselect);
		assert_int_equal(t.v[i].subscribed, want[i].subscribed);
		assert_int_equal(t.v[i].children, want[i].children);
	}
	assert_string_equal(t.v[5].use, "\\Sent");
	assert_null(t.v[0].use);
	arena_free(&ar);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns),
		cmocka_unit_test(many_wildcards),
		cmocka_unit_test(order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
