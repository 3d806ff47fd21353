/*
 * Addresses in header fields that become others: From, Sender, Reply-To and the like by
 * the rules for senders, To, Cc and the like by those for recipients, all of them by
 * those of mail that leaves.
 */
#ifndef LIB_ACCEPT_FIELDS_H
#define LIB_ACCEPT_FIELDS_H

#include "lib/conf/settings.h"
#include "lib/mail/edits.h"

/* What becomes of the addresses in the header section: places in header, texts in the
 * arena. Names, comments and line ends around an address are no part of it. generic: on
 * the way out. 0; negative: nobody can say now. */
int fields_rewrite(const struct settings *s, struct str header, bool generic, struct arena *a,
    struct edits *ret);

#endif
