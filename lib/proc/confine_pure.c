/*
 * Pure programs (mimed, submitd, bounced, piped): they compute on what channels and
 * descriptors bring, and have no need of a file or a connection; what every kind may do
 * is nearly all they may do.
 */
#include <seccomp.h>
#include <stdbool.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

static const struct confine_call calls[] = {
	ALLOW(alarm), /* mimed's limit of time for a message */
};

const struct confine_table confine_pure = { calls, sizeof calls / sizeof *calls, .chroot = true };
