/*
 * relayd: makes TCP connections to other machines, from an address that the settings may
 * name. It opens no files, and can neither listen nor use another kind of socket.
 */
#include <seccomp.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

static const struct confine_call calls[] = {
	ALLOW_SOCKET(AF_INET, SOCK_STREAM), ALLOW_SOCKET(AF_INET6, SOCK_STREAM),
	ALLOW(bind), ALLOW(connect),
};

const struct confine_table confine_relay = { calls, sizeof calls / sizeof *calls, .chroot = true,
	.connects = true };
