/*
 * The skeleton of every daemon; see service.h, and setup.h for what passes on
 * descriptor 3.
 *
 *	set-up (loop runs until GO) -> init -> confine -> start -> READY
 *	  -> listeners open -> loop runs until STOP or the master has gone
 *
 * Old settings are kept for the life of the process: sessions and listeners
 * point into them, and a reload is rare.
 */
#include "lib/proc/service.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/census.h"
#include "lib/proc/chan_private.h"
#include "lib/proc/conn.h"
#include "lib/proc/metrics.h"
#include "lib/proc/setup.h"

#define LISTENERS_MAX 64
#define STOP_WAIT_MS 10000
#define FINISH_MS 8000u
#define FINISH_TICK_MS 20u

struct service_listener {
	struct service_listener *next;
	char name[64];            /* not its own alone: a listen block may have many addresses */
	char address[64];
	unsigned port;
	int fd;
	bool active;
};

/* A frame of the master's about one peer or one listener. */
struct peer_frame {
	enum role role;
	unsigned instance;
	uint64_t number;
	char text[64];
	char address[64];
	unsigned port;
};

/* A caller's channel that came before we can serve it. */
struct early_caller {
	struct early_caller *next;
	enum role role;
	unsigned instance;
	uint64_t number;
	int fd;
};

struct service {
	const struct service_spec *spec;
	struct loop *loop;
	struct conn master;
	struct settings *settings;
	struct arena *arena;      /* texts of config errors */
	struct tls_server *tls;
	struct service_listener *listeners;
	struct early_caller *callers;
	struct watch control;
	unsigned instance, instances;
	int census;               /* -1: none came */
	uint64_t number;
	unsigned char key[SETUP_KEY];
	char user[64];
	struct err failed;        /* of the new config, until RELOADED */
	bool go, running, stopping;
	struct timer drain;
	struct timer finish;
	const unsigned *active;   /* of service_finish */
	uint64_t finish_by;
	void (*last)(void);
};

static void set_up(struct service *s, struct frame *f);

struct loop *
service_loop(struct service *s)
{
	return s->loop;
}

const struct settings *
service_settings(struct service *s)
{
	return s->settings;
}

unsigned
service_instance(const struct service *s)
{
	return s->instance;
}

unsigned
service_instances(const struct service *s)
{
	return s->instances;
}

const unsigned char *
service_ticket_key(const struct service *s)
{
	return s->key;
}

struct tls_server *
service_tls(struct service *s)
{
	return s->tls;
}

void
service_stopped(struct service *s)
{
	loop_stop(s->loop);
}

static void
finish_tick(void *arg)
{
	struct service *s = arg;

	if (*s->active && clock_ms() < s->finish_by) {
		loop_timer(s->loop, &s->finish, FINISH_TICK_MS, finish_tick, s);
		return;
	}
	if (s->last)
		s->last();
	service_stopped(s);
}

void
service_finish(struct service *s, const unsigned *active, void (*last)(void))
{
	s->active = active;
	s->finish_by = clock_ms() + FINISH_MS;
	s->last = last;
	finish_tick(s);
}

static void
tell_master(struct service *s, uint16_t type, uint8_t flags, uint64_t id, const struct buf *b)
{
	struct iovec iov = { b ? b->p : NULL, b ? b->n : 0 };

	conn_send(&s->master, type, flags, id, &iov, 1, -1);
	conn_flush(&s->master);
}

/* ---- the config ---- */

static void
apply_log_level(const struct settings *c)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };

	for (enum log_level l = LOG_L_DEBUG; l <= LOG_L_ERROR; l++)
		if (str_eq(c->log_level, str_c(names[l])))
			log_threshold = l;
}

static void
apply_log_style(const struct settings *c)
{
	char name[256];

	snprintf(name, sizeof name, "%.*s", STR_ARG(c->hostname));
	log_set_style((enum log_style)c->log_style, name);
}

/* Every config that this process had: sessions of any age point into them. */
static struct past {
	struct past *before;
	struct settings *settings;
} *past;

static bool
keep_settings(struct settings *n)
{
	struct past *p = malloc(sizeof *p);

	if (p) {
		*p = (struct past){ past, n };
		past = p;
	}
	return p != NULL;
}

static void
take_config(struct service *s, struct str text)
{
	struct conf_errors errors = { 0 };
	struct settings *n = settings_parse(text, "posthorn.conf", s->arena, &errors);

	if (!n) {
		struct str why = errors.n ? errors.v[0].text : STR("it cannot be parsed");

		err_set(&s->failed, -EINVAL, "the new config was refused: %.*s", STR_ARG(why));
		return;
	}
	if (!keep_settings(n)) {
		settings_free(&n);
		err_set(&s->failed, -ENOMEM, "out of memory");
		return;
	}
	s->settings = n;
	apply_log_level(n);
	apply_log_style(n);
	if (s->running && s->spec->config)
		s->spec->config(s, n);
}

static void
take_tls(struct service *s, struct str body)
{
	struct tls_pair pairs[64] = { 0 };
	struct wire_field f, g;
	struct err e;
	size_t n = 0;

	while (wire_next(&body, &f) > 0 && n < 64) {
		struct str in = f.v;

		if (f.tag != SU_PAIR)
			continue;
		while (wire_next(&in, &g) > 0) {
			if (g.tag == SU_CERT)
				pairs[n].cert_pem = g.v;
			else if (g.tag == SU_PRIVATE)
				pairs[n].key_pem = g.v;
		}
		n++;
	}
	if (s->tls) {
		if (tls_server_reload(s->tls, pairs, n, &e))
			s->failed = e;
		return;
	}
	s->tls = n ? tls_server_new(pairs, n, &e) : NULL;
	if (n && !s->tls)
		fatal("tls.bad_certificate", "%s", e.text);
}

/* ---- listeners and the control socket ---- */

static const struct conf_listen *
listen_by_name(const struct settings *c, const char *name)
{
	for (size_t i = 0; i < c->n_listen; i++)
		if (str_eq(c->listen[i].name, str_c(name)))
			return &c->listen[i];
	return NULL;
}

static int
listener_start(struct service *s, struct service_listener *l, struct err *e)
{
	const struct conf_listen *ls = listen_by_name(s->settings, l->name);

	if (!ls || !s->spec->listen)
		return err_set(e, -EINVAL, "no listener '%s' in the config", l->name);
	l->active = true;
	return s->spec->listen(s, ls, l->fd, e);
}

static void
take_listener(struct service *s, const struct peer_frame *p, int fd)
{
	struct service_listener *l = calloc(1, sizeof *l);
	struct err e;

	if (!l) {
		close(fd);
		return;
	}
	snprintf(l->name, sizeof l->name, "%s", p->text);
	snprintf(l->address, sizeof l->address, "%s", p->address);
	l->port = p->port;
	l->fd = fd;
	l->next = s->listeners;
	s->listeners = l;
	if (s->running && listener_start(s, l, &e))
		s->failed = e;
}

static void
drop_listener(struct service *s, struct service_listener **at)
{
	struct service_listener *l = *at;

	if (l->active)
		session_unlisten_fd(s->loop, l->fd);
	else
		close(l->fd);
	*at = l->next;
	free(l);
}

static void
unlisten(struct service *s, const struct peer_frame *p)
{
	for (struct service_listener **at = &s->listeners; *at; at = &(*at)->next)
		if (!strcmp((*at)->name, p->text) && !strcmp((*at)->address, p->address) &&
		    (*at)->port == p->port) {
			drop_listener(s, at);
			return;
		}
}

static void
on_control(struct watch *w, uint32_t events)
{
	struct ucred cred;
	socklen_t n = sizeof cred;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	/* the socket's mode keeps others out already; this holds where it does not */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 ||
	    (cred.uid != 0 && cred.uid != getuid())) {
		LOG_WARN("control.refused", L_U64("uid", cred.uid));
		close(fd);
		return;
	}
	chan_peer_connect(ROLE_CLI, 0, 0, fd);
}

static void
watch_control(struct service *s)
{
	struct err e;

	if (loop_watch_level(s->loop, &s->control, &e))
		fatal("service.control_failed", "%s", e.text);
}

static void
take_control(struct service *s, int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	s->control = (struct watch){ .fd = fd, .fn = on_control };
	if (s->running)
		watch_control(s);
}

/* ---- stopping ---- */

static void
drain_tick(void *arg)
{
	struct service *s = arg;

	if (session_count(s->loop) == 0)
		loop_stop(s->loop);
	else
		loop_timer(s->loop, &s->drain, 20, drain_tick, s);
}

static void
stop_listening(struct service *s)
{
	while (s->listeners)
		drop_listener(s, &s->listeners);
}

static void
stop_now(void *arg)
{
	loop_stop(((struct service *)arg)->loop);
}

static void
stop(struct service *s)
{
	static struct timer limit;

	if (s->stopping)
		return;
	s->stopping = true;
	stop_listening(s);
	loop_timer(s->loop, &limit, STOP_WAIT_MS, stop_now, s);
	if (s->spec->stop) {
		s->spec->stop(s);
		return;
	}
	session_drain_all(s->loop);
	drain_tick(s);
}

static void
master_gone(struct conn *c, const char *why)
{
	struct service *s = (struct service *)((char *)c - offsetof(struct service, master));

	if (!s->go) {
		LOG_ERROR("service.no_master", L_C("text", why ? why : "the master has gone"));
		exit(75);
	}
	LOG_WARN("service.master_gone", L_C("text", why ? why : "stopping"));
	stop(s);
}

/* ---- set-up frames ---- */

static void
take_caller(struct service *s, const struct early_caller *who)
{
	struct early_caller *c;

	if (s->running) {
		chan_peer_connect(who->role, who->instance, who->number, who->fd);
		return;
	}
	c = malloc(sizeof *c);
	if (!c)
		fatal("service.no_memory", "out of memory");
	*c = *who;
	c->next = s->callers;
	s->callers = c;
}

static void
serve_early_callers(struct service *s)
{
	while (s->callers) {
		struct early_caller *c = s->callers;

		s->callers = c->next;
		chan_peer_connect(c->role, c->instance, c->number, c->fd);
		free(c);
	}
}

static void
take_self(struct service *s, struct str body)
{
	struct wire_field f, g;

	while (wire_next(&body, &f) > 0) {
		struct str in = f.v;
		enum role role = ROLE_MAX;
		unsigned count = 0;

		switch (f.tag) {
		case SU_INSTANCE:
			s->instance = (unsigned)wire_int(&f);
			break;
		case SU_NUMBER:
			s->number = wire_int(&f);
			break;
		case SU_USER:
			snprintf(s->user, sizeof s->user, "%.*s", STR_ARG(f.v));
			break;
		case SU_KEY:
			if (f.v.n == SETUP_KEY)
				memcpy(s->key, f.v.p, SETUP_KEY);
			break;
		case SU_ROLES:
			while (wire_next(&in, &g) > 0) {
				if (g.tag == SU_ROLE)
					role = (enum role)wire_int(&g);
				else if (g.tag == SU_COUNT)
					count = (unsigned)wire_int(&g);
			}
			if (role == s->spec->role)
				s->instances = count;
			if (role < ROLE_MAX && peers_channel(s->spec->role, role))
				chan_expect(role, count);
			break;
		}
	}
}

static struct peer_frame
peer_frame(struct str body)
{
	struct peer_frame p = { .role = ROLE_MAX };
	struct wire_field f;

	while (wire_next(&body, &f) > 0) {
		if (f.tag == SU_ROLE)
			p.role = (enum role)wire_int(&f);
		else if (f.tag == SU_INSTANCE)
			p.instance = (unsigned)wire_int(&f);
		else if (f.tag == SU_NUMBER)
			p.number = wire_int(&f);
		else if (f.tag == SU_TEXT)
			snprintf(p.text, sizeof p.text, "%.*s", STR_ARG(f.v));
		else if (f.tag == SU_ADDRESS)
			snprintf(p.address, sizeof p.address, "%.*s", STR_ARG(f.v));
		else if (f.tag == SU_PORT)
			p.port = (unsigned)wire_int(&f);
	}
	return p;
}

static void
answer_reload(struct service *s, uint64_t id)
{
	struct wire_error e = { .code = s->failed.code, .text = str_c(s->failed.text) };
	struct buf b = { 0 };

	if (s->failed.code)
		wire_error_put(&b, &e);
	tell_master(s, SETUP_RELOADED, WIRE_ANSWER | (s->failed.code ? WIRE_ERROR : 0), id, &b);
	s->failed = (struct err){ 0 };
	buf_done(&b);
}

static void
answer_metrics(struct service *s, uint64_t id)
{
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };

	metrics_put(&b, role_name(s->spec->role), s->instance);
	tell_master(s, SETUP_METRICS, WIRE_ANSWER, id, &b);
	buf_done(&b);
}

static void
on_master(struct conn *c, struct frame *f)
{
	set_up((struct service *)((char *)c - offsetof(struct service, master)), f);
}

static void
set_up(struct service *s, struct frame *f)
{
	struct peer_frame p = f->type == SETUP_CONFIG ? (struct peer_frame){ 0 } : peer_frame(f->body);

	switch (f->type) {
	case SETUP_SELF:
		take_self(s, f->body);
		break;
	case SETUP_CONFIG: {
		struct str body = f->body;
		struct wire_field g;

		while (wire_next(&body, &g) > 0)
			if (g.tag == SU_TEXT)
				take_config(s, g.v);
		break;
	}
	case SETUP_TLS:
		take_tls(s, f->body);
		break;
	case SETUP_LISTEN:
		take_listener(s, &p, f->fd);
		break;
	case SETUP_UNLISTEN:
		unlisten(s, &p);
		break;
	case SETUP_CONTROL:
		take_control(s, f->fd);
		break;
	case SETUP_CENSUS:
		s->census = f->fd;
		break;
	case SETUP_CALLEE:
		chan_connect(p.role, p.instance, f->fd);
		break;
	case SETUP_CALLER:
		take_caller(s, &(struct early_caller){ NULL, p.role, p.instance, p.number, f->fd });
		break;
	case SETUP_GO:
		s->go = true;
		loop_stop(s->loop);
		break;
	case SETUP_RELOADED:
		answer_reload(s, f->id);
		break;
	case SETUP_METRICS:
		answer_metrics(s, f->id);
		break;
	case SETUP_DRAIN:
		stop_listening(s);
		session_drain_all(s->loop);
		break;
	case SETUP_STOP:
		stop(s);
		break;
	}
}

/* ---- running ---- */

static void
raise_fd_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* Memory that comes and goes with every message stays in the process: giving it
 * back each time and faulting it in again costs as much as the message's own work. */
static void
keep_memory(void)
{
	mallopt(M_TRIM_THRESHOLD, 4 << 20);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
}

static void
on_usr1(struct watch *w, uint32_t events)
{
	char c[16];

	while (read(w->fd, c, sizeof c) > 0)
		co_dump(loop_current());
}

static int usr1_pipe[2];

static void
usr1(int sig)
{
	int saved = errno;

	if (write(usr1_pipe[1], "u", 1) < 0)
		errno = saved;
	errno = saved;
}

/* SIGUSR1 dumps the sleeping coroutines; the terminal's signals are the
 * master's business. */
static void
signals(struct service *s)
{
	static struct watch w;
	struct sigaction sa = { .sa_handler = usr1, .sa_flags = SA_RESTART };

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (pipe2(usr1_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	w = (struct watch){ .fd = usr1_pipe[0], .fn = on_usr1 };
	loop_watch_level(s->loop, &w, NULL);
	sigaction(SIGUSR1, &sa, NULL);
}

static void
get_ready(struct service *s)
{
	struct err e = { 0 };

	if (!s->settings)
		fatal("service.config", "%s", s->failed.code ? s->failed.text : "no config came");
	if (s->spec->confine && confine_files_as(s->spec->confine, s->user, &e))
		fatal("confine.failed", "%s", e.text);
	if (s->spec->init && s->spec->init(s, &e))
		fatal("service.init_failed", "%s", e.text);
	if (s->spec->listen && census_open(s->census, s->instance, s->instances, &e))
		fatal("service.init_failed", "%s", e.text);
	if (s->spec->confine && confine(s->spec->confine, s->user, &e))
		fatal("confine.failed", "%s", e.text);
	LOG_INFO("confine.done", L_C("how", confine_summary()));
	if (s->spec->start && s->spec->start(s, &e))
		fatal("service.start_failed", "%s", e.text);
	s->running = true;
	serve_early_callers(s);
	if (s->control.fn)
		watch_control(s);
	for (struct service_listener *l = s->listeners; l; l = l->next)
		if (listener_start(s, l, &e))
			fatal("service.listen_failed", "%s", e.text);
}

int
service_run(const struct service_spec *spec, int argc, char **argv)
{
	static struct service s;
	struct err e;

	if (argc > 1 || fcntl(SETUP_FD, F_GETFD) < 0) {
		fprintf(stderr, "%s is started by posthorn(1): see `posthorn start`.\n",
		    role_name(spec->role));
		return 2;
	}
	fcntl(SETUP_FD, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	raise_fd_limit();
	keep_memory();
	s.spec = spec;
	s.census = -1;
	log_init(role_name(spec->role), 0, 2);
	s.loop = loop_new(&e);
	s.arena = arena_new(0);
	if (!s.loop || !s.arena)
		fatal("service.no_memory", "out of memory");
	signals(&s);
	chan_set_up(s.loop, spec, &s);
	s.master.on_frame = on_master;
	s.master.on_close = master_gone;
	if (conn_open(&s.master, s.loop, SETUP_FD, &e))
		fatal("service.no_master", "%s", e.text);
	loop_run(s.loop); /* until GO */
	log_init(role_name(spec->role), s.instance, 2);
	get_ready(&s);
	tell_master(&s, SETUP_READY, 0, 0, NULL);
	loop_run(s.loop);
	LOG_INFO("service.stopped", L_U64("pid", getpid()));
	log_flush();
	return 0;
}
