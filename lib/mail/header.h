/*
 * Header fields (RFC 5322 section 2.2), walked in place. Lines end in LF, with or
 * without CR before it. A line that is no field (no colon, a blank in the name, an
 * mbox "From " line) is handed out too, without a name, so that no byte is lost.
 */
#ifndef LIB_MAIL_HEADER_H
#define LIB_MAIL_HEADER_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"

struct header_field {
	struct str name;  /* without blanks; empty: not a field */
	struct str raw;   /* after the colon, still folded, without the last line end */
	struct str whole; /* all of it, last line end included */
};

/* Cuts the next field off *rest. False at the empty line (*rest then begins with
 * it) and at the end of the bytes (*rest is empty). */
bool header_next(struct str *rest, struct header_field *ret);
/* The first field of that name: its raw value; false when there is none. */
bool header_find(struct str header, struct str name, struct str *ret_raw);

/* The length of the empty line that s begins with: 0, 1 or 2. */
size_t header_blank(struct str s);

/* The value as one line: line ends taken out (RFC 5322 section 2.2.3), NULs and
 * stray CRs too, blanks around it trimmed. Borrowed from raw when there was
 * nothing to take out, else from the arena (p NULL at its limit). */
struct str header_unfold(struct str raw, struct arena *a);

#endif
