/* Canonical forms; see canon.h. */
#include "plugins/dkim/canon.h"

#include <stdlib.h>

#include "plugins/dkim/tags.h"

/* Bytes on their way into a hash. */
struct sink {
	EVP_MD_CTX *md;
	char p[1024];
	size_t n;
};

static void
flush(struct sink *s)
{
	EVP_DigestUpdate(s->md, s->p, s->n);
	s->n = 0;
}

static void
put(struct sink *s, char c)
{
	if (s->n == sizeof s->p)
		flush(s);
	s->p[s->n++] = c;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static int
is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* ---- taking apart ---- */

/* The end of the field that begins at i: before the CRLF of its last line. */
static size_t
field_end(struct ph_str m, size_t i)
{
	for (; i + 1 < m.n; i++)
		if (m.p[i] == '\r' && m.p[i + 1] == '\n' && (i + 2 == m.n || !is_wsp(m.p[i + 2])))
			return i;
	return m.n;
}

int
canon_split(struct ph_str m, struct canon_message *ret)
{
	size_t i = 0;

	ret->n = 0;
	while (i < m.n && !(m.p[i] == '\r' && i + 1 < m.n && m.p[i + 1] == '\n')) {
		size_t end = field_end(m, i);
		const char *colon = memchr(m.p + i, ':', end - i);
		struct canon_field *f = &ret->fields[ret->n];

		if (end > CANON_HEADER_MAX || (colon && ret->n == CANON_FIELDS_MAX))
			return -1;
		if (colon) {
			f->whole = ph_bytes(m.p + i, end - i);
			f->name = tags_trim(ph_bytes(m.p + i, (size_t)(colon - m.p) - i));
			f->value = ph_bytes(colon + 1, end - (size_t)(colon - m.p) - 1);
			ret->n++;
		}
		i = end + 2 < m.n ? end + 2 : m.n;
	}
	i = i + 2 < m.n ? i + 2 : m.n;
	ret->body = ph_bytes(m.p + i, m.n - i);
	return 0;
}

/* ---- header ---- */

/* Section 3.4.2: name in lower case, unfolded, blanks as one, none at the ends. */
static void
relax(struct sink *s, struct ph_str f)
{
	const char *colon = f.n ? memchr(f.p, ':', f.n) : NULL;
	struct ph_str name, value;
	int blank = 0;

	if (!colon)
		return;
	name = tags_trim(ph_bytes(f.p, (size_t)(colon - f.p)));
	value = tags_trim(ph_bytes(colon + 1, f.n - (size_t)(colon - f.p) - 1));
	for (size_t i = 0; i < name.n; i++)
		put(s, lower(name.p[i]));
	put(s, ':');
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];

		if (c == '\r' || c == '\n' || is_wsp(c)) {
			blank = blank || is_wsp(c);
			continue;
		}
		if (blank)
			put(s, ' ');
		blank = 0;
		put(s, c);
	}
}

void
canon_header(EVP_MD_CTX *md, struct ph_str field, enum canon_form form, int end)
{
	struct sink s = { .md = md, .n = 0 };

	if (form == CANON_SIMPLE)
		EVP_DigestUpdate(md, field.p, field.n);
	else
		relax(&s, field);
	flush(&s);
	if (end)
		EVP_DigestUpdate(md, "\r\n", 2);
}

/* Where the value of tag b is: between its = and the next semicolon. 0 when there is none. */
static int
find_b(struct ph_str field, size_t *from, size_t *to)
{
	const char *colon = field.n ? memchr(field.p, ':', field.n) : NULL;
	size_t i = colon ? (size_t)(colon - field.p) + 1 : field.n;

	while (i < field.n) {
		const char *semi = memchr(field.p + i, ';', field.n - i);
		size_t end = semi ? (size_t)(semi - field.p) : field.n;
		const char *eq = memchr(field.p + i, '=', end - i);

		if (eq && ph_eq(tags_trim(ph_bytes(field.p + i, (size_t)(eq - field.p) - i)), ph_c("b"))) {
			*from = (size_t)(eq - field.p) + 1;
			*to = end;
			return 1;
		}
		i = end + 1;
	}
	return 0;
}

void
canon_without_b(EVP_MD_CTX *md, struct ph_str field, enum canon_form form)
{
	char *copy = malloc(field.n + 1);
	size_t from, to;

	if (!copy || !find_b(field, &from, &to)) {
		canon_header(md, field, form, 0);
	} else {
		memcpy(copy, field.p, from);
		memcpy(copy + from, field.p + to, field.n - to);
		canon_header(md, ph_bytes(copy, field.n - (to - from)), form, 0);
	}
	free(copy);
}

/* The lowest field of that name that was not taken. */
static const struct canon_field *
take(const struct canon_message *m, struct ph_str name, unsigned char *taken)
{
	for (unsigned i = m->n; i-- > 0;)
		if (!taken[i] && ph_ieq(m->fields[i].name, name)) {
			taken[i] = 1;
			return &m->fields[i];
		}
	return NULL;
}

void
canon_signed(EVP_MD_CTX *md, const struct canon_message *m, struct ph_str names, enum canon_form form)
{
	unsigned char taken[CANON_FIELDS_MAX] = { 0 };

	while (names.n) {
		const char *colon = memchr(names.p, ':', names.n);
		size_t n = colon ? (size_t)(colon - names.p) : names.n;
		const struct canon_field *f = take(m, tags_trim(ph_bytes(names.p, n)), taken);

		if (f)
			canon_header(md, f->whole, form, 1);
		n += colon != NULL;
		names.p += n;
		names.n -= n;
	}
}

/* ---- body ---- */

/* A line without its CRLF: blanks as one, none at its end. */
static void
relax_line(struct sink *s, struct ph_str line)
{
	int blank = 0;

	while (line.n && is_wsp(line.p[line.n - 1]))
		line.n--;
	for (size_t i = 0; i < line.n; i++) {
		if (is_wsp(line.p[i])) {
			blank = 1;
			continue;
		}
		if (blank)
			put(s, ' ');
		blank = 0;
		put(s, line.p[i]);
	}
}

static int
is_empty(struct ph_str line, enum canon_form form)
{
	size_t i = 0;

	while (form == CANON_RELAXED && i < line.n && is_wsp(line.p[i]))
		i++;
	return i == line.n;
}

/* Empty lines wait until there is a line behind them. */
static void
put_lines(struct sink *s, struct ph_str body, enum canon_form form)
{
	size_t waiting = 0, lines = 0;

	while (body.n) {
		const char *nl = memchr(body.p, '\n', body.n);
		size_t n = nl ? (size_t)(nl - body.p) : body.n;
		struct ph_str line = ph_bytes(body.p, n && nl && body.p[n - 1] == '\r' ? n - 1 : n);

		n += nl != NULL;
		body.p += n;
		body.n -= n;
		if (is_empty(line, form)) {
			waiting++;
			continue;
		}
		for (; waiting; waiting--)
			put(s, '\r'), put(s, '\n');
		if (form == CANON_RELAXED) {
			relax_line(s, line);
		} else {
			flush(s);
			EVP_DigestUpdate(s->md, line.p, line.n);
		}
		put(s, '\r'), put(s, '\n');
		lines++;
	}
	if (!lines && form == CANON_SIMPLE)
		put(s, '\r'), put(s, '\n');
}

int
canon_body(struct ph_str body, enum canon_form form, unsigned char ret[CANON_HASH])
{
	struct sink s = { .md = EVP_MD_CTX_new(), .n = 0 };
	int ok = s.md && EVP_DigestInit_ex(s.md, EVP_sha256(), NULL) == 1;

	if (ok) {
		put_lines(&s, body, form);
		flush(&s);
		ok = EVP_DigestFinal_ex(s.md, ret, NULL) == 1;
	}
	EVP_MD_CTX_free(s.md);
	return ok ? 0 : -1;
}
