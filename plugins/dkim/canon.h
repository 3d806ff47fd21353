/*
 * A message as signatures of DKIM and ARC see it (RFC 6376 section 3.4): its fields, its body, and
 * the hashes of their canonical forms.
 */
#ifndef PLUGINS_DKIM_CANON_H
#define PLUGINS_DKIM_CANON_H

#include <openssl/evp.h>

#include "plugins/plugin.h"

#define CANON_FIELDS_MAX 1000
#define CANON_HEADER_MAX (128u << 10)
#define CANON_HASH 32               /* bytes: SHA-256 */

enum canon_form { CANON_SIMPLE, CANON_RELAXED };

struct canon_field {
	struct ph_str name;         /* without blanks around it */
	struct ph_str whole;        /* name, colon and value, without the last CRLF */
	struct ph_str value;        /* behind the colon, still folded */
};

struct canon_message {
	struct canon_field fields[CANON_FIELDS_MAX];
	unsigned n;
	struct ph_str body;
};

/* Takes a message apart (lines ended by CRLF), without a copy: 0, or -1: its header has more than
 * CANON_FIELDS_MAX fields or CANON_HEADER_MAX bytes. Lines that are no fields are left out. */
int canon_split(struct ph_str message, struct canon_message *ret);

/* Feeds a field in its canonical form; `end`: with CRLF behind it. */
void canon_header(EVP_MD_CTX *md, struct ph_str field, enum canon_form form, int end);
/* The hash of a body: 0, or -1. */
int canon_body(struct ph_str body, enum canon_form form, unsigned char ret[CANON_HASH]);

/* The fields that a list of names signs, each name the lowest of that name that was not taken
 * before; names without one are passed over (RFC 6376 section 5.4.2). `names` is separated by
 * colons and may be folded. */
void canon_signed(EVP_MD_CTX *md, const struct canon_message *m, struct ph_str names,
    enum canon_form form);

/* The field with the value of its tag `b` left out (section 3.5): fed without CRLF behind it. */
void canon_without_b(EVP_MD_CTX *md, struct ph_str field, enum canon_form form);

#endif
