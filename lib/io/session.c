/*
 * Parked sessions; see session.h.
 *
 *	          input, poke, idle, drain
 *	PARKED ------------------------------> READY (waits for a coroutine
 *	  ^                                      |    when max_active are busy)
 *	  | nothing more to read                 v
 *	  +----------------------------------- RUNNING --- CLOSE, peer gone ---> freed at
 *	                                                                       the turn's end
 *
 * Only the loop's thread touches any of this. A session is in the loop's list
 * `all` from accept to close; a READY one that found no free coroutine stands
 * in `queue`, first come first served.
 */
#include "lib/io/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/io/co.h"
#include "lib/io/stream_private.h"

#define ACCEPT_BATCH 64
#define PARK_DEFAULT_MS 300000

enum state { PARKED, READY, RUNNING };

struct session {
	struct list all, queue;
	struct listener *listener;
	struct pool *pool;
	struct stream *stream;
	void *proto;                /* the protocol's state */
	uint64_t id;
	uint64_t idle_ms;
	struct timer idle;
	struct sockaddr_storage peer;
	struct sockaddr_storage *local; /* NULL: the socket's own */
	char peer_text[INET6_ADDRSTRLEN];
	enum state state;
	enum session_reason why;    /* for the next run */
	bool poked, drain;
};

struct listener {
	struct list link;
	struct watch watch;
	struct pool *pool;
	const struct session_kind *kind;
	void *user;
	unsigned refs;              /* the owner, and each session */
	struct timer retry;         /* accept ran out of descriptors */
};

/* What the listeners of one loop share. */
struct pool {
	struct loop *loop;
	struct list all, queue, listeners;
	unsigned n, active;
	uint64_t next_id;
};

static _Thread_local struct pool *pool_of_thread;

static struct pool *
pool_get(struct loop *l)
{
	struct pool *p = pool_of_thread;

	if (p && p->loop == l)
		return p;
	p = calloc(1, sizeof *p);
	if (!p)
		panic("out of memory for sessions");
	p->loop = l;
	list_init(&p->all);
	list_init(&p->queue);
	list_init(&p->listeners);
	pool_of_thread = p;
	return p;
}

static void
listener_unref(struct listener *li)
{
	if (--li->refs == 0)
		free(li);
}

/* ---- addresses ---- */

static void
peer_text(struct session *s)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&s->peer;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&s->peer;

	s->peer_text[0] = '\0';
	if (s->peer.ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, s->peer_text, sizeof s->peer_text);
	else if (s->peer.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, s->peer_text, sizeof s->peer_text);
	else if (s->peer.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &v6->sin6_addr, s->peer_text, sizeof s->peer_text);
	else
		snprintf(s->peer_text, sizeof s->peer_text, "%s",
		    s->peer.ss_family == AF_UNSPEC ? "unknown" : "local");
}

void
session_set_peer(struct session *s, const struct sockaddr_storage *peer)
{
	s->peer = *peer;
	peer_text(s);
}

const struct sockaddr_storage *
session_peer(const struct session *s)
{
	return &s->peer;
}

void
session_set_local(struct session *s, const struct sockaddr_storage *local)
{
	if (!s->local)
		s->local = malloc(sizeof *s->local);
	if (s->local)
		*s->local = *local;
}

const struct sockaddr_storage *
session_local(const struct session *s)
{
	static _Thread_local struct sockaddr_storage a;
	socklen_t n = sizeof a;

	if (s->local)
		return s->local;
	memset(&a, 0, sizeof a);
	getsockname(stream_fd(s->stream), (struct sockaddr *)&a, &n);
	return &a;
}

const char *
session_peer_text(const struct session *s)
{
	return s->peer_text;
}

/* ---- life of a session ---- */

static void
session_end(struct session *s)
{
	struct pool *p = s->pool;

	loop_timer_clear(p->loop, &s->idle);
	list_remove(&s->all);
	list_remove(&s->queue);
	if (s->listener->kind->close)
		s->listener->kind->close(s);
	stream_free(&s->stream);
	p->n--;
	listener_unref(s->listener);
	free(s->local);
	free(s);
}

static void session_start(struct session *s);

static void
start_queued(struct pool *p)
{
	struct list *q = list_pop(&p->queue);

	if (q)
		session_start(LIST_ENTRY(q, struct session, queue));
}

static void
end_deferred(void *arg)
{
	struct session *s = arg;
	struct pool *p = s->pool;

	session_end(s);
	start_queued(p);
}

static void
on_idle(void *arg)
{
	struct session *s = arg;

	if (s->state != PARKED)
		return;
	s->why = SESSION_IDLE;
	session_start(s);
}

static void
on_input(void *arg)
{
	struct session *s = arg;

	if (s->state != PARKED)
		return;
	s->why = SESSION_INPUT;
	session_start(s);
}

/* What makes a session that has just returned SESSION_PARK run again, or not:
 * 1 run again, 0 park, negative the peer has gone. */
static int
more_to_do(struct session *s)
{
	ssize_t r;

	if (s->drain && s->why != SESSION_DRAIN) {
		s->why = SESSION_DRAIN;
		return 1;
	}
	if (s->poked) {
		s->poked = false;
		s->why = SESSION_POKED;
		return 1;
	}
	r = stream_try_fill(s->stream);
	if (r > 0) {
		s->why = SESSION_INPUT;
		return 1;
	}
	if (r == -EAGAIN)
		return 0;
	return r == 0 ? -EPIPE : (int)r;
}

static void
session_main(void *arg)
{
	struct session *s = arg;
	struct pool *p = s->pool;
	int more = 1;

	if (s->why == SESSION_INPUT && (more = more_to_do(s)) == 0) {
		/* woken for nothing: a false alarm of the socket */
		goto park;
	}
	while (more > 0) {
		enum session_reason why = s->why;
		enum session_next next = s->listener->kind->run(s, why);

		if (stream_flush(s->stream) < 0 || next == SESSION_CLOSE || why == SESSION_DRAIN) {
			more = -EPIPE;
			break;
		}
		more = more_to_do(s);
	}
park:
	p->active--;
	if (more < 0) {
		s->state = READY; /* no event may start it again */
		loop_defer(p->loop, end_deferred, s);
		return;
	}
	s->state = PARKED;
	stream_trim(s->stream);
	loop_timer(p->loop, &s->idle, s->idle_ms, on_idle, s);
	start_queued(p);
}

static void
session_start(struct session *s)
{
	struct pool *p = s->pool;
	unsigned max = s->listener->kind->max_active;

	loop_timer_clear(p->loop, &s->idle);
	if (p->active >= (max ? max : 2048))
		goto later;
	s->state = RUNNING;
	p->active++;
	if (co_spawn(p->loop, s->listener->kind->name, session_main, s) == 0)
		return;
	p->active--;
	s->state = READY;
	if (!p->active) {
		/* nobody will come by and start it */
		LOG_ERROR("session.no_stack", L_C("kind", s->listener->kind->name));
		loop_defer(p->loop, end_deferred, s);
		return;
	}
later:
	s->state = READY;
	list_push(&p->queue, &s->queue);
}

void
session_poke(struct session *s)
{
	if (s->state == PARKED) {
		s->why = SESSION_POKED;
		session_start(s);
		return;
	}
	s->poked = true;
}

/* ---- accepting ---- */

static void
refuse(int fd, const char *reply)
{
	if (reply && send(fd, reply, strlen(reply), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		LOG_DEBUG("session.refuse_unsent", L_I64("fd", fd));
	close(fd);
}

static void
accepted(struct listener *li, int fd, const struct sockaddr_storage *peer)
{
	const struct session_kind *k = li->kind;
	struct pool *p = li->pool;
	struct session *s;
	struct err e;
	int one = 1;

	if (p->n >= (k->max_sessions ? k->max_sessions : 20000)) {
		LOG_WARN("session.too_many", L_C("kind", k->name), L_U64("sessions", p->n));
		refuse(fd, k->busy_reply);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	s = calloc(1, sizeof *s);
	if (!s || !(s->stream = stream_new(p->loop, fd, k->in_max, &e))) {
		free(s);
		refuse(fd, k->busy_reply);
		return;
	}
	s->listener = li;
	s->pool = p;
	s->id = ++p->next_id;
	s->idle_ms = PARK_DEFAULT_MS;
	session_set_peer(s, peer);
	li->refs++;
	p->n++;
	list_push(&p->all, &s->all);
	stream_on_idle_input(s->stream, on_input, s);
	s->state = READY;
	s->why = SESSION_NEW;
	s->proto = k->open ? k->open(s) : s;
	if (!s->proto) {
		loop_defer(p->loop, end_deferred, s);
		return;
	}
	session_start(s);
}

static void
accept_again(void *arg)
{
	struct listener *li = arg;

	if (loop_watch_level(li->pool->loop, &li->watch, NULL))
		loop_timer(li->pool->loop, &li->retry, 100, accept_again, li);
}

static void
on_listen(struct watch *w, uint32_t events)
{
	struct listener *li = LIST_ENTRY(w, struct listener, watch);

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage a;
		socklen_t n = sizeof a;
		int fd = accept4(w->fd, (struct sockaddr *)&a, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			accepted(li, fd, &a);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			LOG_ERROR("session.accept_failed", L_C("kind", li->kind->name),
			    L_C("why", strerror(errno)));
			loop_unwatch(li->pool->loop, w);
			loop_timer(li->pool->loop, &li->retry, 100, accept_again, li);
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

struct listener *
session_listen(struct loop *l, const struct session_kind *k, int fd, void *user, struct err *e)
{
	struct listener *li = calloc(1, sizeof *li);

	if (!li) {
		err_set(e, -ENOMEM, "out of memory for a listener");
		close(fd);
		return NULL;
	}
	li->watch.fd = fd;
	li->watch.fn = on_listen;
	li->pool = pool_get(l);
	li->kind = k;
	li->user = user;
	li->refs = 1;
	if (loop_watch_level(l, &li->watch, e)) {
		close(fd);
		free(li);
		return NULL;
	}
	list_push(&li->pool->listeners, &li->link);
	return li;
}

static void
unlisten_deferred(void *arg)
{
	listener_unref(arg);
}

void
session_unlisten(struct listener **lip)
{
	struct listener *li = *lip;

	if (!li)
		return;
	*lip = NULL;
	loop_timer_clear(li->pool->loop, &li->retry);
	loop_unwatch(li->pool->loop, &li->watch);
	close(li->watch.fd);
	list_remove(&li->link);
	loop_defer(li->pool->loop, unlisten_deferred, li);
}

void
session_unlisten_fd(struct loop *l, int fd)
{
	struct pool *p = pool_get(l);
	struct listener *li, *tmp;

	LIST_FOREACH_SAFE(li, tmp, &p->listeners, struct listener, link)
		if (li->watch.fd == fd) {
			session_unlisten(&li);
			return;
		}
}

void
session_drain_all(struct loop *l)
{
	struct pool *p = pool_get(l);
	struct session *s, *tmp;

	LIST_FOREACH_SAFE(s, tmp, &p->all, struct session, all) {
		s->drain = true;
		if (s->state == PARKED) {
			s->why = SESSION_DRAIN;
			session_start(s);
		}
	}
}

unsigned
session_count(struct loop *l)
{
	return pool_get(l)->n;
}

/* ---- accessors ---- */

void *
session_state(struct session *s)
{
	return s->proto;
}

struct stream *
session_stream(struct session *s)
{
	return s->stream;
}

struct loop *
session_loop(struct session *s)
{
	return s->pool->loop;
}

void *
session_listener_user(struct session *s)
{
	return s->listener->user;
}

uint64_t
session_id(const struct session *s)
{
	return s->id;
}

void
session_idle_limit(struct session *s, uint64_t ms)
{
	s->idle_ms = ms;
}
