/* Making a DKIM-Signature field (RFC 6376 section 3.5) with OpenSSL over our own canonical form: keys
 * are parsed once, and a body is hashed once for several signatures. */
#ifndef PLUGINS_DKIM_SIGN_H
#define PLUGINS_DKIM_SIGN_H

#include "plugins/dkim/canon.h"
#include "plugins/dkim/keys.h"

#define SIGN_FIELD_MAX 8192
#define SIGN_NAMES_MAX 100

struct sign_rules {
	enum canon_form header, body;
	/* Fields that are signed where they are there; those that are also signed once more than
	 * they are there, so that none can be added. From is always both. */
	struct ph_str sign[SIGN_NAMES_MAX], over[SIGN_NAMES_MAX];
	unsigned n_sign, n_over;
	uint64_t lifetime;          /* seconds; 0: the signature does not expire */
};

/* The value of the field, folded, NUL-terminated. Its length, or -1: it does not fit or the
 * key cannot sign. `body` is the body's hash in the rules' form, `now` seconds since 1970. */
long sign_field(const struct canon_message *m, const struct sign_rules *r, const struct keys_one *key,
    const unsigned char body[CANON_HASH], uint64_t now, char *out, size_t room);

/* The names of a list h= for this message, each as often as it is signed, folded from column `col`
 * on: appended to out. 0 or -1. */
int sign_names(const struct canon_message *m, const struct sign_rules *r, char *out, size_t room, size_t col);

/* Appends base64 text, folded. 0 or -1. */
int sign_fold(char *out, size_t room, const char *b64, size_t col);

#endif
