/*
 * The evaluator. One struct eval lives as long as a check; a frame of check_domain() as long as
 * the record of one domain: `include` and `redirect` open another, ten of them at most, because each
 * is a term that is counted.
 */
#include "plugins/spf/eval.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>

#include "plugins/spf/macro.h"

enum {
	TYPE_A = 1, TYPE_PTR = 12, TYPE_MX = 15, TYPE_TXT = 16, TYPE_AAAA = 28,
	TERMS_MAX = 10, VOIDS_MAX = 2, MX_MAX = 10, PTR_MAX = 10,
	EXPANDED_MAX = 4096,
};

struct name {
	char text[SPF_DOMAIN_MAX + 1];
	size_t n; /* 0: not a name that can be asked about */
};

struct eval {
	const struct spf_query *q;
	struct spf_verdict *v;
	struct spf_facts facts;
	unsigned char ip[16];
	struct name ptr[PTR_MAX];
	unsigned n_ptr;
	int ptr_asked;
	char validated[PTR_MAX]; /* 0: not known, 1: the name has our address, -1: it has not */
	char expanded[EXPANDED_MAX];
};

static enum spf_result check_domain(struct eval *e, struct ph_str domain, int explain);

/* ---- names and addresses ---- */

int
spf_ip_parse(struct ph_str text, unsigned char ret[16])
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	unsigned char v[16];
	char buf[INET6_ADDRSTRLEN];

	if (!text.n || text.n >= sizeof buf)
		return -EINVAL;
	memcpy(buf, text.p, text.n);
	buf[text.n] = '\0';
	if (inet_pton(AF_INET, buf, ret) == 1)
		return 4;
	if (inet_pton(AF_INET6, buf, v) != 1)
		return -EINVAL;
	if (!memcmp(v, mapped, sizeof mapped)) {
		memcpy(ret, v + 12, 4);
		return 4;
	}
	memcpy(ret, v, 16);
	return 16;
}

int
spf_ip_within(const unsigned char *ip, const unsigned char *net, unsigned bits)
{
	unsigned mask = 0xff00u >> (bits % 8);

	return !memcmp(ip, net, bits / 8) && (bits % 8 == 0 || !((ip[bits / 8] ^ net[bits / 8]) & mask & 0xff));
}

/* Section 4.3: two labels or more, each of 1 to 63 bytes, ASCII. */
static int
is_name(struct ph_str s)
{
	size_t label = 0, dots = 0;

	if (!s.n || s.n > SPF_DOMAIN_MAX || s.p[0] == '[')
		return 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.') {
			if (!label)
				return 0;
			dots++;
			label = 0;
		} else if (++label > 63 || (unsigned char)s.p[i] < ' ' || (unsigned char)s.p[i] > '~') {
			return 0;
		}
	}
	return dots && label;
}

/* Takes s, without a final dot, as a name; from the left what is too long is left out by labels
 * (section 7.3). */
static void
set_name(struct name *n, struct ph_str s)
{
	n->n = 0;
	if (s.n && s.p[s.n - 1] == '.')
		s.n--;
	while (s.n > SPF_DOMAIN_MAX) {
		const char *dot = memchr(s.p, '.', s.n);

		if (!dot)
			return;
		s = ph_bytes(dot + 1, s.n - (size_t)(dot + 1 - s.p));
	}
	if (!is_name(s))
		return;
	memcpy(n->text, s.p, s.n);
	n->text[s.n] = '\0';
	n->n = s.n;
}

static struct ph_str
name_str(const struct name *n)
{
	return ph_bytes(n->text, n->n);
}

/* A name in wire form, uncompressed, behind `skip` bytes. */
static void
wire_name(struct name *n, struct ph_str rdata, size_t skip)
{
	char text[256];
	size_t at = skip, len = 0;

	n->n = 0;
	while (at < rdata.n && rdata.p[at]) {
		size_t label = (unsigned char)rdata.p[at++];

		if (label > 63 || label > rdata.n - at || len + label + 1 > sizeof text ||
		    memchr(rdata.p + at, '.', label))
			return;
		memcpy(text + len, rdata.p + at, label);
		at += label;
		len += label;
		text[len++] = '.';
	}
	set_name(n, ph_bytes(text, len));
}

/* Whether name is domain, or below it. */
static int
is_below(struct ph_str name, struct ph_str domain)
{
	size_t more;

	if (name.n < domain.n)
		return 0;
	more = name.n - domain.n;
	return ph_ieq(ph_bytes(name.p + more, domain.n), domain) && (!more || name.p[more - 1] == '.');
}

/* ---- results ---- */

/* Says why; what stands in records may be any bytes. */
__attribute__((format(printf, 3, 4))) static enum spf_result
because(struct eval *e, enum spf_result r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->v->why, sizeof e->v->why, fmt, ap);
	va_end(ap);
	for (char *p = e->v->why; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return r;
}

/* Whether what a mechanism answered is final: it matched, or something is wrong. Mechanisms
 * answer SPF_PASS when they match, SPF_NONE when they do not, or an error. */
static int
is_error(enum spf_result r)
{
	return r == SPF_TEMPERROR || r == SPF_PERMERROR;
}

/* ---- the DNS ---- */

static int
is_void(const struct ph_dns *d)
{
	return d->status == PH_DNS_NXDOMAIN || d->status == PH_DNS_NODATA || !d->n;
}

/* A name that cannot be is one that is not there, and nobody is asked (section 4.8). */
static int
ask(struct eval *e, struct ph_str name, uint32_t type, struct ph_dns *ret)
{
	*ret = (struct ph_dns){ .status = PH_DNS_NXDOMAIN };
	if (!name.n)
		return 0;
	if (e->q->dns(e->q->arg, name, type, ret) < 0 || ret->status == PH_DNS_FAILED ||
	    ret->status == PH_DNS_BOGUS || !ret->status)
		return -EAGAIN;
	return 0;
}

/* A lookup of a mechanism's: an error, or SPF_NONE with *ret; ret->n is 0 when there is nothing. */
static enum spf_result
lookup(struct eval *e, const struct name *n, uint32_t type, struct ph_dns *ret)
{
	struct ph_str name = name_str(n);

	if (ask(e, name, type, ret))
		return because(e, SPF_TEMPERROR, "no answer about %.*s", PH_ARG(name));
	if (is_void(ret)) {
		ret->n = 0;
		if (name.n && ++e->v->voids > VOIDS_MAX)
			return because(e, SPF_PERMERROR, "more than %d lookups without an answer", VOIDS_MAX);
	}
	return SPF_NONE;
}

static uint32_t
address_type(const struct eval *e)
{
	return e->facts.ip_len == 4 ? TYPE_A : TYPE_AAAA;
}

static int
has_address(const struct eval *e, const struct ph_dns *d, unsigned bits)
{
	for (uint32_t i = 0; i < d->n; i++)
		if (d->rdata[i].n == e->facts.ip_len &&
		    spf_ip_within(e->ip, (const unsigned char *)d->rdata[i].p, bits))
			return 1;
	return 0;
}

/* ---- validated names (section 5.5) ---- */

static void
ask_ptr(struct eval *e)
{
	char text[100];
	struct ph_dns d;
	struct name n;
	int len;

	if (e->ptr_asked)
		return;
	e->ptr_asked = 1;
	len = spf_macro_expand(ph_c("%{ir}.%{v}.arpa"), &e->facts, text, sizeof text);
	set_name(&n, ph_bytes(text, len > 0 ? (size_t)len : 0));
	if (ask(e, name_str(&n), TYPE_PTR, &d))
		return;
	for (uint32_t i = 0; i < d.n && e->n_ptr < PTR_MAX; i++)
		wire_name(&e->ptr[e->n_ptr++], d.rdata[i], 0);
}

/* Whether the i-th name has our address. A lookup that fails says no. */
static int
is_validated(struct eval *e, unsigned i)
{
	struct ph_dns d;

	if (!e->validated[i])
		e->validated[i] = !ask(e, name_str(&e->ptr[i]), address_type(e), &d) &&
		    has_address(e, &d, e->facts.ip_len * 8) ? 1 : -1;
	return e->validated[i] > 0;
}

/* The name for %{p}: the domain itself, else one below it, else any. */
static struct ph_str
validated_name(struct eval *e, struct ph_str domain)
{
	ask_ptr(e);
	for (int step = 0; step < 3; step++)
		for (unsigned i = 0; i < e->n_ptr; i++) {
			struct ph_str s = name_str(&e->ptr[i]);

			if ((step == 2 || (step == 1 && is_below(s, domain)) || ph_ieq(s, domain)) &&
			    is_validated(e, i))
				return s;
		}
	return ph_c("unknown");
}

/* ---- macros ---- */

/* Expands into e->expanded with the facts of the current domain. Length, or -EMSGSIZE. */
static int
expand(struct eval *e, struct ph_str spec, struct ph_str domain)
{
	e->facts.domain = domain;
	if (spf_macro_uses(spec, 'p'))
		e->facts.validated = validated_name(e, domain);
	return spf_macro_expand(spec, &e->facts, e->expanded, sizeof e->expanded);
}

/* The name that a term is about. */
static void
target(struct eval *e, const struct spf_term *t, struct ph_str domain, struct name *ret)
{
	int n;

	if (!t->domain.n) {
		set_name(ret, domain);
		return;
	}
	n = expand(e, t->domain, domain);
	set_name(ret, ph_bytes(e->expanded, n > 0 ? (size_t)n : 0));
}

/* ---- mechanisms ---- */

static enum spf_result
match_all(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	(void)e;
	(void)t;
	(void)domain;
	return SPF_PASS;
}

static enum spf_result
match_ip(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	unsigned len = t->kind == SPF_IP4 ? 4 : 16;

	(void)domain;
	return e->facts.ip_len == len && spf_ip_within(e->ip, t->ip, len == 4 ? t->bits4 : t->bits6) ?
	    SPF_PASS : SPF_NONE;
}

static enum spf_result
match_host(struct eval *e, const struct spf_term *t, const struct name *host)
{
	struct ph_dns d;
	enum spf_result r = lookup(e, host, address_type(e), &d);

	if (r != SPF_NONE)
		return r;
	return has_address(e, &d, e->facts.ip_len == 4 ? t->bits4 : t->bits6) ? SPF_PASS : SPF_NONE;
}

static enum spf_result
match_a(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	struct name host;

	target(e, t, domain, &host);
	return match_host(e, t, &host);
}

static enum spf_result
match_mx(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	enum spf_result r;
	struct name host;
	struct ph_dns d;

	target(e, t, domain, &host);
	r = lookup(e, &host, TYPE_MX, &d);
	if (r == SPF_NONE && d.n > MX_MAX)
		return because(e, SPF_PERMERROR, "more than %d hosts in the MX of %s", MX_MAX, host.text);
	for (uint32_t i = 0; r == SPF_NONE && i < d.n; i++) {
		wire_name(&host, d.rdata[i], 2);
		r = match_host(e, t, &host);
	}
	return r;
}

static enum spf_result
match_ptr(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	struct name below;

	target(e, t, domain, &below);
	ask_ptr(e);
	for (unsigned i = 0; below.n && i < e->n_ptr; i++)
		if (is_below(name_str(&e->ptr[i]), name_str(&below)) && is_validated(e, i))
			return SPF_PASS;
	return SPF_NONE;
}

static enum spf_result
match_exists(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	enum spf_result r;
	struct name name;
	struct ph_dns d;

	target(e, t, domain, &name);
	r = lookup(e, &name, TYPE_A, &d);
	return r == SPF_NONE && d.n ? SPF_PASS : r;
}

/* Section 5.2: what the other record says decides whether this term matches. */
static enum spf_result
match_include(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	enum spf_result r;
	struct name other;

	target(e, t, domain, &other);
	r = check_domain(e, name_str(&other), 0);
	if (r == SPF_NONE)
		return because(e, SPF_PERMERROR, "no record for %.*s", PH_ARG(t->text));
	return r == SPF_PASS || is_error(r) ? r : SPF_NONE;
}

static const struct {
	enum spf_result (*match)(struct eval *e, const struct spf_term *t, struct ph_str domain);
	int asks; /* the DNS: counted */
} mechanisms[] = {
	[SPF_ALL] = { match_all, 0 },
	[SPF_INCLUDE] = { match_include, 1 },
	[SPF_A] = { match_a, 1 },
	[SPF_MX] = { match_mx, 1 },
	[SPF_PTR] = { match_ptr, 1 },
	[SPF_IP4] = { match_ip, 0 },
	[SPF_IP6] = { match_ip, 0 },
	[SPF_EXISTS] = { match_exists, 1 },
};

/* ---- records ---- */

static enum spf_result
counted(struct eval *e)
{
	if (++e->v->lookups <= TERMS_MAX)
		return SPF_NONE;
	return because(e, SPF_PERMERROR, "more than %d terms that need a lookup", TERMS_MAX);
}

static enum spf_result
match(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	enum spf_result r = mechanisms[t->kind].asks ? counted(e) : SPF_NONE;

	return r == SPF_NONE ? mechanisms[t->kind].match(e, t, domain) : r;
}

/* Section 6.2. Whatever is wrong with it: no explanation. */
static void
fetch_explanation(struct eval *e, const struct spf_term *t, struct ph_str domain)
{
	struct name name;
	struct ph_dns d;
	int n;

	target(e, t, domain, &name);
	if (ask(e, name_str(&name), TYPE_TXT, &d) || d.status != PH_DNS_OK || d.n != 1 ||
	    spf_macro_check(d.rdata[0], 1, NULL))
		return;
	n = expand(e, d.rdata[0], domain);
	if (n > 0 && n < SPF_EXPLANATION_MAX) {
		memcpy(e->v->explanation, e->expanded, (size_t)n);
		e->v->explanation[n] = '\0';
	}
}

static enum spf_result
redirected(struct eval *e, const struct spf_term *t, struct ph_str domain, int explain)
{
	enum spf_result r = counted(e);
	struct name other;

	if (r != SPF_NONE)
		return r;
	target(e, t, domain, &other);
	r = check_domain(e, name_str(&other), explain);
	return r == SPF_NONE ? because(e, SPF_PERMERROR, "no record for %.*s", PH_ARG(t->text)) : r;
}

/* The record was checked. A match ends it; the modifiers may stand anywhere. */
static enum spf_result
evaluate(struct eval *e, struct ph_str terms, struct ph_str domain, int explain)
{
	struct spf_term t, redirect = { .kind = SPF_OTHER }, exp = { .kind = SPF_OTHER };
	enum spf_result r = SPF_NONE, found = SPF_NEUTRAL;

	while (spf_term_next(&terms, &t) > 0) {
		if (t.kind == SPF_REDIRECT)
			redirect = t;
		else if (t.kind == SPF_EXP)
			exp = t;
		else if (t.kind != SPF_OTHER && r == SPF_NONE) {
			r = match(e, &t, domain);
			found = t.result;
			if (is_error(r))
				return r;
			if (r == SPF_PASS)
				because(e, r, "%.*s", PH_ARG(t.text));
		}
	}
	if (r == SPF_NONE)
		return redirect.kind == SPF_REDIRECT ? redirected(e, &redirect, domain, explain) : SPF_NEUTRAL;
	if (found == SPF_FAIL && explain && exp.kind == SPF_EXP)
		fetch_explanation(e, &exp, domain);
	return found;
}

/* Section 4.4, 4.5: the one record of a domain. SPF_PASS with its terms, SPF_NONE or an error. */
static enum spf_result
fetch_record(struct eval *e, struct ph_str domain, struct ph_str *ret)
{
	struct ph_str terms;
	struct ph_dns d;
	unsigned n = 0;

	if (ask(e, domain, TYPE_TXT, &d))
		return because(e, SPF_TEMPERROR, "no answer about %.*s", PH_ARG(domain));
	for (uint32_t i = 0; d.status == PH_DNS_OK && i < d.n; i++)
		if (spf_record_is(d.rdata[i], &terms) && !n++)
			*ret = terms;
	if (n > 1)
		return because(e, SPF_PERMERROR, "%u records at %.*s", n, PH_ARG(domain));
	return n ? SPF_PASS : SPF_NONE;
}

static enum spf_result
check_domain(struct eval *e, struct ph_str domain, int explain)
{
	struct ph_str terms, wrong;
	enum spf_result r;

	if (!is_name(domain))
		return SPF_NONE;
	r = fetch_record(e, domain, &terms);
	if (r != SPF_PASS)
		return r;
	if (spf_record_check(terms, &wrong))
		return because(e, SPF_PERMERROR, "syntax error in the record of %.*s: %.*s", PH_ARG(domain),
		    wrong.n > 60 ? 60 : (int)wrong.n, wrong.p);
	return evaluate(e, terms, domain, explain);
}

/* ---- one check ---- */

static void
set_sender(struct spf_facts *f, struct ph_str local, struct ph_str domain, struct ph_str whole)
{
	f->local = local;
	f->sender_domain = domain;
	f->sender = whole;
}

/* The sender, or postmaster at what it lacks (section 4.3); buf is room for it. */
static void
identity(struct spf_facts *f, const struct spf_query *q, char *buf, size_t size)
{
	struct ph_str s = q->sender, local = ph_c("postmaster"), domain = q->helo;
	size_t at = s.n;

	while (at && s.p[at - 1] != '@')
		at--;
	if (at > 1) {
		set_sender(f, ph_bytes(s.p, at - 1), ph_bytes(s.p + at, s.n - at), s);
		return;
	}
	if (s.n)
		domain = ph_bytes(s.p + at, s.n - at);
	if (domain.n > SPF_DOMAIN_MAX)
		domain.n = 0;
	snprintf(buf, size, "%.*s@%.*s", PH_ARG(local), PH_ARG(domain));
	set_sender(f, local, domain, ph_c(buf));
}

int
spf_check(const struct spf_query *q, struct spf_verdict *ret)
{
	struct eval e = { .q = q, .v = ret };
	char sender[SPF_DOMAIN_MAX + 20];
	struct name domain;
	int n;

	memset(ret, 0, sizeof *ret);
	n = spf_ip_parse(q->ip, e.ip);
	if (n < 0)
		return n;
	e.facts = (struct spf_facts){ .helo = q->helo, .host = q->host, .now = q->now, .ip = e.ip,
		.ip_len = (unsigned)n, .validated = ph_c("unknown") };
	identity(&e.facts, q, sender, sizeof sender);
	set_name(&domain, e.facts.sender_domain);
	if (domain.n == 0 || e.facts.sender_domain.n > SPF_DOMAIN_MAX + 1)
		return 0;
	memcpy(ret->domain, domain.text, domain.n + 1);
	ret->result = check_domain(&e, name_str(&domain), 1);
	if (ret->result == SPF_NONE)
		ret->why[0] = '\0';
	return 0;
}
