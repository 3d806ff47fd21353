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
#include <errno.h>

#include "lib/base/regex.h"
#include "mta/table_private.h"

#define ROWS_MAX 10000
#define STEPS_MAX 100000
#define NEST_MAX 8

enum row_kind { ROW_VALUE, ROW_IF, ROW_ENDIF };

struct table_rule {
	enum row_kind kind;
	struct regex *pattern;
	struct str value;
};

struct reading {
	struct table_content *c;
	const char *path;
	unsigned nested;
};

static struct table_rule *
rule_room(struct table_content *c)
{
	struct table_rule *v;

	if (c->n_rules % 64 == 0) {
		v = c->n_rules < ROWS_MAX ? ARENA_ARRAY(c->arena, struct table_rule, c->n_rules + 64) : NULL;
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
		return err_set(e, -E2BIG, "more than %d patterns", ROWS_MAX);
	*r = (struct table_rule){ 0 };
	if (str_ieq(word, STR("endif"))) {
		if (!rd->nested--)
			return err_set(e, -EINVAL, "endif without if");
		r->kind = ROW_ENDIF;
		rd->c->n_rules++;
		return 0;
	}
	if (str_ieq(word, STR("if"))) {
		if (rd->nested++ == NEST_MAX)
			return err_set(e, -E2BIG, "more than %d times if", NEST_MAX);
		r->kind = ROW_IF;
		line = str_trim(rest);
	}
	code = regex_take(&line, rd->c->arena, &r->pattern, e);
	if (code)
		return code;
	if ((r->kind == ROW_IF) != !line.n)
		return err_set(e, -EINVAL, line.n ? "text behind if" : "the pattern has no value");
	r->value = arena_dup(rd->c->arena, line);
	rd->c->n_rules++;
	rd->c->n += r->kind == ROW_VALUE;
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

static int
expand(const struct matcher *m, struct str key, const struct table_rule *r, struct arena *a,
    struct str *ret)
{
	struct buf b = { .max = TABLE_VALUE_MAX };
	int code;

	regex_expand(m, key, r->value, &b);
	*ret = arena_dup(a, buf_view(&b));
	code = b.over ? -E2BIG : ret->p ? 1 : -ENOMEM;
	buf_done(&b);
	return code;
}

/* The rule that gives the value, or NULL; *ret_code negative when that cannot be said. */
static const struct table_rule *
first_match(const struct table_content *c, struct matcher *m, struct str key, int *ret_code)
{
	unsigned skipping = 0;

	*ret_code = 0;
	for (size_t i = 0; i < c->n_rules && *ret_code >= 0; i++) {
		const struct table_rule *r = &c->rules[i];

		if (r->kind == ROW_ENDIF) {
			skipping -= skipping > 0;
		} else if (skipping) {
			skipping += r->kind == ROW_IF;
		} else {
			*ret_code = regex_match(m, r->pattern, key);
			if (r->kind == ROW_IF)
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
	struct matcher *m = matcher_new(STEPS_MAX);
	const struct table_rule *r = NULL;
	int code = -ENOMEM;

	if (m)
		r = first_match(c, m, key, &code);
	if (r)
		code = expand(m, key, r, a, ret);
	else if (code > 0)
		code = 0;
	matcher_free(&m);
	return code;
}
