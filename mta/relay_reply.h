/*
 * Replies of SMTP and LMTP servers (RFC 5321 section 4.2, RFC 2034), as a client reads
 * them: one line or several, with limits on each, whatever the server sends.
 */
#ifndef MTA_RELAY_REPLY_H
#define MTA_RELAY_REPLY_H

#include <sys/types.h>

#include "lib/base/arena.h"

enum {
	REPLY_LINE_MAX = 2048,  /* bytes of a line, its end included; RFC 5321 asks for 512 */
	REPLY_LINES_MAX = 128,
	REPLY_MAX = 32 << 10,   /* bytes of a reply */
	REPLY_TEXT_MAX = 1000,  /* bytes of the text that is kept for people */
};

struct reply {
	unsigned code;          /* of the last line, 200 to 599 */
	struct str raw;         /* the lines as they came; in the reader's memory */
};

/* Looks for a whole reply at the beginning of in: its length; 0 when more bytes are
 * needed; -EPROTO: no reply; -E2BIG: over a limit. A line may end in LF alone, and may be
 * a code without text. */
ssize_t reply_parse(struct str in, struct reply *ret);

/* Cuts the text of the next line off *raw (without code, separator and line end): false
 * behind the last. The first line of EHLO's reply is a greeting, the others keywords. */
bool reply_line(struct str *raw, struct str *ret_text);

/* The enhanced status code that the last line begins with, when its class is that of the
 * code ("5.1.1"); else empty. Points into raw. */
struct str reply_enhanced(const struct reply *r);
/* The text for people: lines joined by blanks, enhanced codes left out, control and
 * malformed bytes as '?', cut at REPLY_TEXT_MAX. In a; empty without memory. */
struct str reply_text(const struct reply *r, struct arena *a);

static inline unsigned
reply_class(const struct reply *r)
{
	return r->code / 100;
}

#endif
