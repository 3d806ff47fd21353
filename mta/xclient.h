/*
 * The XCLIENT command: a trusted proxy says who its client is.
 *
 *	XCLIENT NAME=host ADDR=192.0.2.1 LOGIN=[UNAVAILABLE] ...
 *
 * Values are xtext (RFC 3461 section 4); [UNAVAILABLE] and [TEMPUNAVAIL] say that
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
	XCLIENT_HELO,
	XCLIENT_LOGIN,
	XCLIENT_DESTADDR,
	XCLIENT_DESTPORT,
	XCLIENT_ATTRS
};

struct xclient {
	bool given[XCLIENT_ATTRS];
	struct str v[XCLIENT_ATTRS]; /* decoded; empty: not available */
};

/* What EHLO says of it. */
#define XCLIENT_EHLO "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

/* 0, or -EINVAL and *ret_attr: what was wrong. Strings are in the arena. Every value
 * is checked for its kind: addresses are addresses, ports below 65536. */
int xclient_parse(struct str args, struct arena *a, struct xclient *ret, struct str *ret_attr);

#endif
