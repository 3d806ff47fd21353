/* Log lines: every pair that is read lies within the line. */
#include <stdint.h>
#include <stdlib.h>

#include "lib/base/logfmt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str line = str_from(data, size), key;
	struct buf value = { 0 };

	while (logfmt_next(&line, &key, &value)) {
		if (key.n > size || value.n > size)
			abort();
		if (key.n && (key.p < (const char *)data || key.p + key.n > (const char *)data + size))
			abort();
	}
	buf_done(&value);
	return 0;
}
