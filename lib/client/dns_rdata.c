/* The data of DNS records, read and shown; see dns_rdata.h. */
#include "lib/client/dns_rdata.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "lib/base/text.h"

#define LABEL_MAX 63
#define WIRE_NAME_MAX 255

static uint16_t
be16_get(const char *p)
{
	return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

/* ---- names ---- */

static void
label_text(struct buf *b, struct str label)
{
	for (size_t i = 0; i < label.n; i++) {
		unsigned char c = (unsigned char)label.p[i];

		if (c <= ' ' || c >= 127 || strchr(".\\\"();@$", c))
			buf_printf(b, "\\%03u", c);
		else
			buf_putc(b, ascii_lower((char)c));
	}
}

/* Appends the name's text; *s loses its bytes only when the name is whole. */
static int
name_text(struct str *s, struct buf *b)
{
	struct str in = *s;
	size_t first = b->n;

	for (;;) {
		size_t n = in.n ? (unsigned char)*in.p : 0;

		if (!in.n || n > LABEL_MAX || in.n < n + 1 || s->n - in.n + n + 1 > WIRE_NAME_MAX)
			return -EPROTO;
		if (n && b->n > first)
			buf_putc(b, '.');
		label_text(b, str_from(in.p + 1, n));
		in = str_skip(in, n + 1);
		if (!n)
			break;
	}
	*s = in;
	return b->over ? -ENOMEM : 0;
}

int
dns_name_get(struct str *s, struct arena *a, struct str *ret)
{
	struct buf b = { .max = DNS_NAME_MAX };
	int r = name_text(s, &b);
	struct str copy = r ? STR_NULL : arena_dup(a, b.n ? buf_view(&b) : STR(""));

	buf_done(&b);
	if (r)
		return r;
	if (!copy.p)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

/* One character of a name's text: how long it is, its byte in *ret; 0 when malformed. */
static size_t
escaped(struct str s, char *ret)
{
	uint32_t v;

	if (*s.p != '\\') {
		*ret = *s.p;
		return 1;
	}
	if (s.n > 3 && str_u32(str_from(s.p + 1, 3), 255, &v)) {
		*ret = (char)v;
		return 4;
	}
	if (s.n < 2 || ascii_isdigit(s.p[1]))
		return 0;
	*ret = s.p[1];
	return 2;
}

int
dns_name_put(struct buf *b, struct str name)
{
	char out[WIRE_NAME_MAX + 1];
	size_t n = 1, at = 0; /* bytes in out, place of the label's length */

	if (str_eq(name, STR(".")))
		name.n = 0;
	while (name.n) {
		char c;
		size_t len = escaped(name, &c);
		bool dot = len == 1 && *name.p == '.';

		if (!len || (dot && n - at - 1 == 0) || (!dot && n - at - 1 == LABEL_MAX) ||
		    n >= WIRE_NAME_MAX)
			return -EINVAL;
		if (dot) {
			out[at] = (char)(n - at - 1);
			at = n++;
		} else {
			out[n++] = c;
		}
		name = str_skip(name, len);
	}
	out[at] = (char)(n - at - 1);
	if (n - at > 1) /* no final dot: the root's label is still to come */
		out[n++] = 0;
	if (n > WIRE_NAME_MAX)
		return -EINVAL;
	buf_put(b, out, n);
	return 0;
}

bool
dns_name_is_host(struct str name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!ascii_isalnum(name.p[i]) && !memchr("-_.", name.p[i], 3))
			return false;
	return name.n > 0 && name.n < WIRE_NAME_MAX;
}

/* ---- the types that are used ---- */

int
dns_mx_get(struct str rdata, struct arena *a, struct dns_host *ret)
{
	struct str rest = str_skip(rdata, 2), name;
	int r;

	if (rdata.n < 3)
		return -EPROTO;
	r = dns_name_get(&rest, a, &name);
	if (r)
		return r;
	if (rest.n)
		return -EPROTO;
	*ret = (struct dns_host){ be16_get(rdata.p), name };
	return 0;
}

int
dns_address_get(struct str rdata, uint16_t type, struct sockaddr_storage *ret)
{
	struct sockaddr_storage ss = { 0 };

	if (type == DNS_A && rdata.n == 4) {
		ss.ss_family = AF_INET;
		memcpy(&((struct sockaddr_in *)&ss)->sin_addr, rdata.p, 4);
	} else if (type == DNS_AAAA && rdata.n == 16) {
		ss.ss_family = AF_INET6;
		memcpy(&((struct sockaddr_in6 *)&ss)->sin6_addr, rdata.p, 16);
	} else {
		return -EPROTO;
	}
	*ret = ss;
	return 0;
}

int
dns_txt_get(struct str rdata, struct arena *a, struct str *ret)
{
	char *out = arena_alloc(a, rdata.n + 1);
	size_t n = 0;

	if (!rdata.n)
		return -EPROTO;
	if (!out)
		return -ENOMEM;
	while (rdata.n) {
		size_t len = (unsigned char)*rdata.p;

		if (rdata.n < len + 1)
			return -EPROTO;
		memcpy(out + n, rdata.p + 1, len);
		n += len;
		rdata = str_skip(rdata, len + 1);
	}
	out[n] = '\0';
	*ret = str_from(out, n);
	return 0;
}

int
dns_tlsa_get(struct str rdata, struct dns_tlsa *ret)
{
	if (rdata.n < 4)
		return -EPROTO;
	*ret = (struct dns_tlsa){ (uint8_t)rdata.p[0], (uint8_t)rdata.p[1], (uint8_t)rdata.p[2],
		str_skip(rdata, 3) };
	return 0;
}

/* ---- for people ---- */

static int
show_address(struct buf *b, uint16_t type, struct str rdata)
{
	char text[INET6_ADDRSTRLEN];

	if (rdata.n != (type == DNS_A ? 4u : 16u))
		return -EPROTO;
	inet_ntop(type == DNS_A ? AF_INET : AF_INET6, rdata.p, text, sizeof text);
	buf_puts(b, text);
	return 0;
}

static int
show_name(struct buf *b, struct str *rdata)
{
	int r = name_text(rdata, b);

	if (!r)
		buf_putc(b, '.');
	return r;
}

/* numbers of 16 bits, then a name */
static int
show_numbers_name(struct buf *b, struct str rdata, unsigned numbers)
{
	for (; numbers; numbers--) {
		if (rdata.n < 2)
			return -EPROTO;
		buf_printf(b, "%u ", be16_get(rdata.p));
		rdata = str_skip(rdata, 2);
	}
	return show_name(b, &rdata) || rdata.n ? -EPROTO : 0;
}

static int
show_strings(struct buf *b, struct str rdata)
{
	const char *between = "\"";

	while (rdata.n) {
		size_t n = (unsigned char)*rdata.p;

		if (rdata.n < n + 1)
			return -EPROTO;
		buf_puts(b, between);
		for (size_t i = 1; i <= n; i++) {
			unsigned char c = (unsigned char)rdata.p[i];

			if (c < ' ' || c >= 127 || c == '"' || c == '\\')
				buf_printf(b, "\\%03u", c);
			else
				buf_putc(b, (char)c);
		}
		buf_putc(b, '"');
		between = " \"";
		rdata = str_skip(rdata, n + 1);
	}
	return 0;
}

static int
show_tlsa(struct buf *b, struct str rdata)
{
	struct dns_tlsa t;

	if (dns_tlsa_get(rdata, &t))
		return -EPROTO;
	buf_printf(b, "%u %u %u ", t.usage, t.selector, t.matching);
	hex_put(b, t.data);
	return 0;
}

static int
show_known(struct buf *b, uint16_t type, struct str rdata)
{
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		return show_address(b, type, rdata);
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		return show_numbers_name(b, rdata, 0);
	case DNS_MX:
		return show_numbers_name(b, rdata, 1);
	case DNS_SRV:
		return show_numbers_name(b, rdata, 3);
	case DNS_TXT:
		return show_strings(b, rdata);
	case DNS_TLSA:
		return show_tlsa(b, rdata);
	default:
		return -EPROTO;
	}
}

void
dns_rdata_text(struct buf *b, uint16_t type, struct str rdata)
{
	size_t start = b->n;

	if (!show_known(b, type, rdata))
		return;
	buf_truncate(b, start);
	buf_printf(b, "\\# %zu ", rdata.n);
	hex_put(b, rdata);
}

static const struct {
	const char *name;
	uint16_t type;
} types[] = {
	{ "A", DNS_A }, { "NS", DNS_NS }, { "CNAME", DNS_CNAME }, { "SOA", DNS_SOA }, { "PTR", DNS_PTR },
	{ "MX", DNS_MX }, { "TXT", DNS_TXT }, { "AAAA", DNS_AAAA }, { "SRV", DNS_SRV },
	{ "DNSKEY", DNS_DNSKEY }, { "TLSA", DNS_TLSA },
};

uint16_t
dns_type_by_name(struct str name)
{
	uint32_t v;

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (str_ieq(name, str_c(types[i].name)))
			return types[i].type;
	if (str_istarts(name, STR("TYPE")) && str_u32(str_skip(name, 4), UINT16_MAX, &v))
		return (uint16_t)v;
	return 0;
}

void
dns_type_text(struct buf *b, uint16_t type)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].type == type) {
			buf_puts(b, types[i].name);
			return;
		}
	buf_printf(b, "TYPE%u", type);
}
