/*
 * filterd, of plugins whose block says so: `net` makes connections to others, and may use
 * the files below its paths (Landlock says which); `none` is held by its uid alone.
 */
#include <seccomp.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

static const struct confine_call calls[] = {
	ALLOW_SOCKET(AF_INET, SOCK_STREAM), ALLOW_SOCKET(AF_INET6, SOCK_STREAM),
	ALLOW_SOCKET(AF_INET, SOCK_DGRAM), ALLOW_SOCKET(AF_INET6, SOCK_DGRAM),
	ALLOW_SOCKET(AF_UNIX, SOCK_STREAM), ALLOW_SOCKET(AF_UNIX, SOCK_DGRAM),
	ALLOW(bind), ALLOW(connect),
};

const struct confine_table confine_plugin_net = { calls, sizeof calls / sizeof *calls,
	.connects = true, .also = &confine_store };
const struct confine_table confine_plugin_none = { .open = true };
