/* Innards of the loop that the coroutines share. */
#ifndef LIB_IO_LOOP_PRIVATE_H
#define LIB_IO_LOOP_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/io/co.h"
#include "lib/io/co_context.h"

struct posted {
	struct posted *next;
	void (*fn)(void *);
	void *arg;
};

struct loop {
	int ep;
	struct watch event;          /* eventfd: somebody posted */
	atomic_bool stop;

	pthread_mutex_t post_lock;   /* posts, posts_tail */
	struct posted *posts, **posts_tail;

	struct timer **heap;         /* by due time, 1-based places in timer.pos */
	size_t heap_n, heap_cap;

	struct posted *deferred;
	struct list hooks;

	/* coroutines */
	struct list ready;           /* of struct co by .link */
	struct list all;             /* of struct co by .all */
	struct co *running;
	struct co *idle;             /* stacks to use again */
	unsigned n_idle;
	unsigned n_co, max_co;
	struct co_context home;
	void *home_fiber;            /* sanitizers */
	const void *home_stack;
	size_t home_stack_size;
};

void co_run_ready(struct loop *l);
void co_loop_done(struct loop *l);

#endif
