/* Edits as the envelope has them; those that were read are written as the same bytes. */
#include <stdlib.h>

#include "lib/mail/edits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(16u << 20);
	struct str body = str_from(data, size);
	struct buf again = { 0 }, out = { .max = 1 << 20 };
	struct edits e;

	if (!edits_get(body, a, &e)) {
		edits_put(&again, &e);
		if (!str_eq(buf_view(&again), body))
			abort();
		edits_apply(&e, body, &out);
	}
	buf_done(&again);
	buf_done(&out);
	arena_free(&a);
	return 0;
}
