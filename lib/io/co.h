/*
 * Coroutines: plain code on a 64 KiB stack with a guard page, which yields
 * where it waits. A coroutine stays on its loop's thread for life. Off a
 * coroutine (tests, tools, threads with blocking code) the waiting calls of
 * lib/io block the thread instead: that is the second back end.
 *
 * Rules: no blocking system calls, no setjmp, no big local arrays (4 KiB a
 * frame at most), no lock held across a call that may yield.
 */
#ifndef LIB_IO_CO_H
#define LIB_IO_CO_H

#include "lib/io/loop.h"

struct co;

/* Starts fn(arg) on a new coroutine at once; returns when it first yields or
 * ends. 0, or -ENOMEM/-EAGAIN when co_limit coroutines exist. `name` is for
 * dumps and must be static. */
int co_spawn(struct loop *l, const char *name, void (*fn)(void *arg), void *arg);
struct co *co_self(void); /* NULL off a coroutine */

/* Yields until somebody calls co_wake on this coroutine, or ms milliseconds
 * have passed (ms < 0: no limit). 0 when woken, -ETIMEDOUT. Wakes may be
 * spurious: callers loop over their condition. */
int co_wait(int64_t ms);
/* Makes c runnable; on the loop's own thread only (use loop_post from others).
 * Waking a coroutine that does not wait is remembered for its next co_wait. */
void co_wake(struct co *c);
/* Waits ms milliseconds (blocks off a coroutine). */
void co_sleep(uint64_t ms);
/* Lets other work of the loop run. No-op off a coroutine. */
void co_yield(void);

/* How many coroutines may exist on a loop at once (default 4,096). */
void co_limit(struct loop *l, unsigned max);
unsigned co_count(struct loop *l);
/* Logs every sleeping coroutine (event `co.dump`): name, age, where. */
void co_dump(struct loop *l);

#endif
