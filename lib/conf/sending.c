/* What the settings say about sending: relayd goes by it, and `posthorn explain` tells it. */
#include "lib/conf/settings.h"

const struct conf_next_hop *
conf_next_hop_of(const struct settings *s, struct str text)
{
	for (size_t i = 0; text.n && i < s->n_next_hops; i++)
		if (str_ieq(s->next_hops[i].name, text))
			return &s->next_hops[i];
	return NULL;
}

/* many: the character with which a name begins that stands for all that end so. */
static bool
name_fits(struct str name, char many, struct str text)
{
	if (name.n && name.p[0] == many)
		return str_iends(text, name);
	return str_ieq(name, text);
}

/* The longest name that fits: a domain itself before what is above it. */
static const struct conf_tls_policy *
find_policy(const struct settings *s, struct str text)
{
	const struct conf_tls_policy *best = NULL;

	for (size_t i = 0; text.n && i < s->n_tls_policies; i++) {
		const struct conf_tls_policy *p = &s->tls_policies[i];

		if (name_fits(p->name, '.', text) && (!best || p->name.n > best->name.n))
			best = p;
	}
	return best;
}

struct conf_tls_choice
conf_tls_choose(const struct settings *s, struct str next_hop, struct str host)
{
	struct conf_tls_choice c = { (enum conf_relay_tls)s->relay_tls, find_policy(s, next_hop),
		conf_next_hop_of(s, next_hop), "settings" };

	if (!c.policy)
		c.policy = find_policy(s, host);
	if (c.policy) {
		c.level = (enum conf_relay_tls)c.policy->tls;
		c.source = "tls-policy";
	}
	if (c.hop && c.hop->tls) {
		c.level = (enum conf_relay_tls)(c.hop->tls - 1);
		c.source = "next-hop";
	} else if (c.hop && c.hop->user.n && !c.policy) {
		c.level = CONF_RELAY_TLS_VERIFY;
		c.source = "next-hop";
	}
	return c;
}

static bool
site_has(struct str site, struct str name)
{
	while (site.n)
		if (name_fits(name, '.', str_cut(&site, ',')))
			return true;
	return false;
}

/* Whether a block that fits is to be taken for the one found before: exact names first, then
 * long ones. */
static bool
is_nearer(struct str name, struct str than, char many)
{
	bool a = name.n && name.p[0] == many, b = than.n && than.p[0] == many;

	return a != b ? b : name.n > than.n;
}

const struct conf_site *
conf_site_of(const struct settings *s, struct str site)
{
	const struct conf_site *best = NULL;

	for (size_t i = 0; i < s->n_sites; i++) {
		const struct conf_site *c = &s->sites[i];

		if (site_has(site, c->name) && (!best || is_nearer(c->name, best->name, '.')))
			best = c;
	}
	return best;
}

const struct conf_tenant *
conf_tenant_of(const struct settings *s, struct str name)
{
	const struct conf_tenant *best = NULL;

	for (size_t i = 0; i < s->n_tenants; i++) {
		const struct conf_tenant *c = &s->tenants[i];

		if (name_fits(c->name, '@', name) && (!best || is_nearer(c->name, best->name, '@')))
			best = c;
	}
	return best;
}
