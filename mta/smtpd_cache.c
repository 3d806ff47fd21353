/* Answers of authd and maild, kept for a while; see smtpd_cache.h. */
#include "mta/smtpd_cache.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/map.h"
#include "lib/client/store.h"
#include "lib/proc/metrics.h"

#define RESOLVE_MS 60000
#define ROOM_MS 5000         /* what is delivered meanwhile is not seen */
#define ENTRIES_MAX 20000    /* of each kind; a full table is emptied */

static struct metric hits = METRIC_COUNTER("smtp_recipient_cache_total", "result=\"hit\"",
    "Questions about recipients, by whether the answer was at hand");
static struct metric misses = METRIC_COUNTER("smtp_recipient_cache_total", "result=\"miss\"",
    "Questions about recipients, by whether the answer was at hand");

struct known {
	uint64_t until_ms;
	struct resolve_answer a;  /* strings behind it */
};

struct room {
	uint64_t until_ms;
	uint64_t size;            /* so many bytes were found to fit */
};

static struct {
	struct strmap known;
	struct map rooms;
	uint64_t era;             /* counts clears: an answer asked for before one is not kept */
} cache;

void
cache_clear(void)
{
	size_t pos = 0;
	void *v;

	cache.era++;
	while ((v = strmap_next(&cache.known, &pos, NULL)))
		free(v);
	strmap_done(&cache.known);
	for (pos = 0; (v = map_next(&cache.rooms, &pos, NULL));)
		free(v);
	map_done(&cache.rooms);
}

static void
on_changed(void *arg, struct chan *c, const struct frame *f)
{
	cache_clear();
}

static void
on_state(void *arg, struct chan *c, bool up)
{
	cache_clear();
}

void
cache_init(void)
{
	chan_on_event(ROLE_AUTHD, MSG_AUTH_EV_CHANGED, on_changed, NULL);
	chan_on_state(ROLE_AUTHD, on_state, NULL);
}

static void
keep_known(struct str address, const struct resolve_answer *a)
{
	struct known *k = malloc(sizeof *k + a->address.n + a->detail.n), *old;
	char *text = (char *)(k + 1);

	if (!k)
		return;
	if (cache.known.n >= ENTRIES_MAX)
		cache_clear();
	k->until_ms = clock_ms() + RESOLVE_MS;
	k->a = *a;
	memcpy(text, a->address.p ? a->address.p : "", a->address.n);
	memcpy(text + a->address.n, a->detail.p ? a->detail.p : "", a->detail.n);
	k->a.address = str_from(text, a->address.n);
	k->a.detail = str_from(text + a->address.n, a->detail.n);
	old = strmap_get(&cache.known, address);
	if (strmap_set(&cache.known, address, k))
		free(k);
	else
		free(old);
}

int
cache_resolve(struct str address, struct str sender, struct arena *a, struct resolve_answer *ret)
{
	const struct known *k = strmap_get(&cache.known, address);
	uint64_t era = cache.era;
	int r;

	if (k && k->until_ms > clock_ms()) {
		metric_add(&hits, 1);
		*ret = k->a;
		ret->address = arena_dup(a, k->a.address);
		ret->detail = arena_dup(a, k->a.detail);
		return ret->address.p ? 0 : -ENOMEM;
	}
	metric_add(&misses, 1);
	r = auth_resolve(address, sender, a, ret);
	if (r == 0 && ret->kind == RESOLVE_ACCOUNT && !ret->by_sender && era == cache.era)
		keep_known(address, ret);
	return r;
}

/* Without a quota only the volume's room is asked about. */
static uint64_t
room_key(const struct resolve_answer *who)
{
	return who->quota ? who->account : UINT64_C(1) << 63 | who->volume;
}

static void
keep_room(uint64_t key, uint64_t size)
{
	struct room *r = map_get(&cache.rooms, key);

	if (!r) {
		if (cache.rooms.n >= ENTRIES_MAX)
			cache_clear();
		r = calloc(1, sizeof *r);
		if (!r || map_set(&cache.rooms, key, r)) {
			free(r);
			return;
		}
	}
	*r = (struct room){ clock_ms() + ROOM_MS, size };
}

int
cache_room(const struct resolve_answer *who, uint64_t size, struct wire_error *we)
{
	uint64_t key = room_key(who), era = cache.era;
	const struct room *k = map_get(&cache.rooms, key);
	int r;

	if (k && k->until_ms > clock_ms() && k->size >= size) {
		metric_add(&hits, 1);
		return 0;
	}
	metric_add(&misses, 1);
	r = store_room(who->account, who->volume, who->slot, who->quota, size, we);
	if (r == 0 && era == cache.era)
		keep_room(key, size);
	return r;
}
