/*
 * SMTP paths, strictly by the grammar of RFC 5321 section 4.1.2: an envelope
 * address that is not quite one is refused while the client listens.
 *
 * Domains are brought to one form (lower case, A-labels by IDNA 2008), so that the
 * directory, the queue and a ticket always compare equal bytes. Local parts keep
 * their case; quoting that says nothing is dropped.
 */
#include "lib/mail/path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <idn2.h>
#include <stdlib.h>

#include "lib/base/text.h"

static bool
is_8bit(char c)
{
	return (c & 0x80) != 0;
}

static bool
is_atext(char c)
{
	return ascii_isalnum(c) || is_8bit(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* The content of a quoted string: qtextSMTP and quoted-pairSMTP. */
static int
read_quoted(struct str *s, char *out, size_t *n)
{
	size_t i = 1;

	for (; i < s->n && s->p[i] != '"'; i++) {
		if (s->p[i] == '\\' && ++i >= s->n)
			return -EINVAL;
		if (!is_8bit(s->p[i]) && (s->p[i] < 32 || s->p[i] == 127))
			return -EINVAL;
		if (*n == PATH_MAX_LOCAL)
			return -ENAMETOOLONG;
		out[(*n)++] = s->p[i];
	}
	if (i >= s->n)
		return -EINVAL;
	*s = str_skip(*s, i + 1);
	return 0;
}

static int
read_dot_string(struct str *s, char *out, size_t *n)
{
	size_t i = 0;

	for (; i < s->n && (is_atext(s->p[i]) || s->p[i] == '.'); i++) {
		if (s->p[i] == '.' && (i == 0 || s->p[i - 1] == '.'))
			return -EINVAL;
		if (*n == PATH_MAX_LOCAL)
			return -ENAMETOOLONG;
		out[(*n)++] = s->p[i];
	}
	if (i == 0 || s->p[i - 1] == '.')
		return -EINVAL;
	*s = str_skip(*s, i);
	return 0;
}

static int
read_local(struct str *s, struct arena *a, struct str *ret)
{
	char out[PATH_MAX_LOCAL];
	size_t n = 0;
	int r = s->n && s->p[0] == '"' ? read_quoted(s, out, &n) : read_dot_string(s, out, &n);

	if (r < 0)
		return r;
	*ret = arena_dup(a, str_from(out, n));
	return ret->p ? 0 : -ENOMEM;
}

/* Letters, digits, hyphens inside labels of 1 to 63 octets. */
static bool
is_hostname(struct str s)
{
	size_t label = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '.') {
			if (label == 0 || s.p[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!ascii_isalnum(c) && c != '_' && (c != '-' || label == 0))
			return false;
		if (++label > 63)
			return false;
	}
	return label > 0 && s.p[s.n - 1] != '-';
}

bool
path_is_host(struct str s)
{
	if (!s.n || s.n > PATH_MAX_DOMAIN)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_isalnum(s.p[i]) && (!s.p[i] || !strchr("-._:[]", s.p[i])))
			return false;
	return true;
}

static int
idna(struct str s, struct arena *a, struct str *ret)
{
	uint8_t *ascii = NULL;
	char *c = arena_cstr(a, s);
	int r;

	if (!c)
		return -ENOMEM;
	r = idn2_lookup_u8((const uint8_t *)c, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (r != IDN2_OK)
		return -EDOM;
	*ret = arena_dup(a, str_c((const char *)ascii));
	idn2_free(ascii);
	return ret->p ? 0 : -ENOMEM;
}

int
path_domain(struct str s, unsigned flags, struct arena *a, struct str *ret)
{
	struct str d = s;
	char *p;
	int r;

	if (s.n == 0 || memchr(s.p, 0, s.n))
		return -EINVAL;
	if (s.n > PATH_MAX_DOMAIN)
		return -ENAMETOOLONG;
	if (!ascii_only(s)) {
		if (!(flags & PATH_UTF8) || !utf8_valid(s))
			return -EILSEQ;
		if ((r = idna(s, a, &d)) < 0)
			return r;
		if (d.n > PATH_MAX_DOMAIN)
			return -ENAMETOOLONG;
	}
	if (!is_hostname(d))
		return -EINVAL;
	if (!(p = arena_cstr(a, d)))
		return -ENOMEM;
	for (size_t i = 0; i < d.n; i++)
		p[i] = ascii_lower(p[i]);
	*ret = str_from(p, d.n);
	return 0;
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]"; other tags are refused. */
static int
read_literal(struct str *s, struct arena *a, struct str *ret)
{
	ptrdiff_t end = str_chr(*s, ']');
	struct str body;
	unsigned char addr[16];
	char text[64], norm[64];
	bool v6;

	if (end < 0)
		return -EINVAL;
	body = str_from(s->p + 1, (size_t)end - 1);
	v6 = str_istarts(body, STR("IPv6:"));
	if (v6)
		body = str_skip(body, 5);
	if (body.n >= sizeof text || memchr(body.p, 0, body.n))
		return -EINVAL;
	memcpy(text, body.p, body.n);
	text[body.n] = '\0';
	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, addr) != 1)
		return -EINVAL;
	inet_ntop(v6 ? AF_INET6 : AF_INET, addr, norm, sizeof norm);
	*ret = arena_printf(a, "[%s%s]", v6 ? "ipv6:" : "", norm);
	*s = str_skip(*s, (size_t)end + 1);
	return ret->p ? 0 : -ENOMEM;
}

static size_t
domain_length(struct str s)
{
	size_t n = 0;

	while (n < s.n && (ascii_isalnum(s.p[n]) || is_8bit(s.p[n]) || s.p[n] == '.' ||
	    s.p[n] == '-' || s.p[n] == '_'))
		n++;
	return n;
}

static int
read_domain(struct str *s, unsigned flags, struct arena *a, struct path *p)
{
	size_t n;
	int r;

	if (s->n && s->p[0] == '[') {
		p->literal = true;
		return read_literal(s, a, &p->domain);
	}
	n = domain_length(*s);
	if (n == 0)
		return -EINVAL;
	if ((r = path_domain(str_head(*s, n), flags, a, &p->domain)) < 0)
		return r;
	*s = str_skip(*s, n);
	return 0;
}

/* "@a,@b:" is read for its syntax and thrown away (RFC 5321 appendix C). */
static int
skip_route(struct str *s)
{
	while (s->n && s->p[0] == '@') {
		size_t n = domain_length(str_skip(*s, 1));

		if (n == 0)
			return -EINVAL;
		if (n > PATH_MAX_DOMAIN)
			return -ENAMETOOLONG;
		*s = str_skip(*s, 1 + n);
		if (s->n && s->p[0] == ':') {
			*s = str_skip(*s, 1);
			return 0;
		}
		if (s->n < 2 || s->p[0] != ',' || s->p[1] != '@')
			return -EINVAL;
		*s = str_skip(*s, 1);
	}
	return 0;
}

/* Whether a local part can stand without quotes. */
static bool
is_dot_string(struct str s)
{
	char out[PATH_MAX_LOCAL];
	size_t n = 0;

	return read_dot_string(&s, out, &n) == 0 && s.n == 0;
}

static int
make_text(struct path *p, struct arena *a)
{
	struct buf b = { 0 };
	bool quote = !is_dot_string(p->local);

	if (quote)
		buf_putc(&b, '"');
	for (size_t i = 0; i < p->local.n; i++) {
		if (quote && (p->local.p[i] == '"' || p->local.p[i] == '\\'))
			buf_putc(&b, '\\');
		buf_putc(&b, p->local.p[i]);
	}
	if (quote)
		buf_putc(&b, '"');
	if (p->domain.n) {
		buf_putc(&b, '@');
		buf_str(&b, p->domain);
	}
	p->text = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return p->text.p ? 0 : -ENOMEM;
}

/* local@domain at the begin of *s. */
static int
read_mailbox(struct str *s, unsigned flags, struct arena *a, struct path *p)
{
	struct str start = *s;
	int r = read_local(s, a, &p->local);

	if (r < 0)
		return r;
	if (!ascii_only(p->local)) {
		if (!(flags & PATH_UTF8) || !utf8_valid(p->local))
			return -EILSEQ;
		p->utf8 = true;
	}
	if (s->n && s->p[0] == '@') {
		*s = str_skip(*s, 1);
		if ((r = read_domain(s, flags, a, p)) < 0)
			return r;
	} else if (!(flags & PATH_POSTMASTER) || !str_ieq(p->local, STR("postmaster")))
		return -EINVAL;
	if (start.n - s->n > PATH_MAX_PATH)
		return -ENAMETOOLONG;
	if ((r = make_text(p, a)) < 0)
		return r;
	/* A-labels and quoted pairs make our spelling longer than the client's. */
	return p->text.n > PATH_MAX_PATH ? -ENAMETOOLONG : 0;
}

int
path_parse(struct str s, unsigned flags, struct arena *a, struct path *ret, struct str *ret_rest)
{
	struct path p = { 0 };
	int r;

	if (s.n < 2 || s.p[0] != '<')
		return -EINVAL;
	s = str_skip(s, 1);
	if (s.p[0] == '>') {
		if (!(flags & PATH_NULL))
			return -EINVAL;
		p.null = true;
	} else {
		if ((r = skip_route(&s)) < 0 || (r = read_mailbox(&s, flags, a, &p)) < 0)
			return r;
		if (s.n == 0 || s.p[0] != '>')
			return -EINVAL;
	}
	*ret = p;
	*ret_rest = str_skip(s, 1);
	return 0;
}

int
path_parse_address(struct str s, unsigned flags, struct arena *a, struct path *ret)
{
	struct path p = { 0 };
	int r = read_mailbox(&s, flags, a, &p);

	if (r < 0)
		return r;
	if (s.n)
		return -EINVAL;
	*ret = p;
	return 0;
}
