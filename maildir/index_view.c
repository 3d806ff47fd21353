/*
 * Mailboxes as packed arrays: what SELECT needs, without walking rows.
 *
 * A view chunk is a row with the uid, flags and modseq of the messages whose UIDs lie in
 * [1024 no, 1024 no + 1023], as mod[n] u64 | uid[n] u32 | flags[n] u32, little-endian.
 * Chunks say what was true at the mailbox's view_stamp; a reader puts over them the
 * rows and tombstones of a higher modseq, few because view_fold brings the chunks that
 * changed up to date when enough has gathered. Chunks can be thrown away: stamp 0 says
 * that there are none, and then the rows are walked.
 */
#include "maildir/index_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/client/view.h"

#define CHUNK 1024
#define ROW 16
#define SYNC_ROWS_MAX 65536 /* more changes than this: select anew */

struct vrow {
	uint64_t mod;
	uint32_t uid, flags;
};
struct vrows {
	struct vrow *v;
	size_t n, cap;
};

static int
add_row(struct vrows *rows, uint32_t uid, uint32_t flags, uint64_t mod, struct err *e)
{
	struct vrow *r = index_grow(&rows->v, &rows->n, &rows->cap, sizeof *r);

	if (!r)
		return err_set(e, -ENOMEM, "no memory for a view");
	*r = (struct vrow){ mod, uid, flags & F_PUBLIC };
	return 0;
}

static int
by_uid(const void *a, const void *b)
{
	const struct vrow *p = a, *q = b;

	return p->uid < q->uid ? -1 : p->uid > q->uid;
}

static int
by_number(const void *a, const void *b)
{
	const uint32_t *p = a, *q = b;

	return *p < *q ? -1 : *p > *q;
}

int
uids_to_set(struct arena *ar, const uint32_t *uid, size_t n, struct uid_set *ret)
{
	size_t ranges = 0;

	for (size_t i = 0; i < n; i++)
		ranges += !i || uid[i] != uid[i - 1] + 1;
	*ret = (struct uid_set){ ARENA_ARRAY(ar, struct uid_range, ranges + 1), 0 };
	if (!ret->v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (i && uid[i] == uid[i - 1] + 1)
			ret->v[ret->n - 1].hi = uid[i];
		else
			ret->v[ret->n++] = (struct uid_range){ uid[i], uid[i] };
	}
	return 0;
}

/* ---- changes since ---- */

struct uids {
	uint32_t *v;
	size_t n, cap;
};

static int
add_uid(void *arg, uint32_t uid)
{
	struct uids *u = arg;
	uint32_t *slot = index_grow(&u->v, &u->n, &u->cap, sizeof *slot);

	if (!slot)
		return -ENOMEM;
	*slot = uid;
	return 0;
}

static int
changed_since(struct index *x, const struct box *b, uint64_t since, uint32_t below, size_t max,
    struct vrows *rows, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_MEMBER_SINCE, e, "ii", DB_I(b->id),
	    DB_I(since < INT64_MAX ? since : INT64_MAX));
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0) {
		if (db_u32(s, 0) >= below)
			continue;
		if (rows->n >= max)
			r = -E2BIG;
		else if (!add_row(rows, db_u32(s, 0), db_u32(s, 1), db_u64(s, 2), e))
			continue;
		else
			r = -ENOMEM;
		break;
	}
	sqlite3_reset(s);
	if (!r && rows->n)
		qsort(rows->v, rows->n, sizeof *rows->v, by_uid);
	return r;
}

static int
gone_since(struct index *x, const struct box *b, uint64_t since, uint64_t upto, struct uids *u,
    struct err *e)
{
	int r = gone_each(x, b->id, since, upto, add_uid, u, e);

	if (!r && u->n)
		qsort(u->v, u->n, sizeof *u->v, by_number);
	return r;
}

/* ---- chunks ---- */

static uint64_t
chunk_id(const struct box *b, uint32_t no)
{
	return (uint64_t)b->id << 32 | no;
}

static int
chunk_unpack(struct index *x, struct str d, uint32_t no, struct vrows *rows, struct err *e)
{
	size_t n = d.n / ROW;
	const char *mod = d.p, *uid = mod + n * 8, *flags = uid + n * 4;
	uint64_t last = (uint64_t)no * CHUNK;

	if (d.n % ROW || n > CHUNK)
		return err_set(e, -EUCLEAN, "%s: impossible view chunk", x->dir);
	for (size_t i = 0; i < n; i++) {
		uint32_t u = le32_get(uid + i * 4);

		if (u < last + (i > 0) || u / CHUNK != no ||
		    add_row(rows, u, le32_get(flags + i * 4), le64_get(mod + i * 8), e))
			return err_set(e, -EUCLEAN, "%s: impossible view chunk", x->dir);
		last = u;
	}
	return 0;
}

static int
chunks_read(struct index *x, const struct box *b, struct vrows *rows, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_CHUNK_ALL, e, "ii", DB_I(chunk_id(b, 0)),
	    DB_I(chunk_id(b, UINT32_MAX)));
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0)
		if ((r = chunk_unpack(x, db_text(s, 1), (uint32_t)db_u64(s, 0), rows, e)))
			break;
	sqlite3_reset(s);
	return r;
}

static int
walk_rows(struct index *x, const struct box *b, uint32_t lo, uint32_t hi, struct vrows *rows,
    struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_MEMBER_RANGE, e, "iii", DB_I(b->id), DB_I(lo), DB_I(hi));
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0)
		if ((r = add_row(rows, db_u32(s, 0), db_u32(s, 3), db_u64(s, 4), e)))
			break;
	sqlite3_reset(s);
	return r;
}

static int
chunk_write(struct index *x, const struct box *b, uint32_t no, struct err *e)
{
	uint32_t lo = no * CHUNK;
	struct vrows rows = { 0 };
	struct buf d;
	int r = walk_rows(x, b, lo, lo + CHUNK - 1, &rows, e);

	buf_init(&d, CHUNK * ROW);
	for (size_t i = 0; i < rows.n; i++)
		buf_le64(&d, rows.v[i].mod);
	for (size_t i = 0; i < rows.n; i++)
		buf_le32(&d, rows.v[i].uid);
	for (size_t i = 0; i < rows.n; i++)
		buf_le32(&d, rows.v[i].flags);
	if (!r && d.over)
		r = err_set(e, -EUCLEAN, "%s: impossible view chunk", x->dir);
	if (!r && rows.n)
		r = db_run(x, Q_CHUNK_PUT, e, "ib", DB_I(chunk_id(b, no)), buf_view(&d));
	else if (!r)
		r = db_run(x, Q_CHUNK_DEL, e, "ii", DB_I(chunk_id(b, no)), DB_I(chunk_id(b, no)));
	buf_done(&d);
	free(rows.v);
	return r;
}

/* All chunks anew: the rows that are there say which. */
static int
fold_all(struct index *x, struct box *b, struct err *e)
{
	int r = db_run(x, Q_CHUNK_DEL, e, "ii", DB_I(chunk_id(b, 0)),
	    DB_I(chunk_id(b, UINT32_MAX)));
	struct vrows rows = { 0 };
	uint32_t last = UINT32_MAX;

	r = r ? r : walk_rows(x, b, 1, UINT32_MAX, &rows, e);
	for (size_t i = 0; !r && i < rows.n; i++) {
		if (rows.v[i].uid / CHUNK == last)
			continue;
		last = rows.v[i].uid / CHUNK;
		r = chunk_write(x, b, last, e);
	}
	free(rows.v);
	return r;
}

/* The chunks that changed. */
static int
fold_changed(struct index *x, struct box *b, struct err *e)
{
	struct vrows rows = { 0 };
	struct uids u = { 0 };
	uint32_t last = UINT32_MAX;
	int r;

	if ((r = changed_since(x, b, b->view_stamp, UINT32_MAX, SIZE_MAX, &rows, e)))
		goto out;
	for (size_t i = 0; !r && i < rows.n; i++)
		r = add_uid(&u, rows.v[i].uid);
	r = r ? r : gone_since(x, b, b->view_stamp, INT64_MAX, &u, e);
	for (size_t i = 0; !r && i < u.n; i++) {
		if (u.v[i] / CHUNK == last)
			continue;
		last = u.v[i] / CHUNK;
		r = chunk_write(x, b, last, e);
	}
out:
	free(rows.v);
	free(u.v);
	return r;
}

int
view_fold(struct index *x, struct box *b, struct err *e)
{
	int r = b->view_stamp && b->tomb_floor <= b->view_stamp ? fold_changed(x, b, e) :
	    fold_all(x, b, e);

	if (r)
		return r;
	b->view_stamp = b->modseq;
	b->view_lag = 0;
	b->dirty = true;
	return 0;
}

/* ---- the view ---- */

/* base with the changes put over it and the gone ones left out. */
static int
merge(const struct vrows *base, const struct vrows *changed, const struct uids *gone,
    uint32_t below, struct vrows *out, struct err *e)
{
	size_t i = 0, k = 0, g = 0;

	while (i < base->n || k < changed->n) {
		const struct vrow *row;

		if (k < changed->n && (i == base->n || changed->v[k].uid <= base->v[i].uid)) {
			row = &changed->v[k++];
			i += i < base->n && base->v[i].uid == row->uid;
		} else {
			row = &base->v[i++];
			while (g < gone->n && gone->v[g] < row->uid)
				g++;
			if (g < gone->n && gone->v[g] == row->uid)
				continue;
		}
		if (row->uid < below && add_row(out, row->uid, row->flags, row->mod, e))
			return -ENOMEM;
	}
	return 0;
}

static int
view_rows(struct index *x, const struct box *b, struct vrows *out, struct err *e)
{
	struct vrows base = { 0 }, changed = { 0 };
	struct uids gone = { 0 };
	int r;

	if (!b->view_stamp || b->tomb_floor > b->view_stamp)
		return walk_rows(x, b, 1, b->shown - 1, out, e);
	if (b->view_stamp == b->modseq && b->shown == b->uidnext)
		return chunks_read(x, b, out, e);
	if (!(r = chunks_read(x, b, &base, e)) &&
	    !(r = changed_since(x, b, b->view_stamp, b->shown, SIZE_MAX, &changed, e)) &&
	    !(r = gone_since(x, b, b->view_stamp, INT64_MAX, &gone, e)))
		r = merge(&base, &changed, &gone, b->shown, out, e);
	free(base.v);
	free(changed.v);
	free(gone.v);
	return r;
}

/* Rare keywords of the rows, as pairs. */
static int
view_rare(struct index *x, const struct box *b, uint32_t lo, uint32_t hi, struct uids *out,
    struct err *e)
{
	sqlite3_stmt *s;
	int r;

	if (b->n_keywords <= 24)
		return 0;
	if (!(s = db_q(x, Q_MORE_RANGE, e, "iii", DB_I(b->id), DB_I(lo), DB_I(hi))))
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0)
		if (db_u32(s, 1) < b->n_keywords &&
		    (add_uid(out, db_u32(s, 0)) || add_uid(out, db_u32(s, 1)))) {
			r = err_set(e, -ENOMEM, "no memory for a view");
			break;
		}
	sqlite3_reset(s);
	return r;
}

static uint32_t
keywords_len(const struct box *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n_keywords; i++)
		n += 2 + strlen(b->keywords[i]);
	return (uint32_t)n;
}

static void
view_fill(struct view_head *h, const struct box *b, const struct vrows *rows,
    const struct uids *rare)
{
	unsigned char *k;

	for (size_t i = 0; i < rows->n; i++) {
		view_mod(h)[i] = rows->v[i].mod;
		view_uid(h)[i] = rows->v[i].uid;
		view_flags(h)[i] = rows->v[i].flags;
	}
	if (rare->n)
		memcpy(view_more_pairs(h), rare->v, rare->n * 4);
	k = view_keywords(h);
	for (size_t i = 0; i < b->n_keywords; i++) {
		uint16_t n = (uint16_t)strlen(b->keywords[i]);

		memcpy(k, &n, 2);
		memcpy(k + 2, b->keywords[i], n);
		k += 2 + n;
	}
}

static int
view_memfd(const struct view_head *head, const struct box *b, const struct vrows *rows,
    const struct uids *rare, int *ret_fd, size_t *ret_size, struct err *e)
{
	size_t size = view_size(head);
	int fd = memfd_create("view", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct view_head *h;

	if (fd < 0 || ftruncate(fd, (off_t)size))
		goto fail;
	h = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (h == MAP_FAILED)
		goto fail;
	*h = *head;
	view_fill(h, b, rows, rare);
	munmap(h, size);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
		goto fail;
	*ret_fd = fd;
	*ret_size = size;
	return 0;
fail:
	err_sys(e, -errno, "a view in memory");
	if (fd >= 0)
		close(fd);
	return e && e->code ? e->code : -ENOMEM;
}

/* first_recent before the claim; then the mailbox's is what a reader has seen. */
static uint32_t
claim(struct box *b, bool claim_recent)
{
	uint32_t first = b->first_recent;

	if (claim_recent && first != b->shown) {
		b->first_recent = b->shown;
		b->dirty = true;
	}
	return first;
}

int
index_view(struct index *x, uint32_t mailbox, bool claim_recent, int *ret_fd, size_t *ret_size,
    struct err *e)
{
	struct view_head h = { .magic = VIEW_MAGIC };
	struct vrows rows = { 0 };
	struct uids rare = { 0 };
	struct box *b;
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)) || b->noselect)
		return err_set(e, -ENOENT, "no such mailbox");
	if (!(r = box_keywords_load(x, b, e)) && !(r = view_rows(x, b, &rows, e)) &&
	    !(r = view_rare(x, b, 1, b->shown - 1, &rare, e))) {
		h.uidvalidity = b->uidvalidity, h.uidnext = b->shown;
		h.modseq = box_shown_modseq(b);
		h.n = (uint32_t)rows.n, h.n_more = (uint32_t)rare.n / 2;
		h.n_keywords = (uint32_t)b->n_keywords, h.keywords_len = keywords_len(b);
		h.first_recent = b->first_recent;
		if (!(r = view_memfd(&h, b, &rows, &rare, ret_fd, ret_size, e)))
			claim(b, claim_recent);
	}
	free(rows.v);
	free(rare.v);
	return r;
}

/* ---- sync ---- */

static int
delta_rows(struct arena *ar, const struct vrows *rows, struct store_delta *d)
{
	d->uid = ARENA_ARRAY(ar, uint32_t, rows->n + 1);
	d->flags = ARENA_ARRAY(ar, uint32_t, rows->n + 1);
	d->mod = ARENA_ARRAY(ar, uint64_t, rows->n + 1);
	if (!d->uid || !d->flags || !d->mod)
		return -ENOMEM;
	for (size_t i = 0; i < rows->n; i++) {
		d->uid[i] = rows->v[i].uid;
		d->flags[i] = rows->v[i].flags;
		d->mod[i] = rows->v[i].mod;
	}
	d->n = rows->n;
	return 0;
}

/* Rare keywords of the delta's rows that have some. */
static int
delta_rare(struct index *x, const struct box *b, struct arena *ar, struct store_delta *d,
    struct err *e)
{
	struct uids pairs = { 0 };
	int r = 0;

	for (size_t i = 0; !r && i < d->n; i++)
		if (d->flags[i] & F_MORE)
			r = view_rare(x, b, d->uid[i], d->uid[i], &pairs, e);
	d->more = ARENA_ARRAY(ar, struct view_more, pairs.n / 2 + 1);
	if (!r && !d->more)
		r = err_set(e, -ENOMEM, "no memory for a delta");
	if (!r && pairs.n)
		memcpy(d->more, pairs.v, pairs.n * 4);
	d->n_more = r ? 0 : pairs.n / 2;
	free(pairs.v);
	return r;
}

static int
delta_keywords(struct arena *ar, const struct box *b, uint64_t since, struct store_delta *d)
{
	if (b->keyword_modseq <= since)
		return 0;
	if (!(d->keywords = ARENA_ARRAY(ar, struct str, b->n_keywords + 1)))
		return -ENOMEM;
	for (size_t i = 0; i < b->n_keywords; i++)
		d->keywords[i] = arena_dup(ar, str_c(b->keywords[i]));
	d->n_keywords = b->n_keywords;
	return 0;
}

static int
delta_gone(struct index *x, const struct box *b, uint64_t since, uint64_t upto, struct arena *ar,
    struct store_delta *d, struct err *e)
{
	struct uids u = { 0 };
	int r = gone_since(x, b, since, upto, &u, e);

	r = r ? r : uids_to_set(ar, u.v, u.n, &d->gone);
	free(u.v);
	return r;
}

int
index_sync(struct index *x, uint32_t mailbox, uint64_t since, bool claim_recent, struct arena *ar,
    struct store_delta *ret, struct err *e)
{
	struct store_delta d = { 0 };
	struct vrows rows = { 0 };
	struct box *b;
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)))
		return -ENOENT;
	d.uidnext = b->shown;
	d.modseq = box_shown_modseq(b);
	d.gone_unknown = since < b->tomb_floor || since > x->acc.modseq;
	if (!d.gone_unknown) {
		r = changed_since(x, b, since, b->shown, SYNC_ROWS_MAX, &rows, e);
		d.gone_unknown = r == -E2BIG;
		r = r == -E2BIG ? 0 : r;
	}
	if (!r && !d.gone_unknown && !(r = box_keywords_load(x, b, e)) &&
	    !(r = delta_rows(ar, &rows, &d)) && !(r = delta_rare(x, b, ar, &d, e)) &&
	    !(r = delta_keywords(ar, b, since, &d)))
		r = delta_gone(x, b, since, d.modseq, ar, &d, e);
	free(rows.v);
	if (r)
		return r;
	d.first_recent = claim(b, claim_recent);
	*ret = d;
	return 0;
}
