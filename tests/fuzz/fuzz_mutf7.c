/* Modified UTF-7: what decodes encodes back to the same bytes. */
#include "lib/mail/mutf7.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_from(data, size);
	struct buf utf8 = { 0 }, back = { 0 };

	if (mutf7_decode(in, &utf8) == 0 &&
	    (mutf7_encode(buf_view(&utf8), &back) < 0 || !str_eq(buf_view(&back), in)))
		abort();
	buf_clear(&utf8);
	buf_clear(&back);
	if (mutf7_encode(in, &utf8) == 0 &&
	    (mutf7_decode(buf_view(&utf8), &back) < 0 || !str_eq(buf_view(&back), in)))
		abort();
	buf_done(&utf8);
	buf_done(&back);
	return 0;
}
