/*
 * After an unclean stop: the tree and the rows are brought together again.
 *
 *   torn file in new/                    removed (its delivery was never acknowledged)
 *                                        torn: of another length than its name says, or
 *                                        of other content, if it is not old
 *   row, file in cur/, right length      fine
 *   row, file only in new/               the rename is finished
 *   row, file missing or short           the row is dropped (never acknowledged)
 *   file without row, torn               removed
 *   file without row, of an Email that stands elsewhere    an unfinished copy: removed
 *   file without row, otherwise          a message: taken in under a new UID
 *   folder without row                   made a mailbox when it holds files, else removed
 *
 *   row whose file is missing, but one of a pending unlink has the same message
 *                                        the rest of a move: linked
 *
 * A row of a delivery that is dropped with its Email takes its `delivered` row along: queued
 * delivers it again. Unlinks that were pending are done by the settle after this. Counters jump,
 * so that no value that a client may have seen is given again.
 */
#include "maildir/index_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What was changed this much before the newest file was durable at the crash. */
enum { UNSYNCED_SECONDS = 120 };

static int
remove_file(struct index *x, const struct box *b, const char *sub, const struct tree_file *f)
{
	struct buf p;
	int r;

	buf_init(&p, 0);
	folder_path(&p, b->dir, sub, f->name);
	r = buf_cstr(&p) && !unlinkat(x->dirfd, p.p, 0) ? 0 : -errno;
	buf_done(&p);
	return r;
}

static void
drop_torn(struct index *x, const struct box *b, const char *sub, struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct tree_file *f = &t->v[i];

		if (f->seen || tree_whole(f))
			continue;
		f->seen = true;
		index_found(x, FOUND_TORN_NEW, b, f->n.uid, f->name.p,
		    f->torn ? "%llu bytes are there, not those of its name: removed" :
			      "%llu bytes are there: removed", (unsigned long long)f->size);
		remove_file(x, b, sub, f);
	}
}

/* ---- files that wait for their unlink ---- */

/* Calls fn for each until it gives other than 0. dir: of the folder it stands in, or, of a
 * folder that goes as a whole, its own (then name is empty). */
static int
each_doomed(struct index *x, int (*fn)(void *arg, const char *dir, struct str name), void *arg,
    struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_UNLINK_LIST, e, "ii", DB_I(0), DB_I(INT64_MAX));
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0) {
		struct box *b = map_get(&x->by_id, db_u32(s, 1));
		struct str name = db_text(s, 2);
		struct buf dir;

		buf_init(&dir, 0);
		buf_str(&dir, name);
		if (!db_u32(s, 1))
			r = buf_cstr(&dir) ? fn(arg, dir.p, STR("")) : -ENOMEM;
		else
			r = b ? fn(arg, b->dir, name) : 0;
		buf_done(&dir);
		if (r)
			break;
	}
	sqlite3_reset(s);
	return r;
}

struct doomed_in {
	const char *dir;
	struct tree *cur;
};

static int
mark_doomed(void *arg, const char *dir, struct str name)
{
	struct doomed_in *d = arg;
	struct tree_file *f = strcmp(dir, d->dir) ? NULL : strmap_get(&d->cur->by_name, name);

	if (f)
		f->seen = true;
	return 0;
}

struct rest {
	struct index *x;
	const char *to;            /* the path that the row wants */
	struct msg_name want;
};

/* 1: it was this one, linked. */
static int
link_rest(void *arg, const char *dir, struct str name)
{
	struct rest *t = arg;
	struct msg_name n;
	struct buf from;
	int r = 0;

	if (!name_parse(name, &n) || n.email != t->want.email || !str_eq(n.base, t->want.base))
		return 0;
	buf_init(&from, 0);
	folder_path(&from, dir, "cur", name);
	if (buf_cstr(&from) && tree_good(t->x->dirfd, from.p, &n) &&
	    (!linkat(t->x->dirfd, from.p, t->x->dirfd, t->to, 0) || errno == EEXIST))
		r = 1;
	buf_done(&from);
	return r;
}

/* Whether a row's missing file could be made from what a move left. */
static int
find_rest(struct index *x, const struct box *b, struct str name, struct err *e)
{
	struct rest t = { .x = x };
	struct buf to;
	int r = 0;

	buf_init(&to, 0);
	folder_path(&to, b->dir, "cur", name);
	t.to = buf_cstr(&to);
	if (t.to && name_parse(name, &t.want))
		r = each_doomed(x, link_rest, &t, e);
	buf_done(&to);
	return r;
}

/* ---- rows against files ---- */

struct lost_rows {
	struct uid_range *v;
	size_t n, cap;
	struct lost_delivery { uint64_t spool_id, email; } *d; /* one per row */
	size_t n_d, cap_d;
};

static int
lose(struct lost_rows *l, uint32_t uid, uint64_t email, struct str base)
{
	struct uid_range *u = index_grow(&l->v, &l->n, &l->cap, sizeof *u);
	struct lost_delivery *d = index_grow(&l->d, &l->n_d, &l->cap_d, sizeof *d);
	struct msg_name n;

	if (!u || !d)
		return -ENOMEM;
	*u = (struct uid_range){ uid, uid };
	*d = (struct lost_delivery){ .email = email };
	if (name_parse(base, &n) && n.origin == NAME_DELIVERED && n.id <= INT64_MAX)
		d->spool_id = n.id;
	return 0;
}

/* The delivery of an Email that went may come again: it was never acknowledged. */
static int
forget_delivery(struct index *x, const struct lost_delivery *d, struct err *e)
{
	sqlite3_stmt *s;
	int r;

	if (!d->spool_id)
		return 0;
	if (!(s = db_q(x, Q_EMAIL_GET, e, "i", DB_I(d->email))))
		return -EUCLEAN;
	r = db_step(x, s, e);
	sqlite3_reset(s);
	if (r)
		return r < 0 ? r : 0;
	return db_run(x, Q_DELIVERED_DEL, e, "ii", DB_I(d->spool_id), DB_I(d->spool_id));
}

static int
remove_lost(struct index *x, struct box *b, const struct lost_rows *lost, struct err *e)
{
	struct uid_set set = { lost->v, lost->n };
	int r = lost->n ? member_remove(x, b, &set, e) : 0;

	for (size_t i = 0; !r && i < lost->n_d; i++)
		r = forget_delivery(x, &lost->d[i], e);
	return r;
}

/* The file that waits in new/ for its name. */
static struct tree_file *
find_base(struct tree *fresh, struct str base)
{
	for (size_t i = 0; i < fresh->n; i++)
		if (!fresh->v[i].seen && str_eq(fresh->v[i].n.base, base))
			return &fresh->v[i];
	return NULL;
}

static int
finish_rename(struct index *x, const struct box *b, struct tree_file *f, struct str name)
{
	struct buf from, to;
	int r;

	buf_init(&from, 0);
	buf_init(&to, 0);
	folder_path(&from, b->dir, "new", f->name);
	folder_path(&to, b->dir, "cur", name);
	r = buf_cstr(&from) && buf_cstr(&to) && !renameat(x->dirfd, from.p, x->dirfd, to.p) ?
	    0 : -errno;
	f->seen = !r;
	buf_done(&from);
	buf_done(&to);
	return r;
}

static int
match_row(struct index *x, struct box *b, sqlite3_stmt *s, struct tree *cur, struct tree *fresh,
    struct lost_rows *lost, struct err *e)
{
	uint32_t uid = db_u32(s, 0);
	struct str base = db_text(s, 3);
	struct tree_file *f;
	struct buf name;
	int r = 0;

	buf_init(&name, 0);
	name_cur(&name, base, uid, db_u64(s, 1));
	f = strmap_get(&cur->by_name, buf_view(&name));
	if (f && tree_whole(f) && f->size == db_u64(s, 2)) {
		f->seen = true;
	} else if (!f && (f = find_base(fresh, base)) && tree_whole(f) &&
	           !finish_rename(x, b, f, buf_view(&name))) {
		f->seen = true;
	} else if (!f && (r = find_rest(x, b, buf_view(&name), e))) {
		r = r < 0 ? r : 0;
	} else {
		index_found(x, f ? FOUND_SHORT_FILE : FOUND_ROW_WITHOUT_FILE, b, uid,
		    buf_cstr(&name), "the row is dropped");
		if (f)
			f->seen = true; /* goes with the row */
		if ((r = lose(lost, uid, db_u64(s, 1), base)))
			err_set(e, r, "no memory for recovery");
	}
	buf_done(&name);
	return r;
}

static int
match_rows(struct index *x, struct box *b, struct tree *cur, struct tree *fresh, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_MEMBER_FILES, e, "i", DB_I(b->id));
	struct lost_rows lost = { 0 };
	int r;

	if (!s)
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0)
		if ((r = match_row(x, b, s, cur, fresh, &lost, e)))
			break;
	sqlite3_reset(s);
	if (!r)
		r = remove_lost(x, b, &lost, e);
	free(lost.v);
	free(lost.d);
	return r;
}

/* ---- files without a row ---- */

/* Whether one of an Email's places has its file. */
static bool
stands(struct index *x, const struct email_row *m)
{
	bool any = false;

	for (size_t i = 0; !any && i < m->n_places; i++) {
		struct box *b = map_get(&x->by_id, m->places[i].mailbox);
		struct buf name, path;

		buf_init(&name, 0);
		buf_init(&path, 0);
		name_cur(&name, m->base, m->places[i].uid, m->id);
		if (b)
			folder_path(&path, b->dir, "cur", buf_view(&name));
		any = b && buf_cstr(&path) && !faccessat(x->dirfd, path.p, F_OK, AT_SYMLINK_NOFOLLOW);
		buf_done(&name);
		buf_done(&path);
	}
	return any;
}

/* An unfinished copy: the Email stands with the same base somewhere. */
static int
is_copy(struct index *x, const struct tree_file *f, struct err *e)
{
	struct email_row m;
	sqlite3_stmt *s;
	int r;

	if (!f->n.email || f->n.email > INT64_MAX)
		return 0;
	if (!(s = db_q(x, Q_EMAIL_GET, e, "i", DB_I(f->n.email))))
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) <= 0)
		return r;
	sqlite3_reset(s);
	if ((r = email_get(x, f->n.email, x->txn, &m, e)))
		return r;
	return stands(x, &m) && str_eq(m.base, f->n.base) && m.size == f->size;
}

static int
take_in(struct index *x, struct box *b, const struct tree_file *f, struct err *e)
{
	struct index_new n = { .mailbox = b->id, .size = f->size, .base = f->n.base,
		.internal_date = f->n.time_us ? (int64_t)(f->n.time_us / 1000000) : f->mtime };
	struct index_added a;
	struct buf old;
	int r = 0;

	if (f->n.base.n > NAME_BASE_MAX) /* somebody else's: it gets a base of ours */
		n.base = STR_NULL;
	if (f->n.origin == NAME_DELIVERED && f->n.id <= INT64_MAX) {
		if ((r = index_delivered(x, f->n.id, NULL, e)) < 0)
			return r;
		n.spool_id = r ? 0 : f->n.id;
	}
	if ((r = index_add(x, &n, x->txn, &a, e)))
		return r;
	buf_init(&old, 0);
	folder_path(&old, b->dir, "cur", f->name);
	if (!buf_cstr(&old) || renameat(x->dirfd, old.p, x->dirfd, a.path.p))
		r = err_sys(e, -errno, "%s/%s", x->dir, old.p);
	buf_done(&old);
	index_found(x, FOUND_FILE_WITHOUT_ROW, b, a.uid, f->name.p, "taken in as UID %u", a.uid);
	return r;
}

static int
orphan(struct index *x, struct box *b, const struct tree_file *f, struct err *e)
{
	int r = is_copy(x, f, e);

	if (r < 0)
		return r;
	if (!r)
		return take_in(x, b, f, e);
	index_found(x, FOUND_LINK_OF_NOTHING, b, f->n.uid, f->name.p, "unfinished copy: removed");
	return remove_file(x, b, "cur", f);
}

static void
jump(struct box *b, const struct tree *cur)
{
	uint64_t next = (uint64_t)b->uidnext + INDEX_UID_GAP;

	for (size_t i = 0; i < cur->n; i++)
		if (cur->v[i].n.uid >= next)
			next = (uint64_t)cur->v[i].n.uid + 1;
	b->uidnext = next < UINT32_MAX - 1 ? (uint32_t)next : UINT32_MAX - 1;
	b->dirty = true;
}

static int
recover_box(struct index *x, struct box *b, struct err *e)
{
	struct tree cur = { 0 }, fresh = { 0 };
	struct arena *ar = arena_new((size_t)1 << 30);
	int r = ar ? 0 : err_set(e, -ENOMEM, "no memory for recovery");
	int64_t since;

	if (r || (r = folder_make(x, b->dir, e)) ||
	    (r = tree_read(x->dirfd, b->dir, "new", ar, &fresh, e)) ||
	    (r = tree_read(x->dirfd, b->dir, "cur", ar, &cur, e)))
		goto out;
	since = tree_newest(&cur) > tree_newest(&fresh) ? tree_newest(&cur) : tree_newest(&fresh);
	since = since > INT64_MIN + UNSYNCED_SECONDS ? since - UNSYNCED_SECONDS : since;
	if (x->after_crash) {
		tree_look(x->dirfd, b->dir, "new", &fresh, since);
		tree_look(x->dirfd, b->dir, "cur", &cur, since);
	}
	drop_torn(x, b, "new", &fresh);
	jump(b, &cur);
	if ((r = each_doomed(x, mark_doomed, &(struct doomed_in){ b->dir, &cur }, e)) ||
	    (r = match_rows(x, b, &cur, &fresh, e)))
		goto out;
	drop_torn(x, b, "cur", &cur);
	for (size_t i = 0; !r && i < cur.n; i++)
		if (!cur.v[i].seen)
			r = orphan(x, b, &cur.v[i], e);
out:
	tree_done(&cur);
	tree_done(&fresh);
	arena_free(&ar);
	return r;
}

/* ---- folders without a row ---- */

static int
has_files(struct index *x, const char *dir, bool *ret, struct err *e)
{
	static const char *const subs[] = { "cur", "new" };
	struct arena *ar = arena_new((size_t)1 << 30);
	struct tree t = { 0 };
	int r = ar ? 0 : -ENOMEM;

	*ret = false;
	for (size_t i = 0; !r && i < 2; i++) {
		r = tree_read(x->dirfd, dir, subs[i], ar, &t, e);
		*ret |= t.n > 0;
		tree_done(&t);
	}
	arena_free(&ar);
	return r;
}

/* The mailbox's name as its file says, or made from the directory's; a free one. */
static struct str
free_name(struct index *x, const char *dir, const struct folder_file *f)
{
	struct str name = f->name[0] ? str_c(f->name) : arena_dup(x->txn, str_c(dir + 1));

	if (!f->name[0])
		for (size_t i = 0; i < name.n; i++)
			if (name.p[i] == '.' && i && i + 1 < name.n && name.p[i + 1] != '.')
				((char *)name.p)[i] = '/';
	if (box_named(x, name))
		name = arena_printf(x->txn, "recovered-%u", x->acc.next_mailbox);
	return name;
}

static int
adopt_folder(struct index *x, const char *dir, struct err *e)
{
	struct folder_file f = { 0 };
	struct box *b;
	bool files;
	int r;

	if ((r = has_files(x, dir, &files, e)))
		return r;
	if (!files) {
		index_found(x, FOUND_FOLDER, NULL, 0, dir, "unfinished folder: removed");
		return folder_remove(x->dirfd, dir, e);
	}
	if (folder_read(x->dirfd, dir, &f, NULL))
		f = (struct folder_file){ 0 };
	if ((r = box_make(x, free_name(x, dir, &f), STR(""), dir, false, &b, e)))
		return r;
	if (f.uidvalidity) {
		b->uidvalidity = f.uidvalidity;
		b->uidnext = b->shown = b->first_recent = f.reserved ? f.reserved : 1;
	}
	index_found(x, FOUND_FOLDER, b, 0, dir, "folder without a row: now a mailbox");
	return recover_box(x, b, e);
}

/* 1: dir is a folder that goes. */
static int
is_folder(void *arg, const char *dir, struct str name)
{
	return !name.n && !strcmp(dir, arg);
}

static int
recover_folders(struct index *x, struct err *e)
{
	struct buf dirs;
	struct str all;
	int r;

	buf_init(&dirs, 16u << 20);
	r = tree_folders(x->dirfd, &dirs, e);
	for (all = buf_view(&dirs); !r && all.n;) {
		const char *dir = all.p;
		bool known = false;

		all = str_skip(all, strlen(dir) + 1);
		for (size_t i = 0; i < x->n_boxes; i++)
			known |= !strcmp(x->boxes[i]->dir, dir);
		if (!known && !(r = each_doomed(x, is_folder, (void *)(uintptr_t)dir, e)))
			r = adopt_folder(x, dir, e);
		r = r > 0 ? 0 : r;
	}
	buf_done(&dirs);
	return r;
}

int
recover_boxes(struct index *x, struct err *e)
{
	size_t n = x->n_boxes;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		r = recover_box(x, x->boxes[i], e);
	return r ? r : recover_folders(x, e);
}

int
index_recover(struct index *x, uint64_t run, struct err *e)
{
	uint64_t no;
	int r;

	if ((r = index_begin(x, e)))
		return r;
	x->acc.run = run;
	x->acc.modseq += INDEX_MODSEQ_GAP;
	x->acc.next_email += INDEX_UID_GAP;
	x->after_crash = true;
	r = recover_boxes(x, e);
	x->after_crash = false;
	buf_clear(&x->made); /* files that were there before: no rollback may remove them */
	if (r) {
		index_rollback(x);
		return r;
	}
	for (size_t i = 0; i < x->n_boxes; i++)
		if (!x->boxes[i]->txn_hold)
			x->boxes[i]->shown = x->boxes[i]->uidnext;
	return index_commit(x, &no, e);
}
