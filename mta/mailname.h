/*
 * Names of accounts and domains as the directory keeps them: the local part
 * unquoted and in lower case (the house takes no notice of case, which RFC 5321
 * section 2.4 leaves to the receiver), the domain as lower-case A-labels (RFC
 * 5890), so that every spelling of an address finds the same row.
 */
#ifndef MTA_MAILNAME_H
#define MTA_MAILNAME_H

#include "lib/base/str.h"

#define MAILNAME_LOCAL_MAX 64   /* RFC 5321 section 4.5.3.1.1 */
#define MAILNAME_DOMAIN_MAX 255

struct mailname {
	char local[MAILNAME_LOCAL_MAX + 1]; /* NUL-terminated, without NULs inside */
	char domain[MAILNAME_DOMAIN_MAX + 1]; /* "" when the name had no @ */
};

/* 0; -EINVAL when it cannot be an address. A name without @ is fine: domain is
 * then empty. */
int mailname_parse(struct str address, struct mailname *ret);
/* Only a domain, into out: 0 or -EINVAL. */
int mailname_domain(struct str domain, char out[static MAILNAME_DOMAIN_MAX + 1]);
/* Whether the local part may be given to a new account: RFC 5322 dot-atom or
 * UTF-8 of RFC 6531, so that no client needs quotes. */
bool mailname_plain(const struct mailname *m);

#endif
