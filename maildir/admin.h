/* The admin's verbs on an account (lib/client/store_admin.h), each a job of its actor. */
#ifndef MAILDIR_ADMIN_H
#define MAILDIR_ADMIN_H

#include "lib/client/store_admin.h"
#include "maildir/actor.h"

/* Posts the verb that frame f of p asks for; answers later. 0 or negative. */
int admin_post(struct actors *as, struct volume_seat *seat, struct peer *p, const struct frame *f,
    const struct store_admin *q);
/* Answers STAT of the whole daemon. */
void admin_stat_all(struct actors *as, const struct volume_seat *seats, size_t n, struct peer *p,
    const struct frame *f);

#endif
