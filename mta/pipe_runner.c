/*
 * The runner and its keepers; see pipe.h.
 *
 *	piped, still root: fork, exec of its own file as "piped runner USER PRIVILEGES"
 *	runner: USER's groups, gid, uid; no capabilities, no core, not dumpable; "ready"
 *	  each order: fork of a keeper
 *	keeper: fork of the child; waits for its end, the time limit (SIGTERM to its process
 *	  group, five seconds later SIGKILL), or for piped to be gone (SIGKILL); reports
 *
 * The exec leaves behind what piped's memory holds, such as the configuration. No filter
 * of system calls, since commands would inherit it; unless the configuration says that
 * commands need them, no new privileges, and an empty bounding set.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "mta/pipe.h"

#define KILL_AFTER_MS 5000u
#define START_MS 10000
#define ARENA_MAX (1u << 20)
#define ORDERS_FD 0
#define WORD "runner"

/* ---- keeper ---- */

static void
kill_all(pid_t pid, int sig)
{
	kill(-pid, sig);
	kill(pid, sig); /* it may not lead a group yet */
}

/* Waits until the child has ended or *deadline has come: true, it has. */
static bool
wait_child(int pidfd, int control, uint64_t deadline, bool *ret_gone)
{
	struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = control, .events = 0 } };
	uint64_t now = clock_ms();

	poll(p, 2, deadline > now ? (int)(deadline - now) : 0);
	*ret_gone = p[1].revents != 0;
	return p[0].revents != 0;
}

static void
keep(pid_t pid, int pidfd, int control, uint64_t limit_ms)
{
	struct pipe_end_report report = { 0 };
	uint64_t deadline = clock_ms() + limit_ms;
	bool gone = false;
	int status = 0;

	while (!wait_child(pidfd, control, deadline, &gone)) {
		if (!gone && clock_ms() < deadline)
			continue;
		kill_all(pid, gone || report.timed_out ? SIGKILL : SIGTERM);
		if (gone)
			break;
		report.timed_out = 1;
		deadline = clock_ms() + KILL_AFTER_MS;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (report.timed_out)
		kill(-pid, SIGKILL); /* what it left behind */
	report.status = status;
	send(control, &report, sizeof report, MSG_NOSIGNAL);
}

/* An order in a process of its own. */
__attribute__((noreturn))
static void
keeper(struct str body, const int fds[PIPE_N_FDS])
{
	struct arena *a = arena_new(ARENA_MAX);
	struct pipe_order *o = a ? ARENA_NEW(a, struct pipe_order) : NULL;
	pid_t pid;
	int pidfd;

	close(ORDERS_FD);
	signal(SIGCHLD, SIG_DFL);
	if (!o || pipe_order_get(body, o))
		_exit(EX_PROTOCOL);
	pid = fork();
	if (!pid)
		pipe_child(o, a, fds);
	close(fds[PIPE_FD_MESSAGE]);
	close(fds[PIPE_FD_OUTPUT]);
	pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid < 0)
		_exit(EX_OSERR);
	if (pidfd < 0)
		kill_all(pid, SIGKILL); /* it must not run on unseen */
	else
		keep(pid, pidfd, fds[PIPE_FD_CONTROL], o->time_limit_ms);
	_exit(0);
}

/* ---- runner ---- */

/* The next order: its length, 0 when piped is gone, negative when it is none. */
static ssize_t
take_order(char *body, size_t max, int fds[PIPE_N_FDS])
{
	union {
		char space[CMSG_SPACE(PIPE_N_FDS * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov = { body, max };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.space,
		.msg_controllen = sizeof u.space };
	ssize_t n = recvmsg(ORDERS_FD, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	if (n <= 0)
		return n && errno != EINTR ? 0 : n;
	if (!c || c->cmsg_type != SCM_RIGHTS || m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
	    c->cmsg_len != CMSG_LEN(PIPE_N_FDS * sizeof(int)))
		return 0; /* piped is not what it was: go */
	memcpy(fds, CMSG_DATA(c), PIPE_N_FDS * sizeof(int));
	return n;
}

static void
run(void)
{
	static char body[PIPE_ORDER_MAX];
	int fds[PIPE_N_FDS];
	ssize_t n;

	signal(SIGCHLD, SIG_IGN); /* keepers speak for themselves */
	while ((n = take_order(body, sizeof body, fds)) != 0) {
		if (n < 0)
			continue;
		if (!fork())
			keeper(str_from(body, (size_t)n), fds);
		for (size_t i = 0; i < PIPE_N_FDS; i++)
			close(fds[i]); /* without a keeper this is the answer */
	}
}

__attribute__((noreturn))
static void
refuse(const char *what)
{
	char text[200];
	int n = snprintf(text, sizeof text, "%s: %s", what, strerror(errno));

	send(ORDERS_FD, text, (size_t)n, MSG_NOSIGNAL);
	_exit(EX_OSERR);
}

/* As far as there is CAP_SETPCAP for it, and the kernel has the capability: what keeps a
 * command from gaining any is no_new_privs. */
static void
empty_bounding_set(void)
{
	for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
		prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

/* From root to the user; a change of all three uids drops every capability. */
static void
become(const char *user, bool new_privileges)
{
	const struct passwd *pw = getpwnam(user);

	if (!pw || !pw->pw_uid) {
		errno = pw ? EPERM : ENOENT;
		refuse(user);
	}
	if (!new_privileges)
		empty_bounding_set();
	if (initgroups(user, pw->pw_gid) || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid))
		refuse(user);
	if (!setuid(0)) {
		errno = EPERM;
		refuse("the uid of root could be taken again");
	}
}

void
pipe_runner_main(int argc, char **argv)
{
	bool new_privileges;

	if (argc != 4 || strcmp(argv[1], WORD))
		return;
	new_privileges = !strcmp(argv[3], "new");
	setsid();
	umask(077);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	if (*argv[2])
		become(argv[2], new_privileges);
	if (!new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		refuse("no_new_privs");
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (chdir("/") || send(ORDERS_FD, "", 1, MSG_NOSIGNAL) != 1)
		_exit(EX_OSERR);
	run();
	_exit(0);
}

/* ---- its start ---- */

__attribute__((noreturn))
static void
exec_runner(int socket, const char *user, bool new_privileges)
{
	char *argv[] = { "piped", WORD, (char *)(uintptr_t)(user ? user : ""),
		new_privileges ? "new" : "no", NULL };
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (dup2(socket, ORDERS_FD) < 0 || dup2(null, 1) < 0 || syscall(SYS_close_range, 3u, ~0u, 0u))
		_exit(EX_OSERR);
	execv("/proc/self/exe", argv);
	refuse("exec");
}

/* Its first word: one zero byte, or why it cannot. */
static int
wait_ready(int socket, struct err *e)
{
	struct pollfd p = { .fd = socket, .events = POLLIN };
	char text[200];
	ssize_t n = poll(&p, 1, START_MS) == 1 ? recv(socket, text, sizeof text - 1, 0) : 0;

	if (n == 1 && !text[0])
		return 0;
	if (n <= 0)
		return err_set(e, -EIO, "the runner of commands does not start");
	text[n] = 0;
	return err_set(e, -EIO, "the runner of commands cannot be: %s", text);
}

int
pipe_runner_start(const char *user, bool new_privileges, struct err *e)
{
	int s[2], rc;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
		return err_sys(e, -errno, "socket of the runner");
	pid = fork();
	if (!pid)
		exec_runner(s[1], user, new_privileges);
	rc = pid < 0 ? err_sys(e, -errno, "fork") : 0;
	close(s[1]);
	if (!rc)
		rc = wait_ready(s[0], e);
	if (rc) {
		close(s[0]);
		return rc;
	}
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	return s[0];
}
