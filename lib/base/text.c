/* Base64, hexadecimal, UTF-8; see text.h. */
#include "lib/base/text.h"

#include <errno.h>

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_put(struct buf *b, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = s.n;

	for (; n >= 3; p += 3, n -= 3) {
		uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		char t[4] = { b64[v >> 18], b64[v >> 12 & 63], b64[v >> 6 & 63], b64[v & 63] };

		buf_put(b, t, 4);
	}
	if (n) {
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0);
		char t[4] = { b64[v >> 18], b64[v >> 12 & 63], n > 1 ? b64[v >> 6 & 63] : '=', '=' };

		buf_put(b, t, 4);
	}
}

static int
b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int
base64_get(struct buf *b, struct str s)
{
	size_t start = b->n;

	if (s.n % 4)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i += 4) {
		bool last = i + 4 == s.n;
		int pad = last ? (s.p[i + 3] == '=') + (s.p[i + 3] == '=' && s.p[i + 2] == '=') : 0;
		uint32_t v = 0;

		for (int k = 0; k < 4 - pad; k++) {
			int x = b64_value(s.p[i + (size_t)k]);

			if (x < 0)
				goto bad;
			v |= (uint32_t)x << (18 - 6 * k);
		}
		if ((pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff)))
			goto bad;
		buf_putc(b, (char)(v >> 16));
		if (pad < 2)
			buf_putc(b, (char)(v >> 8));
		if (pad < 1)
			buf_putc(b, (char)v);
	}
	return 0;
bad:
	buf_truncate(b, start);
	return -EINVAL;
}

void
hex_put(struct buf *b, struct str s)
{
	static const char d[] = "0123456789abcdef";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		buf_putc(b, d[c >> 4]);
		buf_putc(b, d[c & 15]);
	}
}

static int
hex_value(char c)
{
	if (ascii_isdigit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
hex_get(struct buf *b, struct str s)
{
	size_t start = b->n;

	if (s.n % 2)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i += 2) {
		int h = hex_value(s.p[i]), l = hex_value(s.p[i + 1]);

		if (h < 0 || l < 0) {
			buf_truncate(b, start);
			return -EINVAL;
		}
		buf_putc(b, (char)(h << 4 | l));
	}
	return 0;
}

int
xtext_get(struct buf *b, struct str s)
{
	size_t start = b->n;

	for (size_t i = 0; i < s.n; i++) {
		int h, l;

		if (s.p[i] > 32 && s.p[i] < 127 && s.p[i] != '+' && s.p[i] != '=') {
			buf_putc(b, s.p[i]);
			continue;
		}
		if (s.p[i] != '+' || s.n - i < 3 || (h = hex_value(s.p[i + 1])) < 0 ||
		    (l = hex_value(s.p[i + 2])) < 0) {
			buf_truncate(b, start);
			return -EINVAL;
		}
		buf_putc(b, (char)(h << 4 | l));
		i += 2;
	}
	return 0;
}

void
xtext_put(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] > 32 && s.p[i] < 127 && s.p[i] != '+' && s.p[i] != '=')
			buf_putc(b, s.p[i]);
		else
			buf_printf(b, "+%02X", (unsigned char)s.p[i]);
}

size_t
utf8_next(struct str s, uint32_t *ret_cp)
{
	const unsigned char *p = (const unsigned char *)s.p;
	uint32_t cp, min;
	size_t n;

	if (!s.n)
		return 0;
	if (p[0] < 0x80) {
		*ret_cp = p[0];
		return 1;
	}
	if ((p[0] & 0xe0) == 0xc0)
		n = 2, cp = p[0] & 0x1f, min = 0x80;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3, cp = p[0] & 0x0f, min = 0x800;
	else if ((p[0] & 0xf8) == 0xf0)
		n = 4, cp = p[0] & 0x07, min = 0x10000;
	else
		return 0;
	if (s.n < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (p[i] & 0x3f);
	}
	if (cp < min || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return 0;
	*ret_cp = cp;
	return n;
}

bool
ascii_only(struct str s)
{
	size_t i = 0;
	uint64_t v;

	for (; i + 8 <= s.n; i += 8) {
		memcpy(&v, s.p + i, 8);
		if (v & 0x8080808080808080u)
			return false;
	}
	for (; i < s.n; i++)
		if (s.p[i] & 0x80)
			return false;
	return true;
}

bool
ascii_has_control(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return true;
	return false;
}

bool
utf8_valid(struct str s)
{
	uint32_t cp;

	while (s.n) {
		size_t n = utf8_next(s, &cp);

		if (!n)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

void
utf8_put(struct buf *b, uint32_t cp)
{
	if (cp < 0x80) {
		buf_putc(b, (char)cp);
	} else if (cp < 0x800) {
		buf_putc(b, (char)(0xc0 | cp >> 6));
		buf_putc(b, (char)(0x80 | (cp & 0x3f)));
	} else if (cp < 0x10000) {
		buf_putc(b, (char)(0xe0 | cp >> 12));
		buf_putc(b, (char)(0x80 | (cp >> 6 & 0x3f)));
		buf_putc(b, (char)(0x80 | (cp & 0x3f)));
	} else {
		buf_putc(b, (char)(0xf0 | cp >> 18));
		buf_putc(b, (char)(0x80 | (cp >> 12 & 0x3f)));
		buf_putc(b, (char)(0x80 | (cp >> 6 & 0x3f)));
		buf_putc(b, (char)(0x80 | (cp & 0x3f)));
	}
}
