/* Arguments of XCLIENT, then of XFORWARD. */
#include <stdlib.h>

#include "mta/xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct xclient x = { 0 };
	struct str wrong;

	xclient_parse(XCLIENT_COMMAND, str_from(data, size), a, &x, &wrong);
	xclient_parse(XFORWARD_COMMAND, str_from(data, size), a, &x, &wrong);
	for (size_t i = 0; i < XCLIENT_ATTRS; i++)
		for (size_t k = 0; k < x.v[i].n; k++)
			if ((unsigned char)x.v[i].p[k] < 32) /* none may reach a trace header */
				abort();
	arena_free(&a);
	return 0;
}
