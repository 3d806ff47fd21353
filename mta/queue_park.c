/*
 * Messages that came faster than segments could be filled: they wait, in order,
 * until the next one is ready, so that a burst is slowed down and not refused.
 * The wait is bounded in time and memory; behind the bounds stands a 452.
 */
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/proc/metrics.h"
#include "mta/queued.h"

#define PARK_BYTES_MAX ((size_t)32 << 20)
#define PARK_MS 10000u

static struct metric m_parked = METRIC_COUNTER("queue_parked_total", NULL,
    "Messages that waited for room in the log");

struct parked {
	struct list link;
	struct peer *peer;       /* ref */
	struct frame frame;
	uint64_t since;
	char body[];
};

static struct {
	struct list all;         /* oldest first */
	size_t bytes;
} park = { .all = LIST_INIT(park.all) };

static void
forget(struct parked *k)
{
	list_remove(&k->link);
	park.bytes -= k->frame.body.n;
	chan_peer_unref(&k->peer);
	free(k);
}

bool
park_any(void)
{
	return !list_empty(&park.all);
}

bool
park_message(struct peer *p, const struct frame *f)
{
	struct parked *k = NULL;

	if (park.bytes + f->body.n <= PARK_BYTES_MAX)
		k = malloc(sizeof *k + f->body.n);
	if (!k)
		return false;
	*k = (struct parked){ .peer = chan_peer_ref(p), .frame = *f, .since = clock_ms() };
	memcpy(k->body, f->body.p, f->body.n);
	k->frame.body.p = k->body;
	park.bytes += f->body.n;
	list_push(&park.all, &k->link);
	metric_add(&m_parked, 1);
	return true;
}

void
park_retry(bool hopeless)
{
	struct parked *k, *next;
	uint64_t now = clock_ms();
	bool full = hopeless || queued.stopping;

	LIST_FOREACH_SAFE(k, next, &park.all, struct parked, link) {
		if (!full)
			full = !accept_try(k->peer, &k->frame);
		if (!full || hopeless || queued.stopping || now - k->since >= PARK_MS) {
			if (full)
				accept_no_room(k->peer, &k->frame);
			forget(k);
		}
	}
}
