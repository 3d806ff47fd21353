/*
 * Pure programs (mimed, submitd): they compute on what channels and descriptors
 * bring, and have no need of a file or a connection; what every kind may do is
 * all they may do.
 */
#include <stdbool.h>

#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"

const struct confine_table confine_pure = { NULL, 0, .chroot = true };
