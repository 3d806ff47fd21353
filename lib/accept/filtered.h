/*
 * Plugins and a whole message: asks them one after the other, each about the message as
 * those before it have left it.
 */
#ifndef LIB_ACCEPT_FILTERED_H
#define LIB_ACCEPT_FILTERED_H

#include "lib/client/filter.h"

/* A message with a plugin's edits of header and body made, appended to out. Edits of fields that are
 * not there are passed over. body: what a FILTER_BODY_SET that came as a descriptor stands for. */
void filtered_edit(struct str message, const struct filter_edit *edits, size_t n, struct str body,
    struct buf *out);

/* Asks the plugins of s about the message in *message (owned; edits put another in its
 * place), whose envelope *env is edited too: recipients in a copy of their array, in a. Returns what
 * they say; FILTER_DISCARD too when no recipient is left. */
struct filter_verdict filtered_message(const struct settings *c, struct filter_session *s,
    struct filter_txn *t, struct envelope *env, struct buf *message, struct arena *a);

#endif
