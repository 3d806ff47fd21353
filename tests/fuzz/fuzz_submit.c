/*
 * The submit frame: what is understood is written back so that it reads the same,
 * and nothing is read outside of it.
 */
#include <stdlib.h>

#include "lib/client/submit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_again(const struct submit_request *q, struct arena *a)
{
	struct submit_request r;
	struct buf b = { 0 };

	submit_request_put(&b, q);
	if (submit_request_get(buf_view(&b), a, &r) || r.n_rcpts != q->n_rcpts ||
	    !str_eq(r.sender, q->sender) || !str_eq(r.content, q->content) ||
	    !str_eq(r.dedup_key, q->dedup_key) || r.hold_until_ms != q->hold_until_ms)
		abort();
	for (size_t i = 0; i < r.n_rcpts; i++)
		if (!str_eq(r.rcpts[i], q->rcpts[i]))
			abort();
	buf_done(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct submit_request q;
	struct submit_answer answer;

	if (!submit_request_get(str_from(data, size), a, &q))
		check_again(&q, a);
	if (!submit_answer_get(str_from(data, size), a, &answer) && answer.smtp < 200)
		abort();
	arena_free(&a);
	return 0;
}
