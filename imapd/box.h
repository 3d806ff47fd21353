/*
 * A mailbox as this process knows it: packed arrays of UIDs, flags and modseqs,
 * shared by all sessions here that have it selected. Brought up to date by
 * box_sync; what that takes away goes to each attached view as a ghost.
 *
 * A box changes only inside box_sync and box_load, which may yield; code that
 * holds positions across a call that may yield must look them up again by UID.
 */
#ifndef IMAPD_BOX_H
#define IMAPD_BOX_H

#include "lib/base/list.h"
#include "lib/client/store.h"

struct box {
	uint64_t account;
	uint32_t mailbox;
	unsigned refs;
	uint32_t uidvalidity, uidnext, first_recent;
	uint64_t modseq;
	size_t n, cap;
	uint32_t *uid, *flags;
	uint64_t *mod;
	struct str *keywords;    /* each in memory of its own */
	size_t n_keywords;
	struct view_more *more;  /* rare keywords, ascending (uid, keyword) */
	size_t n_more, cap_more;
	struct list views;       /* struct view.link */
	bool busy;               /* somebody is in box_sync */
	struct list waiting;
	struct list link;
};

/* The box of a mailbox, loaded if nobody here has it: a reference in *ret. A
 * negative code as of store_select. When claim is given, messages that nobody has
 * been told of become the caller's: *ret_recent is where they begin. */
int box_open(struct store_account *a, uint64_t account, uint32_t mailbox, bool claim,
    struct arena *ar, struct box **ret, uint32_t *ret_recent, struct wire_error *we);
void box_ref(struct box *b);
/* The store was lost: what the boxes of this account hold may not be so. Who has one
 * keeps it until its view is frozen; the next box_open loads anew. */
void box_lose(uint64_t account);
void box_unref(struct box **b);

/* Asks the store what changed. claim as above. */
int box_sync(struct box *b, struct store_account *a, bool claim, struct arena *ar,
    uint32_t *ret_recent, struct wire_error *we);

/* Position of the first message with this UID or a higher one: 0..n. */
size_t box_lower(const struct box *b, uint32_t uid);
/* The same in any n ascending UIDs. */
size_t uid_lower(const uint32_t *v, size_t n, uint32_t uid);
/* Position of a UID, or -1. *hint (may be NULL) is looked at first and set. */
ptrdiff_t box_find(const struct box *b, uint32_t uid, size_t *hint);
/* Index of a keyword (ASCII case folded), or -1. */
ptrdiff_t box_keyword(const struct box *b, struct str name);
/* Whether the message at pos has keyword k. */
bool box_has_keyword(const struct box *b, size_t pos, size_t k);

#endif
