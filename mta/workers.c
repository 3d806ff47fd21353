/* Threads for a loop's slow jobs; see workers.h. */
#include "mta/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct workers {
	struct loop *loop;
	pthread_t *threads;
	unsigned n_threads;
	size_t max_waiting;

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake;
	struct list jobs;
	size_t n_waiting;
	bool ending;
};

static void
finish(void *arg)
{
	struct job *j = arg;

	j->done(j);
}

static void *
run(void *arg)
{
	struct workers *w = arg;
	struct list *l;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!(l = list_pop(&w->jobs)) && !w->ending)
			pthread_cond_wait(&w->wake, &w->lock);
		if (!l)
			break;
		w->n_waiting--;
		pthread_mutex_unlock(&w->lock);
		struct job *j = LIST_ENTRY(l, struct job, link);

		j->work(j);
		loop_post(w->loop, finish, j);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Threads take no signals but the sandbox's. */
static void
start_threads(struct workers *w, unsigned threads)
{
	sigset_t all, old;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < threads; i++)
		if (!pthread_create(&w->threads[w->n_threads], NULL, run, w))
			w->n_threads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct workers *
workers_new(struct loop *l, unsigned threads, size_t max_waiting, struct err *e)
{
	struct workers *w = calloc(1, sizeof *w);

	if (w)
		w->threads = calloc(threads, sizeof *w->threads);
	if (!w || !w->threads) {
		free(w);
		err_set(e, -ENOMEM, "workers: no memory");
		return NULL;
	}
	w->loop = l;
	w->max_waiting = max_waiting;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	list_init(&w->jobs);
	start_threads(w, threads);
	if (!w->n_threads) {
		err_set(e, -EAGAIN, "cannot start a thread");
		workers_free(&w);
	}
	return w;
}

int
workers_add(struct workers *w, struct job *j, bool urgent)
{
	int r = 0;

	j->of = w;
	pthread_mutex_lock(&w->lock);
	if (w->n_waiting >= w->max_waiting || w->ending) {
		r = -EAGAIN;
	} else {
		w->n_waiting++;
		if (urgent)
			list_push_front(&w->jobs, &j->link);
		else
			list_push(&w->jobs, &j->link);
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

void
workers_free(struct workers **w)
{
	if (!*w)
		return;
	pthread_mutex_lock(&(*w)->lock);
	(*w)->ending = true;
	pthread_cond_broadcast(&(*w)->wake);
	pthread_mutex_unlock(&(*w)->lock);
	for (unsigned i = 0; i < (*w)->n_threads; i++)
		pthread_join((*w)->threads[i], NULL);
	pthread_mutex_destroy(&(*w)->lock);
	pthread_cond_destroy(&(*w)->wake);
	free((*w)->threads);
	free(*w);
	*w = NULL;
}
