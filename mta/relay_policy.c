/*
 * What TLS a host needs. Who decides, in this order: the block of the next hop, the
 * tls-policy of the domain or next hop, REQUIRETLS of the message (it only adds), and
 * relay.tls, which DANE (RFC 7672) sharpens where MX and addresses are secure and the
 * host has TLSA records, and else the domain's MTA-STS policy (RFC 8461).
 */
#include <openssl/sha.h>

#include "lib/base/text.h"
#include "mta/relayd.h"

struct conf_tls_choice
relay_tls_choice(const struct relay_request *q, const struct relay_route *r)
{
	struct conf_tls_choice c = conf_tls_choose(relayd.s, q->next_hop, r->hop.host);

	/* "TLS-Required: No" in the header (RFC 8689 section 4.2.2): the sender wants it to arrive */
	if (q->flags & ENV_TLS_OPTIONAL && !(q->flags & ENV_REQUIRETLS) && c.level != CONF_RELAY_TLS_OFF) {
		c.level = CONF_RELAY_TLS_OPTIONAL;
		c.policy = NULL;
		c.source = "TLS-Required: No";
	}
	return c;
}

struct str
relay_policy_key(const struct relay_request *q, const struct relay_route *r, struct arena *a)
{
	struct conf_tls_choice c = relay_tls_choice(q, r);
	/* what a certificate must be for may hang on the domain */
	bool sts = relay_sts_enforced(r);
	bool named = c.level == CONF_RELAY_TLS_VERIFY || c.policy || sts || q->flags & ENV_REQUIRETLS;

	return arena_printf(a, "%.*s:%u %d %u %.*s %.*s %.*s", STR_ARG(r->site), r->hop.port, c.level,
	    q->flags & ENV_REQUIRETLS, STR_ARG(named ? r->hop.host : STR_NULL),
	    STR_ARG(sts ? r->sts.id : STR_NULL), STR_ARG(q->credential.user));
}

/* ---- names ---- */

/* For verify: the names of the policy, or the host's own. Of a host that insecure MX
 * records named, the domain's name will do too. */
static bool
set_names(struct relay_policy *p, const struct conf_tls_choice *c, const struct relay_route *r,
    struct arena *a)
{
	size_t n = c->policy ? c->policy->n_match : 0;

	p->names = ARENA_ARRAY(a, const char *, n + 2);
	if (!p->names)
		return false;
	for (size_t i = 0; i < n; i++)
		p->names[p->n_names++] = arena_cstr(a, c->policy->match[i]);
	if (!p->n_names)
		p->names[p->n_names++] = p->name;
	if (!n && r->by_mx && !r->hop.literal)
		p->names[p->n_names++] = arena_cstr(a, r->hop.host);
	for (size_t i = 0; i < p->n_names; i++)
		if (!p->names[i])
			return false;
	return true;
}

/* ---- DANE ---- */

static struct str
digest_of(const struct relay_policy *p, struct arena *a)
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	struct buf b = { 0 };
	struct str s;

	buf_printf(&b, "%d %d %d %s ", p->level, p->tls13, p->sts, p->name ? p->name : "");
	for (size_t i = 0; i < p->n_names; i++)
		buf_printf(&b, "%s ", p->names[i]);
	for (size_t i = 0; i < p->n_tlsa; i++) {
		buf_printf(&b, "%u %u %u ", p->tlsa[i].usage, p->tlsa[i].selector,
		    p->tlsa[i].matching);
		buf_str(&b, p->tlsa[i].data);
	}
	SHA256((const unsigned char *)b.p, b.n, sum);
	buf_clear(&b);
	hex_put(&b, str_from(sum, 16));
	s = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return s;
}

/* The base domain of DANE: the host's canonical name when that has records, else its own
 * (RFC 7672 section 2.2.2). */
static int
ask_tlsa(const struct relay_route *r, const struct relay_host *h, const struct relay_addresses *ad,
    struct arena *a, struct dns_tlsas *ret, struct str *ret_base)
{
	int rc = 0;

	*ret_base = ad->canonical;
	if (ad->canonical.n && !str_eq(ad->canonical, h->name)) {
		rc = dns_tlsa(ad->canonical, r->hop.port, a, ret);
		if (rc || ret->from.status == DNS_FAILED || ret->from.status == DNS_BOGUS ||
		    (ret->from.status == DNS_OK && ret->from.secure))
			return rc;
	}
	*ret_base = h->name;
	return dns_tlsa(h->name, r->hop.port, a, ret);
}

static enum fault_kind
use_dane(const struct relay_route *r, const struct relay_host *h, const struct relay_addresses *ad,
    struct arena *a, struct relay_policy *p, struct fault *f)
{
	struct dns_tlsas t = { 0 };
	struct str base;

	if (ask_tlsa(r, h, ad, a, &t, &base))
		t.from.status = DNS_FAILED;
	if (t.from.status == DNS_FAILED || t.from.status == DNS_BOGUS) {
		f->seen = t.from.status == DNS_BOGUS ? TLS_SEEN_DNSSEC_INVALID : TLS_SEEN_TLSA_INVALID;
		return fault_set(f, FAULT_HOST, a, 451, "4.7.5",
		    "it is not known whether %.*s has TLSA records: %s", STR_ARG(h->name),
		    dns_status_name(t.from.status));
	}
	if (t.from.status != DNS_OK || !t.from.secure || !t.n)
		return FAULT_NONE;
	p->level = CONF_RELAY_TLS_REQUIRED; /* records that nobody can use still forbid plaintext */
	p->source = STR("dane");
	p->tlsa = ARENA_ARRAY(a, struct tls_tlsa, t.n);
	p->name = arena_cstr(a, base);
	if (!p->tlsa || !p->name)
		return fault_set(f, FAULT_HOST, a, 451, "4.3.0", "out of memory");
	for (size_t i = 0; i < t.n; i++) {
		struct tls_tlsa x = { t.v[i].usage, t.v[i].selector, t.v[i].matching, t.v[i].data };

		if (tls_tlsa_usable(&x))
			p->tlsa[p->n_tlsa++] = x;
	}
	if (p->n_tlsa)
		p->level = CONF_RELAY_TLS_DANE;
	return FAULT_NONE;
}

/* ---- MTA-STS ---- */

static enum fault_kind
use_sts(const struct relay_route *r, const struct relay_host *h, struct arena *a,
    struct relay_policy *p, struct fault *f)
{
	p->sts_tested = relay_sts_tested(r);
	p->sts_stranger = !sts_policy_has(&r->sts.policy, h->name);
	if (p->sts_tested)
		return FAULT_NONE;
	if (p->sts_stranger) {
		f->seen = TLS_SEEN_VALIDATION_FAILURE;
		return fault_set(f, FAULT_HOST, a, 451, "4.7.5",
		    "%.*s is not among the servers that the MTA-STS policy of %.*s names",
		    STR_ARG(h->name), STR_ARG(r->hop.host));
	}
	p->level = CONF_RELAY_TLS_VERIFY;
	p->source = STR("mta-sts");
	p->sts = true;
	p->n_names = 0;
	p->names = ARENA_ARRAY(a, const char *, 1);
	if (!p->names)
		return fault_set(f, FAULT_HOST, a, 451, "4.3.0", "out of memory");
	p->names[p->n_names++] = p->name;
	return FAULT_NONE;
}

/* RFC 8689 section 4.2.1: the host is known for certain, and has a certificate for its name. */
static enum fault_kind
require_tls(const struct relay_route *r, const struct conf_tls_choice *c, struct arena *a,
    struct relay_policy *p, struct fault *f)
{
	if (p->sts)
		return FAULT_NONE;
	if (!r->secure)
		return fault_set(f, FAULT_HOST, a, 550, "5.7.10",
		    "the message asks for TLS (REQUIRETLS), and the servers of %.*s are not known "
		    "for certain", STR_ARG(r->hop.host));
	if (p->level != CONF_RELAY_TLS_DANE) {
		p->level = CONF_RELAY_TLS_VERIFY;
		p->n_names = 0;
		if (!set_names(p, c, r, a))
			return fault_set(f, FAULT_HOST, a, 451, "4.3.0", "out of memory");
	}
	return FAULT_NONE;
}

enum fault_kind
relay_policy(const struct relay_request *q, const struct relay_route *r,
    const struct relay_host *h, const struct relay_addresses *ad, struct arena *a,
    struct relay_policy *ret, struct fault *f)
{
	struct conf_tls_choice c = relay_tls_choice(q, r);
	struct relay_policy p = { .level = c.level, .source = str_c(c.source) };
	bool dane = c.level == CONF_RELAY_TLS_DANE || c.level == CONF_RELAY_TLS_DANE_ONLY;

	p.name = r->hop.literal ? "" : arena_cstr(a, h->name);
	p.tls13 = c.policy && c.policy->min_version == 1;
	p.implicit = c.hop && c.hop->implicit_tls;
	p.cleartext_auth = c.hop && c.hop->tls == 1 + CONF_RELAY_TLS_OFF;
	if (!p.name || (c.level == CONF_RELAY_TLS_VERIFY && !set_names(&p, &c, r, a)))
		return fault_set(f, FAULT_HOST, a, 451, "4.3.0", "out of memory");
	if (dane)
		p.level = CONF_RELAY_TLS_OPTIONAL;
	if (dane && r->secure && ad->secure && !r->hop.literal && use_dane(r, h, ad, a, &p, f))
		return f->kind;
	if (c.level == CONF_RELAY_TLS_DANE_ONLY && p.level != CONF_RELAY_TLS_DANE) {
		f->seen = TLS_SEEN_DANE_REQUIRED;
		return fault_set(f, FAULT_HOST, a, 451, "4.7.5",
		    "%.*s has no TLSA records that can be used, which the settings ask for",
		    STR_ARG(h->name));
	}
	if (p.level != CONF_RELAY_TLS_DANE && !str_eq(p.source, STR("dane")) &&
	    (relay_sts_enforced(r) || relay_sts_tested(r)) && use_sts(r, h, a, &p, f))
		return f->kind;
	if (q->flags & ENV_REQUIRETLS && require_tls(r, &c, a, &p, f))
		return f->kind;
	if (p.level == CONF_RELAY_TLS_VERIFY && !relayd.has_authorities)
		return fault_set(f, FAULT_HOST, a, 451, "4.7.5",
		    "no certificate can be verified: relay.ca-file was not read");
	p.digest = digest_of(&p, a);
	*ret = p;
	return FAULT_NONE;
}
