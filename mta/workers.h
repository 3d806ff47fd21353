/*
 * A few threads that take jobs off a loop: work runs on a thread, done after it
 * on the loop's thread. Bounded: workers_add refuses when too many wait.
 */
#ifndef MTA_WORKERS_H
#define MTA_WORKERS_H

#include "lib/base/list.h"
#include "lib/io/loop.h"

struct workers;

struct job {
	struct list link;
	struct workers *of;
	void (*work)(struct job *j); /* on a worker thread */
	void (*done)(struct job *j); /* on the loop's thread; owns j */
};

/* NULL without memory or threads (e says). */
struct workers *workers_new(struct loop *l, unsigned threads, size_t max_waiting, struct err *e);
/* urgent: before all that wait. 0, or -EAGAIN: full (j stays the caller's). */
int workers_add(struct workers *w, struct job *j, bool urgent);
/* Ends when all that was added has been worked on; waits for the threads. */
void workers_free(struct workers **w);

#endif
