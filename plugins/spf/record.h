/*
 * SPF records (RFC 7208 section 12): a record is cut into its terms one by one, without
 * memory of its own; every term is checked against the whole grammar, macros included, so
 * that spf_record_check() finds an error anywhere before anything is evaluated (section 4.6).
 */
#ifndef PLUGINS_SPF_RECORD_H
#define PLUGINS_SPF_RECORD_H

#include "plugins/plugin.h"

/* RFC 7208 section 2.6. */
enum spf_result {
	SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR,
	SPF_RESULTS
};
/* "none" ... "permerror". Static. */
const char *spf_result_name(enum spf_result r);

enum spf_kind {
	SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS, /* mechanisms */
	SPF_REDIRECT, SPF_EXP, SPF_OTHER,                                           /* modifiers */
};

struct spf_term {
	enum spf_kind kind;
	enum spf_result result; /* of a mechanism that matches: by its qualifier */
	struct ph_str text;     /* the whole term */
	struct ph_str domain;   /* the domain-spec, macros unexpanded; empty: the current domain */
	unsigned bits4, bits6;  /* prefix lengths of a, mx, ip4, ip6; 32 and 128 when none was given */
	unsigned char ip[16];   /* of ip4 (4 bytes) and ip6 */
};

/* Whether a TXT record is an SPF record of version 1 (section 4.5); *ret is what follows. */
int spf_record_is(struct ph_str txt, struct ph_str *ret);

/* Cuts the next term off *rest. 1, 0: there is none, or -EINVAL: a syntax error; ret->text says
 * where. */
int spf_term_next(struct ph_str *rest, struct spf_term *ret);

/* Reads all terms of a record. 0, or -EINVAL with *ret the term that is wrong: no term, or redirect
 * or exp a second time (section 6). */
int spf_record_check(struct ph_str terms, struct ph_str *ret);

#endif
