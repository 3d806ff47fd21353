/*
 * Who else gets a message: always-bcc, sender-bcc and recipient-bcc of the block route.
 * Copies are recipients like others, but nobody is told of what becomes of them.
 */
#ifndef LIB_ACCEPT_COPIES_H
#define LIB_ACCEPT_COPIES_H

#include "lib/client/auth.h"
#include "lib/conf/settings.h"

#define ACCEPT_COPIES_MAX 100 /* addresses that one message is copied to */

/* Addresses, each once whatever its case. */
struct accept_copies {
	struct str v[ACCEPT_COPIES_MAX];
	size_t n;
};
/* False: full. */
bool accept_copies_add(struct accept_copies *c, struct str address);

/* What the settings say of a message with this envelope, added to *c. 0; negative:
 * nobody can say now. */
int accept_copies_find(const struct settings *s, const struct envelope *e, struct arena *a,
    struct accept_copies *c);

/* Looks an address up and appends its deliveries, with NOTIFY=NEVER, to e, whose array
 * holds *cap. The number of them (0: nobody has that name), or negative. */
int accept_copies_rcpt(struct envelope *e, size_t *cap, struct str address, struct arena *a);

#endif
