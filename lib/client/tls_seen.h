/*
 * What relayd tells reportd: how TLS with a server of another domain went, for the daily
 * reports (RFC 8460). One frame is one session, or one that could not be tried; there is no
 * answer to wait for.
 */
#ifndef LIB_CLIENT_TLS_SEEN_H
#define LIB_CLIENT_TLS_SEEN_H

#include "lib/proc/chan.h"

enum {
	MSG_TLS_SEEN = MSG_TYPE(ROLE_REPORTD, 1),
	MSG_TLS_REPORT_NOW = MSG_TYPE(ROLE_REPORTD, 16), /* the admin: what there is, at once */
};

enum { TLS_SEEN_STRINGS_MAX = 110, TLS_SEEN_TEXT_MAX = 1024 };

/* RFC 8460 section 4.2 */
enum tls_policy_kind { TLS_POLICY_NONE, TLS_POLICY_TLSA, TLS_POLICY_STS };
const char *tls_policy_kind_name(enum tls_policy_kind k); /* "no-policy-found", "tlsa", "sts" */

/* RFC 8460 section 4.3 */
enum tls_result {
	TLS_SEEN_GOOD,
	TLS_SEEN_NO_STARTTLS, TLS_SEEN_HOST_MISMATCH, TLS_SEEN_EXPIRED, TLS_SEEN_NOT_TRUSTED,
	TLS_SEEN_VALIDATION_FAILURE,
	TLS_SEEN_TLSA_INVALID, TLS_SEEN_DNSSEC_INVALID, TLS_SEEN_DANE_REQUIRED,
	TLS_SEEN_STS_FETCH, TLS_SEEN_STS_INVALID, TLS_SEEN_STS_WEBPKI,
	TLS_SEEN_N
};
const char *tls_result_name(enum tls_result r); /* "starttls-not-supported"; "" when good */

struct tls_seen {
	struct str domain;          /* whose policy it is, lower case */
	enum tls_policy_kind kind;
	struct str policy;          /* its text, a line each; or empty */
	struct str mx;              /* the hosts that it names, by blanks */
	enum tls_result result;
	struct str host;            /* of the server */
	struct str sending_ip, receiving_ip;
	struct str why;             /* of a failure */
};

/* Strings of what the getter returns point into body. 0 or -EPROTO. */
void tls_seen_put(struct buf *b, const struct tls_seen *v);
int tls_seen_get(struct str body, struct tls_seen *ret);

#endif
