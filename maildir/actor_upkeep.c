/* What the loop's timer asks of all actors, and what queued's low-water mark does. */
#include "maildir/actor_private.h"

#include <stdlib.h>

#include "lib/base/clock.h"

void
actor_unasked(struct actor *a)
{
	pthread_mutex_lock(&a->all->lock);
	a->unasked_ms = clock_ms();
	list_remove(&a->unasked);
	list_push(&a->all->unasked, &a->unasked);
	pthread_mutex_unlock(&a->all->lock);
}

bool
actors_unasked(struct actors *as, uint64_t now_ms, struct volume_seat **ret_seat, uint64_t *ret)
{
	struct actor *a = NULL;

	pthread_mutex_lock(&as->lock);
	if (!list_empty(&as->unasked)) {
		a = LIST_ENTRY(as->unasked.next, struct actor, unasked);
		if (a->unasked_ms + ACTOR_UNASKED_MS > now_ms) {
			a = NULL;
		} else {
			list_remove(&a->unasked);
			*ret_seat = a->seat;
			*ret = a->account;
		}
	}
	pthread_mutex_unlock(&as->lock);
	return a != NULL;
}

void
actors_tick(struct actors *as, uint64_t now_ms)
{
	struct actor *a, *tmp;

	pthread_mutex_lock(&as->lock);
	LIST_FOREACH_SAFE(a, tmp, &as->idle, struct actor, idle) {
		if (a->used_ms + ACTOR_IDLE_MS > now_ms)
			break;
		a->close = true;
		actor_schedule(a);
	}
	pthread_mutex_unlock(&as->lock);
}

bool
actors_quiet(struct actors *as, uint64_t now_ms, struct volume_seat **ret_seat, uint64_t *ret)
{
	struct actor *a;
	bool found = false;

	pthread_mutex_lock(&as->lock);
	LIST_FOREACH(a, &as->idle, struct actor, idle) {
		if (a->used_ms + ACTOR_QUIET_MS > now_ms)
			break;
		if (a->kept || a->close)
			continue;
		*ret_seat = a->seat;
		*ret = a->account;
		found = true;
		break;
	}
	pthread_mutex_unlock(&as->lock);
	return found;
}

void
actors_lose_volume(struct actors *as, struct volume *v, int code)
{
	struct actor *a;
	size_t pos = 0;

	pthread_mutex_lock(&as->lock);
	while ((a = map_next(&as->map, &pos, NULL))) {
		if (a->seat->volume != v)
			continue;
		a->lose = code;
		actor_schedule(a);
	}
	pthread_mutex_unlock(&as->lock);
}

bool
actors_close_all(struct actors *as)
{
	struct actor *a;
	size_t pos = 0;
	bool all = true;

	pthread_mutex_lock(&as->lock);
	while ((a = map_next(&as->map, &pos, NULL))) {
		if (!a->is_open && !a->n_jobs && !a->busy)
			continue;
		all = false;
		a->close = true;
		actor_schedule(a);
	}
	pthread_mutex_unlock(&as->lock);
	return all;
}

bool
actors_all_recovered(struct actors *as)
{
	struct actor *a;
	size_t pos = 0;
	bool all = true;

	pthread_mutex_lock(&as->lock);
	while ((a = map_next(&as->map, &pos, NULL)))
		all &= !a->recover;
	pthread_mutex_unlock(&as->lock);
	return all;
}

void
actors_low_water(struct actors *as, const struct low_water *w)
{
	uint64_t *open = malloc((w->n + 1) * sizeof *open);

	if (!open)
		return;
	if (w->n)
		memcpy(open, w->open, w->n * sizeof *open);
	pthread_mutex_lock(&as->lock);
	free(as->low.open);
	as->low = (struct low_water){ w->mark, open, w->n };
	pthread_mutex_unlock(&as->lock);
}

int
actor_prune(struct actor *a, struct err *e)
{
	struct low_water w;
	uint64_t *open;
	int r = 0;

	pthread_mutex_lock(&a->all->lock);
	w = a->all->low;
	open = malloc((w.n + 1) * sizeof *open);
	if (open && w.n)
		memcpy(open, w.open, w.n * sizeof *open);
	pthread_mutex_unlock(&a->all->lock);
	if (open && w.mark)
		r = index_prune_delivered(a->index, w.mark, open, w.n, e);
	free(open);
	return r;
}

void
actors_stat(struct actors *as, struct actors_stat *ret)
{
	pthread_mutex_lock(&as->lock);
	*ret = (struct actors_stat){ (unsigned)as->map.n, as->n_open, as->n_handles, as->n_jobs };
	pthread_mutex_unlock(&as->lock);
}
