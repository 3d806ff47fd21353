/* tabled's frames, and what it makes of queries, filters, servers and keys: the first byte picks. */
#include <stdlib.h>

#include "mta/tabled.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
frames(struct str body, struct arena *a)
{
	struct table_question q, again;
	struct table_answer v;
	struct buf b = { 0 };

	if (!table_question_get(body, &q)) {
		table_question_put(&b, &q);
		if (table_question_get(buf_view(&b), &again) || !str_eq(q.key, again.key))
			abort();
	}
	if (!table_answer_get(body, a, &v) && v.n > TABLE_VALUES_MAX)
		abort();
	buf_done(&b);
}

static void
query(struct str text, enum query_style style)
{
	struct table_query q;
	struct err e = { 0 };
	int r = table_query_make(text, style, &q, &e);

	if (r && !e.text[0])
		abort();
	if (!r)
		table_query_done(&q);
}

/* No key adds a character of the filter's own. */
static void
filter(struct str key)
{
	struct str parts[PARTS] = { key, key, key };
	struct buf b = { 0 };

	if (table_filter_put(&b, STR("%s"), parts))
		abort();
	for (size_t i = 0; i < b.n; i++)
		if (!b.p[i] || strchr("()*", b.p[i]))
			abort();
	buf_clear(&b);
	table_filter_put(&b, key, parts);
	buf_done(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(16u << 20);
	struct str text = str_from(data + (size > 0), size - (size > 0));
	struct table_server s;

	switch (size ? data[0] % 5 : 0) {
	case 0: frames(text, a); break;
	case 1: query(text, QUERY_DOLLAR); break;
	case 2: query(text, QUERY_MARK); break;
	case 3: filter(str_head(text, 4096)); break;
	default: table_server_parse(text, 389, 636, CONF_TABLE_TLS_AUTO, &s);
	}
	arena_free(&a);
	return 0;
}
