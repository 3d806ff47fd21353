/* main.cf and master.cf: any text is read, and every value expanded, within bounds. */
#include <stdint.h>
#include <stdlib.h>

#include "mta/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct import *m = ARENA_NEW(a, struct import);
	struct str text = str_from(data, size), list, w;
	struct err e;

	if (size > 4096 || !m) {
		arena_free(&a);
		return 0;
	}
	m->arena = a;
	import_main_cf(m, text, &e);
	import_master_cf(m, text, &e);
	for (size_t i = 0; i < m->n_params && i < 64; i++) {
		list = import_expand(m, m->n_services ? &m->services[0] : NULL, m->params[i].value, 0);
		while (import_word(&list, &w))
			if (w.n > 1u << 20)
				abort();
	}
	strmap_done(&m->by_name);
	arena_free(&a);
	return 0;
}
