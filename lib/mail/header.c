/* Header fields, walked in place; see header.h. */
#include "lib/mail/header.h"

/* Characters of a field name: printable ASCII without the colon. */
static bool
is_ftext(char c)
{
	return c > 32 && c < 127 && c != ':';
}

/* The line that s begins with, its LF included. */
static size_t
line_length(struct str s)
{
	ptrdiff_t i = str_chr(s, '\n');

	return i < 0 ? s.n : (size_t)i + 1;
}

size_t
header_blank(struct str s)
{
	if (s.n >= 1 && s.p[0] == '\n')
		return 1;
	return s.n >= 2 && s.p[0] == '\r' && s.p[1] == '\n' ? 2 : 0;
}

/* The name at the begin of a line (RFC 5322 section 4.5.3: blanks may stand before
 * the colon); n is set to the offset behind the colon. */
static struct str
field_name(struct str line, size_t *ret_value)
{
	size_t i = 0, n;

	while (i < line.n && is_ftext(line.p[i]))
		i++;
	n = i;
	while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
		i++;
	if (n == 0 || i >= line.n || line.p[i] != ':')
		return STR_NULL;
	*ret_value = i + 1;
	return str_head(line, n);
}

bool
header_next(struct str *rest, struct header_field *ret)
{
	size_t n, end, value = 0;

	if (rest->n == 0 || header_blank(*rest))
		return false;
	n = line_length(*rest);
	ret->name = field_name(str_head(*rest, n), &value);
	while (n < rest->n && (rest->p[n] == ' ' || rest->p[n] == '\t'))
		n += line_length(str_skip(*rest, n));
	ret->whole = str_head(*rest, n);
	end = n;
	if (end > value && rest->p[end - 1] == '\n')
		end--;
	if (end > value && rest->p[end - 1] == '\r')
		end--;
	ret->raw = str_from(rest->p + value, end - value);
	*rest = str_skip(*rest, n);
	return true;
}

bool
header_find(struct str header, struct str name, struct str *ret_raw)
{
	struct header_field f;

	while (header_next(&header, &f))
		if (f.name.n && str_ieq(f.name, name)) {
			*ret_raw = f.raw;
			return true;
		}
	return false;
}

struct str
header_unfold(struct str raw, struct arena *a)
{
	struct str s = str_trim(raw);
	size_t i = 0, n;
	char *p;

	while (i < s.n && s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != '\0')
		i++;
	if (i == s.n)
		return s;
	if (!(p = arena_alloc(a, s.n)))
		return STR_NULL;
	memcpy(p, s.p, i);
	for (n = i; i < s.n; i++)
		if (s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != '\0')
			p[n++] = s.p[i];
	return str_trim(str_from(p, n));
}
