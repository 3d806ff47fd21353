/*
 * Channels; see chan.h.
 *
 * A call is a struct call in its channel's table `calls` until the answer, the
 * time limit, or the peer's end takes it out and runs its `fn` once, on the
 * loop's thread. A call made while there is no peer keeps its frame in
 * `pending`. Coroutines and worker threads wait for fn in their own ways:
 *
 *	coroutine       call_start -> co_wait ... fn: copy, co_wake
 *	worker thread   loop_post(call_start) -> sem_wait ... fn: copy, sem_post
 */
#include "lib/proc/chan.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/proc/chan_private.h"
#include "lib/proc/conn.h"
#include "lib/proc/metrics.h"

#define CONNECT_WAIT_MS 2000

struct chan {
	struct conn conn;
	enum role callee;
	unsigned instance;
	bool alive;
	struct map calls;     /* by id */
	struct list pending;  /* of calls that wait for a peer */
};

struct call {
	struct list link;     /* in pending */
	struct chan *chan;
	uint64_t id;
	uint16_t type;
	struct timer timer;
	struct buf frame;     /* of a pending call: its fields */
	int fd;
	void (*fn)(void *arg, int code, const struct frame *f);
	void *arg;
	bool waits_for_peer;
	uint64_t timeout_ms;
};

struct event_handler {
	struct event_handler *next;
	enum role callee;
	uint16_t type;
	void (*on_event)(void *, struct chan *, const struct frame *);
	void (*on_state)(void *, struct chan *, bool);
	void *arg;
};

struct peer {
	struct conn conn;
	atomic_uint refs;
	enum role role;
	unsigned instance;
	uint64_t number;
	void *user;
	struct list link; /* in house.peers while connected */
};

static struct {
	struct loop *loop;
	struct service *service;
	const struct service_spec *spec;
	struct chan *to[ROLE_MAX][CHAN_INSTANCES];
	unsigned n[ROLE_MAX];
	unsigned turn[ROLE_MAX];
	uint64_t next_id;
	struct event_handler *handlers;
	struct list peers;
} house = { .peers = LIST_INIT(house.peers) };

static struct metric bad_frames =
    METRIC_COUNTER("wire_bad_frames_total", NULL, "Frames refused from peers of the house");

/* ---- registry ---- */

void
chan_set_up(struct loop *l, const struct service_spec *spec, struct service *s)
{
	house.loop = l;
	house.spec = spec;
	house.service = s;
}

static void on_answer(struct conn *c, struct frame *f);
static void on_callee_gone(struct conn *c, const char *why);

void
chan_expect(enum role callee, unsigned instances)
{
	if (callee >= ROLE_MAX || instances > CHAN_INSTANCES)
		return;
	for (unsigned i = house.n[callee]; i < instances; i++) {
		struct chan *c = calloc(1, sizeof *c);

		if (!c)
			panic("out of memory for channels");
		c->callee = callee;
		c->instance = i;
		list_init(&c->pending);
		house.to[callee][i] = c;
	}
	if (instances > house.n[callee])
		house.n[callee] = instances;
}

unsigned
chan_instances(enum role callee)
{
	return callee < ROLE_MAX ? house.n[callee] : 0;
}

bool
chan_alive(const struct chan *c)
{
	return c->alive;
}

struct chan *
chan_to(enum role callee, unsigned n)
{
	unsigned have = chan_instances(callee);

	if (!have)
		return NULL;
	if (n != CHAN_ANY)
		return n < have ? house.to[callee][n] : NULL;
	for (unsigned i = 0; i < have; i++) {
		unsigned k = __atomic_add_fetch(&house.turn[callee], 1, __ATOMIC_RELAXED) % have;

		if (house.to[callee][k]->alive)
			return house.to[callee][k];
	}
	return house.to[callee][0];
}

void
chan_on_event(enum role callee, uint16_t type,
    void (*fn)(void *, struct chan *, const struct frame *), void *arg)
{
	struct event_handler *h = calloc(1, sizeof *h);

	if (!h)
		panic("out of memory for event handlers");
	*h = (struct event_handler){ house.handlers, callee, type, fn, NULL, arg };
	house.handlers = h;
}

void
chan_on_state(enum role callee, void (*fn)(void *, struct chan *, bool), void *arg)
{
	struct event_handler *h = calloc(1, sizeof *h);

	if (!h)
		panic("out of memory for event handlers");
	*h = (struct event_handler){ house.handlers, callee, 0, NULL, fn, arg };
	house.handlers = h;
}

static void
tell_state(struct chan *c, bool up)
{
	for (struct event_handler *h = house.handlers; h; h = h->next)
		if (h->on_state && h->callee == c->callee)
			h->on_state(h->arg, c, up);
}

/* ---- calls: the loop's thread ---- */

static void
call_end(struct call *k, int code, const struct frame *f)
{
	loop_timer_clear(house.loop, &k->timer);
	list_remove(&k->link);
	map_del(&k->chan->calls, k->id);
	if (k->fd >= 0)
		close(k->fd);
	buf_done(&k->frame);
	k->fn(k->arg, code, f);
	free(k);
}

static void
call_timed_out(void *arg)
{
	struct call *k = arg;

	call_end(k, k->waits_for_peer ? -ENOTCONN : -ETIMEDOUT, NULL);
}

static void
call_start(struct chan *c, uint16_t type, const struct iovec *iov, size_t n, int fd,
    uint64_t timeout_ms, void (*fn)(void *, int, const struct frame *), void *arg)
{
	struct call *k = calloc(1, sizeof *k);
	int copy = fd >= 0 ? dup(fd) : -1;

	if (!k || (fd >= 0 && copy < 0) || (k->id = ++house.next_id, map_set(&c->calls, k->id, k))) {
		free(k);
		if (copy >= 0)
			close(copy);
		fn(arg, -ENOMEM, NULL);
		return;
	}
	k->chan = c;
	k->type = type;
	k->fn = fn;
	k->arg = arg;
	k->fd = -1;
	k->timeout_ms = timeout_ms;
	if (c->alive && conn_send(&c->conn, type, 0, k->id, iov, n, copy)) {
		loop_timer(house.loop, &k->timer, timeout_ms, call_timed_out, k);
		return;
	}
	if (c->alive) {
		call_end(k, -EMSGSIZE, NULL);
		return;
	}
	k->waits_for_peer = true;
	k->fd = copy;
	for (size_t i = 0; i < n; i++)
		buf_put(&k->frame, iov[i].iov_base, iov[i].iov_len);
	list_push(&c->pending, &k->link);
	loop_timer(house.loop, &k->timer,
	    timeout_ms < CONNECT_WAIT_MS ? timeout_ms : CONNECT_WAIT_MS, call_timed_out, k);
}

static void
send_pending(struct chan *c)
{
	struct list *p;

	while ((p = list_pop(&c->pending))) {
		struct call *k = LIST_ENTRY(p, struct call, link);
		struct iovec iov = { k->frame.p, k->frame.n };
		int fd = k->fd;

		k->fd = -1;
		k->waits_for_peer = false;
		loop_timer(house.loop, &k->timer, k->timeout_ms, call_timed_out, k);
		if (!conn_send(&c->conn, k->type, 0, k->id, &iov, 1, fd))
			call_end(k, -EPIPE, NULL);
	}
}

static void
take_event(struct chan *c, struct frame *f)
{
	for (struct event_handler *h = house.handlers; h; h = h->next)
		if (h->on_event && h->callee == c->callee && h->type == f->type)
			h->on_event(h->arg, c, f);
}

static void
on_answer(struct conn *conn, struct frame *f)
{
	struct chan *c = (struct chan *)conn;
	struct call *k = f->id ? map_get(&c->calls, f->id) : NULL;
	struct wire_error e;

	if (!f->id) {
		take_event(c, f);
	} else if (k && (f->flags & WIRE_ERROR)) {
		call_end(k, wire_error_get(f->body, &e) ? -EPROTO : e.code, f);
	} else if (k) {
		call_end(k, 0, f);
	}
	if (f->fd >= 0) /* nobody took it */
		close(f->fd);
}

static void
on_callee_gone(struct conn *conn, const char *why)
{
	struct chan *c = (struct chan *)conn;
	struct call *k;
	size_t pos = 0;

	if (why) {
		metric_add(&bad_frames, 1);
		LOG_ERROR("chan.bad_frame", L_C("callee", role_name(c->callee)), L_C("why", why));
	}
	c->alive = false;
	conn_done(conn);
	while ((k = map_next(&c->calls, &pos, NULL))) {
		if (k->waits_for_peer)
			continue;
		call_end(k, -EPIPE, NULL);
		pos = 0; /* its fn may have made new calls */
	}
	tell_state(c, false);
}

void
chan_connect(enum role callee, unsigned n, int fd)
{
	struct chan *c = callee < ROLE_MAX && n < house.n[callee] ? house.to[callee][n] : NULL;
	struct err e;

	if (!c) {
		close(fd);
		return;
	}
	if (c->alive) {
		conn_close(&c->conn);
		on_callee_gone(&c->conn, NULL);
	}
	c->conn = (struct conn){ .on_frame = on_answer, .on_close = on_callee_gone };
	if (conn_open(&c->conn, house.loop, fd, &e)) {
		LOG_ERROR("chan.open_failed", L_C("why", e.text));
		return;
	}
	c->alive = true;
	send_pending(c);
	tell_state(c, true);
}

/* ---- calls: waiting for them ---- */

struct waiter {
	struct arena *arena;
	struct frame *ret;
	struct wire_error *ret_error;
	int code;
	bool done;
	struct co *co;
	sem_t sem;
	/* of a worker thread */
	struct chan *chan;
	uint16_t type;
	const struct iovec *iov;
	size_t n;
	int fd;
	uint64_t timeout_ms;
};

static void
copy_answer(struct waiter *w, int code, const struct frame *f)
{
	w->code = code;
	if (w->ret_error)
		*w->ret_error = (struct wire_error){ .code = code };
	if (f && (f->flags & WIRE_ERROR) && w->ret_error && w->arena) {
		wire_error_get(f->body, w->ret_error);
		w->ret_error->text = arena_dup(w->arena, w->ret_error->text);
		w->ret_error->enhanced = arena_dup(w->arena, w->ret_error->enhanced);
	} else if (f && code == 0 && w->ret) {
		*w->ret = *f;
		w->ret->body = w->arena ? arena_dup(w->arena, f->body) : STR_NULL;
		((struct frame *)(uintptr_t)f)->fd = -1; /* the waiter's now */
		if (w->arena && !w->ret->body.p)
			w->code = -ENOMEM;
	}
	w->done = true;
}

static void
wake_co(void *arg, int code, const struct frame *f)
{
	struct waiter *w = arg;

	copy_answer(w, code, f);
	if (w->co)
		co_wake(w->co);
}

static void
wake_thread(void *arg, int code, const struct frame *f)
{
	struct waiter *w = arg;

	copy_answer(w, code, f);
	sem_post(&w->sem);
}

static void
start_for_thread(void *arg)
{
	struct waiter *w = arg;

	call_start(w->chan, w->type, w->iov, w->n, w->fd, w->timeout_ms, wake_thread, w);
}

int
chan_call(struct chan *c, uint16_t type, const struct iovec *iov, size_t n, int fd,
    uint64_t timeout_ms, struct arena *arena, struct frame *ret, struct wire_error *ret_error)
{
	struct waiter w = { .arena = arena, .ret = ret, .ret_error = ret_error };

	if (ret_error)
		*ret_error = (struct wire_error){ .code = -ENOTCONN };
	if (!c)
		return -ENOTCONN;
	if (loop_current() == house.loop && house.loop) {
		w.co = co_self();
		if (!w.co)
			panic("chan_call on the loop's thread off a coroutine");
		call_start(c, type, iov, n, fd, timeout_ms, wake_co, &w);
		while (!w.done)
			co_wait(-1);
		return w.code;
	}
	sem_init(&w.sem, 0, 0);
	w.chan = c, w.type = type, w.iov = iov, w.n = n, w.fd = fd, w.timeout_ms = timeout_ms;
	loop_post(house.loop, start_for_thread, &w);
	while (sem_wait(&w.sem) < 0 && errno == EINTR)
		;
	sem_destroy(&w.sem);
	return w.code;
}

int
chan_call_buf(struct chan *c, uint16_t type, const struct buf *b, uint64_t timeout_ms,
    struct arena *arena, struct frame *ret, struct wire_error *ret_error)
{
	struct iovec iov = { b->p, b->n };

	if (b->over)
		return -EMSGSIZE;
	return chan_call(c, type, &iov, 1, -1, timeout_ms, arena, ret, ret_error);
}

int
chan_send(struct chan *c, uint16_t type, const struct buf *b, int fd, uint64_t timeout_ms,
    void (*fn)(void *, int, const struct frame *), void *arg)
{
	struct iovec iov = { b->p, b->n };

	if (!c)
		return -ENOTCONN;
	if (b->over)
		return -EMSGSIZE;
	call_start(c, type, &iov, 1, fd, timeout_ms, fn, arg);
	return 0;
}

/* ---- the callee's side ---- */

struct peer *
chan_peer_ref(struct peer *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

static void
peer_free(void *arg)
{
	struct peer *p = arg;

	conn_done(&p->conn);
	free(p);
}

void
chan_peer_unref(struct peer **pp)
{
	struct peer *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	if (atomic_fetch_sub(&p->refs, 1) == 1)
		loop_post(house.loop, peer_free, p); /* after this turn's events */
}

enum role
chan_peer_role(const struct peer *p)
{
	return p->role;
}

unsigned
chan_peer_instance(const struct peer *p)
{
	return p->instance;
}

uint64_t
chan_peer_number(const struct peer *p)
{
	return p->number;
}

void
chan_peer_set_user(struct peer *p, void *user)
{
	p->user = user;
}

void *
chan_peer_user(const struct peer *p)
{
	return p->user;
}

struct on_coroutine {
	struct peer *peer;
	struct frame frame;
	void (*fn)(struct peer *, struct frame *);
	char body[];
};

static void
handler_main(void *arg)
{
	struct on_coroutine *h = arg;

	h->fn(h->peer, &h->frame);
	chan_peer_unref(&h->peer);
	free(h);
}

static void
answer_code(struct peer *p, const struct frame *f, int code, const char *text)
{
	struct wire_error e = { .code = code, .text = str_c(text) };

	if (f->id)
		chan_answer_error(p, f->id, f->type, &e);
}

static void
handle_on_coroutine(struct peer *p, struct frame *f, const struct msg_handler *m)
{
	struct on_coroutine *h = malloc(sizeof *h + f->body.n);

	if (h) {
		*h = (struct on_coroutine){ chan_peer_ref(p), *f, m->fn };
		if (f->body.n)
			memcpy(h->body, f->body.p, f->body.n);
		h->frame.body.p = h->body;
		if (co_spawn(house.loop, m->name, handler_main, h) == 0)
			return;
		chan_peer_unref(&h->peer);
		free(h);
	}
	if (f->fd >= 0)
		close(f->fd);
	answer_code(p, f, -EAGAIN, "too many requests at once");
}

static void
on_request(struct conn *conn, struct frame *f)
{
	struct peer *p = (struct peer *)conn;
	const struct msg_handler *m = house.spec->handlers;
	size_t i = 0;

	while (i < house.spec->n_handlers && m[i].type != f->type)
		i++;
	if (i == house.spec->n_handlers || !peers_allow(p->role, f->type)) {
		metric_add(&bad_frames, 1);
		LOG_WARN("chan.refused", L_C("from", role_name(p->role)), L_U64("type", f->type));
		if (f->fd >= 0)
			close(f->fd);
		answer_code(p, f, -EPERM, "not allowed");
	} else if (m[i].flags & MSG_CO) {
		handle_on_coroutine(p, f, &m[i]);
	} else {
		m[i].fn(p, f);
	}
}

static void
on_caller_gone(struct conn *conn, const char *why)
{
	struct peer *p = (struct peer *)conn;

	if (why) {
		metric_add(&bad_frames, 1);
		LOG_ERROR("chan.bad_frame", L_C("caller", role_name(p->role)), L_C("why", why));
	}
	if (house.spec->peer)
		house.spec->peer(house.service, p, false);
	list_remove(&p->link);
	chan_peer_unref(&p);
}

void
chan_peer_connect(enum role from, unsigned instance, uint64_t number, int fd)
{
	struct peer *p = calloc(1, sizeof *p);
	struct err e;

	if (!p) {
		close(fd);
		return;
	}
	atomic_init(&p->refs, 1);
	p->role = from;
	p->instance = instance;
	p->number = number;
	p->conn.on_frame = on_request;
	p->conn.on_close = on_caller_gone;
	if (conn_open(&p->conn, house.loop, fd, &e)) {
		LOG_ERROR("chan.open_failed", L_C("why", e.text));
		conn_done(&p->conn);
		free(p);
		return;
	}
	list_push(&house.peers, &p->link);
	if (house.spec->peer)
		house.spec->peer(house.service, p, true);
}

static void
send_frame(struct peer *p, uint16_t type, uint8_t flags, uint64_t id, const struct buf *b, int fd)
{
	struct iovec iov = { b ? b->p : NULL, b ? b->n : 0 };

	conn_send(&p->conn, type, flags, id, &iov, 1, fd);
}

void
chan_answer(struct peer *p, uint64_t id, uint16_t type, const struct buf *b, int fd)
{
	struct wire_error e = { .code = -EMSGSIZE, .text = STR("answer too long") };

	if (b && (b->over || b->n > WIRE_MAX - WIRE_HEAD)) {
		if (fd >= 0)
			close(fd);
		chan_answer_error(p, id, type, &e);
		return;
	}
	send_frame(p, type, WIRE_ANSWER, id, b, fd);
}

void
chan_answer_error(struct peer *p, uint64_t id, uint16_t type, const struct wire_error *e)
{
	struct buf b = { .max = 64u << 10 };

	wire_error_put(&b, e);
	send_frame(p, type, WIRE_ANSWER | WIRE_ERROR, id, &b, -1);
	buf_done(&b);
}

void
chan_event(struct peer *p, uint16_t type, const struct buf *b, int fd)
{
	send_frame(p, type, 0, 0, b, fd);
}

void
chan_peer_flush(struct peer *p)
{
	conn_flush(&p->conn);
}

size_t
chan_peer_unsent(struct peer *p)
{
	return conn_unsent(&p->conn);
}

int
chan_peer_drain(struct peer *p, size_t n, uint64_t ms)
{
	struct conn *c = &p->conn;
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	conn_flush(c);
	pthread_mutex_lock(&c->lock);
	while (c->open && c->out.n - c->out_off >= n && r == 0)
		r = pthread_cond_timedwait(&c->drained, &c->lock, &until);
	r = !c->open ? -EPIPE : r ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&c->lock);
	return r;
}
