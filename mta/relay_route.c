/*
 * The servers of a next hop: MX hosts in the order of their preference (RFC 5321 section
 * 5.1), those of one preference shuffled, and the addresses of each as the settings
 * want them. Of the hosts that are this machine, and all that are no better, nothing
 * is tried, or mail would go round in circles.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "mta/relayd.h"

#define SITE_TTL_MAX_MS (3600u * 1000)

/* ---- the hosts ---- */

static int
by_name(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* "host,host" of all hosts, sorted, whatever their preference. */
static struct str
site_of(const struct dns_mx *mx, struct arena *a)
{
	struct str *names = ARENA_ARRAY(a, struct str, mx->n + 1), s;
	struct buf b = { .max = RELAY_SITE_MAX };

	for (size_t i = 0; names && i < mx->n; i++)
		names[i] = mx->hosts[i].name;
	if (names)
		qsort(names, mx->n, sizeof *names, by_name);
	for (size_t i = 0; names && i < mx->n; i++) {
		if (i && str_eq(names[i], names[i - 1]))
			continue;
		if (b.n)
			buf_putc(&b, ',');
		buf_str(&b, names[i]);
	}
	s = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return s;
}

/* Cuts the list before the first host of the preference at which we stand. */
static enum fault_kind
drop_own(struct relay_route *r, struct arena *a, struct fault *f)
{
	size_t keep = r->n;

	for (size_t i = 0; i < r->n && keep == r->n; i++)
		if (str_ieq(r->hosts[i].name, relayd.s->hostname))
			keep = i;
	while (keep && keep < r->n && r->hosts[keep - 1].preference == r->hosts[keep].preference)
		keep--;
	r->n = keep;
	if (keep)
		return FAULT_NONE;
	return fault_set(f, FAULT_MESSAGE, a, 554, "5.4.6",
	    "mail for %.*s loops back to this server", STR_ARG(r->hop.host));
}

static enum fault_kind
no_domain(const struct dns_mx *mx, struct str domain, struct arena *a, struct fault *f)
{
	switch (mx->from.status) {
	case DNS_NXDOMAIN:
		return fault_set(f, FAULT_MESSAGE, a, 550, "5.1.2", "there is no domain %.*s",
		    STR_ARG(domain));
	case DNS_BOGUS:
		return fault_set(f, FAULT_MESSAGE, a, 451, "4.7.24",
		    "the DNS answer for %.*s fails its DNSSEC check", STR_ARG(domain));
	default:
		return fault_set(f, FAULT_MESSAGE, a, 451, "4.4.3", "no DNS answer for %.*s%s%.*s",
		    STR_ARG(domain), mx->from.why.n ? ": " : "", STR_ARG(mx->from.why));
	}
}

static enum fault_kind
find_mx(struct arena *a, struct relay_route *r, struct fault *f)
{
	struct dns_mx mx = { 0 };
	int rc = dns_mx(r->hop.host, a, &mx);

	if (rc == -EINVAL)
		return fault_set(f, FAULT_MESSAGE, a, 550, "5.1.2", "%.*s cannot be a domain",
		    STR_ARG(r->hop.host));
	if (rc)
		mx.from.status = DNS_FAILED;
	if (mx.from.status != DNS_OK)
		return no_domain(&mx, r->hop.host, a, f);
	if (mx.null_mx)
		return fault_set(f, FAULT_MESSAGE, a, 556, "5.1.10", "%.*s takes no mail (null MX)",
		    STR_ARG(r->hop.host));
	r->hosts = ARENA_ARRAY(a, struct relay_host, mx.n + 1);
	if (!r->hosts)
		return fault_set(f, FAULT_MESSAGE, a, 451, "4.3.0", "out of memory");
	for (size_t i = 0; i < mx.n; i++)
		r->hosts[i] = (struct relay_host){ mx.hosts[i].name, mx.hosts[i].preference };
	r->n = mx.n;
	r->secure = mx.from.secure;
	r->by_mx = !mx.implicit;
	r->site = site_of(&mx, a);
	r->ttl_ms = (uint64_t)mx.from.ttl * 1000;
	if (r->ttl_ms > SITE_TTL_MAX_MS)
		r->ttl_ms = SITE_TTL_MAX_MS;
	return drop_own(r, a, f);
}

enum fault_kind
relay_route(const struct relay_request *q, struct arena *a, struct relay_route *ret,
    struct fault *f)
{
	struct relay_route r = { 0 };

	if (relay_hop_parse(q->next_hop, q->domain, &r.hop)) {
		struct str bad = q->next_hop.n ? q->next_hop : q->domain;

		return fault_set(f, FAULT_MESSAGE, a, q->next_hop.n ? 451 : 550,
		    q->next_hop.n ? "4.3.5" : "5.1.2", "'%.*s' is no next hop", STR_ARG(bad));
	}
	if (!r.hop.port)
		r.hop.port = relayd.s->relay_port;
	r.hop.host = arena_lower(a, r.hop.host);
	if (r.hop.mx) {
		if (find_mx(a, &r, f))
			return f->kind;
		*ret = r;
		return FAULT_NONE;
	}
	r.hosts = ARENA_NEW(a, struct relay_host);
	if (!r.hosts || !r.hop.host.p)
		return fault_set(f, FAULT_MESSAGE, a, 451, "4.3.0", "out of memory");
	r.hosts[0].name = r.hop.host;
	r.n = 1;
	r.secure = true; /* named by the settings */
	r.site = arena_lower(a, q->next_hop.n ? q->next_hop : q->domain);
	r.ttl_ms = SITE_TTL_MAX_MS;
	*ret = r;
	return FAULT_NONE;
}

/* ---- addresses ---- */

/* Whether mail to this address and port would come in at one of our own listeners. */
static bool
is_own(const struct sockaddr_storage *x)
{
	char text[RELAY_ADDRESS_TEXT];
	unsigned port = relay_get_port(x);
	bool here = false;

	relay_address_text(x, text);
	for (size_t i = 0; i < relayd.n_own && !here; i++) {
		char own[RELAY_ADDRESS_TEXT];

		relay_address_text(&relayd.own[i], own);
		here = !strcmp(own, text);
	}
	for (size_t i = 0; i < relayd.s->n_listen; i++) {
		const struct conf_listen *ls = &relayd.s->listen[i];

		if (ls->proto != CONF_SMTP || ls->port != port)
			continue;
		if (str_eq(ls->address, str_c(text)) ||
		    (here && (str_eq(ls->address, STR("0.0.0.0")) || str_eq(ls->address, STR("::")))))
			return true;
	}
	return false;
}

static unsigned
families(void)
{
	switch (relayd.s->relay_protocols) {
	case CONF_RELAY_IPV4:
		return DNS_IPV4;
	case CONF_RELAY_IPV6:
		return DNS_IPV6;
	default:
		return DNS_IPV4 | DNS_IPV6;
	}
}

/* Puts the addresses of the family first, keeping the order otherwise. */
static void
prefer(struct sockaddr_storage *v, size_t n, sa_family_t family)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++)
		if (v[i].ss_family == family) {
			struct sockaddr_storage x = v[i];

			memmove(v + at + 1, v + at, (i - at) * sizeof *v);
			v[at++] = x;
		}
}

static enum fault_kind
no_address(const struct dns_addresses *d, const struct relay_host *h, bool by_mx, struct arena *a,
    struct fault *f)
{
	if (d->from.status == DNS_FAILED || d->from.status == DNS_BOGUS)
		return fault_set(f, FAULT_HOST, a, 451, d->from.status == DNS_BOGUS ? "4.7.24" : "4.4.3",
		    "no DNS answer for the host %.*s%s%.*s", STR_ARG(h->name),
		    d->from.why.n ? ": " : "", STR_ARG(d->from.why));
	if (by_mx)
		return fault_set(f, FAULT_HOST, a, 451, "4.4.4", "the mail server %.*s has no address",
		    STR_ARG(h->name));
	return fault_set(f, FAULT_HOST, a, 550, d->from.status == DNS_NXDOMAIN ? "5.1.2" : "5.4.4",
	    "%.*s has no mail server and no address", STR_ARG(h->name));
}

enum fault_kind
relay_addresses(const struct relay_route *r, const struct relay_host *h, struct arena *a,
    struct relay_addresses *ret, bool *ret_loop, struct fault *f)
{
	struct dns_addresses d = { 0 };

	*ret_loop = false;
	*ret = (struct relay_addresses){ .secure = true, .canonical = h->name };
	if (r->hop.literal) {
		ret->v = ARENA_NEW(a, struct sockaddr_storage);
		if (!ret->v)
			return fault_set(f, FAULT_MESSAGE, a, 451, "4.3.0", "out of memory");
		ret->v[0] = r->hop.addr;
		ret->n = 1;
	} else {
		if (dns_addresses(h->name, families(), a, &d))
			d.from.status = DNS_FAILED;
		if (d.from.status != DNS_OK || !d.n)
			return no_address(&d, h, r->by_mx || !r->hop.mx, a, f);
		*ret = (struct relay_addresses){ d.v, d.n, d.from.secure, d.from.canonical };
	}
	if (relayd.s->relay_protocols == CONF_RELAY_PREFER_IPV6)
		prefer(ret->v, ret->n, AF_INET6);
	else if (relayd.s->relay_protocols == CONF_RELAY_PREFER_IPV4)
		prefer(ret->v, ret->n, AF_INET);
	for (size_t i = 0; i < ret->n; i++) {
		relay_set_port(&ret->v[i], r->hop.port);
		*ret_loop |= !r->hop.lmtp && is_own(&ret->v[i]);
	}
	if (*ret_loop)
		return fault_set(f, FAULT_MESSAGE, a, 554, "5.4.6",
		    "mail for %.*s loops back to this server", STR_ARG(r->hop.host));
	return FAULT_NONE;
}
