/* Rules of the block checks: reading; see rules.h. */
#include "lib/conf/rules.h"

#include <errno.h>

#define NEST_MAX 8
#define LINE_MAX_BYTES 8192u

enum text_kind { T_NONE, T_MAYBE, T_ADDRESS, T_LINE };

static const struct action {
	const char *name;
	enum rule_action action;
	enum text_kind text;
} actions[] = {
	{ "REJECT", RULE_REJECT, T_MAYBE },
	{ "DISCARD", RULE_DISCARD, T_MAYBE },
	{ "HOLD", RULE_HOLD, T_MAYBE },
	{ "REDIRECT", RULE_REDIRECT, T_ADDRESS },
	{ "BCC", RULE_BCC, T_ADDRESS },
	{ "PREPEND", RULE_PREPEND, T_LINE },
	{ "REPLACE", RULE_REPLACE, T_LINE },
	{ "IGNORE", RULE_IGNORE, T_MAYBE },
	{ "STRIP", RULE_STRIP, T_MAYBE },
	{ "WARN", RULE_WARN, T_MAYBE },
	{ "INFO", RULE_INFO, T_MAYBE },
	{ "DUNNO", RULE_DUNNO, T_NONE },
};

const char *
rule_action_name(enum rule_action a)
{
	for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
		if (actions[i].action == a)
			return actions[i].name;
	return "";
}

static const struct action *
action_find(struct str name)
{
	for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
		if (str_ieq(name, str_c(actions[i].name)))
			return &actions[i];
	return NULL;
}

bool
rules_none(const struct conf_rules *r)
{
	return r->n == 1 && !r->rules;
}

static int
take_action(struct str rest, struct rule *r, struct arena *a, struct err *e)
{
	struct str word = str_word(&rest);
	const struct action *act = action_find(word);

	rest = str_trim(rest);
	if (!act)
		return err_set(e, -EINVAL, word.n ? "unknown action '%.*s'" : "the pattern has no action%.*s",
		    STR_ARG(str_head(word, 40)));
	if (act->text >= T_ADDRESS && !rest.n)
		return err_set(e, -EINVAL, "%s needs %s", act->name, act->text == T_LINE ? "a text" :
		    "an address");
	if (act->text == T_NONE && rest.n)
		return err_set(e, -EINVAL, "%s takes no text", act->name);
	if (act->text == T_ADDRESS && str_chr(rest, '@') <= 0)
		return err_set(e, -EINVAL, "'%.*s' is not a mail address", STR_ARG(str_head(rest, 80)));
	r->action = act->action;
	r->text = arena_dup(a, rest);
	return r->text.p ? 0 : -ENOMEM;
}

static int
read_rule(struct conf_rules *rs, struct str line, struct rule *r, struct arena *a, struct err *e)
{
	struct str rest = line, word = str_word(&rest);
	int code;

	*r = (struct rule){ .action = RULE_ENDIF };
	if (str_ieq(word, STR("endif"))) {
		if (!rs->open)
			return err_set(e, -EINVAL, "endif without if");
		rs->open--;
		return 0;
	}
	if (!str_ieq(word, STR("if"))) {
		code = regex_take(&line, a, &r->pattern, e);
		return code ? code : take_action(line, r, a, e);
	}
	if (rs->open++ == NEST_MAX)
		return err_set(e, -E2BIG, "more than %d times if", NEST_MAX);
	r->action = RULE_IF;
	code = regex_take(&rest, a, &r->pattern, e);
	return code ? code : rest.n ? err_set(e, -EINVAL, "text behind if") : 0;
}

/* Room for one more in both arrays, which double. */
static int
make_room(struct conf_rules *rs, struct arena *a)
{
	struct str *v;
	struct rule *r;

	if (rs->n && rs->n & (rs->n - 1))
		return 0;
	v = ARENA_ARRAY(a, struct str, rs->n ? 2 * rs->n : 1);
	r = ARENA_ARRAY(a, struct rule, rs->n ? 2 * rs->n : 1);
	if (!v || !r)
		return -ENOMEM;
	if (rs->n) {
		memcpy(v, rs->v, rs->n * sizeof *v);
		memcpy(r, rs->rules, rs->n * sizeof *r);
	}
	rs->v = v;
	rs->rules = r;
	return 0;
}

static int
add_line(struct conf_rules *rs, struct str line, struct arena *a, struct err *e)
{
	struct str copy = arena_dup(a, line);
	int code;

	if (rs->n == RULES_MAX || line.n > LINE_MAX_BYTES)
		return err_set(e, -E2BIG, rs->n == RULES_MAX ? "more than %u rules" :
		    "a rule of more than %u bytes", rs->n == RULES_MAX ? RULES_MAX : LINE_MAX_BYTES);
	if (!copy.p || make_room(rs, a))
		return err_set(e, -ENOMEM, "no memory");
	code = read_rule(rs, copy, &rs->rules[rs->n], a, e);
	if (!code)
		rs->v[rs->n++] = copy;
	return code;
}

static int
add_none(struct conf_rules *rs, struct arena *a, struct err *e)
{
	if (rs->n)
		return err_set(e, -EINVAL, "'none' must stand alone");
	rs->v = ARENA_NEW(a, struct str);
	if (!rs->v)
		return err_set(e, -ENOMEM, "no memory");
	rs->v[rs->n++] = STR("none");
	return 0;
}

int
rules_add(struct conf_rules *rs, struct str text, struct arena *a, struct err *e)
{
	bool many = str_chr(text, '\n') >= 0;
	struct buf b = { .max = 2 * LINE_MAX_BYTES };
	unsigned number = 0, first = 0;
	int code = 0;

	if (str_eq(str_trim(text), STR("none")))
		return add_none(rs, a, e);
	if (rules_none(rs))
		return err_set(e, -EINVAL, "'none' must stand alone");
	while (!code && (text.p || b.n)) {
		struct str line = text.p ? str_cut(&text, '\n') : STR_NULL;
		bool goes_on = line.n && (line.p[0] == ' ' || line.p[0] == '\t') && b.n;

		number++;
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (text.p && (!str_trim(line).n || str_trim(line).p[0] == '#'))
			continue;
		if (!goes_on && b.n) {
			code = b.over ? err_set(e, -E2BIG, "a rule is too long") :
			    add_line(rs, buf_view(&b), a, e);
			if (code && many)
				err_prefix(e, "line %u: ", first);
			buf_clear(&b);
		}
		if (!goes_on)
			first = number;
		if (b.n)
			buf_putc(&b, ' ');
		line = str_trim(line);
		if (line.n && line.p[0] != '#')
			buf_str(&b, line);
	}
	if (!code && b.over)
		code = err_set(e, -E2BIG, "a rule is too long");
	buf_done(&b);
	return code;
}
