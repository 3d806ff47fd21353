/* The directory: names, passwords, addresses, the admin's verbs; penalties. */
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

#include "lib/base/text.h"
#include "mta/directory.h"
#include "mta/penalty.h"
#include "mta/recent.h"

/* ---- names ---- */

static void
test_names(void **st)
{
	static const struct {
		const char *in;
		int want;
		const char *local, *domain;
	} t[] = {
		{ "user1@example.test", 0, "user1", "example.test" },
		{ "User1@EXAMPLE.test.", 0, "user1", "example.test" },
		{ "\"a b\"@example.test", 0, "a b", "example.test" },
		{ "\"a\\\"@b\"@example.test", 0, "a\"@b", "example.test" },
		{ "user1", 0, "user1", "" },
		{ "user1@b\xc3\xbc" "cher.test", 0, "user1", "xn--bcher-kva.test" },
		{ "user1@B\xc3\x9c" "CHER.test", 0, "user1", "xn--bcher-kva.test" },
		{ "m\xc3\xbcller@example.test", 0, "m\xc3\xbcller", "example.test" },
		{ "", -EINVAL, "", "" },
		{ "@example.test", -EINVAL, "", "" },
		{ "user1@", -EINVAL, "", "" },
		{ "user1@a..b", -EINVAL, "", "" },
		{ "user1@.a", -EINVAL, "", "" },
		{ "user1@a b", -EINVAL, "", "" },
		{ "us\ner1@example.test", -EINVAL, "", "" },
		{ "m\xfcller@example.test", -EINVAL, "", "" },
		{ "0123456789012345678901234567890123456789012345678901234567890123456789@a", -EINVAL, "",
		    "" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct mailname m;

		if (mailname_parse(str_c(t[i].in), &m) != t[i].want)
			fail_msg("%s", t[i].in);
		if (!t[i].want) {
			assert_string_equal(m.local, t[i].local);
			assert_string_equal(m.domain, t[i].domain);
		}
	}
}

/* ---- passwords ---- */

static void
test_prepare(void **st)
{
	static const struct {
		const char *in, *want; /* NULL: refused */
	} t[] = {
		{ "secret", "secret" },
		{ "pass\xc2\xa0word", "pass word" },
		{ "I\xc2\xadX", "IX" },
		{ "\xc3\xa9", "\xc3\xa9" },
		{ "", NULL },
		{ "a\x01", NULL },
		{ "a\x7f", NULL },
		{ "\xff", NULL },
		{ "\xc2\xad", NULL },
	};
	char out[PASSWORD_MAX + 1], big[PASSWORD_MAX + 1];

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		int r = password_prepare(str_c(t[i].in), out);

		assert_int_equal(r, t[i].want ? 0 : -EINVAL);
		if (t[i].want)
			assert_string_equal(out, t[i].want);
	}
	memset(big, 'x', sizeof big);
	assert_int_equal(password_prepare(str_from(big, PASSWORD_MAX), out), 0);
	assert_int_equal(password_prepare(str_from(big, PASSWORD_MAX + 1), out), -EINVAL);
	assert_int_equal(password_prepare(str_from("a\0b", 3), out), -EINVAL);
}

static void
test_hash(void **st)
{
	char a[PASSWORD_HASH_MAX], b[PASSWORD_HASH_MAX];
	struct err e;

	assert_int_equal(password_hash("secret", 1, a, &e), 0);
	assert_int_equal(password_hash("secret", 1, b, &e), 0);
	assert_true(str_starts(str_c(a), STR("$y$")));
	assert_string_not_equal(a, b);
	assert_int_equal(password_verify("secret", a), 1);
	assert_int_equal(password_verify("secret", b), 1);
	assert_int_equal(password_verify("Secret", a), 0);
	assert_int_equal(password_verify("secret", "$nothing"), -EINVAL);
}

/* The example of RFC 7677 section 3. */
static void
test_scram(void **st)
{
	struct scram_keys k = { .iterations = 4096 };
	struct buf b = { 0 };

	assert_int_equal(base64_get(&b, STR("W22ZaJ0SNY7soEsUEjb6gQ==")), 0);
	assert_int_equal(b.n, sizeof k.salt);
	memcpy(k.salt, b.p, b.n);
	assert_int_equal(scram_derive("pencil", &k), 0);
	buf_clear(&b);
	base64_put(&b, str_from(k.stored, 32));
	assert_string_equal(buf_cstr(&b), "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
	buf_clear(&b);
	base64_put(&b, str_from(k.server, 32));
	assert_string_equal(buf_cstr(&b), "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	buf_done(&b);
}

/* ---- the database ---- */

static char dir[64];
static struct directory *d;
static struct auth_changed changed;
static char changed_name[DIRECTORY_NAME_MAX + 1];
static struct err err;
static char listed[1024];

static void
add_name(void *arg, const struct auth_row *r)
{
	size_t n = strlen(listed);

	snprintf(listed + n, sizeof listed - n, "%.*s%s ", STR_ARG(r->name),
	    r->state == AUTH_SUSPENDED ? "(suspended)" : "");
}

static int
admin(enum auth_op op, const char *name, const char *password)
{
	struct auth_admin q = { .op = op, .name = str_c(name), .password = str_c(password),
		.quota = AUTH_QUOTA_DEFAULT };

	listed[0] = '\0';
	memset(&changed, 0, sizeof changed);
	return directory_admin(d, &q, 1, add_name, NULL, &changed, changed_name, &err);
}

static int
setup(void **st)
{
	static const struct str domains[] = { STR_INIT("example.test"), STR_INIT("b\xc3\xbc" "cher.test") };

	strcpy(dir, "/tmp/posthorn-directory-XXXXXX");
	if (!mkdtemp(dir) || directory_open(dir, &d, &err) ||
	    directory_configured(d, domains, 2, &err))
		return -1;
	return admin(AUTH_USER_ADD, "User1@Example.Test", "secret1") != 1 ||
	    admin(AUTH_USER_ADD, "user2@example.test", "secret2") != 1 ||
	    admin(AUTH_USER_ADD, "a+b@example.test", "secret3") != 1;
}

static int
teardown(void **st)
{
	char cmd[128];

	directory_close(&d);
	snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	return system(cmd);
}

static void
test_resolve(void **st)
{
	static const struct {
		const char *in;
		int want;
		const char *address, *detail;
	} t[] = {
		{ "user1@example.test", DIRECTORY_ACCOUNT, "user1@example.test", "" },
		{ "USER1@EXAMPLE.TEST", DIRECTORY_ACCOUNT, "user1@example.test", "" },
		{ "\"user1\"@example.test", DIRECTORY_ACCOUNT, "user1@example.test", "" },
		{ "user1+Lists@example.test", DIRECTORY_ACCOUNT, "user1@example.test", "Lists" },
		{ "user1+a+b@example.test", DIRECTORY_ACCOUNT, "user1@example.test", "a+b" },
		{ "user1+@example.test", DIRECTORY_ACCOUNT, "user1@example.test", "" },
		{ "a+b@example.test", DIRECTORY_ACCOUNT, "a+b@example.test", "" },
		{ "+a@example.test", DIRECTORY_NO_USER, "", "" },
		{ "nobody@example.test", DIRECTORY_NO_USER, "", "" },
		{ "user1-x@example.test", DIRECTORY_NO_USER, "", "" },
		{ "postmaster@example.test", DIRECTORY_ACCOUNT, "user1@example.test", "" },
		{ "PostMaster+x@example.test", DIRECTORY_ACCOUNT, "user1@example.test", "x" },
		{ "postmaster@b\xc3\xbc" "cher.test", DIRECTORY_NO_USER, "", "" },
		{ "user1@other.test", DIRECTORY_NOT_LOCAL, "", "" },
		{ "user1", DIRECTORY_NO_USER, "", "" },
		{ "Postmaster", DIRECTORY_ACCOUNT, "user1@example.test", "" },
		{ "", DIRECTORY_NOT_LOCAL, "", "" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct directory_account a = { 0 };
		struct str detail = STR_NULL;

		if (directory_resolve(d, str_c(t[i].in), STR("+"), &a, &detail) != t[i].want)
			fail_msg("%s", t[i].in);
		assert_string_equal(a.address, t[i].address);
		assert_true(str_eq(detail, str_c(t[i].detail)));
	}
}

static void
test_ids(void **st)
{
	struct directory_account a, b;

	assert_int_equal(directory_login(d, STR("user2@example.test"), &a), 0);
	assert_true(a.id > 0 && a.id <= INT64_MAX);
	assert_int_equal(admin(AUTH_USER_DELETE, "user2@example.test", ""), 1);
	assert_true(changed.deleted && !changed.enabled && changed.account == a.id);
	assert_true(changed.generation > a.generation);
	assert_int_equal(directory_account(d, a.id, &b), -ENOENT);
	assert_int_equal(directory_login(d, STR("user2@example.test"), &b), -ENOENT);
	assert_int_equal(admin(AUTH_USER_ADD, "user2@example.test", "again"), 1);
	assert_int_equal(directory_login(d, STR("user2@example.test"), &b), 0);
	assert_true(a.id != b.id);
}

static void
test_password_change(void **st)
{
	struct directory_account a, b;

	assert_int_equal(directory_login(d, STR("user1@example.test"), &a), 0);
	assert_int_equal(password_verify("secret1", a.hash), 1);
	assert_int_equal(admin(AUTH_USER_PASSWD, "user1@example.test", "new"), 1);
	assert_int_equal(directory_login(d, STR("user1@example.test"), &b), 0);
	assert_int_equal(password_verify("new", b.hash), 1);
	assert_int_equal(password_verify("secret1", b.hash), 0);
	assert_true(b.id == a.id && b.generation > a.generation);
	assert_true(changed.enabled && changed.generation == b.generation);
	assert_string_equal(changed_name, "user1@example.test");
}

static void
test_suspend(void **st)
{
	struct directory_account a;
	struct str detail;

	assert_int_equal(admin(AUTH_USER_SUSPEND, "user1@example.test", ""), 1);
	assert_false(changed.enabled);
	assert_int_equal(directory_resolve(d, STR("user1@example.test"), STR("+"), &a, &detail),
	    DIRECTORY_ACCOUNT);
	assert_int_equal(a.state, AUTH_SUSPENDED);
	assert_int_equal(admin(AUTH_USER_LIST, "user1", ""), 0);
	assert_string_equal(listed, "user1@example.test(suspended) ");
	assert_int_equal(admin(AUTH_USER_RESUME, "user1@example.test", ""), 1);
	assert_true(changed.enabled);
}

static void
test_refusals(void **st)
{
	static const struct {
		enum auth_op op;
		const char *name, *password;
		int want;
	} t[] = {
		{ AUTH_USER_ADD, "user1@example.test", "x", -EEXIST },
		{ AUTH_USER_ADD, "USER1@example.test", "x", -EEXIST },
		{ AUTH_USER_ADD, "user9@other.test", "x", -ENOENT },
		{ AUTH_USER_ADD, "user9", "x", -EINVAL },
		{ AUTH_USER_ADD, "\"a b\"@example.test", "x", -EINVAL },
		{ AUTH_USER_ADD, ".a@example.test", "x", -EINVAL },
		{ AUTH_USER_ADD, "user9@example.test", "", -EINVAL },
		{ AUTH_USER_SHOW, "user9@example.test", "", -ENOENT },
		{ AUTH_USER_PASSWD, "user9@example.test", "x", -ENOENT },
		{ AUTH_USER_DELETE, "user9@example.test", "", -ENOENT },
		{ AUTH_DOMAIN_ADD, "exa mple", "", -EINVAL },
		{ AUTH_DOMAIN_DELETE, "other.test", "", -ENOENT },
		{ AUTH_DOMAIN_DELETE, "example.test", "", -EPERM },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		err.text[0] = '\0';
		if (admin(t[i].op, t[i].name, t[i].password) != t[i].want)
			fail_msg("%d %s: %s", t[i].op, t[i].name, err.text);
		assert_string_not_equal(err.text, "");
	}
	admin(AUTH_USER_LIST, "user9", "");
	assert_string_equal(listed, ""); /* nothing half done */
}

static void
test_domains(void **st)
{
	struct directory_account a;
	struct str detail;
	static const struct str none[] = { STR_INIT("b\xc3\xbc" "cher.test") };

	assert_int_equal(admin(AUTH_DOMAIN_ADD, "New.Test", ""), 1);
	assert_int_equal(changed.account, 0);
	assert_int_equal(admin(AUTH_DOMAIN_ADD, "new.test", ""), -EEXIST);
	assert_int_equal(admin(AUTH_USER_ADD, "user1@new.test", "x"), 1);
	assert_int_equal(admin(AUTH_USER_ADD, "user2@new.test", "x"), 1);
	assert_int_equal(admin(AUTH_DOMAIN_DELETE, "new.test", ""), -ENOTEMPTY);
	assert_int_equal(directory_admin(d, &(struct auth_admin){ .op = AUTH_DOMAIN_ADD,
	    .name = STR("new.test"), .postmaster = STR("user2@new.test") }, 1, add_name, NULL, &changed,
	    changed_name, &err), 1);
	assert_int_equal(directory_resolve(d, STR("postmaster@new.test"), STR("+"), &a, &detail),
	    DIRECTORY_ACCOUNT);
	assert_string_equal(a.address, "user2@new.test");
	assert_int_equal(admin(AUTH_USER_DELETE, "user1@new.test", ""), 1);
	assert_int_equal(admin(AUTH_USER_DELETE, "user2@new.test", ""), 1);
	assert_int_equal(admin(AUTH_DOMAIN_DELETE, "new.test", ""), 1);
	assert_int_equal(admin(AUTH_DOMAIN_LIST, "", ""), 0);
	assert_string_equal(listed, "example.test xn--bcher-kva.test ");

	/* a domain that leaves the configuration takes no mail, and loses nothing */
	assert_int_equal(directory_configured(d, none, 1, &err), 0);
	assert_int_equal(directory_resolve(d, STR("user1@example.test"), STR("+"), &a, &detail),
	    DIRECTORY_NOT_LOCAL);
	assert_int_equal(directory_login(d, STR("user1@example.test"), &a), -ENOENT);
	assert_int_equal(admin(AUTH_DOMAIN_ADD, "example.test", ""), 1);
	assert_int_equal(directory_login(d, STR("user1@example.test"), &a), 0);
}

static void
test_bare_name(void **st)
{
	static const struct str one[] = { STR_INIT("example.test") };
	struct directory_account a;

	assert_int_equal(directory_login(d, STR("user1"), &a), -ENOENT); /* two domains */
	assert_int_equal(directory_configured(d, one, 1, &err), 0);
	assert_int_equal(directory_login(d, STR("user1"), &a), 0);
	assert_string_equal(a.address, "user1@example.test");
}

static void
sql_on_file(const char *text)
{
	char path[96];
	sqlite3 *db;

	snprintf(path, sizeof path, "%s/directory.db", dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void
test_open(void **st)
{
	static const struct {
		const char *sql;
		int want;
	} t[] = {
		{ "PRAGMA user_version = 3", -ENOTSUP },
		{ "PRAGMA user_version = 2; PRAGMA application_id = 1", -EBADMSG },
		{ "PRAGMA application_id = 1346921577", 0 },
	};
	struct directory_account a;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		directory_close(&d);
		sql_on_file(t[i].sql);
		assert_int_equal(directory_open(dir, &d, &err), t[i].want);
	}
	assert_int_equal(directory_login(d, STR("user1@example.test"), &a), 0);
}

static void
test_damaged(void **st)
{
	char path[96];
	FILE *f;

	directory_close(&d);
	snprintf(path, sizeof path, "%s/directory.db", dir);
	f = fopen(path, "r+");
	assert_non_null(f);
	for (long at = 4096 + 8; at < 8 * 4096; at += 4096) {
		fseek(f, at, SEEK_SET);
		fwrite("damaged damaged damaged damaged", 1, 31, f);
	}
	fclose(f);
	assert_int_equal(directory_open(dir, &d, &err), -EBADMSG);
}

static void
test_lock(void **st)
{
	int a, b;

	assert_int_equal(directory_lock(dir, &a, &err), 0);
	assert_int_equal(directory_lock(dir, &b, &err), -EAGAIN);
	close(a);
	assert_int_equal(directory_lock(dir, &b, &err), 0);
	close(b);
}

/* ---- delays ---- */

static void
test_penalty(void **st)
{
	static const uint64_t want[] = { 0, 0, 0, 500, 1000, 2000, 3000, 3000 };
	struct penalty *p = penalty_new(100, 2, 3000);

	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		assert_int_equal(penalty_enter(p, 1, 0), want[i]);
		penalty_leave(p, 1, PENALTY_FAILED, 0);
	}
	assert_int_equal(penalty_enter(p, 2, 0), 0); /* another key is not touched */
	penalty_leave(p, 2, PENALTY_UNKNOWN, 0);
	assert_int_equal(penalty_enter(p, 1, 20 * 60 * 1000), 0); /* 8 failures halve twice */
	penalty_leave(p, 1, PENALTY_PASSED, 20 * 60 * 1000);
	for (size_t i = 0; i < 4; i++) /* in parallel: as if each had failed */
		assert_int_equal(penalty_enter(p, 1, 20 * 60 * 1000), want[i]);
	assert_int_equal(penalty_running(p, 1), 4);
	for (uint64_t k = 10; k < 1000; k++) {
		penalty_enter(p, k, 0);
		penalty_leave(p, k, PENALTY_FAILED, 0);
	}
	penalty_free(&p);
	assert_null(p);
}

static void
test_recent(void **st)
{
	struct recent *r = recent_new(2, 1000);
	struct recent_key a = recent_key(r, 1, 1, STR("secret")),
	                  b = recent_key(r, 1, 2, STR("secret")),
	                  c = recent_key(r, 1, 1, STR("Secret"));

	assert_false(recent_has(r, a, 0));
	recent_add(r, a, 0);
	assert_true(recent_has(r, a, 999));
	assert_false(recent_has(r, a, 1000));
	assert_false(recent_has(r, b, 0));
	assert_false(recent_has(r, c, 0));
	recent_add(r, b, 0);
	recent_add(r, c, 0); /* the oldest makes room */
	assert_false(recent_has(r, a, 0));
	assert_true(recent_has(r, b, 0) && recent_has(r, c, 0));
	recent_clear(r);
	assert_false(recent_has(r, b, 0));
	recent_free(&r);
}

#define WITH_DB(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_prepare),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_scram),
		WITH_DB(test_resolve),
		WITH_DB(test_ids),
		WITH_DB(test_password_change),
		WITH_DB(test_suspend),
		WITH_DB(test_refusals),
		WITH_DB(test_domains),
		WITH_DB(test_bare_name),
		WITH_DB(test_open),
		WITH_DB(test_damaged),
		WITH_DB(test_lock),
		cmocka_unit_test(test_penalty),
		cmocka_unit_test(test_recent),
	};

	return cmocka_run_group_tests_name("mta/directory", t, NULL, NULL);
}
