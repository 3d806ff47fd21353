/*
 * dnsd: asks name servers, over UDP and TCP. The thread of the resolver's library blocks
 * every signal, so that a call of its that is not listed ends the process (confine.h).
 */
#include <seccomp.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

static const struct confine_call calls[] = {
	ALLOW_SOCKET(AF_INET, SOCK_DGRAM), ALLOW_SOCKET(AF_INET6, SOCK_DGRAM),
	ALLOW_SOCKET(AF_INET, SOCK_STREAM), ALLOW_SOCKET(AF_INET6, SOCK_STREAM),
	ALLOW(bind), ALLOW(connect),
};

const struct confine_table confine_resolve = { calls, sizeof calls / sizeof *calls, .chroot = true,
	.connects = true };
