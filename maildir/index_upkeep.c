/* Background work on an account's index: old tombstones, dead thread keys, views. */
#include "maildir/index_private.h"

#include <errno.h>

#include "lib/base/clock.h"

#define FOLD_LAG 1024

/* 1: there are more. */
static int
tombs_of(struct index *x, struct box *b, size_t limit, struct err *e)
{
	uint64_t old = clock_real_us() / 1000000 - (uint64_t)INDEX_TOMB_DAYS * 86400, upto = 0;
	sqlite3_stmt *s = db_q(x, Q_GONE_OLD, e, "iii", DB_I(b->id), DB_I(old), DB_I(limit));
	int before = sqlite3_total_changes(x->db), r;

	if (!s || (r = db_step(x, s, e)) < 0)
		return -EUCLEAN;
	upto = db_u64(s, 0);
	sqlite3_reset(s);
	if (!upto)
		return 0;
	if ((r = db_run(x, Q_GONE_DEL, e, "ii", DB_I(b->id), DB_I(upto))))
		return r;
	b->tomb_floor = upto > b->tomb_floor ? upto : b->tomb_floor;
	b->dirty = true;
	return (size_t)(sqlite3_total_changes(x->db) - before) >= limit;
}

/* Keys whose thread is gone, a slice of the table per call. */
static int
sweep_keys(struct index *x, size_t limit, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_KEY_NEXT, e, "ii", DB_I(x->key_sweep), DB_I(limit));
	int64_t upto;
	size_t n;
	int r;

	if (!s || (r = db_step(x, s, e)) < 0)
		return -EUCLEAN;
	upto = sqlite3_column_int64(s, 0);
	n = (size_t)sqlite3_column_int64(s, 1);
	sqlite3_reset(s);
	if (!n) {
		x->key_sweep = INT64_MIN;
		return 0;
	}
	if ((r = db_run(x, Q_KEY_SWEEP, e, "ii", DB_I(x->key_sweep), DB_I(upto))))
		return r;
	x->key_sweep = upto;
	return n >= limit;
}

int
index_upkeep(struct index *x, size_t limit, struct err *e)
{
	int more = 0, r;

	if ((r = index_need_txn(x, e)))
		return r;
	for (size_t i = 0; i < x->n_boxes; i++) {
		struct box *b = x->boxes[i];

		if (b->dead)
			continue;
		if ((r = tombs_of(x, b, limit, e)) < 0)
			return r;
		more |= r;
		if (b->view_lag > FOLD_LAG && (r = view_fold(x, b, e)))
			return r;
	}
	if ((r = sweep_keys(x, limit, e)) < 0)
		return r;
	return more | r;
}
