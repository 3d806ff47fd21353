/* A message: parts lie inside the message and their parents; its facts are taken. */
#include "lib/mail/facts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct buf blob = { 0 };
	struct facts f;
	struct mime m;

	if (mime_parse(str_from(data, size), a, 0, &m) == 0)
		for (uint32_t i = 0; i < m.n; i++) {
			const struct mime_part *p = &m.parts[i], *up = &m.parts[i ? p->parent : 0];

			if (p->head > p->body || p->body > p->end || p->end > size ||
			    (i && (p->head < up->body || p->end > up->end)))
				abort();
		}
	if (facts_make(str_from(data, size), 1, 0, &blob) == 0 && facts_get(buf_view(&blob), &f) < 0)
		abort();
	buf_done(&blob);
	arena_free(&a);
	return 0;
}
