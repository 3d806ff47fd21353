/* Tag lists; see tags.h. */
#include "plugins/dkim/tags.h"

static int
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

struct ph_str
tags_trim(struct ph_str s)
{
	while (s.n && is_blank(s.p[0]))
		s.p++, s.n--;
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

static int
is_name(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_name_char(s.p[i]))
			return 0;
	return s.n && !(s.p[0] >= '0' && s.p[0] <= '9');
}

static int
has_control(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (((unsigned char)s.p[i] < ' ' && !is_blank(s.p[i])) || s.p[i] == 0x7f)
			return 1;
	return 0;
}

static struct ph_str
find(const struct tags *t, struct ph_str name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (ph_eq(t->v[i].name, name))
			return t->v[i].value;
	return (struct ph_str){ NULL, 0 };
}

/* One of them, between two semicolons. */
static int
add(struct tags *t, struct ph_str spec)
{
	const char *eq = spec.n ? memchr(spec.p, '=', spec.n) : NULL;
	struct ph_str name, value;

	if (!eq)
		return -1;
	name = tags_trim(ph_bytes(spec.p, (size_t)(eq - spec.p)));
	value = tags_trim(ph_bytes(eq + 1, spec.n - (size_t)(eq - spec.p) - 1));
	if (!is_name(name) || has_control(value) || t->n == TAGS_MAX || find(t, name).p)
		return -1;
	t->v[t->n].name = name;
	t->v[t->n++].value = value;
	return 0;
}

int
tags_parse(struct ph_str text, struct tags *ret)
{
	ret->n = 0;
	while (text.n) {
		const char *end = memchr(text.p, ';', text.n);
		size_t n = end ? (size_t)(end - text.p) : text.n;
		struct ph_str spec = tags_trim(ph_bytes(text.p, n));

		if (!spec.n && end)
			return -1;
		if (spec.n && add(ret, spec))
			return -1;
		n += end != NULL;
		text.p += n;
		text.n -= n;
	}
	return ret->n ? 0 : -1;
}

struct ph_str
tags_get(const struct tags *t, const char *name)
{
	return find(t, ph_c(name));
}

long
tags_squeeze(struct ph_str s, char *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (is_blank(s.p[i]))
			continue;
		if (n + 1 >= room)
			return -1;
		out[n++] = s.p[i];
	}
	if (!room)
		return -1;
	out[n] = '\0';
	return (long)n;
}

int
tags_number(struct ph_str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s.n || s.n > 18)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*ret = v;
	return 0;
}
