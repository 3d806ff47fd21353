/*
 * Reports about TLS to other domains (RFC 8460): the record by which a domain asks for them, the
 * report as JSON, and the message that carries it.
 */
#ifndef MTA_TLSRPT_H
#define MTA_TLSRPT_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/client/tls_seen.h"

enum { TLSRPT_RUA_MAX = 10, TLSRPT_URI_MAX = 2048 };

/* The TXT record _smtp._tls.DOMAIN (section 3), its strings joined. */
bool tlsrpt_record_is(struct str txt);
/* Where reports go: "mailto:" and "https:" URIs, others are left out. 0, -EINVAL: no record, or
 * none of these in it. Strings point into txt. */
int tlsrpt_record_get(struct str txt, struct str ret[static TLSRPT_RUA_MAX], size_t *ret_n);
/* The address of a "mailto:" URI, decoded, in a. -EINVAL. */
int tlsrpt_mailto(struct str uri, struct arena *a, struct str *ret);

struct tlsrpt_failure {
	enum tls_result result;
	struct str sending_ip, host, receiving_ip, why;
	uint64_t n;
};
struct tlsrpt_policy {
	int64_t id;                 /* of the store */
	enum tls_policy_kind kind;
	struct str text, mx;        /* as in struct tls_seen */
	uint64_t good, bad;         /* sessions */
	struct tlsrpt_failure *failures;
	size_t n_failures;
};
struct tlsrpt_report {
	struct str domain;
	struct str organization, contact, submitter; /* submitter: our domain */
	struct str id;              /* "...@submitter", without brackets */
	uint64_t begin_s, end_s;    /* of the time told of, since 1970; end inclusive */
	struct tlsrpt_policy *policies;
	size_t n_policies;
};
/* Section 4. */
void tlsrpt_json(struct buf *b, const struct tlsrpt_report *r);
/* The same, compressed (application/tlsrpt+gzip). 0 or negative. */
int tlsrpt_gzip(struct buf *b, const struct tlsrpt_report *r);
/* Section 5.3: the whole message, lines ended by CRLF. */
void tlsrpt_message(struct buf *b, const struct tlsrpt_report *r, struct str from, struct str to,
    struct str boundary, struct str gzip);

#endif
