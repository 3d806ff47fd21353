/*
 * Chains of ARC (RFC 8617): sets of three fields, numbered from 1, by which those who handled a message
 * on its way say what they found, and seal it.
 */
#ifndef PLUGINS_ARC_CHAIN_H
#define PLUGINS_ARC_CHAIN_H

#include "plugins/dkim/canon.h"
#include "plugins/dkim/record.h"

#define CHAIN_MAX 50                /* sets: section 4.2.1 */
#define CHAIN_FIELD_MAX 16384

enum chain_state { CHAIN_NONE, CHAIN_PASS, CHAIN_FAIL };

/* The fields of one set, or NULL. */
struct chain_set {
	const struct canon_field *results, *message, *seal;
	char domain[254];           /* of the seal, lower case; empty when it has none */
};

struct chain {
	struct chain_set set[CHAIN_MAX + 1]; /* from 1 on */
	unsigned n;
	enum chain_state state;
	const char *why;            /* static text: why it fails; else "" */
	unsigned set_wrong;         /* which set it fails at; 0: the chain as such */
};

const char *chain_state_name(enum chain_state s);
/* Validates the chain of a message (section 5.2). */
void chain_verify(const struct canon_message *m, verify_key_fn *key, void *arg, struct chain *ret);

/* Feeds the fields of sets 1 to n - 1, then of set n all but its seal: what a seal covers (section
 * 5.1.1) in front of itself. */
void chain_feed(EVP_MD_CTX *md, const struct chain *c, unsigned n);

/* The DMARC result that the first set claims: "pass", "fail", or "". */
const char *chain_dmarc(const struct chain *c);

#endif
