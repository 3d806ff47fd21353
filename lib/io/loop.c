/*
 * The event loop; see loop.h. One turn is:
 *
 *	epoll_wait -> watches -> posted functions -> timers -> ready coroutines
 *	  -> turn hooks (gathered output leaves) -> deferred functions -> log
 *
 * A watch that was taken out during a turn is marked dead, so that later events
 * of the same batch do not reach it; its memory goes in the deferred phase.
 */
#include "lib/io/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/io/loop_private.h"

static _Thread_local struct loop *current;

struct loop *
loop_current(void)
{
	return current;
}

static void
drain_event(struct watch *w, uint32_t events)
{
	uint64_t n;

	if (read(w->fd, &n, sizeof n) < 0)
		return; /* nothing to drain */
}

struct loop *
loop_new(struct err *e)
{
	struct loop *l = calloc(1, sizeof *l);

	if (!l) {
		err_set(e, -ENOMEM, "out of memory for an event loop");
		return NULL;
	}
	l->event.fd = -1;
	l->ep = epoll_create1(EPOLL_CLOEXEC);
	if (l->ep < 0)
		goto fail;
	l->event.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->event.fd < 0)
		goto fail;
	l->event.fn = drain_event;
	if (loop_watch_level(l, &l->event, NULL))
		goto fail;
	pthread_mutex_init(&l->post_lock, NULL);
	l->posts_tail = &l->posts;
	list_init(&l->hooks);
	list_init(&l->ready);
	list_init(&l->all);
	l->max_co = 4096;
	return l;
fail:
	err_sys(e, -errno, "cannot make an event loop");
	if (l->ep >= 0)
		close(l->ep);
	if (l->event.fd >= 0)
		close(l->event.fd);
	free(l);
	return NULL;
}

static void
run_chain(struct posted *p)
{
	while (p) {
		struct posted *next = p->next;

		p->fn(p->arg);
		free(p);
		p = next;
	}
}

static void
run_deferred(struct loop *l)
{
	while (l->deferred) {
		struct posted *p = l->deferred;

		l->deferred = NULL;
		run_chain(p);
	}
}

void
loop_free(struct loop **lp)
{
	struct loop *l = *lp;

	if (!l)
		return;
	run_deferred(l);
	co_loop_done(l);
	while (l->posts) {
		struct posted *p = l->posts;

		l->posts = p->next;
		free(p);
	}
	close(l->event.fd);
	close(l->ep);
	pthread_mutex_destroy(&l->post_lock);
	free(l->heap);
	free(l);
	*lp = NULL;
}

/* ---- watches ---- */

static int
watch(struct loop *l, struct watch *w, uint32_t events, struct err *e)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	w->dead = false;
	if (epoll_ctl(l->ep, EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return err_sys(e, -errno, "cannot watch descriptor %d", w->fd);
	return 0;
}

int
loop_watch(struct loop *l, struct watch *w, struct err *e)
{
	return watch(l, w, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, e);
}

int
loop_watch_level(struct loop *l, struct watch *w, struct err *e)
{
	int r = watch(l, w, EPOLLIN | EPOLLEXCLUSIVE, NULL);

	return r == 0 ? 0 : watch(l, w, EPOLLIN, e);
}

void
loop_unwatch(struct loop *l, struct watch *w)
{
	if (w->dead)
		return;
	w->dead = true;
	epoll_ctl(l->ep, EPOLL_CTL_DEL, w->fd, NULL);
}

/* ---- timers: a binary heap ---- */

static void
heap_set(struct loop *l, size_t i, struct timer *t)
{
	l->heap[i] = t;
	t->pos = (uint32_t)i;
}

static void
heap_up(struct loop *l, size_t i, struct timer *t)
{
	while (i > 1 && l->heap[i / 2]->due > t->due) {
		heap_set(l, i, l->heap[i / 2]);
		i /= 2;
	}
	heap_set(l, i, t);
}

static void
heap_down(struct loop *l, size_t i, struct timer *t)
{
	for (;;) {
		size_t c = i * 2;

		if (c > l->heap_n)
			break;
		if (c < l->heap_n && l->heap[c + 1]->due < l->heap[c]->due)
			c++;
		if (l->heap[c]->due >= t->due)
			break;
		heap_set(l, i, l->heap[c]);
		i = c;
	}
	heap_set(l, i, t);
}

static void
heap_place(struct loop *l, size_t i, struct timer *t)
{
	if (i > 1 && l->heap[i / 2]->due > t->due)
		heap_up(l, i, t);
	else
		heap_down(l, i, t);
}

void
loop_timer_clear(struct loop *l, struct timer *t)
{
	size_t i = t->pos;
	struct timer *last;

	if (!i)
		return;
	t->pos = 0;
	last = l->heap[l->heap_n--];
	if (last != t)
		heap_place(l, i, last);
}

void
loop_timer(struct loop *l, struct timer *t, uint64_t after_ms, void (*fn)(void *), void *arg)
{
	t->fn = fn;
	t->arg = arg;
	t->due = clock_ms() + after_ms;
	if (t->pos) {
		heap_place(l, t->pos, t);
		return;
	}
	if (l->heap_n + 2 > l->heap_cap) {
		size_t cap = l->heap_cap ? l->heap_cap * 2 : 64;
		struct timer **h = realloc(l->heap, cap * sizeof *h);

		if (!h)
			panic("out of memory for timers");
		l->heap = h;
		l->heap_cap = cap;
	}
	heap_up(l, ++l->heap_n, t);
}

static int
next_timeout(struct loop *l)
{
	uint64_t now;

	if (!list_empty(&l->ready) || !list_empty(&l->hooks) || l->deferred)
		return 0;
	if (!l->heap_n)
		return -1;
	now = clock_ms();
	if (l->heap[1]->due <= now)
		return 0;
	return l->heap[1]->due - now > 60000 ? 60000 : (int)(l->heap[1]->due - now);
}

static void
run_timers(struct loop *l)
{
	uint64_t now = clock_ms();

	while (l->heap_n && l->heap[1]->due <= now) {
		struct timer *t = l->heap[1];

		loop_timer_clear(l, t);
		t->fn(t->arg);
	}
}

/* ---- posts, deferred functions, hooks ---- */

void
loop_post(struct loop *l, void (*fn)(void *), void *arg)
{
	struct posted *p = malloc(sizeof *p);
	uint64_t one = 1;
	bool first;

	if (!p)
		panic("out of memory for a posted function");
	*p = (struct posted){ NULL, fn, arg };
	pthread_mutex_lock(&l->post_lock);
	first = !l->posts;
	*l->posts_tail = p;
	l->posts_tail = &p->next;
	pthread_mutex_unlock(&l->post_lock);
	/* a counter that is already up wakes as well as one more would */
	if (first && write(l->event.fd, &one, sizeof one) < 0 && errno != EAGAIN)
		panic("eventfd: errno %d", errno);
}

static void
run_posts(struct loop *l)
{
	struct posted *p;

	pthread_mutex_lock(&l->post_lock);
	p = l->posts;
	l->posts = NULL;
	l->posts_tail = &l->posts;
	pthread_mutex_unlock(&l->post_lock);
	run_chain(p);
}

void
loop_defer(struct loop *l, void (*fn)(void *), void *arg)
{
	struct posted *p = malloc(sizeof *p);

	if (!p)
		panic("out of memory for a deferred function");
	*p = (struct posted){ l->deferred, fn, arg };
	l->deferred = p;
}

void
loop_turn_hook(struct loop *l, struct turn_hook *h, void (*fn)(void *), void *arg)
{
	h->fn = fn;
	h->arg = arg;
	if (!list_linked(&h->link))
		list_push(&l->hooks, &h->link);
}

static void
run_hooks(struct loop *l)
{
	struct list *p;

	while ((p = list_pop(&l->hooks))) {
		struct turn_hook *h = LIST_ENTRY(p, struct turn_hook, link);

		h->fn(h->arg);
	}
}

/* ---- running ---- */

void
loop_stop(struct loop *l)
{
	uint64_t one = 1;

	atomic_store(&l->stop, true);
	if (write(l->event.fd, &one, sizeof one) < 0 && errno != EAGAIN)
		panic("eventfd: errno %d", errno);
}

static void
turn(struct loop *l)
{
	struct epoll_event ev[256];
	int n = epoll_wait(l->ep, ev, 256, next_timeout(l));
#ifdef PH_DEBUG_TURNS
	uint64_t t0 = clock_us();
#endif

	if (n < 0 && errno != EINTR)
		panic("epoll_wait: errno %d", errno);
	for (int i = 0; i < n; i++) {
		struct watch *w = ev[i].data.ptr;

		if (!w->dead)
			w->fn(w, ev[i].events);
	}
	run_posts(l);
	run_timers(l);
	co_run_ready(l);
	run_hooks(l);
	run_deferred(l);
#ifdef PH_DEBUG_TURNS
	if (clock_us() - t0 > 10000)
		LOG_WARN("loop.long_turn", L_U64("us", clock_us() - t0), L_I64("events", n));
#endif
	log_flush();
}

void
loop_run(struct loop *l)
{
	struct loop *outer = current;

	current = l;
	log_batch(true);
	while (!atomic_load(&l->stop))
		turn(l);
	atomic_store(&l->stop, false);
	log_batch(false);
	current = outer;
}
