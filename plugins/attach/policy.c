/*
 * Names, types and contents that are not wanted; see policy.h.
 *
 * Names are compared as the recipient's system would read them: the last part of a path, without the
 * blanks and dots behind it that Windows drops, and whatever the case.
 */
#include "plugins/attach/policy.h"

#include "plugins/attach/zip.h"

int
policy_matches(struct ph_str pattern, struct ph_str text)
{
	size_t p = 0, t = 0, star = pattern.n, from = 0;

	while (t < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			from = t;
		} else if (p < pattern.n &&
		    (pattern.p[p] == '?' || text_lower(pattern.p[p]) == text_lower(text.p[t]))) {
			p++;
			t++;
		} else if (star < pattern.n) {
			p = star + 1;
			t = ++from;
		} else {
			return 0;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

static int
any_matches(const struct texts *patterns, struct ph_str text)
{
	for (unsigned i = 0; i < patterns->n; i++)
		if (policy_matches(patterns->v[i], text))
			return 1;
	return 0;
}

struct ph_str
policy_base_name(struct ph_str name)
{
	size_t from = name.n;

	while (from && name.p[from - 1] != '/' && name.p[from - 1] != '\\')
		from--;
	name = ph_bytes(name.p + from, name.n - from);
	while (name.n && (name.p[name.n - 1] == '.' || (unsigned char)name.p[name.n - 1] <= ' '))
		name.n--;
	return name;
}

static int
is_blocked(const struct policy *p, struct ph_str extension)
{
	for (unsigned i = 0; i < p->extensions.n; i++)
		if (ph_ieq(p->extensions.v[i], extension))
			return 1;
	return 0;
}

static struct ph_str
trimmed(struct ph_str s)
{
	while (s.n && (unsigned char)*s.p <= ' ')
		s = ph_bytes(s.p + 1, s.n - 1);
	while (s.n && (unsigned char)s.p[s.n - 1] <= ' ')
		s.n--;
	return s;
}

/* The marks U+202A to U+202E and U+2066 to U+2069, in UTF-8: they show "exe.fdp" as "pdf.exe". */
static int
has_direction_marks(struct ph_str s)
{
	for (size_t i = 0; i + 3 <= s.n; i++) {
		const unsigned char *u = (const unsigned char *)s.p + i;

		if (u[0] == 0xe2 && ((u[1] == 0x80 && u[2] >= 0xaa && u[2] <= 0xae) ||
		    (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9)))
			return 1;
	}
	return 0;
}

/* The extensions of a name from behind: the last is judged always, those before it if hidden ones are. */
static const char *
judge_extensions(const struct policy *p, struct ph_str name)
{
	size_t end = name.n;
	int last = 1;

	for (size_t i = name.n; i-- > 0;) {
		if (name.p[i] != '.')
			continue;
		if (is_blocked(p, trimmed(ph_bytes(name.p + i + 1, end - i - 1))))
			return last ? "an extension that is not wanted" : "an extension that hides before another one";
		if (!p->hidden)
			return NULL;
		last = 0;
		end = i;
	}
	return NULL;
}

const char *
policy_name(const struct policy *p, struct ph_str name)
{
	struct ph_str base = policy_base_name(name);

	if (base.n > POLICY_NAME_MAX) /* its end is what counts */
		base = ph_bytes(base.p + (base.n - POLICY_NAME_MAX), POLICY_NAME_MAX);
	if (!base.n)
		return NULL;
	if (any_matches(&p->names, base))
		return "a name that is not wanted";
	if (p->hidden && has_direction_marks(base))
		return "a name that hides its extension";
	return judge_extensions(p, base);
}

const char *
policy_type(const struct policy *p, struct ph_str type)
{
	return any_matches(&p->types, type) ? "a type that is not wanted" : NULL;
}

static const char *
judge_archive(const struct policy *p, struct ph_str data, struct ph_str *ret_inside)
{
	struct zip_entry e = { { NULL, 0 }, 0 };
	struct zip z = { { NULL, 0 } };
	const char *what = NULL;
	uint64_t seen = 0;
	int r = zip_open(data, &z);

	while (!r && !what && (r = zip_next(&z, &e)) > 0) {
		r = 0;
		if (p->encrypted && e.encrypted)
			what = "an archive with a password";
		else if (p->archives)
			what = policy_name(p, e.name);
		if (!what && ++seen >= p->entries_max && z.rest.n)
			break; /* as broken */
	}
	if (what) {
		*ret_inside = e.name;
		return what;
	}
	return p->broken && (r < 0 || z.rest.n) ? "an archive that cannot be read" : NULL;
}

const char *
policy_content(const struct policy *p, struct ph_str content, struct ph_str *ret_inside)
{
	*ret_inside = ph_bytes(NULL, 0);
	if (p->sniff && content.n >= 64 && content.p[0] == 'M' && content.p[1] == 'Z' &&
	    is_blocked(p, ph_c("exe")))
		return "a program";
	if (!zip_begins(content))
		return NULL;
	return judge_archive(p, content, ret_inside);
}
