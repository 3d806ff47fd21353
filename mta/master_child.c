/*
 * The master's children: what is started, with which frames, and what becomes
 * of one that dies.
 *
 * A child gets SELF, CONFIG, TLS, its listeners, its control socket, a CALLEE
 * for each live process it may call and a CALLER for each that may call it; then
 * GO. The other end of each pair goes to that peer at the same moment. When a
 * child dies its peers see the socket close; the restarted one gets new pairs.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/control.h"
#include "lib/io/wire.h"
#include "lib/proc/census.h"
#include "lib/proc/metrics.h"
#include "mta/master_private.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 30000
#define BACKOFF_PLUGIN_MS 1000 /* mail waits for it, and it has a circuit breaker at its callers */
#define HEALTHY_MS 60000
#define PEM_MAX (256u << 10)

/* A program gets its row when it exists. Stop phases: smtpd, imapd, submitd and bounced 0,
 * queued 1, maild, relayd and piped 2, mimed, authd, dnsd, fetchd, reportd and tabled 3. */
const struct program programs[] = {
	{ ROLE_AUTHD, "mta", false, true, 3 },
	{ ROLE_DNSD, "mta", false, false, 3 },
	{ ROLE_FETCHD, "mta", false, false, 3 },
	{ ROLE_REPORTD, "mta", false, false, 3 },
	{ ROLE_MIMED, "mta", false, false, 3 },
	{ ROLE_MAILD, "maildir", false, true, 2 },
	{ ROLE_RELAYD, "mta", false, false, 2 },
	{ ROLE_TABLED, "mta", false, false, 3, CONF_FOR_TABLED },
	{ ROLE_QUEUED, "mta", false, false, 1, CONF_FOR_QUEUED },
	{ ROLE_FILTERD, "mta", false, false, 3 },
	{ ROLE_SUBMITD, "mta", false, true, 0 },
	{ ROLE_BOUNCED, "mta", false, false, 0 },
	{ ROLE_PICKUPD, "mta", false, false, 0 },
	{ ROLE_PIPED, "mta", false, false, 2 },
	{ ROLE_SMTPD, "mta", true, false, 0 },
	{ ROLE_IMAPD, "imapd", true, false, 0 },
};
const size_t n_programs = sizeof programs / sizeof *programs;

/* The memory of session counts of each program that listens. */
static int census_fds[sizeof programs / sizeof *programs];

/* ---- what there is to start ---- */

enum role
master_role(size_t i)
{
	return i < n_programs ? programs[i].role : ROLE_MAX;
}

static unsigned
instances(const struct settings *s, enum role r)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned half = cores > 3 ? (unsigned)cores / 2 : 2;

	switch (r) {
	case ROLE_SMTPD:
		return s->smtpd_processes ? s->smtpd_processes : half;
	case ROLE_IMAPD:
		return s->imapd_processes ? s->imapd_processes : half;
	case ROLE_MAILD:
		return s->maild_processes ? s->maild_processes : (half + 1) / 2;
	case ROLE_MIMED:
		return s->mimed_processes ? s->mimed_processes : 2;
	case ROLE_FILTERD:
		return CONF_PLUGINS_MAX; /* slots */
	case ROLE_RELAYD:
		return s->relayd_processes ? s->relayd_processes : half;
	default:
		return 1;
	}
}

static uint64_t
random_number(void)
{
	uint64_t n;

	if (getrandom(&n, sizeof n, 0) != sizeof n)
		panic("no random bytes");
	return n | 1;
}

int
children_plan(const struct settings *s, struct err *e)
{
	for (size_t i = 0; i < n_programs; i++) {
		if (programs[i].listens) {
			census_fds[i] = census_create(instances(s, programs[i].role), e);
			if (census_fds[i] < 0)
				return census_fds[i];
		}
		for (unsigned k = 0; k < instances(s, programs[i].role); k++) {
			struct master_child *c = &master.children[master.n_children];

			if (master.n_children == MASTER_PROCS || k >= 64)
				return err_set(e, -E2BIG, "too many processes: more than %d in all, or more than "
				    "64 %s", MASTER_PROCS, role_name(programs[i].role));
			*c = (struct master_child){ .program = &programs[i], .instance = k, .control_fd = -1 };
			if (programs[i].role == ROLE_FILTERD) { /* nobody asks it anything by hand */
				master.n_children++;
				continue;
			}
			c->control_fd = control_socket(s, programs[i].role, k, e);
			if (c->control_fd < 0)
				return c->control_fd;
			master.n_children++;
		}
	}
	return 0;
}

/* ---- finding the program ---- */

/* Beside this program, in its build tree, or where `make install` puts it. */
static int
program_path(const struct program *p, char out[static PATH_MAX])
{
	char self[PATH_MAX - 128];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		*slash = '\0';
		snprintf(out, PATH_MAX, "%s/%s", self, role_name(p->role));
		if (access(out, X_OK) == 0)
			return 0;
		snprintf(out, PATH_MAX, "%s/../%s/%s", self, p->dir, role_name(p->role));
		if (access(out, X_OK) == 0)
			return 0;
	}
	snprintf(out, PATH_MAX, "%s/%s", PKGLIBEXECDIR, role_name(p->role));
	return access(out, X_OK) == 0 ? 0 : -errno;
}

void
role_user(enum role r, char out[static 64])
{
	*out = '\0';
	if (getuid() == 0 && master.settings->user_prefix.n)
		snprintf(out, 64, "%.*s-%s", STR_ARG(master.settings->user_prefix), role_name(r));
}

/* ---- frames ---- */

void
child_send(struct master_child *c, uint16_t type, uint64_t id, const struct buf *b, int fd)
{
	struct iovec iov = { b ? b->p : NULL, b ? b->n : 0 };

	if (!c->connected) {
		if (fd >= 0)
			close(fd);
		return;
	}
	conn_send(&c->conn, type, 0, id, &iov, 1, fd);
	conn_flush(&c->conn);
}

static void
send_self(struct master_child *c)
{
	struct buf b = { 0 };
	char user[64];

	role_user(c->program->role, user);
	wire_u64(&b, SU_INSTANCE, c->instance);
	wire_u64(&b, SU_NUMBER, c->number);
	wire_str(&b, SU_USER, str_c(user));
	if (c->program->ticket_key)
		wire_str(&b, SU_KEY, str_from(master.key, sizeof master.key));
	for (size_t i = 0; i < n_programs; i++) {
		size_t at = wire_begin(&b, SU_ROLES);

		wire_u64(&b, SU_ROLE, programs[i].role);
		wire_u64(&b, SU_COUNT, instances(master.settings, programs[i].role));
		wire_end(&b, at);
	}
	child_send(c, SETUP_SELF, 0, &b, -1);
	buf_done(&b);
}

static void
send_config(struct master_child *c)
{
	struct buf text = { 0 }, b = { 0 };

	if (c->program->role == ROLE_FILTERD)
		settings_text_plugin(filters_settings(c), c->instance + 1, &text);
	else
		settings_text(master.settings, c->program->secrets, &text);
	wire_str(&b, SU_TEXT, buf_view(&text));
	child_send(c, SETUP_CONFIG, 0, &b, -1);
	buf_done(&b);
	buf_done(&text);
}

static int
read_pem(struct str path, struct buf *b, uint16_t tag, struct err *e)
{
	char name[PATH_MAX];
	char *t = malloc(PEM_MAX);
	ssize_t n;
	int fd, code = 0;

	snprintf(name, sizeof name, "%.*s", STR_ARG(path));
	fd = open(name, O_RDONLY | O_CLOEXEC);
	n = fd < 0 || !t ? -1 : read(fd, t, PEM_MAX);
	if (n < 0)
		code = err_sys(e, -errno, "cannot read %s", name);
	else if ((size_t)n == PEM_MAX)
		code = err_set(e, -EFBIG, "%s is longer than %u bytes", name, PEM_MAX);
	else
		wire_str(b, tag, str_from(t, (size_t)n));
	if (fd >= 0)
		close(fd);
	if (t)
		explicit_bzero(t, PEM_MAX);
	free(t);
	return code;
}

int
tls_read(const struct settings *s, struct buf *out, struct err *e)
{
	for (size_t i = 0; i < s->n_tls; i++) {
		size_t at = wire_begin(out, SU_PAIR);

		if (read_pem(s->tls[i].cert_file, out, SU_CERT, e) ||
		    read_pem(s->tls[i].key_file, out, SU_PRIVATE, e))
			return e->code;
		wire_end(out, at);
	}
	return 0;
}

static void
send_tls(struct master_child *c)
{
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };
	struct err e = { 0 };

	if (!c->program->listens || !master.settings->n_tls)
		return;
	if (tls_read(master.settings, &b, &e))
		LOG_ERROR("tls.unreadable", L_C("text", e.text));
	else
		child_send(c, SETUP_TLS, 0, &b, -1);
	if (b.p)
		explicit_bzero(b.p, b.n);
	buf_done(&b);
}

static void
send_listen(struct master_child *c, const struct master_listener *l)
{
	struct buf b = { 0 };

	wire_str(&b, SU_TEXT, str_c(l->name));
	wire_str(&b, SU_ADDRESS, str_c(l->address));
	wire_u64(&b, SU_PORT, l->port);
	child_send(c, SETUP_LISTEN, 0, &b, fcntl(l->fd, F_DUPFD_CLOEXEC, 10));
	buf_done(&b);
}

static void
send_unlisten(struct master_child *c, const struct master_listener *l)
{
	struct buf b = { 0 };

	wire_str(&b, SU_TEXT, str_c(l->name));
	wire_str(&b, SU_ADDRESS, str_c(l->address));
	wire_u64(&b, SU_PORT, l->port);
	child_send(c, SETUP_UNLISTEN, 0, &b, -1);
	buf_done(&b);
}

static void
send_listeners(struct master_child *c)
{
	for (size_t i = 0; i < master.n_listeners; i++)
		if (master.listeners[i].role == c->program->role)
			send_listen(c, &master.listeners[i]);
}

/* After a reload: those that went (first: a changed one keeps its name), then
 * the new ones. One whose options changed goes and comes again; the socket is open
 * here all the while, so that no connection is refused. */
static void
send_listener_changes(struct master_child *c)
{
	for (int fresh = 0; fresh <= 1; fresh++)
		for (size_t i = 0; i < master.n_listeners; i++) {
			struct master_listener *l = &master.listeners[i];

			if (l->role != c->program->role)
				continue;
			if (!fresh && (!l->keep || l->changed))
				send_unlisten(c, l);
			else if (fresh && l->keep && (l->fresh || l->changed))
				send_listen(c, l);
		}
}

static void
send_end(struct master_child *to, uint16_t type, const struct master_child *peer, int fd)
{
	struct buf b = { 0 };

	wire_u64(&b, SU_ROLE, peer->program->role);
	wire_u64(&b, SU_INSTANCE, peer->instance);
	wire_u64(&b, SU_NUMBER, peer->number);
	child_send(to, type, 0, &b, fd);
	buf_done(&b);
}

static void
make_channel(struct master_child *caller, struct master_child *callee)
{
	int sv[2], size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0) {
		LOG_ERROR("master.socketpair_failed", L_C("why", strerror(errno)));
		return;
	}
	for (int i = 0; i < 2; i++)
		setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	send_end(caller, SETUP_CALLEE, callee, sv[0]);
	send_end(callee, SETUP_CALLER, caller, sv[1]);
}

static void
make_channels(struct master_child *c)
{
	for (size_t i = 0; i < master.n_children; i++) {
		struct master_child *o = &master.children[i];

		if (o == c || !o->connected)
			continue;
		if (peers_channel(c->program->role, o->program->role))
			make_channel(c, o);
		if (peers_channel(o->program->role, c->program->role))
			make_channel(o, c);
	}
}

/* ---- a reload, and gathering metrics: one of each at a time ---- */

static struct {
	unsigned waiting;
	struct err first;
	void (*done)(void *, const struct err *);
	void *arg;
} reload;

static struct {
	unsigned waiting;
	void (*done)(void *, struct buf *);
	void *arg;
} gather;

static void
reload_step(const struct err *e)
{
	void (*done)(void *, const struct err *) = reload.done;

	if (e && !reload.first.code)
		reload.first = *e;
	if (--reload.waiting || !done)
		return;
	reload.done = NULL;
	done(reload.arg, reload.first.code ? &reload.first : NULL);
}

/* Those that the first settings had no use for. */
static void
start_new(void)
{
	struct err e;

	for (size_t i = 0; i < master.n_children; i++)
		if (!master.children[i].number && child_start(&master.children[i], &e))
			LOG_ERROR("master.start_failed", L_C("text", e.text));
}

void
children_reload(void (*done)(void *, const struct err *), void *arg)
{
	reload.done = done;
	reload.arg = arg;
	reload.first = (struct err){ 0 };
	reload.waiting = 1;
	for (size_t i = 0; i < master.n_children; i++) {
		struct master_child *c = &master.children[i];

		if (!c->connected)
			continue;
		send_config(c);
		send_tls(c);
		send_listener_changes(c);
		child_send(c, SETUP_RELOADED, 1, NULL, -1);
		c->waiting = true;
		reload.waiting++;
	}
	start_new();
	reload_step(NULL);
}

static void
gather_step(void)
{
	void (*done)(void *, struct buf *) = gather.done;
	struct str texts[MASTER_PROCS + 1];
	struct buf own = { 0 }, all = { 0 };
	size_t n = 0;

	if (--gather.waiting || !done)
		return;
	gather.done = NULL;
	metrics_put(&own, "posthorn", 0);
	texts[n++] = buf_view(&own);
	for (size_t i = 0; i < master.n_children; i++)
		if (master.children[i].metrics.n)
			texts[n++] = buf_view(&master.children[i].metrics);
	metrics_merge(&all, texts, n);
	done(gather.arg, &all);
	for (size_t i = 0; i < master.n_children; i++)
		buf_done(&master.children[i].metrics);
	buf_done(&own);
	buf_done(&all);
}

void
children_metrics(void (*done)(void *, struct buf *), void *arg)
{
	struct buf busy = { 0 };

	if (gather.done) {
		done(arg, &busy); /* two scrapes at once: the second gets nothing */
		return;
	}
	gather.done = done;
	gather.arg = arg;
	gather.waiting = 1;
	for (size_t i = 0; i < master.n_children; i++)
		if (master.children[i].ready) {
			gather.waiting++;
			master.children[i].asked = true;
			child_send(&master.children[i], SETUP_METRICS, 2, NULL, -1);
		}
	gather_step();
}

/* ---- frames from a child ---- */

static void
from_child(struct conn *conn, struct frame *f)
{
	struct master_child *c = LIST_ENTRY(conn, struct master_child, conn);
	struct wire_error we;
	struct err e = { 0 };

	if (f->fd >= 0)
		close(f->fd);
	if (f->type == SETUP_READY) {
		c->ready = true;
		c->started_ms = clock_ms();
		filters_ready(c);
		master_child_ready();
	} else if (f->type == SETUP_RELOADED && c->waiting) {
		c->waiting = false;
		if ((f->flags & WIRE_ERROR) && wire_error_get(f->body, &we) == 0)
			err_set(&e, we.code, "%s: %.*s", role_name(c->program->role), STR_ARG(we.text));
		reload_step(e.code ? &e : NULL);
	} else if (f->type == SETUP_METRICS) {
		buf_clear(&c->metrics);
		buf_str(&c->metrics, f->body);
		if (c->asked && gather.done) {
			c->asked = false;
			gather_step();
		}
	}
}

static void
child_hung_up(struct conn *conn, const char *why)
{
	struct master_child *c = LIST_ENTRY(conn, struct master_child, conn);
	struct err e;

	if (why)
		LOG_ERROR("master.bad_frame", L_C("child", role_name(c->program->role)), L_C("why", why));
	if (c->asked && gather.done) {
		c->asked = false;
		gather_step();
	}
	if (c->waiting) {
		c->waiting = false;
		err_set(&e, -EPIPE, "%s died while it took the new config", role_name(c->program->role));
		reload_step(&e);
	}
	c->connected = c->ready = false;
	conn_done(&c->conn);
}

/* ---- starting and dying ---- */

static void
exec_child(const char *path, int fd)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 1; i < 32; i++)
		sigaction(i, &sa, NULL);
	if (fd == SETUP_FD)
		fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, SETUP_FD) < 0)
		_exit(75);
	execl(path, role_name(role_by_name(strrchr(path, '/') + 1)), (char *)NULL);
	dprintf(2, "posthorn: cannot run %s: %s\n", path, strerror(errno));
	_exit(75);
}

/* Whether the settings have something for it to do. */
static bool
wanted(const struct master_child *c)
{
	if (c->program->role == ROLE_TABLED)
		return conf_wants_tabled(master.settings);
	return !c->idle;
}

int
child_start(struct master_child *c, struct err *e)
{
	char path[PATH_MAX];
	int sv[2], r = program_path(c->program, path);

	if (!wanted(c))
		return 0;
	if (r)
		return err_sys(e, r, "cannot find the program %s (%s)", role_name(c->program->role), path);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, -errno, "cannot make a channel");
	c->number = random_number();
	log_flush();
	c->pid = fork();
	if (c->pid == 0)
		exec_child(path, sv[1]);
	close(sv[1]);
	if (c->pid < 0) {
		c->pid = 0;
		close(sv[0]);
		return err_sys(e, -errno, "cannot start %s", role_name(c->program->role));
	}
	c->conn = (struct conn){ .on_frame = from_child, .on_close = child_hung_up };
	if (conn_open(&c->conn, master.loop, sv[0], e))
		return e->code;
	c->connected = true;
	c->started_ms = clock_ms();
	send_self(c);
	send_config(c);
	send_tls(c);
	send_listeners(c);
	if (c->control_fd >= 0)
		child_send(c, SETUP_CONTROL, 0, NULL, fcntl(c->control_fd, F_DUPFD_CLOEXEC, 10));
	if (c->program->listens)
		child_send(c, SETUP_CENSUS, 0, NULL,
		    fcntl(census_fds[c->program - programs], F_DUPFD_CLOEXEC, 10));
	make_channels(c);
	child_send(c, SETUP_GO, 0, NULL, -1);
	LOG_INFO("master.started", L_C("child", role_name(c->program->role)),
	    L_U64("instance", c->instance), L_I64("pid", c->pid));
	return 0;
}

static void
restart(void *arg)
{
	struct master_child *c = arg;
	struct err e;

	if (master.stopping || c->pid || c->idle)
		return;
	c->restarts++;
	if (child_start(c, &e)) {
		LOG_ERROR("master.start_failed", L_C("text", e.text));
		loop_timer(master.loop, &c->restart, BACKOFF_MAX_MS, restart, c);
	}
}

void
child_exited(pid_t pid, int status)
{
	struct master_child *c = NULL;
	bool healthy;

	for (size_t i = 0; i < master.n_children; i++)
		if (master.children[i].pid == pid)
			c = &master.children[i];
	if (!c)
		return;
	c->pid = 0;
	healthy = c->ready && clock_ms() - c->started_ms >= HEALTHY_MS;
	if (c->connected) {
		conn_close(&c->conn);
		child_hung_up(&c->conn, NULL);
	}
	if (WIFSIGNALED(status))
		snprintf(c->last_exit, sizeof c->last_exit, "signal %d", WTERMSIG(status));
	else
		snprintf(c->last_exit, sizeof c->last_exit, "status %d", WEXITSTATUS(status));
	if (c->fresh)
		filters_died(c);
	if (master.stopping || c->idle) {
		LOG_INFO("master.ended", L_C("child", role_name(c->program->role)), L_I64("pid", pid),
		    L_C("how", c->last_exit));
		return;
	}
	c->backoff_ms = healthy || !c->backoff_ms ? BACKOFF_FIRST_MS : c->backoff_ms * 2;
	if (c->backoff_ms > BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MAX_MS;
	if (c->program->role == ROLE_FILTERD && c->backoff_ms > BACKOFF_PLUGIN_MS)
		c->backoff_ms = BACKOFF_PLUGIN_MS;
	if (children_ill(c))
		master_child_ready();
	LOG_ERROR("master.died", L_C("child", role_name(c->program->role)),
	    L_U64("instance", c->instance), L_I64("pid", pid), L_C("how", c->last_exit),
	    L_U64("restart_ms", c->backoff_ms));
	loop_timer(master.loop, &c->restart, c->backoff_ms, restart, c);
}

unsigned
children_count(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < master.n_children; i++)
		n += wanted(&master.children[i]);
	return n;
}

bool
children_all_ready(void)
{
	for (size_t i = 0; i < master.n_children; i++)
		if (!master.children[i].ready && wanted(&master.children[i]) && !children_ill(&master.children[i]))
			return false;
	return true;
}

bool
children_ill(const struct master_child *c)
{
	return c->program->role == ROLE_FILTERD && !c->ready && c->last_exit[0];
}
