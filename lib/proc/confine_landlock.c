/*
 * Landlock (Linux 5.13 and newer): no file may be touched but below the given
 * paths, and, where the kernel knows how to say so, no TCP port be bound or
 * connected, but by kinds that connect. libc has no wrappers, hence system calls by number.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

#ifdef HAVE_LINUX_LANDLOCK_H
#include <linux/landlock.h>

/* The kernel's bits by version; headers older than the kernel lack the later. */
#define FS_V1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)    /* version 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14) /* version 3 */
#define FS_IOCTL (UINT64_C(1) << 15)    /* version 5 */
#define FS_EXECUTE UINT64_C(1)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define NET_BOTH UINT64_C(3) /* version 4 */

struct ruleset {
	uint64_t fs, net;
};

static uint64_t
fs_rights(int version)
{
	uint64_t r = FS_V1;

	if (version >= 2)
		r |= FS_REFER;
	if (version >= 3)
		r |= FS_TRUNCATE;
	if (version >= 5)
		r |= FS_IOCTL;
	return r;
}

static int
add_path(int rules, const struct confine_path *p, uint64_t all, struct err *e)
{
	struct landlock_path_beneath_attr a = { .parent_fd = open(p->path, O_PATH | O_CLOEXEC) };
	struct stat st;
	int r;

	if (a.parent_fd < 0 || fstat(a.parent_fd, &st)) {
		r = err_sys(e, -errno, "Landlock: %s", p->path);
		if (a.parent_fd >= 0)
			close(a.parent_fd);
		return r;
	}
	a.allowed_access = p->write ? all & ~FS_EXECUTE : FS_READ_FILE | FS_READ_DIR;
	if (!S_ISDIR(st.st_mode))
		a.allowed_access &= FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE;
	r = (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0);
	r = r < 0 ? err_sys(e, -errno, "Landlock: %s", p->path) : 0;
	close(a.parent_fd);
	return r;
}

int
confine_landlock(const struct confine_path *paths, bool connects, struct err *e)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION), rules, r = 0;
	struct ruleset set;

	if (version < 1)
		return 0;
	set = (struct ruleset){ fs_rights(version), version >= 4 && !connects ? NET_BOTH : 0 };
	rules = (int)syscall(SYS_landlock_create_ruleset, &set,
	    version >= 4 ? sizeof set : sizeof set.fs, 0);
	if (rules < 0)
		return err_sys(e, -errno, "Landlock");
	for (; !r && paths && paths->path; paths++)
		r = add_path(rules, paths, set.fs, e);
	if (!r && syscall(SYS_landlock_restrict_self, rules, 0))
		r = err_sys(e, -errno, "Landlock");
	close(rules);
	return r ? r : version;
}
#else
int
confine_landlock(const struct confine_path *paths, bool connects, struct err *e)
{
	return 0;
}
#endif
