/*
 * Purging an account that was deleted with its mail. Its directory goes to the
 * volume's purge/ in one rename, and its files are removed from there in slices; what
 * a stop leaves in purge/ is removed after the next start. Deliveries that still come
 * are refused (ledger_gone).
 */
#ifndef MAILDIR_PURGE_H
#define MAILDIR_PURGE_H

#include "maildir/actor.h"

/* Posts the purge. It may have happened before: then nothing is done. */
void purge_post(struct actors *as, struct volume_seat *seat, uint64_t account);
/* Goes on with what is left in purge/, at a start. */
void purge_left(struct actors *as, struct volume_seat *seat);

#endif
