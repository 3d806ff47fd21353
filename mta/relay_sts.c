/*
 * MTA-STS (RFC 8461) as relayd heeds it: the policy of the domain whose MX records lead to the
 * servers. fetchd knows it; answers are kept for as long as it says, a minute at most.
 *
 * A host whose TLSA records can be used is DANE's affair, and the policy's no more (section
 * 2). When fetchd gives no answer, a policy that would forbid the delivery may be
 * there: the delivery waits.
 */
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "mta/relayd.h"

#define KNOWN_MAX 20000u

struct known {
	struct buf body;        /* fetchd's answer */
	uint64_t until_ms;
};
static struct strmap cache;

static void
forget(struct str domain, struct known *k)
{
	strmap_del(&cache, domain);
	buf_done(&k->body);
	free(k);
}

static void
make_room(void)
{
	struct known *k;
	struct str domain;
	size_t pos = 0;
	uint64_t now = clock_ms();

	while ((k = strmap_next(&cache, &pos, &domain)))
		if (k->until_ms <= now || cache.n >= KNOWN_MAX)
			forget(domain, k);
}

static void
remember(struct str domain, const struct sts_answer *v)
{
	struct known *k = strmap_get(&cache, domain);

	if (k)
		forget(domain, k);
	if (!v->ttl_ms)
		return;
	if (cache.n >= KNOWN_MAX)
		make_room();
	k = calloc(1, sizeof *k);
	if (!k)
		return;
	sts_answer_put(&k->body, v);
	k->until_ms = clock_ms() + v->ttl_ms;
	if (k->body.over || strmap_set(&cache, domain, k)) {
		buf_done(&k->body);
		free(k);
	}
}

static bool
recall(struct str domain, struct arena *a, struct sts_answer *ret)
{
	struct known *k = strmap_get(&cache, domain);
	struct str body;

	if (!k || k->until_ms <= clock_ms())
		return false;
	body = arena_dup(a, buf_view(&k->body)); /* it may be replaced while the delivery goes on */
	return body.p && !sts_answer_get(body, a, ret);
}

/* Whether the domain's own wishes count: not where the settings name the host or a policy, or
 * nothing is to be encrypted or all of it by DANE. */
static bool
applies(const struct relay_request *q, const struct relay_route *r)
{
	struct conf_tls_choice c = relay_tls_choice(q, r);

	return relayd.s->relay_mta_sts && chan_instances(ROLE_FETCHD) && r->hop.mx && !c.policy &&
	    (!c.hop || !c.hop->tls) && !str_eq(str_c(c.source), STR("TLS-Required: No")) &&
	    (c.level == CONF_RELAY_TLS_OPTIONAL || c.level == CONF_RELAY_TLS_REQUIRED ||
	    c.level == CONF_RELAY_TLS_DANE);
}

enum fault_kind
relay_sts(const struct relay_request *q, struct arena *a, struct relay_route *r, struct fault *f)
{
	struct str domain = r->hop.host;

	if (!applies(q, r) || recall(domain, a, &r->sts))
		return FAULT_NONE;
	if (sts_ask(domain, a, &r->sts)) {
		r->sts = (struct sts_answer){ 0 };
		return fault_set(f, FAULT_MESSAGE, a, 451, "4.7.5",
		    "it is not known whether %.*s has an MTA-STS policy", STR_ARG(domain));
	}
	remember(domain, &r->sts);
	return FAULT_NONE;
}

bool
relay_sts_enforced(const struct relay_route *r)
{
	return r->sts.found && r->sts.policy.mode == STS_MODE_ENFORCE;
}

bool
relay_sts_tested(const struct relay_route *r)
{
	return r->sts.found && r->sts.policy.mode == STS_MODE_TESTING;
}
