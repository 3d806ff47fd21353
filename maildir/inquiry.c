/*
 * The line of inquiries. Threads post to the loop; there an inquiry is put in
 * line and, while fewer than INQUIRY_ASKERS coroutines are at work, one more is
 * started. A coroutine goes on until the line is empty. All but inquire() runs on
 * the loop's thread, so there is no lock.
 *
 * A message that ends a mimed takes with it the answers to those that stood behind
 * it. So a message is called opaque only when mimed failed on it while it was asked
 * for nothing else: until then it is a suspect, and the last coroutine that is at
 * work asks for the suspects one by one.
 */
#include "maildir/inquiry.h"

#include <errno.h>

#include "lib/client/mime.h"
#include "lib/io/co.h"
#include "lib/proc/metrics.h"

_Static_assert((int)INQUIRY_INLINE <= (int)MIME_INLINE, "mimed takes less inline");

static struct metric opaque_total = METRIC_COUNTER("store_opaque_total", NULL,
    "Messages that mimed failed on twice, taken in as opaque bytes");
static struct metric unasked_total = METRIC_COUNTER("store_unasked_total", NULL,
    "Messages whose facts could not be asked for, since no mimed was there");

static struct {
	struct loop *loop;
	struct list line, suspects;
	unsigned askers;
	bool alone;            /* a suspect is being asked for */
} house = { .line = LIST_INIT(house.line), .suspects = LIST_INIT(house.suspects) };

void
inquiry_init(struct loop *l)
{
	house.loop = l;
}

static void
answer(struct inquiry *q, int code)
{
	q->code = code;
	if (code < 0)
		q->facts = STR_NULL;
	metric_add(&opaque_total, code == 1);
	metric_add(&unasked_total, code < 0);
	q->fn(q);
}

static int
ask(struct inquiry *q)
{
	return mime_take_in(q->content, q->fd, q->size, 0, q->arena, &q->facts);
}

static void
ask_in_line(struct inquiry *q)
{
	bool crowd = house.askers > 1;
	int r = ask(q);

	if (r == 1 && (crowd || house.askers > 1))
		list_push(&house.suspects, &q->link);
	else
		answer(q, r);
}

static void
ask_alone(struct inquiry *q)
{
	house.alone = true;
	answer(q, ask(q));
	house.alone = false;
}

static void
asker(void *arg)
{
	struct list *l;

	for (;;) {
		if (list_empty(&house.suspects)) {
			if (!(l = list_pop(&house.line)))
				break;
			ask_in_line(LIST_ENTRY(l, struct inquiry, link));
		} else if (house.askers == 1) {
			l = list_pop(&house.suspects);
			ask_alone(LIST_ENTRY(l, struct inquiry, link));
		} else {
			break;
		}
	}
	house.askers--;
}

static void
enter(void *arg)
{
	struct inquiry *q = arg;
	bool busy = house.alone || !list_empty(&house.suspects);

	list_push(&house.line, &q->link);
	if (house.askers >= (busy ? 1 : INQUIRY_ASKERS))
		return;
	house.askers++;
	if (co_spawn(house.loop, "inquiry", asker, NULL) == 0)
		return;
	house.askers--;
	if (house.askers == 0) { /* nobody will come for it */
		list_remove(&q->link);
		answer(q, -EAGAIN);
	}
}

void
inquire(struct inquiry *q)
{
	q->facts = STR_NULL;
	loop_post(house.loop, enter, q);
}
