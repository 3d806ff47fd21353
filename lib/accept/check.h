/*
 * The rules of the block checks, on a message as it streams in. The header section comes
 * whole (check_header), the rest in pieces (check_body), which may end anywhere. Lines that
 * no rule changes go on as they are, byte for byte.
 *
 * The structure of the body is followed as far as it takes to tell header fields of parts
 * and of messages inside from text: boundaries of multiparts and message/rfc822.
 */
#ifndef LIB_ACCEPT_CHECK_H
#define LIB_ACCEPT_CHECK_H

#include "lib/accept/accept.h"
#include "lib/accept/copies.h"

struct check;

/* What the rules want of the message as a whole. */
struct check_result {
	struct accept_verdict verdict;  /* smtp 0: none; 250: discarded */
	bool hold;
	struct str redirect;            /* or empty */
	struct accept_copies copies;
};

/* Whether there is a rule at all for such a message. */
bool check_wanted(const struct accept_request *r);
/* In the arena; r's settings, env and note must outlive it. NULL without memory. */
struct check *check_new(const struct accept_request *r, struct arena *a);
const struct check_result *check_result(const struct check *c);

/* Appends the header section, its empty line included, as it becomes. *ret_same: nothing
 * became anything else. 0, or -ENOMEM. A verdict is in the result. */
int check_header(struct check *c, struct str header, struct buf *out, bool *ret_same);
/* Whether the body has to be looked at, once the header was. */
bool check_has_body(const struct check *c);
/* Appends a piece of the body as it becomes; last: it is the last one, and what was held
 * back goes too. 0, or -ENOMEM. */
int check_body(struct check *c, struct str piece, bool last, struct buf *out);

#endif
