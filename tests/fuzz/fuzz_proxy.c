/* PROXY headers: no read outside the bytes, and what is asked for belongs to the header. */
#include <stdlib.h>

#include "lib/io/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header h, again;
	size_t more = 0, n = 0;
	ssize_t whole = proxy_parse(str_from(data, size), &h, &more), r = 0;

	while (n <= size && (r = proxy_parse(str_from(data, n), &again, &more)) == 0) {
		if (!more)
			abort();
		n += more;
	}
	/* read piece by piece it is the same header, and nothing behind it was taken */
	if (whole > 0 && (r != whole || n != (size_t)whole || memcmp(&h, &again, sizeof h)))
		abort();
	return 0;
}
