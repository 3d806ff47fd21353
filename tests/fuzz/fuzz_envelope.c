/* Envelopes of frames and spool records: what was read is written the same twice. */
#include "lib/mail/envelope.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct buf one = { 0 }, two = { 0 };
	struct envelope e;

	if (envelope_get(str_from(data, size), a, &e) == 0) {
		envelope_put(&one, &e);
		if (envelope_get(buf_view(&one), a, &e) < 0)
			abort();
		envelope_put(&two, &e);
		if (!str_eq(buf_view(&one), buf_view(&two)))
			abort();
	}
	buf_done(&one);
	buf_done(&two);
	arena_free(&a);
	return 0;
}
