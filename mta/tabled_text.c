/* Servers, queries and values of tables; see tabled.h. */
#include <errno.h>
#include <stdlib.h>

#include "mta/tabled.h"

/* ---- servers ---- */

/* An address; a name is not, whatever it looks like, but localhost. */
static bool
is_loopback(struct str host)
{
	for (size_t i = 0; i < host.n && str_starts(host, STR("127.")); i++)
		if (host.p[i] != '.' && !ascii_isdigit(host.p[i]))
			return false;
	return str_ieq(host, STR("localhost")) || str_eq(host, STR("::1")) ||
	    str_starts(host, STR("127."));
}

/* HOST, HOST:PORT, [ADDRESS]:PORT, or an IPv6 address alone. */
static int
split(struct str text, unsigned port, struct str *ret_host, unsigned *ret_port)
{
	ptrdiff_t colon = str_rchr(text, ':');
	uint32_t n = port;

	if (text.n && text.p[0] == '[') {
		ptrdiff_t end = str_chr(text, ']');
		struct str rest = str_skip(text, (size_t)end + 1);

		if (end < 2 || (rest.n && (rest.p[0] != ':' || !str_u32(str_skip(rest, 1), 65535, &n))))
			return -EINVAL;
		text = str_from(text.p + 1, (size_t)end - 1);
	} else if (colon >= 0 && colon == str_chr(text, ':')) {
		if (!str_u32(str_skip(text, (size_t)colon + 1), 65535, &n))
			return -EINVAL;
		text = str_head(text, (size_t)colon);
	}
	if (!text.n || !n)
		return -EINVAL;
	*ret_host = text;
	*ret_port = n;
	return 0;
}

int
table_server_parse(struct str text, unsigned port, unsigned tls_port, unsigned tls,
    struct table_server *ret)
{
	struct table_server s = { .port = port, .tls = (enum conf_table_tls)tls };
	struct str host = text;
	bool local = text.n && text.p[0] == '/';

	if (str_istarts(text, STR("ldaps://")) && tls_port) {
		s.implicit_tls = true;
		host = str_skip(text, 8);
		port = tls_port;
	} else if (str_istarts(text, STR("ldap://"))) {
		host = str_skip(text, 7);
	}
	if (host.n && host.p[host.n - 1] == '/' && !local)
		host.n--;
	if (local)
		s.port = 0;
	else if (split(host, port, &host, &s.port))
		return -EINVAL;
	if (host.n >= sizeof s.host || memchr(host.p, 0, host.n))
		return -EINVAL;
	memcpy(s.host, host.p, host.n);
	if (s.tls == CONF_TABLE_TLS_AUTO)
		s.tls = local || (is_loopback(host) && !s.implicit_tls) ? CONF_TABLE_TLS_OFF :
		    CONF_TABLE_TLS_VERIFY;
	*ret = s;
	return 0;
}

/* ---- SQL ---- */

struct maker {
	struct table_query *q;
	enum query_style style;
	struct buf out;
	unsigned numbers[PARTS];      /* QUERY_DOLLAR: of each part, 0: none yet */
};

static int
put_place(struct maker *m, unsigned part)
{
	struct table_query *q = m->q;

	if (m->style == QUERY_DOLLAR && m->numbers[part]) {
		buf_printf(&m->out, "$%u", m->numbers[part]);
		return 0;
	}
	if (q->n_places == QUERY_PLACES)
		return -EINVAL;
	q->places[q->n_places++] = (unsigned char)part;
	m->numbers[part] = q->n_places;
	if (m->style == QUERY_DOLLAR)
		buf_printf(&m->out, "$%u", q->n_places);
	else
		buf_putc(&m->out, '?');
	q->wants_domain |= part != PART_KEY;
	return 0;
}

/* The part that %X at i stands for, or PARTS. */
static unsigned
part_at(struct str text, size_t i)
{
	static const char letters[PARTS] = { 's', 'u', 'd' };

	for (unsigned k = 0; k < PARTS && i + 1 < text.n; k++)
		if (text.p[i] == '%' && text.p[i + 1] == letters[k])
			return k;
	return PARTS;
}

/* Whether a string begins so: MySQL has two quotes for them, others names in the second. */
static bool
is_quote(const struct maker *m, char c)
{
	return c == '\'' || (c == '"' && m->style == QUERY_MARK);
}

/* Where the quoted string that begins at i ends (behind the quote), or 0: nowhere. Two
 * quotes stand for one, and in MySQL's way a backslash takes the next character. */
static size_t
string_end(const struct maker *m, struct str text, size_t i)
{
	char quote = text.p[i];

	for (i++; i < text.n; i++) {
		if (m->style == QUERY_MARK && text.p[i] == '\\')
			i++;
		else if (text.p[i] == quote && i + 1 < text.n && text.p[i + 1] == quote)
			i++;
		else if (text.p[i] == quote)
			return i + 1;
	}
	return 0;
}

/* A quoted string: alone if it has no parts; the part alone if it is nothing else; else
 * pieces put together. */
static int
put_string(struct maker *m, struct str s)
{
	struct str inner = str_from(s.p + 1, s.n - 2);
	bool dollar = m->style == QUERY_DOLLAR, any = false;
	char quote = s.p[0];
	int r = 0;

	for (size_t i = 0; i < inner.n; i++)
		any |= part_at(inner, i) < PARTS;
	if (any && inner.n == 2)
		return put_place(m, part_at(inner, 0));
	if (any)
		buf_puts(&m->out, dollar ? "(" : "CONCAT(");
	buf_putc(&m->out, quote);
	for (size_t i = 0; i < inner.n && !r; i++) {
		unsigned part = part_at(inner, i);

		if (part < PARTS) {
			buf_printf(&m->out, "%c%s", quote, dollar ? "||" : ",");
			r = put_place(m, part);
			buf_printf(&m->out, "%s%c", dollar ? "||" : ",", quote);
			i++;
			continue;
		}
		if (inner.p[i] == '%' && i + 1 < inner.n && inner.p[i + 1] == '%')
			i++;
		buf_putc(&m->out, inner.p[i]);
	}
	buf_printf(&m->out, "%c%s", quote, any ? ")" : "");
	return r;
}

static int
make(struct maker *m, struct str text, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < text.n && !r; i++) {
		unsigned part = part_at(text, i);

		if (is_quote(m, text.p[i])) {
			size_t end = string_end(m, text, i);

			if (!end)
				return err_set(e, -EINVAL, "a quote of the query has no end");
			r = put_string(m, str_from(text.p + i, end - i));
			i = end - 1;
		} else if (part < PARTS) {
			r = put_place(m, part);
			i++;
		} else {
			i += text.p[i] == '%' && i + 1 < text.n && text.p[i + 1] == '%';
			buf_putc(&m->out, text.p[i]);
		}
	}
	return r ? err_set(e, r, "the query has more than %d places for the key", QUERY_PLACES) : 0;
}

int
table_query_make(struct str text, enum query_style style, struct table_query *ret, struct err *e)
{
	struct table_query q = { 0 };
	struct maker m = { .q = &q, .style = style, .out = { .max = 65536 } };
	int r = make(&m, text, e);

	buf_putc(&m.out, '\0');
	if (!r && m.out.over)
		r = err_set(e, -EINVAL, "the query is too long");
	if (r) {
		buf_done(&m.out);
		return r;
	}
	q.text = buf_detach(&m.out, &(size_t){ 0 });
	*ret = q;
	return 0;
}

void
table_query_done(struct table_query *q)
{
	free(q->text);
	*q = (struct table_query){ 0 };
}

/* ---- filters of LDAP ---- */

bool
table_filter_wants_domain(struct str filter)
{
	return str_find(filter, STR("%u")) >= 0 || str_find(filter, STR("%d")) >= 0;
}

static void
put_escaped(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f || strchr("*()\\", c))
			buf_printf(b, "\\%02x", c);
		else
			buf_putc(b, (char)c);
	}
}

int
table_filter_put(struct buf *b, struct str filter, const struct str parts[static PARTS])
{
	for (size_t i = 0; i < filter.n; i++) {
		unsigned part = part_at(filter, i);

		if (part < PARTS)
			put_escaped(b, parts[part]);
		else if (filter.p[i] != '%')
			buf_putc(b, filter.p[i]);
		else if (i + 1 < filter.n && filter.p[i + 1] == '%')
			buf_putc(b, '%');
		else
			return -EINVAL;
		i += filter.p[i] == '%';
	}
	return b->over ? -ENOMEM : 0;
}

/* ---- values ---- */

int
table_values_add(struct table_values *v, struct str value)
{
	size_t *ends;

	if (!value.n)
		return 0;
	if (v->n >= v->max || v->bytes.n + value.n + v->n > TABLE_ANSWER_MAX)
		return -EMSGSIZE;
	if (v->n % 64 == 0) {
		ends = realloc(v->ends, (v->n + 64) * sizeof *ends);
		if (!ends)
			return -ENOMEM;
		v->ends = ends;
	}
	buf_str(&v->bytes, value);
	if (v->bytes.over)
		return -ENOMEM;
	v->ends[v->n++] = v->bytes.n;
	return 0;
}
