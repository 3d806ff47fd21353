/*
 * What addresses become, on a directory and tables of its own. An answer is written as
 * text: the address, "=" when it stays, "later" when nobody can say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "mta/rewrite.h"

static char dir[64];
static struct router router;
static struct settings *settings;
static struct arena *arena;

static const char config[] =
    "config 1\nhostname mx.example.test\nbase-dir /tmp\nlisten smtp { address 127.0.0.1 }\n"
    "domain example.test, old.test\n"
    "origin example.test\n"
    "smtp { recipient-delimiter + }\n"
    "route { alias-domains example.test\n  sender-bcc copies\n  recipient-bcc copies\n}\n"
    "rewrite {\n"
    "  canonical both\n"
    "  sender-canonical senders\n"
    "  sender-canonical-classes envelope-sender\n"
    "  recipient-canonical recipients\n"
    "  masquerade-domains \"!keep.mask.test\", mask.test\n"
    "  masquerade-exceptions root\n"
    "  generic out\n"
    "}\n"
    "table both {\n"
    "  entry \"one@elsewhere.test two@elsewhere.test\"\n"
    "  entry \"two@elsewhere.test three@elsewhere.test\"\n"
    "  entry \"@old.test @example.test\"\n"
    "  entry \"short first.last\"\n"
    "  entry \"quoted@elsewhere.test \\\"a b\\\"@elsewhere.test\"\n"
    "  entry \"detailed+in@elsewhere.test box@elsewhere.test\"\n"
    "  entry \"detailed@elsewhere.test plain@elsewhere.test\"\n"
    "  entry \"bad@elsewhere.test a@b@c\"\n"
    "  entry \"ring@elsewhere.test gnir@elsewhere.test\"\n"
    "  entry \"gnir@elsewhere.test ring@elsewhere.test\"\n"
    "  entry \"case@elsewhere.test CASE@elsewhere.test\"\n"
    "}\n"
    "table senders { entry \"boss@elsewhere.test chief@elsewhere.test\" }\n"
    "table recipients { entry \"boss@elsewhere.test desk@elsewhere.test\" }\n"
    "table out { entry \"user1@example.test pub@isp.test\" entry \"@example.test office@isp.test\" }\n"
    "table copies {\n"
    "  entry \"user1@example.test archive, \\\"other@elsewhere.test\\\"\"\n"
    "  entry \"broken@example.test |program\"\n"
    "}\n";

static const struct {
	enum rewrite_kind kind;
	const char *address, *want;
} rows[] = {
	{ REWRITE_SENDER, "nobody@elsewhere.test", "=" },
	{ REWRITE_SENDER, "one@elsewhere.test", "three@elsewhere.test" },
	{ REWRITE_SENDER, "ONE@Elsewhere.TEST", "three@elsewhere.test" },
	{ REWRITE_RCPT, "one+x@elsewhere.test", "three+x@elsewhere.test" },
	{ REWRITE_SENDER, "user2@old.test", "user2@example.test" },
	{ REWRITE_SENDER, "user2+x@old.test", "user2+x@example.test" },
	{ REWRITE_SENDER, "\"a b\"@old.test", "\"a b\"@example.test" },
	{ REWRITE_SENDER, "short@example.test", "first.last@example.test" },
	{ REWRITE_SENDER, "short+x@example.test", "first.last+x@example.test" },
	{ REWRITE_SENDER, "short@elsewhere.test", "=" },
	{ REWRITE_SENDER, "quoted@elsewhere.test", "\"a b\"@elsewhere.test" },
	{ REWRITE_SENDER, "quoted+x@elsewhere.test", "\"a b+x\"@elsewhere.test" },
	{ REWRITE_SENDER, "detailed+in@elsewhere.test", "box@elsewhere.test" },
	{ REWRITE_SENDER, "detailed+out@elsewhere.test", "plain+out@elsewhere.test" },
	{ REWRITE_SENDER, "\"detailed+a b\"@elsewhere.test", "\"plain+a b\"@elsewhere.test" },
	{ REWRITE_SENDER, "\"detailed+\\\"\"@elsewhere.test", "\"plain+\\\"\"@elsewhere.test" },
	{ REWRITE_SENDER, "bad@elsewhere.test", "later" },
	{ REWRITE_SENDER, "ring@elsewhere.test", "later" },
	{ REWRITE_SENDER, "case@elsewhere.test", "CASE@elsewhere.test" },
	{ REWRITE_SENDER, "no address", "=" },
	{ REWRITE_SENDER, "", "=" },
	/* classes */
	{ REWRITE_SENDER, "boss@elsewhere.test", "chief@elsewhere.test" },
	{ REWRITE_HEADER_SENDER, "boss@elsewhere.test", "=" },
	{ REWRITE_HEADER_SENDER, "one@elsewhere.test", "three@elsewhere.test" },
	{ REWRITE_RCPT, "boss@elsewhere.test", "desk@elsewhere.test" },
	{ REWRITE_HEADER_RCPT, "boss@elsewhere.test", "desk@elsewhere.test" },
	/* masquerading: the envelope's sender and all of the header */
	{ REWRITE_SENDER, "a@host.mask.test", "a@mask.test" },
	{ REWRITE_HEADER_RCPT, "a@deep.host.mask.test", "a@mask.test" },
	{ REWRITE_RCPT, "a@host.mask.test", "=" },
	{ REWRITE_SENDER, "a@mask.test", "=" },
	{ REWRITE_SENDER, "a@notmask.test", "=" },
	{ REWRITE_SENDER, "a@host.keep.mask.test", "=" },
	{ REWRITE_SENDER, "root@host.mask.test", "=" },
	{ REWRITE_SENDER, "\"a b\"@host.mask.test", "\"a b\"@mask.test" },
	/* on the way out, without details */
	{ REWRITE_GENERIC, "user1@example.test", "pub@isp.test" },
	{ REWRITE_GENERIC, "user1+x@example.test", "pub@isp.test" },
	{ REWRITE_GENERIC, "user2@example.test", "office@isp.test" },
	{ REWRITE_GENERIC, "user2@elsewhere.test", "=" },
	/* copies */
	{ REWRITE_COPY_SENDER, "user1@example.test", "archive@example.test, other@elsewhere.test" },
	{ REWRITE_COPY_SENDER, "user1+x@example.test", "archive@example.test, other@elsewhere.test" },
	{ REWRITE_COPY_SENDER, "user2@example.test", "=" },
	{ REWRITE_COPY_SENDER, "broken@example.test", "later" },
	{ REWRITE_COPY_RCPT, "user1@old.test", "archive@example.test, other@elsewhere.test" },
};

static void
note(void *arg, const struct table_note *n)
{
	if (n->failed)
		fail_msg("%s", n->text);
}

static int
setup(void **st)
{
	struct conf_errors errors;
	struct err e;

	strcpy(dir, "/tmp/posthorn-rewrite-XXXXXX");
	assert_non_null(mkdtemp(dir));
	arena = arena_new(0);
	settings = settings_parse(str_c(config), "test", arena, &errors);
	for (size_t i = 0; i < errors.n; i++)
		if (!errors.v[i].warning)
			fail_msg("line %u: %.*s", errors.v[i].line, STR_ARG(errors.v[i].text));
	assert_non_null(settings);
	assert_int_equal(directory_open(dir, &router.directory, &e), 0);
	assert_int_equal(directory_configured(router.directory, settings->domains, settings->n_domains, &e),
	    0);
	assert_int_equal(tables_open(settings, note, NULL, &router.tables), 0);
	router.settings = settings;
	return 0;
}

static int
teardown(void **st)
{
	char cmd[96];

	tables_close(&router.tables);
	directory_close(&router.directory);
	settings_free(&settings);
	arena_free(&arena);
	snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	return system(cmd);
}

static void
test_rows(void **st)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rewrite_ask ask = { rows[i].kind, str_c(rows[i].address) };
		struct str got = STR_NULL;
		int r;

		router.why.text[0] = '\0';
		r = rewrite_address(&router, &ask, arena, &got);
		if (r < 0)
			assert_true(router.why.text[0]);
		got = r < 0 ? STR("later") : r ? got : STR("=");
		if (!str_eq(got, str_c(rows[i].want)))
			fail_msg("%s: %.*s, not %s (%s)", rows[i].address, STR_ARG(got), rows[i].want,
			    router.why.text);
	}
}

static void
test_no_propagation(void **st)
{
	struct rewrite_ask ask = { REWRITE_SENDER, STR("one+x@elsewhere.test") };
	struct str got = STR_NULL;

	settings->propagate_extensions = false;
	assert_int_equal(rewrite_address(&router, &ask, arena, &got), 1);
	assert_true(str_eq(got, STR("three@elsewhere.test")));
	settings->propagate_extensions = true;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows),
		cmocka_unit_test(test_no_propagation) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
