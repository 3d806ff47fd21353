/* The low-water mark of deliveries; see store.h. The open ids go as one field of
 * 8 bytes each. */
#include <errno.h>

#include "lib/client/store.h"

enum { LW_MARK = 1, LW_OPEN = 2 };

void
low_water_put(struct buf *b, const struct low_water *w)
{
	size_t at;

	wire_u64(b, LW_MARK, w->mark);
	at = wire_begin(b, LW_OPEN);
	for (size_t i = 0; i < w->n; i++)
		buf_le64(b, w->open[i]);
	wire_end(b, at);
}

static int
open_get(struct str v, struct arena *a, struct low_water *w)
{
	if (v.n % 8)
		return -EPROTO;
	w->n = v.n / 8;
	w->open = ARENA_ARRAY(a, uint64_t, w->n + 1);
	if (!w->open)
		return -ENOMEM;
	for (size_t i = 0; i < w->n; i++)
		w->open[i] = le64_get(v.p + 8 * i);
	return 0;
}

int
low_water_get(struct str body, struct arena *a, struct low_water *ret)
{
	struct low_water w = { 0 };
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag == LW_MARK)
			w.mark = wire_int(&f);
		else if (f.tag == LW_OPEN && (rc = open_get(f.v, a, &w)))
			return rc;
	}
	if (rc)
		return rc;
	*ret = w;
	return 0;
}
