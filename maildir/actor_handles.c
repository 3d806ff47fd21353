/* Handles: attached front ends, what they are told, and when they become void. */
#include "maildir/actor_private.h"

#include <errno.h>
#include <stdatomic.h>

#include "lib/client/store_wire.h"

void
actor_event(struct actor *a, uint32_t mailbox, uint64_t modseq)
{
	struct store_event ev = { .mailbox = mailbox, .modseq = modseq };
	struct handle *h;

	pthread_mutex_lock(&a->all->lock);
	LIST_FOREACH(h, &a->handles, struct handle, link) {
		struct buf b = { 0 };

		if (atomic_load(&h->is_void))
			continue;
		ev.handle = h->number;
		store_event_put(&b, &ev);
		chan_event(h->peer, MSG_STORE_EV_CHANGED, &b, -1);
		chan_peer_flush(h->peer);
		buf_done(&b);
	}
	pthread_mutex_unlock(&a->all->lock);
}

/* Handles of a dropped account: each front end is told once. Locked. */
void
actor_void_handles(struct actor *a, uint64_t below)
{
	struct handle *h;

	LIST_FOREACH(h, &a->handles, struct handle, link) {
		struct store_event ev = { .handle = h->number };
		struct buf b = { 0 };

		if (h->generation >= below || atomic_exchange(&h->is_void, true))
			continue;
		store_event_put(&b, &ev);
		chan_event(h->peer, MSG_STORE_EV_CHANGED, &b, -1);
		chan_peer_flush(h->peer);
		buf_done(&b);
	}
}

int
actor_attach(struct actors *as, struct volume_seat *seat, uint64_t account, struct handle *h)
{
	struct actor *a;
	int r = 0;

	pthread_mutex_lock(&as->lock);
	a = actor_find(as, seat, account);
	if (!a)
		r = -ENOMEM;
	else if (a->n_handles >= ACTOR_HANDLES_MAX)
		r = -EAGAIN;
	if (r == 0) {
		h->actor = a;
		list_push(&a->handles, &h->link);
		a->n_handles++;
		as->n_handles++;
	}
	pthread_mutex_unlock(&as->lock);
	if (r == 0)
		ledger_connect(volume_ledger(seat->volume), account, 1);
	return r;
}

void
actor_detach(struct actors *as, struct handle *h)
{
	struct actor *a = h->actor;
	bool gone;

	if (!a)
		return;
	ledger_connect(volume_ledger(a->seat->volume), a->account, -1);
	pthread_mutex_lock(&as->lock);
	list_remove(&h->link);
	h->actor = NULL;
	a->n_handles--;
	as->n_handles--;
	gone = !a->busy && !a->n_jobs && !a->n_handles && !a->is_open && !a->recover;
	if (gone)
		actor_forget(a);
	pthread_mutex_unlock(&as->lock);
	if (gone)
		actor_free(a);
}

int
actor_post_handle(struct handle *h, struct job *j)
{
	struct actors *as = h->actor->all;
	int r;

	pthread_mutex_lock(&as->lock);
	r = actor_post_locked(h->actor, j);
	pthread_mutex_unlock(&as->lock);
	return r;
}

uint64_t
handle_account(const struct handle *h)
{
	return h->actor->account;
}

void
actors_revoke(struct actors *as, uint64_t account, uint64_t generation)
{
	struct actor *a;

	pthread_mutex_lock(&as->lock);
	a = map_get(&as->map, account);
	if (a)
		actor_void_handles(a, generation);
	pthread_mutex_unlock(&as->lock);
}

unsigned
actor_handles(struct actor *a)
{
	unsigned n;

	pthread_mutex_lock(&a->all->lock);
	n = a->n_handles;
	pthread_mutex_unlock(&a->all->lock);
	return n;
}

bool
actors_know_quota(struct actors *as, uint64_t account)
{
	struct actor *a;
	bool r;

	pthread_mutex_lock(&as->lock);
	a = map_get(&as->map, account);
	r = a && a->n_handles;
	pthread_mutex_unlock(&as->lock);
	return r;
}

void
actors_set_quota(struct actors *as, uint64_t account, uint64_t quota)
{
	struct actor *a;

	pthread_mutex_lock(&as->lock);
	a = map_get(&as->map, account);
	if (a)
		actor_set_quota(a, quota);
	pthread_mutex_unlock(&as->lock);
}
