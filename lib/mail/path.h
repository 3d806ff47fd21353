/*
 * The paths of SMTP's MAIL FROM and RCPT TO (RFC 5321 section 4.1.2, RFC 6531
 * section 3.3), and addresses as configuration and commands name them.
 */
#ifndef LIB_MAIL_PATH_H
#define LIB_MAIL_PATH_H

#include "lib/base/arena.h"

enum {
	PATH_MAX_LOCAL = 64,    /* octets (RFC 5321 section 4.5.3.1) */
	PATH_MAX_DOMAIN = 255,
	PATH_MAX_PATH = 256,    /* of the address between the brackets, without a route */
};

enum {                      /* what a path may be */
	PATH_UTF8 = 1,          /* 8-bit local parts and domains: SMTPUTF8 was asked for */
	PATH_NULL = 2,          /* "<>" */
	PATH_POSTMASTER = 4,    /* "<Postmaster>" without a domain */
};

struct path {
	bool null;              /* <> */
	bool literal;           /* the domain is an address literal */
	bool utf8;              /* has 8-bit characters: needs SMTPUTF8 to be sent on */
	struct str local;       /* unquoted; case kept */
	struct str domain;      /* lower case, A-labels; a literal as "[192.0.2.1]" or
	                         * "[ipv6:2001:db8::1]"; empty for Postmaster */
	struct str text;        /* local@domain in the one spelling that the house uses: quoted
	                         * only where needed; empty: the null path */
};

/* Reads the path that s begins with ('<' ... '>', a source route inside is read and
 * ignored). 0 and *ret_rest (what follows: parameters); -EINVAL: no path;
 * -ENAMETOOLONG: a limit above; -EILSEQ: 8-bit without PATH_UTF8, or not UTF-8; -EDOM:
 * the domain cannot be a name (IDNA). Strings are in the arena. */
int path_parse(struct str s, unsigned flags, struct arena *a, struct path *ret,
    struct str *ret_rest);
/* The same for a bare address without brackets ("user1@example.test"), whole. */
int path_parse_address(struct str s, unsigned flags, struct arena *a, struct path *ret);
/* Whether s can be the name in EHLO, HELO and LHLO (a domain or an address literal, not
 * looked at closer) and in trace headers. */
bool path_is_host(struct str s);
/* A domain by itself, as `domain` above (no literals). */
int path_domain(struct str s, unsigned flags, struct arena *a, struct str *ret);

#endif
