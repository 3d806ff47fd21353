/* The recipients that an accepted address becomes; see rcpt.h. */
#include "lib/accept/rcpt.h"

#include <errno.h>

static int
make_room(struct envelope *e, size_t *cap, size_t more, struct arena *a)
{
	size_t want = *cap ? *cap : 4;
	struct envelope_rcpt *v;

	while (want < e->n_rcpts + more)
		want *= 2;
	if (want == *cap)
		return 0;
	v = ARENA_ARRAY(a, struct envelope_rcpt, want);
	if (!v)
		return -ENOMEM;
	if (e->n_rcpts)
		memcpy(v, e->rcpts, e->n_rcpts * sizeof *v);
	e->rcpts = v;
	*cap = want;
	return 0;
}

static uint32_t
without_success(uint32_t notify)
{
	uint32_t rest = notify & ~(uint32_t)NOTIFY_SUCCESS;

	return notify && !rest ? NOTIFY_NEVER : rest;
}

/* How many of them keep the message's sender. */
static size_t
n_plain(const struct resolve_answer *who)
{
	size_t n = 0;

	if (who->kind != RESOLVE_LIST)
		return 1;
	for (size_t i = 0; i < who->n_targets; i++)
		n += !who->targets[i].sender.n;
	return n;
}

static void
add_expanded(struct envelope *e, struct str original, const struct envelope_rcpt *said, bool list)
{
	e->rcpts[e->n_rcpts++] = (struct envelope_rcpt){
		.route = ROUTE_LOCAL,
		.address = original,
		.original = original,
		.orcpt = said->orcpt,
		.notify = said->notify,
		.expanded = list ? EXPANDED_LIST : EXPANDED_ALIAS,
	};
}

int
accept_rcpt(struct envelope *e, size_t *cap, const struct resolve_answer *who,
    struct str original, const struct envelope_rcpt *said, struct arena *a)
{
	size_t n = resolve_deliveries(who), plain = n_plain(who);
	bool success = said->notify & NOTIFY_SUCCESS && !(said->notify & NOTIFY_NEVER);

	if (make_room(e, cap, n + 1, a) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct envelope_rcpt *r = &e->rcpts[e->n_rcpts++];

		*r = (struct envelope_rcpt){ 0 };
		resolve_rcpt(who, i, original, r);
		r->original = original;
		if (r->sender.n)
			continue;
		r->orcpt = said->orcpt;
		r->notify = plain > 1 ? without_success(said->notify) : said->notify;
	}
	if (n && plain != 1 && success && e->sender.n)
		add_expanded(e, original, said, !plain);
	return 0;
}
