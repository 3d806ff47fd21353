/*
 * Changes to messages: flags, copies and moves, removal.
 *
 * All work on the rows of a UID set, read first (rows_read). Bulk changes take a fresh
 * modseq every INDEX_MODSEQ_ROWS rows. Counting goes: take away what the Emails
 * concerned count now, change the rows, add what they count then; an Email with several
 * places is counted once on each side, however many of its places are in the set. Where
 * only flags change an Email of one place adds the difference.
 */
#include "maildir/index_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"

struct row {
	uint32_t uid, flags;
	uint64_t email, thread, modseq;
	uint32_t range; /* of the set */
	uint32_t old;   /* flags as they were read */
};
struct rows {
	struct row *v;
	size_t n, cap;
};

static int
rows_read_range(struct index *x, const struct box *b, enum query q, const struct uid_range *u,
    uint32_t range, struct rows *rows, struct err *e)
{
	sqlite3_stmt *s = db_q(x, q, e, "iii", DB_I(b->id), DB_I(u->lo), DB_I(u->hi));
	struct row *row;
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0) {
		if (!(row = index_grow(&rows->v, &rows->n, &rows->cap, sizeof *row))) {
			sqlite3_reset(s);
			return err_set(e, -ENOMEM, "no memory for rows");
		}
		*row = (struct row){ db_u32(s, 0), db_u32(s, 3), db_u64(s, 1), db_u64(s, 2),
			db_u64(s, 4), range, db_u32(s, 3) };
	}
	return r;
}

/* set NULL: all. */
static int
rows_read(struct index *x, const struct box *b, enum query q, const struct uid_set *set,
    struct rows *rows, struct err *e)
{
	static const struct uid_range all = { 1, UINT32_MAX };
	size_t n = set ? set->n : 1;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		r = rows_read_range(x, b, q, set ? &set->v[i] : &all, (uint32_t)i, rows, e);
	return r;
}

/* Takes away (adds) what the rows' Emails count. Linked ones once each: `done`
 * remembers them, and may be walked again for the other side. */
static int
count_rows(struct index *x, struct box *b, const struct row *v, size_t n, int sign,
    struct map *done, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		if (!(v[i].flags & F_LINKED))
			r = email_count_single(x, b, v[i].thread, v[i].flags, sign, e);
		else if (!map_get(done, v[i].email))
			r = map_set(done, v[i].email, x) ? -ENOMEM :
			    email_count_linked(x, v[i].email, sign, e);
	}
	return r;
}

static int
recount_linked(struct index *x, const struct map *done, struct err *e)
{
	uint64_t email;
	size_t pos = 0;
	int r = 0;

	while (!r && map_next(done, &pos, &email)) {
		sqlite3_stmt *s = db_q(x, Q_EMAIL_GET, e, "i", DB_I(email));

		if (!s || (r = db_step(x, s, e)) < 0)
			return -EUCLEAN;
		sqlite3_reset(s);
		r = r ? email_count_linked(x, email, 1, e) : 0;
	}
	return r;
}

/* ---- flags ---- */

struct flag_change {
	struct box *b;
	enum store_flag_op op;
	uint32_t keep, set;
	struct keyword_set kw;
	uint64_t unchanged;
};

static uint32_t
apply(const struct flag_change *c, uint32_t flags)
{
	return (flags & c->keep) | c->set;
}

/* Parts the rows: those to change stay (in order), those too new go to modified. */
static int
pick(const struct flag_change *c, struct rows *rows, bool slow, struct arena *ar,
    struct uid_set *ret_modified, struct err *e)
{
	uint32_t *uid = malloc((rows->n + 1) * sizeof *uid);
	size_t n = 0, kept = 0;
	int r;

	if (!uid)
		return err_set(e, -ENOMEM, "no memory for flags");
	for (size_t i = 0; i < rows->n; i++) {
		if (rows->v[i].modseq > c->unchanged)
			uid[n++] = rows->v[i].uid;
		else if (slow || apply(c, rows->v[i].flags) != rows->v[i].flags)
			rows->v[kept++] = rows->v[i];
	}
	rows->n = kept;
	r = uids_to_set(ar, uid, n, ret_modified);
	free(uid);
	return r ? err_set(e, r, "no memory for flags") : 0;
}

static void
count_flags(struct box *b, struct row *row, uint32_t flags)
{
	b->checksum ^= box_row_sum(row->uid, row->email, row->flags) ^
	    box_row_sum(row->uid, row->email, flags);
	b->unseen += (uint32_t)(!(flags & F_SEEN) - !(row->flags & F_SEEN));
	b->deleted += (uint32_t)(!!(flags & F_DELETED) - !!(row->flags & F_DELETED));
	b->dirty = true;
	row->flags = flags;
}

/* One modseq's worth of rows, a statement per piece of the set. */
static int
set_step(struct index *x, const struct flag_change *c, struct row *v, size_t n, struct err *e)
{
	uint64_t modseq = index_next_modseq(x);
	uint64_t us = c->unchanged < INT64_MAX ? c->unchanged : INT64_MAX;
	size_t i = 0, k;
	int r;

	while (i < n) {
		for (k = i + 1; k < n && v[k].range == v[i].range; k++)
			;
		r = db_run(x, Q_MEMBER_FLAGS, e, "iiiiiii", DB_I(c->b->id), DB_I(v[i].uid),
		    DB_I(v[k - 1].uid), DB_I(c->keep), DB_I(c->set), DB_I(modseq), DB_I(us));
		if (r)
			return r;
		i = k;
	}
	for (i = 0; i < n; i++)
		count_flags(c->b, &v[i], apply(c, v[i].flags));
	box_touch(x, c->b, modseq, n, false);
	return 0;
}

static int
set_fast(struct index *x, const struct flag_change *c, struct rows *rows, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < rows->n; i += INDEX_MODSEQ_ROWS) {
		size_t n = rows->n - i < INDEX_MODSEQ_ROWS ? rows->n - i : INDEX_MODSEQ_ROWS;

		r = set_step(x, c, rows->v + i, n, e);
	}
	return r;
}

/* Rare keywords of one row; *ret_any: it has some after. Positive: changed. */
static int
set_more(struct index *x, const struct flag_change *c, uint32_t uid, bool *ret_any,
    struct err *e)
{
	int before = sqlite3_total_changes(x->db), r = 0;
	const struct keyword_set *k = &c->kw;
	sqlite3_stmt *s;

	if (c->op == FLAGS_SET) {
		uint32_t old[64];
		size_t n = 0, same = 0;

		if (!(s = db_q(x, Q_MORE_RANGE, e, "iii", DB_I(c->b->id), DB_I(uid), DB_I(uid))))
			return -EUCLEAN;
		while (n < 64 && (r = db_step(x, s, e)) > 0)
			old[n++] = db_u32(s, 1);
		sqlite3_reset(s);
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < k->n_more; j++)
				same += old[i] == k->more[j];
		*ret_any = k->n_more > 0;
		if (r == 0 && same == n && same == k->n_more)
			return 0;
		r = db_run(x, Q_MORE_DEL, e, "iii", DB_I(c->b->id), DB_I(uid), DB_I(uid));
	}
	for (size_t i = 0; r >= 0 && i < k->n_more; i++)
		r = db_run(x, c->op == FLAGS_REMOVE ? Q_MORE_DEL_ONE : Q_MORE_PUT, e, "iii",
		    DB_I(c->b->id), DB_I(uid), DB_I(k->more[i]));
	if (r < 0)
		return r;
	if (!(s = db_q(x, Q_MORE_RANGE, e, "iii", DB_I(c->b->id), DB_I(uid), DB_I(uid))))
		return -EUCLEAN;
	*ret_any = db_step(x, s, e) > 0;
	sqlite3_reset(s);
	return sqlite3_total_changes(x->db) != before;
}

static int
set_slow(struct index *x, const struct flag_change *c, struct rows *rows, struct err *e)
{
	uint64_t modseq = 0;
	size_t in_step = 0;

	for (size_t i = 0; i < rows->n; i++) {
		struct row *row = &rows->v[i];
		bool any = false;
		int more = set_more(x, c, row->uid, &any, e), r;
		uint32_t flags = (apply(c, row->flags) & ~(uint32_t)F_MORE) | (any ? F_MORE : 0u);

		if (more < 0)
			return more;
		if (!more && flags == row->flags)
			continue;
		if (in_step++ % INDEX_MODSEQ_ROWS == 0)
			modseq = index_next_modseq(x);
		if ((r = db_run(x, Q_MEMBER_SET, e, "iiii", DB_I(c->b->id), DB_I(row->uid),
		         DB_I(flags), DB_I(modseq))))
			return r;
		count_flags(c->b, row, flags);
		box_touch(x, c->b, modseq, 1, false);
	}
	return 0;
}

static int
uncount_linked(struct index *x, const struct rows *rows, struct map *done, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < rows->n; i++)
		if ((rows->v[i].flags & F_LINKED) && !map_get(done, rows->v[i].email))
			r = map_set(done, rows->v[i].email, x) ? -ENOMEM :
			    email_count_linked(x, rows->v[i].email, -1, e);
	return r;
}

/* An Email of one place is counted once, by what has changed: most flags change
 * nothing there. */
static int
change_rows(struct index *x, const struct flag_change *c, struct rows *rows, bool slow,
    struct err *e)
{
	uint32_t touched = ~c->keep | c->set;
	bool counts = touched & (F_SEEN | F_DELETED | F_DRAFT);
	struct map done = { 0 };
	int r = 0;

	if (counts)
		r = uncount_linked(x, rows, &done, e);
	if (!r)
		r = slow ? set_slow(x, c, rows, e) : set_fast(x, c, rows, e);
	if (!r && counts) {
		for (size_t i = 0; !r && i < rows->n; i++)
			if (!(rows->v[i].flags & F_LINKED))
				r = email_count_flags(x, c->b, rows->v[i].thread, rows->v[i].old,
				    rows->v[i].flags, e);
		r = r ? r : recount_linked(x, &done, e);
	}
	map_done(&done);
	return r;
}

static bool
has_more(const struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++)
		if (rows->v[i].flags & F_MORE)
			return true;
	return false;
}

static void
masks(struct flag_change *c, uint32_t sysflags)
{
	uint32_t bits = (sysflags & F_SYSTEM) | c->kw.bits;

	switch (c->op) {
	case FLAGS_SET:
		c->keep = F_OWN, c->set = bits;
		break;
	case FLAGS_ADD:
		c->keep = UINT32_MAX, c->set = bits;
		break;
	case FLAGS_REMOVE:
		c->keep = ~bits, c->set = 0;
		break;
	}
}

int
index_flags(struct index *x, uint32_t mailbox, const struct uid_set *set, enum store_flag_op op,
    uint32_t sysflags, const struct str *keywords, size_t n_keywords, uint64_t unchanged_since,
    struct arena *ar, struct uid_set *ret_modified, uint64_t *ret_modseq, struct err *e)
{
	struct flag_change c = { .op = op, .unchanged = unchanged_since };
	struct rows rows = { 0 };
	bool slow;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (!(c.b = box_get(x, mailbox, e)))
		return -ENOENT;
	if ((r = keywords_resolve(x, c.b, keywords, n_keywords, op != FLAGS_REMOVE, &c.kw, e)))
		return r;
	masks(&c, sysflags);
	if (!(r = rows_read(x, c.b, Q_MEMBER_RANGE, set, &rows, e))) {
		slow = c.kw.n_more || (op == FLAGS_SET && has_more(&rows));
		if (!(r = pick(&c, &rows, slow, ar, ret_modified, e)) &&
		    !(r = change_rows(x, &c, &rows, slow, e)))
			*ret_modseq = x->acc.modseq;
		x->trouble |= r != 0;
	}
	free(rows.v);
	return r;
}

/* ---- tombstones ---- */

#define GONE_ENTRY 12
#define GONE_LAST (1ull << 63)

int
gone_end(struct index *x, struct gone_list *g, struct err *e)
{
	int r = 0;

	if (g->data.n)
		r = db_run(x, Q_GONE_PUT, e, "iiib", DB_I(g->b->id), DB_I(g->modseq),
		    DB_I(clock_real_us() / 1000000), buf_view(&g->data));
	if (!r && g->data.n)
		box_touch(x, g->b, g->modseq, g->data.n / GONE_ENTRY, true);
	buf_done(&g->data);
	return r;
}

int
gone_add(struct index *x, struct gone_list *g, uint64_t modseq, uint32_t uid, uint64_t email,
    bool last, struct err *e)
{
	int r;

	if (g->data.n && g->modseq != modseq && (r = gone_end(x, g, e)))
		return r;
	g->modseq = modseq;
	buf_le32(&g->data, uid);
	buf_le64(&g->data, email | (last ? GONE_LAST : 0));
	return g->data.over ? err_set(e, -ENOMEM, "no memory for tombstones") : 0;
}

int
gone_each(struct index *x, uint32_t mailbox, uint64_t since, uint64_t upto,
    int (*fn)(void *arg, uint32_t uid), void *arg, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_GONE_SINCE, e, "iii", DB_I(mailbox),
	    DB_I(since < INT64_MAX ? since : INT64_MAX), DB_I(upto));
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0) {
		struct str d = db_text(s, 1);

		if (d.n % GONE_ENTRY)
			r = err_set(e, -EUCLEAN, "%s: impossible tombstone", x->dir);
		for (; r > 0 && d.n; d = str_skip(d, GONE_ENTRY))
			if (fn(arg, le32_get(d.p)))
				r = err_set(e, -ENOMEM, "no memory for tombstones");
		if (r < 0)
			break;
	}
	sqlite3_reset(s);
	return r;
}

/* ---- removal ---- */

static int
forget_email(struct index *x, const struct email_row *m, struct err *e)
{
	int r;

	if ((r = db_run(x, Q_EMAIL_DEL, e, "i", DB_I(m->id))) ||
	    (r = db_run(x, Q_FACTS_DEL, e, "i", DB_I(m->id))) ||
	    (r = db_run(x, Q_UNPARSED_DEL, e, "i", DB_I(m->id))))
		return r;
	return thread_count(x, m->thread, -1, e);
}

static int
unlink_member(struct index *x, const struct box *b, const struct email_row *m, uint32_t uid,
    struct err *e)
{
	struct buf name;
	int r;

	buf_init(&name, 0);
	name_cur(&name, m->base, uid, m->id);
	r = unlink_later(x, b->id, buf_view(&name), e);
	buf_done(&name);
	return r;
}

static size_t
without_place(struct place *p, size_t n, uint32_t mailbox, uint32_t uid)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (p[i].mailbox != mailbox || p[i].uid != uid)
			p[kept++] = p[i];
	return kept;
}

/* What goes with a membership but its own row. */
static int
remove_one(struct index *x, struct box *b, const struct row *row, uint64_t modseq, bool file,
    struct gone_list *g, struct err *e)
{
	struct email_row m;
	size_t left;
	int r;

	if ((r = email_get(x, row->email, x->txn, &m, e)))
		return r;
	left = without_place(m.places, m.n_places, b->id, row->uid);
	member_count(b, row->uid, row->email, row->flags, m.size, -1);
	if ((r = left ? email_put_places(x, m.id, m.places, left, e) : forget_email(x, &m, e)) ||
	    (file && (r = unlink_member(x, b, &m, row->uid, e))))
		return r;
	return gone_add(x, g, modseq, row->uid, row->email, !left, e);
}

/* Deletes member rows in runs that have nothing else between them. */
static int
delete_members(struct index *x, const struct box *b, const struct row *v, size_t n,
    struct err *e)
{
	int r;

	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && v[k].uid == v[k - 1].uid + 1; k++)
			;
		if ((r = db_run(x, Q_MEMBER_DEL, e, "iii", DB_I(b->id), DB_I(v[i].uid),
		         DB_I(v[k - 1].uid))))
			return r;
		if (b->n_keywords > 24 && (r = db_run(x, Q_MORE_DEL, e, "iii", DB_I(b->id),
		                               DB_I(v[i].uid), DB_I(v[k - 1].uid))))
			return r;
	}
	return 0;
}

static int
remove_rows(struct index *x, struct box *b, const struct rows *rows, bool file, struct err *e)
{
	struct gone_list g = { .b = b };
	struct map done = { 0 };
	uint64_t modseq = 0;
	int r;

	if ((r = box_keywords_load(x, b, e)))
		return r;
	r = count_rows(x, b, rows->v, rows->n, -1, &done, e);
	for (size_t i = 0; !r && i < rows->n; i++) {
		if (i % INDEX_MODSEQ_ROWS == 0)
			modseq = index_next_modseq(x);
		r = remove_one(x, b, &rows->v[i], modseq, file, &g, e);
	}
	r = r ? r : gone_end(x, &g, e);
	r = r ? r : delete_members(x, b, rows->v, rows->n, e);
	r = r ? r : recount_linked(x, &done, e);
	buf_done(&g.data);
	map_done(&done);
	return r;
}

int
member_remove_all(struct index *x, struct box *b, bool file, struct err *e)
{
	struct rows rows = { 0 };
	int r = rows_read(x, b, Q_MEMBER_RANGE, NULL, &rows, e);

	r = r ? r : remove_rows(x, b, &rows, file, e);
	free(rows.v);
	return r;
}

int
member_remove(struct index *x, struct box *b, const struct uid_set *set, struct err *e)
{
	struct rows rows = { 0 };
	int r = rows_read(x, b, Q_MEMBER_RANGE, set, &rows, e);

	r = r ? r : remove_rows(x, b, &rows, true, e);
	free(rows.v);
	return r;
}

static int
uids_of(struct arena *ar, const struct rows *rows, struct uid_set *ret)
{
	uint32_t *uid = malloc((rows->n + 1) * sizeof *uid);
	int r;

	if (!uid)
		return -ENOMEM;
	for (size_t i = 0; i < rows->n; i++)
		uid[i] = rows->v[i].uid;
	r = uids_to_set(ar, uid, rows->n, ret);
	free(uid);
	return r;
}

int
index_expunge(struct index *x, uint32_t mailbox, const struct uid_set *set, struct arena *ar,
    struct uid_set *ret_gone, uint64_t *ret_modseq, struct err *e)
{
	struct rows rows = { 0 };
	struct box *b;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)))
		return -ENOENT;
	if (!(r = rows_read(x, b, Q_MEMBER_DELETED, set, &rows, e)) &&
	    !(r = uids_of(ar, &rows, ret_gone)) && !(r = remove_rows(x, b, &rows, true, e)))
		*ret_modseq = x->acc.modseq;
	x->trouble |= r != 0;
	free(rows.v);
	return r;
}

/* ---- copy and move ---- */

struct copy {
	struct box *from, *to;
	bool move;
	struct rows rows;
	struct email_row *m;      /* one per row */
	uint32_t *uid;            /* the new ones */
};

/* The bytes, where a link is not possible. */
static int
copy_file(int dirfd, const char *src, const char *dst)
{
	char block[4096];
	int in = openat(dirfd, src, O_RDONLY | O_CLOEXEC), out, r = 0;
	ssize_t n;

	if (in < 0)
		return -errno;
	out = openat(dirfd, dst, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = out < 0 ? -errno : 0;
	while (!r && (n = read(in, block, sizeof block)) != 0)
		if (n < 0 || write(out, block, (size_t)n) != n)
			r = errno ? -errno : -EIO;
	close(in);
	if (out >= 0 && close(out) && !r)
		r = -errno;
	return r;
}

static int
link_file(struct index *x, const char *src, const char *dst, struct err *e)
{
	int r = linkat(x->dirfd, src, x->dirfd, dst, 0) ? -errno : 0;

	if (r == -EMLINK || r == -EXDEV || r == -EPERM)
		r = copy_file(x->dirfd, src, dst);
	return r ? err_sys(e, r, "%s/%s: a link to it", x->dir, src) : 0;
}

static int
copy_link(struct index *x, const struct copy *c, size_t i, struct err *e)
{
	struct buf src, dst;
	int r;

	buf_init(&src, 0);
	buf_init(&dst, 0);
	folder_path(&src, c->from->dir, "cur/", STR_NULL);
	name_cur(&src, c->m[i].base, c->rows.v[i].uid, c->m[i].id);
	folder_path(&dst, c->to->dir, "cur/", STR_NULL);
	name_cur(&dst, c->m[i].base, c->uid[i], c->m[i].id);
	if (!buf_cstr(&src) || !buf_cstr(&dst))
		r = err_set(e, -ENOMEM, "no memory for a path");
	else if (!(r = index_made(x, buf_view(&dst), e)))
		r = link_file(x, src.p, dst.p, e);
	buf_done(&src);
	buf_done(&dst);
	return r;
}

/* A row's flags in the other mailbox's keywords. */
static int
copy_flags(struct index *x, const struct copy *c, const struct row *row, struct keyword_set *kw,
    uint32_t *ret, struct err *e)
{
	struct str name[24 + 64];
	size_t n = 0;
	int r = 0;

	for (uint32_t k = 0; k < 24 && k < c->from->n_keywords; k++)
		if (row->flags & (uint32_t)F_KEYWORD0 << k)
			name[n++] = str_c(c->from->keywords[k]);
	if (row->flags & F_MORE) {
		sqlite3_stmt *s = db_q(x, Q_MORE_RANGE, e, "iii", DB_I(c->from->id),
		    DB_I(row->uid), DB_I(row->uid));

		if (!s)
			return -EUCLEAN;
		while (n < 24 + 64 && (r = db_step(x, s, e)) > 0)
			if (db_u32(s, 1) < c->from->n_keywords)
				name[n++] = str_c(c->from->keywords[db_u32(s, 1)]);
		sqlite3_reset(s);
		if (r < 0)
			return r;
	}
	if ((r = keywords_resolve(x, c->to, name, n, true, kw, e)))
		return r;
	*ret = (row->flags & F_SYSTEM) | kw->bits | (kw->n_more ? F_MORE : 0u) |
	    (c->move ? row->flags & F_LINKED : F_LINKED);
	return 0;
}

/* The new membership's rows; the Email's places. */
static int
copy_rows(struct index *x, struct copy *c, size_t i, uint64_t modseq, struct err *e)
{
	struct row *row = &c->rows.v[i];
	struct place to = { c->to->id, c->uid[i] };
	struct keyword_set kw;
	struct email_row m;
	uint32_t flags;
	int r;

	if ((r = email_get(x, row->email, x->txn, &m, e)) ||
	    (r = copy_flags(x, c, row, &kw, &flags, e)))
		return r;
	if (c->move)
		m.n_places = without_place(m.places, m.n_places, c->from->id, row->uid);
	m.places[m.n_places++] = to; /* places_get leaves room for one more */
	if ((r = email_put_places(x, m.id, m.places, m.n_places, e)) ||
	    (r = member_put(x, c->to, c->uid[i], m.id, m.thread, flags, modseq, e)))
		return r;
	for (size_t k = 0; !r && k < kw.n_more; k++)
		r = more_put(x, c->to, c->uid[i], kw.more[k], e);
	if (!r && !c->move && !(row->flags & F_LINKED))
		r = db_run(x, Q_MEMBER_LINK, e, "ii", DB_I(c->from->id), DB_I(row->uid));
	member_count(c->to, c->uid[i], m.id, flags, m.size, 1);
	box_touch(x, c->to, modseq, 1, true);
	if (!r && c->move && !(flags & F_LINKED))
		r = email_count_single(x, c->to, m.thread, flags, 1, e);
	return r;
}

/* A moved message leaves its old place. */
static int
move_away(struct index *x, struct copy *c, size_t i, uint64_t modseq, struct gone_list *g,
    struct err *e)
{
	const struct row *row = &c->rows.v[i];
	int r;

	member_count(c->from, row->uid, row->email, row->flags, c->m[i].size, -1);
	if ((r = unlink_member(x, c->from, &c->m[i], row->uid, e)))
		return r;
	return gone_add(x, g, modseq, row->uid, row->email, false, e);
}

static int
copy_each(struct index *x, struct copy *c, struct err *e)
{
	struct gone_list g = { .b = c->from };
	uint64_t modseq = 0;
	int r = 0;

	for (size_t i = 0; !r && i < c->rows.n; i++) {
		if (i % INDEX_MODSEQ_ROWS == 0)
			modseq = index_next_modseq(x);
		if ((r = box_next_uid(c->to, &c->uid[i], e)) || (r = copy_link(x, c, i, e)) ||
		    (r = copy_rows(x, c, i, modseq, e)))
			break;
		if (c->move)
			r = move_away(x, c, i, modseq, &g, e);
	}
	r = r ? r : gone_end(x, &g, e);
	buf_done(&g.data);
	if (!r && c->move)
		r = delete_members(x, c->from, c->rows.v, c->rows.n, e);
	return r;
}

/* Copied Emails are linked from now on: all are counted as such. */
static int
copy_counted(struct index *x, struct copy *c, struct err *e)
{
	struct map done = { 0 };
	int r = count_rows(x, c->from, c->rows.v, c->rows.n, -1, &done, e);

	r = r ? r : copy_each(x, c, e);
	for (size_t i = 0; !r && !c->move && i < c->rows.n; i++)
		if (map_set(&done, c->rows.v[i].email, x))
			r = err_set(e, -ENOMEM, "no memory for a copy");
	r = r ? r : recount_linked(x, &done, e);
	map_done(&done);
	return r;
}

/* Everything that can refuse the copy, before anything is changed. */
static int
copy_prepare(struct index *x, struct copy *c, uint64_t quota, struct arena *ar,
    struct store_copied *ret, struct err *e)
{
	uint64_t bytes = 0;
	int r;

	c->m = ARENA_ARRAY(x->txn, struct email_row, c->rows.n + 1);
	c->uid = ARENA_ARRAY(ar, uint32_t, c->rows.n + 1);
	ret->from = ARENA_ARRAY(ar, uint32_t, c->rows.n + 1);
	if (!c->m || !c->uid || !ret->from)
		return err_set(e, -ENOMEM, "no memory for a copy");
	for (size_t i = 0; i < c->rows.n; i++) {
		if ((r = email_get(x, c->rows.v[i].email, x->txn, &c->m[i], e)))
			return r;
		if (c->m[i].n_places >= INDEX_MAX_MEMBERSHIPS)
			return err_set(e, -E2BIG, "a message is in too many mailboxes");
		bytes += c->m[i].size;
		ret->from[i] = c->rows.v[i].uid;
	}
	if (!c->move && quota && (bytes > quota || index_used(x) > quota - bytes))
		return err_set(e, -EDQUOT, "over quota");
	if ((r = box_keywords_load(x, c->from, e)))
		return r;
	ret->to = c->uid;
	ret->n = c->rows.n;
	ret->uidvalidity = c->to->uidvalidity;
	return 0;
}

int
index_copy(struct index *x, uint32_t mailbox, const struct uid_set *set, uint32_t dest, bool move,
    uint64_t quota, struct arena *ar, struct store_copied *ret, struct err *e)
{
	struct copy c = { .move = move };
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (!(c.from = box_get(x, mailbox, e)) || !(c.to = box_get(x, dest, e)))
		return -ENOENT;
	if (c.to->noselect)
		return err_set(e, -ENOENT, "no such mailbox");
	if (!(r = rows_read(x, c.from, Q_MEMBER_RANGE, set, &c.rows, e)) &&
	    !(r = copy_prepare(x, &c, quota, ar, ret, e))) {
		r = copy_counted(x, &c, e);
		x->trouble |= r != 0;
	}
	free(c.rows.v);
	return r;
}
