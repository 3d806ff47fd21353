/*
 * The admin's verbs on the store, over maild's control socket (MSG_STORE_ADMIN). An
 * answer may be several frames (control_more); each holds any number of items: a
 * finding of check or rebuild, a count of stat, a mailbox.
 */
#ifndef LIB_CLIENT_STORE_ADMIN_H
#define LIB_CLIENT_STORE_ADMIN_H

#include "lib/client/store.h"

enum store_admin_verb { STORE_ADMIN_STAT = 1, STORE_ADMIN_CHECK, STORE_ADMIN_REBUILD };

struct store_admin {
	enum store_admin_verb verb;
	uint64_t account;       /* 0: STAT of the whole daemon */
	uint32_t volume;
	bool deep;              /* CHECK: the database's own check too */
};
void store_admin_put(struct buf *b, const struct store_admin *r);
int store_admin_get(struct str body, struct store_admin *ret);

struct store_item {
	enum store_item_kind { STORE_FINDING = 1, STORE_COUNT, STORE_BOX } kind;
	struct str name;        /* what was found; what is counted; the mailbox */
	struct str mailbox;     /* of a finding; empty: none */
	uint32_t uid;
	struct str path, text;  /* path: below the account's directory */
	uint64_t value;         /* of a count */
	struct store_mailbox box; /* total, unseen, bytes, uidnext, uidvalidity */
};
void store_item_put(struct buf *b, const struct store_item *i);
/* The next item of a frame: 1, 0 at the end, -EPROTO. Strings point into body. */
int store_item_next(struct str *body, struct store_item *ret);

#endif
