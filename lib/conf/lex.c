/* Splits configuration text into tokens; see lex.h. Every byte is looked at
 * once; a bad one becomes a TOK_BAD, so that the parser reports it in order with
 * the other mistakes. */
#include "lib/conf/lex.h"

#include "lib/base/text.h"

void
conf_lex_init(struct conf_lex *l, struct str in, struct arena *a)
{
	*l = (struct conf_lex){ .in = in, .line = 1, .arena = a };
}

static bool
at_end(const struct conf_lex *l)
{
	return l->pos >= l->in.n;
}

static void
next_line(struct conf_lex *l)
{
	l->pos++;
	l->line++;
	l->line_start = l->pos;
	l->line_used = false;
}

static void
skip_blanks(struct conf_lex *l)
{
	while (!at_end(l)) {
		char c = l->in.p[l->pos];

		if (c == '\n') {
			next_line(l);
		} else if (c == ' ' || c == '\t' || c == '\r') {
			l->pos++;
		} else if (c == '#') {
			while (!at_end(l) && l->in.p[l->pos] != '\n')
				l->pos++;
		} else {
			return;
		}
	}
}

static bool
is_word_char(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f && !strchr("\"{},;", c);
}

/* The line that starts at line_start; looked for once per line. */
static struct str
whole_line(struct conf_lex *l)
{
	struct str rest = str_skip(l->in, l->line_start);
	ptrdiff_t end;

	if (l->line_used)
		return l->source;
	end = str_chr(rest, '\n');
	l->source = end < 0 ? rest : str_head(rest, (size_t)end);
	if (l->source.n && l->source.p[l->source.n - 1] == '\r')
		l->source.n--;
	l->col = 1;
	l->col_pos = l->line_start;
	return l->source;
}

/* Characters, not bytes, before the current place in the line; counted on from
 * the token before. */
static unsigned
column(struct conf_lex *l)
{
	for (; l->col_pos < l->pos; l->col_pos++)
		l->col += ((unsigned char)l->in.p[l->col_pos] & 0xc0) != 0x80;
	return l->col;
}

static struct str
unescape(struct conf_lex *l, struct str raw)
{
	char *out = arena_alloc(l->arena, raw.n + 1);
	size_t n = 0;

	if (!out)
		return STR_NULL;
	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];

		if (c == '\\' && i + 1 < raw.n) {
			c = raw.p[++i];
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		out[n++] = c;
	}
	out[n] = 0;
	return str_from(out, n);
}

static void
bad(struct conf_token *t, struct str why)
{
	t->kind = TOK_BAD;
	t->text = why;
}

/* From the opening quote to the closing one, or to the end of the line. */
static void
take_string(struct conf_lex *l, struct conf_token *t)
{
	size_t start = ++l->pos;
	bool escaped = false, unknown = false, control = false;
	struct str raw;

	while (!at_end(l) && l->in.p[l->pos] != '"' && l->in.p[l->pos] != '\n') {
		unsigned char c = (unsigned char)l->in.p[l->pos];

		control |= (c < ' ' && c != '\t') || c == 0x7f;
		if (c == '\\' && l->pos + 1 < l->in.n && l->in.p[l->pos + 1] != '\n') {
			escaped = true;
			unknown |= !strchr("\"\\nt", l->in.p[++l->pos]);
		}
		l->pos++;
	}
	raw = str_from(l->in.p + start, l->pos - start);
	if (at_end(l) || l->in.p[l->pos] != '"') {
		bad(t, STR("the string has no closing quote"));
		return;
	}
	l->pos++;
	t->kind = TOK_STRING;
	t->text = escaped ? unescape(l, raw) : raw;
	if (!t->text.p)
		bad(t, STR("out of memory"));
	else if (unknown)
		bad(t, STR("unknown escape in the string (known are \\\" \\\\ \\n \\t)"));
	else if (control || !utf8_valid(raw))
		bad(t, STR("the string has a control character or is not UTF-8"));
}

static void
take_word(struct conf_lex *l, struct conf_token *t)
{
	size_t start = l->pos;

	while (!at_end(l) && is_word_char(l->in.p[l->pos]))
		l->pos++;
	t->kind = TOK_WORD;
	t->text = str_from(l->in.p + start, l->pos - start);
	if (!utf8_valid(t->text))
		bad(t, STR("the word is not UTF-8"));
}

struct conf_token
conf_lex_next(struct conf_lex *l)
{
	static const char marks[] = "{},;";
	static const enum conf_token_kind kinds[] = { TOK_OPEN, TOK_CLOSE, TOK_COMMA, TOK_SEMI };
	struct conf_token t = { .kind = TOK_END };
	const char *mark;
	char c;

	skip_blanks(l);
	t.line = l->line;
	t.first = !l->line_used;
	t.source = whole_line(l);
	t.col = column(l);
	l->line_used = true;
	if (at_end(l))
		return t;
	c = l->in.p[l->pos];
	mark = c ? strchr(marks, c) : NULL;
	if (mark) {
		t.kind = kinds[mark - marks];
		t.text = str_from(l->in.p + l->pos++, 1);
	} else if (c == '"') {
		take_string(l, &t);
	} else if (is_word_char(c)) {
		take_word(l, &t);
	} else {
		l->pos++;
		bad(&t, STR("control character"));
	}
	return t;
}
