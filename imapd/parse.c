/*
 * The basic rules of IMAP's grammar; see parse.h. Commands with a grammar of
 * their own stand beside it: parse_fetch.c, parse_search.c, and the head of each
 * cmd_*.c.
 */
#include "imapd/parse.h"

#include <stdlib.h>

#include "lib/client/store.h"
#include "lib/mail/mutf7.h"

const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
	"Oct", "Nov", "Dec" };

void
parse_init(struct parse *p, struct str in, struct arena *ar)
{
	*p = (struct parse){ .in = in, .ar = ar };
}

bool
parse_fail(struct parse *p, const char *why)
{
	if (!p->why)
		p->why = why;
	return false;
}

/* ---- characters ---- */

enum { C_ATOM = 1, C_ASTRING = 2, C_LIST = 4, C_TAG = 8, C_QUOTED = 16 };

static unsigned
class_of(unsigned char c)
{
	if (c >= 128)
		return C_QUOTED; /* not RFC 3501, but what clients send in LOGIN and SEARCH */
	if (c < 32 || c == 127)
		return c == '\t' ? C_QUOTED : 0;
	switch (c) {
	case '(': case ')': case '{': case ' ':
		return C_QUOTED;
	case '"': case '\\':
		return 0;
	case '%': case '*':
		return C_LIST | C_QUOTED;
	case ']':
		return C_ASTRING | C_LIST | C_TAG | C_QUOTED;
	case '+':
		return C_ATOM | C_ASTRING | C_LIST | C_QUOTED;
	default:
		return C_ATOM | C_ASTRING | C_LIST | C_TAG | C_QUOTED;
	}
}

static bool
take_class(struct parse *p, unsigned class, const char *why, struct str *ret)
{
	size_t n = 0;

	while (n < p->in.n && class_of((unsigned char)p->in.p[n]) & class)
		n++;
	if (n == 0)
		return parse_fail(p, why);
	if (n > PARSE_ATOM_MAX)
		return parse_fail(p, "Atom is too long");
	*ret = str_head(p->in, n);
	p->in = str_skip(p->in, n);
	return true;
}

bool
parse_is(const struct parse *p, char c)
{
	return p->in.n > 0 && p->in.p[0] == c;
}

bool
parse_char(struct parse *p, char c)
{
	static const char *const why[128] = { ['('] = "Expected (", [')'] = "Expected )",
		[' '] = "Expected a space", ['"'] = "Expected a quote", ['['] = "Expected [",
		[']'] = "Expected ]", ['.'] = "Expected a dot", ['>'] = "Expected >",
		['-'] = "Expected -", [':'] = "Expected :" };

	if (!parse_is(p, c))
		return parse_fail(p, why[c & 127] ? why[c & 127] : "Unexpected character");
	p->in = str_skip(p->in, 1);
	return true;
}

bool
parse_sp(struct parse *p)
{
	if (p->in.n == 0)
		return parse_fail(p, "Missing argument");
	return parse_char(p, ' ');
}

bool
parse_end(struct parse *p)
{
	if (p->in.n == 0)
		return true;
	return parse_fail(p, "Junk after the arguments");
}

bool
parse_word(struct parse *p, const char *word)
{
	struct str w = str_c(word);

	if (!str_istarts(p->in, w))
		return false;
	if (p->in.n > w.n && class_of((unsigned char)p->in.p[w.n]) & C_ATOM)
		return false;
	p->in = str_skip(p->in, w.n);
	return true;
}

bool
parse_tag(struct parse *p, struct str *ret)
{
	return take_class(p, C_TAG, "Invalid tag", ret);
}

bool
parse_atom(struct parse *p, struct str *ret)
{
	return take_class(p, C_ATOM, "Expected an atom", ret);
}

/* ---- strings ---- */

static bool
quoted(struct parse *p, struct str *ret)
{
	const char *s = p->in.p + 1, *end = p->in.p + p->in.n, *q = s;
	char *out = NULL;
	size_t n = 0;

	while (q < end && *q != '"') {
		if (*q == '\\') {
			if (!out && !(out = arena_alloc(p->ar, p->in.n)))
				return parse_fail(p, "Command is too large");
			memcpy(out, s, n);
			/* from the first escape on, characters are copied one by one */
			for (; q < end && *q != '"'; q++) {
				if (*q == '\\' && (++q == end || (*q != '"' && *q != '\\')))
					return parse_fail(p, "Bad escape in a quoted string");
				if (*q != '"' && *q != '\\' && !(class_of((unsigned char)*q) & C_QUOTED))
					return parse_fail(p, "Bad character in a quoted string");
				out[n++] = *q;
			}
			break;
		}
		if (!(class_of((unsigned char)*q) & C_QUOTED))
			return parse_fail(p, "Bad character in a quoted string");
		q++, n++;
	}
	if (q == end)
		return parse_fail(p, "Quoted string without an end");
	*ret = str_from(out ? out : s, n);
	p->in = str_from(q + 1, (size_t)(end - q - 1));
	return true;
}

/* {n} or {n+}, CRLF, n bytes. The reader of commands has checked that they are
 * there; a piece of a command cut short is refused here all the same. */
static bool
literal(struct parse *p, struct str *ret)
{
	ptrdiff_t close = str_chr(p->in, '}');
	struct str num, rest;
	uint32_t n;

	if (close < 2)
		return parse_fail(p, "Invalid literal");
	num = str_from(p->in.p + 1, (size_t)close - 1);
	if (num.p[num.n - 1] == '+')
		num.n--;
	rest = str_skip(p->in, (size_t)close + 1);
	if (!str_u32(num, UINT32_MAX, &n) || !str_starts(rest, STR("\r\n")) || n > rest.n - 2)
		return parse_fail(p, "Invalid literal");
	rest = str_skip(rest, 2);
	*ret = str_head(rest, n);
	if (n && memchr(rest.p, '\0', n))
		return parse_fail(p, "NUL in a literal");
	p->in = str_skip(rest, n);
	return true;
}

bool
parse_string(struct parse *p, struct str *ret)
{
	if (parse_is(p, '"'))
		return quoted(p, ret);
	if (parse_is(p, '{'))
		return literal(p, ret);
	return parse_fail(p, "Expected a string");
}

bool
parse_astring(struct parse *p, struct str *ret)
{
	if (parse_is(p, '"') || parse_is(p, '{'))
		return parse_string(p, ret);
	return take_class(p, C_ASTRING, "Expected a string", ret);
}

bool
parse_nstring(struct parse *p, struct str *ret)
{
	if (parse_word(p, "NIL")) {
		*ret = STR_NULL;
		return true;
	}
	return parse_string(p, ret);
}

bool
parse_skip_value(struct parse *p)
{
	struct str s;

	if (!parse_is(p, '('))
		return parse_astring(p, &s);
	if (++p->depth > PARSE_DEPTH_MAX)
		return parse_fail(p, "Too many nested parentheses");
	p->in = str_skip(p->in, 1);
	while (!parse_is(p, ')')) {
		if (!parse_skip_value(p))
			return false;
		if (!parse_is(p, ')') && !parse_sp(p))
			return false;
	}
	p->depth--;
	return parse_char(p, ')');
}

/* ---- numbers and sets ---- */

static bool
digits(struct parse *p, uint64_t max, uint64_t *ret)
{
	size_t n = 0;

	while (n < p->in.n && ascii_isdigit(p->in.p[n]))
		n++;
	if (n == 0)
		return parse_fail(p, "Expected a number");
	if (!str_u64(str_head(p->in, n), max, ret))
		return parse_fail(p, "Number is too large");
	p->in = str_skip(p->in, n);
	return true;
}

bool
parse_number(struct parse *p, uint32_t *ret)
{
	uint64_t v;

	if (!digits(p, UINT32_MAX, &v))
		return false;
	*ret = (uint32_t)v;
	return true;
}

bool
parse_nz_number(struct parse *p, uint32_t *ret)
{
	if (!parse_number(p, ret))
		return false;
	return *ret != 0 || parse_fail(p, "Number must not be zero");
}

bool
parse_modseq(struct parse *p, uint64_t *ret)
{
	return digits(p, INT64_MAX, ret);
}

static bool
seq_number(struct parse *p, uint32_t *ret)
{
	if (parse_is(p, '*')) {
		p->in = str_skip(p->in, 1);
		*ret = SEQ_STAR;
		return true;
	}
	if (p->in.n == 0 || !ascii_isdigit(p->in.p[0]))
		return parse_fail(p, "Invalid sequence set");
	return parse_nz_number(p, ret);
}

bool
parse_seq_set(struct parse *p, struct seq_set *ret)
{
	size_t cap = 1, i;

	/* one more than there are commas before the next space */
	for (i = 0; i < p->in.n && p->in.p[i] != ' '; i++)
		cap += p->in.p[i] == ',';
	if (cap > PARSE_RANGES_MAX)
		return parse_fail(p, "Sequence set is too long");
	ret->n = 0;
	if (!(ret->v = arena_alloc(p->ar, cap * sizeof *ret->v)))
		return parse_fail(p, "Command is too large");
	for (;;) {
		struct seq_range *r = &ret->v[ret->n++];

		if (!seq_number(p, &r->lo))
			return false;
		r->hi = r->lo;
		if (parse_is(p, ':')) {
			p->in = str_skip(p->in, 1);
			if (!seq_number(p, &r->hi))
				return false;
		}
		if (!parse_is(p, ','))
			return true;
		p->in = str_skip(p->in, 1);
	}
}

static int
range_cmp(const void *a, const void *b)
{
	const struct seq_range *x = a, *y = b;

	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

void
seq_resolve(struct seq_set *s, uint32_t max)
{
	size_t i, n = 0;
	bool sorted = true;

	for (i = 0; i < s->n; i++) {
		struct seq_range *r = &s->v[i];
		uint32_t t;

		if (r->lo == SEQ_STAR)
			r->lo = max;
		if (r->hi == SEQ_STAR)
			r->hi = max;
		if (r->lo > r->hi)
			t = r->lo, r->lo = r->hi, r->hi = t;
		if (i && r->lo < s->v[i - 1].lo)
			sorted = false;
	}
	if (!sorted)
		qsort(s->v, s->n, sizeof *s->v, range_cmp);
	for (i = 0; i < s->n; i++) {
		struct seq_range *last = n ? &s->v[n - 1] : NULL;

		if (last && (s->v[i].lo <= last->hi || s->v[i].lo - 1 == last->hi)) {
			if (s->v[i].hi > last->hi)
				last->hi = s->v[i].hi;
		} else {
			s->v[n++] = s->v[i];
		}
	}
	s->n = n;
}

/* ---- mailbox names ---- */

static bool
mailbox_decode(struct parse *p, struct str raw, struct str *ret)
{
	struct buf b;

	buf_init(&b, 4 * raw.n + 16);
	if (mutf7_decode(raw, &b) < 0) {
		buf_done(&b);
		return parse_fail(p, "Mailbox name is not valid modified UTF-7");
	}
	*ret = arena_dup(p->ar, buf_view(&b));
	buf_done(&b);
	if (!ret->p)
		return parse_fail(p, "Command is too large");
	if (str_ieq(*ret, STR("INBOX")))
		*ret = STR("INBOX");
	else if (str_istarts(*ret, STR("INBOX/")))
		memcpy((char *)ret->p, "INBOX", 5); /* the arena's copy is ours */
	return true;
}

bool
parse_mailbox(struct parse *p, struct str *ret)
{
	struct str raw;

	return parse_astring(p, &raw) && mailbox_decode(p, raw, ret);
}

bool
parse_mailbox_dir(struct parse *p, struct str *ret)
{
	struct str raw;

	if (!parse_astring(p, &raw))
		return false;
	if (raw.n > 1 && raw.p[raw.n - 1] == '/')
		raw.n--;
	return mailbox_decode(p, raw, ret);
}

bool
parse_list_mailbox(struct parse *p, struct str *ret)
{
	if (parse_is(p, '"') || parse_is(p, '{'))
		return parse_string(p, ret);
	return take_class(p, C_LIST, "Expected a mailbox pattern", ret);
}

/* ---- flags ---- */

static const struct {
	const char *name;
	uint32_t bit;
} system_flags[] = { { "Seen", F_SEEN }, { "Answered", F_ANSWERED }, { "Flagged", F_FLAGGED },
	{ "Deleted", F_DELETED }, { "Draft", F_DRAFT } };

bool
parse_keyword(struct parse *p, struct str *ret)
{
	if (!parse_atom(p, ret))
		return false;
	if (ret->n > PARSE_KEYWORD_MAX)
		return parse_fail(p, "Keyword is too long");
	return true;
}

static bool
system_flag(struct parse *p, uint32_t *bits)
{
	struct str name;
	size_t i;

	p->in = str_skip(p->in, 1);
	if (!parse_atom(p, &name))
		return false;
	for (i = 0; i < sizeof system_flags / sizeof *system_flags; i++)
		if (str_ieq(name, str_c(system_flags[i].name))) {
			*bits |= system_flags[i].bit;
			return true;
		}
	return parse_fail(p, str_ieq(name, STR("Recent")) ? "\\Recent cannot be set by a client"
							  : "Unknown system flag");
}

static bool
flags_until(struct parse *p, bool parens, struct flag_args *ret)
{
	size_t cap = 8;

	*ret = (struct flag_args){ .keywords = ARENA_ARRAY(p->ar, struct str, cap) };
	if (!ret->keywords)
		return parse_fail(p, "Command is too large");
	while (!(parens && parse_is(p, ')'))) {
		if (parse_is(p, '\\')) {
			if (!system_flag(p, &ret->sysflags))
				return false;
		} else {
			if (ret->n == cap) {
				struct str *more = ARENA_ARRAY(p->ar, struct str, cap * 2);

				if (!more || cap >= PARSE_ITEMS_MAX)
					return parse_fail(p, "Too many flags");
				memcpy(more, ret->keywords, cap * sizeof *more);
				ret->keywords = more;
				cap *= 2;
			}
			if (!parse_keyword(p, &ret->keywords[ret->n++]))
				return false;
		}
		if (parens ? parse_is(p, ')') : p->in.n == 0)
			break;
		if (!parse_sp(p))
			return false;
	}
	return true;
}

bool
parse_flag_list(struct parse *p, struct flag_args *ret)
{
	return parse_char(p, '(') && flags_until(p, true, ret) && parse_char(p, ')');
}

bool
parse_flags_loose(struct parse *p, struct flag_args *ret)
{
	if (parse_is(p, '('))
		return parse_flag_list(p, ret);
	return flags_until(p, false, ret);
}

/* ---- dates ---- */

int64_t
days_from_civil(int year, int month, int day)
{
	/* years begin in March, so that the leap day comes last */
	int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (unsigned)((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1);

	return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

void
civil_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*ret_day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*ret_month = (int)(mp < 10 ? mp + 3 : mp - 9);
	*ret_year = (int)(yoe + era * 400) + (*ret_month <= 2);
}

static unsigned
month_days(int year, int month)
{
	static const unsigned char n[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return n[month - 1] + (unsigned)(month == 2 && leap);
}

/* -Mon-YYYY behind a day of the month. */
static bool
month_year(struct parse *p, unsigned day, int64_t *ret_days)
{
	uint32_t year;
	int m;

	if (p->in.n < 9 || p->in.p[0] != '-' || p->in.p[4] != '-' ||
	    !str_u32(str_head(str_skip(p->in, 5), 4), 9999, &year))
		return parse_fail(p, "Invalid date");
	for (m = 0; m < 12; m++)
		if (str_ieq(str_head(str_skip(p->in, 1), 3), str_from(month_names[m], 3)))
			break;
	if (m == 12 || day < 1 || day > month_days((int)year, m + 1))
		return parse_fail(p, "Invalid date");
	*ret_days = days_from_civil((int)year, m + 1, (int)day);
	p->in = str_skip(p->in, 9);
	return true;
}

bool
parse_date(struct parse *p, int64_t *ret_days)
{
	bool q = parse_is(p, '"');
	size_t n = 0;
	uint32_t day;

	if (q)
		p->in = str_skip(p->in, 1);
	while (n < p->in.n && n < 3 && ascii_isdigit(p->in.p[n]))
		n++;
	if (n < 1 || n > 2 || !str_u32(str_head(p->in, n), 31, &day))
		return parse_fail(p, "Invalid date");
	p->in = str_skip(p->in, n);
	return month_year(p, day, ret_days) && (!q || parse_char(p, '"'));
}

static bool
two_digits(struct str s, size_t at, unsigned max, unsigned *ret)
{
	uint32_t v;

	if (!str_u32(str_head(str_skip(s, at), 2), max, &v) || at + 2 > s.n)
		return false;
	*ret = v;
	return true;
}

bool
parse_date_time(struct parse *p, int64_t *ret_time, int32_t *ret_zone_minutes)
{
	unsigned day, h, m, s, zh, zm;
	int64_t days;
	struct str t;

	if (!parse_char(p, '"'))
		return false;
	if (p->in.n < 2 || !(p->in.p[0] == ' ' ? str_u32(str_head(str_skip(p->in, 1), 1), 9, &day)
					       : two_digits(p->in, 0, 31, &day)))
		return parse_fail(p, "Invalid date-time");
	p->in = str_skip(p->in, 2);
	if (!month_year(p, day, &days))
		return false;
	t = str_head(p->in, 16); /* " hh:mm:ss +zzzz\"" */
	if (t.n != 16 || t.p[0] != ' ' || t.p[3] != ':' || t.p[6] != ':' || t.p[9] != ' ' ||
	    (t.p[10] != '+' && t.p[10] != '-') || t.p[15] != '"' || !two_digits(t, 1, 23, &h) ||
	    !two_digits(t, 4, 59, &m) || !two_digits(t, 7, 60, &s) || !two_digits(t, 11, 23, &zh) ||
	    !two_digits(t, 13, 59, &zm))
		return parse_fail(p, "Invalid date-time");
	p->in = str_skip(p->in, 16);
	*ret_zone_minutes = (int32_t)(zh * 60 + zm) * (t.p[10] == '-' ? -1 : 1);
	*ret_time = days * 86400 + h * 3600 + m * 60 + s - (int64_t)*ret_zone_minutes * 60;
	return true;
}
