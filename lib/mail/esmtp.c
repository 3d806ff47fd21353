/* Values of the parameters of MAIL and RCPT; see esmtp.h. */
#include "lib/mail/esmtp.h"

#include <errno.h>

#include "lib/base/text.h"
#include "lib/mail/date.h"
#include "lib/mail/envelope.h"

/* ---- NOTIFY, RET, ENVID ---- */

static const struct {
	struct str word;
	uint32_t bit;
} notify_words[] = {
	{ STR_INIT("NEVER"), NOTIFY_NEVER },
	{ STR_INIT("SUCCESS"), NOTIFY_SUCCESS },
	{ STR_INIT("FAILURE"), NOTIFY_FAILURE },
	{ STR_INIT("DELAY"), NOTIFY_DELAY },
};
#define N_NOTIFY (sizeof notify_words / sizeof *notify_words)

int
esmtp_notify(struct str v, uint32_t *ret)
{
	uint32_t bits = 0;

	do {
		struct str word = str_cut(&v, ',');
		size_t i = 0;

		while (i < N_NOTIFY && !str_ieq(word, notify_words[i].word))
			i++;
		if (i == N_NOTIFY)
			return -EINVAL;
		bits |= notify_words[i].bit;
	} while (v.p);
	if (bits & NOTIFY_NEVER && bits != NOTIFY_NEVER)
		return -EINVAL;
	*ret = bits;
	return 0;
}

void
esmtp_notify_put(struct buf *b, uint32_t notify)
{
	const char *comma = "";

	for (size_t i = 0; i < N_NOTIFY; i++) {
		if (!(notify & notify_words[i].bit))
			continue;
		buf_printf(b, "%s%.*s", comma, STR_ARG(notify_words[i].word));
		comma = ",";
	}
}

int
esmtp_ret(struct str v, uint32_t *ret)
{
	bool full = str_ieq(v, STR("FULL"));

	if (!full && !str_ieq(v, STR("HDRS")))
		return -EINVAL;
	*ret = full ? 1 : 2;
	return 0;
}

static bool
is_printable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	return true;
}

/* Decoded xtext of at most max bytes, printable, in the arena. */
static int
xtext(struct str v, size_t max, struct arena *a, struct str *ret)
{
	struct buf b;
	int r = -EINVAL;

	buf_init(&b, max);
	if (v.n && v.n <= max && xtext_get(&b, v) == 0 && is_printable(buf_view(&b))) {
		*ret = arena_dup(a, buf_view(&b));
		r = ret->p ? 0 : -ENOMEM;
	}
	buf_done(&b);
	return r;
}

int
esmtp_envid(struct str v, struct arena *a, struct str *ret)
{
	return xtext(v, ESMTP_ENVID_MAX, a, ret);
}

/* ---- ORCPT ---- */

static bool
is_addr_type(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_isalnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
			return false;
	return s.n > 0;
}

/* "\x{HEXPOINT}" at the begin of s (RFC 6533 section 3): its length and character, or 0. */
static size_t
embedded(struct str s, uint32_t *ret_cp)
{
	ptrdiff_t end = str_chr(s, '}');
	struct str hex = end < 0 ? STR_NULL : str_skip(str_head(s, (size_t)end), 3);
	uint32_t cp = 0;

	if (!str_starts(s, STR("\\x{")) || hex.n < 2 || hex.n > 6)
		return 0;
	for (size_t i = 0; i < hex.n; i++) {
		char c = ascii_upper(hex.p[i]);

		if (!ascii_isdigit(c) && (c < 'A' || c > 'F'))
			return 0;
		cp = cp << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
	}
	if (cp < ' ' || (cp >= 0x7f && cp < 0xa0) || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		return 0;
	*ret_cp = cp;
	return (size_t)end + 1;
}

/* A utf-8 address in any of its three forms, as UTF-8 without control characters. */
static bool
unitext_get(struct buf *b, struct str v, bool utf8)
{
	while (v.n) {
		uint32_t cp;
		bool quoted = v.p[0] == '\\';
		size_t n = quoted ? embedded(v, &cp) : utf8_next(v, &cp);

		if (!n || (!quoted && (cp <= ' ' || cp == '+' || cp == '=' ||
		    (cp >= 0x7f && (cp < 0xa0 || !utf8)))))
			return false;
		utf8_put(b, cp);
		v = str_skip(v, n);
	}
	return true;
}

int
esmtp_orcpt(struct str v, bool utf8, struct arena *a, struct str *ret)
{
	struct str rest = v, type = str_cut(&rest, ';'), addr;
	struct buf b;
	int r = -EINVAL;

	if (v.n > ESMTP_ORCPT_MAX || !is_addr_type(type) || !rest.n)
		return -EINVAL;
	buf_init(&b, ESMTP_ORCPT_MAX);
	if (str_ieq(type, STR("utf-8")) && unitext_get(&b, rest, utf8)) {
		addr = buf_view(&b);
		r = 0;
	} else {
		/* A utf-8 address that is none travels as it is (RFC 6533 section 3). */
		buf_clear(&b);
		r = xtext(rest, ESMTP_ORCPT_MAX, a, &addr);
	}
	if (!r)
		*ret = arena_printf(a, "%.*s;%.*s", STR_ARG(type), STR_ARG(addr));
	buf_done(&b);
	return r ? r : ret->p ? 0 : -ENOMEM;
}

static void
unitext_put(struct buf *b, struct str s, bool utf8)
{
	while (s.n) {
		uint32_t cp;
		size_t n = utf8_next(s, &cp);

		if (!n)
			return; /* esmtp_orcpt lets only UTF-8 in */
		if (cp <= ' ' || cp == '\\' || cp == '+' || cp == '=' || cp == 0x7f || (cp > 0x7f && !utf8))
			buf_printf(b, "\\x{%02X}", (unsigned)cp);
		else
			buf_put(b, s.p, n);
		s = str_skip(s, n);
	}
}

void
esmtp_orcpt_put(struct buf *b, struct str orcpt, bool utf8)
{
	struct str addr = orcpt, type = str_cut(&addr, ';');

	buf_str(b, type);
	buf_putc(b, ';');
	if (str_ieq(type, STR("utf-8")))
		unitext_put(b, addr, utf8);
	else
		xtext_put(b, addr);
}

/* ---- BY, HOLDFOR, HOLDUNTIL, MT-PRIORITY ---- */

/* 1 to 9 digits. */
static int
number9(struct str s, uint32_t *ret)
{
	return s.n <= 9 && str_u32(s, 999999999, ret) ? 0 : -EINVAL;
}

int
esmtp_by(struct str v, struct esmtp_by *ret)
{
	struct str mode = v, time = str_cut(&mode, ';');
	bool minus = str_starts(time, STR("-"));
	struct esmtp_by by = { 0 };
	uint32_t n;

	if (minus || str_starts(time, STR("+")))
		time = str_skip(time, 1);
	if (number9(time, &n) < 0 || !mode.n || mode.n > 2)
		return -EINVAL;
	by.seconds = minus ? -(int32_t)n : (int32_t)n;
	by.notify = ascii_upper(mode.p[0]) == 'N';
	by.trace = mode.n == 2;
	if ((!by.notify && ascii_upper(mode.p[0]) != 'R') || (by.trace && ascii_upper(mode.p[1]) != 'T') ||
	    (!by.notify && by.seconds <= 0))
		return -EINVAL;
	*ret = by;
	return 0;
}

void
esmtp_by_put(struct buf *b, const struct esmtp_by *by)
{
	buf_printf(b, "%d;%s%s", by->seconds, by->notify ? "N" : "R", by->trace ? "T" : "");
}

int
esmtp_hold_for(struct str v, uint64_t *ret_seconds)
{
	uint32_t n;

	if (number9(v, &n) < 0 || n == 0 || v.p[0] == '0')
		return -EINVAL;
	*ret_seconds = n;
	return 0;
}

int
esmtp_hold_until(struct str v, int64_t *ret_time)
{
	struct date d;

	if (date_parse_rfc3339(v, &d) < 0)
		return -EINVAL;
	*ret_time = d.time;
	return 0;
}

int
esmtp_priority(struct str v, int32_t *ret)
{
	bool minus = str_starts(v, STR("-"));

	if (minus)
		v = str_skip(v, 1);
	if (v.n != 1 || !ascii_isdigit(v.p[0]) || (minus && v.p[0] == '0'))
		return -EINVAL;
	*ret = minus ? '0' - v.p[0] : v.p[0] - '0';
	return 0;
}
