/*
 * Coroutines; see co.h. Stacks are 64 KiB mappings with a guard page below; the
 * struct co stands at the top of its own stack. Ended ones are kept on a list,
 * last in first out, so that a warm stack serves next.
 *
 * The sanitizers must be told of every switch: their calls stand in
 * switch_to/arrived, and nowhere else.
 */
#include "lib/io/co.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/io/loop_private.h"

#if defined(__SANITIZE_ADDRESS__)
#define CO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CO_TSAN 1
#endif
#endif

#ifdef CO_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CO_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define GUARD 4096
#ifdef PH_SANITIZE
#define STACK (512u << 10) /* the sanitizers' frames are several times larger */
#else
#define STACK (64u << 10)
#endif
#define KEEP_IDLE 64

struct co {
	struct list link;     /* in loop.ready */
	struct list all;      /* in loop.all */
	struct co *next_idle;
	struct loop *loop;
	const char *name;
	void (*fn)(void *);
	void *arg;
	struct co_context context;
	char *base;           /* of the mapping */
	struct timer timer;
	uint64_t since;       /* when it began to wait */
	bool waiting, wake_pending, timed_out, done;
	void *fiber, *fake_stack;
};

struct co *
co_self(void)
{
	struct loop *l = loop_current();

	return l ? l->running : NULL;
}

void
co_limit(struct loop *l, unsigned max)
{
	l->max_co = max;
}

unsigned
co_count(struct loop *l)
{
	return l->n_co;
}

/* ---- switching ---- */

static void
entry(void)
{
	struct co *c = co_self();

#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(NULL, &c->loop->home_stack, &c->loop->home_stack_size);
#endif
	for (;;) {
		c->fn(c->arg);
		c->done = true;
#ifdef CO_ASAN
		__sanitizer_start_switch_fiber(&c->fake_stack, c->loop->home_stack,
		    c->loop->home_stack_size);
#endif
#ifdef CO_TSAN
		__tsan_switch_to_fiber(c->loop->home_fiber, 0);
#endif
		co_context_switch(&c->context, &c->loop->home);
#ifdef CO_ASAN
		__sanitizer_finish_switch_fiber(c->fake_stack, &c->loop->home_stack,
		    &c->loop->home_stack_size);
#endif
	}
}

/* From the coroutine back to its loop, until resumed. */
static void
switch_out(struct co *c)
{
	struct loop *l = c->loop;

#ifdef CO_ASAN
	__sanitizer_start_switch_fiber(&c->fake_stack, l->home_stack, l->home_stack_size);
#endif
#ifdef CO_TSAN
	__tsan_switch_to_fiber(l->home_fiber, 0);
#endif
	co_context_switch(&c->context, &l->home);
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(c->fake_stack, &l->home_stack, &l->home_stack_size);
#endif
}

static void
unmap(struct co *c)
{
#ifdef CO_TSAN
	__tsan_destroy_fiber(c->fiber);
#endif
#ifdef CO_ASAN
	__asan_unpoison_memory_region(c->base + GUARD, STACK);
#endif
	munmap(c->base, STACK + GUARD);
}

static void
retire(struct loop *l, struct co *c)
{
	list_remove(&c->all);
	l->n_co--;
	if (l->n_idle >= KEEP_IDLE) {
		unmap(c);
		return;
	}
	c->next_idle = l->idle;
	l->idle = c;
	l->n_idle++;
}

/* From the loop (or from another coroutine's spawn) into c, until it yields. */
static void
resume(struct co *c)
{
	struct loop *l = c->loop;
#ifdef CO_ASAN
	void *fake = NULL;

	__sanitizer_start_switch_fiber(&fake, c->base + GUARD, STACK);
#endif
#ifdef CO_TSAN
	l->home_fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(c->fiber, 0);
#endif
	l->running = c;
	co_context_switch(&l->home, &c->context);
	l->running = NULL;
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	if (c->done)
		retire(l, c);
}

static struct co *
stack_new(struct loop *l)
{
	char *m = mmap(NULL, STACK + GUARD, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	struct co *c;

	if (m == MAP_FAILED)
		return NULL;
	if (mprotect(m, GUARD, PROT_NONE)) {
		munmap(m, STACK + GUARD);
		return NULL;
	}
	c = (struct co *)(((uintptr_t)(m + GUARD + STACK) - sizeof *c) & ~(uintptr_t)63);
	*c = (struct co){ .base = m, .loop = l };
	co_context_make(&c->context, m + GUARD, (size_t)((char *)c - m - GUARD), entry);
#ifdef CO_TSAN
	c->fiber = __tsan_create_fiber(0);
#endif
	return c;
}

int
co_spawn(struct loop *l, const char *name, void (*fn)(void *), void *arg)
{
	struct co *c;

	if (l->n_co >= l->max_co)
		return -EAGAIN;
	c = l->idle;
	if (c) {
		l->idle = c->next_idle;
		l->n_idle--;
	} else {
		c = stack_new(l);
		if (!c)
			return -ENOMEM;
	}
	c->name = name;
	c->fn = fn;
	c->arg = arg;
	c->done = c->waiting = c->wake_pending = c->timed_out = false;
	c->since = clock_ms();
	list_push(&l->all, &c->all);
	l->n_co++;
	if (l->running || loop_current() != l) {
		/* spawned by a coroutine, or before the loop runs: soon, in turn */
		list_push(&l->ready, &c->link);
		return 0;
	}
	resume(c);
	return 0;
}

void
co_run_ready(struct loop *l)
{
	struct list now = LIST_INIT(now), *p;

	/* only those ready at this moment, so that co_yield lets sockets speak */
	while ((p = list_pop(&l->ready)))
		list_push(&now, p);
	while ((p = list_pop(&now)))
		resume(LIST_ENTRY(p, struct co, link));
}

void
co_loop_done(struct loop *l)
{
	struct list *p;

	while ((p = list_pop(&l->all)))
		unmap(LIST_ENTRY(p, struct co, all));
	while (l->idle) {
		struct co *c = l->idle;

		l->idle = c->next_idle;
		unmap(c);
	}
}

/* ---- waiting and waking ---- */

void
co_wake(struct co *c)
{
	if (!c->waiting) {
		c->wake_pending = true;
		return;
	}
	c->waiting = false;
	list_push(&c->loop->ready, &c->link);
}

static void
timed_out(void *arg)
{
	struct co *c = arg;

	c->timed_out = true;
	co_wake(c);
}

int
co_wait(int64_t ms)
{
	struct co *c = co_self();

	if (!c) {
		if (ms < 0)
			panic("co_wait without a limit off a coroutine");
		co_sleep((uint64_t)ms);
		return -ETIMEDOUT;
	}
	if (c->wake_pending) {
		c->wake_pending = false;
		return 0;
	}
	c->timed_out = false;
	c->waiting = true;
	c->since = clock_ms();
	if (ms >= 0)
		loop_timer(c->loop, &c->timer, (uint64_t)ms, timed_out, c);
	switch_out(c);
	loop_timer_clear(c->loop, &c->timer);
	return c->timed_out ? -ETIMEDOUT : 0;
}

void
co_sleep(uint64_t ms)
{
	struct co *c = co_self();
	uint64_t until = clock_ms() + ms, now;

	if (!c) {
		struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

		while (nanosleep(&t, &t) < 0 && errno == EINTR)
			;
		return;
	}
	while ((now = clock_ms()) < until)
		co_wait((int64_t)(until - now));
}

void
co_yield(void)
{
	struct co *c = co_self();

	if (!c)
		return;
	list_push(&c->loop->ready, &c->link);
	switch_out(c);
}

void
co_dump(struct loop *l)
{
	uint64_t now = clock_ms();
	struct co *c;

	LIST_FOREACH(c, &l->all, struct co, all)
		LOG_INFO("co.dump", L_C("name", c->name), L_U64("waits_ms", now - c->since),
		    L_C("state", c->waiting ? "waiting" : "ready"),
		    L_HEX("co", (uintptr_t)c));
}
