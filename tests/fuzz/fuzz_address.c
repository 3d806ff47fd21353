/* Address lists: never more than the limit, and every domain without its local part is bad. */
#include "lib/mail/address.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct addresses l;

	address_parse(str_from(data, size), a, &l);
	if (l.n > ADDRESS_MAX)
		abort();
	for (size_t i = 0, open = 0; i < l.n; i++) {
		open += l.v[i].kind == ADDRESS_GROUP;
		if (l.v[i].kind == ADDRESS_GROUP_END && open-- == 0)
			abort();
	}
	arena_free(&a);
	return 0;
}
