/*
 * %{letter digits r delimiters}: the letter's value is cut at the delimiters (a dot without any),
 * turned round with r, cut down to the last `digits` parts, and joined by dots; an upper-case
 * letter asks for URL escapes (RFC 7208 section 7.3).
 */
#include "plugins/spf/macro.h"

#include <arpa/inet.h>
#include <errno.h>

#define DELIMITERS ".-+,/_="
#define LETTERS "slodiphv"
#define EXPLANATION_LETTERS LETTERS "crt"
#define PARTS_MAX 128 /* of a value: a domain has no more */

struct macro {
	char letter;   /* lower case */
	int escape, reverse;
	unsigned keep; /* parts; 0: all */
	struct ph_str delimiters;
};

static int
is_one_of(const char *set, char c)
{
	return c && strchr(set, c);
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Reads the macro at s, which begins with '%'. Its length, or -EINVAL. letter is 0 for the
 * escapes %%, %_ and %-. */
static int
read_macro(struct ph_str s, const char *letters, struct macro *ret)
{
	struct macro m = { .keep = 0 };
	size_t i = 3, digits;

	if (s.n >= 2 && is_one_of("%_-", s.p[1])) {
		*ret = m;
		return 2;
	}
	if (s.n < 4 || s.p[1] != '{' || !is_one_of(letters, lower(s.p[2])))
		return -EINVAL;
	m.letter = lower(s.p[2]);
	m.escape = m.letter != s.p[2];
	for (digits = i; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		m.keep = m.keep > PARTS_MAX ? m.keep : m.keep * 10 + (unsigned)(s.p[i] - '0');
	if (i > digits && !m.keep)
		return -EINVAL;
	if (i < s.n && lower(s.p[i]) == 'r') {
		m.reverse = 1;
		i++;
	}
	m.delimiters.p = s.p + i;
	while (i < s.n && is_one_of(DELIMITERS, s.p[i]))
		i++;
	m.delimiters.n = (size_t)(s.p + i - m.delimiters.p);
	if (i >= s.n || s.p[i] != '}')
		return -EINVAL;
	*ret = m;
	return (int)i + 1;
}

int
spf_macro_check(struct ph_str s, int explanation, size_t *ret)
{
	const char *letters = explanation ? EXPLANATION_LETTERS : LETTERS;
	size_t i = 0, literal = 0;
	struct macro m;

	while (i < s.n) {
		if (s.p[i] == '%') {
			int n = read_macro(ph_bytes(s.p + i, s.n - i), letters, &m);

			if (n < 0)
				return n;
			i += (size_t)n;
			literal = i;
		} else if (s.p[i] < (explanation ? 0x20 : 0x21) || s.p[i] > 0x7e) {
			return -EINVAL;
		} else {
			i++;
		}
	}
	if (ret)
		*ret = literal;
	return 0;
}

int
spf_macro_uses(struct ph_str s, char letter)
{
	for (size_t i = 0; i + 2 < s.n; i++)
		if (s.p[i] == '%') {
			if (s.p[i + 1] == '{' && lower(s.p[i + 2]) == letter)
				return 1;
			i++;
		}
	return 0;
}

/* ---- expanding ---- */

struct out {
	char *p;
	size_t n, size;
	int full;
};

static void
put(struct out *o, char c)
{
	if (o->n < o->size)
		o->p[o->n++] = c;
	else
		o->full = 1;
}

static void
put_str(struct out *o, struct ph_str s, int escape)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		char l = lower(s.p[i]);

		if (!escape || (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || is_one_of("-._~", s.p[i])) {
			put(o, s.p[i]);
		} else {
			put(o, '%');
			put(o, hex[c >> 4]);
			put(o, hex[c & 15]);
		}
	}
}

/* The address as %{i} has it: of IPv6 each half byte, divided by dots. */
static size_t
dotted(const struct spf_facts *f, char *buf)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	if (f->ip_len == 4) {
		inet_ntop(AF_INET, f->ip, buf, INET_ADDRSTRLEN);
		return strlen(buf);
	}
	for (unsigned i = 0; i < 16; i++) {
		buf[n++] = hex[f->ip[i] >> 4];
		buf[n++] = '.';
		buf[n++] = hex[f->ip[i] & 15];
		buf[n++] = '.';
	}
	return n - 1;
}

/* What the letter stands for; buf, of 80 bytes, is room for values that are made here. */
static struct ph_str
value(char letter, const struct spf_facts *f, char *buf)
{
	switch (letter) {
	case 's': return f->sender;
	case 'l': return f->local;
	case 'o': return f->sender_domain;
	case 'd': return f->domain;
	case 'h': return f->helo;
	case 'r': return f->host;
	case 'p': return f->validated;
	case 'v': return ph_c(f->ip_len == 4 ? "in-addr" : "ip6");
	case 'i': return ph_bytes(buf, dotted(f, buf));
	case 'c': return ph_c(inet_ntop(f->ip_len == 4 ? AF_INET : AF_INET6, f->ip, buf, 80));
	default: snprintf(buf, 80, "%llu", (unsigned long long)f->now); return ph_c(buf);
	}
}

static int
is_delimiter(const struct macro *m, char c)
{
	return m->delimiters.n ? memchr(m->delimiters.p, c, m->delimiters.n) != NULL : c == '.';
}

static size_t
split(const struct macro *m, struct ph_str v, struct ph_str *parts)
{
	size_t n = 0, from = 0;

	for (size_t i = 0; i <= v.n && n < PARTS_MAX; i++)
		if (i == v.n || is_delimiter(m, v.p[i])) {
			parts[n++] = ph_bytes(v.p + from, i - from);
			from = i + 1;
		}
	return n;
}

static void
put_macro(struct out *o, const struct macro *m, struct ph_str v)
{
	struct ph_str parts[PARTS_MAX];
	size_t n, first;

	if (!m->keep && !m->reverse && !m->delimiters.n) {
		put_str(o, v, m->escape);
		return;
	}
	n = split(m, v, parts);
	first = m->keep && m->keep < n ? n - m->keep : 0;
	for (size_t i = first; i < n; i++) {
		if (i > first)
			put(o, '.');
		put_str(o, parts[m->reverse ? n - 1 - i : i], m->escape);
	}
}

int
spf_macro_expand(struct ph_str s, const struct spf_facts *f, char *buf, size_t size)
{
	struct out o = { buf, 0, size, 0 };
	struct macro m;
	char room[80];

	for (size_t i = 0; i < s.n && !o.full;) {
		int n = s.p[i] == '%' ? read_macro(ph_bytes(s.p + i, s.n - i), EXPLANATION_LETTERS, &m) : 0;

		if (n <= 0) {
			put(&o, s.p[i++]);
			continue;
		}
		if (m.letter)
			put_macro(&o, &m, value(m.letter, f, room));
		else
			put_str(&o, ph_c(s.p[i + 1] == '%' ? "%" : s.p[i + 1] == '_' ? " " : "%20"), 0);
		i += (size_t)n;
	}
	return o.full ? -EMSGSIZE : (int)o.n;
}
