/*
 * Dates. The message form is read token by token (digits, letters, one sign or
 * colon), blanks and comments between them, so that every obsolete spelling
 * and the usual broken ones fall out of one loop.
 */
#include "lib/mail/date.h"

#include <errno.h>

static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";
static const char *const weekdays[] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };

static const struct {
	const char *name;
	int zone;
} zones[] = {
	{ "ut", 0 }, { "gmt", 0 }, { "utc", 0 }, { "est", -300 }, { "edt", -240 }, { "cst", -360 },
	{ "cdt", -300 }, { "mst", -420 }, { "mdt", -360 }, { "pst", -480 }, { "pdt", -420 },
	{ "cet", 60 }, { "cest", 120 }, { "met", 60 }, { "mest", 120 }, { "eet", 120 },
	{ "eest", 180 }, { "bst", 60 }, { "jst", 540 },
};

int64_t
date_days(int year, int month, int day)
{
	int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400, doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void
date_civil(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*ret_day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*ret_month = (int)(mp < 10 ? mp + 3 : mp - 9);
	*ret_year = (int)(yoe + era * 400 + (*ret_month <= 2));
}

static int
month_number(struct str s)
{
	if (s.n < 3)
		return 0;
	for (int i = 0; i < 12; i++)
		if (str_ieq(str_head(s, 3), str_from(months + 3 * i, 3)))
			return i + 1;
	return 0;
}

static bool
is_leap(int y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int
month_length(int y, int m)
{
	static const char n[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return m == 2 && is_leap(y) ? 29 : n[m - 1];
}

/* Checks the parts and puts them together. */
static int
make(int year, int month, int day, int hour, int min, int sec, int zone, struct date *ret)
{
	if (year < 1900 || year > 9999 || month < 1 || month > 12 || day < 1 ||
	    day > month_length(year, month) || hour > 23 || min > 59 || sec > 60)
		return -EINVAL;
	*ret = (struct date){ .zone = zone, .year = year, .month = month, .day = day };
	ret->time = date_days(year, month, day) * 86400 + hour * 3600 + min * 60 + sec -
	    (int64_t)zone * 60;
	return 0;
}

/* Skips blanks, comments and commas. */
static void
skip(struct str *s)
{
	int depth = 0;

	while (s->n) {
		char c = s->p[0];

		if (c == '(')
			depth++;
		else if (c == ')' && depth)
			depth--;
		else if (!depth && !ascii_isspace(c) && c != ',')
			return;
		*s = str_skip(*s, 1);
	}
}

static struct str
letters(struct str *s)
{
	size_t n = 0;
	struct str r;

	while (n < s->n && ascii_isalpha(s->p[n]))
		n++;
	r = str_head(*s, n);
	*s = str_skip(*s, n);
	return r;
}

/* A number of 1 to max digits: its length, 0 when there is none. */
static size_t
number(struct str *s, size_t max, int *ret)
{
	size_t n = 0;
	int v = 0;

	while (n < s->n && n < max && ascii_isdigit(s->p[n]))
		v = v * 10 + (s->p[n++] - '0');
	if (n && n < s->n && ascii_isdigit(s->p[n]))
		return 0;
	*s = str_skip(*s, n);
	*ret = v;
	return n;
}

static bool
take(struct str *s, char c)
{
	if (!s->n || s->p[0] != c)
		return false;
	*s = str_skip(*s, 1);
	return true;
}

static int
full_year(int y, size_t digits)
{
	if (digits == 2)
		return y < 50 ? y + 2000 : y + 1900;
	return digits == 3 ? y + 1900 : y;
}

/* "12:34:56", "12:34", "12.34.56"; -EINVAL when it is no time. */
static int
time_of_day(struct str *s, int *hour, int *min, int *sec)
{
	char sep;

	*sec = 0;
	if (!number(s, 2, hour))
		return -EINVAL;
	skip(s);
	if (!s->n || (s->p[0] != ':' && s->p[0] != '.'))
		return -EINVAL;
	sep = s->p[0];
	*s = str_skip(*s, 1);
	skip(s);
	if (!number(s, 2, min))
		return -EINVAL;
	skip(s);
	if (!take(s, sep))
		return 0;
	skip(s);
	if (!number(s, 2, sec))
		return -EINVAL;
	if (take(s, '.')) { /* fractions, which no RFC has */
		int fraction;

		number(s, 9, &fraction);
	}
	return 0;
}

static int
zone_digits(struct str *s, int sign, int *ret)
{
	int v;
	size_t n = number(s, 4, &v);

	if (n == 2)
		v *= 100;
	else if (n != 4)
		return -EINVAL;
	if (v % 100 > 59 || v > 2359)
		return -EINVAL;
	*ret = sign * (v / 100 * 60 + v % 100);
	return 0;
}

/* A zone, or none: what cannot be read counts as +0000 (RFC 5322 section 4.3). */
static int
zone(struct str *s)
{
	struct str name;
	int v = 0;

	skip(s);
	if (take(s, '+'))
		return zone_digits(s, 1, &v) < 0 ? 0 : v;
	if (take(s, '-'))
		return zone_digits(s, -1, &v) < 0 ? 0 : v;
	name = letters(s);
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
		if (str_ieq(name, str_c(zones[i].name))) {
			/* "GMT+0100" */
			if (zones[i].zone == 0 && s->n && (s->p[0] == '+' || s->p[0] == '-'))
				return zone(s);
			return zones[i].zone;
		}
	return 0;
}

/* "24 Nov 2026", "24-Nov-26", "Nov 24" (asctime, its year comes behind the time). */
static int
day_and_month(struct str *s, int *day, int *month)
{
	if (number(s, 2, day)) {
		skip(s);
		take(s, '-');
		skip(s);
		*month = month_number(letters(s));
	} else {
		*month = month_number(letters(s));
		skip(s);
		if (!number(s, 2, day))
			return -EINVAL;
	}
	skip(s);
	take(s, '-');
	skip(s);
	return *month ? 0 : -EINVAL;
}

/* A weekday at the begin, if one is there. */
static void
weekday(struct str *s)
{
	struct str save = *s, w = letters(s);

	take(s, '.');
	if (month_number(w) || w.n == 0)
		*s = save;
	skip(s);
}

int
date_parse(struct str raw, struct date *ret)
{
	struct str s = str_head(raw, 512), save;
	int day, month, year = 0, hour, min, sec, z;
	size_t digits;

	skip(&s);
	weekday(&s);
	if (day_and_month(&s, &day, &month) < 0)
		return -EINVAL;
	save = s;
	digits = number(&s, 4, &year);
	if (!digits)
		return -EINVAL;
	skip(&s);
	if (s.n && (s.p[0] == ':' || s.p[0] == '.')) { /* asctime: "Nov 24 08:49:51 2026" */
		s = save;
		if (time_of_day(&s, &hour, &min, &sec) < 0)
			return -EINVAL;
		skip(&s);
		save = s;
		if (!(digits = number(&s, 4, &year))) { /* ... CET 2026 */
			s = save;
			z = zone(&s);
			skip(&s);
			if (!(digits = number(&s, 4, &year)))
				return -EINVAL;
			return make(full_year(year, digits), month, day, hour, min, sec, z, ret);
		}
	} else if (time_of_day(&s, &hour, &min, &sec) < 0)
		return -EINVAL;
	return make(full_year(year, digits), month, day, hour, min, sec, zone(&s), ret);
}

int
date_parse_imap_day(struct str s, struct date *ret)
{
	int day, month, year;

	if (!number(&s, 2, &day) || !take(&s, '-') || !(month = month_number(str_head(s, 3))))
		return -EINVAL;
	s = str_skip(s, 3);
	if (!take(&s, '-') || number(&s, 4, &year) != 4 || s.n)
		return -EINVAL;
	return make(year, month, day, 0, 0, 0, 0, ret);
}

int
date_parse_imap(struct str s, struct date *ret)
{
	struct str d = str_head(s, 11), t = str_skip(s, 11);
	int hour, min, sec, z, sign;
	struct date day;

	if (s.n != 26)
		return -EINVAL;
	if (d.p[0] == ' ')
		d = str_skip(d, 1);
	if (date_parse_imap_day(d, &day) < 0)
		return -EINVAL;
	if (!take(&t, ' ') || number(&t, 2, &hour) != 2 || !take(&t, ':') ||
	    number(&t, 2, &min) != 2 || !take(&t, ':') || number(&t, 2, &sec) != 2 ||
	    !take(&t, ' '))
		return -EINVAL;
	sign = take(&t, '+') ? 1 : take(&t, '-') ? -1 : 0;
	if (!sign || t.n != 4 || zone_digits(&t, sign, &z) < 0)
		return -EINVAL;
	return make(day.year, day.month, day.day, hour, min, sec, z, ret);
}

/* "Z", "+01:00": minutes east of UTC. */
static int
zone_rfc3339(struct str s, int *ret)
{
	int sign, hour, min;

	if (take(&s, 'Z') || take(&s, 'z')) {
		*ret = 0;
		return s.n ? -EINVAL : 0;
	}
	sign = take(&s, '+') ? 1 : take(&s, '-') ? -1 : 0;
	if (!sign || number(&s, 2, &hour) != 2 || !take(&s, ':') || number(&s, 2, &min) != 2 || s.n ||
	    hour > 23 || min > 59)
		return -EINVAL;
	*ret = sign * (hour * 60 + min);
	return 0;
}

int
date_parse_rfc3339(struct str s, struct date *ret)
{
	int year, month, day, hour, min, sec, z;

	if (number(&s, 4, &year) != 4 || !take(&s, '-') || number(&s, 2, &month) != 2 ||
	    !take(&s, '-') || number(&s, 2, &day) != 2 || !(take(&s, 'T') || take(&s, 't')))
		return -EINVAL;
	if (number(&s, 2, &hour) != 2 || !take(&s, ':') || number(&s, 2, &min) != 2 || !take(&s, ':') ||
	    number(&s, 2, &sec) != 2)
		return -EINVAL;
	if (take(&s, '.')) {
		if (!s.n || !ascii_isdigit(s.p[0]))
			return -EINVAL;
		while (s.n && ascii_isdigit(s.p[0]))
			s = str_skip(s, 1);
	}
	if (zone_rfc3339(s, &z) < 0)
		return -EINVAL;
	return make(year, month, day, hour, min, sec, z, ret);
}

struct parts {
	int year, month, day, hour, min, sec, zone_hhmm, weekday;
	char sign;
};

static void
split(int64_t time, int z, struct parts *p)
{
	int64_t local = time + (int64_t)z * 60, days = local / 86400, rest = local % 86400;
	int abs_zone = z < 0 ? -z : z;

	if (rest < 0)
		rest += 86400, days--;
	date_civil(days, &p->year, &p->month, &p->day);
	p->hour = (int)(rest / 3600), p->min = (int)(rest / 60 % 60), p->sec = (int)(rest % 60);
	p->sign = z < 0 ? '-' : '+';
	p->zone_hhmm = abs_zone / 60 * 100 + abs_zone % 60;
	p->weekday = (int)((days % 7 + 7) % 7);
}

static void
put_month(struct buf *b, int month)
{
	const char *m = months + 3 * (month - 1);

	buf_putc(b, ascii_upper(m[0]));
	buf_put(b, m + 1, 2);
}

/* Times that four digits of year cannot show are clipped. */
static int64_t
clip(int64_t t)
{
	const int64_t lo = -62135596800 + 86400, hi = 253402300799 - 86400;

	return t < lo ? lo : t > hi ? hi : t;
}

static int
clip_zone(int z)
{
	return z < -1439 || z > 1439 ? 0 : z;
}

static void
put_digits(char *q, int n, int v)
{
	while (n--) {
		q[n] = (char)('0' + v % 10);
		v /= 10;
	}
}

void
date_put_imap(struct buf *b, int64_t time, int z)
{
	struct parts p;
	char t[26];
	const char *m;

	split(clip(time), clip_zone(z), &p);
	m = months + 3 * (p.month - 1);
	memcpy(t, "  -Mon-     :  :   +    ", 24);
	put_digits(t, 2, p.day);
	if (t[0] == '0')
		t[0] = ' ';
	t[3] = ascii_upper(m[0]), t[4] = m[1], t[5] = m[2];
	put_digits(t + 7, 4, p.year);
	put_digits(t + 12, 2, p.hour);
	put_digits(t + 15, 2, p.min);
	put_digits(t + 18, 2, p.sec);
	t[11] = ' ', t[14] = t[17] = ':', t[20] = ' ', t[21] = p.sign;
	put_digits(t + 22, 4, p.zone_hhmm);
	buf_put(b, t, sizeof t);
}

void
date_put_rfc5322(struct buf *b, int64_t time, int z)
{
	struct parts p;

	split(clip(time), clip_zone(z), &p);
	buf_printf(b, "%s, %d ", weekdays[p.weekday], p.day);
	put_month(b, p.month);
	buf_printf(b, " %04d %02d:%02d:%02d %c%04d", p.year, p.hour, p.min, p.sec, p.sign,
	    p.zone_hhmm);
}

void
date_put_rfc3339(struct buf *b, int64_t time)
{
	struct parts p;

	split(clip(time), 0, &p);
	buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02dZ", p.year, p.month, p.day, p.hour, p.min, p.sec);
}
