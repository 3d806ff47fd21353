/*
 * Structured values with parameters (RFC 2045 section 5.1) and the pieces of
 * RFC 2231: name*=charset'lang'%41, name*0="a", name*1*=%42. Pieces of a name are
 * put together in the order of their numbers, up to the first gap.
 */
#include "lib/mail/mime.h"

#include "lib/base/text.h"
#include "lib/mail/header.h"
#include "lib/mail/word.h"

struct piece {
	struct str name, value;
	int number;       /* -1: no continuation */
	bool extended;    /* percent-encoded */
};

static void
skip_cfws(struct str *s)
{
	int depth = 0;

	while (s->n) {
		char c = s->p[0];

		if (c == '(')
			depth++;
		else if (c == ')' && depth)
			depth--;
		else if (depth == 0 && !ascii_isspace(c))
			return;
		*s = str_skip(*s, 1 + (c == '\\' && depth && s->n > 1));
	}
}

static struct str
token(struct str *s)
{
	size_t n = 0;
	struct str r;

	while (n < s->n && (unsigned char)s->p[n] > 32 && !strchr("()<>@,;:\\\"/[]?=", s->p[n]))
		n++;
	r = str_head(*s, n);
	*s = str_skip(*s, n);
	return r;
}

/* A quoted string, s begins behind its quote; an unclosed one goes to the end. */
static struct str
quoted(struct str *s, struct arena *a)
{
	char *q = arena_alloc(a, s->n + 1);
	size_t i = 0, n = 0;

	for (; i < s->n && s->p[i] != '"'; i++) {
		if (s->p[i] == '\\' && i + 1 < s->n)
			i++;
		if (q && s->p[i] != '\r' && s->p[i] != '\n' && s->p[i] != '\0')
			q[n++] = s->p[i];
	}
	*s = str_skip(*s, i + 1);
	return q ? str_from(q, n) : STR_NULL;
}

/* An unquoted value: to the next ';', since names with blanks come unquoted too. */
static struct str
bare(struct str *s, struct arena *a)
{
	size_t n = 0;
	struct str r;

	while (n < s->n && s->p[n] != ';')
		n++;
	r = str_head(*s, n);
	*s = str_skip(*s, n);
	if (str_chr(r, '(') >= 0) { /* "us-ascii (Plain text)" */
		struct str t = r, w = token(&t);

		skip_cfws(&t);
		if (w.n && t.n == 0)
			r = w;
	}
	return header_unfold(r, a);
}

/* Takes "*0*" off a name. */
static void
split_name(struct piece *p)
{
	ptrdiff_t star = str_chr(p->name, '*');
	struct str tail;
	uint32_t no;

	p->number = -1;
	if (star <= 0)
		return;
	tail = str_skip(p->name, (size_t)star + 1);
	if (tail.n == 0) {
		p->extended = true;
	} else {
		bool extended = tail.p[tail.n - 1] == '*';

		if (!str_u32(str_head(tail, tail.n - extended), 999, &no))
			return;
		p->number = (int)no;
		p->extended = extended;
	}
	p->name = str_head(p->name, (size_t)star);
}

static bool
next_piece(struct str *s, struct arena *a, struct piece *ret)
{
	while (s->n) {
		skip_cfws(s);
		if (s->n && s->p[0] == ';') {
			*s = str_skip(*s, 1);
			continue;
		}
		*ret = (struct piece){ .name = token(s) };
		skip_cfws(s);
		if (ret->name.n == 0 || s->n == 0 || s->p[0] != '=') {
			bare(s, a); /* no parameter: passed over */
			continue;
		}
		*s = str_skip(*s, 1);
		skip_cfws(s);
		if (s->n && s->p[0] == '"') {
			*s = str_skip(*s, 1);
			ret->value = quoted(s, a);
		} else {
			ret->value = bare(s, a);
		}
		ret->name = arena_lower(a, ret->name);
		split_name(ret);
		if (ret->name.p)
			return true;
	}
	return false;
}

static int
hex(char c)
{
	return ascii_isdigit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static void
put_percent_decoded(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		int hi, lo;

		if (s.p[i] == '%' && i + 2 < s.n && (hi = hex(s.p[i + 1])) >= 0 &&
		    (lo = hex(s.p[i + 2])) >= 0) {
			buf_putc(b, (char)(hi << 4 | lo));
			i += 2;
		} else
			buf_putc(b, s.p[i]);
	}
}

static void
put_percent_encoded(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (ascii_isalnum(s.p[i]) || strchr("-._~", s.p[i] ? s.p[i] : '%'))
			buf_putc(b, s.p[i]);
		else
			buf_printf(b, "%%%02X", (unsigned char)s.p[i]);
}

/* The pieces of one name in order, as IMAP shows them and decoded. */
static void
join(const struct piece *v, size_t n, struct arena *a, struct mime_param *ret)
{
	struct buf raw, dec, out;
	struct str charset = STR_NULL;
	bool extended = false;
	size_t k;

	buf_init(&raw, MIME_MAX_PARAM_VALUE);
	buf_init(&dec, MIME_MAX_PARAM_VALUE);
	buf_init(&out, MIME_MAX_PARAM_VALUE);
	for (size_t i = 0; i < n; i++)
		extended |= v[i].extended;
	for (size_t i = 0; i < n; i++) {
		const struct piece *p = NULL;
		struct str val;

		for (k = 0; k < n; k++)
			if (v[k].number == (v[0].number < 0 ? -1 : (int)i))
				p = &v[k];
		if (!p)
			break;
		val = p->value;
		if (i == 0 && p->extended) {
			struct str rest = val, cs = str_cut(&rest, '\'');

			if (rest.p && str_chr(rest, '\'') >= 0) {
				charset = cs;
				str_cut(&rest, '\'');
				buf_put(&raw, val.p, (size_t)(rest.p - val.p));
				val = rest;
			}
		}
		if (p->extended) {
			buf_str(&raw, val);
			put_percent_decoded(&dec, val);
		} else {
			extended ? put_percent_encoded(&raw, val) : buf_str(&raw, val);
			buf_str(&dec, val);
		}
		if (v[0].number < 0)
			break;
	}
	ret->name = extended ? arena_printf(a, "%.*s*", STR_ARG(v[0].name)) : v[0].name;
	ret->value = arena_dup(a, buf_view(&raw));
	if (extended)
		charset_to_utf8(charset, buf_view(&dec), &out);
	else
		word_decode(buf_view(&dec), &out);
	ret->decoded = arena_dup(a, buf_view(&out));
	buf_done(&raw);
	buf_done(&dec);
	buf_done(&out);
}

/* The first name that is plain stands as it is; others are joined. */
static void
add_params(struct piece *v, size_t n, struct arena *a, struct mime_value *ret)
{
	for (size_t i = 0; i < n; i++) {
		struct piece same[MIME_MAX_PARAMS];
		struct mime_param *p = &ret->params[ret->n];
		size_t k = 0;
		bool seen = false;

		for (size_t j = 0; j < i; j++)
			seen |= str_eq(v[j].name, v[i].name);
		if (seen)
			continue;
		for (size_t j = i; j < n; j++)
			if (str_eq(v[j].name, v[i].name) &&
			    (k == 0 || (v[j].number < 0) == (same[0].number < 0)) &&
			    !(k && v[j].number < 0))
				same[k++] = v[j];
		if (k == 1 && !same[0].extended && ascii_only(same[0].value) &&
		    str_find(same[0].value, STR("=?")) < 0)
			*p = (struct mime_param){ same[0].name, same[0].value, same[0].value };
		else
			join(same, k, a, p);
		ret->n++;
	}
}

void
mime_value_parse(struct str raw, struct arena *a, struct mime_value *ret)
{
	struct piece v[MIME_MAX_PARAMS];
	size_t n = 0;

	*ret = (struct mime_value){ 0 };
	skip_cfws(&raw);
	ret->type = token(&raw);
	skip_cfws(&raw);
	if (raw.n && raw.p[0] == '/') {
		raw = str_skip(raw, 1);
		skip_cfws(&raw);
		ret->subtype = token(&raw);
	}
	bare(&raw, a);
	while (n < MIME_MAX_PARAMS && next_piece(&raw, a, &v[n]))
		n++;
	if (n && (ret->params = ARENA_ARRAY(a, struct mime_param, n)))
		add_params(v, n, a, ret);
}

struct str
mime_value_get(const struct mime_value *v, struct str name)
{
	for (size_t i = 0; i < v->n; i++) {
		struct str n = v->params[i].name;

		if (n.n && n.p[n.n - 1] == '*')
			n.n--;
		if (str_ieq(n, name))
			return v->params[i].decoded;
	}
	return STR_NULL;
}
