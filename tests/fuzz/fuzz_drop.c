/* The maildrop's files: what is read can be written, and reads the same again. */
#include <stdint.h>
#include <stdlib.h>

#include "lib/base/crc32c.h"
#include "lib/client/drop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
again(const struct drop *d, struct arena *a)
{
	struct buf b = { 0 };
	struct drop e;

	drop_put(&b, d);
	if (drop_get(buf_view(&b), a, &e) || e.n_rcpts != d->n_rcpts || !str_eq(e.content, d->content) ||
	    !str_eq(e.sender, d->sender) || e.has_sender != d->has_sender || e.notify != d->notify)
		abort();
	buf_done(&b);
}

/* The bytes as they are, and behind a first line with the right sum. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct buf b = { 0 };
	struct drop d;

	if (!drop_get(str_from(data, size), a, &d))
		again(&d, a);
	buf_printf(&b, "posthorn-drop 1 %08x\n", crc32c(0, data, size));
	buf_put(&b, data, size);
	if (!drop_get(buf_view(&b), a, &d))
		again(&d, a);
	buf_done(&b);
	arena_free(&a);
	return 0;
}
