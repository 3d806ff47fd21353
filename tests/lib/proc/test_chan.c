/*
 * Channels between two real processes: this one calls, a forked one serves. Calls
 * of coroutines and threads, answers at once, late and from other threads, peers
 * that die with calls in flight, descriptors both ways, frames that break the rules.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/proc/chan_private.h"

enum {
	MSG_ECHO = MSG_TYPE(ROLE_FILTERD, 1),
	MSG_LATE,    /* answered by another thread, 10 ms later */
	MSG_SILENT,  /* never answered */
	MSG_DIE,
	MSG_REFUSE,
	MSG_FILE,    /* takes a descriptor, answers with another */
	MSG_EVENT,   /* an event, then the answer */
	MSG_SLOW,    /* answered after 150 ms */
	MSG_UNKNOWN = MSG_TYPE(ROLE_FILTERD, 60),
	MSG_FORBIDDEN = MSG_TYPE(ROLE_FILTERD, 100), /* the table ends at 63 */
};

/* ---- the callee ---- */

struct later {
	struct peer *peer;
	uint64_t id;
	uint16_t type;
};

static void
on_echo(struct peer *p, struct frame *f)
{
	struct buf b = { 0 };

	buf_str(&b, f->body);
	chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&b);
}

static void *
answer_late(void *arg)
{
	struct later *l = arg;

	usleep(10000);
	chan_answer(l->peer, l->id, l->type, &(struct buf){ 0 }, -1);
	chan_peer_flush(l->peer);
	chan_peer_unref(&l->peer);
	free(l);
	return NULL;
}

static void
on_late(struct peer *p, struct frame *f)
{
	struct later *l = malloc(sizeof *l);
	pthread_t t;

	*l = (struct later){ chan_peer_ref(p), f->id, f->type };
	if (pthread_create(&t, NULL, answer_late, l))
		_exit(1);
	pthread_detach(t);
}

static void
on_silent(struct peer *p, struct frame *f)
{
}

static void
on_die(struct peer *p, struct frame *f)
{
	_exit(0);
}

static void
on_refuse(struct peer *p, struct frame *f)
{
	struct wire_error e = { .code = -EDQUOT, .smtp = 452, .enhanced = STR("4.2.2"),
		.text = STR("no room") };

	chan_answer_error(p, f->id, f->type, &e);
}

static void
on_file(struct peer *p, struct frame *f)
{
	int mem = memfd_create("answer", MFD_CLOEXEC);

	if (f->fd < 0 || write(f->fd, "seen", 4) != 4 || write(mem, "answer", 6) != 6)
		_exit(1);
	close(f->fd);
	chan_answer(p, f->id, f->type, NULL, mem);
}

static void
on_event(struct peer *p, struct frame *f)
{
	struct buf b = { 0 };

	buf_str(&b, f->body);
	chan_event(p, MSG_EVENT, &b, -1);
	chan_answer(p, f->id, f->type, NULL, -1);
	buf_done(&b);
}

static void
on_slow(struct peer *p, struct frame *f)
{
	co_sleep(150);
	chan_answer(p, f->id, f->type, NULL, -1);
}

static const struct msg_handler handlers[] = {
	{ MSG_ECHO, "echo", on_echo, 0 },
	{ MSG_LATE, "late", on_late, 0 },
	{ MSG_SILENT, "silent", on_silent, 0 },
	{ MSG_DIE, "die", on_die, 0 },
	{ MSG_REFUSE, "refuse", on_refuse, 0 },
	{ MSG_FILE, "file", on_file, 0 },
	{ MSG_EVENT, "event", on_event, 0 },
	{ MSG_SLOW, "slow", on_slow, MSG_CO },
	{ MSG_FORBIDDEN, "forbidden", on_echo, 0 },
};

static void
caller_went(struct service *s, struct peer *p, bool up)
{
	if (!up)
		_exit(0);
}

static const struct service_spec callee = {
	.role = ROLE_FILTERD,
	.handlers = handlers,
	.n_handlers = sizeof handlers / sizeof *handlers,
	.peer = caller_went,
};

static void
serve(int fd)
{
	struct err e;
	struct loop *l = loop_new(&e);

	alarm(60);
	chan_set_up(l, &callee, NULL);
	chan_peer_connect(ROLE_SMTPD, 0, 7, fd);
	loop_run(l);
	_exit(1);
}

/* ---- the caller ---- */

static const struct service_spec caller = { .role = ROLE_SMTPD };
static struct loop *loop;
static pid_t child;
static unsigned running; /* coroutines and threads of the test */

static void
start_callee(void)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		close(sv[0]);
		serve(sv[1]);
	}
	close(sv[1]);
	chan_connect(ROLE_FILTERD, 0, sv[0]);
}

static void
end_callee(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	child = 0;
}

static struct chan *
filterd(void)
{
	return chan_to(ROLE_FILTERD, 0);
}

static void
one_less(void *arg)
{
	if (!--running)
		loop_stop(loop);
}

static void
too_long(void *arg)
{
	fail_msg("the test waits for ever");
}

/* Runs fn on n coroutines until all have ended. */
static void
run_coroutines(unsigned n, void (*fn)(void *))
{
	struct timer limit = { 0 };

	running = n;
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(co_spawn(loop, "test", fn, (void *)(uintptr_t)i), 0);
	loop_timer(loop, &limit, 30000, too_long, NULL);
	if (running)
		loop_run(loop);
	loop_timer_clear(loop, &limit);
}

static int
call(uint16_t type, const char *text, uint64_t ms, struct arena *a, struct frame *ret,
    struct wire_error *e)
{
	struct buf b = { 0 };
	int r;

	buf_str(&b, str_c(text));
	r = chan_call_buf(filterd(), type, &b, ms, a, ret, e);
	buf_done(&b);
	return r;
}

static int
set_up(void **state)
{
	start_callee();
	return 0;
}

static int
tear_down(void **state)
{
	if (child)
		end_callee();
	return 0;
}

/* ---- answers ---- */

static void
echo(void *arg)
{
	for (unsigned i = 0; i < 20; i++) {
		struct arena *a = arena_new(0);
		char text[32];
		struct frame f;

		snprintf(text, sizeof text, "%u of %u", i, (unsigned)(uintptr_t)arg);
		assert_int_equal(call(MSG_ECHO, text, 10000, a, &f, NULL), 0);
		assert_true(str_eq(f.body, str_c(text)));
		assert_int_equal(f.fd, -1);
		arena_free(&a);
	}
	one_less(NULL);
}

static void
test_each_coroutine_gets_its_own(void **state)
{
	run_coroutines(200, echo);
}

static void *
thread_main(void *arg)
{
	for (unsigned i = 0; i < 100; i++) {
		struct arena *a = arena_new(0);
		char text[32];
		struct frame f;

		snprintf(text, sizeof text, "%u in %p", i, arg);
		if (call(i % 10 ? MSG_ECHO : MSG_LATE, text, 10000, a, &f, NULL))
			abort();
		if (i % 10 && !str_eq(f.body, str_c(text)))
			abort();
		arena_free(&a);
	}
	loop_post(loop, one_less, NULL);
	return NULL;
}

static void
test_threads_call(void **state)
{
	pthread_t t[6];

	running = 6;
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&t[i], NULL, thread_main, (void *)(i + 1)), 0);
	loop_run(loop);
	for (size_t i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
}

static void
late(void *arg)
{
	struct frame f;

	assert_int_equal(call(MSG_LATE, "", 10000, NULL, &f, NULL), 0);
	one_less(NULL);
}

static void
test_answers_of_other_threads(void **state)
{
	run_coroutines(50, late);
}

static void
refused(void *arg)
{
	struct arena *a = arena_new(0);
	struct wire_error e;

	assert_int_equal(call(MSG_REFUSE, "", 10000, a, NULL, &e), -EDQUOT);
	assert_int_equal(e.code, -EDQUOT);
	assert_int_equal(e.smtp, 452);
	assert_true(str_eq(e.enhanced, STR("4.2.2")) && str_eq(e.text, STR("no room")));
	assert_int_equal(call(MSG_UNKNOWN, "", 10000, a, NULL, &e), -EPERM);
	assert_int_equal(call(MSG_FORBIDDEN, "", 10000, a, NULL, &e), -EPERM);
	assert_int_equal(call(MSG_ECHO, "after", 10000, a, NULL, &e), 0);
	arena_free(&a);
	one_less(NULL);
}

static void
test_errors_and_what_is_not_allowed(void **state)
{
	run_coroutines(1, refused);
}

/* The answer that comes after the time limit belongs to nobody. */
static void
timed_out(void *arg)
{
	uint64_t began = clock_ms();

	assert_int_equal(call(MSG_SILENT, "", 50, NULL, NULL, NULL), -ETIMEDOUT);
	assert_int_equal(call(MSG_SLOW, "", 50, NULL, NULL, NULL), -ETIMEDOUT);
	assert_in_range(clock_ms() - began, 99, 5000);
	co_sleep(300);
	assert_int_equal(call(MSG_ECHO, "after", 10000, NULL, NULL, NULL), 0);
	one_less(NULL);
}

static void
test_time_limits(void **state)
{
	run_coroutines(1, timed_out);
}

/* ---- peers that die ---- */

static unsigned got_epipe;

static void
silent(void *arg)
{
	if (call(MSG_SILENT, "", 20000, NULL, NULL, NULL) == -EPIPE)
		got_epipe++;
	one_less(NULL);
}

static void
kill_it(void *arg)
{
	kill(child, SIGKILL);
}

static void
test_every_waiting_call_hears_of_the_death(void **state)
{
	struct timer t = { 0 };

	got_epipe = 0;
	loop_timer(loop, &t, 30, kill_it, NULL);
	run_coroutines(40, silent);
	assert_int_equal(got_epipe, 40);
	assert_false(chan_alive(filterd()));
}

static void
start_again(void *arg)
{
	start_callee();
}

static void
die_and_wait(void *arg)
{
	static struct timer t;
	struct frame f;
	struct arena *a = arena_new(0);

	assert_int_equal(call(MSG_DIE, "", 10000, NULL, NULL, NULL), -EPIPE);
	waitpid(child, NULL, 0);
	loop_timer(loop, &t, 100, start_again, NULL);
	assert_int_equal(call(MSG_ECHO, "to the next one", 10000, a, &f, NULL), 0);
	assert_true(str_eq(f.body, STR("to the next one")));
	arena_free(&a);
	one_less(NULL);
}

static void
test_a_call_waits_for_the_restart(void **state)
{
	run_coroutines(1, die_and_wait);
}

static void
die_for_good(void *arg)
{
	uint64_t began;

	assert_int_equal(call(MSG_DIE, "", 10000, NULL, NULL, NULL), -EPIPE);
	began = clock_ms();
	assert_int_equal(call(MSG_ECHO, "", 10000, NULL, NULL, NULL), -ENOTCONN);
	assert_in_range(clock_ms() - began, 1900, 6000);
	began = clock_ms();
	assert_int_equal(call(MSG_ECHO, "", 50, NULL, NULL, NULL), -ENOTCONN);
	assert_in_range(clock_ms() - began, 49, 1500);
	one_less(NULL);
}

static void
test_no_restart(void **state)
{
	run_coroutines(1, die_for_good);
}

static int up, down;

static void
on_state(void *arg, struct chan *c, bool is_up)
{
	*(is_up ? &up : &down) += 1;
}

/* A second connection takes the place of the first, as after a restart that the
 * caller hears of before the old socket's end. */
static void
test_a_new_connection_replaces_the_old(void **state)
{
	pid_t old = child;
	int was_up = up, was_down = down;

	start_callee();
	assert_int_equal(up, was_up + 1);
	assert_int_equal(down, was_down + 1);
	run_coroutines(1, late);
	waitpid(old, NULL, 0); /* its caller went: it ends by itself */
}

/* ---- descriptors ---- */

static unsigned
descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
pass_file(void *arg)
{
	int mine = memfd_create("mine", MFD_CLOEXEC);
	struct frame f;
	char text[8] = "";

	assert_int_equal(chan_call(filterd(), MSG_FILE, NULL, 0, mine, 10000, NULL, &f, NULL), 0);
	assert_true(f.fd >= 0);
	assert_int_equal(pread(f.fd, text, 7, 0), 6);
	assert_string_equal(text, "answer");
	assert_int_equal(pread(mine, text, 4, 0), 4);
	assert_memory_equal(text, "seen", 4);
	close(f.fd);
	close(mine);
	one_less(NULL);
}

static void
not_taken(void *arg)
{
	int mine = memfd_create("mine", MFD_CLOEXEC);

	assert_int_equal(chan_call(filterd(), MSG_FILE, NULL, 0, mine, 10000, NULL, NULL, NULL), 0);
	assert_int_equal(chan_call(filterd(), MSG_UNKNOWN, NULL, 0, mine, 10000, NULL, NULL, NULL),
	    -EPERM);
	close(mine);
	one_less(NULL);
}

static void
test_descriptors(void **state)
{
	unsigned before = descriptors();

	run_coroutines(30, pass_file);
	run_coroutines(5, not_taken);
	assert_int_equal(descriptors(), before);
}

/* ---- events; frames that break the rules ---- */

static unsigned events;

static void
on_news(void *arg, struct chan *c, const struct frame *f)
{
	events += c == filterd() && str_eq(f->body, STR("news"));
}

static void
ask_for_event(void *arg)
{
	unsigned before = events;

	assert_int_equal(call(MSG_EVENT, "news", 10000, NULL, NULL, NULL), 0);
	assert_int_equal(events, before + 1); /* sent before the answer, taken before it */
	one_less(NULL);
}

static void
test_events(void **state)
{
	run_coroutines(1, ask_for_event);
}

static void
write_bad_frame(void *arg)
{
	static const unsigned char bad[16] = { 3, 0, 0, 0 }; /* shorter than its own head */

	assert_int_equal(write(*(int *)arg, bad, sizeof bad), sizeof bad);
}

static void
test_a_bad_frame_ends_the_channel_alone(void **state)
{
	struct timer t = { 0 };
	int sv[2];

	end_callee();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	chan_connect(ROLE_FILTERD, 0, sv[0]);
	loop_timer(loop, &t, 30, write_bad_frame, &sv[1]);
	got_epipe = 0;
	run_coroutines(3, silent);
	assert_int_equal(got_epipe, 3);
	close(sv[1]);
	start_callee();
	run_coroutines(1, late);
}

static void
test_the_table_has_an_end(void **state)
{
	assert_null(chan_to(ROLE_FILTERD, 1));
	assert_null(chan_to(ROLE_DNSD, CHAN_ANY));
	assert_int_equal(chan_instances(ROLE_FILTERD), 1);
	assert_ptr_equal(chan_to(ROLE_FILTERD, CHAN_ANY), filterd());
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_each_coroutine_gets_its_own),
		TEST(test_threads_call),
		TEST(test_answers_of_other_threads),
		TEST(test_errors_and_what_is_not_allowed),
		TEST(test_time_limits),
		TEST(test_every_waiting_call_hears_of_the_death),
		TEST(test_a_call_waits_for_the_restart),
		TEST(test_no_restart),
		TEST(test_a_new_connection_replaces_the_old),
		TEST(test_descriptors),
		TEST(test_events),
		TEST(test_a_bad_frame_ends_the_channel_alone),
		TEST(test_the_table_has_an_end),
	};
	struct err e;

	signal(SIGPIPE, SIG_IGN);
	alarm(120);
	loop = loop_new(&e);
	chan_set_up(loop, &caller, NULL);
	chan_expect(ROLE_FILTERD, 1);
	chan_on_state(ROLE_FILTERD, on_state, NULL);
	chan_on_event(ROLE_FILTERD, MSG_EVENT, on_news, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
