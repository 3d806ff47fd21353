/* Fuzzes the configuration language; what parses must survive a round trip. */
#include <stdlib.h>

#include "lib/conf/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct conf_errors errors;
	struct settings *s = settings_parse(str_from(data, size), "f", a, &errors), *again;
	struct buf b = { 0 };

	if (s) {
		settings_text(s, CONF_FOR_ALL, &b);
		again = settings_parse(buf_view(&b), "g", a, &errors);
		if (!again)
			abort();
		settings_free(&again);
	}
	settings_free(&s);
	buf_done(&b);
	arena_free(&a);
	return 0;
}
