/* Transfer encodings, charsets of bodies, case folding; see body.h. */
#include "lib/mail/body.h"

#include "lib/base/text.h"
#include "lib/mail/word.h"

static int
b64(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Padding ends a quantum; another may follow (concatenated bodies). */
static void
decode_base64(struct str s, struct buf *out)
{
	uint32_t bits = 0;
	int n = 0;

	for (size_t i = 0; i < s.n; i++) {
		int v = b64((unsigned char)s.p[i]);

		if (s.p[i] == '=')
			bits = 0, n = 0;
		if (v < 0)
			continue;
		bits = bits << 6 | (uint32_t)v;
		if ((n += 6) >= 8)
			buf_putc(out, (char)(bits >> (n -= 8)));
	}
}

static int
hex(char c)
{
	return ascii_isdigit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* One line without its line end. True: a soft line break ends it. */
static bool
decode_qp_line(struct str l, struct buf *out)
{
	while (l.n && (l.p[l.n - 1] == ' ' || l.p[l.n - 1] == '\t'))
		l.n--;
	for (size_t i = 0; i < l.n; i++) {
		int hi, lo;

		if (l.p[i] != '=') {
			buf_putc(out, l.p[i]);
		} else if (i + 1 == l.n) {
			return true;
		} else if (i + 2 < l.n && (hi = hex(l.p[i + 1])) >= 0 && (lo = hex(l.p[i + 2])) >= 0) {
			buf_putc(out, (char)(hi << 4 | lo));
			i += 2;
		} else {
			buf_putc(out, '=');
		}
	}
	return false;
}

static void
decode_qp(struct str s, struct buf *out)
{
	while (s.n && !out->over) {
		ptrdiff_t lf = str_chr(s, '\n');
		size_t n = lf < 0 ? s.n : (size_t)lf, end = n && s.p[n - 1] == '\r' ? n - 1 : n;

		if (!decode_qp_line(str_head(s, end), out) && lf >= 0)
			buf_put(out, s.p + end, n + 1 - end);
		s = str_skip(s, n + 1);
	}
}

void
body_decode(struct str body, struct str encoding, struct buf *out)
{
	struct str e = str_trim(encoding);

	if (str_ieq(e, STR("base64")))
		decode_base64(body, out);
	else if (str_ieq(e, STR("quoted-printable")))
		decode_qp(body, out);
	else
		buf_str(out, body);
}

void
body_text(struct str body, struct str encoding, struct str charset, struct buf *out)
{
	struct buf raw;

	buf_init(&raw, body.n + 1);
	body_decode(body, encoding, &raw);
	charset_to_utf8(charset, buf_view(&raw), out);
	buf_done(&raw);
}

static uint32_t
fold(uint32_t c)
{
	static const struct {
		uint32_t lo, hi, add; /* add 1: pairs, the even one is upper case */
	} r[] = {
		{ 'A', 'Z', 32 }, { 0xc0, 0xd6, 32 }, { 0xd8, 0xde, 32 }, { 0x100, 0x12f, 1 },
		{ 0x132, 0x137, 1 }, { 0x14a, 0x177, 1 }, { 0x200, 0x21f, 1 }, { 0x391, 0x3a1, 32 },
		{ 0x3a3, 0x3ab, 32 }, { 0x400, 0x40f, 80 }, { 0x410, 0x42f, 32 },
		{ 0x460, 0x481, 1 }, { 0x48a, 0x4bf, 1 }, { 0x4d0, 0x52f, 1 }, { 0x531, 0x556, 48 },
		{ 0x1e00, 0x1e95, 1 }, { 0x1ea0, 0x1eff, 1 }, { 0xff21, 0xff3a, 32 },
		{ 0x10400, 0x10427, 40 },
	};

	if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e))
		return c + (c & 1); /* pairs, the odd one is upper case */
	if (c == 0x3c2)
		return 0x3c3; /* final sigma */
	for (size_t i = 0; i < sizeof r / sizeof *r; i++)
		if (c >= r[i].lo && c <= r[i].hi)
			return r[i].add == 1 ? c | 1 : c + r[i].add;
	return c;
}

void
text_fold(struct str s, struct buf *out)
{
	while (s.n && !out->over) {
		uint32_t cp;
		size_t n = utf8_next(s, &cp);

		if (n)
			utf8_put(out, fold(cp));
		else
			buf_putc(out, s.p[0]);
		s = str_skip(s, n ? n : 1);
	}
}
