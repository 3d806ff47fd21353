/*
 * The master; see master.h. Start: directories, lock, sockets, children in the
 * order of their table, "ok". Stop: in phases, those that clients see first, so
 * that what was accepted is handed on before its keeper ends:
 *
 *	0 smtpd imapd submitd   1 queued   2 maild   3 mimed authd
 */
#include "mta/master.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"
#include "mta/master_private.h"

#define STOP_PHASES 4
#define PHASE_LIMIT_MS 15000

struct master master;

static struct watch signal_watch;

/* ---- telling the starter ---- */

/* What a service manager wants to know (sd_notify(3)): one datagram. */
static void
notify_manager(const char *state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (!n || n >= sizeof sa.sun_path)
		return;
	memcpy(sa.sun_path, path, n);
	if (*path == '@')
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

static void
tell_starter(const char *text)
{
	if (master.opts.ready_fd < 0)
		return;
	dprintf(master.opts.ready_fd, "%s\n", text);
	close(master.opts.ready_fd);
	master.opts.ready_fd = -1;
}

void
master_child_ready(void)
{
	if (master.ready || !children_all_ready())
		return;
	master.ready = true;
	LOG_INFO("master.ready", L_U64("processes", children_count()),
	    L_U64("listeners", master.n_listeners), L_U64("ms", clock_ms() - master.started_ms));
	log_flush();
	tell_starter(filters_ill() ? "ok, but a plugin cannot start; the log says why, and its on-error what becomes of mail" : "ok");
	notify_manager("READY=1");
}

/* ---- stopping ---- */

static bool
phase_done(unsigned phase)
{
	for (size_t i = 0; i < master.n_children; i++)
		if (master.children[i].program->stop_phase <= phase && master.children[i].pid)
			return false;
	return true;
}

static void
kill_phase(void *arg)
{
	for (size_t i = 0; i < master.n_children; i++) {
		struct master_child *c = &master.children[i];

		if (c->program->stop_phase <= master.phase && c->pid) {
			LOG_ERROR("master.killed", L_C("child", role_name(c->program->role)),
			    L_I64("pid", c->pid));
			kill(c->pid, SIGKILL);
		}
	}
}

static void
begin_phase(void)
{
	for (size_t i = 0; i < master.n_children; i++)
		if (master.children[i].program->stop_phase == master.phase)
			child_send(&master.children[i], SETUP_STOP, 0, NULL, -1);
	loop_timer(master.loop, &master.kill_timer, PHASE_LIMIT_MS, kill_phase, NULL);
}

/* Becomes the new program, or goes on as the old one. False: neither works. */
static bool
stopped_for_upgrade(void)
{
	struct err e = { 0 };

	upgrade_exec();
	master.upgrading = master.stopping = master.ready = false;
	loop_timer_clear(master.loop, &master.kill_timer);
	for (size_t i = 0; i < master.n_children; i++)
		if (!master.children[i].idle && child_start(&master.children[i], &e)) {
			LOG_ERROR("master.start_failed", L_C("text", e.text));
			master.stopping = true;
			return false;
		}
	return true;
}

static void
next_phase(void)
{
	/* Past the last phase it is called again when two children end at nearly one moment. */
	while (master.stopping && master.phase < STOP_PHASES && phase_done(master.phase)) {
		if (++master.phase == STOP_PHASES) {
			if (!master.upgrading || !stopped_for_upgrade())
				loop_stop(master.loop);
			return;
		}
		begin_phase();
	}
}

static void
close_listeners(void)
{
	for (size_t i = 0; i < master.n_listeners; i++)
		close(master.listeners[i].fd);
	master.n_listeners = 0;
}

void
master_stop(void)
{
	if (master.stopping && master.upgrading) {
		/* a real stop while children end for an upgrade: no new program then */
		master.upgrading = false;
		close_listeners();
	}
	if (master.stopping)
		return;
	master.stopping = true;
	LOG_INFO("master.stopping", L_U64("uptime_ms", clock_ms() - master.started_ms));
	if (!master.upgrading)
		notify_manager("STOPPING=1");
	if (!master.ready)
		tell_starter("stopped before every process was up; the log says why");
	if (!master.upgrading)
		close_listeners();
	for (size_t i = 0; i < master.n_children; i++)
		loop_timer_clear(master.loop, &master.children[i].restart);
	master.phase = 0;
	begin_phase();
	next_phase();
}

/* ---- reloading ---- */

/* Which settings a running instance cannot change: where its files are and how
 * many processes it has. */
static int
can_reload(const struct settings *o, const struct settings *n, struct err *e)
{
	if (!str_eq(o->spool_dir, n->spool_dir) || !str_eq(o->store_dir, n->store_dir) ||
	    !str_eq(o->dir_dir, n->dir_dir) || !str_eq(o->run_dir, n->run_dir) ||
	    !str_eq(o->maildrop_dir, n->maildrop_dir) || !str_eq(o->cache_dir, n->cache_dir) ||
	    !str_eq(o->reports_dir, n->reports_dir))
		return err_set(e, -EINVAL, "the directories cannot change while running: stop and start");
	if (o->maild_processes != n->maild_processes || o->smtpd_processes != n->smtpd_processes ||
	    o->imapd_processes != n->imapd_processes || o->mimed_processes != n->mimed_processes)
		return err_set(e, -EINVAL, "the numbers of processes cannot change while running: stop "
		    "and start");
	return 0;
}

static struct {
	void (*done)(void *, const struct err *);
	void *arg;
} reload_caller;

static void
reload_done(void *arg, const struct err *e)
{
	listeners_close_unkept();
	filters_retire();
	if (e)
		LOG_ERROR("master.reload_failed", L_C("text", e->text));
	else
		LOG_INFO("master.reloaded", L_U64("listeners", master.n_listeners));
	reload_caller.done(reload_caller.arg, e);
}

static void
open_log(const struct settings *s)
{
	char path[4096];
	int fd;

	if (!s->log_file.n)
		return;
	snprintf(path, sizeof path, "%.*s", STR_ARG(s->log_file));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (fd < 0)
		return;
	dup2(fd, 2);
	close(fd);
}

static struct settings *next_settings; /* while plugins get ready for them */

/* The plugins are ready, or e says why not: from here on nothing but a listener can refuse. */
static void
reload_go(void *arg, const struct err *e)
{
	struct settings *n = next_settings;
	struct err mine = { 0 };

	(void)arg;
	next_settings = NULL;
	if (!e && listeners_open(n, &mine)) {
		filters_abandon();
		e = &mine;
	}
	if (e) {
		LOG_ERROR("master.reload_refused", L_C("text", e->text));
		settings_free(&n);
		reload_caller.done(reload_caller.arg, e);
		return;
	}
	settings_free(&master.settings);
	master.settings = n;
	open_log(n);
	children_reload(reload_done, NULL);
}

int
master_reload(struct err *e, void (*done)(void *, const struct err *), void *arg)
{
	struct arena *a = arena_new(0);
	struct conf_errors errors = { 0 };
	struct settings *n = a ? settings_load(master.opts.config_path, a, &errors) : NULL;
	struct buf pem = { .max = WIRE_MAX };
	int r = 0;

	if (!n && errors.n)
		r = err_set(e, -EINVAL, "%.*s:%u:%u: %.*s", STR_ARG(errors.v[0].file), errors.v[0].line,
		    errors.v[0].col, STR_ARG(errors.v[0].text));
	else if (!n)
		r = err_set(e, -EINVAL, "the config cannot be read");
	else if (master.stopping)
		r = err_set(e, -EBUSY, "the instance is stopping");
	else if (next_settings)
		r = err_set(e, -EBUSY, "a reload is under way");
	else if (!(r = can_reload(master.settings, n, e)))
		r = tls_read(n, &pem, e);
	if (pem.p)
		explicit_bzero(pem.p, pem.n);
	buf_done(&pem);
	arena_free(&a);
	if (r) {
		LOG_ERROR("master.reload_refused", L_C("text", e->text));
		settings_free(&n);
		return r;
	}
	next_settings = n;
	reload_caller.done = done;
	reload_caller.arg = arg;
	filters_prepare(n, reload_go, NULL);
	return 0;
}

static void
nobody(void *arg, const struct err *e)
{
}

/* ---- signals ---- */

static void
reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!upgrade_checked(pid, status))
			child_exited(pid, status);
	if (master.stopping)
		next_phase();
}

static void
on_signal(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo si;
	struct err e;

	while (read(w->fd, &si, sizeof si) == sizeof si) {
		switch (si.ssi_signo) {
		case SIGCHLD:
			reap();
			break;
		case SIGHUP:
			master_reload(&e, nobody, NULL);
			break;
		case SIGTERM:
		case SIGINT:
			master_stop();
			break;
		}
	}
}

static int
signals_start(struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal_watch = (struct watch){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
		.fn = on_signal };
	if (signal_watch.fd < 0)
		return err_sys(e, -errno, "cannot take signals");
	return loop_watch_level(master.loop, &signal_watch, e);
}

/* ---- starting ---- */

static int
make_dir(struct str path, struct err *e)
{
	char p[4096];

	snprintf(p, sizeof p, "%.*s", STR_ARG(path));
	if (mkdir(p, 0711) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "cannot make the directory %s", p);
	return 0;
}

/* The files of a folder that root made, such as a directory that was filled before
 * the first start. */
static int
give_files(int dirfd, uid_t uid, gid_t gid)
{
	int fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 10), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *f;

	if (!d)
		return -errno;
	while (!r && (f = readdir(d)))
		if (f->d_type == DT_REG && fchownat(dirfd, f->d_name, uid, gid, AT_SYMLINK_NOFOLLOW))
			r = -errno;
	closedir(d);
	return r;
}

/* A folder that a role keeps its files in: made if need be, and the role's own when
 * it has a system user. What is not root's stays as it is. */
static int
make_dir_of(struct str path, enum role role, mode_t mode, struct err *e)
{
	char user[64], p[4096];
	const struct passwd *pw;
	struct stat st;
	int fd, r = make_dir(path, e);

	if (r || getuid() || !master.settings->user_prefix.n)
		return r;
	role_user(role, user);
	snprintf(p, sizeof p, "%.*s", STR_ARG(path));
	if (!(pw = getpwnam(user)))
		return err_set(e, -ENOENT, "there is no system user %s (see user-prefix)", user);
	fd = open(p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		r = -errno;
	else if (!st.st_uid && (fchmod(fd, mode) || fchown(fd, pw->pw_uid, pw->pw_gid)))
		r = -errno;
	else if (!st.st_uid)
		r = give_files(fd, pw->pw_uid, pw->pw_gid);
	if (fd >= 0)
		close(fd);
	return r ? err_sys(e, r, "cannot give %s to %s", p, user) : 0;
}

static int
make_dirs(const struct settings *s, struct err *e)
{
	int r = make_dir(s->base_dir, e);

	r = r ? r : make_dir(s->run_dir, e);
	r = r ? r : make_dir_of(s->spool_dir, ROLE_QUEUED, 0700, e);
	r = r ? r : make_dir_of(s->store_dir, ROLE_MAILD, 0700, e);
	/* every user goes through it, into the folder where he may write */
	r = r ? r : make_dir_of(s->maildrop_dir, ROLE_PICKUPD, 0711, e);
	r = r ? r : make_dir_of(s->cache_dir, ROLE_FETCHD, 0700, e);
	r = r ? r : make_dir_of(s->reports_dir, ROLE_REPORTD, 0700, e);
	return r ? r : make_dir_of(s->dir_dir, ROLE_AUTHD, 0700, e);
}

static int
take_lock(struct err *e)
{
	char p[4096];

	snprintf(p, sizeof p, "%.*s/posthorn.pid", STR_ARG(master.settings->run_dir));
	if (master.pid_fd >= 0)
		return 0; /* the program before this one, in the same process, held it */
	master.pid_fd = open(p, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (master.pid_fd < 0)
		return err_sys(e, -errno, "cannot open %s", p);
	if (flock(master.pid_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -EALREADY, "this instance is running already (%s is locked)", p);
	if (ftruncate(master.pid_fd, 0) < 0)
		return err_sys(e, -errno, "cannot write %s", p);
	dprintf(master.pid_fd, "%d\n", (int)getpid());
	return 0;
}

static int
start(struct err *e)
{
	const struct settings *s = master.settings;
	struct buf pem = { .max = WIRE_MAX };
	int r;

	if (make_dirs(s, e) || take_lock(e))
		return e->code;
	master.loop = loop_new(e);
	if (!master.loop || signals_start(e))
		return e->code;
	if (getrandom(master.key, sizeof master.key, 0) != sizeof master.key)
		return err_set(e, -EIO, "no random bytes");
	r = tls_read(s, &pem, e);
	if (pem.p)
		explicit_bzero(pem.p, pem.n);
	buf_done(&pem);
	if (r || listeners_open(s, e) || control_start(e) || metrics_start(e) || children_plan(s, e) ||
	    filters_plan(master.settings, e))
		return e->code;
	listeners_close_unkept(); /* of an upgrade with another configuration */
	for (size_t i = 0; i < master.n_children; i++)
		if (!master.children[i].idle && child_start(&master.children[i], e))
			return e->code;
	return 0;
}

int
master_run(struct settings *s, const struct master_opts *opts)
{
	struct err e = { 0 };

	master.settings = s;
	master.opts = *opts;
	master.started_ms = clock_ms();
	master.pid_fd = -1;
	upgrade_remember();
	upgrade_inherit();
	log_init("posthorn", 0, 2);
	if (start(&e)) {
		LOG_ERROR("master.start_failed", L_C("text", e.text));
		tell_starter(e.text);
		if (!master.loop || !master.n_children)
			return 1;
		master.status = 1;
		master_stop();
	}
	loop_run(master.loop);
	LOG_INFO("master.stopped", L_I64("status", master.status));
	return master.status;
}
