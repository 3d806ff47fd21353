/* Header sections whose addresses all become another: the places are of the text, in order,
 * and nothing but the addresses is gone. */
#include <stdlib.h>

#include "lib/accept/fields.h"
#include "lib/client/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_auth_rewrite(const struct rewrite_ask *v, size_t n, struct arena *a, struct str *ret);

int
__wrap_auth_rewrite(const struct rewrite_ask *v, size_t n, struct arena *a, struct str *ret)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = str_chr(v[i].address, '@') > 0 ? STR("new@example.test") : STR_NULL;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct str table = STR_INIT("t");
	const struct settings s = { .origin_domain = STR("origin.test"), .generic = { &table, 1 } };
	struct arena *a = arena_new(16u << 20);
	struct str header = str_from(data, size);
	struct buf out = { 0 };
	struct edits e;
	size_t gone = 0;

	if (!fields_rewrite(&s, header, true, a, &e)) {
		if (edits_apply(&e, header, &out))
			abort();
		for (size_t i = 0; i < e.n; i++)
			gone += e.v[i].n;
		if (out.n != size - gone + e.n * strlen("new@example.test"))
			abort();
	}
	buf_done(&out);
	arena_free(&a);
	return 0;
}
