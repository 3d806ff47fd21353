/*
 * fetchd: makes TCP connections to web servers, and writes the files that it had open before.
 * It opens none, and can neither listen nor use another kind of socket.
 */
#include <seccomp.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

static const struct confine_call calls[] = {
	ALLOW_SOCKET(AF_INET, SOCK_STREAM), ALLOW_SOCKET(AF_INET6, SOCK_STREAM),
	ALLOW(connect), ALLOW(fdatasync),
};

const struct confine_table confine_fetch = { calls, sizeof calls / sizeof *calls, .chroot = true,
	.connects = true };
