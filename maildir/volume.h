/*
 * A volume: one file system's part of the store, store/<number>/, as one maild
 * sees it. One descriptor of it is held for life, from which every path is
 * walked, and which the group sync syncs.
 *
 * The group sync. Whoever has changed something and needs it durable hangs a
 * struct sync_wait on the volume; a thread syncs the whole file system (syncfs,
 * then fsync of one file of the group) and calls every waiter that was there
 * before the sync began. While one sync runs the next group gathers: no timer
 * delays a lone waiter. Waiters that can wait (flags) join the next group, or
 * make one of their own after a second.
 *
 * Any error fails the volume: the waiters get it, and from then on every call
 * gives -EIO; the owner loses all that it has open there. volume_revive tries the
 * disk anew, under a new run.
 *
 * The run. After an unclean stop (no clean mark of this maild, of the same number
 * of mailds) the volume has a fresh run id, and every account opened under
 * another run recovers first. Files, per maild instance N: `run.N` (the mark),
 * `ledger.N` (maildir/ledger.h), `lease.N`; and `ballast`, given up when the disk
 * is full, so that there is room to expunge.
 */
#ifndef MAILDIR_VOLUME_H
#define MAILDIR_VOLUME_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/list.h"
#include "maildir/blob.h"
#include "maildir/ledger.h"

struct volume;

enum {
	VOLUME_BALLAST = 8 << 20,
	VOLUME_LOW = 16 << 20,      /* free bytes below which nothing new is taken */
	VOLUME_SOON_MS = 1000,
	VOLUME_REVIVE_MS = 30 * 1000,
	VOLUME_DIR_MAX = 64,        /* bytes of an account's path, NUL included */
};

struct volume_options {
	const char *store_dir;
	uint32_t number;
	unsigned instance, instances; /* of maild */
	const struct blob_ops *blob;  /* NULL: files */
	void *blob_user;
};

/* Makes the directory if need be, takes the lease, decides the run, marks it as
 * running, empties tmp/ of this instance's drafts, starts the sync thread. */
int volume_open(const struct volume_options *o, struct volume **ret, struct err *e);
/* Stops the thread after a last sync. clean: everything is closed and settled: the
 * run may go on next time. */
void volume_close(struct volume **v, bool clean);

uint32_t volume_number(const struct volume *v);
const char *volume_path(const struct volume *v);
struct blob_store *volume_blobs(struct volume *v);
struct ledger *volume_ledger(struct volume *v);
uint64_t volume_run(const struct volume *v);
/* Whether this run began after an unclean stop. */
bool volume_was_unclean(const struct volume *v);

struct sync_wait {
	struct list link;
	int fd;       /* a file of what is to be durable (the waiter's), or -1 */
	/* On the sync thread; must not block. result: 0, or why it is not durable. */
	void (*fn)(struct sync_wait *w, int result);
};
void volume_sync(struct volume *v, struct sync_wait *w);
void volume_sync_soon(struct volume *v, struct sync_wait *w);
/* Called on the sync thread after the waiters of a group: to send what they gathered. */
void volume_on_group(struct volume *v, void (*fn)(void *arg), void *arg);

/* 0, or the error that failed it. */
int volume_failed(const struct volume *v);
/* Fails it from outside (an index reports an I/O error, a lease is gone). */
void volume_fail(struct volume *v, int code);
/* Called once when it fails, on whatever thread. */
void volume_on_fail(struct volume *v, void (*fn)(void *arg, int code), void *arg);
/* Tries a failed volume: a new run begins when a file can be written and synced. May
 * block; one at a time. */
int volume_revive(struct volume *v, struct err *e);

/* Whether n more bytes may be taken in. 0; -ENOSPC (low); -EIO (failed). Cheap: the
 * figure is at most a second old. */
int volume_fits(struct volume *v, uint64_t n);
/* The same before something is taken in: gives the ballast up when the volume is low,
 * makes it anew when there is room again. */
int volume_room(struct volume *v, uint64_t n);
uint64_t volume_free(const struct volume *v);

/* The path of an account's directory, relative to the volume: "<shard>/<id>". */
void volume_account_dir(uint64_t account, char out[static VOLUME_DIR_MAX]);
/* Makes it, with new/, cur/ and tmp/. */
int volume_make_account(struct volume *v, const char *dir, struct err *e);

#endif
