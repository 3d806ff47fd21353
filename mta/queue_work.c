/* Jobs on a thread; see queue_work.h. */
#include "mta/queue_work.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct job {
	struct list link;
	struct work *w;
	void (*run)(void *);
	void (*done)(void *);
	void *arg;
};

struct work {
	struct loop *loop;
	pthread_t thread;
	pthread_mutex_t mu;   /* guards jobs, stop */
	pthread_cond_t more;
	struct list jobs;
	bool stop;
	unsigned pending;     /* loop's thread */
};

static void
finished(void *arg)
{
	struct job *j = arg;

	j->w->pending--;
	j->done(j->arg);
	free(j);
}

static struct job *
next_job(struct work *w)
{
	struct list *l;

	pthread_mutex_lock(&w->mu);
	while (!(l = list_pop(&w->jobs)) && !w->stop)
		pthread_cond_wait(&w->more, &w->mu);
	pthread_mutex_unlock(&w->mu);
	return l ? LIST_ENTRY(l, struct job, link) : NULL;
}

static void *
worker(void *arg)
{
	struct work *w = arg;
	struct job *j;

	while ((j = next_job(w))) {
		j->run(j->arg);
		loop_post(w->loop, finished, j);
	}
	return NULL;
}

struct work *
work_new(struct loop *l, struct err *e)
{
	struct work *w = calloc(1, sizeof *w);
	int rc;

	if (!w) {
		err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	w->loop = l;
	list_init(&w->jobs);
	pthread_mutex_init(&w->mu, NULL);
	pthread_cond_init(&w->more, NULL);
	rc = pthread_create(&w->thread, NULL, worker, w);
	if (rc) {
		err_sys(e, -rc, "starting a thread");
		free(w);
		return NULL;
	}
	return w;
}

void
work_free(struct work **wp)
{
	struct work *w = *wp;

	if (!w)
		return;
	pthread_mutex_lock(&w->mu);
	w->stop = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->mu);
	pthread_join(w->thread, NULL);
	pthread_mutex_destroy(&w->mu);
	pthread_cond_destroy(&w->more);
	free(w);
	*wp = NULL;
}

int
work_post(struct work *w, void (*run)(void *), void (*done)(void *), void *arg)
{
	struct job *j = malloc(sizeof *j);

	if (!j)
		return -ENOMEM;
	*j = (struct job){ .w = w, .run = run, .done = done, .arg = arg };
	w->pending++;
	pthread_mutex_lock(&w->mu);
	list_push(&w->jobs, &j->link);
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->mu);
	return 0;
}

unsigned
work_pending(const struct work *w)
{
	return w->pending;
}
