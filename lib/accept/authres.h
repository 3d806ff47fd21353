/*
 * Authentication-Results (RFC 8601): the field that says what plugins found out about who
 * sent a message, and the fields in our name that others wrote.
 */
#ifndef LIB_ACCEPT_AUTHRES_H
#define LIB_ACCEPT_AUTHRES_H

#include "lib/client/filter.h"

/* Whether the value of such a field names host as the authserv-id (section 2.2: with comments,
 * quoted, in any case; whatever its version, section 2.6). Such a one that came from
 * elsewhere must not be believed (section 5). */
bool authres_names(struct str raw, struct str host);

/* Appends one field, folded, of all notes "auth.METHOD", those of the connection (where the
 * transaction has not one of the same key) before the transaction's. Nothing when there is
 * none. A note's value is one or more resinfo, joined by "; ". */
void authres_put(struct buf *out, struct str host, const struct filter_notes *session,
    const struct filter_notes *txn);

#endif
