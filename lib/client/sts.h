/*
 * The MTA-STS policy (RFC 8461) of a domain, as fetchd knows it: it looks for the record,
 * fetches the policy, keeps it on disk until it runs out, and refreshes it before that.
 */
#ifndef LIB_CLIENT_STS_H
#define LIB_CLIENT_STS_H

#include "lib/client/fetch.h"
#include "lib/mail/sts.h"

/* What was wrong with what the domain publishes, in the words of TLSRPT (RFC 8460 section
 * 4.3.2.2): "sts-policy-fetch-error", ... */
enum sts_fault { STS_FAULT_NONE, STS_FAULT_FETCH, STS_FAULT_INVALID, STS_FAULT_WEBPKI };

struct sts_answer {
	bool found;                 /* there is a policy that holds now */
	struct str id;              /* of the record under which it was fetched */
	struct sts_policy policy;
	uint64_t ttl_ms;            /* how long this answer may be kept */
	/* There is a record, and no policy could be got under its id just now; an older
	 * one may still be there (found). */
	enum sts_fault fault;
	struct str why;
};

/* ret lives in the arena. 0, or negative: fetchd cannot be reached. */
int sts_ask(struct str domain, struct arena *a, struct sts_answer *ret);

void sts_question_put(struct buf *b, struct str domain);
int sts_question_get(struct str body, struct str *ret_domain);
void sts_answer_put(struct buf *b, const struct sts_answer *v);
int sts_answer_get(struct str body, struct arena *a, struct sts_answer *ret);

#endif
