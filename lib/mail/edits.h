/*
 * Pieces of a text that become others: where, how long, and what stands there instead.
 * In order, without overlaps. So a message is kept as it came and sent on as somebody
 * else is to see it.
 */
#ifndef LIB_MAIL_EDITS_H
#define LIB_MAIL_EDITS_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"

struct edit {
	size_t at, n;       /* bytes of the text as it is */
	struct str text;
};
struct edits {
	struct edit *v;     /* in the arena */
	size_t n, cap;
};

/* at: not before the end of the last one. 0 or -ENOMEM. */
int edits_add(struct edits *e, struct arena *a, size_t at, size_t n, struct str text);
/* Appends the text as it becomes. -EINVAL: the edits are not of this text. */
int edits_apply(const struct edits *e, struct str text, struct buf *out);
/* Where the last edit ends; 0 without any. */
size_t edits_end(const struct edits *e);

/* As bytes, for the envelope. The strings of what is read point into body. */
void edits_put(struct buf *b, const struct edits *e);
int edits_get(struct str body, struct arena *a, struct edits *ret);

#endif
