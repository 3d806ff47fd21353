/*
 * Keepers of files (queued, maild, authd): they read and write below their own
 * paths (Landlock and the uid say which) and have no network.
 */
#include <fcntl.h>
#include <seccomp.h>
#include <stdbool.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

static const struct confine_call calls[] = {
	/* names */
	ALLOW(open), ALLOW(openat), ALLOW(openat2), ALLOW(creat),
	ALLOW(stat), ALLOW(lstat), ALLOW(newfstatat), ALLOW(statx),
	ALLOW(access), ALLOW(faccessat), ALLOW(faccessat2),
	ALLOW(readlink), ALLOW(readlinkat), ALLOW(getcwd),
	ALLOW(mkdir), ALLOW(mkdirat), ALLOW(rmdir),
	ALLOW(unlink), ALLOW(unlinkat),
	ALLOW(rename), ALLOW(renameat), ALLOW(renameat2),
	ALLOW(link), ALLOW(linkat),
	ALLOW(getdents64), ALLOW(umask),
	/* content and what is known about it */
	ALLOW(fsync), ALLOW(fdatasync), ALLOW(syncfs), ALLOW(sync_file_range),
	ALLOW(fallocate), ALLOW(truncate), ALLOW(fadvise64), ALLOW(readahead),
	ALLOW(copy_file_range), ALLOW(fchmod), ALLOW(utimensat),
	ALLOW(fchown), /* SQLite under uid 0; without capabilities it gives nothing away */
	ALLOW(statfs), ALLOW(fstatfs), ALLOW(flock), ALLOW(msync),
	/* file locks: SQLite's, and those of descriptions */
	ALLOW_ARG(fcntl, 1, F_GETLK), ALLOW_ARG(fcntl, 1, F_SETLK), ALLOW_ARG(fcntl, 1, F_SETLKW),
	ALLOW_ARG(fcntl, 1, F_OFD_GETLK), ALLOW_ARG(fcntl, 1, F_OFD_SETLK),
	ALLOW_ARG(fcntl, 1, F_OFD_SETLKW),
};

const struct confine_table confine_store = { calls, sizeof calls / sizeof *calls, .chroot = false };
