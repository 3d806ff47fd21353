/* The recipients of an envelope that one accepted address becomes. */
#ifndef LIB_ACCEPT_RCPT_H
#define LIB_ACCEPT_RCPT_H

#include "lib/client/auth.h"

/*
 * Appends the deliveries of who (ACCOUNT, NOT_LOCAL, LIST) to e, whose array holds
 * *cap recipients and is moved within the arena when it is full. said: what the client
 * asked for (notify, orcpt). All get the same `original`, by which they can be told
 * from those of the next address (its pointer is the address's own).
 *
 * Of what the client asked for, RFC 3461 section 5.2.7: a copy with a sender of its own
 * gets nothing. When one other is left it gets all; when there are several they get all but
 * SUCCESS. Who asked for SUCCESS is told "expanded" then, and "delivered" when all copies
 * have senders of their own: a recipient is added for that (EXPANDED_*).
 *
 * 0 or -ENOMEM (e is as it was).
 */
int accept_rcpt(struct envelope *e, size_t *cap, const struct resolve_answer *who,
    struct str original, const struct envelope_rcpt *said, struct arena *a);

#endif
