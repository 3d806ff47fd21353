/*
 * Verifying DKIM signatures (RFC 6376, 8301, 8463) with libopendkim, which gets no more than it can
 * bear: at most `signatures` of them, of a header that is not too long, each looked at before it
 * is handed over. The library never asks for keys itself.
 */
#ifndef PLUGINS_DKIM_VERIFY_H
#define PLUGINS_DKIM_VERIFY_H

#include "plugins/dkim/record.h"

#define VERIFY_SIGNATURES_MAX 50
#define VERIFY_FIELD_MAX 8192       /* bytes of a signature's field */
#define VERIFY_HEADER_MAX (128u << 10)
#define VERIFY_FIELDS_MAX 1000

/* RFC 8601 section 2.7.1. */
enum verify_result {
	VERIFY_NONE, VERIFY_PASS, VERIFY_FAIL, VERIFY_POLICY, VERIFY_NEUTRAL, VERIFY_TEMPERROR,
	VERIFY_PERMERROR, VERIFY_RESULTS,
};
const char *verify_result_name(enum verify_result r);

struct verify_signature {
	enum verify_result result;
	const char *reason;        /* static text; "" with VERIFY_PASS */
	/* As the field has them, without blanks; empty when it has none, or what cannot be one. */
	char domain[254], selector[254], algorithm[32], identity[320];
	char b[9];                 /* the first characters of the signature */
	unsigned bits;             /* of an RSA key; 0: not known */
	int test;                  /* the key's domain is only testing (t=y) */
};

struct verify_rules {
	unsigned signatures;       /* verified at most; the topmost first */
	unsigned min_bits;         /* of an RSA key; 1024 at least (RFC 8301 section 3.2) */
	int length;                /* whether a body length (l=) is put up with */
	uint64_t drift;            /* seconds that clocks may differ */
};

struct verifier;
/* NULL: no memory. Usable from several threads at a time. */
struct verifier *verifier_new(const struct verify_rules *rules);
void verifier_free(struct verifier **v);

/*
 * Verifies the signatures of a message (lines ended by CRLF) into ret, VERIFY_SIGNATURES_MAX of them
 * in the order of the header. Returns how many there are, 0: it is not signed, or -1: no memory. What
 * is beyond the rules is VERIFY_POLICY, without a look at it.
 */
int verify_message(struct verifier *v, struct ph_str message, verify_key_fn *key, void *arg,
    struct verify_signature *ret);

#endif
