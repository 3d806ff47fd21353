/*
 * Messages in the maildrop: what `sendmail` leaves there and pickupd takes in.
 *
 * The maildrop is a directory where any local user may make files and nobody but
 * pickupd may list them: it belongs to pickupd's user and group and has mode 3733.
 * A file there inherits the group, by which pickupd reads it; its owner, which the
 * user cannot choose, is who sent it. So no program needs a privilege.
 *
 * A file is written in one go, then gets the execute bit of its owner, then is synced:
 * one without the bit is not finished. Format (version 1), lines ending in LF:
 *
 *	posthorn-drop 1 CRC         CRC-32C of all that follows, 8 hexadecimal digits
 *	login NAME                  of who sent it, as his program says
 *	sender ADDRESS              empty: the null sender; absent: the login
 *	name FULL NAME              for a From field, when the message has none
 *	rcpt ADDRESS                one or more; without a domain: of this site
 *	notify BITS  ret N  envid TEXT  body N        RFC 3461, as in struct envelope
 *	                            an empty line, then the message, lines ending in CRLF
 *
 * A reader skips lines with a key that it does not know; a change that old readers must
 * not skip gets a new version.
 */
#ifndef LIB_CLIENT_DROP_H
#define LIB_CLIENT_DROP_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

#define DROP_RCPTS 10000         /* recipients of a message */
#define DROP_HEAD_MAX (4u << 20) /* bytes in front of the message */

struct drop {
	bool has_sender;
	struct str sender, name, login;
	struct str *rcpts;
	size_t n_rcpts;
	uint32_t notify, ret, body;
	struct str envid;
	struct str content;
};

void drop_put(struct buf *b, const struct drop *d);
/* Strings point into text. 0; -EPROTO: not a whole file of this format, or a value with a
 * control character; -ENOTSUP: of another version; -E2BIG: too many recipients or
 * too long a head; -ENOMEM. */
int drop_get(struct str text, struct arena *a, struct drop *ret);

/* Writes a file into the maildrop, durably: 0 means that it survives a power cut.
 * Negative: nothing is left there. */
int drop_write(const char *dir, const struct drop *d, struct err *e);

#endif
