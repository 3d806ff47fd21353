/*
 * MTA-STS (RFC 8461): the record that says that a domain has a policy, and the policy: which
 * hosts take the domain's mail, and that they do it over TLS with certificates that
 * can be verified.
 */
#ifndef LIB_MAIL_STS_H
#define LIB_MAIL_STS_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

enum {
	STS_POLICY_MAX = 64 << 10,     /* bytes of a policy (section 3.3) */
	STS_MX_MAX = 100,              /* patterns of one policy */
	STS_ID_MAX = 32,
	STS_MAX_AGE = 31557600,        /* seconds: a year (section 3.2) */
};

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };
const char *sts_mode_name(enum sts_mode m); /* "none", "testing", "enforce" */

struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age;              /* seconds */
	struct str *mx;                /* "mx.example.test", "*.example.test"; lower case */
	size_t n_mx;
};

/* The TXT record _mta-sts.DOMAIN (section 3.1), its strings joined. Whether it begins as
 * such records do: others beside it do not count. */
bool sts_record_is(struct str txt);
/* 0 and the id (in txt), or -EINVAL. */
int sts_record_get(struct str txt, struct str *ret_id);

/* A policy as its server sends it (section 3.2); lines end in CRLF or LF. Strings in a. 0,
 * -EINVAL (e says why), -ENOMEM. */
int sts_policy_get(struct str text, struct arena *a, struct sts_policy *ret, struct err *e);
/* Writes it as a server sends it, lines ended by eol. */
void sts_policy_put(struct buf *b, const struct sts_policy *p, const char *eol);
/* Whether a host is among those of the policy (section 4.1). */
bool sts_policy_has(const struct sts_policy *p, struct str host);

#endif
