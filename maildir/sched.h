/*
 * The worker threads of maild. What runs is a struct work: an actor, or a
 * delivery. Each belongs to a lane (a volume), and no lane has more than half of
 * the threads, so that a volume whose disk hangs leaves the others their threads.
 */
#ifndef MAILDIR_SCHED_H
#define MAILDIR_SCHED_H

#include "lib/base/err.h"
#include "lib/base/list.h"

struct sched;

struct lane {
	struct list link;   /* of sched's lanes */
	struct list ready;
	unsigned running;
};

struct work {
	struct list link;
	void (*run)(struct work *w); /* may free w, or post it again */
	struct lane *lane;
};

struct sched *sched_new(unsigned threads, struct err *e);
/* Runs what is queued, then ends the threads. */
void sched_free(struct sched **s);
/* Before any work of the lane; the struct must outlive the sched. */
void sched_lane(struct sched *s, struct lane *l);
/* From any thread. w must not be queued or running already (an actor sees to that). */
void sched_post(struct sched *s, struct lane *l, struct work *w);

#endif
