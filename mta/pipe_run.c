/*
 * A delivery as piped sees it: the order to the runner, then what the child prints and how
 * it ended; see pipe.h. The message is a sealed memfd, the child's output and errors go
 * into one pipe. A command is split into words and run as it is; one that has
 * quotes, variables, redirections and the like is given to /bin/sh -c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/io/co.h"
#include "mta/pipe.h"

#define GRACE_MS 30000u /* that a keeper gets beyond its time */
#define BUSY_MS 20u     /* between tries while the runner has not taken other orders */
#define BUSY_TRIES 250u
#define SAFE_PATH "/usr/local/bin:/usr/bin:/bin"
#define SAFE_CHARS "!@%-_=+:,./"

/* ---- the environment and the words ---- */

static struct str
variable(struct arena *a, const char *name, struct str value)
{
	struct str s = arena_printf(a, "%s=%.*s", name, STR_ARG(str_head(value, 1024)));
	char *p = (char *)(uintptr_t)s.p;

	for (size_t i = strlen(name) + 1; p && i < s.n; i++)
		if (!ascii_isalnum(p[i]) && !strchr(SAFE_CHARS, p[i]))
			p[i] = '_';
	return s;
}

int
pipe_environment(const struct pipe_job *j, struct arena *a, struct pipe_order *ret)
{
	const struct pipe_request *r = j->request;
	ptrdiff_t at = str_rchr(r->address, '@');
	struct str local = at < 0 ? r->address : str_head(r->address, (size_t)at);
	const struct { const char *name; struct str value; } all[] = {
		{ "PATH", STR(SAFE_PATH) },
		{ "HOME", str_c(j->user->home) },
		{ "SHELL", str_c(j->user->shell) },
		{ "USER", str_c(j->user->name) },
		{ "LOGNAME", str_c(j->user->name) },
		{ "SENDER", r->sender },
		{ "RECIPIENT", r->address },
		{ "ORIGINAL_RECIPIENT", r->original.n ? r->original : r->address },
		{ "LOCAL", local },
		{ "DOMAIN", at < 0 ? STR("") : str_skip(r->address, (size_t)at + 1) },
		{ "EXTENSION", r->detail },
		{ "CLIENT_ADDRESS", r->client_ip },
		{ "CLIENT_HELO", r->client_name },
		{ "SASL_USERNAME", r->user },
		{ "QUEUE_ID", arena_printf(a, "%016llx", (unsigned long long)r->spool_id) },
	};
	const size_t n = sizeof all / sizeof *all;

	_Static_assert(sizeof all / sizeof *all <= PIPE_ENV_MAX, "room for each");
	for (size_t i = 0; i < n; i++)
		if (!(ret->env[i] = variable(a, all[i].name, all[i].value)).p)
			return -ENOMEM;
	ret->n_env = n;
	return 0;
}

bool
pipe_needs_shell(struct str command)
{
	for (size_t i = 0; i < command.n; i++)
		if (!ascii_isalnum(command.p[i]) && !strchr(SAFE_CHARS " \t", command.p[i]))
			return true;
	return false;
}

/* More words than there is room for: the shell shall count them. */
static void
split(struct str command, struct pipe_order *ret)
{
	struct str word;

	while ((word = str_word(&command)).n) {
		if (ret->n_words == PIPE_WORDS_MAX) {
			ret->n_words = 0;
			return;
		}
		ret->words[ret->n_words++] = word;
	}
}

/* ---- the order ---- */

static struct pipe_order *
make_order(const struct pipe_job *j, struct arena *a)
{
	struct pipe_order *o = ARENA_NEW(a, struct pipe_order);

	if (!o)
		return NULL;
	o->kind = j->target.kind;
	o->what = j->target.what;
	o->home = str_c(j->user->home);
	o->hostname = j->hostname;
	o->time_limit_ms = j->time_limit_ms;
	o->memory_limit = j->memory_limit;
	if (o->kind != PIPE_COMMAND)
		return o;
	if (!pipe_needs_shell(o->what))
		split(o->what, o);
	return pipe_environment(j, a, o) ? NULL : o;
}

static int
send_order(int runner, struct str body, const int fds[PIPE_N_FDS])
{
	union {
		char space[CMSG_SPACE(PIPE_N_FDS * sizeof(int))];
		struct cmsghdr align;
	} u = { { 0 } };
	struct iovec iov = { (void *)(uintptr_t)body.p, body.n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.space,
		.msg_controllen = sizeof u.space };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(PIPE_N_FDS * sizeof(int));
	memcpy(CMSG_DATA(c), fds, PIPE_N_FDS * sizeof(int));
	for (unsigned i = 0; i < BUSY_TRIES; i++) {
		if (sendmsg(runner, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		co_sleep(BUSY_MS);
	}
	return -EAGAIN;
}

static int
give_order(const struct pipe_job *j, struct arena *a, const int fds[PIPE_N_FDS])
{
	struct buf b = { .max = PIPE_ORDER_MAX };
	struct pipe_order *o = make_order(j, a);
	int rc = o ? 0 : -ENOMEM;

	if (!rc)
		pipe_order_put(&b, o);
	if (!rc && b.over)
		rc = -E2BIG;
	if (!rc)
		rc = send_order(j->runner, buf_view(&b), fds);
	buf_done(&b);
	return rc;
}

/* ---- its end ---- */

struct watched {
	struct watch watch;
	struct co *co;
};

static void
woken(struct watch *w, uint32_t events)
{
	(void)events;
	co_wake(((struct watched *)w)->co);
}

/* What has come; more than there is room for is read and forgotten. True: there may be
 * more, but others come first. */
static bool
take_output(int fd, struct pipe_end *e)
{
	char rest[4096];

	for (unsigned i = 0; i < 64; i++) {
		size_t room = sizeof e->output - e->n_output;
		ssize_t n = room ? read(fd, e->output + e->n_output, room) : read(fd, rest, sizeof rest);

		if (!n || (n < 0 && errno != EINTR))
			return false;
		if (n > 0 && room)
			e->n_output += (size_t)n;
	}
	return true;
}

/* A keeper that goes without a word, or does not keep to its time, has failed. */
static bool
has_ended(int control, uint64_t deadline, struct pipe_end *e)
{
	struct pipe_end_report r = { 0 };
	ssize_t n = recv(control, &r, sizeof r, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR) && clock_ms() < deadline)
		return false;
	e->status = n == sizeof r ? r.status : EX_OSERR << 8;
	e->timed_out = n == sizeof r ? r.timed_out != 0 : n < 0;
	return true;
}

static void
wait_for(int control, int output, uint64_t limit_ms, struct pipe_end *e)
{
	uint64_t deadline = clock_ms() + limit_ms + GRACE_MS;

	for (;;) {
		uint64_t now = clock_ms();
		bool more = take_output(output, e);

		if (has_ended(control, deadline, e))
			break;
		if (more)
			co_yield();
		else
			co_wait((int64_t)(deadline > now ? deadline - now : 1));
	}
	take_output(output, e); /* what came before the end */
}

/* Wakes this coroutine when the child says something, or has ended. */
static int
watch_both(struct watched w[2])
{
	struct err e = { 0 };

	w[0].co = w[1].co = co_self();
	if (loop_watch(loop_current(), &w[0].watch, &e))
		return e.code;
	if (loop_watch(loop_current(), &w[1].watch, &e)) {
		loop_unwatch(loop_current(), &w[0].watch);
		return e.code;
	}
	return 0;
}

/* A watch must live until the end of the turn in which it was given up. */
static void
unwatch_both(struct watched *w)
{
	loop_unwatch(loop_current(), &w[0].watch);
	loop_unwatch(loop_current(), &w[1].watch);
	co_yield();
}

static int
run(const struct pipe_job *j, const int output[2], const int control[2], struct arena *a,
    struct pipe_end *ret)
{
	const int fds[PIPE_N_FDS] = {
		[PIPE_FD_MESSAGE] = j->message,
		[PIPE_FD_OUTPUT] = output[1],
		[PIPE_FD_CONTROL] = control[1],
	};
	struct watched *w = ARENA_ARRAY(a, struct watched, 2);
	int rc = w ? give_order(j, a, fds) : -ENOMEM;

	close(output[1]);
	close(control[1]);
	if (rc)
		return rc;
	w[0].watch = (struct watch){ .fd = output[0], .fn = woken };
	w[1].watch = (struct watch){ .fd = control[0], .fn = woken };
	rc = watch_both(w);
	if (rc)
		return rc; /* the keeper ends the child when control is closed */
	wait_for(control[0], output[0], j->time_limit_ms, ret);
	unwatch_both(w);
	return 0;
}

int
pipe_run(const struct pipe_job *j, struct arena *a, struct pipe_end *ret)
{
	int output[2], control[2], rc;

	ret->n_output = 0;
	ret->timed_out = false;
	if (pipe2(output, O_CLOEXEC) < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) < 0) {
		rc = -errno;
		close(output[0]);
		close(output[1]);
		return rc;
	}
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	rc = run(j, output, control, a, ret);
	close(output[0]);
	close(control[0]);
	return rc;
}
