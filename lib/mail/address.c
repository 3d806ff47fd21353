/*
 * A hand-written parser of address lists. It reads words (atoms, quoted strings,
 * dots) until a special character says what they were:
 *
 *	words <            a display name; the address stands in the brackets
 *	words @ domain     a local part
 *	words :            the name of a group
 *	words , ; or end   a bare local part without domain
 *
 * Every loop consumes a byte, and an unclosed quote, comment or literal is looked
 * for once only (`lone`), so the time is linear.
 */
#include "lib/mail/address.h"

#include "lib/base/buf.h"

enum { LONE_QUOTE = 1, LONE_PAREN = 2, LONE_BRACKET = 4 };

struct parser {
	struct str s;         /* what is left */
	struct arena *a;
	struct addresses *out;
	size_t cap;
	unsigned lone;        /* LONE_*: no closing one is left in s */
	struct str comment;   /* the last one; p NULL */
	struct buf phrase;    /* words with a blank between them */
	struct buf local;     /* the same without blanks */
	unsigned words;
	const char *begin;    /* of the first word in s as it was */
	const char *end;      /* behind the last word, or domain */
};

static char
peek(const struct parser *p)
{
	return p->s.n ? p->s.p[0] : '\0';
}

static void
advance(struct parser *p, size_t n)
{
	p->s = str_skip(p->s, n);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

/* A word goes on until one of these (RFC 5322 atext, wider: what is no special and
 * no blank). */
static bool
ends_atom(char c)
{
	switch (c) {
	case '(': case ')': case '<': case '>': case '[': case ']': case ':': case ';':
	case '@': case ',': case '"':
		return true;
	}
	return is_blank(c);
}

/* Copies s without quoting backslashes, line ends and NULs. */
static struct str
unquote(struct parser *p, struct str s)
{
	char *q;
	size_t n = 0;

	if (str_chr(s, '\\') < 0 && str_chr(s, '\n') < 0 && str_chr(s, '\0') < 0 &&
	    str_chr(s, '\r') < 0)
		return s;
	if (!(q = arena_alloc(p->a, s.n)))
		return STR_NULL;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		if (s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != '\0')
			q[n++] = s.p[i];
	}
	return str_from(q, n);
}

/* The offset of the closing character of a quoted string, literal or comment that
 * s begins with; 0 when there is none. */
static size_t
find_close(struct str s, char open, char close)
{
	size_t depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == close && i > 0) {
			if (--depth == 0)
				return i;
		} else if (s.p[i] == open && (i == 0 || open == '('))
			depth++;
	}
	return 0;
}

/* Skips blanks and comments (CFWS), keeps the last comment. */
static void
skip_cfws(struct parser *p)
{
	while (p->s.n) {
		size_t end;

		if (is_blank(peek(p))) {
			advance(p, 1);
			continue;
		}
		if (peek(p) != '(' || (p->lone & LONE_PAREN))
			return;
		if (!(end = find_close(p->s, '(', ')'))) {
			p->lone |= LONE_PAREN;
			return;
		}
		p->comment = str_trim(unquote(p, str_from(p->s.p + 1, end - 1)));
		advance(p, end + 1);
	}
}

static void
add_word(struct parser *p, struct str w)
{
	if (p->words++)
		buf_putc(&p->phrase, ' ');
	else
		p->begin = p->s.p;
	buf_str(&p->phrase, w);
	buf_str(&p->local, w);
}

/* Reads words into phrase and local until a special character. */
static void
read_words(struct parser *p)
{
	buf_clear(&p->phrase);
	buf_clear(&p->local);
	p->words = 0;
	for (;;) {
		size_t n = 0, end;

		skip_cfws(p);
		if (peek(p) == '"' && !(p->lone & LONE_QUOTE)) {
			if ((end = find_close(p->s, '"', '"'))) {
				add_word(p, unquote(p, str_from(p->s.p + 1, end - 1)));
				advance(p, end + 1);
				p->end = p->s.p;
				continue;
			}
			p->lone |= LONE_QUOTE;
		}
		if (p->s.n && (peek(p) == '"' || (peek(p) == '(' && (p->lone & LONE_PAREN)))) {
			p->out->bad = true; /* an unclosed one: passed over */
			advance(p, 1);
			continue;
		}
		while (n < p->s.n && !ends_atom(p->s.p[n]))
			n++;
		if (n == 0)
			return;
		add_word(p, str_head(p->s, n));
		advance(p, n);
		p->end = p->s.p;
	}
}

static struct str
keep(struct parser *p, const struct buf *b)
{
	return arena_dup(p->a, buf_view(b));
}

/* The domain behind an '@': atoms and dots without blanks, or a literal. */
static struct str
read_domain(struct parser *p)
{
	struct buf *b = &p->local;

	buf_clear(b);
	for (;;) {
		size_t n = 0, end;

		skip_cfws(p);
		if (peek(p) == '[' && b->n == 0 && !(p->lone & LONE_BRACKET)) {
			if ((end = find_close(p->s, '[', ']'))) {
				buf_str(b, unquote(p, str_head(p->s, end + 1)));
				advance(p, end + 1);
				p->end = p->s.p;
				break;
			}
			p->lone |= LONE_BRACKET;
		}
		while (n < p->s.n && !ends_atom(p->s.p[n]))
			n++;
		if (n == 0)
			break;
		if (b->n && b->p[b->n - 1] != '.' && p->s.p[0] != '.')
			break; /* two words: what follows is something else */
		buf_str(b, str_head(p->s, n));
		advance(p, n);
		p->end = p->s.p;
	}
	if (b->n == 0)
		p->out->bad = true;
	return keep(p, b);
}

static void
push(struct parser *p, const struct address *ad)
{
	struct addresses *o = p->out;

	if (o->n == ADDRESS_MAX) {
		o->cut = true;
		return;
	}
	if (o->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 4;
		struct address *v = ARENA_ARRAY(p->a, struct address, cap);

		if (!v) {
			o->cut = true;
			return;
		}
		if (o->n)
			memcpy(v, o->v, o->n * sizeof *v);
		o->v = v;
		p->cap = cap;
	}
	o->v[o->n++] = *ad;
}

/* A source route (RFC 5322 section 4.4): "@a,@b:" before the address proper. */
static void
read_route(struct parser *p, struct address *ad)
{
	struct buf b = { 0 };

	skip_cfws(p);
	if (peek(p) != '@')
		return;
	while (peek(p) == '@' || peek(p) == ',') {
		bool at = peek(p) == '@';

		advance(p, 1);
		if (at) {
			if (b.n)
				buf_putc(&b, ',');
			buf_putc(&b, '@');
			buf_str(&b, read_domain(p));
		}
		skip_cfws(p);
	}
	if (peek(p) == ':')
		advance(p, 1);
	else
		p->out->bad = true;
	ad->route = keep(p, &b);
	buf_done(&b);
}

/* Where the address stands whose words and domain were read. Several words are no local
 * part that could be told for sure. */
static void
keep_spec(struct parser *p, struct address *ad)
{
	if (p->words == 1 && p->end > p->begin && (!ad->domain.p || ad->domain.n))
		ad->spec = str_from(p->begin, (size_t)(p->end - p->begin));
}

/* What stands between '<' (already read) and '>'. */
static void
read_angle(struct parser *p, struct address *ad)
{
	read_route(p, ad);
	read_words(p);
	ad->local = keep(p, &p->local);
	if (peek(p) == '@') {
		advance(p, 1);
		ad->domain = read_domain(p);
	}
	keep_spec(p, ad);
	skip_cfws(p);
	while (p->s.n && peek(p) != '>' && peek(p) != ',' && peek(p) != ';') {
		p->out->bad = true;
		advance(p, 1);
	}
	if (peek(p) == '>')
		advance(p, 1);
	else
		p->out->bad = true;
}

/* After an address: nothing but the separator may come. */
static void
skip_to_separator(struct parser *p)
{
	for (;;) {
		skip_cfws(p);
		if (p->s.n == 0 || peek(p) == ',' || peek(p) == ';' || peek(p) == '<')
			return;
		p->out->bad = true;
		advance(p, 1);
	}
}

/* One mailbox whose first words have been read. */
static void
read_mailbox(struct parser *p)
{
	struct address ad = { .kind = ADDRESS_MAILBOX };

	if (peek(p) == '<') {
		advance(p, 1);
		if (p->phrase.n)
			ad.name = keep(p, &p->phrase);
		read_angle(p, &ad);
	} else {
		ad.local = keep(p, &p->local);
		if (peek(p) == '@') {
			advance(p, 1);
			ad.domain = read_domain(p);
		} else {
			p->out->bad = true;
			if (p->words > 1) /* a name without an address */
				ad.name = keep(p, &p->phrase);
		}
		keep_spec(p, &ad);
	}
	skip_to_separator(p);
	if (!ad.name.p && p->comment.n)
		ad.name = p->comment;
	push(p, &ad);
}

void
address_parse(struct str raw, struct arena *a, struct addresses *ret)
{
	struct parser p = { .s = raw, .a = a, .out = ret };
	bool in_group = false;

	*ret = (struct addresses){ 0 };
	while (p.s.n && !ret->cut) {
		struct address ad = { 0 };

		p.comment = STR_NULL;
		read_words(&p);
		switch (peek(&p)) {
		case ':':
			advance(&p, 1);
			ad = (struct address){ .kind = ADDRESS_GROUP, .name = keep(&p, &p.phrase) };
			if (in_group)
				ret->bad = true;
			else
				push(&p, &ad);
			in_group = true;
			continue;
		case '\0': case ',': case ';': case '<': case '@':
			if (p.words || peek(&p) == '<' || peek(&p) == '@')
				read_mailbox(&p);
			break;
		default: /* ')' '>' '[' ']' where none may stand */
			ret->bad = true;
			if (p.words)
				read_mailbox(&p);
			else
				advance(&p, 1);
			break;
		}
		if (peek(&p) == ';' && in_group) {
			ad = (struct address){ .kind = ADDRESS_GROUP_END };
			push(&p, &ad);
			in_group = false;
		}
		if (peek(&p) == ',' || peek(&p) == ';')
			advance(&p, 1);
	}
	if (in_group) {
		struct address ad = { .kind = ADDRESS_GROUP_END };

		ret->bad = true;
		push(&p, &ad);
	}
	buf_done(&p.phrase);
	buf_done(&p.local);
}
