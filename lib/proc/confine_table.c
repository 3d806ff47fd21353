/*
 * tabled: makes connections to databases, over TCP and UNIX sockets, and reads the files that
 * their client libraries need (certificates). It can neither listen nor write files. The
 * sockets of local servers lie anywhere, hence no empty root; Landlock, where the kernel
 * has it, leaves the files under its paths.
 */
#include <fcntl.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

static const struct confine_call calls[] = {
	ALLOW_SOCKET(AF_INET, SOCK_STREAM), ALLOW_SOCKET(AF_INET6, SOCK_STREAM),
	ALLOW_SOCKET(AF_UNIX, SOCK_STREAM),
	ALLOW(connect),
	ALLOW_MASK(open, 1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY),
	ALLOW_MASK(openat, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY),
	ALLOW(stat), ALLOW(lstat), ALLOW(newfstatat), ALLOW(statx),
	ALLOW(access), ALLOW(faccessat), ALLOW(faccessat2), ALLOW(readlink), ALLOW(getcwd),
	ALLOW(getdents64),
};

const struct confine_table confine_table = { calls, sizeof calls / sizeof *calls, .chroot = false,
	.connects = true };
