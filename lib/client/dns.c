/* dnsd's callers: questions and answers as frames, and the helpers; see dns.h. */
#include "lib/client/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <idn2.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/random.h>

#include "lib/base/text.h"
#include "lib/client/dns_rdata.h"

/* dnsd gives up on a question before this. */
#define ASK_MS 45000

const char *
dns_status_name(enum dns_status s)
{
	static const char *const names[] = {
		[DNS_OK] = "ok", [DNS_NODATA] = "nodata", [DNS_NXDOMAIN] = "nxdomain",
		[DNS_FAILED] = "failed", [DNS_BOGUS] = "bogus",
	};

	return s >= DNS_OK && s <= DNS_BOGUS ? names[s] : "unknown";
}

/* ---- frames ---- */

enum { T_QUESTION = 1, T_ANSWER };
enum { T_Q_NAME = 1, T_Q_TYPE };
enum { T_A_STATUS = 1, T_A_SECURE, T_A_TTL, T_A_CANONICAL, T_A_RDATA, T_A_WHY };

void
dns_questions_put(struct buf *b, const struct dns_question *q, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = wire_begin(b, T_QUESTION);

		wire_str(b, T_Q_NAME, q[i].name);
		wire_u64(b, T_Q_TYPE, q[i].type);
		wire_end(b, at);
	}
}

static int
question_get(struct str body, struct dns_question *ret)
{
	struct dns_question q = { 0 };
	struct wire_field f;
	uint64_t type = 0;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag == T_Q_NAME)
			q.name = f.v;
		else if (f.tag == T_Q_TYPE && !wire_int_max(&f, UINT16_MAX, &type))
			return -EPROTO;
	}
	if (r < 0 || !type || q.name.n > DNS_NAME_MAX)
		return -EPROTO;
	q.type = (uint16_t)type;
	*ret = q;
	return 0;
}

int
dns_questions_get(struct str body, struct dns_question ret[static DNS_QUESTIONS_MAX], size_t *ret_n)
{
	struct wire_field f;
	size_t n = 0;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag != T_QUESTION)
			continue;
		if (n == DNS_QUESTIONS_MAX || question_get(f.v, &ret[n]))
			return -EPROTO;
		n++;
	}
	if (r < 0 || !n)
		return -EPROTO;
	*ret_n = n;
	return 0;
}

void
dns_answers_put(struct buf *b, const struct dns_answer *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = wire_begin(b, T_ANSWER);

		wire_u64(b, T_A_STATUS, v[i].status);
		wire_u64(b, T_A_SECURE, v[i].secure);
		wire_u64(b, T_A_TTL, v[i].ttl);
		wire_str(b, T_A_CANONICAL, v[i].canonical);
		if (v[i].why.n)
			wire_str(b, T_A_WHY, v[i].why);
		for (size_t k = 0; k < v[i].n; k++)
			wire_str(b, T_A_RDATA, v[i].rdata[k]);
		wire_end(b, at);
	}
}

static int
answer_get(struct str body, struct arena *a, struct dns_answer *ret)
{
	struct dns_answer v = { 0 };
	struct wire_field f;
	size_t n = 0;
	int r = wire_count(body, T_A_RDATA, &n);

	if (r || n > DNS_RECORDS_MAX)
		return -EPROTO;
	v.rdata = ARENA_ARRAY(a, struct str, n + 1);
	if (!v.rdata)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_A_STATUS: v.status = (enum dns_status)wire_int(&f); break;
		case T_A_SECURE: v.secure = wire_int(&f) != 0; break;
		case T_A_TTL: v.ttl = (uint32_t)wire_int(&f); break;
		case T_A_CANONICAL: v.canonical = f.v; break;
		case T_A_WHY: v.why = f.v; break;
		case T_A_RDATA: v.rdata[v.n++] = f.v; break;
		}
	}
	if (r < 0 || v.status < DNS_OK || v.status > DNS_BOGUS || (v.status == DNS_OK) != (v.n > 0) ||
	    (v.secure && v.status >= DNS_FAILED))
		return -EPROTO;
	*ret = v;
	return 0;
}

int
dns_answers_get(struct str body, struct arena *a, struct dns_answer *ret, size_t n)
{
	struct wire_field f;
	size_t got = 0;
	int r, e;

	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag != T_ANSWER)
			continue;
		if (got == n)
			return -EPROTO;
		e = answer_get(f.v, a, &ret[got++]);
		if (e)
			return e;
	}
	return r < 0 || got != n ? -EPROTO : 0;
}

/* ---- asking ---- */

/* The name in A-labels, without a final dot. */
static int
plain_name(struct str name, struct arena *a, struct str *ret)
{
	uint8_t *ascii = NULL;
	char *c;
	int r;

	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	if (!name.n || name.n > DNS_NAME_MAX || memchr(name.p, 0, name.n))
		return -EINVAL;
	if (ascii_only(name)) {
		*ret = name;
		return 0;
	}
	c = arena_cstr(a, name);
	if (!c)
		return -ENOMEM;
	r = idn2_lookup_u8((const uint8_t *)c, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (r != IDN2_OK)
		return r == IDN2_MALLOC ? -ENOMEM : -EINVAL;
	*ret = arena_dup(a, str_c((const char *)ascii));
	idn2_free(ascii);
	return ret->p ? 0 : -ENOMEM;
}

static int
ask_many(const struct dns_question *q, size_t n, uint64_t limit_ms, struct arena *a,
    struct dns_answer *ret)
{
	struct chan *c = chan_to(ROLE_DNSD, CHAN_ANY);
	struct wire_error we = { 0 };
	struct buf b = { 0 };
	struct frame fr;
	int r = n && n <= DNS_QUESTIONS_MAX ? 0 : -EINVAL;

	for (size_t i = 0; i < n && !r; i++) {
		struct dns_question one = { .type = q[i].type };

		r = plain_name(q[i].name, a, &one.name);
		if (!r)
			dns_questions_put(&b, &one, 1);
	}
	if (!r)
		r = !c ? -ENOTCONN : b.over ? -ENOMEM :
		    chan_call_buf(c, MSG_DNS_ASK, &b, limit_ms, a, &fr, &we);
	buf_done(&b);
	return r < 0 ? r : dns_answers_get(fr.body, a, ret, n);
}

int
dns_ask_many(const struct dns_question *q, size_t n, struct arena *a, struct dns_answer *ret)
{
	return ask_many(q, n, ASK_MS, a, ret);
}

int
dns_ask_within(struct str name, uint16_t type, uint64_t limit_ms, struct arena *a,
    struct dns_answer *ret)
{
	struct dns_question q = { name, type };

	return ask_many(&q, 1, limit_ms < ASK_MS ? limit_ms : ASK_MS, a, ret);
}

int
dns_ask(struct str name, uint16_t type, struct arena *a, struct dns_answer *ret)
{
	return dns_ask_within(name, type, ASK_MS, a, ret);
}

/* ---- helpers ---- */

static struct dns_source
source_of(const struct dns_answer *v)
{
	return (struct dns_source){ v->status, v->secure, v->ttl, v->canonical, v->why };
}

/* There were records, and none of them was well-formed. */
static struct dns_source
source_broken(const struct dns_answer *v)
{
	return (struct dns_source){ .status = DNS_FAILED, .canonical = v->canonical,
	    .why = STR("no record of the answer is well-formed") };
}

static uint32_t
random_below(uint32_t n)
{
	uint32_t x = 0;

	return getrandom(&x, sizeof x, 0) == sizeof x && n ? x % n : 0;
}

/* Puts n elements of that size in a random order. */
static void
shuffle(void *v, size_t n, size_t size)
{
	unsigned char *p = v, *x, *y;

	for (size_t i = n; i > 1; i--) {
		x = p + (i - 1) * size;
		y = p + random_below((uint32_t)i) * size;
		for (size_t k = 0; k < size; k++) {
			unsigned char t = x[k];

			x[k] = y[k];
			y[k] = t;
		}
	}
}

/* By preference; what has the same keeps its (random) order. */
static void
sort_hosts(struct dns_host *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct dns_host h = v[i];
		size_t k = i;

		for (; k && v[k - 1].preference > h.preference; k--)
			v[k] = v[k - 1];
		v[k] = h;
	}
}

/* The hosts of the records into ret->hosts; a host named twice stays once, at its best. */
static int
mx_hosts(const struct dns_answer *v, struct arena *a, struct dns_mx *ret)
{
	struct dns_host *all = ARENA_ARRAY(a, struct dns_host, v->n + 1);
	size_t n = 0, kept = 0;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < v->n; i++) {
		int r = dns_mx_get(v->rdata[i], a, &all[n]);

		if (r == -ENOMEM)
			return r;
		if (r == 0 && !all[n].name.n)
			ret->null_mx = true;
		else if (r == 0 && dns_name_is_host(all[n].name))
			n++;
	}
	shuffle(all, n, sizeof *all);
	sort_hosts(all, n);
	for (size_t i = 0; i < n && kept < DNS_HOSTS_MAX; i++) {
		bool seen = false;

		for (size_t k = 0; k < kept; k++)
			seen |= str_eq(all[k].name, all[i].name);
		if (!seen)
			all[kept++] = all[i];
	}
	ret->hosts = all;
	ret->n = kept;
	return 0;
}

int
dns_mx(struct str domain, struct arena *a, struct dns_mx *ret)
{
	struct dns_answer v;
	struct dns_mx m = { 0 };
	int r = dns_ask(domain, DNS_MX, a, &v);

	if (r == 0 && v.status == DNS_OK)
		r = mx_hosts(&v, a, &m);
	if (r < 0)
		return r;
	m.from = source_of(&v);
	if (v.status == DNS_NODATA) {
		m.hosts = ARENA_NEW(a, struct dns_host);
		if (!m.hosts)
			return -ENOMEM;
		r = plain_name(domain, a, &m.hosts->name);
		m.from.status = DNS_OK;
		m.implicit = true;
		m.n = 1;
	} else if (v.status == DNS_OK && !m.n && !m.null_mx) {
		m.from = source_broken(&v);
	}
	m.null_mx = m.null_mx && !m.n; /* RFC 7505 section 3: only where it stands alone */
	if (r == 0)
		*ret = m;
	return r;
}

/* The well-formed addresses of an answer, shuffled. */
static size_t
addresses_of(const struct dns_answer *v, uint16_t type, struct sockaddr_storage *out)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++)
		n += dns_address_get(v->rdata[i], type, &out[n]) == 0;
	shuffle(out, n, sizeof *out);
	return n;
}

/* Two answers about one host as one: the worse status unless something was found. */
static void
source_join(struct dns_source *s, const struct dns_answer *v)
{
	s->secure = s->secure && v->secure;
	s->ttl = v->ttl < s->ttl ? v->ttl : s->ttl;
	if (v->status > s->status) {
		s->status = v->status;
		s->why = v->why;
	}
}

int
dns_addresses(struct str host, unsigned families, struct arena *a, struct dns_addresses *ret)
{
	static const struct { unsigned family; uint16_t type; } kinds[] = {
		{ DNS_IPV6, DNS_AAAA }, { DNS_IPV4, DNS_A } };
	struct dns_question q[2];
	struct dns_answer v[2];
	struct dns_addresses out = { 0 };
	struct sockaddr_storage *part[2];
	size_t n = 0, count[2] = { 0 };
	int r;

	for (size_t i = 0; i < 2; i++)
		if (families & kinds[i].family)
			q[n++] = (struct dns_question){ host, kinds[i].type };
	r = dns_ask_many(q, n, a, v);
	if (r < 0)
		return r;
	out.from = source_of(&v[0]);
	out.v = ARENA_ARRAY(a, struct sockaddr_storage, v[0].n + (n > 1 ? v[1].n : 0) + 1);
	for (size_t i = 0; i < n; i++) {
		part[i] = ARENA_ARRAY(a, struct sockaddr_storage, v[i].n + 1);
		if (!part[i] || !out.v)
			return -ENOMEM;
		count[i] = addresses_of(&v[i], q[i].type, part[i]);
		source_join(&out.from, &v[i]);
	}
	for (size_t i = 0; i < count[0] || (n > 1 && i < count[1]); i++)
		for (size_t k = 0; k < n; k++)
			if (i < count[k])
				out.v[out.n++] = part[k][i];
	if (out.n)
		out.from.status = DNS_OK;
	else if (out.from.status == DNS_OK)
		out.from = source_broken(&v[0]);
	*ret = out;
	return 0;
}

int
dns_txt(struct str name, struct arena *a, struct dns_texts *ret)
{
	struct dns_texts t = { 0 };
	struct dns_answer v;
	int r = dns_ask(name, DNS_TXT, a, &v);

	if (r < 0)
		return r;
	t.from = source_of(&v);
	t.v = ARENA_ARRAY(a, struct str, v.n + 1);
	if (!t.v)
		return -ENOMEM;
	for (size_t i = 0; i < v.n; i++) {
		r = dns_txt_get(v.rdata[i], a, &t.v[t.n]);
		if (r == -ENOMEM)
			return r;
		t.n += r == 0;
	}
	if (v.status == DNS_OK && !t.n)
		t.from = source_broken(&v);
	*ret = t;
	return 0;
}

int
dns_reverse_name(const struct sockaddr_storage *address, struct arena *a, struct str *ret)
{
	struct buf b = { .max = 80 };

	if (address->ss_family == AF_INET) {
		const unsigned char *p =
		    (const unsigned char *)&((const struct sockaddr_in *)address)->sin_addr;

		buf_printf(&b, "%u.%u.%u.%u.in-addr.arpa", p[3], p[2], p[1], p[0]);
	} else if (address->ss_family == AF_INET6) {
		const unsigned char *p =
		    (const unsigned char *)&((const struct sockaddr_in6 *)address)->sin6_addr;

		for (int i = 15; i >= 0; i--)
			buf_printf(&b, "%x.%x.", p[i] & 15, p[i] >> 4);
		buf_puts(&b, "ip6.arpa");
	} else {
		return -EAFNOSUPPORT;
	}
	*ret = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return ret->p ? 0 : -ENOMEM;
}

int
dns_ptr(const struct sockaddr_storage *address, struct arena *a, struct dns_names *ret)
{
	struct dns_names t = { 0 };
	struct dns_answer v;
	struct str name;
	int r = dns_reverse_name(address, a, &name);

	if (r == 0)
		r = dns_ask(name, DNS_PTR, a, &v);
	if (r < 0)
		return r;
	t.from = source_of(&v);
	t.v = ARENA_ARRAY(a, struct str, v.n + 1);
	if (!t.v)
		return -ENOMEM;
	for (size_t i = 0; i < v.n; i++) {
		struct str rest = v.rdata[i];

		r = dns_name_get(&rest, a, &t.v[t.n]);
		if (r == -ENOMEM)
			return r;
		t.n += r == 0 && !rest.n && t.v[t.n].n && dns_name_is_host(t.v[t.n]);
	}
	if (v.status == DNS_OK && !t.n)
		t.from = source_broken(&v);
	*ret = t;
	return 0;
}

int
dns_tlsa(struct str host, unsigned port, struct arena *a, struct dns_tlsas *ret)
{
	struct dns_tlsas t = { 0 };
	struct dns_answer v;
	struct str name = arena_printf(a, "_%u._tcp.%.*s", port, STR_ARG(host));
	int r = name.p ? dns_ask(name, DNS_TLSA, a, &v) : -ENOMEM;

	if (r < 0)
		return r;
	t.from = source_of(&v);
	t.v = ARENA_ARRAY(a, struct dns_tlsa, v.n + 1);
	if (!t.v)
		return -ENOMEM;
	for (size_t i = 0; i < v.n; i++)
		t.n += dns_tlsa_get(v.rdata[i], &t.v[t.n]) == 0;
	if (v.status == DNS_OK && !t.n)
		t.from = source_broken(&v);
	*ret = t;
	return 0;
}
