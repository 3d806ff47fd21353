/* Reading messages' facts and finding their files. */
#include "maildir/index_private.h"

#include <errno.h>

/* The statement that reads no more tables than `want` needs. */
static enum query
read_query(unsigned want)
{
	if (!(want & (FACT_ENVELOPE | FACT_STRUCTURE | FACT_PREVIEW)))
		return Q_READ_DATES;
	return want & FACT_DATES ? Q_READ_ALL : Q_READ_FACTS;
}

static void
fact_of(sqlite3_stmt *s, unsigned want, struct store_fact *f)
{
	*f = (struct store_fact){ .uid = db_u32(s, 0), .email = db_u64(s, 1),
		.thread = db_u64(s, 2), .save_date = sqlite3_column_int64(s, 3) };
	if (want & FACT_DATES) {
		f->size = db_u64(s, 4);
		f->internal_date = sqlite3_column_int64(s, 5);
		f->internal_zone = sqlite3_column_int(s, 6);
	}
	if (want & FACT_ENVELOPE)
		f->envelope = db_text(s, 7);
	if (want & FACT_STRUCTURE)
		f->structure = db_text(s, 8);
	if (want & FACT_PREVIEW)
		f->preview = db_text(s, 9);
}

static int
read_range(struct index *x, uint32_t mailbox, uint32_t lo, uint32_t hi, unsigned want,
    int (*fn)(void *arg, const struct store_fact *f), void *arg, uint32_t *ret_next,
    struct err *e)
{
	sqlite3_stmt *s = db_q(x, read_query(want), e, "iii", DB_I(mailbox), DB_I(lo), DB_I(hi));
	struct store_fact f;
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0) {
		fact_of(s, want, &f);
		if ((r = fn(arg, &f)))
			break;
	}
	sqlite3_reset(s);
	if (r == 1)
		*ret_next = f.uid;
	return r;
}

int
index_facts(struct index *x, uint32_t mailbox, const struct uid_set *set, uint32_t from,
    unsigned want, int (*fn)(void *arg, const struct store_fact *f), void *arg,
    uint32_t *ret_next, struct err *e)
{
	struct box *b;
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)))
		return -ENOENT;
	*ret_next = 0;
	for (size_t i = 0; !r && i < set->n; i++) {
		uint32_t lo = set->v[i].lo < from ? from : set->v[i].lo;
		uint32_t hi = set->v[i].hi < b->shown ? set->v[i].hi : b->shown - 1;

		if (lo <= hi)
			r = read_range(x, mailbox, lo, hi, want, fn, arg, ret_next, e);
	}
	return r < 0 ? r : 0;
}

int
index_path(struct index *x, uint32_t mailbox, uint32_t uid, struct arena *ar,
    struct str *ret_path, uint64_t *ret_size, struct err *e)
{
	struct email_row m;
	sqlite3_stmt *s;
	struct box *b;
	struct buf p;
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)))
		return -ENOENT;
	if (!(s = db_q(x, Q_MEMBER_GET, e, "ii", DB_I(mailbox), DB_I(uid))))
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) <= 0)
		return r ? r : err_set(e, -ENOENT, "no such message");
	r = email_get(x, db_u64(s, 1), ar, &m, e);
	sqlite3_reset(s);
	if (r)
		return r;
	buf_init(&p, 0);
	folder_path(&p, b->dir, "cur/", STR_NULL);
	name_cur(&p, m.base, uid, m.id);
	*ret_path = arena_dup(ar, buf_view(&p));
	buf_done(&p);
	if (ret_size)
		*ret_size = m.size;
	return ret_path->p ? 0 : err_set(e, -ENOMEM, "no memory for a path");
}
