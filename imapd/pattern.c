/*
 * Matching of mailbox names; see pattern.h.
 *
 * For each character of the pattern a row says how much of the name the pattern so
 * far can have matched: row[i] is set when name[0..i) is. So a match costs name
 * times pattern, whatever wildcards there are.
 */
#include "imapd/pattern.h"

static bool
is_wild(char c)
{
	return c == '*' || c == '%';
}

/* A run of wildcards is one: a star if one is among them. */
static size_t
squeeze(char *s, size_t n)
{
	size_t i, k = 0;

	for (i = 0; i < n; i++) {
		if (k && is_wild(s[i]) && is_wild(s[k - 1])) {
			if (s[i] == '*')
				s[k - 1] = '*';
			continue;
		}
		s[k++] = s[i];
	}
	return k;
}

bool
pattern_make(struct pattern *p, struct str reference, struct str text, struct arena *ar)
{
	struct str all = arena_printf(ar, "%.*s%.*s", STR_ARG(reference), STR_ARG(text));

	if (!all.p)
		return false;
	/* the arena's copy is ours to change */
	all.n = squeeze((char *)all.p, all.n);
	*p = (struct pattern){ .text = all, .percent = str_chr(all, '%') >= 0 };
	return true;
}

/* How many characters of the name match in any case. */
static size_t
folded(struct str name)
{
	if (str_eq(name, STR("INBOX")) || str_starts(name, STR("INBOX/")))
		return 5;
	return 0;
}

static bool
same(char a, char b, bool fold)
{
	return a == b || (fold && ascii_lower(a) == ascii_lower(b));
}

/* One more character of the pattern. False when nothing is left that matches. */
static bool
step(char c, struct str name, size_t fold, unsigned char *row)
{
	bool any = false, before = false, now;
	size_t i;

	for (i = 0; i <= name.n; i++) {
		now = row[i];
		if (c == '*')
			row[i] = now || (i && row[i - 1]);
		else if (c == '%')
			row[i] = now || (i && row[i - 1] && name.p[i - 1] != '/');
		else
			row[i] = before && same(c, name.p[i - 1], i <= fold);
		before = now;
		any |= row[i];
	}
	return any;
}

bool
pattern_match(const struct pattern *p, struct str name)
{
	unsigned char row[PATTERN_NAME_MAX + 1] = { 1 };
	size_t i, fold = folded(name);

	if (name.n > PATTERN_NAME_MAX)
		return false;
	for (i = 0; i < p->text.n; i++)
		if (!step(p->text.p[i], name, fold, row))
			return false;
	return row[name.n];
}
