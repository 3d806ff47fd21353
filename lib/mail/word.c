/*
 * Charsets and encoded words. The table gives the names that mail uses and the
 * converter that reads them best: a superset where senders are known to label
 * loosely (windows-1252 for ISO-8859-1, GB18030 for GB2312 ...). Only names of the
 * table reach iconv, so the set of modules is closed.
 */
#include "lib/mail/word.h"

#include <errno.h>
#include <iconv.h>

#include "lib/base/text.h"

#define UTF8 "UTF-8"

static const struct {
	const char *name, *conv;
} charsets[] = {
	{ "us-ascii", "CP1252" }, { "ascii", "CP1252" }, { "ansi_x3.4-1968", "CP1252" },
	{ "utf-8", UTF8 }, { "utf8", UTF8 }, { "unicode-1-1-utf-8", UTF8 },
	{ "iso-8859-1", "CP1252" }, { "iso8859-1", "CP1252" }, { "latin1", "CP1252" },
	{ "iso_8859-1", "CP1252" }, { "windows-1252", "CP1252" }, { "cp1252", "CP1252" },
	{ "iso-8859-2", "ISO-8859-2" }, { "iso8859-2", "ISO-8859-2" }, { "latin2", "ISO-8859-2" },
	{ "iso-8859-3", "ISO-8859-3" }, { "iso-8859-4", "ISO-8859-4" },
	{ "iso-8859-5", "ISO-8859-5" }, { "iso-8859-6", "ISO-8859-6" },
	{ "iso-8859-7", "ISO-8859-7" }, { "iso-8859-8", "ISO-8859-8" },
	{ "iso-8859-8-i", "ISO-8859-8" }, { "iso-8859-9", "CP1254" },
	{ "iso-8859-10", "ISO-8859-10" }, { "iso-8859-11", "CP874" },
	{ "iso-8859-13", "ISO-8859-13" }, { "iso-8859-14", "ISO-8859-14" },
	{ "iso-8859-15", "ISO-8859-15" }, { "iso8859-15", "ISO-8859-15" },
	{ "iso-8859-16", "ISO-8859-16" },
	{ "windows-874", "CP874" }, { "tis-620", "CP874" },
	{ "windows-1250", "CP1250" }, { "cp1250", "CP1250" }, { "windows-1251", "CP1251" },
	{ "cp1251", "CP1251" }, { "windows-1253", "CP1253" }, { "windows-1254", "CP1254" },
	{ "windows-1255", "CP1255" }, { "windows-1256", "CP1256" }, { "windows-1257", "CP1257" },
	{ "windows-1258", "CP1258" }, { "koi8-r", "KOI8-R" }, { "koi8-u", "KOI8-U" },
	{ "ibm437", "IBM437" }, { "cp437", "IBM437" }, { "ibm850", "IBM850" },
	{ "cp850", "IBM850" }, { "cp-850", "IBM850" }, { "ibm852", "IBM852" },
	{ "ibm866", "IBM866" }, { "cp866", "IBM866" }, { "macintosh", "MACINTOSH" },
	{ "gb2312", "GB18030" }, { "gbk", "GB18030" }, { "x-gbk", "GB18030" },
	{ "gb18030", "GB18030" }, { "hz-gb-2312", "GB18030" }, { "big5", "BIG5-HKSCS" },
	{ "big5-hkscs", "BIG5-HKSCS" }, { "euc-tw", "EUC-TW" },
	{ "euc-kr", "UHC" }, { "ks_c_5601-1987", "UHC" }, { "ks_c_5601", "UHC" },
	{ "cp949", "UHC" }, { "iso-2022-kr", "ISO-2022-KR" },
	{ "iso-2022-jp", "ISO-2022-JP-2" }, { "iso-2022-jp-1", "ISO-2022-JP-2" },
	{ "iso-2022-jp-2", "ISO-2022-JP-2" }, { "shift_jis", "CP932" }, { "shift-jis", "CP932" },
	{ "x-sjis", "CP932" }, { "sjis", "CP932" }, { "windows-31j", "CP932" },
	{ "cp932", "CP932" }, { "euc-jp", "EUC-JP-MS" }, { "x-euc-jp", "EUC-JP-MS" },
	{ "utf-7", "UTF-7" }, { "unicode-1-1-utf-7", "UTF-7" }, { "utf-16", "UTF-16" },
	{ "utf-16le", "UTF-16LE" }, { "utf-16be", "UTF-16BE" }, { "utf-32", "UTF-32" },
};
#define N_CHARSETS (sizeof charsets / sizeof *charsets)

static iconv_t preloaded[N_CHARSETS]; /* held so that the modules stay loaded */

static const char *
converter(struct str name)
{
	for (size_t i = 0; i < N_CHARSETS; i++)
		if (str_ieq(name, str_c(charsets[i].name)))
			return charsets[i].conv;
	return NULL;
}

bool
charset_known(struct str charset)
{
	return converter(charset) != NULL;
}

int
charset_preload(void)
{
	int missing = 0;

	for (size_t i = 0; i < N_CHARSETS; i++) {
		if (preloaded[i] && preloaded[i] != (iconv_t)-1)
			continue;
		preloaded[i] = iconv_open(UTF8, charsets[i].conv);
		if (preloaded[i] == (iconv_t)-1)
			missing++;
	}
	return missing;
}

static void
put_lossy_utf8(struct buf *out, struct str s)
{
	while (s.n) {
		uint32_t cp;
		size_t n = utf8_next(s, &cp);

		if (n)
			buf_put(out, s.p, n);
		else
			utf8_put(out, 0xfffd);
		s = str_skip(s, n ? n : 1);
	}
}

static void
put_iconv(struct buf *out, iconv_t cd, struct str s)
{
	char *in = (char *)(uintptr_t)s.p;
	size_t left = s.n;
	bool flush = false;

	for (;;) {
		char t[2048], *o = t;
		size_t room = sizeof t;
		size_t r = flush ? iconv(cd, NULL, NULL, &o, &room) : iconv(cd, &in, &left, &o, &room);
		int err = errno;

		/* a converter may let surrogates through */
		put_lossy_utf8(out, str_from(t, sizeof t - room));
		if (out->over || (flush && r != (size_t)-1))
			return;
		if (r == (size_t)-1 && err == E2BIG)
			continue;
		if (r == (size_t)-1 && !flush && left && err == EILSEQ) {
			utf8_put(out, 0xfffd);
			in++, left--;
			continue;
		}
		if (r == (size_t)-1 && !flush && left)
			utf8_put(out, 0xfffd); /* cut in a character */
		if (flush)
			return;
		flush = true;
	}
}

void
charset_to_utf8(struct str charset, struct str bytes, struct buf *out)
{
	const char *conv = converter(str_trim(charset));
	iconv_t cd;

	if ((!conv || strcmp(conv, "CP1252") == 0) && utf8_valid(bytes)) {
		buf_str(out, bytes); /* ASCII, or UTF-8 under a wrong name */
		return;
	}
	if (conv && strcmp(conv, UTF8) == 0) {
		put_lossy_utf8(out, bytes);
		return;
	}
	cd = iconv_open(UTF8, conv ? conv : "CP1252");
	if (cd == (iconv_t)-1) {
		put_lossy_utf8(out, bytes);
		return;
	}
	put_iconv(out, cd, bytes);
	iconv_close(cd);
}

static int
hex(char c)
{
	return ascii_isdigit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static void
put_q(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		int hi, lo;

		if (s.p[i] == '_') {
			buf_putc(b, ' ');
		} else if (s.p[i] == '=' && i + 2 < s.n && (hi = hex(s.p[i + 1])) >= 0 &&
		    (lo = hex(s.p[i + 2])) >= 0) {
			buf_putc(b, (char)(hi << 4 | lo));
			i += 2;
		} else {
			buf_putc(b, s.p[i]);
		}
	}
}

static void
put_b(struct buf *b, struct str s)
{
	uint32_t bits = 0;
	int n = 0;

	for (size_t i = 0; i < s.n; i++) {
		static const char d[] =
		    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
		const char *q = s.p[i] ? strchr(d, s.p[i]) : NULL;

		if (!q)
			continue;
		bits = bits << 6 | (uint32_t)(q - d);
		if ((n += 6) >= 8)
			buf_putc(b, (char)(bits >> (n -= 8)));
	}
}

struct word {
	struct str charset, text;
	char encoding; /* 'q' or 'b' */
	size_t length; /* of the whole word */
};

/* The encoded word that s begins with (RFC 2047 section 2; blanks inside are taken
 * too, as senders write them). */
static bool
word_at(struct str s, struct word *ret)
{
	struct str rest = str_skip(s, 2), cs;
	ptrdiff_t end;

	if (s.n < 8 || s.p[0] != '=' || s.p[1] != '?')
		return false;
	rest = str_head(rest, 4096);
	cs = str_cut(&rest, '?');
	if (rest.n < 4 || rest.p[1] != '?' || cs.n == 0 || cs.n > 64)
		return false;
	ret->encoding = ascii_lower(rest.p[0]);
	rest = str_skip(rest, 2);
	if ((end = str_find(rest, STR("?="))) < 0 ||
	    (ret->encoding != 'q' && ret->encoding != 'b'))
		return false;
	ret->text = str_head(rest, (size_t)end);
	ret->charset = cs;
	str_cut(&ret->charset, '*'); /* the language of RFC 2231 section 5 */
	ret->charset = str_head(cs, ret->charset.p ? (size_t)(ret->charset.p - cs.p) - 1 : cs.n);
	ret->length = (size_t)(rest.p + end + 2 - s.p);
	return true;
}

static size_t
blanks(struct str s)
{
	size_t n = 0;

	while (n < s.n && ascii_isspace(s.p[n]))
		n++;
	return n;
}

/* A run of adjacent words: bytes of one charset are gathered before they are
 * converted, since senders split characters between words. */
static size_t
put_words(struct str s, struct buf *out)
{
	struct buf bytes = { 0 };
	struct str charset = STR_NULL;
	size_t taken = 0, gap = 0;
	struct word w;

	while (word_at(str_skip(s, taken + gap), &w)) {
		if (charset.p && !str_ieq(charset, w.charset)) {
			charset_to_utf8(charset, buf_view(&bytes), out);
			buf_clear(&bytes);
		}
		charset = w.charset;
		if (w.encoding == 'q')
			put_q(&bytes, w.text);
		else
			put_b(&bytes, w.text);
		taken += gap + w.length;
		gap = blanks(str_skip(s, taken));
	}
	charset_to_utf8(charset, buf_view(&bytes), out);
	buf_done(&bytes);
	return taken;
}

void
word_decode(struct str raw, struct buf *out)
{
	struct str s = str_trim(raw);

	while (s.n && !out->over) {
		struct word w;
		ptrdiff_t i = str_find(s, STR("=?"));
		size_t n = i < 0 ? s.n : (size_t)i, start = out->n, keep;

		if (n == 0 && !word_at(s, &w))
			n = 2;
		if (n == 0) {
			s = str_skip(s, put_words(s, out));
			continue;
		}
		charset_to_utf8(STR_NULL, str_head(s, n), out);
		keep = start;
		for (size_t k = start; k < out->n; k++)
			if (out->p[k] != '\r' && out->p[k] != '\n' && out->p[k] != '\0')
				out->p[keep++] = out->p[k];
		buf_truncate(out, keep);
		s = str_skip(s, n);
	}
}
