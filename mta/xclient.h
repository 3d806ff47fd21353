/*
 * What trusted proxies say: XCLIENT, who the client of the session is, and XFORWARD, whose
 * the next message is.
 *
 *	XCLIENT NAME=host ADDR=192.0.2.1 LOGIN=[UNAVAILABLE] ...
 *	XFORWARD NAME=host ADDR=192.0.2.1 IDENT=4Xy8 SOURCE=REMOTE ...
 *
 * XFORWARD is for the log and for what is told of a message (behind a content filter); it
 * decides nothing. Values are xtext (RFC 3461 section 4); [UNAVAILABLE] and [TEMPUNAVAIL] say that
 * there is none, for ever or now.
 */
#ifndef MTA_XCLIENT_H
#define MTA_XCLIENT_H

#include "lib/base/arena.h"

enum xclient_attr {
	XCLIENT_NAME,
	XCLIENT_ADDR,     /* "192.0.2.1", "2001:db8::1": a tag "IPV6:" is taken off */
	XCLIENT_PORT,
	XCLIENT_PROTO,    /* "SMTP" or "ESMTP", upper case */
	XCLIENT_HELO,     /* of XFORWARD: printable, else as the client said it */
	XCLIENT_LOGIN,
	XCLIENT_DESTADDR,
	XCLIENT_DESTPORT,
	XCLIENT_IDENT,    /* of XFORWARD: how the proxy's log names the message */
	XCLIENT_SOURCE,   /* of XFORWARD: "LOCAL" or "REMOTE" */
	XCLIENT_ATTRS
};

enum xclient_command { XCLIENT_COMMAND = 1, XFORWARD_COMMAND = 2 };

struct xclient {
	bool given[XCLIENT_ATTRS];
	struct str v[XCLIENT_ATTRS]; /* decoded; empty: not available */
};

/* What EHLO says of it. */
#define XCLIENT_EHLO "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
#define XFORWARD_EHLO "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"

/* The command's arguments, over what *x holds already. 0, or -EINVAL and *ret_attr: what was
 * wrong; *x is as it was then. Strings are in the arena. Every value is checked for its kind:
 * addresses are addresses, ports below 65536. */
int xclient_parse(enum xclient_command command, struct str args, struct arena *a,
    struct xclient *x, struct str *ret_attr);

#endif
