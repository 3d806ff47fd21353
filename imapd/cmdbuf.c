/* Gathers one command; see cmdbuf.h. */
#include "imapd/cmdbuf.h"

#include <stdlib.h>

void
cmdbuf_init(struct cmdbuf *c, size_t max)
{
	*c = (struct cmdbuf){ .max = max };
	buf_init(&c->b, max + 2);
}

void
cmdbuf_done(struct cmdbuf *c)
{
	buf_done(&c->b);
}

void
cmdbuf_reset(struct cmdbuf *c)
{
	buf_clear(&c->b);
	c->literal = 0;
	c->plus = c->in_literal = c->skipping = false;
	c->line = c->head = c->n_tail = 0;
	c->why = NULL;
}

/* Whether the line ends in {n} or {n+} as a token of its own: 1, 0, or -1 for a
 * number that is out of bounds. */
static int
ends_in_literal(struct cmdbuf *c, struct str line)
{
	ptrdiff_t open = str_rchr(line, '{');
	struct str num;
	bool plus;

	if (open < 0 || !str_ends(line, STR("}")))
		return 0;
	if (open > 0 && line.p[open - 1] != ' ' && line.p[open - 1] != '(')
		return 0;
	num = str_from(line.p + open + 1, line.n - (size_t)open - 2);
	plus = num.n && num.p[num.n - 1] == '+';
	if (plus)
		num.n--;
	for (size_t i = 0; i < num.n; i++)
		if (!ascii_isdigit(num.p[i]))
			return 0;
	if (num.n == 0)
		return 0;
	c->plus = plus;
	c->literal = UINT64_MAX;
	return str_u64(num, UINT32_MAX, &c->literal) ? 1 : -1;
}

static struct str
without_eol(struct str line)
{
	if (line.n && line.p[line.n - 1] == '\n')
		line.n--;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static enum cmdbuf_state
refuse(struct cmdbuf *c, const char *why)
{
	if (!c->why)
		c->why = why;
	return CMDBUF_REFUSED;
}

/* The end of a line is in b. */
static enum cmdbuf_state
line_end(struct cmdbuf *c)
{
	struct str line = without_eol(str_skip(buf_view(&c->b), c->line));

	switch (ends_in_literal(c, line)) {
	case -1:
		return refuse(c, "Literal is too large");
	case 1:
		c->head = c->line + (size_t)str_rchr(line, '{');
		/* the parser wants CRLF behind the brace, whatever the client sent */
		buf_truncate(&c->b, c->line + line.n);
		buf_puts(&c->b, "\r\n");
		c->line = c->b.n;
		return CMDBUF_LITERAL;
	default:
		buf_truncate(&c->b, c->line + line.n);
		return CMDBUF_DONE;
	}
}

static void
tail_put(struct cmdbuf *c, struct str s)
{
	size_t keep = sizeof c->tail;

	if (s.n >= keep) {
		memcpy(c->tail, s.p + s.n - keep, keep);
		c->n_tail = keep;
		return;
	}
	if (c->n_tail + s.n > keep) {
		size_t drop = c->n_tail + s.n - keep;

		memmove(c->tail, c->tail + drop, c->n_tail - drop);
		c->n_tail -= drop;
	}
	memcpy(c->tail + c->n_tail, s.p, s.n);
	c->n_tail += s.n;
}

static enum cmdbuf_state
skip_line(struct cmdbuf *c, struct str s, bool whole)
{
	struct str end;

	tail_put(c, s);
	if (!whole)
		return CMDBUF_MORE;
	end = without_eol(str_from(c->tail, c->n_tail));
	if (ends_in_literal(c, end) <= 0) {
		c->literal = 0;
		c->plus = false;
	}
	return refuse(c, "Command line is too long");
}

static void
feed_literal(struct cmdbuf *c, struct str *in)
{
	struct str part = str_head(*in, c->literal < in->n ? (size_t)c->literal : in->n);

	buf_str(&c->b, part);
	*in = str_skip(*in, part.n);
	c->literal -= part.n;
	if (c->literal == 0) {
		c->in_literal = false;
		c->line = c->b.n;
	}
}

enum cmdbuf_state
cmdbuf_feed(struct cmdbuf *c, struct str *in)
{
	ptrdiff_t lf;
	struct str part;

	if (c->in_literal)
		feed_literal(c, in);
	if (in->n == 0)
		return CMDBUF_MORE;
	lf = str_chr(*in, '\n');
	part = lf < 0 ? *in : str_head(*in, (size_t)lf + 1);
	*in = str_skip(*in, part.n);
	if (!c->skipping && c->b.n + part.n > c->max) {
		c->skipping = true;
		tail_put(c, str_skip(buf_view(&c->b), c->line));
	}
	if (c->skipping)
		return skip_line(c, part, lf >= 0);
	buf_str(&c->b, part);
	return lf < 0 ? CMDBUF_MORE : line_end(c);
}

bool
cmdbuf_accept(struct cmdbuf *c)
{
	if (c->literal > c->max || c->b.n + c->literal > c->max) {
		c->why = "Literal is too large";
		return false;
	}
	c->in_literal = c->literal > 0;
	return true;
}
