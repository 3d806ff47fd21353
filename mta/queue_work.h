/*
 * A worker thread for what blocks: jobs run one after the other, in order; the
 * second half of each runs on the loop's thread when the first has ended.
 */
#ifndef MTA_QUEUE_WORK_H
#define MTA_QUEUE_WORK_H

#include "lib/base/err.h"
#include "lib/io/loop.h"

struct work;

struct work *work_new(struct loop *l, struct err *e);
/* Runs what was posted (its second halves too), ends the thread. */
void work_free(struct work **w);
/* run on the worker; then done on the loop. -ENOMEM: neither will run. */
int work_post(struct work *w, void (*run)(void *arg), void (*done)(void *arg), void *arg);
/* Jobs posted whose second half has not run yet (loop's thread). */
unsigned work_pending(const struct work *w);

#endif
