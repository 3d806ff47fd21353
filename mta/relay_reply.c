/*
 * The reply parser; see relay_reply.h. It works on what is buffered and keeps nothing
 * between calls: a reply that comes in pieces is looked at again from its start, which
 * REPLY_MAX bounds.
 */
#include "mta/relay_reply.h"

#include <errno.h>

#include "lib/base/buf.h"
#include "lib/base/text.h"

/* The length of the line at the start of in, its end included: 0 when it has none yet. */
static ssize_t
line_length(struct str in)
{
	ptrdiff_t lf = str_chr(str_head(in, REPLY_LINE_MAX), '\n');

	if (lf >= 0)
		return lf + 1;
	return in.n >= REPLY_LINE_MAX ? -E2BIG : 0;
}

static struct str
without_end(struct str line)
{
	if (line.n && line.p[line.n - 1] == '\n')
		line.n--;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

/* 1: the last line; 0: more follow; -EPROTO. */
static int
line_code(struct str line, unsigned *ret_code)
{
	line = without_end(line);
	if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !ascii_isdigit(line.p[1]) ||
	    !ascii_isdigit(line.p[2]))
		return -EPROTO;
	*ret_code = (unsigned)(line.p[0] - '0') * 100 + (unsigned)(line.p[1] - '0') * 10 +
	    (unsigned)(line.p[2] - '0');
	if (line.n == 3 || line.p[3] == ' ')
		return 1;
	return line.p[3] == '-' ? 0 : -EPROTO;
}

ssize_t
reply_parse(struct str in, struct reply *ret)
{
	size_t at = 0;
	unsigned code;

	for (unsigned lines = 0; lines < REPLY_LINES_MAX; lines++) {
		ssize_t n = line_length(str_skip(in, at));
		int last;

		if (n == 0)
			return at + REPLY_LINE_MAX > REPLY_MAX ? -E2BIG : 0;
		if (n < 0)
			return n;
		last = line_code(str_from(in.p + at, (size_t)n), &code);
		if (last < 0)
			return last;
		at += (size_t)n;
		if (at > REPLY_MAX)
			return -E2BIG;
		if (last) {
			*ret = (struct reply){ code, str_head(in, at) };
			return (ssize_t)at;
		}
	}
	return -E2BIG;
}

bool
reply_line(struct str *raw, struct str *ret_text)
{
	ssize_t n = line_length(*raw);

	if (n <= 0)
		return false;
	*ret_text = str_skip(without_end(str_head(*raw, (size_t)n)), 4);
	*raw = str_skip(*raw, (size_t)n);
	return true;
}

/* "C.SUBJECT.DETAIL" at the start of text, of the class of code (RFC 3463 section 2). */
static struct str
enhanced_at(struct str text, unsigned code)
{
	size_t i = 1, part = 0, digits = 0;

	if (text.n < 5 || text.p[0] != (char)('0' + code / 100))
		return STR_NULL;
	for (; i < text.n && text.p[i] != ' '; i++) {
		if (text.p[i] == '.' && (part == 0 || digits)) {
			part++;
			digits = 0;
		} else if (ascii_isdigit(text.p[i]) && part && digits < 3) {
			digits++;
		} else {
			return STR_NULL;
		}
	}
	return part == 2 && digits ? str_head(text, i) : STR_NULL;
}

struct str
reply_enhanced(const struct reply *r)
{
	struct str raw = r->raw, text, last = STR_NULL;

	while (reply_line(&raw, &text))
		last = text;
	return enhanced_at(last, r->code);
}

/* Copies text, what is not printable as '?'. */
static void
put_clean(struct buf *b, struct str text)
{
	uint32_t cp;

	while (text.n) {
		size_t n = utf8_next(text, &cp);
		bool good = n && cp >= 0x20 && cp != 0x7f && (cp < 0x80 || cp > 0x9f);

		if (good)
			buf_put(b, text.p, n);
		else
			buf_putc(b, cp == '\t' && n == 1 ? ' ' : '?');
		text = str_skip(text, n ? n : 1);
	}
}

/* The longest beginning of at most max bytes that ends between characters. */
static struct str
cut_text(struct str s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max && ((unsigned char)s.p[max] & 0xc0) == 0x80)
		max--;
	return str_head(s, max);
}

struct str
reply_text(const struct reply *r, struct arena *a)
{
	struct str raw = r->raw, line, s;
	struct buf b = { 0 };

	while (b.n < REPLY_TEXT_MAX && reply_line(&raw, &line)) {
		struct str text = str_trim(str_skip(line, enhanced_at(line, r->code).n));

		if (b.n && text.n)
			buf_putc(&b, ' ');
		put_clean(&b, text);
	}
	s = arena_dup(a, cut_text(buf_view(&b), REPLY_TEXT_MAX));
	buf_done(&b);
	return s;
}
