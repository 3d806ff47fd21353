/*
 * Macros of SPF (RFC 7208 section 7): checked by their grammar, and expanded with the facts of
 * one evaluation.
 */
#ifndef PLUGINS_SPF_MACRO_H
#define PLUGINS_SPF_MACRO_H

#include "plugins/plugin.h"

/* What macros stand for. Strings without a NUL inside. */
struct spf_facts {
	struct ph_str sender, local, sender_domain; /* s, l, o */
	struct ph_str domain;                       /* d: the current one */
	struct ph_str helo;                         /* h */
	struct ph_str host;                         /* r: our own name */
	const unsigned char *ip;                    /* i, c, v: 4 or 16 bytes */
	unsigned ip_len;
	uint64_t now;                               /* t: seconds since 1970 */
	struct ph_str validated;                    /* p: a name, or "unknown" */
};

/* Whether s is a macro-string; in explanations blanks and the letters c, r and t are allowed too.
 * 0 or -EINVAL. *ret (may be NULL): where what follows the last macro begins. */
int spf_macro_check(struct ph_str s, int explanation, size_t *ret);

/* Whether the macro letter (lower case) occurs in s, which was checked. */
int spf_macro_uses(struct ph_str s, char letter);

/* Expands s, which was checked, into buf; the length, or -EMSGSIZE when it does not fit. */
int spf_macro_expand(struct ph_str s, const struct spf_facts *f, char *buf, size_t size);

#endif
