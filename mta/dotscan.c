/*
 * The DATA scanner; see dotscan.h. Works a line at a time with memchr, so that
 * text without dots at the beginning of lines is never moved.
 */
#include "mta/dotscan.h"

#include <string.h>

/* Takes p[d->line..end), a line or a piece of one, into the content. */
static void
take_piece(struct dotscan *d, char *p, size_t end)
{
	size_t from = d->line, n = end - from;

	if (d->line_max && d->before + n > d->line_max)
		d->faults |= DOT_LONG_LINE;
	if (p[from] == '.' && !d->cut)
		from++, n--;
	if (d->out != from)
		memmove(p + d->out, p + from, n);
	d->out += n;
	d->line = end;
}

/* The line that ends at `end` is content; soft: in a bare LF, behind which a dot
 * begins no line. */
static void
finish_line(struct dotscan *d, char *p, size_t end, bool soft)
{
	take_piece(d, p, end);
	d->before = 0;
	d->cut = soft;
	d->cut_cr = false;
}

/* Whether a CR stands alone in p[from..to), where p[to] is the LF of the line
 * or to is the end of what is there. */
static bool
has_bare_cr(const char *p, size_t from, size_t to)
{
	const char *cr = from < to ? memchr(p + from, '\r', to - from) : NULL;

	return cr && cr + 1 != p + to;
}

bool
dotscan(struct dotscan *d, char *p, size_t len)
{
	size_t at = d->seen, end;
	const char *nl;

	if (d->cut_cr && !at && len && p[0] != '\n')
		d->faults |= DOT_BARE_CR;
	while (at < len && (nl = memchr(p + at, '\n', len - at))) {
		end = (size_t)(nl - p) + 1;
		/* From one byte back: a CR that ended the last look may be bare. */
		if (has_bare_cr(p, at > d->line ? at - 1 : at, end - 1))
			d->faults |= DOT_BARE_CR;
		at = end;
		if (end - 1 > d->line ? p[end - 2] != '\r' : !d->cut_cr) {
			d->faults |= DOT_BARE_LF;
			finish_line(d, p, end, true);
			continue;
		}
		if (!d->cut && end - d->line == 3 && p[d->line] == '.') {
			d->line = d->seen = end;
			return true;
		}
		finish_line(d, p, end, false);
	}
	if (at < len && has_bare_cr(p, at > d->line ? at - 1 : at, len))
		d->faults |= DOT_BARE_CR;
	d->seen = len;
	if (d->line_max && d->before + len - d->line > d->line_max)
		d->faults |= DOT_LONG_LINE;
	return false;
}

void
dotscan_cut(struct dotscan *d, char *p, size_t len)
{
	size_t n = len - d->line, end;

	if (n < 3 && !d->cut) /* may become the end, or a line of a dot less */
		return;
	end = n && p[len - 1] == '\r' ? len - 1 : len;
	if (end == d->line)
		return;
	n = end - d->line;
	take_piece(d, p, end);
	d->before += n;
	d->cut = true;
	d->cut_cr = false;
}

size_t
dotscan_take(struct dotscan *d, char *p, size_t len)
{
	size_t n = len - d->line;

	memmove(p, p + d->line, n);
	d->seen -= d->line;
	d->out = d->line = 0;
	return n;
}

size_t
dotscan_discard(struct dotscan *d, char *p, size_t len)
{
	size_t n = dotscan_take(d, p, len);

	/* A line whose first bytes could still be the end is kept: ".\r". */
	if (!d->cut && (n == 0 || (n == 1 && p[0] == '.') ||
	    (n == 2 && p[0] == '.' && p[1] == '\r')))
		return n;
	if (n) {
		d->cut_cr = p[n - 1] == '\r';
		d->cut = true;
	}
	d->seen = 0;
	return 0;
}

unsigned
dotscan_text(const char *p, size_t n, size_t line_max, bool *cr, size_t *line)
{
	unsigned faults = 0;

	for (size_t at = 0; at < n;) {
		const char *nl = memchr(p + at, '\n', n - at);
		size_t end = nl ? (size_t)(nl - p) : n; /* of the line, without its LF */
		bool crlf = end > at ? p[end - 1] == '\r' : *cr;

		if ((*cr && end > at) || has_bare_cr(p, at, end))
			faults |= DOT_BARE_CR;
		if (nl && !crlf)
			faults |= DOT_BARE_LF;
		*line += end - at + (nl ? 1 : 0);
		if (line_max && *line > line_max)
			faults |= DOT_LONG_LINE;
		*cr = !nl && crlf;
		if (nl)
			*line = 0;
		at = end + 1;
	}
	return faults;
}

size_t
dotscan_normalize(const char *p, size_t n, char *out)
{
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\r' && p[i] != '\n') {
			out[m++] = p[i];
			continue;
		}
		out[m++] = '\r';
		out[m++] = '\n';
		if (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n')
			i++;
	}
	return m;
}
