/*
 * Substrings in what a message says: header values with their encoded words decoded,
 * bodies with transfer encoding and charset undone, HTML as its text; letters folded.
 *
 * A body goes through in pieces:
 *
 *	file -> raw -> decoded bytes -> UTF-8 -> (text of HTML) -> folded, compared
 *
 * Pieces are cut where a decoder may be cut (after whole quanta of base64, at ends of
 * lines), and the folded text keeps the tail of each piece, one byte shorter than the longest
 * text looked for, so that nothing is missed between two pieces.
 */
#include <errno.h>

#include "imapd/search.h"
#include "lib/base/text.h"
#include "lib/mail/body.h"
#include "lib/mail/header.h"
#include "lib/mail/word.h"

enum {
	PIECE = 64 << 10,
	HTML_WHOLE = 1 << 20,     /* HTML up to this goes through as one piece */
	TEXT_MAX = 8 << 20,       /* of one step's buffer */
};

/* ---- header values ---- */

static bool
has(struct str folded, struct str text)
{
	return text.n == 0 || (folded.n >= text.n && memmem(folded.p, folded.n, text.p, text.n));
}

static bool
has_utf8(struct str utf8, const struct search_key *k)
{
	struct buf b;
	bool r;

	buf_init(&b, 4 * utf8.n + 16);
	text_fold(utf8, &b);
	r = has(buf_view(&b), k->folded);
	buf_done(&b);
	return r;
}

bool
search_in_value(struct str raw, const struct search_key *k)
{
	struct buf b;
	bool r;

	if (!raw.p)
		return false;
	buf_init(&b, 4 * raw.n + 64);
	word_decode(raw, &b);
	r = has_utf8(buf_view(&b), k);
	buf_done(&b);
	return r;
}

bool
search_in_header(struct str header, const struct search_key *k)
{
	struct header_field f;

	while (header_next(&header, &f))
		if (f.name.n && str_ieq(f.name, k->name) &&
		    search_in_value(f.raw.p ? f.raw : STR(""), k))
			return true;
	return false;
}

bool
search_in_addresses(const struct facts_addrs *list, const struct search_key *k)
{
	struct buf b;
	size_t i;
	bool r;

	buf_init(&b, 1 << 20);
	for (i = 0; i < list->n; i++) {
		const struct facts_addr *a = &list->v[i];

		if (i)
			buf_puts(&b, ", ");
		if (a->name.n) {
			word_decode(a->name, &b);
			buf_putc(&b, ' ');
		}
		if (a->host.p) {
			buf_puts(&b, "<");
			word_decode(a->mailbox, &b);
			buf_puts(&b, a->host.n ? "@" : "");
			buf_str(&b, a->host);
			buf_puts(&b, ">");
		} else if (a->mailbox.p) {
			word_decode(a->mailbox, &b);
			buf_putc(&b, ':');
		}
	}
	r = list->n && has_utf8(buf_view(&b), k);
	buf_done(&b);
	return r;
}

/* ---- scanning ---- */

struct scan {
	struct search *s;
	bool headers;       /* what comes now is for SK_TEXT alone */
	size_t left;        /* texts not found yet */
	struct buf raw, bytes, utf8, text, folded;
};

/* Text that follows what came before, until scan_break. */
static void
scan_text(struct scan *sc, struct str utf8)
{
	size_t i, keep = sc->s->longest ? sc->s->longest - 1 : 0;

	text_fold(utf8, &sc->folded);
	for (i = 0; i < sc->s->n_texts; i++) {
		struct search_key *k = sc->s->texts[i];

		if (k->found || (sc->headers && k->type != SK_TEXT))
			continue;
		if (has(buf_view(&sc->folded), k->folded)) {
			k->found = true;
			sc->left--;
		}
	}
	if (sc->folded.n > keep)
		buf_consume(&sc->folded, sc->folded.n - keep);
}

static void
scan_break(struct scan *sc)
{
	buf_clear(&sc->folded);
}

static void
scan_header(struct scan *sc, struct str header, bool text_only)
{
	struct header_field f;

	sc->headers = text_only;
	while (sc->left && header_next(&header, &f)) {
		buf_clear(&sc->utf8);
		buf_str(&sc->utf8, f.name);
		buf_puts(&sc->utf8, f.name.n ? ": " : "");
		word_decode(f.name.n ? f.raw : f.whole, &sc->utf8);
		scan_break(sc);
		scan_text(sc, buf_view(&sc->utf8));
	}
	scan_break(sc);
	sc->headers = false;
}

/* s without the begin of a UTF-8 character at its end. */
static size_t
whole_characters(struct str s)
{
	size_t n = s.n, back;

	for (back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = (unsigned char)s.p[n - back];

		if (c >= 0xc0)
			return c >= (back == 1 ? 0xc0 : back == 2 ? 0xe0 : 0xf0) ? n - back : n;
		if (c < 0x80)
			break;
	}
	return n;
}

/* How much of `raw` can be decoded by itself: what stands behind has to wait. */
static size_t
cut_raw(struct str raw, struct str encoding)
{
	size_t i, quantum = 0, whole = 0;
	ptrdiff_t lf;

	if (!str_ieq(encoding, STR("base64"))) {
		lf = str_rchr(raw, '\n');
		return lf < 0 ? raw.n : (size_t)lf + 1;
	}
	for (i = 0; i < raw.n; i++) {
		char c = raw.p[i];

		if (c == '=')
			quantum = 0;
		else if (ascii_isalnum(c) || c == '+' || c == '/')
			quantum = (quantum + 1) % 4;
		if (quantum == 0)
			whole = i + 1;
	}
	return whole ? whole : raw.n;
}

/* How much of the bytes can be converted by itself. */
static size_t
cut_bytes(struct str bytes, struct str charset)
{
	ptrdiff_t lf;

	if (str_istarts(charset, STR("utf-16")) || str_istarts(charset, STR("utf-32")))
		return bytes.n & ~(size_t)3;
	lf = str_rchr(bytes, '\n');
	if (lf >= 0)
		return (size_t)lf + 1;
	return bytes.n < PIECE ? 0 : whole_characters(bytes);
}

/* HTML is cut before a tag, where no tag can be open. */
static size_t
cut_html(struct str html)
{
	ptrdiff_t at = html.n < HTML_WHOLE ? 0 : str_rchr(html, '<');

	return at < 0 || (at == 0 && html.n >= HTML_WHOLE) ? html.n : (size_t)at;
}

struct scan_part {
	struct str encoding, charset;
	bool html;
};

/* Takes what `raw` holds as far as it can be taken; all of it at the end. */
static void
scan_piece(struct scan *sc, const struct scan_part *p, bool end)
{
	size_t n = end ? sc->raw.n : cut_raw(buf_view(&sc->raw), p->encoding);

	body_decode(str_head(buf_view(&sc->raw), n), p->encoding, &sc->bytes);
	buf_consume(&sc->raw, n);
	n = end ? sc->bytes.n : cut_bytes(buf_view(&sc->bytes), p->charset);
	charset_to_utf8(p->charset, str_head(buf_view(&sc->bytes), n), &sc->utf8);
	buf_consume(&sc->bytes, n);
	if (!p->html) {
		scan_text(sc, buf_view(&sc->utf8));
		buf_clear(&sc->utf8);
		return;
	}
	n = end ? sc->utf8.n : cut_html(buf_view(&sc->utf8));
	buf_clear(&sc->text);
	html_text(str_head(buf_view(&sc->utf8), n), &sc->text);
	buf_consume(&sc->utf8, n);
	scan_text(sc, buf_view(&sc->text));
}

static struct str
param(const struct facts_part *p, struct str name)
{
	for (size_t i = 0; i < p->n_params; i++)
		if (str_ieq(p->params[i].name, name))
			return p->params[i].value;
	return STR_NULL;
}

static void
clear(struct scan *sc)
{
	buf_clear(&sc->raw);
	buf_clear(&sc->bytes);
	buf_clear(&sc->utf8);
	scan_break(sc);
}

static int
scan_leaf(struct scan *sc, const struct content *m, const struct facts_part *part)
{
	struct scan_part p = { part->encoding, param(part, STR("charset")),
		str_ieq(part->subtype, STR("html")) };
	uint64_t off = part->range->body, end = part->range->end;
	int r = 0;

	clear(sc);
	while (off < end && sc->left && r == 0) {
		size_t n = end - off < PIECE ? end - off : PIECE;

		r = content_read(m, off, n, &sc->raw);
		off += n;
		if (r == 0)
			scan_piece(sc, &p, off == end);
		breathe(sc->s->c);
		if (*stream_why(sc->s->c->st))
			r = -EPIPE;
	}
	clear(sc);
	return r;
}

static int
scan_part_header(struct scan *sc, const struct content *m, uint32_t i)
{
	const struct mime_part *p = &m->mime.parts[i];
	bool inside = m->mime.parts[p->parent].kind == MIME_MESSAGE;
	int r;

	buf_clear(&sc->raw);
	r = content_read(m, p->head, p->body - p->head, &sc->raw);
	if (r == 0)
		scan_header(sc, buf_view(&sc->raw), !inside);
	buf_clear(&sc->raw);
	return r;
}

static bool
is_readable(const struct facts_part *p)
{
	return p->range->kind == MIME_LEAF &&
	    (str_ieq(p->type, STR("text")) || str_ieq(p->type, STR("message")));
}

static int
scan_message(struct scan *sc, const struct content *m, struct str header)
{
	uint32_t i;
	int r = 0;

	scan_header(sc, header, true);
	for (i = 0; i < m->mime.n && sc->left && r == 0; i++) {
		if (i)
			r = scan_part_header(sc, m, i);
		if (r == 0 && is_readable(&m->parts[i]))
			r = scan_leaf(sc, m, &m->parts[i]);
	}
	return r;
}

int
search_scan(struct search *s, const struct content *m, struct str header)
{
	struct scan sc = { .s = s };
	struct buf *bufs[] = { &sc.raw, &sc.bytes, &sc.utf8, &sc.text, &sc.folded };
	size_t i;
	int r;

	for (i = 0; i < sizeof bufs / sizeof *bufs; i++)
		buf_init(bufs[i], TEXT_MAX);
	for (i = 0; i < s->n_texts; i++) {
		s->texts[i]->found = s->texts[i]->folded.n == 0;
		sc.left += !s->texts[i]->found;
	}
	r = scan_message(&sc, m, header);
	for (i = 0; i < sizeof bufs / sizeof *bufs; i++)
		buf_done(bufs[i]);
	return r;
}
