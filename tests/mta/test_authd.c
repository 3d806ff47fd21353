/*
 * authd as a process: the test plays the master on descriptor 3 and a front end,
 * an smtpd and the command line on channels. Run from the top of the build tree.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/client/auth_admin.h"
#include "tests/mta/play.h"

static const unsigned char key[SETUP_KEY] = "0123456789abcdef0123456789abcde";
static char dir[64];
static struct play play;
static int imapd, smtpd, cli;
static struct arena *arena; /* of answers */

static void
configure(void)
{
	struct buf text = { 0 };

	buf_printf(&text, "config 1\nhostname mx.example.test\nbase-dir %s\ndomain example.test\n"
	    "auth { password-cost 1 }\nlisten smtp { address 127.0.0.1 }\n", dir);
	play_config(&play, buf_cstr(&text));
	buf_done(&text);
}

static int
setup(void **st)
{
	static const enum role none[] = { ROLE_MAX };

	strcpy(dir, "/tmp/posthorn-authd-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	play_start(&play, "mta/authd", key, none);
	configure();
	arena = arena_new(0);
	imapd = play_channel(&play, SETUP_CALLER, ROLE_IMAPD, 77);
	smtpd = play_channel(&play, SETUP_CALLER, ROLE_SMTPD, 78);
	cli = play_channel(&play, SETUP_CALLER, ROLE_CLI, 0);
	return play_go(&play) ? 0 : -1;
}

static int
teardown(void **st)
{
	char cmd[96];
	int status = play_stop(&play);

	close(imapd), close(smtpd), close(cli);
	arena_free(&arena);
	snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	return system(cmd) || status;
}

static struct frame
call(int fd, uint16_t type, struct buf *b)
{
	return play_call(&play, fd, type, b);
}

/* ---- calls ---- */

static int
admin(enum auth_op op, const char *name, const char *password)
{
	struct auth_admin q = { .op = op, .name = str_c(name), .password = str_c(password),
		.quota = 1000 };
	struct wire_error we = { 0 };
	struct buf b = { 0 };
	struct frame f;

	auth_admin_put(&b, &q);
	f = call(cli, MSG_AUTH_ADMIN, &b);
	if (!(f.flags & WIRE_ERROR))
		return 0;
	assert_int_equal(wire_error_get(f.body, &we), 0);
	return we.code;
}

static struct login_answer
login(const char *user, const char *password)
{
	struct login_request q = { .mech = STR("PLAIN"), .user = str_c(user),
		.password = str_c(password), .service = STR("imap"), .client_ip = STR("192.0.2.1") };
	struct login_answer ans;
	struct buf b = { 0 };

	login_request_put(&b, &q);
	assert_int_equal(login_answer_get(call(imapd, MSG_AUTH_LOGIN, &b).body, &ans), 0);
	return ans;
}

static struct resolve_answer
resolve(const char *address)
{
	struct resolve_request q = { .address = str_c(address) };
	struct resolve_answer ans;
	struct buf b = { 0 };

	resolve_request_put(&b, &q);
	assert_int_equal(resolve_answer_get(call(smtpd, MSG_AUTH_RESOLVE, &b).body, arena, &ans), 0);
	return ans;
}

static struct login_answer
renew(int fd, struct str ticket)
{
	struct login_answer ans;
	struct buf b = { 0 };

	auth_ask_put(&b, ticket);
	assert_int_equal(login_answer_get(call(fd, MSG_AUTH_RENEW, &b).body, &ans), 0);
	return ans;
}

static void
test_mail_route(void **st)
{
	struct resolve_answer r;

	assert_int_equal(admin(AUTH_USER_ADD, "user1@example.test", "secret"), 0);
	assert_int_equal(admin(AUTH_USER_ADD, "user1@example.test", "secret"), -EEXIST);
	r = resolve("User1+x@Example.test");
	assert_int_equal(r.kind, RESOLVE_ACCOUNT);
	assert_true(str_eq(r.address, STR("user1@example.test")) && str_eq(r.detail, STR("x")));
	assert_int_equal(r.quota, 1000);
	assert_int_equal(r.slot, account_slot(r.account));
	assert_int_equal(resolve("nobody@example.test").kind, RESOLVE_NO_USER);
	assert_int_equal(resolve("user1@other.test").kind, RESOLVE_NOT_LOCAL);
	assert_int_equal(admin(AUTH_USER_SUSPEND, "user1@example.test", ""), 0);
	assert_int_equal(resolve("user1@example.test").kind, RESOLVE_DISABLED);
}

static void
test_login(void **st)
{
	struct login_answer a;
	struct ticket t;

	admin(AUTH_USER_ADD, "user1@example.test", "secret");
	a = login("user1@example.test", "secret");
	assert_true(a.ok);
	assert_int_equal(ticket_open(a.ticket, key, 77, &t), 0);
	assert_int_equal(ticket_open(a.ticket, key, 78, &t), -EACCES);
	assert_true(t.account == a.account && str_eq(t.user, STR("user1@example.test")));
	assert_true(login("USER1", "secret").ok); /* cached, and by the only domain */
	a = login("user1@example.test", "Secret");
	assert_false(a.ok || a.temporary);
	a = login("nobody@example.test", "secret");
	assert_false(a.ok || a.temporary);
	a = login("user1@example.test", "");
	assert_false(a.ok || a.temporary);
}

/* A change is told to front ends; tickets and cached passwords end with it. */
static void
test_revocation(void **st)
{
	static const enum auth_op ops[] = { AUTH_USER_PASSWD, AUTH_USER_SUSPEND, AUTH_USER_RESUME,
		AUTH_USER_DELETE };
	struct auth_changed c;
	struct login_answer a;
	struct frame f;

	admin(AUTH_USER_ADD, "user1@example.test", "secret");
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		a = login("user1@example.test", "secret");
		assert_int_equal(a.ok, ops[i] != AUTH_USER_RESUME);
		if (a.ok)
			assert_true(renew(imapd, a.ticket).ok);
		assert_int_equal(admin(ops[i], "user1@example.test", "secret"), 0);
		f = play_read(&play, imapd);
		assert_int_equal(f.type, MSG_AUTH_EV_CHANGED);
		assert_int_equal(f.id, 0);
		assert_int_equal(auth_changed_get(f.body, &c), 0);
		assert_true(str_eq(c.address, STR("user1@example.test")));
		assert_int_equal(c.deleted, ops[i] == AUTH_USER_DELETE);
		if (a.ok)
			assert_false(renew(imapd, a.ticket).ok || renew(imapd, a.ticket).temporary);
	}
	assert_false(login("user1@example.test", "secret").ok);
}

/* Who fails often waits; an unknown name waits like a known one, and the owner,
 * known from this network, does not wait for others' guesses. */
static void
test_delay(void **st)
{
	static const char *const names[] = { "user1@example.test", "nobody@example.test" };
	uint64_t start, took[2];

	admin(AUTH_USER_ADD, "user1@example.test", "secret");
	for (int n = 0; n < 2; n++) {
		start = clock_ms();
		for (int i = 0; i < 6; i++)
			assert_false(login(names[n], "wrong").ok);
		took[n] = clock_ms() - start;
		assert_true(took[n] >= 1500 && took[n] < 10000); /* 500 + 1000 */
	}
	assert_true(login("user1@example.test", "secret").ok);
	assert_false(login("user1@example.test", "wrong").ok);
	start = clock_ms();
	assert_true(login("user1@example.test", "secret").ok);
	assert_true(clock_ms() - start < 1000);
}

/* The table of peers holds at the callee too, and bad frames do not kill it. */
static void
test_bad_input(void **st)
{
	struct buf b = { 0 };

	auth_ask_put(&b, STR("user1@example.test"));
	assert_true(call(smtpd, MSG_AUTH_RESOLVE, &b).type == MSG_AUTH_RESOLVE);
	buf_puts(&b, "torn");
	assert_true(call(smtpd, MSG_AUTH_RESOLVE, &b).flags & WIRE_ERROR);
	buf_puts(&b, "torn");
	assert_true(call(cli, MSG_AUTH_ADMIN, &b).flags & WIRE_ERROR);
	assert_int_equal(resolve("nobody@example.test").kind, RESOLVE_NO_USER);
	assert_int_equal(kill(play.pid, 0), 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest t[] = {
		T(test_mail_route),
		T(test_login),
		T(test_revocation),
		T(test_delay),
		T(test_bad_input),
	};

	return cmocka_run_group_tests_name("mta/authd", t, NULL, NULL);
}
