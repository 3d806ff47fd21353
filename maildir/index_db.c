/*
 * The connection to index.db: opening, statements, transactions with three results.
 *
 * Invariants:
 *  1. One connection per account and process, locking_mode=EXCLUSIVE before anything
 *     else, so that there is no shared-memory file and no second reader.
 *  2. WAL with synchronous=NORMAL: a commit is in the kernel, not on the disk. The
 *     volume sync of the caller makes it durable; SQLite itself syncs only around
 *     checkpoints, so a torn WAL never damages the database.
 *  3. A COMMIT that fails for want of memory or space has written no commit frame:
 *     failed. After any other failure the frame may or may not be on the disk: lost,
 *     and nothing is done with this connection any more.
 */
#include "maildir/index_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"

int
index_init(struct err *e)
{
	if (sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_MULTITHREAD) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 256, 128) != SQLITE_OK ||
	    sqlite3_initialize() != SQLITE_OK)
		return err_set(e, -EINVAL, "cannot set SQLite up");
	return 0;
}

int
db_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_ERROR: /* a table that is missing, a column of another name */
		return -EUCLEAN;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_TOOBIG:
		return -E2BIG;
	default:
		return -EIO;
	}
}

int
db_fail(struct index *x, const char *what, struct err *e)
{
	int rc = sqlite3_extended_errcode(x->db);

	x->trouble = true;
	return err_set(e, db_errno(rc) ? db_errno(rc) : -EIO, "%s/index.db: %s: %s (%d)", x->dir,
	    what, sqlite3_errmsg(x->db), rc);
}

struct str
db_text(sqlite3_stmt *s, int col)
{
	const void *p = sqlite3_column_blob(s, col);

	return (struct str){ p, p ? (size_t)sqlite3_column_bytes(s, col) : 0 };
}

static int
bind_all(sqlite3_stmt *s, const char *fmt, va_list ap)
{
	int rc = SQLITE_OK;

	for (int i = 1; *fmt && rc == SQLITE_OK; fmt++, i++) {
		if (*fmt == 'i') {
			rc = sqlite3_bind_int64(s, i, va_arg(ap, sqlite3_int64));
		} else {
			struct str v = va_arg(ap, struct str);

			rc = *fmt == 't' ?
			    sqlite3_bind_text(s, i, v.p ? v.p : "", (int)v.n, SQLITE_STATIC) :
			    sqlite3_bind_blob(s, i, v.p ? v.p : "", (int)v.n, SQLITE_STATIC);
		}
	}
	return rc;
}

static sqlite3_stmt *
query_get(struct index *x, enum query q, struct err *e, const char *fmt, va_list ap)
{
	if (!x->q[q] &&
	    sqlite3_prepare_v3(x->db, index_sql[q], -1, SQLITE_PREPARE_PERSISTENT, &x->q[q],
	        NULL) != SQLITE_OK) {
		db_fail(x, "prepare", e);
		return NULL;
	}
	sqlite3_reset(x->q[q]);
	if (bind_all(x->q[q], fmt, ap) != SQLITE_OK) {
		db_fail(x, "bind", e);
		return NULL;
	}
	return x->q[q];
}

sqlite3_stmt *
db_q(struct index *x, enum query q, struct err *e, const char *fmt, ...)
{
	sqlite3_stmt *s;
	va_list ap;

	va_start(ap, fmt);
	s = query_get(x, q, e, fmt, ap);
	va_end(ap);
	return s;
}

int
db_step(struct index *x, sqlite3_stmt *s, struct err *e)
{
	int rc = sqlite3_step(s);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE) {
		sqlite3_reset(s);
		return 0;
	}
	rc = db_fail(x, sqlite3_sql(s), e);
	sqlite3_reset(s);
	return rc;
}

int
db_run(struct index *x, enum query q, struct err *e, const char *fmt, ...)
{
	sqlite3_stmt *s;
	va_list ap;
	int r;

	va_start(ap, fmt);
	s = query_get(x, q, e, fmt, ap);
	va_end(ap);
	if (!s)
		return db_errno(sqlite3_extended_errcode(x->db));
	while ((r = db_step(x, s, e)) > 0)
		;
	return r;
}

int
db_exec(sqlite3 *db, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	if (rc == SQLITE_OK)
		return 0;
	return err_set(e, db_errno(rc), "%s", sqlite3_errmsg(db));
}

int
db_setup(sqlite3 *db, struct err *e)
{
	sqlite3_extended_result_codes(db, 1);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 256 << 20);
	return db_exec(db,
	    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=4096; PRAGMA journal_mode=WAL;"
	    "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-1024; PRAGMA temp_store=MEMORY;"
	    "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA wal_autocheckpoint=1000;"
	    "PRAGMA journal_size_limit=4194304; PRAGMA secure_delete=OFF", e);
}

/* One integer that a pragma answers, 0 when it answers none. */
static int
pragma_int(sqlite3 *db, const char *sql, int *ret, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		return err_set(e, db_errno(sqlite3_extended_errcode(db)), "%s", sqlite3_errmsg(db));
	rc = sqlite3_step(s);
	*ret = rc == SQLITE_ROW ? sqlite3_column_int(s, 0) : 0;
	sqlite3_finalize(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return err_set(e, db_errno(rc), "%s", sqlite3_errmsg(db));
	return 0;
}

/* Steps that bring a database of version i to i + 1. */
static const char *const upgrades[INDEX_SCHEMA] = {
	[0] = index_schema,
};

int
db_schema(sqlite3 *db, struct err *e)
{
	int app, version, r;

	if ((r = pragma_int(db, "PRAGMA application_id", &app, e)) ||
	    (r = pragma_int(db, "PRAGMA user_version", &version, e)))
		return r;
	if (app != INDEX_APPLICATION && (app || version))
		return err_set(e, -EUCLEAN, "not an index of this program");
	if (version > INDEX_SCHEMA)
		return err_set(e, -ENOTSUP, "schema version %d is newer than this program's %d",
		    version, INDEX_SCHEMA);
	if (version == INDEX_SCHEMA)
		return 0;
	if (!app && (r = db_exec(db, "PRAGMA application_id=1346922872", e)))
		return r;
	for (; version < INDEX_SCHEMA; version++) {
		char set[48];

		snprintf(set, sizeof set, "PRAGMA user_version=%d; COMMIT", version + 1);
		if ((r = db_exec(db, "BEGIN IMMEDIATE", e)) ||
		    (r = db_exec(db, upgrades[version], e)) || (r = db_exec(db, set, e))) {
			db_exec(db, "ROLLBACK", NULL);
			return r;
		}
	}
	return 0;
}

/* ---- the account row ---- */

static int
account_load(struct index *x, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_ACCOUNT_GET, e, "");
	struct account_row a;
	int r;

	if (!s)
		return db_errno(sqlite3_extended_errcode(x->db));
	r = db_step(x, s, e);
	if (r <= 0)
		return r < 0 ? r : 1;
	a = (struct account_row){
		.epoch = db_u64(s, 0), .modseq = db_u64(s, 1), .next_email = db_u64(s, 2),
		.next_thread = db_u64(s, 3), .next_mailbox = db_u32(s, 4), .run = db_u64(s, 5),
		.delivered_low = db_u64(s, 6), .snap_time = db_u64(s, 7), .changes = db_u64(s, 8),
		.salt = { db_u64(s, 9), db_u64(s, 10) }, .next_uidvalidity = db_u32(s, 11),
	};
	sqlite3_reset(s);
	if (!a.epoch || a.modseq > INT64_MAX || !a.next_email || a.next_email > INT64_MAX ||
	    !a.next_thread || !a.next_mailbox)
		return err_set(e, -EUCLEAN, "%s/index.db: impossible counters", x->dir);
	x->acc = a;
	return 0;
}

static int
account_write(struct index *x, struct err *e)
{
	const struct account_row *a = &x->acc;

	return db_run(x, Q_ACCOUNT_PUT, e, "iiiiiiiiiiii", DB_I(a->epoch), DB_I(a->modseq),
	    DB_I(a->next_email), DB_I(a->next_thread), DB_I(a->next_mailbox), DB_I(a->run),
	    DB_I(a->delivered_low), DB_I(a->snap_time), DB_I(a->changes), DB_I(a->salt[0]),
	    DB_I(a->salt[1]), DB_I(a->next_uidvalidity));
}

uint64_t
index_next_modseq(struct index *x)
{
	x->acc.changes++;
	return ++x->acc.modseq;
}

/* ---- transactions ---- */

int
index_need_read(struct index *x, struct err *e)
{
	if (x->lost)
		return err_set(e, -ESTALE, "%s: the index is lost", x->dir);
	return 0;
}

int
index_need_txn(struct index *x, struct err *e)
{
	if (x->lost)
		return err_set(e, -ESTALE, "%s: the index is lost", x->dir);
	if (!x->in_txn || x->trouble)
		return err_set(e, -EINVAL, "%s: %s", x->dir,
		    x->in_txn ? "the transaction has failed" : "no transaction");
	return 0;
}

int
index_begin(struct index *x, struct err *e)
{
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (x->in_txn)
		return err_set(e, -EINVAL, "%s: a transaction is open", x->dir);
	x->trouble = false;
	if ((r = db_run(x, Q_BEGIN, e, "")))
		return r;
	x->in_txn = true;
	x->names_at_begin = x->n_names;
	buf_clear(&x->made);
	if (x->clear_to && (r = db_run(x, Q_UNLINK_DEL, e, "i", DB_I(x->clear_to)))) {
		index_rollback(x);
		return r;
	}
	return 0;
}

static void
txn_end(struct index *x)
{
	x->in_txn = x->trouble = false;
	map_done(&x->threads);
	arena_reset(x->txn);
	buf_clear(&x->made);
}

int
index_made(struct index *x, struct str path, struct err *e)
{
	buf_str(&x->made, path);
	buf_putc(&x->made, 0);
	if (x->made.over) {
		x->trouble = true;
		return err_set(e, -ENOMEM, "too many files in one transaction");
	}
	return 0;
}

/* Newest first, so that what stands in a directory goes before it. */
static void
remove_made(struct index *x)
{
	struct str all = buf_view(&x->made);

	while (all.n) {
		struct str rest = str_head(all, all.n - 1);
		ptrdiff_t i = str_rchr(rest, 0);
		const char *path = rest.p + i + 1;

		if (unlinkat(x->dirfd, path, 0) && (errno == EISDIR || errno == EPERM))
			unlinkat(x->dirfd, path, AT_REMOVEDIR);
		all = str_head(all, (size_t)(i + 1));
	}
}

void
index_rollback(struct index *x)
{
	if (!x->in_txn)
		return;
	if (!x->lost) {
		if (!sqlite3_get_autocommit(x->db) && db_run(x, Q_ROLLBACK, NULL, ""))
			x->lost = true;
		remove_made(x);
	}
	settle_forget(x, x->names_at_begin);
	txn_end(x);
	if (!x->lost && (account_load(x, NULL) || box_load_all(x, NULL)))
		x->lost = true;
}

/* What the commit adds to the lists that settle works off. */
static int
commit_notes(struct index *x, struct err *e)
{
	for (size_t i = 0; i < x->n_boxes; i++) {
		struct box *b = x->boxes[i];
		struct hold *h;

		if (!b->txn_hold)
			continue;
		h = index_grow(&x->holds, &x->n_holds, &x->cap_holds, sizeof *h);
		if (!h)
			return err_set(e, -ENOMEM, "no memory for the commit's notes");
		*h = (struct hold){ x->commit_no + 1, b->txn_hold, b->id, b->uidnext };
	}
	return 0;
}

static void
commit_holds(struct index *x)
{
	for (size_t i = 0; i < x->n_boxes; i++) {
		struct box *b = x->boxes[i];

		if (b->renamed_no == UINT64_MAX)
			b->renamed_no = x->commit_no;
		if (b->txn_hold && !b->hold)
			b->hold = b->txn_hold;
		b->txn_hold = 0;
	}
}

/* True when a failed COMMIT cannot have left a commit frame behind. */
static bool
surely_failed(struct index *x, int r)
{
	return (r == -ENOSPC || r == -ENOMEM || r == -EBUSY) &&
	    !sqlite3_get_autocommit(x->db);
}

int
index_commit(struct index *x, uint64_t *ret_no, struct err *e)
{
	size_t n_holds = x->n_holds;
	int r = index_need_txn(x, e);

	if (r == -ESTALE || (r && !x->in_txn))
		return r;
	if (!r && !(r = thread_flush(x, e)) && !(r = box_write_dirty(x, e)) &&
	    !(r = account_write(x, e)) && !(r = commit_notes(x, e)) &&
	    (r = db_run(x, Q_COMMIT, e, "")) && !surely_failed(x, r)) {
		x->lost = true;
		r = err_prefix(e, "lost: ") ? -ESTALE : r;
	}
	if (r) {
		x->n_holds = n_holds;
		index_rollback(x);
		return x->lost ? -ESTALE : r;
	}
	x->commit_no++;
	commit_holds(x);
	box_drop_dead(x);
	for (size_t i = x->names_at_begin; i < x->n_names; i++)
		x->names[i].no = x->commit_no;
	unlink_mark(x); /* without memory the rows wait for the next opening */
	x->clear_to = 0;
	txn_end(x);
	*ret_no = x->commit_no;
	return 0;
}

/* ---- lists in memory ---- */

void *
index_grow(void *list, size_t *n, size_t *cap, size_t size)
{
	char **v = list;

	if (*n == *cap) {
		size_t want = *cap ? *cap * 2 : 16;
		char *p = realloc(*v, want * size);

		if (!p)
			return NULL;
		*v = p;
		*cap = want;
	}
	memset(*v + *n * size, 0, size);
	return *v + (*n)++ * size;
}

void
index_set_report(struct index *x, index_report *fn, void *arg)
{
	x->report = fn;
	x->report_arg = arg;
}

void
index_found(struct index *x, enum index_finding what, const struct box *b, uint32_t uid,
    const char *path, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	x->n_found++;
	if (!x->report)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	x->report(x->report_arg, what, b ? b->name : "", uid, path ? path : "", text);
}

/* ---- opening and closing ---- */

static const struct {
	const char *name, *role;
} first_folders[] = {
	{ "INBOX", "inbox" }, { "Sent", "sent" }, { "Drafts", "drafts" }, { "Trash", "trash" },
	{ "Junk", "junk" }, { "Archive", "archive" },
};

int
index_new_account(struct index *x, uint64_t run, struct err *e)
{
	struct account_row *a = &x->acc;

	*a = (struct account_row){ .modseq = 1, .next_email = 1, .next_thread = 1,
		.next_mailbox = 1, .run = run };
	if (getrandom(a->salt, sizeof a->salt, 0) != sizeof a->salt)
		return err_sys(e, -errno, "random salt");
	a->epoch = clock_real_us() / 1000;
	return 0;
}

/* Whether folders stand there: of a creation that a crash undid, or of an index that is gone. */
static bool
has_folders(struct index *x)
{
	struct buf dirs;
	bool any;

	buf_init(&dirs, 16u << 20);
	any = tree_folders(x->dirfd, &dirs, NULL) || dirs.n;
	buf_done(&dirs);
	return any;
}

/* A new account. Where folders stand already it belongs to no run yet: it is recovered. */
static int
make_first_folders(struct index *x, uint64_t run, struct err *e)
{
	bool again = has_folders(x);
	uint64_t no;
	int r;

	if ((r = index_begin(x, e)))
		return r;
	if ((r = index_new_account(x, again ? 0 : run, e)))
		goto out;
	for (size_t i = 0; i < sizeof first_folders / sizeof *first_folders; i++) {
		struct box *b;

		if ((r = box_make(x, str_c(first_folders[i].name), str_c(first_folders[i].role),
		         NULL, false, &b, e)))
			goto out;
		b->subscribed = true;
	}
	if (!(r = index_commit(x, &no, e)))
		return index_settle(x, no, e);
out:
	index_rollback(x);
	return r;
}

static int
open_dir(struct index *x, const struct index_options *o, struct err *e)
{
	if (o->create && mkdir(o->dir, 0700) && errno != EEXIST)
		return err_sys(e, -errno, "%s", o->dir);
	x->dirfd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->dirfd < 0)
		return err_sys(e, -errno, "%s", o->dir);
	if (o->create && mkdirat(x->dirfd, "tmp", 0700) && errno != EEXIST)
		return err_sys(e, -errno, "%s/tmp", o->dir);
	return 0;
}

static int
open_db(struct index *x, const struct index_options *o, const char *file, struct err *e)
{
	char path[4096];
	int rc, r;

	if ((size_t)snprintf(path, sizeof path, "%s/%s", o->dir, file) >= sizeof path)
		return err_set(e, -ENAMETOOLONG, "%s", o->dir);
	rc = sqlite3_open_v2(path, &x->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
	    (o->create ? SQLITE_OPEN_CREATE : 0), NULL);
	if (rc != SQLITE_OK)
		return err_set(e, rc == SQLITE_CANTOPEN && !o->create ? -ENOENT : db_errno(rc),
		    "%s: %s", path, x->db ? sqlite3_errmsg(x->db) : "no memory");
	if ((r = db_setup(x->db, e)) || (r = db_schema(x->db, e))) {
		err_prefix(e, "%s: ", path);
		return r;
	}
	return 0;
}

struct index *
index_bare(const struct index_options *o, const char *file, struct err *e)
{
	struct index *x = calloc(1, sizeof *x);

	if (!x || !(x->dir = strdup(o->dir)) || !(x->txn = arena_new(256u << 20))) {
		err_set(e, -ENOMEM, "no memory for an index");
		if (x)
			x->dirfd = -1;
		index_close(&x);
		return NULL;
	}
	x->dirfd = -1;
	x->report = o->report;
	x->report_arg = o->report_arg;
	x->uidvalidity = o->uidvalidity;
	buf_init(&x->made, 64u << 20);
	if (open_dir(x, o, e) || open_db(x, o, file, e)) {
		index_close(&x);
		return NULL;
	}
	return x;
}

int
index_open(const struct index_options *o, struct index **ret, bool *ret_recovered, struct err *e)
{
	struct err own = { 0 };
	struct index *x;
	bool recovered = false, recover;
	int r;

	e = e ? e : &own;
	e->code = 0;
	x = index_bare(o, "index.db", e);
	if (!x)
		return e->code ? e->code : -EIO;
	if ((r = account_load(x, e)) < 0 || (r == 1 && (r = make_first_folders(x, o->run, e))))
		goto fail;
	recover = o->recover || (o->run && x->acc.run != o->run);
	if ((r = box_load_all(x, e)) || (r = settle_load(x, recover, e)))
		goto fail;
	if (recover) {
		if ((r = index_recover(x, o->run, e)))
			goto fail;
		recovered = true;
	}
	*ret = x;
	if (ret_recovered)
		*ret_recovered = recovered;
	return 0;
fail:
	index_close(&x);
	return r;
}

void
index_close(struct index **x)
{
	struct index *i = *x;

	if (!i)
		return;
	index_rollback(i);
	snapshot_stop(i);
	for (size_t q = 0; q < Q_COUNT; q++)
		sqlite3_finalize(i->q[q]);
	sqlite3_close_v2(i->db);
	box_free_all(i);
	settle_forget(i, 0);
	free(i->names);
	free(i->holds);
	free(i->marks);
	buf_done(&i->made);
	map_done(&i->threads);
	arena_free(&i->txn);
	if (i->dirfd >= 0)
		close(i->dirfd);
	free(i->dir);
	free(i);
	*x = NULL;
}

void
index_abandon(struct index *x)
{
	x->lost = true;
}

bool
index_lost(const struct index *x)
{
	return x->lost;
}

void
index_idle(struct index *x)
{
	if (x->lost || x->in_txn)
		return;
	for (size_t q = 0; q < Q_COUNT; q++) {
		sqlite3_finalize(x->q[q]);
		x->q[q] = NULL;
	}
	sqlite3_wal_checkpoint_v2(x->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	sqlite3_db_release_memory(x->db);
}

uint64_t
index_commit_no(const struct index *x)
{
	return x->commit_no;
}

uint64_t
index_settled_no(const struct index *x)
{
	return x->settled_no;
}

void
index_stat(const struct index *x, struct index_stat *ret)
{
	*ret = (struct index_stat){ .epoch = x->acc.epoch, .modseq = x->acc.modseq,
		.changes_since_snapshot = x->acc.changes, .snapshot_time = x->acc.snap_time,
		.unlinks = x->unlink_ids - x->unlinked };
	for (size_t i = 0; i < x->n_boxes; i++) {
		ret->bytes += x->boxes[i]->bytes;
		ret->messages += x->boxes[i]->total;
	}
}
