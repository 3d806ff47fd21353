/*
 * A mailbox as packed arrays in a sealed memfd: what maild hands to a front end
 * that selects a mailbox. Both sides run on one machine, so integers are in the
 * machine's own order and the front end uses the arrays in place, after
 * view_check() has said that they lie inside the mapping.
 *
 *	struct view_head
 *	uint64_t mod[n]          modseq of each message
 *	uint32_t uid[n]          ascending
 *	uint32_t flags[n]        F_* of lib/client/store.h
 *	struct { uint32_t uid, keyword; } more[n_more]     ascending
 *	n_keywords times: uint16_t length | bytes           the mailbox's keywords
 */
#ifndef LIB_CLIENT_VIEW_H
#define LIB_CLIENT_VIEW_H

#include <stddef.h>
#include <stdint.h>

#define VIEW_MAGIC 0x31564850u /* "PHV1" */

struct view_head {
	uint32_t magic;
	uint32_t uidvalidity, uidnext, first_recent;
	uint64_t modseq;
	uint32_t n, n_more, n_keywords;
	uint32_t keywords_len; /* bytes of the keyword part */
};

/* Whole size of a view with those numbers; 0 when it cannot be. */
static inline size_t
view_size(const struct view_head *h)
{
	if (h->magic != VIEW_MAGIC)
		return 0;
	return sizeof *h + (size_t)h->n * 16 + (size_t)h->n_more * 8 + h->keywords_len;
}

static inline uint64_t *
view_mod(const struct view_head *h)
{
	return (uint64_t *)(h + 1);
}

static inline uint32_t *
view_uid(const struct view_head *h)
{
	return (uint32_t *)(view_mod(h) + h->n);
}

static inline uint32_t *
view_flags(const struct view_head *h)
{
	return view_uid(h) + h->n;
}

/* Pairs of uid, keyword. */
static inline uint32_t *
view_more_pairs(const struct view_head *h)
{
	return view_flags(h) + h->n;
}

static inline unsigned char *
view_keywords(const struct view_head *h)
{
	return (unsigned char *)(view_more_pairs(h) + (size_t)h->n_more * 2);
}

#endif
