/*
 * The child of a keeper, on its way to a command, or the writer of a file. It has the
 * deliveries' uid already: what it adds is a session of its own, limits, an environment
 * with nothing of ours in it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "mta/pipe.h"

#define FDS_MAX 1024
#define PROCESSES_MAX 4096 /* of the user, whatever started them */

/* Ends the child with a word to piped. */
__attribute__((noreturn))
static void
give_up(int code, const char *what)
{
	dprintf(2, "%s: %s\n", what, strerror(errno));
	_exit(code);
}

static void
take_descriptors(const int fds[PIPE_N_FDS])
{
	if (dup2(fds[PIPE_FD_MESSAGE], 0) < 0 || dup2(fds[PIPE_FD_OUTPUT], 1) < 0 ||
	    dup2(fds[PIPE_FD_OUTPUT], 2) < 0)
		_exit(EX_OSERR);
	if (syscall(SYS_close_range, 3u, ~0u, 0u))
		give_up(EX_OSERR, "cannot close descriptors");
}

static void
plain_signals(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
set_limit(int what, uint64_t n)
{
	struct rlimit r = { (rlim_t)n, (rlim_t)n };

	if (setrlimit(what, &r) && errno != EPERM) /* EPERM: there is a lower one */
		give_up(EX_TEMPFAIL, "cannot set a limit");
}

static void
take_limits(const struct pipe_order *o)
{
	set_limit(RLIMIT_NOFILE, FDS_MAX);
	set_limit(RLIMIT_NPROC, PROCESSES_MAX);
	set_limit(RLIMIT_CPU, o->time_limit_ms / 1000 + 1);
	if (o->memory_limit)
		set_limit(RLIMIT_AS, o->memory_limit);
}

static char **
strings(const struct str *v, size_t n, struct arena *a)
{
	char **ret = ARENA_ARRAY(a, char *, n + 1);

	for (size_t i = 0; ret && i < n; i++)
		if (!(ret[i] = arena_cstr(a, v[i])))
			return NULL;
	return ret;
}

/* A word that is no program's name may be one that the shell knows by itself. */
__attribute__((noreturn))
static void
run_command(const struct pipe_order *o, struct arena *a)
{
	char *const sh[] = { "sh", "-c", arena_cstr(a, o->what), NULL };
	char **argv = strings(o->words, o->n_words, a), **env = strings(o->env, o->n_env, a);

	if (!sh[2] || !argv || !env)
		give_up(EX_TEMPFAIL, "out of memory");
	if (argv[0]) {
		execvpe(argv[0], argv, env);
		if (errno != ENOENT || strchr(argv[0], '/'))
			give_up(errno == ENOENT ? 127 : 126, argv[0]);
	}
	execve("/bin/sh", sh, env);
	give_up(EX_OSERR, "/bin/sh");
}

__attribute__((noreturn))
static void
write_file(const struct pipe_order *o, struct arena *a)
{
	const char *path = arena_cstr(a, o->what), *hostname = arena_cstr(a, o->hostname);
	struct err why = { 0 };
	int rc;

	if (!path || !hostname)
		give_up(EX_TEMPFAIL, "out of memory");
	signal(SIGTERM, SIG_IGN); /* an append is short, and is not to be cut */
	rc = o->kind == PIPE_MBOX ? pipe_mbox(path, 0, &why) : pipe_maildir(path, 0, hostname, &why);
	if (rc)
		dprintf(1, "%s\n", why.text);
	_exit(rc);
}

void
pipe_child(const struct pipe_order *o, struct arena *a, const int fds[PIPE_N_FDS])
{
	const char *home = arena_cstr(a, o->home);

	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	take_descriptors(fds);
	plain_signals();
	umask(077);
	if ((!home || chdir(home)) && chdir("/"))
		give_up(EX_TEMPFAIL, "cannot change to the home directory");
	if (o->kind != PIPE_COMMAND)
		write_file(o, a);
	take_limits(o);
	run_command(o, a);
}
