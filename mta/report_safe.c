/*
 * Foreign bytes in notifications. What another server says in a reply, or a client
 * in a parameter, must neither break the structure of the report (line ends,
 * boundaries) nor what shows it (control characters, text that turns its direction).
 */
#include "lib/base/text.h"
#include "mta/report_private.h"

#define COLUMNS 72u
#define FOLD_AT 76u
#define WORD_MAX 700u /* a longer word is cut: lines stay below 998 bytes */

/* Controls of Unicode that change what is seen of other text. */
static bool
is_control(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x202a && cp <= 0x202e) ||
	    (cp >= 0x2066 && cp <= 0x2069) || cp == 0x2028 || cp == 0x2029 || cp == 0xfeff;
}

static size_t
safe_char(struct buf *out, struct str s, bool utf8)
{
	uint32_t cp = 0;
	size_t n = utf8_next(s, &cp);

	if (!n || is_control(cp) || (cp > 0x7e && !utf8))
		buf_putc(out, '?');
	else
		buf_put(out, s.p, n);
	return n ? n : 1;
}

void
safe_put(struct buf *out, struct str s, bool utf8, size_t max)
{
	bool cut = s.n > max, blank = false;

	s = str_trim(str_head(s, max));
	while (s.n) {
		if (ascii_isspace(s.p[0])) {
			blank = true;
			s = str_skip(s, 1);
			continue;
		}
		if (blank)
			buf_putc(out, ' ');
		blank = false;
		s = str_skip(s, safe_char(out, s, utf8));
	}
	if (cut)
		buf_puts(out, " ...");
}

struct str
safe_text(struct arena *a, struct str s, bool utf8, size_t max)
{
	struct buf b = { 0 };
	struct str ret;

	safe_put(&b, s, utf8, max);
	ret = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return ret;
}

/* The next word of *s, cut at WORD_MAX between two characters. */
static struct str
next_word(struct str *s)
{
	struct str rest = *s, word = str_word(&rest);
	size_t n = WORD_MAX;

	if (word.n > WORD_MAX) {
		while (n > WORD_MAX - 4 && ((unsigned char)word.p[n] & 0xc0) == 0x80)
			n--;
		rest = str_from(word.p + n, (size_t)(s->p + s->n - (word.p + n)));
		word.n = n;
	}
	*s = rest;
	return word;
}

void
field_put(struct buf *out, const char *name, struct str value)
{
	size_t column = strlen(name) + 1;
	struct str word;

	buf_printf(out, "%s:", name);
	while ((word = next_word(&value)).n) {
		if (column + 1 + word.n > FOLD_AT && column > strlen(name) + 1) {
			buf_puts(out, "\r\n");
			column = 0;
		}
		buf_putc(out, ' ');
		buf_str(out, word);
		column += 1 + word.n;
	}
	buf_puts(out, "\r\n");
}

/* As wide as it is shown, about: characters, not bytes. */
static size_t
width(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

void
wrap_put(struct buf *out, unsigned indent, struct str words)
{
	size_t column = 0;
	struct str word;

	while ((word = next_word(&words)).n) {
		if (column && column + 1 + width(word) > COLUMNS) {
			buf_putc(out, '\n');
			column = 0;
		}
		if (!column)
			buf_printf(out, "%*s", (int)indent, "");
		else
			buf_putc(out, ' ');
		column += (column ? 1 : indent) + width(word);
		buf_str(out, word);
	}
	buf_putc(out, '\n');
}
