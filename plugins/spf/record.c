/*
 * The grammar of RFC 7208 section 12. Blanks alone divide terms; a term with `=` behind a name
 * is a modifier, any other a mechanism, whose argument has the shape that the table says.
 */
#include "plugins/spf/record.h"

#include <arpa/inet.h>
#include <errno.h>

#include "plugins/spf/macro.h"

#define SPF_VERSION "v=spf1"

const char *
spf_result_name(enum spf_result r)
{
	static const char *const names[SPF_RESULTS] = {
		[SPF_NONE] = "none", [SPF_NEUTRAL] = "neutral", [SPF_PASS] = "pass",
		[SPF_FAIL] = "fail", [SPF_SOFTFAIL] = "softfail", [SPF_TEMPERROR] = "temperror",
		[SPF_PERMERROR] = "permerror",
	};

	return names[r];
}

static int
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static struct ph_str
tail(struct ph_str s, size_t n)
{
	return ph_bytes(s.p + n, s.n - n);
}

static size_t
find(struct ph_str s, char c)
{
	const char *p = s.n ? memchr(s.p, c, s.n) : NULL;

	return p ? (size_t)(p - s.p) : s.n;
}

int
spf_record_is(struct ph_str txt, struct ph_str *ret)
{
	const size_t n = sizeof SPF_VERSION - 1;

	if (txt.n < n || !ph_ieq(ph_bytes(txt.p, n), ph_c(SPF_VERSION)) || (txt.n > n && txt.p[n] != ' '))
		return 0;
	*ret = tail(txt, n);
	return 1;
}

/* ---- arguments ---- */

/* toplabel of the grammar: not all digits, hyphens only within. */
static int
is_toplabel(struct ph_str s)
{
	size_t other = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (!is_digit(s.p[i]) && !is_alpha(s.p[i]) && s.p[i] != '-')
			return 0;
		other += !is_digit(s.p[i]);
	}
	return other && s.p[0] != '-' && s.p[s.n - 1] != '-';
}

/* domain-spec: a macro-string that ends in a macro or in a dot and a top label. */
static int
is_domain_spec(struct ph_str s)
{
	size_t dot, literal = 0;

	if (!s.n || spf_macro_check(s, 0, &literal))
		return 0;
	if (literal == s.n)
		return 1;
	if (s.p[s.n - 1] == '.')
		s.n--;
	for (dot = s.n; dot > literal && s.p[dot - 1] != '.'; dot--)
		;
	return dot > literal && is_toplabel(tail(s, dot));
}

/* Cuts "/bits" off the end of *s; slashes: how many stand before the number. 1, 0: there is none,
 * -EINVAL. */
static int
cut_bits(struct ph_str *s, size_t slashes, unsigned max, unsigned *ret)
{
	size_t i = s->n;
	unsigned v = 0;

	while (i && is_digit(s->p[i - 1]))
		i--;
	if (i == s->n || i < slashes || (slashes == 2 && s->p[i - 2] != '/') || s->p[i - 1] != '/')
		return 0;
	if (s->n - i > 3 || (s->p[i] == '0' && s->n - i > 1))
		return -EINVAL;
	for (size_t k = i; k < s->n; k++)
		v = v * 10 + (unsigned)(s->p[k] - '0');
	if (v > max)
		return -EINVAL;
	*ret = v;
	s->n = i - slashes;
	return 1;
}

/* dual-cidr-length */
static int
cut_dual_bits(struct ph_str *arg, struct spf_term *t)
{
	int r = cut_bits(arg, 2, 128, &t->bits6);

	return r < 0 ? r : cut_bits(arg, 1, 32, &t->bits4);
}

/* The argument without its colon: 0, or -EINVAL for one that is not there. */
static int
colon(struct ph_str *arg)
{
	if (arg->n < 2 || arg->p[0] != ':')
		return -EINVAL;
	*arg = tail(*arg, 1);
	return 0;
}

static int
no_argument(struct ph_str arg, struct spf_term *t)
{
	(void)t;
	return arg.n ? -EINVAL : 0;
}

static int
needed_domain(struct ph_str arg, struct spf_term *t)
{
	if (colon(&arg) || !is_domain_spec(arg))
		return -EINVAL;
	t->domain = arg;
	return 0;
}

static int
domain(struct ph_str arg, struct spf_term *t)
{
	return arg.n ? needed_domain(arg, t) : 0;
}

static int
domain_and_bits(struct ph_str arg, struct spf_term *t)
{
	return cut_dual_bits(&arg, t) < 0 ? -EINVAL : domain(arg, t);
}

static int
address(struct ph_str arg, int family, struct spf_term *t)
{
	char text[INET6_ADDRSTRLEN];

	if (colon(&arg) || arg.n >= sizeof text)
		return -EINVAL;
	memcpy(text, arg.p, arg.n);
	text[arg.n] = '\0';
	return strlen(text) == arg.n && inet_pton(family, text, t->ip) == 1 ? 0 : -EINVAL;
}

static int
network4(struct ph_str arg, struct spf_term *t)
{
	return cut_bits(&arg, 1, 32, &t->bits4) < 0 ? -EINVAL : address(arg, AF_INET, t);
}

static int
network6(struct ph_str arg, struct spf_term *t)
{
	return cut_bits(&arg, 1, 128, &t->bits6) < 0 ? -EINVAL : address(arg, AF_INET6, t);
}

/* ---- terms ---- */

static const struct mechanism {
	const char *name;
	enum spf_kind kind;
	int (*argument)(struct ph_str arg, struct spf_term *t);
} mechanisms[] = {
	{ "all", SPF_ALL, no_argument },
	{ "include", SPF_INCLUDE, needed_domain },
	{ "a", SPF_A, domain_and_bits },
	{ "mx", SPF_MX, domain_and_bits },
	{ "ptr", SPF_PTR, domain },
	{ "ip4", SPF_IP4, network4 },
	{ "ip6", SPF_IP6, network6 },
	{ "exists", SPF_EXISTS, needed_domain },
};

static int
read_mechanism(struct ph_str s, struct spf_term *t)
{
	static const char qualifiers[] = "+-~?";
	static const enum spf_result results[] = { SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_NEUTRAL };
	const char *q = s.n && s.p[0] ? strchr(qualifiers, s.p[0]) : NULL;
	size_t n = 0;

	t->result = q ? results[q - qualifiers] : SPF_PASS;
	if (q)
		s = tail(s, 1);
	while (n < s.n && (is_alpha(s.p[n]) || is_digit(s.p[n])))
		n++;
	for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++)
		if (ph_ieq(ph_bytes(s.p, n), ph_c(mechanisms[i].name))) {
			t->kind = mechanisms[i].kind;
			return mechanisms[i].argument(tail(s, n), t);
		}
	return -EINVAL;
}

/* How long the name of a modifier at the start of s is; 0: it is none. */
static size_t
modifier_name(struct ph_str s)
{
	size_t n = 0;

	if (!s.n || !is_alpha(s.p[0]))
		return 0;
	while (n < s.n && (is_alpha(s.p[n]) || is_digit(s.p[n]) || strchr("-_.", s.p[n])) && s.p[n])
		n++;
	return n < s.n && s.p[n] == '=' ? n : 0;
}

static int
read_modifier(struct ph_str s, size_t n, struct spf_term *t)
{
	struct ph_str name = ph_bytes(s.p, n), value = tail(s, n + 1);

	t->kind = ph_ieq(name, ph_c("redirect")) ? SPF_REDIRECT :
	    ph_ieq(name, ph_c("exp")) ? SPF_EXP : SPF_OTHER;
	t->domain = value;
	if (t->kind == SPF_OTHER)
		return spf_macro_check(value, 0, NULL);
	return is_domain_spec(value) ? 0 : -EINVAL;
}

int
spf_term_next(struct ph_str *rest, struct spf_term *ret)
{
	struct spf_term t = { .bits4 = 32, .bits6 = 128 };
	size_t n;
	int r;

	while (rest->n && rest->p[0] == ' ')
		*rest = tail(*rest, 1);
	if (!rest->n)
		return 0;
	n = find(*rest, ' ');
	t.text = ph_bytes(rest->p, n);
	*rest = tail(*rest, n);
	n = modifier_name(t.text);
	r = n ? read_modifier(t.text, n, &t) : read_mechanism(t.text, &t);
	*ret = t;
	return r < 0 ? r : 1;
}

int
spf_record_check(struct ph_str terms, struct ph_str *ret)
{
	unsigned redirects = 0, exps = 0;
	struct spf_term t;
	int r;

	while ((r = spf_term_next(&terms, &t)) > 0) {
		redirects += t.kind == SPF_REDIRECT;
		exps += t.kind == SPF_EXP;
		if (redirects > 1 || exps > 1)
			r = -EINVAL;
		if (r < 0)
			break;
	}
	if (r < 0)
		*ret = t.text;
	return r;
}
