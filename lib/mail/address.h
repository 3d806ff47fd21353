/*
 * Address lists of header fields (RFC 5322 section 3.4, with the obsolete forms
 * of section 4.4). The parser never fails: from what is no address list it takes
 * what looks like addresses and says `bad`.
 */
#ifndef LIB_MAIL_ADDRESS_H
#define LIB_MAIL_ADDRESS_H

#include "lib/base/arena.h"

enum { ADDRESS_MAX = 5000 }; /* of one list; the rest is cut off */

enum address_kind { ADDRESS_MAILBOX, ADDRESS_GROUP, ADDRESS_GROUP_END };

struct address {
	enum address_kind kind;
	struct str name;   /* display name, or the comment that stands for it; unquoted, RFC 2047
	                    * words as they are; p NULL: none. Of a group: its name */
	struct str route;  /* "@a,@b" of a source route; p NULL: none */
	struct str local;  /* unquoted */
	struct str domain; /* p NULL: the address had none */
	struct str spec;   /* local@domain where it stands in raw, without brackets, route and what
	                    * surrounds it; p NULL: there is none that could be told */
};
struct addresses {
	struct address *v;
	size_t n;
	bool bad;          /* something was no address */
	bool cut;          /* more than ADDRESS_MAX, or the arena's limit */
};

/* raw may be folded. Strings are in the arena or point into raw. */
void address_parse(struct str raw, struct arena *a, struct addresses *ret);

#endif
