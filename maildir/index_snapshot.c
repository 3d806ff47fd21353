/*
 * Snapshots: index.snap is a copy of index.db as of some commit, made in slices by
 * SQLite's backup calls on the one connection (changes that it makes meanwhile go
 * into the copy). What a rebuild cannot learn from the tree stands there: flags, keywords,
 * threads, facts.
 */
#include "maildir/index_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"

#define DAY 86400
#define CHANGES_MIN 100

bool
index_snapshot_due(const struct index *x)
{
	uint64_t now = clock_real_us() / 1000000;

	return !x->lost && (x->backup ||
	    (x->acc.changes >= CHANGES_MIN &&
	        (now >= x->acc.snap_time + DAY || now < x->acc.snap_time)));
}

void
snapshot_stop(struct index *x)
{
	sqlite3_backup_finish(x->backup);
	sqlite3_close(x->backup_db);
	x->backup = NULL;
	x->backup_db = NULL;
}

static int
snapshot_start(struct index *x, struct err *e)
{
	char path[4096];

	unlinkat(x->dirfd, "index.snap.tmp", 0);
	if ((size_t)snprintf(path, sizeof path, "%s/index.snap.tmp", x->dir) >= sizeof path)
		return err_set(e, -ENAMETOOLONG, "%s", x->dir);
	if (sqlite3_open_v2(path, &x->backup_db,
	        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
	        NULL) == SQLITE_OK)
		x->backup = sqlite3_backup_init(x->backup_db, "main", x->db, "main");
	if (x->backup)
		return 0;
	err_set(e, -EIO, "%s: %s", path, sqlite3_errmsg(x->backup_db));
	snapshot_stop(x);
	return -EIO;
}

static int
snapshot_publish(struct index *x, struct err *e)
{
	int fd = openat(x->dirfd, "index.snap.tmp", O_RDONLY | O_CLOEXEC), r = 0;

	if (fd < 0 || fsync(fd) || renameat(x->dirfd, "index.snap.tmp", x->dirfd, "index.snap") ||
	    fsync(x->dirfd))
		r = err_sys(e, -errno, "%s/index.snap", x->dir);
	if (fd >= 0)
		close(fd);
	if (r)
		return r;
	x->acc.snap_time = clock_real_us() / 1000000;
	x->acc.changes = 0;
	return 0;
}

int
index_snapshot_step(struct index *x, unsigned pages, struct err *e)
{
	int r, rc;

	if ((r = index_need_read(x, e)))
		return r;
	if (x->in_txn)
		return err_set(e, -EINVAL, "%s: snapshot inside a transaction", x->dir);
	if (!x->backup && (r = snapshot_start(x, e)))
		return r;
	rc = sqlite3_backup_step(x->backup, (int)pages);
	if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
		return 1;
	snapshot_stop(x);
	if (rc != SQLITE_DONE)
		return err_set(e, db_errno(rc), "%s/index.snap: error %d", x->dir, rc);
	return snapshot_publish(x, e);
}
