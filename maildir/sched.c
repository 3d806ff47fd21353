/*
 * Worker threads over lanes. A thread takes the head of the next lane, in turn,
 * that has work and is below its share; a thread that finds none sleeps.
 */
#include "maildir/sched.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS_MAX = 256 };

struct sched {
	unsigned threads, share;  /* share: of one lane */
	pthread_t *ids;
	pthread_mutex_t lock;     /* of all below and of the lanes */
	pthread_cond_t wake;
	struct list lanes;
	unsigned sleeping;
	bool stopping;
};

/* The next work that may run, off its lane; NULL. Locked. */
static struct work *
take(struct sched *s)
{
	struct lane *l;

	LIST_FOREACH(l, &s->lanes, struct lane, link) {
		struct list *head;

		if (list_empty(&l->ready) || l->running >= s->share)
			continue;
		head = list_pop(&l->ready);
		l->running++;
		list_remove(&l->link);
		list_push(&s->lanes, &l->link);
		return LIST_ENTRY(head, struct work, link);
	}
	return NULL;
}

static bool
all_empty(const struct sched *s)
{
	struct lane *l;

	LIST_FOREACH(l, &s->lanes, struct lane, link)
		if (!list_empty(&l->ready) || l->running)
			return false;
	return true;
}

static void *
worker(void *arg)
{
	struct sched *s = arg;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		struct work *w = take(s);
		struct lane *l;

		if (!w) {
			if (s->stopping && all_empty(s))
				break;
			s->sleeping++;
			pthread_cond_wait(&s->wake, &s->lock);
			s->sleeping--;
			continue;
		}
		l = w->lane;
		pthread_mutex_unlock(&s->lock);
		w->run(w);
		pthread_mutex_lock(&s->lock);
		l->running--;
		if (s->stopping)
			pthread_cond_broadcast(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void
stop(struct sched *s, unsigned started)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < started; i++)
		pthread_join(s->ids[i], NULL);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	free(s->ids);
	free(s);
}

struct sched *
sched_new(unsigned threads, struct err *e)
{
	struct sched *s = calloc(1, sizeof *s);

	threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
	if (s)
		s->ids = calloc(threads, sizeof *s->ids);
	if (!s || !s->ids) {
		free(s);
		err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	s->threads = threads;
	s->share = threads > 1 ? threads / 2 : 1;
	list_init(&s->lanes);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	for (unsigned i = 0; i < threads; i++) {
		int r = pthread_create(&s->ids[i], NULL, worker, s);

		if (r) {
			err_sys(e, -r, "cannot start a worker thread");
			stop(s, i);
			return NULL;
		}
	}
	return s;
}

void
sched_free(struct sched **s)
{
	if (*s)
		stop(*s, (*s)->threads);
	*s = NULL;
}

void
sched_lane(struct sched *s, struct lane *l)
{
	list_init(&l->ready);
	l->running = 0;
	pthread_mutex_lock(&s->lock);
	list_push(&s->lanes, &l->link);
	pthread_mutex_unlock(&s->lock);
}

void
sched_post(struct sched *s, struct lane *l, struct work *w)
{
	w->lane = l;
	pthread_mutex_lock(&s->lock);
	list_push(&l->ready, &w->link);
	if (s->sleeping && l->running < s->share)
		pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}
