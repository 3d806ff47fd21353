/*
 * The mailbox names of an account as LIST and LSUB walk over them: in order, INBOX
 * first, each followed by what is below it. Names that are only subscribed to and
 * levels that are only implied by those are there too.
 */
#ifndef IMAPD_TREE_H
#define IMAPD_TREE_H

#include "lib/client/store.h"

struct tree_node {
	struct str name;      /* UTF-8 */
	struct str wire;      /* modified UTF-7 */
	const char *use;      /* "\Sent": its special use (RFC 6154), or NULL */
	size_t end;           /* the nodes below it are those up to this index, exclusive */
	bool exists;          /* a mailbox, or a level above one */
	bool noselect;
	bool subscribed;
	bool children;        /* something that exists is below it */
};

struct tree {
	struct tree_node *v;
	size_t n;
};

/* From the rows of store_list; false: out of memory. */
bool tree_make(struct tree *t, const struct store_mailbox *m, size_t n, struct arena *ar);

#endif
