/*
 * `posthorn upgrade`: the master becomes the program that stands in its place now, without
 * closing a listening socket.
 *
 *	old   tries the new program on the configuration; stops its children in the
 *	      usual phases, but keeps listeners and lock; execs
 *	new   same process id; finds both in POSTHORN_INHERIT, starts new children
 *
 * Clients that connect in between wait in the sockets' queues, which the kernel holds for the
 * master. What cannot be done in time before exec leaves the old program running.
 *
 * POSTHORN_INHERIT: "lock FD" and for each listener "listen FD PORT ADDRESS NAME",
 * each ended by ';'.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "mta/master_private.h"

#define INHERIT "POSTHORN_INHERIT"

static struct {
	char path[PATH_MAX];      /* of this program, as it was started */
	pid_t check;              /* of the new program's trial */
	void (*done)(void *, const struct err *);
	void *arg;
} up;

/* Before anything else: later the link may say "(deleted)". */
void
upgrade_remember(void)
{
	ssize_t n = readlink("/proc/self/exe", up.path, sizeof up.path - 1);

	up.path[n > 0 ? n : 0] = '\0';
}

/* ---- what is handed on ---- */

static void
keep_fd(int fd, bool over_exec)
{
	fcntl(fd, F_SETFD, over_exec ? 0 : FD_CLOEXEC);
}

static void
keep_all(bool over_exec)
{
	keep_fd(master.pid_fd, over_exec);
	for (size_t i = 0; i < master.n_listeners; i++)
		keep_fd(master.listeners[i].fd, over_exec);
}

static void
put_inherit(struct buf *b)
{
	buf_printf(b, "lock %d;", master.pid_fd);
	for (size_t i = 0; i < master.n_listeners; i++) {
		const struct master_listener *l = &master.listeners[i];

		buf_printf(b, "listen %d %u %s %s;", l->fd, l->port, l->address, l->name);
	}
}

/* A descriptor that is open, or -1. */
static int
get_fd(struct str *s)
{
	uint32_t fd;

	if (!str_u32(str_word(s), INT_MAX, &fd) || fcntl((int)fd, F_GETFD) < 0)
		return -1;
	keep_fd((int)fd, false);
	return (int)fd;
}

static void
take_listener(struct str s)
{
	struct master_listener l = { .fd = get_fd(&s) };
	struct str address, name;
	uint32_t port;

	if (!str_u32(str_word(&s), 65535, &port) || l.fd < 0 || master.n_listeners == MASTER_LISTENERS)
		return;
	address = str_word(&s);
	name = str_trim(s);
	l.port = port;
	snprintf(l.address, sizeof l.address, "%.*s", STR_ARG(address));
	snprintf(l.name, sizeof l.name, "%.*s", STR_ARG(name));
	master.listeners[master.n_listeners++] = l;
}

void
upgrade_inherit(void)
{
	struct str all = str_c(getenv(INHERIT));

	while (all.p) {
		struct str s = str_cut(&all, ';'), what = str_word(&s);

		if (str_eq(what, STR("lock")))
			master.pid_fd = get_fd(&s);
		else if (str_eq(what, STR("listen")))
			take_listener(s);
	}
	unsetenv(INHERIT);
}

/* ---- becoming the new program ---- */

void
upgrade_exec(void)
{
	char *argv[] = { up.path, (char *)"-C", (char *)(uintptr_t)master.opts.config_path,
		(char *)"start", (char *)"--foreground", NULL };
	struct buf b = { 0 };

	put_inherit(&b);
	keep_all(true);
	LOG_INFO("master.upgrading", L_C("program", up.path), L_U64("listeners", master.n_listeners));
	log_flush();
	if (buf_cstr(&b) && !setenv(INHERIT, b.p, 1))
		execv(up.path, argv);
	LOG_ERROR("master.upgrade_failed", L_C("text", strerror(errno)));
	unsetenv(INHERIT);
	keep_all(false);
	buf_done(&b);
}

/* ---- the trial ---- */

static void
exec_check(void)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	execl(up.path, up.path, "-C", master.opts.config_path, "config", "show", "--effective", (char *)NULL);
	_exit(127);
}

static void
answer(const struct err *e)
{
	void (*done)(void *, const struct err *) = up.done;

	up.done = NULL;
	if (e)
		LOG_ERROR("master.upgrade_refused", L_C("text", e->text));
	if (done)
		done(up.arg, e);
}

int
master_upgrade(struct err *e, void (*done)(void *, const struct err *), void *arg)
{
	if (up.check || master.stopping || !master.ready)
		return err_set(e, -EBUSY, "the instance is starting, stopping or being upgraded already");
	if (!*up.path || access(up.path, X_OK))
		return err_set(e, -ENOENT, "there is no program %s", up.path);
	log_flush();
	up.check = fork();
	if (up.check == 0)
		exec_check();
	if (up.check < 0) {
		up.check = 0;
		return err_sys(e, -errno, "cannot try the new program");
	}
	up.done = done;
	up.arg = arg;
	return 0;
}

bool
upgrade_checked(pid_t pid, int status)
{
	struct err e;

	if (!up.check || pid != up.check)
		return false;
	up.check = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		err_set(&e, -EINVAL, "the new program %s does not run with this configuration: try '%s -C %s "
		    "check'", up.path, up.path, master.opts.config_path);
		answer(&e);
	} else if (master.stopping) {
		err_set(&e, -EBUSY, "the instance is stopping");
		answer(&e);
	} else {
		answer(NULL);
		master.upgrading = true;
		master_stop();
	}
	return true;
}
