/* Return paths of forwarded mail; see srs.h. */
#include "mta/srs.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define HASH_CHARS 6      /* of five bits each */
#define LOCAL_MAX 64
#define DAYS 1024         /* TT counts modulo this */

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

/* What is proved: the text in lower case. */
static int
hash(const unsigned char *key, struct str text, char out[static HASH_CHARS])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	char folded[1024];
	uint64_t bits = 0;

	if (text.n > sizeof folded)
		return -EINVAL;
	for (size_t i = 0; i < text.n; i++)
		folded[i] = ascii_lower(text.p[i]);
	if (!HMAC(EVP_sha256(), key, SRS_KEY_BYTES, (const unsigned char *)folded, text.n, md, NULL))
		return -EINVAL;
	for (int i = 0; i < 8; i++)
		bits = bits << 8 | md[i];
	for (int i = 0; i < HASH_CHARS; i++, bits >>= 5)
		out[i] = digits[bits & 31];
	return 0;
}

static bool
proves(const unsigned char *key, struct str text, struct str given)
{
	char want[HASH_CHARS], folded[HASH_CHARS];

	if (given.n != HASH_CHARS || hash(key, text, want))
		return false;
	for (int i = 0; i < HASH_CHARS; i++)
		folded[i] = ascii_lower(given.p[i]);
	return CRYPTO_memcmp(want, folded, HASH_CHARS) == 0;
}

/* "SRS0" or "SRS1" and a separator: 0 or 1, else -1. */
static int
version(struct str local)
{
	if (local.n < 6 || !str_istarts(local, STR("SRS")) || !strchr("=+-", local.p[4]))
		return -1;
	return local.p[3] == '0' ? 0 : local.p[3] == '1' ? 1 : -1;
}

bool
srs_is(struct str local)
{
	return version(local) >= 0;
}

static int
put(const unsigned char *key, const char *start, const struct buf *text, struct buf *out)
{
	char h[HASH_CHARS];

	if (text->over || hash(key, buf_view(text), h))
		return -EINVAL;
	if (5 + HASH_CHARS + 1 + text->n > LOCAL_MAX)
		return -ENAMETOOLONG;
	buf_puts(out, start);
	buf_put(out, h, sizeof h);
	buf_putc(out, '=');
	buf_str(out, buf_view(text));
	return out->over ? -ENOMEM : 0;
}

int
srs_forward(const unsigned char key[static SRS_KEY_BYTES], struct str sender, uint64_t day,
    struct buf *out)
{
	ptrdiff_t at = str_rchr(sender, '@');
	struct buf text = { .max = 1024 };
	struct str local, domain;
	int v, r;

	if (at <= 0)
		return -EINVAL;
	local = str_head(sender, (size_t)at);
	domain = str_skip(sender, (size_t)at + 1);
	if (local.p[0] == '"')
		return -EINVAL;
	v = version(local);
	if (v == 0) { /* the domain that can read it, and all behind "SRS0" */
		buf_str(&text, domain);
		buf_putc(&text, '=');
		buf_str(&text, str_skip(local, 4));
	} else if (v == 1) { /* the first forwarder stays; its hash was the second's */
		struct str rest = str_skip(local, 5);

		str_cut(&rest, '=');
		buf_str(&text, rest);
	} else {
		unsigned t = (unsigned)(day % DAYS);

		buf_printf(&text, "%c%c=", digits[t >> 5], digits[t & 31]);
		buf_str(&text, domain);
		buf_putc(&text, '=');
		buf_str(&text, local);
	}
	r = put(key, v >= 0 ? "SRS1=" : "SRS0=", &text, out);
	buf_done(&text);
	return r;
}

/* The day's number modulo DAYS, or -1. */
static int
read_day(struct str s)
{
	const char *hi, *lo;

	if (s.n != 2)
		return -1;
	hi = memchr(digits, ascii_lower(s.p[0]), 32);
	lo = memchr(digits, ascii_lower(s.p[1]), 32);
	return hi && lo ? (int)((hi - digits) << 5 | (lo - digits)) : -1;
}

int
srs_reverse(const unsigned char key[static SRS_KEY_BYTES], struct str local, uint64_t day,
    uint64_t days_max, struct buf *out)
{
	int v = version(local), then;
	struct str rest = str_skip(local, 5), given, domain, proved;

	given = str_cut(&rest, '=');
	proved = rest;
	if (v < 0 || !rest.p || !proves(key, proved, given))
		return -EINVAL;
	if (v == 1) {
		domain = str_cut(&rest, '=');
		if (!domain.n || rest.n < 2)
			return -EINVAL;
		buf_puts(out, "SRS0");
	} else {
		then = read_day(str_cut(&rest, '='));
		domain = str_cut(&rest, '=');
		if (then < 0 || !domain.n || !rest.n)
			return -EINVAL;
		if ((day + DAYS - (uint64_t)then) % DAYS > days_max)
			return -ETIME;
	}
	buf_str(out, rest);
	buf_putc(out, '@');
	buf_str(out, domain);
	return out->over ? -ENOMEM : 0;
}
