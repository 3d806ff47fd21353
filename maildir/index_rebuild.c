/*
 * A new index.db from what cannot lie: folders, UIDs and Email ids from the names in
 * the tree, the UIDNEXT reservations from each posthorn-folder, and from index.snap
 * (when it can be read) flags, keywords, threads and facts. What the snapshot does not
 * know is unparsed and without flags, and each such message is reported.
 *
 * It is built beside (rebuild.db), synced, and put in place by a rename; the old
 * index.db stays as index.db.bad. A new epoch begins; modseq starts above whatever was
 * given before: above the snapshot's, and above the clock in milliseconds.
 */
#include "maildir/index_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"

struct rebuild {
	struct index *x;
	bool snap;             /* index.snap is attached and of this schema */
	sqlite3_stmt *flags, *email, *facts, *more;
	uint64_t max_email;
};

/* ---- the snapshot ---- */

static int
prepare(struct index *x, const char *sql, sqlite3_stmt **ret)
{
	return sqlite3_prepare_v2(x->db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : -EUCLEAN;
}

static bool
snap_version_fits(struct index *x)
{
	sqlite3_stmt *s = NULL;
	bool fits = !prepare(x, "PRAGMA snap.user_version", &s) &&
	    sqlite3_step(s) == SQLITE_ROW && sqlite3_column_int(s, 0) == INDEX_SCHEMA;

	sqlite3_finalize(s);
	return fits;
}

static void
snap_attach(struct rebuild *rb)
{
	struct index *x = rb->x;
	sqlite3_stmt *s = NULL;
	char path[4096];

	if (faccessat(x->dirfd, "index.snap", R_OK, 0) ||
	    (size_t)snprintf(path, sizeof path, "%s/index.snap", x->dir) >= sizeof path ||
	    prepare(x, "ATTACH ?1 AS snap", &s))
		return;
	sqlite3_bind_text(s, 1, path, -1, SQLITE_STATIC);
	rb->snap = sqlite3_step(s) == SQLITE_DONE;
	sqlite3_finalize(s);
	rb->snap = rb->snap && snap_version_fits(x) &&
	    !prepare(x, "SELECT flags FROM snap.member WHERE mailbox=?1 AND uid=?2 AND email=?3",
	        &rb->flags) &&
	    !prepare(x, "SELECT thread, received, zone FROM snap.email WHERE id=?1 AND size=?2",
	        &rb->email) &&
	    !prepare(x, "INSERT OR IGNORE INTO facts SELECT * FROM snap.facts WHERE email=?1",
	        &rb->facts) &&
	    !prepare(x, "INSERT OR IGNORE INTO member_more SELECT * FROM snap.member_more"
	                " WHERE mailbox=?1 AND uid=?2", &rb->more);
}

/* What holds for the whole account. A snapshot that cannot be read is none. */
static void
snap_account(struct rebuild *rb)
{
	struct account_row *a = &rb->x->acc;
	sqlite3_stmt *s = NULL;

	if (rb->snap && !prepare(rb->x, "SELECT modseq, next_email, next_thread, next_mailbox,"
	                                " salt0, salt1, epoch, next_uidvalidity FROM snap.account", &s) &&
	    sqlite3_step(s) == SQLITE_ROW) {
		a->modseq = db_u64(s, 0) + INDEX_MODSEQ_GAP;
		a->next_email = db_u64(s, 1) + INDEX_UID_GAP;
		a->next_thread = db_u64(s, 2) + INDEX_UID_GAP;
		a->next_mailbox = db_u32(s, 3) + 100;
		a->salt[0] = db_u64(s, 4), a->salt[1] = db_u64(s, 5);
		a->next_uidvalidity = db_u32(s, 7) + 100;
		if (a->epoch <= db_u64(s, 6))
			a->epoch = db_u64(s, 6) + 1;
	} else {
		rb->snap = false;
	}
	sqlite3_finalize(s);
	if (rb->snap && db_exec(rb->x->db, "INSERT OR IGNORE INTO thread_key"
	        " SELECT * FROM snap.thread_key; INSERT OR IGNORE INTO subscription"
	        " SELECT * FROM snap.subscription; INSERT OR IGNORE INTO keyword"
	        " SELECT * FROM snap.keyword; INSERT OR IGNORE INTO delivered"
	        " SELECT * FROM snap.delivered", NULL))
		index_found(rb->x, FOUND_DAMAGE, NULL, 0, "index.snap", "partly unreadable");
}

/* 1 and the columns; 0. */
static int
snap_row(const struct rebuild *rb, sqlite3_stmt *s, uint64_t a, uint64_t b, uint64_t c)
{
	if (!rb->snap)
		return 0;
	sqlite3_reset(s);
	sqlite3_bind_int64(s, 1, DB_I(a));
	sqlite3_bind_int64(s, 2, DB_I(b));
	sqlite3_bind_int64(s, 3, DB_I(c));
	return sqlite3_step(s) == SQLITE_ROW;
}

/* ---- rows ---- */

static uint32_t
flags_of(struct rebuild *rb, struct box *b, const struct tree_file *f)
{
	uint32_t flags = 0;

	if (snap_row(rb, rb->flags, b->id, f->n.uid, f->n.email))
		flags = db_u32(rb->flags, 0) & ~F_OWN;
	else
		index_found(rb->x, FOUND_FLAGS_LOST, b, f->n.uid, f->name.p,
		    "flags are not in the snapshot");
	if (flags & F_MORE)
		snap_row(rb, rb->more, b->id, f->n.uid, 0);
	return flags;
}

/* The Email of a file, made at its first file. */
static int
email_of(struct rebuild *rb, struct box *b, const struct tree_file *f, uint64_t *ret_thread,
    bool *ret_linked, struct err *e)
{
	struct index *x = rb->x;
	struct place place = { b->id, f->n.uid };
	int64_t received = f->n.time_us ? (int64_t)(f->n.time_us / 1000000) : f->mtime;
	int32_t zone = 0;
	struct email_row m;
	sqlite3_stmt *s = db_q(x, Q_EMAIL_GET, e, "i", DB_I(f->n.email));
	int r;

	if (!s || (r = db_step(x, s, e)) < 0)
		return -EUCLEAN;
	sqlite3_reset(s);
	if (r) {
		if ((r = email_get(x, f->n.email, x->txn, &m, e)))
			return r;
		if (m.n_places >= INDEX_MAX_MEMBERSHIPS)
			return err_set(e, -E2BIG, "an Email has too many files");
		m.places[m.n_places++] = place;
		*ret_thread = m.thread;
		*ret_linked = true;
		return email_put_places(x, m.id, m.places, m.n_places, e);
	}
	*ret_linked = false;
	if (snap_row(rb, rb->email, f->n.email, f->size, 0)) {
		*ret_thread = db_u64(rb->email, 0);
		received = sqlite3_column_int64(rb->email, 1);
		zone = sqlite3_column_int(rb->email, 2);
		snap_row(rb, rb->facts, f->n.email, 0, 0);
		r = thread_count(x, *ret_thread, 1, e);
	} else {
		r = thread_assign(x, NULL, ret_thread, e);
		r = r ? r : db_run(x, Q_UNPARSED_PUT, e, "i", DB_I(f->n.email));
	}
	if (f->n.email > rb->max_email)
		rb->max_email = f->n.email;
	return r ? r : db_run(x, Q_EMAIL_PUT, e, "iiiiitb", DB_I(f->n.email), DB_I(*ret_thread),
	    DB_I(f->size), DB_I(received), DB_I(zone), f->n.base,
	    places_pack(x->txn, &place, 1));
}

static int
rebuild_file(struct rebuild *rb, struct box *b, const struct tree_file *f, struct err *e)
{
	struct index *x = rb->x;
	uint32_t flags = flags_of(rb, b, f);
	uint64_t thread, modseq = index_next_modseq(x);
	bool linked;
	int r;

	if ((r = email_of(rb, b, f, &thread, &linked, e)))
		return r;
	if (f->n.origin == NAME_DELIVERED && f->n.id <= INT64_MAX &&
	    !(r = index_delivered(x, f->n.id, NULL, e)))
		r = db_run(x, Q_DELIVERED_PUT, e, "iiii", DB_I(f->n.id), DB_I(b->id),
		    DB_I(f->n.uid), DB_I(f->n.email));
	if (r < 0 || (r = member_put(x, b, f->n.uid, f->n.email, thread, flags | F_LINKED,
	                  modseq, e)))
		return r;
	member_count(b, f->n.uid, f->n.email, flags, f->size, 1);
	box_touch(x, b, modseq, 1, false);
	b->tomb_floor = modseq;
	return 0;
}

static bool
has_place(const struct tree_file *f)
{
	return f->n.uid && f->n.email && f->n.email <= INT64_MAX && f->n.has_size &&
	    tree_whole(f) && f->n.base.n <= NAME_BASE_MAX;
}

/* Two files with one UID: the first keeps it, the other is taken in anew later. */
static int
uid_taken(struct index *x, const struct box *b, uint32_t uid, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_MEMBER_GET, e, "ii", DB_I(b->id), DB_I(uid));
	int r;

	if (!s)
		return -EUCLEAN;
	r = db_step(x, s, e);
	sqlite3_reset(s);
	return r;
}

static int
rebuild_files(struct rebuild *rb, struct box *b, struct err *e)
{
	struct arena *ar = arena_new((size_t)1 << 30);
	struct tree t = { 0 };
	int r = ar ? 0 : err_set(e, -ENOMEM, "no memory for a rebuild");

	r = r ? r : tree_read(rb->x->dirfd, b->dir, "cur", ar, &t, e);
	for (size_t i = 0; !r && i < t.n; i++) {
		if (!has_place(&t.v[i]) || (r = uid_taken(rb->x, b, t.v[i].n.uid, e)) > 0) {
			r = 0;
			continue;
		}
		r = r ? r : rebuild_file(rb, b, &t.v[i], e);
	}
	tree_done(&t);
	arena_free(&ar);
	return r;
}

/* ---- folders ---- */

static struct str
folder_mailbox(struct index *x, const char *dir, const struct folder_file *f)
{
	struct str name;

	if (f->name[0] && !box_named(x, str_c(f->name)))
		return str_c(f->name);
	if (!*dir)
		return STR("INBOX");
	name = arena_dup(x->txn, str_c(dir + 1));
	for (size_t i = 1; i + 1 < name.n; i++)
		if (name.p[i] == '.' && name.p[i - 1] != '/' && name.p[i + 1] != '.')
			((char *)name.p)[i] = '/';
	return box_named(x, name) ? arena_printf(x->txn, "recovered-%u", x->acc.next_mailbox) : name;
}

static int
rebuild_folder(struct rebuild *rb, const char *dir, struct err *e)
{
	struct index *x = rb->x;
	struct folder_file f = { 0 };
	uint32_t next = x->acc.next_mailbox;
	struct box *b;
	int r;

	if (folder_read(x->dirfd, dir, &f, NULL)) {
		f = (struct folder_file){ 0 };
		index_found(x, FOUND_FOLDER, NULL, 0, dir, "posthorn-folder is missing or damaged");
	}
	if (f.mailbox && !map_get(&x->by_id, f.mailbox))
		x->acc.next_mailbox = f.mailbox;
	r = box_make(x, folder_mailbox(x, dir, &f), str_c(!*dir ? "inbox" : f.role), dir, false,
	    &b, e);
	if (x->acc.next_mailbox < next)
		x->acc.next_mailbox = next;
	if (r)
		return r;
	b->subscribed = f.subscribed || !f.mailbox;
	if (f.uidvalidity) {
		b->uidvalidity = f.uidvalidity;
		b->uidnext = b->shown = b->first_recent = f.reserved ? f.reserved : 1;
	}
	b->reserved = f.reserved;
	return rebuild_files(rb, b, e);
}

static int
rebuild_folders(struct rebuild *rb, struct err *e)
{
	struct buf dirs;
	struct str all;
	int r;

	if ((r = rebuild_folder(rb, "", e)))
		return r;
	buf_init(&dirs, 16u << 20);
	r = tree_folders(rb->x->dirfd, &dirs, e);
	for (all = buf_view(&dirs); !r && all.n; all = str_skip(all, strlen(all.p) + 1))
		r = rebuild_folder(rb, all.p, e);
	buf_done(&dirs);
	return r;
}

/* JMAP's counts of every Email, once all places are known. */
static int
count_all(struct rebuild *rb, struct err *e)
{
	sqlite3_stmt *s = NULL;
	uint64_t last = 0;
	int r;

	do {
		if (prepare(rb->x, "SELECT min(id) FROM email WHERE id>?1", &s))
			return db_fail(rb->x, "rebuild", e);
		sqlite3_bind_int64(s, 1, DB_I(last));
		r = sqlite3_step(s) == SQLITE_ROW ? 0 : -EUCLEAN;
		last = r ? 0 : db_u64(s, 0);
		sqlite3_finalize(s);
		r = last ? email_count_linked(rb->x, last, 1, e) : r;
	} while (!r && last);
	return r;
}

static int
rebuild_all(struct rebuild *rb, uint64_t run, struct err *e)
{
	struct index *x = rb->x;
	uint64_t now = clock_real_us() / 1000, no;
	int r;

	snap_attach(rb); /* ATTACH is not possible inside a transaction */
	if ((r = index_begin(x, e)))
		return r;
	if (!(r = index_new_account(x, run, e))) {
		snap_account(rb);
		if (x->acc.modseq < now)
			x->acc.modseq = now;
		if (!(r = rebuild_folders(rb, e)) && !(r = count_all(rb, e))) {
			if (rb->max_email >= x->acc.next_email)
				x->acc.next_email = rb->max_email + INDEX_UID_GAP;
			/* what has no place, torn files, leftovers */
			r = recover_boxes(x, e);
		}
	}
	buf_clear(&x->made); /* the tree was there before */
	if (!r)
		return index_commit(x, &no, e);
	index_rollback(x);
	return r;
}

static void
rebuild_done(struct rebuild *rb)
{
	sqlite3_finalize(rb->flags);
	sqlite3_finalize(rb->email);
	sqlite3_finalize(rb->facts);
	sqlite3_finalize(rb->more);
	index_close(&rb->x);
}

static int
put_in_place(const char *dir, struct err *e)
{
	int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, r = 0;

	if (d < 0)
		return err_sys(e, -errno, "%s", dir);
	fd = openat(d, "rebuild.db", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) ||
	    (renameat(d, "index.db", d, "index.db.bad") && errno != ENOENT) ||
	    (renameat(d, "index.db-wal", d, "index.db.bad-wal") && errno != ENOENT) ||
	    fsync(d) || renameat(d, "rebuild.db", d, "index.db") || syncfs(d))
		r = err_sys(e, -errno, "%s/index.db", dir);
	if (fd >= 0)
		close(fd);
	close(d);
	return r;
}

int
index_rebuild(const struct index_options *o, struct err *e)
{
	struct index_options own = *o;
	struct rebuild rb = { 0 };
	int d, r;

	own.create = true;
	if ((d = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_sys(e, -errno, "%s", o->dir);
	unlinkat(d, "rebuild.db", 0);
	unlinkat(d, "rebuild.db-wal", 0);
	close(d);
	if (!(rb.x = index_bare(&own, "rebuild.db", e)))
		return e && e->code ? e->code : -EIO;
	r = rebuild_all(&rb, o->run, e);
	rebuild_done(&rb);
	return r ? r : put_in_place(o->dir, e);
}
