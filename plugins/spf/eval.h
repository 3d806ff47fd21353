/*
 * check_host() of RFC 7208 section 4: an address, a domain and a sender give one of seven
 * results. DNS comes from the caller; memory is bounded and on the stack (below 40 KiB).
 *
 * Limits (section 4.6.4): ten terms that ask the DNS, two lookups without an answer (those that validate
 * names of PTR records are not counted: the client's network chose them, not the domain), ten
 * names of an MX answer, the first ten of a PTR answer.
 */
#ifndef PLUGINS_SPF_EVAL_H
#define PLUGINS_SPF_EVAL_H

#include "plugins/spf/record.h"

enum {
	SPF_DOMAIN_MAX = 253,
	SPF_WHY_MAX = 200,
	SPF_EXPLANATION_MAX = 400, /* what is longer is left out */
};

/* As ph_dns(); names have labels of 63 bytes at most and no final dot, and are ASCII. */
typedef int spf_dns_fn(void *arg, struct ph_str name, uint32_t type, struct ph_dns *ret);

struct spf_query {
	struct ph_str ip;     /* text; an IPv4-mapped IPv6 address is an IPv4 address */
	struct ph_str helo;
	struct ph_str sender; /* empty: the HELO identity is checked (section 2.4) */
	struct ph_str host;   /* our own name */
	uint64_t now;         /* seconds since 1970 */
	spf_dns_fn *dns;
	void *arg;
};

struct spf_verdict {
	enum spf_result result;
	char domain[SPF_DOMAIN_MAX + 1];       /* of the identity that was checked; empty: not a name */
	char why[SPF_WHY_MAX];                 /* of an error; else what matched, or empty */
	char explanation[SPF_EXPLANATION_MAX]; /* of fail: the domain's own words, or empty */
	unsigned lookups, voids;
};

/* 0, or -EINVAL when ip is not an address. */
int spf_check(const struct spf_query *q, struct spf_verdict *ret);

/* Reads an address: 4 or 16, the bytes that it has, or -EINVAL. */
int spf_ip_parse(struct ph_str text, unsigned char ret[16]);
/* Whether the first bits of two addresses are the same. */
int spf_ip_within(const unsigned char *ip, const unsigned char *net, unsigned bits);

#endif
