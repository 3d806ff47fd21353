/*
 * What the master answers: the admin's verbs on run_dir/master.ctl, and
 * Prometheus on the private listener (HTTP/1.0 on a loopback address or a UNIX
 * socket: one request line is looked at, the rest is read and dropped).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/control.h"
#include "mta/master_private.h"

#define ADMINS_MAX 32
#define HTTP_MAX 4096
#define PART (512u << 10)

struct admin {
	struct conn conn;
	uint64_t id; /* of the request that waits */
	bool gone;
	bool busy;   /* an answer is on its way: the struct must stay */
};

static struct watch control_watch, metrics_watch;
static unsigned n_admins;

/* ---- verbs ---- */

static void
admin_free(void *arg)
{
	struct admin *a = arg;

	conn_done(&a->conn);
	free(a);
}

static void
admin_release(struct admin *a)
{
	if (a->gone && !a->busy) {
		n_admins--;
		loop_defer(master.loop, admin_free, a);
	}
}

static void
answer(struct admin *a, uint16_t type, uint8_t flags, const struct buf *b)
{
	struct iovec iov = { b ? b->p : NULL, b ? b->n : 0 };

	conn_send(&a->conn, type, (uint8_t)(WIRE_ANSWER | flags), a->id, &iov, 1, -1);
	conn_flush(&a->conn);
}

static void
answer_err(struct admin *a, uint16_t type, const struct err *e)
{
	struct wire_error we = { .code = e->code, .text = str_c(e->text) };
	struct buf b = { 0 };

	wire_error_put(&b, &we);
	answer(a, type, WIRE_ERROR, &b);
	buf_done(&b);
}

static enum proc_state
state_of(const struct master_child *c)
{
	if (!c->pid)
		return PROC_BACKOFF;
	if (master.stopping)
		return PROC_STOPPING;
	return c->ready ? PROC_RUNNING : PROC_STARTING;
}

static void
answer_status(struct admin *a)
{
	static struct master_proc procs[MASTER_PROCS];
	static char users[MASTER_PROCS][64];
	static struct master_listen listens[MASTER_LISTENERS];
	struct master_status s = { .pid = (uint64_t)getpid(),
		.uptime_ms = clock_ms() - master.started_ms, .version = STR(PACKAGE_VERSION),
		.config_path = str_c(master.opts.config_path), .procs = procs,
		.listens = listens, .n_listens = master.n_listeners };
	struct buf b = { 0 };

	for (size_t i = 0; i < master.n_children; i++) {
		struct master_child *c = &master.children[i];

		if (c->idle || !c->number)
			continue; /* not wanted */
		role_user(c->program->role, users[i]);
		procs[s.n_procs++] = (struct master_proc){ .role = str_c(role_name(c->program->role)),
			.instance = c->instance, .state = state_of(c), .pid = (uint64_t)c->pid,
			.uptime_ms = c->pid ? clock_ms() - c->started_ms : 0, .restarts = c->restarts,
			.user = str_c(users[i]), .last_exit = str_c(c->last_exit) };
	}
	for (size_t i = 0; i < master.n_listeners; i++)
		listens[i] = (struct master_listen){ str_c(master.listeners[i].name),
			str_c(master.listeners[i].address), master.listeners[i].port };
	master_status_put(&b, &s);
	answer(a, MSG_MASTER_STATUS, 0, &b);
	buf_done(&b);
}

static void
answer_config(struct admin *a)
{
	struct buf text = { 0 }, b = { 0 };

	settings_text(master.settings, 0, &text);
	master_config_put(&b, buf_view(&text));
	answer(a, MSG_MASTER_CONFIG, 0, &b);
	buf_done(&b);
	buf_done(&text);
}

static void
reloaded(void *arg, const struct err *e)
{
	struct admin *a = arg;

	a->busy = false;
	if (e)
		answer_err(a, MSG_MASTER_RELOAD, e);
	else
		answer(a, MSG_MASTER_RELOAD, 0, NULL);
	admin_release(a);
}

static void
answer_reload(struct admin *a)
{
	struct err e = { 0 };

	a->busy = true;
	if (master_reload(&e, reloaded, a))
		reloaded(a, &e);
}

static void
upgrade_begins(void *arg, const struct err *e)
{
	struct admin *a = arg;

	a->busy = false;
	if (e)
		answer_err(a, MSG_MASTER_UPGRADE, e);
	else
		answer(a, MSG_MASTER_UPGRADE, 0, NULL);
	admin_release(a);
}

static void
answer_upgrade(struct admin *a)
{
	struct err e = { 0 };

	a->busy = true;
	if (master_upgrade(&e, upgrade_begins, a))
		upgrade_begins(a, &e);
}

static void
metrics_gathered(void *arg, struct buf *text)
{
	struct admin *a = arg;
	struct str rest = buf_view(text);

	a->busy = false;
	do {
		struct str part = str_head(rest, PART);
		struct buf b = { 0 };

		rest = str_skip(rest, part.n);
		wire_str(&b, 1, part);
		if (rest.n)
			control_more(&b);
		answer(a, MSG_MASTER_METRICS, 0, &b);
		buf_done(&b);
	} while (rest.n);
	admin_release(a);
}

static void
from_admin(struct conn *conn, struct frame *f)
{
	struct admin *a = (struct admin *)conn;
	struct err e;

	if (f->fd >= 0)
		close(f->fd);
	if (a->busy)
		return; /* one request at a time, as the command line does */
	a->id = f->id;
	switch (f->type) {
	case MSG_MASTER_STATUS:
		answer_status(a);
		break;
	case MSG_MASTER_STOP:
		answer(a, MSG_MASTER_STOP, 0, NULL);
		master_stop();
		break;
	case MSG_MASTER_RELOAD:
		answer_reload(a);
		break;
	case MSG_MASTER_UPGRADE:
		answer_upgrade(a);
		break;
	case MSG_MASTER_CONFIG:
		answer_config(a);
		break;
	case MSG_MASTER_METRICS:
		a->busy = true;
		children_metrics(metrics_gathered, a);
		break;
	default:
		err_set(&e, -ENOSYS, "the master does not know message %u", f->type);
		answer_err(a, f->type, &e);
	}
}

static void
admin_gone(struct conn *conn, const char *why)
{
	struct admin *a = (struct admin *)conn;

	a->gone = true;
	admin_release(a);
}

static void
on_control(struct watch *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred;
	socklen_t n = sizeof cred;
	struct admin *a;

	if (fd < 0)
		return;
	if (n_admins >= ADMINS_MAX || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 ||
	    (cred.uid != 0 && cred.uid != getuid()) || !(a = calloc(1, sizeof *a))) {
		close(fd);
		return;
	}
	a->conn.on_frame = from_admin;
	a->conn.on_close = admin_gone;
	if (conn_open(&a->conn, master.loop, fd, NULL)) {
		admin_free(a);
		return;
	}
	n_admins++;
}

int
control_start(struct err *e)
{
	int fd = control_socket(master.settings, ROLE_MASTER, 0, e);

	if (fd < 0)
		return fd;
	control_watch = (struct watch){ .fd = fd, .fn = on_control };
	return loop_watch_level(master.loop, &control_watch, e);
}

/* ---- metrics over HTTP ---- */

struct scrape {
	struct watch watch;
	struct buf in, out;
	size_t off;
	struct timer limit;
	bool asked, ended;
};

static void
scrape_free(void *arg)
{
	struct scrape *s = arg;

	buf_done(&s->in);
	buf_done(&s->out);
	free(s);
}

static void
scrape_end(struct scrape *s)
{
	if (s->ended)
		return;
	s->ended = true;
	loop_timer_clear(master.loop, &s->limit);
	loop_unwatch(master.loop, &s->watch);
	close(s->watch.fd);
	if (!s->asked)
		loop_defer(master.loop, scrape_free, s);
}

static void
scrape_limit(void *arg)
{
	scrape_end(arg);
}

static void
scrape_write(struct scrape *s)
{
	while (s->off < s->out.n) {
		ssize_t w = send(s->watch.fd, s->out.p + s->off, s->out.n - s->off,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (w < 0 && errno == EAGAIN)
			return;
		if (w <= 0)
			break;
		s->off += (size_t)w;
	}
	scrape_end(s);
}

static void
scrape_gathered(void *arg, struct buf *text)
{
	struct scrape *s = arg;

	s->asked = false;
	if (s->ended) {
		loop_defer(master.loop, scrape_free, s);
		return;
	}
	buf_printf(&s->out, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
	    "Content-Length: %zu\r\nConnection: close\r\n\r\n", text->n);
	buf_str(&s->out, buf_view(text));
	scrape_write(s);
}

static void
scrape_request(struct scrape *s)
{
	struct str in = buf_view(&s->in);

	if (!str_starts(in, STR("GET ")) && !str_starts(in, STR("HEAD "))) {
		buf_puts(&s->out, "HTTP/1.0 405 Method Not Allowed\r\nConnection: close\r\n\r\n");
		scrape_write(s);
		return;
	}
	s->asked = true;
	children_metrics(scrape_gathered, s);
}

static void
on_scrape(struct watch *w, uint32_t events)
{
	struct scrape *s = LIST_ENTRY(w, struct scrape, watch);
	char t[1024];
	ssize_t r = 0;

	if (s->out.n) {
		scrape_write(s);
		return;
	}
	while (!s->asked && (r = recv(w->fd, t, sizeof t, MSG_DONTWAIT)) > 0) {
		buf_put(&s->in, t, (size_t)r);
		if (str_find(buf_view(&s->in), STR("\r\n\r\n")) >= 0 ||
		    str_find(buf_view(&s->in), STR("\n\n")) >= 0) {
			scrape_request(s);
			return;
		}
		if (s->in.over) {
			scrape_end(s);
			return;
		}
	}
	if (!s->asked && (r == 0 || errno != EAGAIN))
		scrape_end(s);
}

static void
on_metrics(struct watch *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct scrape *s = fd < 0 ? NULL : calloc(1, sizeof *s);

	if (!s) {
		if (fd >= 0)
			close(fd);
		return;
	}
	s->in.max = HTTP_MAX;
	s->watch = (struct watch){ .fd = fd, .fn = on_scrape };
	loop_timer(master.loop, &s->limit, 10000, scrape_limit, s);
	if (loop_watch(master.loop, &s->watch, NULL))
		scrape_end(s);
}

static int
metrics_socket(struct str where, struct err *e)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET };
	ptrdiff_t colon = str_rchr(where, ':');
	struct sockaddr *sa = (struct sockaddr *)&in;
	socklen_t n = sizeof in;
	char host[64];
	uint32_t port;
	int fd, one = 1;

	if (where.p[0] == '/') {
		snprintf(un.sun_path, sizeof un.sun_path, "%.*s", STR_ARG(where));
		unlink(un.sun_path);
		sa = (struct sockaddr *)&un;
		n = sizeof un;
	} else {
		snprintf(host, sizeof host, "%.*s", (int)(colon < 0 ? 0 : colon), where.p);
		if (colon < 0 || !str_u32(str_skip(where, (size_t)colon + 1), 65535, &port) ||
		    inet_pton(AF_INET, host, &in.sin_addr) != 1)
			return err_set(e, -EINVAL, "metrics address '%.*s' is neither a path nor IPv4:port",
			    STR_ARG(where));
		in.sin_port = htons((uint16_t)port);
	}
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, sa, n) < 0 || listen(fd, 16) < 0) {
		err_sys(e, -errno, "cannot listen for metrics on %.*s", STR_ARG(where));
		if (fd >= 0)
			close(fd);
		return e->code;
	}
	return fd;
}

int
metrics_start(struct err *e)
{
	int fd;

	if (!master.settings->metrics_address.n)
		return 0;
	fd = metrics_socket(master.settings->metrics_address, e);
	if (fd < 0)
		return fd;
	metrics_watch = (struct watch){ .fd = fd, .fn = on_metrics };
	return loop_watch_level(master.loop, &metrics_watch, e);
}
