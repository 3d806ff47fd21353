/*
 * The messages of a set in ascending order with their stored facts, asked of the store
 * in batches of half a megabyte, so that listing a mailbox costs one call for hundreds of
 * messages. Numbers stay good while a call waits, since no message is announced as new or
 * gone before the command ends; positions in the box do not.
 */
#ifndef IMAPD_ROWS_H
#define IMAPD_ROWS_H

#include "imapd/imap.h"
#include "imapd/view.h"

struct rows {
	struct imap *c;
	const struct seq_set *set;
	unsigned want;             /* FACT_*; 0: no facts */
	struct arena *ar;          /* of the batch */
	size_t range;
	uint32_t seq;              /* the next one; 0: the range's first */
	struct store_fact *v;
	size_t n, i;
	uint32_t covered;          /* UIDs up to here are in the batch or gone */
};

struct row {
	uint32_t seq, uid;
	const struct store_fact *fact; /* until the next row; NULL: gone, or none wanted */
};

/* set: resolved numbers of the view; stays the caller's. 0 or -ENOMEM. */
int rows_begin(struct rows *r, struct imap *c, const struct seq_set *set, unsigned want);
/* 1 and the next message, 0 at the end, or a negative code of the store. */
int rows_next(struct rows *r, struct row *ret, struct wire_error *we);
void rows_end(struct rows *r);

/* Adds a number to ascending ranges in the arena, behind all others. 0 or -ENOMEM. */
int seq_set_add(struct seq_set *s, uint32_t seq, struct arena *ar);

#endif
