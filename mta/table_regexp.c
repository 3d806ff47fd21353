/*
 * Tables of patterns, as regexp_table(5) and pcre_table(5) write them:
 *
 *	[!]/PATTERN/FLAGS VALUE
 *	if [!]/PATTERN/FLAGS
 *	endif
 *
 * The first pattern that matches the key gives the value; $1 to $9, ${1} and $(1) in
 * it are groups of the pattern, $$ is a dollar. Matching takes no notice of case
 * unless the flag i says so. What a pattern may cost is bounded.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>

#include "mta/table_private.h"

#define RULES_MAX 10000
#define MATCH_LIMIT 100000
#define DEPTH_LIMIT 1000
#define HEAP_LIMIT_KB 1024
#define NEST_MAX 8

enum rule_kind { RULE_VALUE, RULE_IF, RULE_ENDIF };

struct table_rule {
	enum rule_kind kind;
	bool negated;
	pcre2_code *code;
	struct str value;
};

struct reading {
	struct table_content *c;
	const char *path;
	unsigned nested;
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

/* Reads [!]/PATTERN/FLAGS off *line into the rule. */
static int
take_pattern(struct table_content *c, struct str *line, struct table_rule *r, struct err *e)
{
	struct str s = *line, pattern, flags;
	uint32_t options;
	PCRE2_SIZE at;
	size_t n = 1;
	char delim;
	int code;

	if (s.n && s.p[0] == '!') {
		r->negated = true;
		s = str_trim(str_skip(s, 1));
	}
	if (s.n < 2 || ascii_isalnum(s.p[0]) || s.p[0] == '\\')
		return err_set(e, -EINVAL, "expected a pattern such as /^user/");
	for (delim = s.p[0]; n < s.n && s.p[n] != delim; n++)
		if (s.p[n] == '\\' && n + 1 < s.n)
			n++;
	if (n >= s.n)
		return err_set(e, -EINVAL, "the pattern has no end '%c'", delim);
	pattern = str_from(s.p + 1, n - 1);
	s = str_skip(s, n + 1);
	for (n = 0; n < s.n && ascii_isalpha(s.p[n]); n++)
		;
	flags = str_head(s, n);
	*line = str_trim(str_skip(s, flags.n));
	code = flags_of(flags, &options, e);
	if (code)
		return code;
	r->code = pcre2_compile((PCRE2_SPTR)(pattern.n ? pattern.p : ""), pattern.n, options, &code, &at,
	    NULL);
	if (!r->code) {
		PCRE2_UCHAR text[160];

		pcre2_get_error_message(code, text, sizeof text);
		return err_set(e, -EINVAL, "pattern, at byte %zu: %s", (size_t)at, (char *)text);
	}
	return arena_defer(c->arena, free_code, r->code) ? err_set(e, -ENOMEM, "no memory") : 0;
}

static struct table_rule *
rule_room(struct table_content *c)
{
	struct table_rule *v;

	if (c->n_rules % 64 == 0) {
		v = c->n_rules < RULES_MAX ? ARENA_ARRAY(c->arena, struct table_rule, c->n_rules + 64) : NULL;
		if (!v)
			return NULL;
		if (c->n_rules)
			memcpy(v, c->rules, c->n_rules * sizeof *v);
		c->rules = v;
	}
	return &c->rules[c->n_rules];
}

static int
read_rule(struct reading *rd, struct str line, struct err *e)
{
	struct table_rule *r = rule_room(rd->c);
	struct str rest = line, word = str_word(&rest);
	int code;

	if (!r)
		return err_set(e, -E2BIG, "more than %d patterns", RULES_MAX);
	*r = (struct table_rule){ 0 };
	if (str_ieq(word, STR("endif"))) {
		if (!rd->nested--)
			return err_set(e, -EINVAL, "endif without if");
		r->kind = RULE_ENDIF;
		rd->c->n_rules++;
		return 0;
	}
	if (str_ieq(word, STR("if"))) {
		if (rd->nested++ == NEST_MAX)
			return err_set(e, -E2BIG, "more than %d times if", NEST_MAX);
		r->kind = RULE_IF;
		line = str_trim(rest);
	}
	code = take_pattern(rd->c, &line, r, e);
	if (code)
		return code;
	if ((r->kind == RULE_IF) != !line.n)
		return err_set(e, -EINVAL, line.n ? "text behind if" : "the pattern has no value");
	r->value = arena_dup(rd->c->arena, line);
	rd->c->n_rules++;
	rd->c->n += r->kind == RULE_VALUE;
	return r->value.p ? 0 : err_set(e, -ENOMEM, "no memory");
}

static int
rule_line(void *arg, unsigned number, struct str line, struct err *e)
{
	struct reading *rd = arg;
	int r = read_rule(rd, line, e);

	return r ? err_prefix(e, "%s:%u: ", rd->path, number) : 0;
}

int
table_read_rules(struct table_content *c, struct str text, const char *path, struct err *e)
{
	struct reading rd = { c, path, 0 };
	int r = table_lines(text, rule_line, &rd, e);

	if (!r && rd.nested)
		r = err_set(e, -EINVAL, "%s: an if has no endif", path);
	return r;
}

/* ---- looking up ---- */

struct matching {
	pcre2_match_context *context;
	pcre2_match_data *data;
	struct str key;
	unsigned groups;   /* of the last match */
};

/* 1: the rule's pattern says so, 0: not, negative: too costly. */
static int
matches(struct matching *m, const struct table_rule *r)
{
	int n = pcre2_match(r->code, (PCRE2_SPTR)m->key.p, m->key.n, 0, 0, m->data, m->context);

	if (n < 0 && n != PCRE2_ERROR_NOMATCH)
		return -E2BIG;
	m->groups = n > 0 ? (unsigned)n : 0;
	return (n >= 0) != r->negated;
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

static int
expand(const struct matching *m, const struct table_rule *r, struct arena *a, struct str *ret)
{
	PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);
	unsigned group;
	struct buf b = { .max = TABLE_VALUE_MAX };
	struct str v = r->value;
	int code = 0;

	while (v.n) {
		char c = v.p[0];

		v = str_skip(v, 1);
		if (c == '$' && group_number(&v, &group)) {
			if (group < m->groups && at[2 * group] != PCRE2_UNSET && at[2 * group + 1] >= at[2 * group])
				buf_put(&b, m->key.p + at[2 * group], at[2 * group + 1] - at[2 * group]);
		} else {
			if (c == '$' && v.n && v.p[0] == '$')
				v = str_skip(v, 1);
			buf_putc(&b, c);
		}
	}
	*ret = arena_dup(a, buf_view(&b));
	code = b.over ? -E2BIG : ret->p ? 1 : -ENOMEM;
	buf_done(&b);
	return code;
}

/* The rule that gives the value, or NULL; *ret_code negative when that cannot be said. */
static const struct table_rule *
first_match(const struct table_content *c, struct matching *m, int *ret_code)
{
	unsigned skipping = 0;

	*ret_code = 0;
	for (size_t i = 0; i < c->n_rules && *ret_code >= 0; i++) {
		const struct table_rule *r = &c->rules[i];

		if (r->kind == RULE_ENDIF) {
			skipping -= skipping > 0;
		} else if (skipping) {
			skipping += r->kind == RULE_IF;
		} else {
			*ret_code = matches(m, r);
			if (r->kind == RULE_IF)
				skipping = *ret_code == 0;
			else if (*ret_code == 1)
				return r;
		}
	}
	return NULL;
}

int
table_rules_find(const struct table_content *c, struct str key, struct arena *a, struct str *ret)
{
	struct matching m = { pcre2_match_context_create(NULL), pcre2_match_data_create(100, NULL), key, 0 };
	const struct table_rule *r = NULL;
	int code = -ENOMEM;

	if (m.context && m.data) {
		pcre2_set_match_limit(m.context, MATCH_LIMIT);
		pcre2_set_depth_limit(m.context, DEPTH_LIMIT);
		pcre2_set_heap_limit(m.context, HEAP_LIMIT_KB);
		r = first_match(c, &m, &code);
	}
	if (r)
		code = expand(&m, r, a, ret);
	else if (code > 0)
		code = 0;
	pcre2_match_data_free(m.data);
	pcre2_match_context_free(m.context);
	return code;
}
