/*
 * The mailbox calls of front ends (lib/client/store.h), each a job of its
 * account's actor: one table row and one step a call. A call that changes
 * something is answered after the group sync that covers it; flags, unless the
 * settings say otherwise, after the commit.
 */
#ifndef MAILDIR_CALLS_H
#define MAILDIR_CALLS_H

#include "lib/client/store_wire.h"
#include "maildir/actor.h"

/* Once: whether a change of flags is answered after its sync, not before. */
void calls_flags_durable_now(bool on);
/* Posts the call that frame f of handle h asks for. Takes the arena (which has q's
 * strings) and f's descriptor when it returns 0; answers later. */
int call_post(struct handle *h, const struct frame *f, struct arena *a,
    const struct store_request *q);
/* Answers an attach when the account is open and has taken in what came. */
int call_attach(struct handle *h, uint64_t id, uint16_t type);
/* Takes in an account's new/, for nobody. */
void call_sweep(struct actors *as, struct volume_seat *seat, uint64_t account);

#endif
