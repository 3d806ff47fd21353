/* MTA-STS records and policies (RFC 8461); see sts.h. */
#include "lib/mail/sts.h"

#include <errno.h>

#include "lib/base/text.h"

#define FIELD_NAME_MAX 32
#define DOMAIN_MAX 253
#define LABEL_MAX 63

static const char *const mode_names[] = {
	[STS_MODE_NONE] = "none", [STS_MODE_TESTING] = "testing", [STS_MODE_ENFORCE] = "enforce",
};

const char *
sts_mode_name(enum sts_mode m)
{
	return m <= STS_MODE_ENFORCE ? mode_names[m] : "unknown";
}

/* ---- the record ---- */

bool
sts_record_is(struct str txt)
{
	struct str version = str_cut(&txt, ';');

	return txt.p && str_eq(str_trim(version), STR("v=STSv1"));
}

static bool
is_id(struct str s)
{
	bool good = s.n && s.n <= STS_ID_MAX;

	for (size_t i = 0; good && i < s.n; i++)
		good = ascii_isalnum(s.p[i]);
	return good;
}

int
sts_record_get(struct str txt, struct str *ret_id)
{
	struct str id = STR_NULL;

	if (!sts_record_is(txt))
		return -EINVAL;
	str_cut(&txt, ';');
	while (txt.p) {
		struct str value = str_trim(str_cut(&txt, ';')), name = str_cut(&value, '=');

		if (!name.n && !txt.p) /* behind the last semicolon */
			break;
		if (!name.n || !value.p)
			return -EINVAL;
		if (str_eq(name, STR("id")) && !id.p)
			id = value;
	}
	if (!is_id(id))
		return -EINVAL;
	*ret_id = id;
	return 0;
}

/* ---- the policy ---- */

/* Letters, digits and hyphens, in labels; at least two of them. */
static bool
is_domain(struct str s)
{
	bool dotted = false;

	if (!s.n || s.n > DOMAIN_MAX)
		return false;
	while (s.p) {
		struct str label = str_cut(&s, '.');

		if (!label.n || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
			return false;
		for (size_t i = 0; i < label.n; i++)
			if (!ascii_isalnum(label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
				return false;
		dotted |= s.p != NULL;
	}
	return dotted;
}

struct reader {
	struct sts_policy p;
	struct arena *a;
	struct err *e;
	unsigned seen; /* of fields, a bit each */
};

static int
take_version(struct reader *r, struct str v)
{
	return str_eq(v, STR("STSv1")) ? 0 :
	    err_set(r->e, -EINVAL, "version '%.*s' is not STSv1", STR_ARG(str_head(v, 32)));
}

static int
take_mode(struct reader *r, struct str v)
{
	for (enum sts_mode m = STS_MODE_NONE; m <= STS_MODE_ENFORCE; m++)
		if (str_eq(v, str_c(mode_names[m]))) {
			r->p.mode = m;
			return 0;
		}
	return err_set(r->e, -EINVAL, "there is no mode '%.*s'", STR_ARG(str_head(v, 32)));
}

static int
take_max_age(struct reader *r, struct str v)
{
	uint64_t n;

	if (v.n > 10 || !str_u64(v, UINT64_MAX, &n))
		return err_set(r->e, -EINVAL, "max_age '%.*s' is no number of seconds",
		    STR_ARG(str_head(v, 32)));
	r->p.max_age = n < STS_MAX_AGE ? (uint32_t)n : STS_MAX_AGE;
	return 0;
}

static int
take_mx(struct reader *r, struct str v)
{
	if (r->p.n_mx == STS_MX_MAX)
		return err_set(r->e, -EINVAL, "more than %d mx", STS_MX_MAX);
	if (!is_domain(str_starts(v, STR("*.")) ? str_skip(v, 2) : v))
		return err_set(r->e, -EINVAL, "mx '%.*s' is no host", STR_ARG(str_head(v, 80)));
	r->p.mx[r->p.n_mx] = arena_lower(r->a, v);
	return r->p.mx[r->p.n_mx++].p ? 0 : err_set(r->e, -ENOMEM, "out of memory");
}

enum { F_VERSION, F_MODE, F_MAX_AGE, F_MX, F_N };
static const struct {
	const char *name;
	int (*take)(struct reader *r, struct str v);
} fields[F_N] = {
	[F_VERSION] = { "version", take_version }, [F_MODE] = { "mode", take_mode },
	[F_MAX_AGE] = { "max_age", take_max_age }, [F_MX] = { "mx", take_mx },
};

static bool
is_field_name(struct str s)
{
	bool good = s.n && s.n <= FIELD_NAME_MAX && ascii_isalnum(s.p[0]);

	for (size_t i = 1; good && i < s.n; i++)
		good = ascii_isalnum(s.p[i]) || s.p[i] == '_' || s.p[i] == '-' || s.p[i] == '.';
	return good;
}

/* Of a field that comes again the first counts, but for mx. Unknown ones are skipped. */
static int
take_line(struct reader *r, struct str line)
{
	struct str value = line, name = str_cut(&value, ':');

	if (!value.p || !is_field_name(name))
		return err_set(r->e, -EINVAL, "'%.*s' is no field", STR_ARG(str_head(line, 40)));
	value = str_trim(value);
	for (unsigned i = 0; i < F_N; i++) {
		if (!str_eq(name, str_c(fields[i].name)))
			continue;
		if (r->seen & 1u << i && i != F_MX)
			return 0;
		r->seen |= 1u << i;
		return fields[i].take(r, value);
	}
	return 0;
}

static int
complete(const struct reader *r)
{
	for (unsigned i = 0; i < F_MX; i++)
		if (!(r->seen & 1u << i))
			return err_set(r->e, -EINVAL, "there is no %s", fields[i].name);
	if (r->p.mode != STS_MODE_NONE && !r->p.n_mx)
		return err_set(r->e, -EINVAL, "there is no mx");
	return 0;
}

int
sts_policy_get(struct str text, struct arena *a, struct sts_policy *ret, struct err *e)
{
	struct reader r = { .a = a, .e = e };
	int rc = 0;

	if (text.n > STS_POLICY_MAX)
		return err_set(e, -EINVAL, "longer than %d bytes", STS_POLICY_MAX);
	if (text.n && memchr(text.p, 0, text.n))
		return err_set(e, -EINVAL, "a NUL in it");
	r.p.mx = ARENA_ARRAY(a, struct str, STS_MX_MAX);
	if (!r.p.mx)
		return err_set(e, -ENOMEM, "out of memory");
	while (text.p && !rc) {
		struct str line = str_cut(&text, '\n');

		line = str_trim(line);
		if (line.n)
			rc = take_line(&r, line);
	}
	if (!rc)
		rc = complete(&r);
	if (!rc)
		*ret = r.p;
	return rc;
}

void
sts_policy_put(struct buf *b, const struct sts_policy *p, const char *eol)
{
	buf_printf(b, "version: STSv1%smode: %s%s", eol, sts_mode_name(p->mode), eol);
	for (size_t i = 0; i < p->n_mx; i++)
		buf_printf(b, "mx: %.*s%s", STR_ARG(p->mx[i]), eol);
	buf_printf(b, "max_age: %u%s", p->max_age, eol);
}

/* "*" stands for one label, the first. */
static bool
pattern_matches(struct str pattern, struct str host)
{
	if (!str_starts(pattern, STR("*.")))
		return str_ieq(pattern, host);
	str_cut(&host, '.');
	return host.p && str_ieq(str_skip(pattern, 2), host);
}

bool
sts_policy_has(const struct sts_policy *p, struct str host)
{
	if (host.n && host.p[host.n - 1] == '.')
		host.n--;
	for (size_t i = 0; i < p->n_mx; i++)
		if (pattern_matches(p->mx[i], host))
			return true;
	return false;
}
