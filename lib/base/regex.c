/* Patterns by PCRE2; see regex.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "lib/base/regex.h"

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>

#define DEPTH_LIMIT 10000
#define HEAP_LIMIT_KB 4096
#define GROUPS_MAX 100

struct regex {
	pcre2_code *code;
	bool negated;
};

struct matcher {
	pcre2_match_context *context;
	pcre2_match_data *data;
	unsigned groups;   /* of the last match */
};

static void
free_code(void *arg)
{
	pcre2_code_free(arg);
}

static int
flags_of(struct str flags, uint32_t *ret, struct err *e)
{
	uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL;

	for (size_t i = 0; i < flags.n; i++) {
		switch (flags.p[i]) {
		case 'i': options ^= PCRE2_CASELESS; break;
		case 'm': options ^= PCRE2_MULTILINE; break;
		case 's': options ^= PCRE2_DOTALL; break;
		case 'x': options ^= PCRE2_EXTENDED; break;
		case 'A': options ^= PCRE2_ANCHORED; break;
		case 'E': options ^= PCRE2_DOLLAR_ENDONLY; break;
		case 'U': options ^= PCRE2_UNGREEDY; break;
		default: return err_set(e, -EINVAL, "unknown flag '%c'", flags.p[i]);
		}
	}
	*ret = options;
	return 0;
}

static int
compile(struct str text, uint32_t options, struct arena *a, struct regex *p, struct err *e)
{
	PCRE2_SIZE at;
	int code;

	p->code = pcre2_compile((PCRE2_SPTR)(text.n ? text.p : ""), text.n, options, &code, &at, NULL);
	if (!p->code) {
		PCRE2_UCHAR why[160];

		pcre2_get_error_message(code, why, sizeof why);
		return err_set(e, -EINVAL, "pattern, at byte %zu: %s", (size_t)at, (char *)why);
	}
	return arena_defer(a, free_code, p->code) ? err_set(e, -ENOMEM, "no memory") : 0;
}

int
regex_take(struct str *line, struct arena *a, struct regex **ret, struct err *e)
{
	struct regex *p = ARENA_NEW(a, struct regex);
	struct str s = str_trim(*line), text, flags;
	uint32_t options;
	size_t n = 1;
	char delim;
	int code;

	if (!p)
		return err_set(e, -ENOMEM, "no memory");
	if (s.n && s.p[0] == '!') {
		p->negated = true;
		s = str_trim(str_skip(s, 1));
	}
	if (s.n < 2 || ascii_isalnum(s.p[0]) || s.p[0] == '\\')
		return err_set(e, -EINVAL, "expected a pattern such as /^user/");
	for (delim = s.p[0]; n < s.n && s.p[n] != delim; n++)
		if (s.p[n] == '\\' && n + 1 < s.n)
			n++;
	if (n >= s.n)
		return err_set(e, -EINVAL, "the pattern has no end '%c'", delim);
	text = str_from(s.p + 1, n - 1);
	s = str_skip(s, n + 1);
	for (n = 0; n < s.n && ascii_isalpha(s.p[n]); n++)
		;
	flags = str_head(s, n);
	code = flags_of(flags, &options, e);
	if (!code)
		code = compile(text, options, a, p, e);
	if (code)
		return code;
	*line = str_trim(str_skip(s, flags.n));
	*ret = p;
	return 0;
}

/* ---- matching ---- */

struct matcher *
matcher_new(unsigned steps)
{
	struct matcher *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->context = pcre2_match_context_create(NULL);
	m->data = pcre2_match_data_create(GROUPS_MAX, NULL);
	if (!m->context || !m->data) {
		matcher_free(&m);
		return NULL;
	}
	pcre2_set_match_limit(m->context, steps);
	pcre2_set_depth_limit(m->context, DEPTH_LIMIT);
	pcre2_set_heap_limit(m->context, HEAP_LIMIT_KB);
	return m;
}

void
matcher_free(struct matcher **m)
{
	if (!*m)
		return;
	pcre2_match_data_free((*m)->data);
	pcre2_match_context_free((*m)->context);
	free(*m);
	*m = NULL;
}

int
regex_match(struct matcher *m, const struct regex *p, struct str subject)
{
	int n = pcre2_match(p->code, (PCRE2_SPTR)(subject.n ? subject.p : ""), subject.n, 0, 0, m->data,
	    m->context);

	if (n < 0 && n != PCRE2_ERROR_NOMATCH)
		return -E2BIG;
	m->groups = n > 0 ? (unsigned)n : 0;
	return (n >= 0) != p->negated;
}

/* Reads a group's number behind a dollar: its digits, in brackets or not. */
static bool
group_number(struct str *v, unsigned *ret)
{
	char close = v->n && v->p[0] == '{' ? '}' : v->n && v->p[0] == '(' ? ')' : 0;
	struct str s = close ? str_skip(*v, 1) : *v;
	size_t n = 0;

	*ret = 0;
	while (n < s.n && n < 2 && ascii_isdigit(s.p[n]))
		*ret = *ret * 10 + (unsigned)(s.p[n++] - '0');
	if (!n || (close && (n == s.n || s.p[n] != close)))
		return false;
	*v = str_skip(s, n + (close ? 1 : 0));
	return true;
}

static struct str
group(const struct matcher *m, struct str subject, unsigned i)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data) + 2 * i;

	if (i >= m->groups || at[0] == PCRE2_UNSET || at[1] < at[0] || at[1] > subject.n)
		return STR_NULL;
	return str_from(subject.p + at[0], at[1] - at[0]);
}

void
regex_expand(const struct matcher *m, struct str subject, struct str text, struct buf *out)
{
	unsigned i;

	while (text.n) {
		char c = text.p[0];

		text = str_skip(text, 1);
		if (c == '$' && group_number(&text, &i)) {
			buf_str(out, group(m, subject, i));
			continue;
		}
		if (c == '$' && text.n && text.p[0] == '$')
			text = str_skip(text, 1);
		buf_putc(out, c);
	}
}
