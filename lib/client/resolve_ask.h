/*
 * Questions of the command line to authd: where would mail for an address go? Blocking, over the
 * control socket. And the words in which people are told.
 */
#ifndef LIB_CLIENT_RESOLVE_ASK_H
#define LIB_CLIENT_RESOLVE_ASK_H

#include "lib/client/auth.h"
#include "lib/client/control.h"

/* As auth_resolve: 0 and *ret (strings in a), or negative and e says why. */
int resolve_ask(struct control *authd, struct str address, struct str sender, struct arena *a,
    struct resolve_answer *ret, struct err *e);

/* One word for the kind: "account", "unknown user", "remote", "disabled", "list", "refused". */
const char *resolve_word(enum resolve_kind kind);
/* Where delivery i of the answer goes, such as "mailbox user1@example.test", "relay to MX of
 * example.org", "relay to [192.0.2.1]:25", "pipe |/usr/bin/prog". */
void resolve_way_put(struct buf *b, const struct resolve_answer *r, size_t i);

#endif
