/*
 * Modified UTF-7 (RFC 3501 section 5.1.3): printable ASCII stands for itself, "&"
 * is "&-", everything else is UTF-16 in base64 with "," for "/" and no padding,
 * between "&" and "-".
 *
 * The decoder accepts exactly what the encoder makes, so two names that differ
 * on the wire differ in the store.
 */
#include "lib/mail/mutf7.h"

#include <errno.h>

#include "lib/base/text.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool
printable(uint32_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

static int
value(char c)
{
	const char *q = c ? strchr(alphabet, c) : NULL;

	return q ? (int)(q - alphabet) : -1;
}

/* One UTF-16 unit of a run: puts a character when it is whole. *high keeps the
 * first half of a pair. */
static int
put_unit(struct buf *out, uint32_t unit, uint32_t *high)
{
	if (*high) {
		if (unit < 0xdc00 || unit > 0xdfff)
			return -EINVAL;
		utf8_put(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
		*high = 0;
		return 0;
	}
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return -EINVAL;
	if (unit >= 0xd800 && unit <= 0xdbff) {
		*high = unit;
		return 0;
	}
	if (unit < 0x20 || unit == 0x7f || printable(unit))
		return -EINVAL;
	utf8_put(out, unit);
	return 0;
}

/* The base64 between "&" and "-". */
static int
decode_run(struct str run, struct buf *out)
{
	uint32_t bits = 0, high = 0;
	unsigned n = 0;

	for (size_t i = 0; i < run.n; i++) {
		int v = value(run.p[i]);

		if (v < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)v;
		n += 6;
		if (n >= 16) {
			n -= 16;
			if (put_unit(out, bits >> n & 0xffff, &high) < 0)
				return -EINVAL;
			bits &= (1u << n) - 1;
		}
	}
	/* less than a digit is left over, and it is zero */
	return high || n >= 6 || bits ? -EINVAL : 0;
}

int
mutf7_decode(struct str s, struct buf *out)
{
	size_t start = out->n;
	bool after_run = false;

	while (s.n) {
		struct str run;
		ptrdiff_t end;

		if (s.p[0] != '&') {
			if (!printable((unsigned char)s.p[0]))
				goto bad;
			buf_putc(out, s.p[0]);
			s = str_skip(s, 1);
			after_run = false;
			continue;
		}
		if ((end = str_chr(s, '-')) < 0)
			goto bad;
		run = str_from(s.p + 1, (size_t)end - 1);
		s = str_skip(s, (size_t)end + 1);
		if (run.n == 0) {
			buf_putc(out, '&');
			after_run = false;
			continue;
		}
		if (after_run || decode_run(run, out) < 0)
			goto bad;
		after_run = true;
	}
	return 0;
bad:
	buf_truncate(out, start);
	return -EINVAL;
}

struct run {
	bool open;
	uint32_t bits;
	unsigned n;
};

static void
run_unit(struct run *r, struct buf *out, uint32_t unit)
{
	if (!r->open)
		buf_putc(out, '&');
	r->open = true;
	r->bits = r->bits << 16 | unit;
	for (r->n += 16; r->n >= 6; r->n -= 6)
		buf_putc(out, alphabet[r->bits >> (r->n - 6) & 63]);
	r->bits &= (1u << r->n) - 1;
}

static void
run_close(struct run *r, struct buf *out)
{
	if (!r->open)
		return;
	if (r->n)
		buf_putc(out, alphabet[r->bits << (6 - r->n) & 63]);
	buf_putc(out, '-');
	*r = (struct run){ 0 };
}

int
mutf7_encode(struct str s, struct buf *out)
{
	size_t start = out->n;
	struct run r = { 0 };

	while (s.n) {
		uint32_t cp;
		size_t n = utf8_next(s, &cp);

		if (!n || cp < 0x20 || cp == 0x7f) {
			buf_truncate(out, start);
			return -EINVAL;
		}
		s = str_skip(s, n);
		if (printable(cp)) {
			run_close(&r, out);
			buf_putc(out, (char)cp);
			if (cp == '&')
				buf_putc(out, '-');
		} else if (cp < 0x10000) {
			run_unit(&r, out, cp);
		} else {
			run_unit(&r, out, 0xd800 + ((cp - 0x10000) >> 10));
			run_unit(&r, out, 0xdc00 + (cp & 0x3ff));
		}
	}
	run_close(&r, out);
	return 0;
}
