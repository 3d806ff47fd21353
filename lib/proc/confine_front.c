/*
 * Fronts (smtpd, imapd): they accept connections on listeners that the master
 * made, and talk to the house over channels. They neither open files nor make
 * sockets, so a hijacked one can only use what it holds.
 */
#include <seccomp.h>
#include <stdbool.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

static const struct confine_call calls[] = {
	ALLOW(accept),
};

const struct confine_table confine_front = { calls, sizeof calls / sizeof *calls, .chroot = true };
