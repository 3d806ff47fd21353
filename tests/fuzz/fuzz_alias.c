/*
 * Alias files, files of pairs and patterns, and single lists and transports: the first
 * byte picks. What is taken is looked up again by its own keys.
 */
#include <stdlib.h>

#include "mta/address_list.h"
#include "mta/route.h"
#include "mta/table_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
list(struct str text, struct arena *a)
{
	struct address_item item;

	while (address_list_next(&text, a, &item) > 0)
		if (!item.text.n || (item.kind == ADDRESS_FILE && item.text.p[0] != '/'))
			abort();
}

static void
file(struct str text, struct arena *a,
    int (*read)(struct table_content *, struct str, const char *, struct err *))
{
	struct table_content c = { .arena = a };
	struct err e = { 0 };
	size_t pos = 0;
	struct str key, *v, found;

	if (read(&c, text, "fuzz", &e) < 0 && !e.text[0])
		abort();
	while ((v = strmap_next(&c.map, &pos, &key)))
		if (!key.n || key.n > TABLE_KEY_MAX || !v->n)
			abort();
	if (c.n_rules && c.n_rules < 20)
		table_rules_find(&c, str_head(text, 64), a, &found);
	strmap_done(&c.map);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char key[SRS_KEY_BYTES];
	struct arena *a = arena_new(16u << 20);
	struct str text = str_from(data + (size > 0), size - (size > 0));
	struct transport t;
	struct buf b = { .max = 1024 };

	switch (size ? data[0] % 5 : 0) {
	case 0: list(text, a); break;
	case 1: file(text, a, table_read_aliases); break;
	case 2: file(text, a, table_read_pairs); break;
	case 3: file(text, a, table_read_rules); break;
	default:
		transport_parse(text, a, &t);
		srs_reverse(key, text, 1, 21, &b);
		srs_forward(key, text, 1, &b);
	}
	buf_done(&b);
	arena_free(&a);
	return 0;
}
