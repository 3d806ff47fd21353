/* The domains of a From field; see author.h. */
#include "plugins/dkim/author.h"

/* Behind a quoted string that begins at i. */
static size_t
quoted(struct ph_str s, size_t i)
{
	for (i++; i < s.n && s.p[i] != '"'; i++)
		if (s.p[i] == '\\')
			i++;
	return i < s.n ? i + 1 : s.n;
}

/* Behind a comment that begins at i. */
static size_t
comment(struct ph_str s, size_t i)
{
	unsigned depth = 0;

	for (; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && !--depth)
			return i + 1;
	}
	return s.n;
}

static int
is_domain_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
	    c == '-' || c == '_' || c >= 0x80;
}

static int
has(const struct author *a, const char *domain)
{
	for (unsigned i = 0; i < a->n; i++)
		if (!strcmp(a->domain[i], domain))
			return 1;
	return 0;
}

/* The domain that begins at i, behind blanks; returns where it ends. */
static size_t
take(struct ph_str s, size_t i, struct author *a)
{
	char d[254];
	size_t n = 0;

	while (i < s.n && strchr(" \t\r\n", s.p[i]))
		i++;
	for (; i < s.n && is_domain_char((unsigned char)s.p[i]); i++) {
		char c = s.p[i];

		if (n < sizeof d)
			d[n] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
		n++;
	}
	while (n && n < sizeof d && d[n - 1] == '.')
		n--;
	if (!n || n >= sizeof d) {
		a->more = 1;
		return i;
	}
	d[n] = '\0';
	if (has(a, d))
		return i;
	if (a->n == AUTHOR_MAX)
		a->more = 1;
	else
		memcpy(a->domain[a->n++], d, n + 1);
	return i;
}

void
author_parse(struct ph_str s, struct author *ret)
{
	size_t i = 0;

	ret->n = 0;
	ret->more = 0;
	while (i < s.n) {
		if (s.p[i] == '"')
			i = quoted(s, i);
		else if (s.p[i] == '(')
			i = comment(s, i);
		else if (s.p[i] == '@')
			i = take(s, i + 1, ret);
		else
			i++;
	}
}

int
author_below(const char *name, const char *domain)
{
	size_t n = strlen(name), d = strlen(domain);

	if (!d || n < d || !ph_ieq(ph_bytes(name + n - d, d), ph_c(domain)))
		return 0;
	return n == d || name[n - d - 1] == '.';
}
