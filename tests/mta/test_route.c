/*
 * The router, on a directory and tables of its own. An answer is written as text, so
 * that a row of the table below says all of it:
 *
 *	account user1@example.test [+detail]      remote ADDRESS [NEXTHOP]
 *	list (account ... | remote ... | pipe ADDRESS WHAT) [from SENDER] ...
 *	none, disabled, reject CODE ENHANCED TEXT; "closed" where only clients that may
 *	relay get anything
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sqlite3.h>
#include <unistd.h>
#include <cmocka.h>

#include "mta/route.h"

static char dir[64], aliases_path[96], list_path[96], db_path[96];
static struct router router;
static struct settings *settings;
static struct arena *arena;

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static const char config[] =
    "config 1\n"
    "domain example.test, other.test, moved.test\n"
    "route {\n"
    "  relay-host \"[relay.example.net]:587\"\n"
    "  relay-domains backup.test, \".sub.test\"\n"
    "  relay-recipients recipients\n"
    "  aliases system\n"
    "  alias-domains example.test\n"
    "  virtual-aliases virtual, patterns\n"
    "  transports transport\n"
    "  sender-relays bysender\n"
    "  alias-expansion-limit 60\n"
    "}\n"
    "table recipients { entry \"user1@backup.test yes\" entry \"@sub.sub.test yes\" }\n"
    "table virtual {\n"
    "  entry \"sales@other.test user1, user2@example.test\"\n"
    "  entry \"box@other.test user1@example.test\"\n"
    "  entry \"@moved.test @example.test\"\n"
    "  entry \"keep@other.test keep@other.test, user1@example.test\"\n"
    "  entry \"ring1@other.test ring2@other.test\"\n"
    "  entry \"ring2@other.test ring1@other.test\"\n"
    "  entry \"foreign@elsewhere.test user1@example.test\"\n"
    "  entry \"program@other.test |/bin/true\"\n"
    "  entry \"away@other.test someone@elsewhere.test\"\n"
    "}\n"
    "table patterns { type regexp path \"%s/patterns\" }\n"
    "table transport {\n"
    "  entry \"gateway.test smtp:[192.0.2.1]:2525\"\n"
    "  entry \".gateway.test relay:hub.gateway.test\"\n"
    "  entry \"lists@other.test |/usr/bin/lists post\"\n"
    "  entry \"gone@other.test error:5.1.6 has moved\"\n"
    "  entry \"later@other.test retry:not now\"\n"
    "  entry \"odd.test uucp:somewhere\"\n"
    "  entry \"hole.test discard:\"\n"
    "  entry \"store.test lmtp:inet:127.0.0.1:24\"\n"
    "}\n"
    "table bysender { entry \"user2@example.test [two.example.net]\" entry \"@other.test DUNNO\" }\n"
    "table system { type aliases path \"%s/aliases\" }\n";

static const char aliases_text[] =
    "# comment\n"
    "root: user1\n"
    "team: user1, user2,\n"
    "\tuser3@elsewhere.test   # no comment here? it is\n"
    "postbox: /var/mail/postbox\n"
    "prog: \"|/usr/bin/prog -a 'x, y'\"\n"
    "null: /dev/null\n"
    "user2: user2, root\n"
    "people: :include:%s/list\n"
    "owner-people: user1\n"
    "missing: :include:%s/nothing\n"
    "nested: people, null\n";

static void
admin(enum auth_op op, const char *name, const char *targets, bool keep)
{
	struct auth_admin q = { .op = op, .name = str_c(name), .password = STR("secret"),
		.targets = str_c(targets), .keep = keep, .quota = AUTH_QUOTA_DEFAULT };
	char changed_name[DIRECTORY_NAME_MAX + 1];
	struct auth_changed changed;
	struct err e = { 0 };

	if (directory_admin(router.directory, &q, 1, NULL, NULL, &changed, changed_name, &e) < 0)
		fail_msg("%s: %s", name, e.text);
}

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
	char text[8192];
	struct err e;

	strcpy(dir, "/tmp/posthorn-route-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(aliases_path, sizeof aliases_path, "%s/aliases", dir);
	snprintf(list_path, sizeof list_path, "%s/list", dir);
	snprintf(db_path, sizeof db_path, "%s/table.db", dir);
	snprintf(text, sizeof text, aliases_text, dir, dir);
	*strstr(text, "   # no") = '\n'; /* only a line of its own is a comment */
	write_file(aliases_path, text);
	write_file(list_path, "# people\nuser1\nuser9@elsewhere.test, \"two words\"@elsewhere.test\n");
	snprintf(text, sizeof text, "%s/patterns", dir);
	write_file(text, "/^(.*)-pattern@other\\.test$/ $1@example.test\n");
	arena = arena_new(0);
	snprintf(text, sizeof text, config, dir, dir);
	settings = settings_parse(str_c(text), "test", arena, &errors);
	for (size_t i = 0; i < errors.n; i++)
		if (!errors.v[i].warning)
			fail_msg("line %u: %.*s", errors.v[i].line, STR_ARG(errors.v[i].text));
	assert_non_null(settings);
	assert_int_equal(directory_open(dir, &router.directory, &e), 0);
	assert_int_equal(directory_configured(router.directory, settings->domains, settings->n_domains, &e),
	    0);
	assert_int_equal(tables_open(settings, note, NULL, &router.tables), 0);
	router.settings = settings;
	router.day = 20000;
	admin(AUTH_USER_ADD, "user1@example.test", "", false);
	admin(AUTH_USER_ADD, "user2@example.test", "", false);
	admin(AUTH_USER_ADD, "keep@other.test", "", false);
	admin(AUTH_USER_ADD, "away@example.test", "", false);
	admin(AUTH_USER_ADD, "both@example.test", "", false);
	admin(AUTH_USER_ADD, "ping@example.test", "", false);
	admin(AUTH_USER_ADD, "pong@example.test", "", false);
	admin(AUTH_USER_ADD, "off@example.test", "", false);
	admin(AUTH_USER_SUSPEND, "off@example.test", "", false);
	admin(AUTH_USER_FORWARD, "away@example.test", "someone@elsewhere.test", false);
	admin(AUTH_USER_FORWARD, "both@example.test", "someone@elsewhere.test", true);
	admin(AUTH_USER_FORWARD, "ping@example.test", "pong@example.test", false);
	admin(AUTH_USER_FORWARD, "pong@example.test", "ping@example.test", true);
	admin(AUTH_ALIAS_ADD, "info@example.test", "user1@example.test,user2@example.test", false);
	admin(AUTH_ALIAS_ADD, "@other.test", "keep@other.test", false);
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
put_target(struct buf *b, const struct resolve_target *t)
{
	static const char *const names[] = { [ROUTE_LOCAL] = "account", [ROUTE_REMOTE] = "remote",
		[ROUTE_PIPE] = "pipe" };

	buf_printf(b, "%s %.*s", names[t->route], STR_ARG(t->address));
	if (t->detail.n)
		buf_printf(b, " +%.*s", STR_ARG(t->detail));
	if (t->next_hop.n)
		buf_printf(b, " %.*s", STR_ARG(t->next_hop));
	if (t->sender.n)
		buf_printf(b, " from %.*s", STR_ARG(t->sender));
}

static const char *
resolve(const char *address, const char *sender)
{
	struct resolve_request q = { .address = str_c(address), .sender = str_c(sender) };
	struct resolve_answer r;
	struct buf b = { 0 };
	struct str text;
	int code = route_resolve(&router, &q, arena, &r);

	if (code < 0)
		return "later";
	if (!r.open)
		buf_puts(&b, "closed ");
	switch (r.kind) {
	case RESOLVE_NO_USER: buf_puts(&b, "none"); break;
	case RESOLVE_DISABLED: buf_puts(&b, "disabled"); break;
	case RESOLVE_REJECT: buf_printf(&b, "reject %u %.*s %.*s", r.smtp, STR_ARG(r.enhanced),
		STR_ARG(r.text)); break;
	case RESOLVE_ACCOUNT:
	case RESOLVE_NOT_LOCAL:
		put_target(&b, &(struct resolve_target){ .route = r.kind == RESOLVE_ACCOUNT ? ROUTE_LOCAL :
			ROUTE_REMOTE, .address = r.address, .detail = r.detail, .next_hop = r.next_hop });
		break;
	case RESOLVE_LIST: buf_puts(&b, "list"); break;
	}
	for (size_t i = 0; i < r.n_targets; i++) {
		buf_puts(&b, i ? "; " : " ");
		put_target(&b, &r.targets[i]);
	}
	text = arena_dup(arena, buf_view(&b));
	buf_done(&b);
	return text.p;
}

#define FROM "user7@sender.test"
#define RELAY "[relay.example.net]:587"

static void
test_routes(void **st)
{
	static const struct { const char *address, *sender, *want; } t[] = {
		/* accounts */
		{ "user1@example.test", FROM, "account user1@example.test" },
		{ "User1+News@EXAMPLE.test", FROM, "account user1@example.test +News" },
		{ "off@example.test", FROM, "disabled" },
		{ "nobody@example.test", FROM, "none" },
		/* elsewhere */
		{ "x@elsewhere.test", FROM, "closed remote x@elsewhere.test " RELAY },
		{ "x@[192.0.2.9]", FROM, "closed remote x@[192.0.2.9] " RELAY },
		{ "x@elsewhere.test", "user2@example.test",
		    "closed remote x@elsewhere.test [two.example.net]" },
		{ "x@elsewhere.test", "a@other.test", "closed remote x@elsewhere.test " RELAY },
		{ "x@elsewhere.test", "", "closed remote x@elsewhere.test " RELAY },
		/* transports */
		{ "x@gateway.test", FROM, "closed remote x@gateway.test [192.0.2.1]:2525" },
		{ "x@a.gateway.test", FROM, "closed remote x@a.gateway.test hub.gateway.test" },
		{ "x@store.test", FROM, "closed remote x@store.test lmtp:[127.0.0.1]:24" },
		{ "lists@other.test", FROM, "list pipe lists@other.test |/usr/bin/lists post" },
		{ "gone@other.test", FROM, "reject 550 5.1.6 has moved" },
		{ "later@other.test", FROM, "reject 450 4.0.0 not now" },
		{ "x@odd.test", FROM, "later" },
		{ "x@hole.test", FROM, "closed list pipe x@hole.test /dev/null" },
		/* relayed domains and who is there */
		{ "user1@backup.test", FROM, "remote user1@backup.test " RELAY },
		{ "user1+x@backup.test", FROM, "remote user1+x@backup.test " RELAY },
		{ "user2@backup.test", FROM, "none" },
		{ "any@sub.sub.test", FROM, "remote any@sub.sub.test " RELAY },
		{ "any@sub.test", FROM, "closed remote any@sub.test " RELAY },
		{ "any@xsub.test", FROM, "closed remote any@xsub.test " RELAY },
		/* virtual aliases */
		{ "sales@other.test", FROM, "list account keep@other.test; "
		    "account user1@example.test; account user2@example.test" },
		{ "box@other.test", FROM, "account user1@example.test" },
		{ "box+tag@other.test", FROM, "account user1@example.test +tag" },
		{ "user1@moved.test", FROM, "account user1@example.test" },
		{ "user1+d@moved.test", FROM, "account user1@example.test +d" },
		{ "none@moved.test", FROM, "none" },
		{ "keep@other.test", FROM, "list account keep@other.test; account user1@example.test" },
		{ "foreign@elsewhere.test", FROM, "closed account user1@example.test" },
		{ "program@other.test", FROM, "later" },
		{ "user2-pattern@other.test", FROM, "list account user2@example.test; "
		    "account user1@example.test" },
		/* aliases files */
		{ "root@example.test", FROM, "account user1@example.test" },
		{ "root@other.test", FROM, "list account keep@other.test; account user1@example.test" },
		{ "ROOT+x@example.test", FROM, "account user1@example.test" },
		{ "postbox@example.test", FROM, "list pipe postbox@example.test /var/mail/postbox" },
		{ "prog@example.test", FROM, "list pipe prog@example.test |/usr/bin/prog -a 'x, y'" },
		{ "null@example.test", FROM, "list pipe null@example.test /dev/null" },
		{ "user2@example.test", FROM, "list account user2@example.test; account user1@example.test" },
		{ "missing@example.test", FROM, "later" },
		{ "people@example.test", FROM, "list account user1@example.test from "
		    "owner-people@example.test; remote user9@elsewhere.test " RELAY
		    " from owner-people@example.test; remote \"two words\"@elsewhere.test " RELAY
		    " from owner-people@example.test" },
		{ "people@example.test", "", "list account user1@example.test; remote "
		    "user9@elsewhere.test " RELAY "; remote \"two words\"@elsewhere.test " RELAY },
		/* the directory's */
		{ "info@example.test", FROM, "list account user1@example.test; "
		    "account user2@example.test" },
		{ "whoever@other.test", FROM, "list account keep@other.test; account user1@example.test" },
		{ "ping@example.test", FROM, "list account pong@example.test; account ping@example.test" },
		/* whose sender is ours goes on as it is */
		{ "away@example.test", "user1@example.test",
		    "list remote someone@elsewhere.test " RELAY },
		{ "away@example.test", "", "list remote someone@elsewhere.test " RELAY },
		/* no step is taken twice with one address: what nobody has is caught by @other.test */
		{ "ring1@other.test", FROM, "list account keep@other.test; account user1@example.test" },
	};

	int bad = 0;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		const char *got = resolve(t[i].address, t[i].sender);

		if (strcmp(got, t[i].want)) {
			print_error("%s from <%s>:\n got %s\nwant %s\n", t[i].address, t[i].sender, got, t[i].want);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

/* A forward's return path is read back to the sender, as long as it is ours and young. */
static void
test_return_path(void **st)
{
	const char *got = resolve("both@example.test", FROM), *srs = strstr(got, " from ");
	char address[256], wrong[256], folded[256];

	assert_non_null(srs);
	assert_memory_equal(got, "list account both@example.test; remote someone@elsewhere.test ", 62);
	snprintf(address, sizeof address, "%s", srs + 6);
	assert_non_null(strstr(address, "=sender.test=user7@example.test"));
	assert_string_equal(resolve(address, ""), "list remote " FROM " " RELAY);
	for (size_t i = 0; i <= strlen(address); i++)
		folded[i] = ascii_lower(address[i]);
	assert_string_equal(resolve(folded, ""), "list remote " FROM " " RELAY);
	strcpy(wrong, address);
	wrong[6] = wrong[6] == 'a' ? 'b' : 'a';
	assert_string_equal(resolve(wrong, ""), "none");
	router.day += 22;
	assert_string_equal(resolve(address, ""), "reject 550 5.1.6 This return path has expired");
	router.day -= 22;
}

static void
test_srs(void **st)
{
	static const unsigned char key[SRS_KEY_BYTES] = "key";
	struct buf one = { 0 }, two = { 0 }, back = { 0 };

	assert_int_equal(srs_forward(key, STR("SRS0=abcd=TT=first.test=user@second.test"), 5, &one), 0);
	assert_true(str_istarts(buf_view(&one), STR("SRS1=")));
	assert_true(str_ends(buf_view(&one), STR("=second.test==abcd=TT=first.test=user")));
	assert_int_equal(srs_reverse(key, buf_view(&one), 900, 21, &back), 0);
	assert_string_equal(buf_cstr(&back), "SRS0=abcd=TT=first.test=user@second.test");
	buf_puts(&one, "@third.test"); /* a third forwarder: the second's name stays */
	assert_int_equal(srs_forward(key, buf_view(&one), 5, &two), 0);
	assert_true(str_ends(buf_view(&two), STR("=second.test==abcd=TT=first.test=user")));
	assert_int_equal(srs_forward(key, STR("nobody"), 5, &two), -EINVAL);
	assert_int_equal(srs_forward(key, STR("a-rather-long-name-of-some-person@a-long-domain.example.test"),
	    5, &two), -ENAMETOOLONG);
	assert_int_equal(srs_reverse(key, STR("SRS0=abcdef=aa=x.test"), 5, 21, &back), -EINVAL);
	assert_int_equal(srs_reverse(key, STR("SRS0="), 5, 21, &back), -EINVAL);
	buf_done(&one), buf_done(&two), buf_done(&back);
}

/* A changed file is taken; one with a mistake is not, and is named with its line. */
static char told[400];

static void
hear(void *arg, const struct table_note *n)
{
	snprintf(told, sizeof told, "%s", n->failed ? n->text : "");
}

static void
test_reload(void **st)
{
	char text[200], want[200];

	write_file(aliases_path, "root: user2\nnew: user1\n");
	assert_true(tables_refresh(router.tables, hear, NULL));
	assert_string_equal(resolve("new@example.test", FROM), "account user1@example.test");
	assert_false(tables_refresh(router.tables, hear, NULL));
	snprintf(text, sizeof text, "new: user2\n# fine\nbad line without colon\n\tgoes on\n");
	write_file(aliases_path, text);
	assert_false(tables_refresh(router.tables, hear, NULL));
	snprintf(want, sizeof want, "%s:3: expected NAME: and where its mail goes", aliases_path);
	assert_string_equal(told, want);
	assert_string_equal(resolve("new@example.test", FROM), "account user1@example.test");
	unlink(aliases_path);
	assert_false(tables_refresh(router.tables, hear, NULL));
	assert_string_equal(resolve("new@example.test", FROM), "account user1@example.test");
}

static int
find(const char *config_text, const char *key, const char **ret)
{
	struct conf_errors errors;
	struct settings *s = settings_parse(str_c(config_text), "test", arena, &errors);
	struct tables *t;
	struct str value = STR_NULL;
	int r;

	assert_non_null(s);
	assert_int_equal(tables_open(s, hear, NULL, &t), 0);
	r = table_find(tables_get(t, STR("t")), str_c(key), arena, &value);
	*ret = r > 0 ? arena_cstr(arena, value) : "";
	tables_close(&t);
	settings_free(&s);
	return r;
}

static void
test_sqlite(void **st)
{
	static const struct { const char *query, *key, *want; } t[] = {
		{ "SELECT goto FROM a WHERE address = '%s'", "A@b.test", "x@c.test,y@c.test" },
		{ "SELECT goto FROM a WHERE address = %s", "a@b.test", "x@c.test,y@c.test" },
		{ "SELECT goto FROM a WHERE address = '%u@%d'", "a@b.test", "x@c.test,y@c.test" },
		{ "SELECT '%u' || '%%' || '%d'", "a@b.test", "a%b.test" },
		{ "SELECT '%d'", "nodomain", "" },
		{ "SELECT goto FROM a WHERE address = '%s'", "' OR '1'='1", "" },
	};
	char text[400];
	const char *got;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE a (address, goto); INSERT INTO a VALUES "
	    "('a@b.test', 'x@c.test'), ('a@b.test', 'y@c.test')", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		snprintf(text, sizeof text, "config 1\ntable t { type sqlite path \"%s\" query \"%s\" }\n",
		    db_path, t[i].query);
		assert_int_equal(find(text, t[i].key, &got), *t[i].want != 0);
		assert_string_equal(got, t[i].want);
	}
	snprintf(text, sizeof text, "config 1\ntable t { type sqlite path \"%s-none\" query \"SELECT 1\" }\n",
	    db_path);
	assert_true(find(text, "a", &got) < 0);
	snprintf(text, sizeof text, "config 1\ntable t { type sqlite path \"%s\" query \"DELETE FROM a\" }\n",
	    db_path);
	assert_true(find(text, "a", &got) < 0);
	snprintf(text, sizeof text, "config 1\ntable t { type sqlite path \"%s\" query \"WITH RECURSIVE "
	    "n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT count(*) FROM n\" }\n", db_path);
	assert_true(find(text, "a", &got) < 0); /* for ever: given up */
}

static void
test_regexp(void **st)
{
	static const struct { const char *file, *key, *want; } t[] = {
		{ "/^a(.)c$/ <$1$$>\n", "ABC", "<b$>" },
		{ "/^a(.)c$/i x\n", "abc", "x" },
		{ "/(x)?b/ ${1}$(1)$2-\n", "b", "-" },
		{ "!/b/ none\n", "abc", "" },
		{ "!/b/ none\n", "x", "none" },
		{ "if /^a/\n/z/ 1\nif !/q/\n/b/ 2\nendif\nendif\n/./ 3\n", "ab", "2" },
		{ "if /^a/\n/z/ 1\nif !/q/\n/b/ 2\nendif\nendif\n/./ 3\n", "xb", "3" },
		{ "if /^a/\n/z/ 1\nif !/q/\n/b/ 2\nendif\nendif\n/./ 3\n", "aqb", "3" },
		{ "|a/b| x y\n", "a/b", "x y" },
	};
	static const char *const bad[] = { "/a x\n", "/(/ x\n", "/a/Z x\n", "/a/\n", "endif\n",
		"if /a/\n", "if /a/ x\nendif\n", "a x\n" };
	char text[400], path[96];
	const char *got;

	snprintf(path, sizeof path, "%s/rx", dir);
	snprintf(text, sizeof text, "config 1\ntable t { type regexp path \"%s\" }\n", path);
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		write_file(path, t[i].file);
		if (find(text, t[i].key, &got) != (*t[i].want != 0) || strcmp(got, t[i].want))
			fail_msg("%s with %s: '%s' %s", t[i].file, t[i].key, got, told);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_file(path, bad[i]);
		if (find(text, "a", &got) >= 0)
			fail_msg("taken: %s", bad[i]);
	}
	write_file(path, "/^(a+)+$/ x\n"); /* costs more than is allowed */
	assert_true(find(text, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", &got) <= 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes), cmocka_unit_test(test_return_path),
		cmocka_unit_test(test_srs), cmocka_unit_test(test_reload),
		cmocka_unit_test(test_sqlite), cmocka_unit_test(test_regexp),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
