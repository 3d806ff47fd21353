/* Growing delay on failed log-ins; see penalty.h. */
#include "mta/penalty.h"

#include <stdlib.h>

#include "lib/base/list.h"
#include "lib/base/map.h"

#define FIRST_MS 500
#define HALVE_MS (10 * 60 * 1000)

struct entry {
	struct list link;   /* in `touched`, oldest first */
	uint64_t key;
	uint64_t halved_ms; /* failures are as of then */
	unsigned failures, running;
};

struct penalty {
	struct map by_key;
	struct list touched;
	size_t max_entries;
	unsigned free_tries;
	uint64_t max_ms;
};

struct penalty *
penalty_new(size_t max_entries, unsigned free_tries, uint64_t max_ms)
{
	struct penalty *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	list_init(&p->touched);
	p->max_entries = max_entries;
	p->free_tries = free_tries;
	p->max_ms = max_ms;
	return p;
}

static void
drop(struct penalty *p, struct entry *e)
{
	map_del(&p->by_key, e->key);
	list_remove(&e->link);
	free(e);
}

void
penalty_free(struct penalty **p)
{
	if (!*p)
		return;
	while (!list_empty(&(*p)->touched))
		drop(*p, LIST_ENTRY((*p)->touched.next, struct entry, link));
	map_done(&(*p)->by_key);
	free(*p);
	*p = NULL;
}

void
penalty_max(struct penalty *p, uint64_t max_ms)
{
	p->max_ms = max_ms;
}

static void
fade(struct entry *e, uint64_t now_ms)
{
	for (; e->failures && now_ms - e->halved_ms >= HALVE_MS; e->halved_ms += HALVE_MS)
		e->failures /= 2;
	if (!e->failures)
		e->halved_ms = now_ms;
}

/* The entry of a key, made when missing; NULL only without memory. */
static struct entry *
touch(struct penalty *p, uint64_t key, uint64_t now_ms)
{
	struct entry *e = map_get(&p->by_key, key);

	if (e) {
		list_remove(&e->link);
		list_push(&p->touched, &e->link);
		fade(e, now_ms);
		return e;
	}
	if (p->by_key.n >= p->max_entries)
		drop(p, LIST_ENTRY(p->touched.next, struct entry, link));
	e = calloc(1, sizeof *e);
	if (!e || map_set(&p->by_key, key, e)) {
		free(e);
		return NULL;
	}
	e->key = key;
	e->halved_ms = now_ms;
	list_push(&p->touched, &e->link);
	return e;
}

uint64_t
penalty_enter(struct penalty *p, uint64_t key, uint64_t now_ms)
{
	struct entry *e = touch(p, key, now_ms);
	uint64_t ms = FIRST_MS;
	unsigned n;

	if (!e)
		return p->max_ms;
	n = e->failures + e->running++;
	if (n <= p->free_tries)
		return 0;
	for (n -= p->free_tries; n > 1 && ms < p->max_ms; n--)
		ms *= 2;
	return ms < p->max_ms ? ms : p->max_ms;
}

unsigned
penalty_running(const struct penalty *p, uint64_t key)
{
	const struct entry *e = map_get(&p->by_key, key);

	return e ? e->running : 0;
}

void
penalty_leave(struct penalty *p, uint64_t key, enum penalty_end how, uint64_t now_ms)
{
	struct entry *e = touch(p, key, now_ms);

	if (!e)
		return;
	if (e->running)
		e->running--;
	if (how == PENALTY_FAILED && e->failures < 1000)
		e->failures++;
	if (how == PENALTY_PASSED)
		e->failures = 0;
	if (!e->failures && !e->running)
		drop(p, e);
}
