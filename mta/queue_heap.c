/* Messages that are not due, in a binary heap by the time of their next try. A message
 * knows its place, so that it can be moved and taken out. */
#include <stdlib.h>

#include "lib/base/log.h"
#include "mta/queued.h"

static bool
before(const struct qmsg *a, const struct qmsg *b)
{
	return a->next_ms < b->next_ms;
}

static void
place(size_t i, struct qmsg *m)
{
	queued.heap[i] = m;
	m->heap = (uint32_t)i + 1;
}

static void
sift(size_t i, struct qmsg *m)
{
	for (; i && before(m, queued.heap[(i - 1) / 2]); i = (i - 1) / 2)
		place(i, queued.heap[(i - 1) / 2]);
	for (size_t c; (c = 2 * i + 1) < queued.heap_n; i = c) {
		if (c + 1 < queued.heap_n && before(queued.heap[c + 1], queued.heap[c]))
			c++;
		if (!before(queued.heap[c], m))
			break;
		place(i, queued.heap[c]);
	}
	place(i, m);
}

void
heap_push(struct qmsg *m)
{
	if (m->heap) {
		sift(m->heap - 1, m);
		return;
	}
	if (queued.heap_n == queued.heap_cap) {
		size_t cap = queued.heap_cap * 2 + 1024;
		struct qmsg **h = realloc(queued.heap, cap * sizeof(struct qmsg *));

		if (!h)
			fatal("queue.memory", "no memory for %zu messages", cap);
		queued.heap = h;
		queued.heap_cap = cap;
	}
	sift(queued.heap_n++, m);
}

void
heap_remove(struct qmsg *m)
{
	size_t i = m->heap;
	struct qmsg *last;

	if (!i--)
		return;
	m->heap = 0;
	last = queued.heap[--queued.heap_n];
	if (last != m)
		sift(i, last);
}

struct qmsg *
heap_first(void)
{
	return queued.heap_n ? queued.heap[0] : NULL;
}
