/*
 * Audit: what the index says against the tree and against itself. Changes nothing.
 * JMAP's counts are made anew by the code that keeps them, inside a transaction that
 * is rolled back.
 */
#include "maildir/index_tree.h"

#include <errno.h>
#include <stdlib.h>

/* Counts and checksum as the rows give them. */
struct audit {
	uint32_t total, unseen, deleted;
	uint64_t bytes, checksum;
};

static int
check_row(struct index *x, const struct box *b, sqlite3_stmt *s, struct tree *cur,
    struct tree *fresh, struct audit *a, struct err *e)
{
	uint32_t uid = db_u32(s, 0), flags = db_u32(s, 4);
	struct tree_file *f;
	struct buf name;

	if (sqlite3_column_type(s, 3) == SQLITE_NULL) {
		index_found(x, FOUND_DAMAGE, b, uid, NULL, "its Email row is missing");
		return 0;
	}
	a->total++;
	a->unseen += !(flags & F_SEEN);
	a->deleted += !!(flags & F_DELETED);
	a->bytes += db_u64(s, 2);
	a->checksum ^= box_row_sum(uid, db_u64(s, 1), flags);
	buf_init(&name, 0);
	name_cur(&name, db_text(s, 3), uid, db_u64(s, 1));
	f = strmap_get(&cur->by_name, buf_view(&name));
	for (size_t i = 0; !f && i < fresh->n; i++)
		if (str_eq(fresh->v[i].n.base, db_text(s, 3)))
			f = &fresh->v[i]; /* not renamed yet */
	if (f)
		f->seen = true;
	if (!f)
		index_found(x, FOUND_ROW_WITHOUT_FILE, b, uid, buf_cstr(&name), "no such file");
	else if (f->size != db_u64(s, 2))
		index_found(x, FOUND_SHORT_FILE, b, uid, buf_cstr(&name),
		    "%llu bytes instead of %llu", (unsigned long long)f->size,
		    (unsigned long long)db_u64(s, 2));
	buf_done(&name);
	return 0;
}

static void
check_counts(struct index *x, const struct box *b, const struct audit *a)
{
	if (a->total != b->total || a->unseen != b->unseen || a->deleted != b->deleted ||
	    a->bytes != b->bytes)
		index_found(x, FOUND_COUNTS, b, 0, NULL,
		    "total %u unseen %u deleted %u bytes %llu; the rows say %u %u %u %llu", b->total,
		    b->unseen, b->deleted, (unsigned long long)b->bytes, a->total, a->unseen,
		    a->deleted, (unsigned long long)a->bytes);
	if (a->checksum != b->checksum)
		index_found(x, FOUND_CHECKSUM, b, 0, NULL, "the mailbox's checksum differs");
}

/* Files that wait for their unlink are no strangers. */
static int
pending(struct index *x, const struct box *b, struct tree *cur, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_UNLINK_LIST, e, "ii", DB_I(0), DB_I(INT64_MAX));
	struct tree_file *f;
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0)
		if (db_u32(s, 1) == b->id && (f = strmap_get(&cur->by_name, db_text(s, 2))))
			f->seen = true;
	return r;
}

static int
check_box(struct index *x, const struct box *b, struct err *e)
{
	struct arena *ar = arena_new((size_t)1 << 30);
	struct tree cur = { 0 }, fresh = { 0 };
	struct folder_file ff;
	struct audit a = { 0 };
	sqlite3_stmt *s = NULL;
	int r = ar ? 0 : err_set(e, -ENOMEM, "no memory for the check");

	if (folder_read(x->dirfd, b->dir, &ff, NULL) || ff.mailbox != b->id ||
	    ff.uidvalidity != b->uidvalidity || ff.reserved < b->uidnext)
		index_found(x, FOUND_FOLDER, b, 0, b->dir, "posthorn-folder does not fit the row");
	if (r || (r = tree_read(x->dirfd, b->dir, "new", ar, &fresh, e)) ||
	    (r = tree_read(x->dirfd, b->dir, "cur", ar, &cur, e)) ||
	    (r = pending(x, b, &cur, e)))
		goto out;
	if (!(s = db_q(x, Q_MEMBER_FILES, e, "i", DB_I(b->id))))
		r = -EUCLEAN;
	while (!r && (r = db_step(x, s, e)) > 0)
		r = check_row(x, b, s, &cur, &fresh, &a, e);
	for (size_t i = 0; !r && i < cur.n; i++)
		if (!cur.v[i].seen)
			index_found(x, FOUND_FILE_WITHOUT_ROW, b, cur.v[i].n.uid,
			    cur.v[i].name.p, "no row");
	if (!r)
		check_counts(x, b, &a);
out:
	tree_done(&cur);
	tree_done(&fresh);
	arena_free(&ar);
	return r;
}

/* ---- JMAP's counts ---- */

static int
list_emails(struct index *x, uint64_t **ret, uint64_t **ret_threads, size_t *ret_n, struct err *e)
{
	sqlite3_stmt *s = NULL;
	size_t n = 0, cap = 0, nt = 0, capt = 0;
	uint64_t *id, *t;
	int r = 0;

	if (sqlite3_prepare_v2(x->db, "SELECT id, thread FROM email", -1, &s, NULL) != SQLITE_OK)
		return db_fail(x, "audit", e);
	while (!r && (r = db_step(x, s, e)) > 0) {
		id = index_grow(ret, &n, &cap, sizeof *id);
		t = index_grow(ret_threads, &nt, &capt, sizeof *t);
		r = id && t ? 0 : err_set(e, -ENOMEM, "no memory for the check");
		if (!r)
			*id = db_u64(s, 0), *t = db_u64(s, 1);
	}
	sqlite3_finalize(s);
	*ret_n = n;
	return r;
}

static int
recount(struct index *x, struct err *e)
{
	uint64_t *id = NULL, *thread = NULL;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < x->n_boxes; i++)
		x->boxes[i]->jmap = (struct index_jmap_counts){ 0 };
	if (!(r = db_exec(x->db, "DELETE FROM thread", e)))
		r = list_emails(x, &id, &thread, &n, e);
	for (size_t i = 0; !r && i < n; i++)
		if (!(r = thread_count(x, thread[i], 1, e)))
			r = email_count_linked(x, id[i], 1, e);
	r = r ? r : thread_flush(x, e);
	free(id);
	free(thread);
	return r;
}

static int
check_jmap(struct index *x, struct err *e)
{
	struct index_jmap_counts *kept = calloc(x->n_boxes + 1, sizeof *kept);
	int r;

	if (!kept)
		return err_set(e, -ENOMEM, "no memory for the check");
	for (size_t i = 0; i < x->n_boxes; i++)
		kept[i] = x->boxes[i]->jmap;
	if (!(r = index_begin(x, e))) {
		r = recount(x, e);
		for (size_t i = 0; !r && i < x->n_boxes; i++) {
			const struct index_jmap_counts *j = &x->boxes[i]->jmap;

			if (memcmp(&kept[i], j, sizeof *j))
				index_found(x, FOUND_COUNTS, x->boxes[i], 0, NULL,
				    "JMAP total %u unread %u threads %u unread threads %u; the rows "
				    "say %u %u %u %u", kept[i].total, kept[i].unread,
				    kept[i].threads, kept[i].unread_threads, j->total, j->unread,
				    j->threads, j->unread_threads);
		}
		index_rollback(x);
	}
	free(kept);
	return r;
}

/* ---- SQLite's own check, folders ---- */

static int
check_sqlite(struct index *x, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int r;

	if (sqlite3_prepare_v2(x->db, "PRAGMA integrity_check(100)", -1, &s, NULL) != SQLITE_OK)
		return db_fail(x, "integrity_check", e);
	while ((r = db_step(x, s, e)) > 0)
		if (!str_eq(db_text(s, 0), STR("ok")))
			index_found(x, FOUND_DAMAGE, NULL, 0, "index.db", "%.*s",
			    STR_ARG(db_text(s, 0)));
	sqlite3_finalize(s);
	return r;
}

static int
check_folders(struct index *x, struct err *e)
{
	struct buf dirs;
	struct str all;
	int r;

	buf_init(&dirs, 16u << 20);
	r = tree_folders(x->dirfd, &dirs, e);
	for (all = buf_view(&dirs); !r && all.n; all = str_skip(all, strlen(all.p) + 1)) {
		bool known = false;

		for (size_t i = 0; i < x->n_boxes; i++)
			known |= !strcmp(x->boxes[i]->dir, all.p);
		if (!known)
			index_found(x, FOUND_FOLDER, NULL, 0, all.p, "no mailbox has it");
	}
	buf_done(&dirs);
	return r;
}

int
index_check(struct index *x, bool deep, struct err *e)
{
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (x->in_txn)
		return err_set(e, -EINVAL, "%s: check inside a transaction", x->dir);
	x->n_found = 0;
	if (deep && (r = check_sqlite(x, e)))
		return r;
	for (size_t i = 0; i < x->n_boxes; i++)
		if ((r = check_box(x, x->boxes[i], e)))
			return r;
	if ((r = check_folders(x, e)) || (r = check_jmap(x, e)))
		return r;
	return x->n_found > INT32_MAX ? INT32_MAX : (int)x->n_found;
}
