/* SMTP paths and bare addresses: what was taken reads the same when it is read again. */
#include "lib/mail/path.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct path p, q;
	struct str rest;

	if (size && path_parse(str_from(data + 1, size - 1), data[0] & 7, a, &p, &rest) == 0 &&
	    !p.null && p.domain.n &&
	    (path_parse_address(p.text, PATH_UTF8, a, &q) < 0 || !str_eq(p.text, q.text)))
		abort();
	arena_free(&a);
	return 0;
}
