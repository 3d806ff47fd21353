/*
 * The upkeep of an open account that has nothing else to do: `delivered` rows that
 * queued needs no more, old tombstones, the snapshot when it is due, memory given
 * back. A job that goes to the end of the account's queue after each slice; few run
 * at once.
 */
#ifndef MAILDIR_UPKEEP_H
#define MAILDIR_UPKEEP_H

#include "maildir/actor.h"

enum { UPKEEP_AT_ONCE = 2 };

/* Posts the upkeep of an account that has been idle (actors_quiet names it). False: as
 * many as may be are at work; ask again later. On the loop's thread. */
bool upkeep_post(struct actors *as, struct volume_seat *seat, uint64_t account);

#endif
