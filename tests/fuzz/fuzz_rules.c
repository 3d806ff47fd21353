/* Rules of checks; those that were read are read alike again, line by line, and may be matched. */
#include <stdlib.h>

#include "lib/conf/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
match_all(const struct conf_rules *rs, struct str text)
{
	struct matcher *m = matcher_new(10000);
	struct buf b = { .max = 65536 };

	for (size_t i = 0; m && i < rs->n && i < 16; i++)
		if (rs->rules[i].pattern && regex_match(m, rs->rules[i].pattern, text) > 0)
			regex_expand(m, text, rs->rules[i].text, &b);
	buf_done(&b);
	matcher_free(&m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(16u << 20);
	struct conf_rules rs = { 0 }, again = { 0 };
	struct str text = str_from(data, size);
	struct err e = { 0 };
	int r = rules_add(&rs, text, a, &e);

	if (r && !e.text[0])
		abort();
	for (size_t i = 0; !r && i < rs.n; i++)
		if (rules_add(&again, rs.v[i], a, &e))
			abort();
	if (!r && (again.n != rs.n || again.open != rs.open))
		abort();
	if (!r && !rules_none(&rs))
		match_all(&rs, str_head(text, 256));
	arena_free(&a);
	return 0;
}
