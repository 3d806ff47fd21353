/* Authentication-Results; see authres.h. */
#include "lib/accept/authres.h"

#define LINE_MAX 78
#define DEPTH_MAX 64 /* of comments */

/* ---- the authserv-id of a field ---- */

/* The length of the comment that s begins with, nested ones included (RFC 5322 section 3.2.2); all
 * of s when it has no end. */
static size_t
comment_length(struct str s)
{
	unsigned depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(' && ++depth > DEPTH_MAX)
			return s.n;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return s.n;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct str
skip_cfws(struct str s)
{
	while (s.n && (is_blank(*s.p) || *s.p == '('))
		s = str_skip(s, *s.p == '(' ? comment_length(s) : 1);
	return s;
}

/* A quoted string is compared as it would read without quotes. */
static bool
quoted_is(struct str s, struct str host)
{
	size_t k = 0;

	for (size_t i = 1; i < s.n && s.p[i] != '"'; i++, k++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		if (k >= host.n || !str_ieq(str_from(s.p + i, 1), str_from(host.p + k, 1)))
			return false;
	}
	return k == host.n;
}

bool
authres_names(struct str raw, struct str host)
{
	struct str s = skip_cfws(raw);
	size_t n = 0;

	if (!host.n)
		return false;
	if (s.n && *s.p == '"')
		return quoted_is(s, host);
	while (n < s.n && !is_blank(s.p[n]) && s.p[n] != ';' && s.p[n] != '(')
		n++;
	s.n = n && s.p[n - 1] == '.' ? n - 1 : n;
	return str_ieq(s, host);
}

/* ---- the field ---- */

/* A field that is being written. */
struct line {
	struct buf *out;
	size_t n; /* of the last line */
};

static void
put_word(struct line *l, struct str word)
{
	if (l->n > 8 && l->n + 1 + word.n > LINE_MAX) {
		buf_puts(l->out, "\r\n\t ");
		l->n = 8;
	} else if (l->n > 8) {
		buf_putc(l->out, ' ');
		l->n++;
	}
	for (size_t i = 0; i < word.n; i++)
		buf_putc(l->out, (unsigned char)word.p[i] < ' ' || word.p[i] == 0x7f ? '?' : word.p[i]);
	l->n += word.n;
}

/* The length of the next resinfo: to a semicolon outside of comments and quoted strings. */
static size_t
resinfo_length(struct str s)
{
	bool quoted = false;
	size_t i = 0;

	for (; i < s.n && (quoted || s.p[i] != ';'); i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == '(' && !quoted)
			i += comment_length(str_skip(s, i)) - 1;
	}
	return i < s.n ? i : s.n;
}

/* Each on a line of its own, which is folded where it is too long. */
static void
put_resinfo(struct buf *out, struct str s)
{
	struct line l = { out, 8 };

	buf_puts(out, ";\r\n\t");
	while ((s = str_trim(s)).n) {
		size_t n = 0;

		while (n < s.n && !is_blank(s.p[n]))
			n++;
		put_word(&l, str_head(s, n));
		s = str_skip(s, n);
	}
}

static void
put_value(struct buf *out, struct str host, struct str value, bool *begun)
{
	while (value.n) {
		size_t n = resinfo_length(value);
		struct str one = str_trim(str_head(value, n));

		value = str_skip(value, n + 1);
		if (!one.n)
			continue;
		if (!*begun)
			buf_printf(out, "Authentication-Results: %.*s", STR_ARG(host));
		*begun = true;
		put_resinfo(out, one);
	}
}

static bool
has_key(const struct filter_notes *notes, struct str key)
{
	for (size_t i = 0; i < notes->n; i++)
		if (str_eq(notes->v[i].key, key))
			return true;
	return false;
}

static void
put_notes(struct buf *out, struct str host, const struct filter_notes *notes,
    const struct filter_notes *but, bool *begun)
{
	for (size_t i = 0; i < notes->n; i++) {
		const struct filter_note *n = &notes->v[i];

		if (str_starts(n->key, STR("auth.")) && !(but && has_key(but, n->key)))
			put_value(out, host, n->value, begun);
	}
}

void
authres_put(struct buf *out, struct str host, const struct filter_notes *session,
    const struct filter_notes *txn)
{
	bool begun = false;

	put_notes(out, host, session, txn, &begun);
	put_notes(out, host, txn, NULL, &begun);
	if (begun)
		buf_puts(out, "\r\n");
}
