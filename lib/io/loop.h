/*
 * The event loop: one per thread, epoll underneath, edge-triggered. It owns
 * timers, watched descriptors, functions posted by other threads, and the
 * coroutines (co.h) that run on its thread. Nothing that runs on a loop may
 * block or compute for long (a build with --enable-debug-turns reports turns
 * over 10 ms).
 */
#ifndef LIB_IO_LOOP_H
#define LIB_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/list.h"

struct loop;

struct loop *loop_new(struct err *e);
void loop_free(struct loop **l);
/* The loop that runs on this thread, or NULL (then lib/io calls block). */
struct loop *loop_current(void);

/* Runs until loop_stop. Both are for the loop's own thread, except that
 * loop_stop may be called from any. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* Runs fn(arg) on the loop's thread, soon, in the order posted. From any
 * thread; never blocks. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* Timers: one-shot. Zero the struct before the first loop_timer; setting an
 * armed timer moves it. Precision 1 ms. */
struct timer {
	uint64_t due;        /* clock_ms() */
	void (*fn)(void *arg);
	void *arg;
	uint32_t pos;        /* 1 + place in the heap; 0: not armed */
};
void loop_timer(struct loop *l, struct timer *t, uint64_t after_ms, void (*fn)(void *), void *arg);
void loop_timer_clear(struct loop *l, struct timer *t);

/* A watched descriptor, edge-triggered for input, output and hang-up: fn gets
 * the epoll event bits and must read or write until EAGAIN. loop_unwatch may be
 * called from within fn; the struct must live until the end of the turn
 * (loop_defer frees it then). */
struct watch {
	int fd;
	void (*fn)(struct watch *w, uint32_t events);
	bool dead;
};
int loop_watch(struct loop *l, struct watch *w, struct err *e);
/* Level-triggered for input only: for listening sockets and eventfds. */
int loop_watch_level(struct loop *l, struct watch *w, struct err *e);
void loop_unwatch(struct loop *l, struct watch *w);

/* fn(arg) at the end of this turn, after every event of the batch. */
void loop_defer(struct loop *l, void (*fn)(void *), void *arg);

/* fn(arg) at the end of every turn in which it was armed: gather output during
 * the turn, write it once. Embed the struct, zeroed. */
struct turn_hook {
	struct list link;
	void (*fn)(void *arg);
	void *arg;
};
void loop_turn_hook(struct loop *l, struct turn_hook *h, void (*fn)(void *), void *arg);

#endif
