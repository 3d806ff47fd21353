/*
 * Who owns a part of the store: at most one process at a time, each owner with a
 * higher epoch than the one before (a fencing token). On one machine a lease is a
 * locked file; a cluster's back end keeps it elsewhere. An owner that finds its
 * lease gone stops answering at once.
 */
#ifndef MAILDIR_LEASE_H
#define MAILDIR_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

struct lease {
	int fd;
	uint64_t epoch;
};

/* Takes the lease `name` under dirfd, waiting up to wait_ms for its owner to go.
 * -EBUSY: somebody has it. */
int lease_take(int dirfd, const char *name, unsigned wait_ms, struct lease *ret, struct err *e);
/* Whether it is still ours. */
bool lease_held(const struct lease *l);
void lease_drop(struct lease *l);

#endif
