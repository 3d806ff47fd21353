/*
 * submitd as a process: the test plays its callers (imapd, maild, the command line)
 * and those it calls (authd, queued). What the queue got is looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/client/auth.h"
#include "lib/client/queue_wire.h"
#include "lib/client/submit.h"
#include "tests/mta/play.h"

enum { CHANNEL = 77 };

static const unsigned char key[SETUP_KEY] = "0123456789abcdef0123456789abcde";
static struct play play;
static int imapd, maild, cli, authd, queued;
static struct {
	struct envelope env;
	struct str content;
	unsigned n;
	bool refuse;             /* 452 */
} queue;

/* ---- those it calls ---- */

/* userN@example.test is account N; user9 is suspended. */
static void
resolve(const struct frame *f)
{
	struct resolve_answer a = { .kind = RESOLVE_NO_USER };
	struct buf b = { 0 };
	struct resolve_request q;
	struct str who;

	assert_int_equal(resolve_request_get(f->body, &q), 0);
	who = q.address;
	if (!str_ends(who, STR("@example.test")))
		a.kind = RESOLVE_NOT_LOCAL;
	else if (str_starts(who, STR("user9")))
		a.kind = RESOLVE_DISABLED;
	else if (str_starts(who, STR("user")))
		a = (struct resolve_answer){ .kind = RESOLVE_ACCOUNT, .address = who,
			.account = (uint64_t)(who.p[4] - '0'), .volume = 1, .slot = 5 };
	resolve_answer_put(&b, &a);
	play_send(authd, f->type, WIRE_ANSWER, f->id, &b, -1);
	buf_done(&b);
}

static void
account(const struct frame *f)
{
	struct account_record r = { .generation = 3, .enabled = true };
	struct buf b = { 0 };

	assert_int_equal(auth_ask_id_get(f->body, &r.account), 0);
	account_record_put(&b, &r);
	play_send(authd, f->type, WIRE_ANSWER, f->id, &b, -1);
	buf_done(&b);
}

static void
serve_authd(void)
{
	struct frame f = play_read(&play, authd);

	if (f.type == MSG_AUTH_RESOLVE)
		resolve(&f);
	else if (f.type == MSG_AUTH_ACCOUNT)
		account(&f);
	else
		fail();
}

static void
take_fields(struct str body)
{
	struct wire_field w;

	while (wire_next(&body, &w) > 0) {
		if (w.tag == QUEUE_ENVELOPE)
			assert_int_equal(envelope_get(w.v, play.arena, &queue.env), 0);
		else if (w.tag == QUEUE_CONTENT && queue.content.n)
			queue.content = arena_printf(play.arena, "%.*s%.*s", STR_ARG(queue.content),
			    STR_ARG(w.v));
		else if (w.tag == QUEUE_CONTENT)
			queue.content = w.v;
	}
}

static void
serve_queued(void)
{
	struct frame f = play_read(&play, queued);
	struct queue_answer a = { .spool_id = 0xabc0 + queue.n, .outcome = QUEUE_ACCEPTED, .smtp = 250 };
	struct buf b = { 0 };

	take_fields(f.body);
	if (f.type == MSG_QUEUE_ACCEPT) {
		queue.n++;
		if (queue.refuse)
			a = (struct queue_answer){ .outcome = QUEUE_TEMPFAIL, .smtp = 452,
				.enhanced = STR("4.3.1"), .text = STR("full") };
		queue_answer_put(&b, &a);
	}
	play_send(queued, f.type, WIRE_ANSWER, f.id, &b, -1);
	buf_done(&b);
}

static struct frame
answer_of(int caller)
{
	struct pollfd p[] = { { caller, POLLIN, 0 }, { authd, POLLIN, 0 }, { queued, POLLIN, 0 } };

	for (;;) {
		assert_true(poll(p, 3, 20000) > 0);
		if (p[1].revents)
			serve_authd();
		if (p[2].revents)
			serve_queued();
		if (p[0].revents)
			return play_read(&play, caller);
	}
}

/* ---- set-up ---- */

static int
setup(void **st)
{
	static const enum role callees[] = { ROLE_AUTHD, ROLE_QUEUED, ROLE_MAX };

	memset(&queue, 0, sizeof queue);
	play_start(&play, "mta/submitd", key, callees);
	play_config(&play, "config 1\nhostname mx.example.test\nbase-dir /nowhere\n"
	    "domain example.test\nlisten smtp { address 127.0.0.1 }\n"
	    "smtp { message-size-limit 400K\nrecipient-limit 100 }\n");
	authd = play_channel(&play, SETUP_CALLEE, ROLE_AUTHD, 5);
	queued = play_channel(&play, SETUP_CALLEE, ROLE_QUEUED, 6);
	imapd = play_channel(&play, SETUP_CALLER, ROLE_IMAPD, CHANNEL);
	maild = play_channel(&play, SETUP_CALLER, ROLE_MAILD, 78);
	cli = play_channel(&play, SETUP_CALLER, ROLE_CLI, 0);
	return play_go(&play) ? 0 : -1;
}

static int
teardown(void **st)
{
	int status = play_stop(&play);

	close(imapd), close(maild), close(cli), close(authd), close(queued);
	return status;
}

/* ---- calls ---- */

static struct str
ticket(uint64_t who, uint64_t channel, uint64_t generation, uint32_t rights)
{
	struct ticket t = { .account = who, .generation = generation, .channel = channel,
		.expires_ms = clock_real_us() / 1000 + 60000, .rights = rights,
		.user = arena_printf(play.arena, "user%u@example.test", (unsigned)who) };
	struct buf b = { 0 };
	struct str s;

	ticket_seal(&b, key, &t);
	s = arena_dup(play.arena, buf_view(&b));
	buf_done(&b);
	return s;
}

/* fd: as packed, or -2 for what submit_pack makes. */
static struct submit_answer
ask(int caller, uint16_t type, const struct submit_request *q, int fd)
{
	static uint64_t id;
	struct submit_answer a = { 0 };
	struct buf b = { 0 };
	int packed = -1;

	if (fd == -2)
		assert_int_equal(submit_pack(q, &b, &packed), 0);
	else
		submit_request_put(&b, q);
	play_send(caller, type, 0, ++id, &b, fd == -2 ? packed : fd);
	buf_done(&b);
	assert_int_equal(submit_answer_get(answer_of(caller).body, play.arena, &a), 0);
	return a;
}

#define TEXT "Subject: x\r\n\r\nhello\r\n"

static struct submit_request
request(const char *from, const char *to)
{
	struct submit_request q = { .ticket = ticket(1, CHANNEL, 3, TICKET_MAIL | TICKET_SUBMIT),
		.sender = str_c(from), .n_rcpts = 1, .content = STR(TEXT) };

	q.rcpts = ARENA_ARRAY(play.arena, struct str, 1);
	q.rcpts[0] = str_c(to);
	return q;
}

static void
refused(const struct submit_request *q, unsigned smtp, const char *enhanced)
{
	unsigned before = queue.n;
	struct submit_answer a = ask(imapd, MSG_SUBMIT, q, -2);

	assert_int_equal(a.smtp, smtp);
	assert_true(str_eq(a.enhanced, str_c(enhanced)));
	assert_true(a.text.n > 0);
	assert_int_equal(queue.n, before);
}

/* ---- tests ---- */

static void
test_accepted(void **st)
{
	struct submit_request q = request("user1@example.test", "user2@example.test");
	struct submit_answer a = ask(imapd, MSG_SUBMIT, &q, -2);
	const struct envelope *e = &queue.env;

	assert_int_equal(a.smtp, 250);
	assert_int_equal(a.spool_id, 0xabc0);
	assert_true(str_eq(e->sender, STR("user1@example.test")));
	assert_true(str_eq(e->user, STR("user1@example.test")));
	assert_true(str_eq(e->tenant, STR("user1@example.test")));
	assert_int_equal(e->flags, ENV_LOCAL);
	assert_int_equal(e->n_rcpts, 1);
	assert_int_equal(e->rcpts[0].account, 2);
	assert_int_equal(e->rcpts[0].slot, 5);
	assert_int_equal(e->dedup_key.n, 0);
	assert_true(str_starts(queue.content, STR("Received: by mx.example.test (Posthorn, from imapd)")));
	assert_true(str_find(queue.content, STR("\r\nMessage-ID: <")) > 0);
	assert_true(str_find(queue.content, STR("\r\nDate: ")) > 0);
	assert_true(str_ends(queue.content, STR(TEXT)));
}

static void
test_tickets(void **st)
{
	struct submit_request q = request("user1@example.test", "user2@example.test");

	q.ticket = STR_NULL;
	refused(&q, 530, "5.7.0");
	q.ticket = STR("made up");
	refused(&q, 530, "5.7.0");
	q.ticket = ticket(1, CHANNEL + 1, 3, TICKET_SUBMIT); /* another front end's */
	refused(&q, 530, "5.7.0");
	q.ticket = ticket(1, CHANNEL, 3, TICKET_MAIL);       /* not for submitting */
	refused(&q, 530, "5.7.0");
	q.ticket = ticket(1, CHANNEL, 2, TICKET_SUBMIT);     /* before the new password */
	refused(&q, 530, "5.7.0");
	q.ticket = ticket(1, CHANNEL, 3, TICKET_SUBMIT);
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, -2).smtp, 250);
}

static void
test_addresses(void **st)
{
	struct submit_request q = request("user2@example.test", "user1@example.test");
	struct str many[101];

	refused(&q, 553, "5.7.1");
	q = request("not an address", "user2@example.test");
	refused(&q, 501, "5.1.7");
	q = request("user1@example.test", "nobody@example.test");
	refused(&q, 550, "5.1.1");
	q = request("user1@example.test", "user9@example.test");
	refused(&q, 550, "5.2.1");
	q = request("user1@example.test", "someone@elsewhere.test");
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, -2).smtp, 250);
	assert_int_equal(queue.env.rcpts[0].route, ROUTE_REMOTE);
	assert_true(str_eq(queue.env.rcpts[0].address, STR("someone@elsewhere.test")));
	assert_int_equal(queue.env.rcpts[0].next_hop.n, 0);
	q = request("user1@example.test", "user2@example.test\r\nX: y");
	refused(&q, 501, "5.1.3");
	q.n_rcpts = 0;
	refused(&q, 554, "5.5.1");
	for (size_t i = 0; i < 101; i++)
		many[i] = STR("user2@example.test");
	many[2] = STR("nobody@example.test");
	q.rcpts = many;
	q.n_rcpts = 100;
	refused(&q, 550, "5.1.1"); /* one is enough */
	q.n_rcpts = 101;
	refused(&q, 550, "5.5.3");
	q = request("", "user2@example.test");
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, -2).smtp, 250);
	assert_int_equal(queue.env.sender.n, 0);
}

static void
test_partial(void **st)
{
	struct submit_request q = request("user1@example.test", "user2@example.test");
	struct str to[3] = { STR("nobody@example.test"), STR("user2@example.test"),
		STR("user9@example.test") };
	struct submit_answer a;
	unsigned before = queue.n;

	q.rcpts = to;
	q.n_rcpts = 3;
	q.partial = true;
	a = ask(imapd, MSG_SUBMIT, &q, -2);
	assert_int_equal(a.smtp, 250);
	assert_int_equal(queue.env.n_rcpts, 1);
	assert_int_equal(a.n_refused, 2);
	assert_true(str_eq(a.refused[0].address, to[0]));
	assert_int_equal(a.refused[0].smtp, 550);
	assert_true(str_eq(a.refused[1].enhanced, STR("5.2.1")));
	q.n_rcpts = 1;
	a = ask(imapd, MSG_SUBMIT, &q, -2);
	assert_int_equal(a.smtp, 250);
	assert_int_equal(a.spool_id, 0);
	assert_int_equal(a.n_refused, 1);
	assert_int_equal(queue.n, before + 1);
}

static void
test_content(void **st)
{
	struct submit_request q = request("user1@example.test", "user2@example.test");
	char *big = arena_alloc(play.arena, 500000);

	q.content = STR("Subject: x\r\n\r\nlone\nline\r\n");
	refused(&q, 550, "5.6.11");
	q.content = STR("Subject: x\r\n\r\nlone\rreturn\r\n");
	refused(&q, 550, "5.6.11");
	q.content = STR("Subject: x\r\n\r\n.\r");
	refused(&q, 550, "5.6.11");
	q.content = STR("Subject: x\r\n\r\nno end");
	refused(&q, 554, "5.6.0");
	memset(big, 'x', 500000);
	q.content = str_from(big, 100000);
	refused(&q, 554, "5.6.0"); /* a line of 100,000 */
	for (size_t i = 78; i + 1 < 500000; i += 80)
		memcpy(big + i, "\r\n", 2);
	q.content = str_from(big, 500000);
	refused(&q, 552, "5.3.4");
	q.content = str_from(big, 300000);
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, -2).smtp, 250);
	assert_true(str_ends(queue.content, q.content));
	q.content = STR("Subject: x\r\n\r\nh\xc3\xa9llo\r\n");
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, -2).smtp, 250);
	assert_int_equal(queue.env.body, 1);
}

/* A descriptor that its sender could change while it is read is not taken. */
static void
test_descriptors(void **st)
{
	struct submit_request q = request("user1@example.test", "user2@example.test");
	int fd = memfd_create("t", MFD_ALLOW_SEALING | MFD_CLOEXEC), sv[2];

	q.content = STR_NULL;
	assert_int_equal(write(fd, TEXT, strlen(TEXT)), strlen(TEXT));
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, dup(fd)).smtp, 554);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, dup(fd)).smtp, 554);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, fd).smtp, 250);
	assert_true(str_ends(queue.content, STR(TEXT)));
	assert_int_equal(pipe(sv), 0);
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, sv[0]).smtp, 554);
	close(sv[1]);
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, open("/dev/null", O_RDONLY)).smtp, 554);
}

/* maild and the command line show no ticket; the store is exempt from pressure. */
static void
test_callers(void **st)
{
	struct submit_request q = request("someone@elsewhere.test", "user2@example.test");
	struct queue_pressure_event stop = { .level = 2 };
	struct buf b = { 0 };

	q.ticket = STR_NULL;
	assert_int_equal(ask(maild, MSG_SUBMIT, &q, -2).smtp, 250);
	assert_int_equal(queue.env.flags, ENV_LOCAL | ENV_EXEMPT);
	assert_true(str_find(queue.content, STR("\r\nMessage-ID: <")) < 0);
	assert_int_equal(ask(cli, MSG_SUBMIT_ADMIN, &q, -2).smtp, 250);
	assert_int_equal(queue.env.flags, ENV_LOCAL);
	queue_pressure_put(&b, &stop);
	play_send(queued, MSG_QUEUE_EV_PRESSURE, 0, 0, &b, -1);
	buf_done(&b);
	assert_int_equal(ask(maild, MSG_SUBMIT, &q, -2).smtp, 250);
	assert_int_equal(ask(cli, MSG_SUBMIT_ADMIN, &q, -2).smtp, 452);
	q = request("user1@example.test", "user2@example.test");
	refused(&q, 452, "4.3.1");
}

static void
test_dedup_keys(void **st)
{
	struct submit_request q = request("user1@example.test", "user2@example.test");
	struct str first;
	char longer[SUBMIT_DEDUP_MAX + 1];

	q.dedup_key = STR("key");
	ask(imapd, MSG_SUBMIT, &q, -2);
	first = queue.env.dedup_key;
	assert_int_equal(first.n, 32);
	ask(imapd, MSG_SUBMIT, &q, -2);
	assert_true(str_eq(queue.env.dedup_key, first));
	q.dedup_key = STR("key2");
	ask(imapd, MSG_SUBMIT, &q, -2);
	assert_false(str_eq(queue.env.dedup_key, first));
	q.dedup_key = STR("key"); /* another user's is another key */
	q.sender = STR("user2@example.test");
	q.ticket = ticket(2, CHANNEL, 3, TICKET_SUBMIT);
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, -2).smtp, 250);
	assert_false(str_eq(queue.env.dedup_key, first));
	memset(longer, 'k', sizeof longer);
	q.dedup_key = str_from(longer, sizeof longer);
	refused(&q, 554, "5.5.4");
}

static void
test_queue_refuses(void **st)
{
	struct submit_request q = request("user1@example.test", "user2@example.test");
	struct submit_answer a;

	queue.refuse = true;
	a = ask(imapd, MSG_SUBMIT, &q, -2);
	assert_int_equal(a.smtp, 452);
	assert_true(str_eq(a.enhanced, STR("4.3.1")));
	assert_int_equal(a.spool_id, 0);
}

static void
test_bad_frames(void **st)
{
	struct submit_request q = request("user1@example.test", "user2@example.test");
	struct buf b = { 0 };

	buf_puts(&b, "torn");
	assert_true(play_call(&play, imapd, MSG_SUBMIT, &b).flags & WIRE_ERROR);
	submit_request_put(&b, &q);
	assert_true(play_call(&play, imapd, MSG_SUBMIT_ADMIN, &b).flags & WIRE_ERROR);
	assert_int_equal(ask(imapd, MSG_SUBMIT, &q, -2).smtp, 250);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest t[] = {
		T(test_accepted),
		T(test_tickets),
		T(test_addresses),
		T(test_partial),
		T(test_content),
		T(test_descriptors),
		T(test_callers),
		T(test_dedup_keys),
		T(test_queue_refuses),
		T(test_bad_frames),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("mta/submitd", t, NULL, NULL);
}
