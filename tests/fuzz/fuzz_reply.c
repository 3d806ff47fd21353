/* A server's replies: whole, and the same whatever the cuts. */
#include <stdlib.h>

#include "mta/relay_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str in = str_from(data, size), text;
	struct reply r, again;
	ssize_t n = reply_parse(in, &r);

	if (n > 0) {
		if ((size_t)n > size || n > REPLY_MAX || r.code < 200 || r.code > 599)
			abort();
		if (reply_parse(str_head(in, (size_t)n), &again) != n || again.code != r.code)
			abort();
		if (reply_parse(str_head(in, (size_t)n - 1), &again) > 0)
			abort(); /* it ended before its end */
		text = reply_text(&r, a);
		if (text.n > REPLY_TEXT_MAX || reply_enhanced(&r).n > 9)
			abort();
		for (size_t i = 0; i < text.n; i++)
			if ((unsigned char)text.p[i] < 32)
				abort();
	}
	arena_free(&a);
	return 0;
}
