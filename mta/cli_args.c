/*
 * The command line: options may stand anywhere, `--name value` and `--name=value`
 * are the same, "--" ends them. The verb is the first word, or the first two for
 * nouns with sub-verbs.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/conf/table.h"
#include "mta/cli_private.h"

const struct cli_opt cli_global_opts[] = {
	{ "json", OPT_FLAG, NULL, "print JSON" },
	{ "quiet", OPT_FLAG, NULL, "print nothing but errors and what was asked for (also -q)" },
	{ "help", OPT_FLAG, NULL, "print help (also -h)" },
	{ 0 },
};

struct find {
	const char *noun, *sub;
	const struct verb *found;
};

static int
find(const struct verb *v, void *arg)
{
	struct find *f = arg;

	if (strcmp(v->noun, f->noun))
		return 0;
	if (f->sub ? !v->sub || strcmp(v->sub, f->sub) : v->sub != NULL)
		return 0;
	f->found = v;
	return 1;
}

const struct verb *
cli_verb_find(const char *noun, const char *sub)
{
	struct find f = { noun, sub, NULL };

	cli_each_verb(find, &f);
	return f.found;
}

static int
same_noun(const struct verb *v, void *arg)
{
	return strcmp(v->noun, arg) == 0;
}

bool
cli_noun_exists(const char *noun)
{
	return cli_each_verb(same_noun, (void *)(uintptr_t)noun) != 0;
}

/* The i-th noun, or with a noun given the i-th of its sub-verbs. */
struct nth {
	const char *noun, *found, *last;
	size_t i;
};

static int
nth_step(const struct verb *v, void *arg)
{
	struct nth *n = arg;
	const char *word = n->noun ? v->sub : v->noun;

	if (!word || (n->noun ? strcmp(v->noun, n->noun) != 0 :
	    n->last && strcmp(n->last, v->noun) == 0))
		return 0;
	n->last = v->noun;
	if (n->i-- > 0)
		return 0;
	n->found = word;
	return 1;
}

static const char *
nth_word(void *arg, size_t i)
{
	struct nth n = { .noun = arg, .i = i };

	cli_each_verb(nth_step, &n);
	return n.found;
}

static int
unknown_verb(struct cli *c, const char *noun, const char *sub)
{
	void *of = (void *)(uintptr_t)(sub ? noun : NULL);
	const char *near = conf_near(str_c(sub ? sub : noun), nth_word, of);

	return cli_fail(c, CLI_USAGE, "unknown verb '%s%s%s'%s%s%s%s%s; see posthorn --help", noun,
	    sub ? " " : "", sub ? sub : "", near ? " (did you mean '" : "",
	    near && sub ? noun : "", near && sub ? " " : "", near ? near : "", near ? "'?)" : "");
}

/* Chooses the verb by the words; shifts them out of c->args. */
static int
choose_verb(struct cli *c, bool want_help)
{
	const char *noun = c->n_args ? c->args[0] : NULL;
	const char *sub = c->n_args > 1 ? c->args[1] : NULL;

	if (!noun)
		return want_help ? 0 : cli_fail(c, CLI_USAGE, "a verb is missing; see posthorn --help");
	if (sub)
		c->verb = cli_verb_find(noun, sub);
	if (c->verb) {
		c->args += 2;
		c->n_args -= 2;
		return 0;
	}
	c->verb = cli_verb_find(noun, NULL);
	if (c->verb) {
		c->args++;
		c->n_args--;
		return 0;
	}
	if (!cli_noun_exists(noun))
		return unknown_verb(c, noun, NULL);
	if (want_help)
		return 0;
	if (sub)
		return unknown_verb(c, noun, sub);
	cli_help_noun(stderr, noun);
	return CLI_USAGE;
}

/* A raw option, kept until the verb is known. */
struct raw {
	const char *name, *value; /* value NULL: without '=' */

};

static const struct cli_opt *
opt_find(const struct verb *v, const char *name, size_t len)
{
	for (const struct cli_opt *o = v->opts; o && o->name; o++)
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	return NULL;
}


static const char *
nth_opt(void *arg, size_t i)
{
	const struct verb *v = arg;
	const struct cli_opt *o = v->opts;

	while (o && o->name && i > 0)
		o++, i--;
	return o && o->name ? o->name : i < 3 ? cli_global_opts[i].name : NULL;
}

static bool
choice_has(const char *words, const char *word)
{
	struct str rest = str_c(words);

	while (rest.p)
		if (str_eq(str_cut(&rest, '|'), str_c(word)))
			return true;
	return false;
}

static int
opt_number(struct cli *c, const struct cli_opt *o, const char *text, uint64_t *ret)
{
	struct str s = str_c(text);
	int r = 0;

	if (o->type == OPT_NUMBER)
		r = str_u64(s, UINT64_MAX, ret) ? 0 : -EINVAL;
	else if (o->type == OPT_SIZE)
		r = conf_size_parse(s, ret);
	else if (o->type == OPT_TIME)
		r = conf_time_parse(s, ret);
	else if (o->type == OPT_CHOICE)
		r = choice_has(o->arg, text) ? 0 : -EINVAL;
	if (r == 0)
		return 0;
	if (o->type == OPT_CHOICE)
		return cli_fail(c, CLI_USAGE, "--%s: '%s' is none of %s", o->name, text, o->arg);
	return cli_fail(c, CLI_USAGE, "--%s: '%s' is not %s", o->name, text,
	    o->type == OPT_NUMBER ? "a number" : o->type == OPT_SIZE ? "a size (write 25M)" :
	    "a time (write 30s, 5m, 4h or 2d)");
}

static int
opt_add(struct cli *c, const struct cli_opt *o, const char *text)
{
	struct cli_values *v = c->values;
	int r = text ? opt_number(c, o, text, &v->number[v->n]) : 0;

	if (r)
		return r;
	if (v->n + 1 == sizeof v->opt / sizeof *v->opt)
		return cli_fail(c, CLI_USAGE, "too many options");
	v->opt[v->n] = o;
	v->text[v->n++] = text;
	return 0;
}

/* The options of all verbs are looked at twice: first to tell the words from the
 * options' values, which needs to know whether an option of that name takes one. */
struct takes {
	const char *name;
	size_t len;
	bool value;
};

static int
takes_value(const struct verb *v, void *arg)
{
	struct takes *t = arg;
	const struct cli_opt *o = opt_find(v, t->name, t->len);

	t->value |= o && o->type != OPT_FLAG;
	return 0;
}

static int
unknown_option(struct cli *c, const char *name, size_t len)
{
	const char *near = conf_near(str_from(name, len), nth_opt, (void *)(uintptr_t)c->verb);

	return cli_fail(c, CLI_USAGE, "'%s%s%s' has no option --%.*s%s%s%s", c->verb->noun,
	    c->verb->sub ? " " : "", c->verb->sub ? c->verb->sub : "", (int)len, name,
	    near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "");
}

static int
verb_option(struct cli *c, const char *name, const char *value)
{
	size_t len = strcspn(name, "=");
	const struct cli_opt *o = opt_find(c->verb, name, len);

	if (!o)
		return unknown_option(c, name, len);
	if (o->type == OPT_FLAG && value)
		return cli_fail(c, CLI_USAGE, "--%s takes no value", o->name);
	if (o->type != OPT_FLAG && !value)
		return cli_fail(c, CLI_USAGE, "--%s needs a value (%s)", o->name, o->arg);
	return opt_add(c, o, value);
}

/* -C, -q, -h, --json, ...: true when the word is one of the options that every
 * verb takes. *i moves behind it. */
static bool
global_option(struct cli *c, char **argv, int argc, int *i, bool *want_help)
{
	const char *w = argv[*i];

	if (strncmp(w, "-C", 2) == 0 && w[2]) {
		c->config_path = w + 2;
	} else if (strcmp(w, "-C") == 0 && *i + 1 < argc) {
		c->config_path = argv[++*i];
	} else if (strcmp(w, "--json") == 0) {
		c->json = true;
	} else if (strcmp(w, "-q") == 0 || strcmp(w, "--quiet") == 0) {
		c->quiet = true;
	} else if (strcmp(w, "-h") == 0 || strcmp(w, "--help") == 0) {
		*want_help = true;
	} else {
		return false;
	}
	return true;
}

/* "ACCOUNT [KEY]": at least 1, at most 2; "ID...": at least 1, no bound. */
static void
arg_bounds(const char *args, size_t *min, size_t *max)
{
	struct str rest = str_c(args), w;

	*min = *max = 0;
	while ((w = str_word(&rest)).n) {
		if (str_find(w, STR("...")) >= 0)
			*max = SIZE_MAX;
		else if (*max != SIZE_MAX)
			++*max;
		*min += w.p[0] != '[';
	}
}

static int
check_args(struct cli *c)
{
	size_t min, max;

	arg_bounds(c->verb->args, &min, &max);
	if (c->n_args >= min && c->n_args <= max)
		return 0;
	if (c->n_args > max)
		return cli_fail(c, CLI_USAGE, "too many arguments: '%s'; usage: posthorn %s%s%s %s",
		    c->args[max], c->verb->noun, c->verb->sub ? " " : "",
		    c->verb->sub ? c->verb->sub : "", c->verb->args);
	return cli_fail(c, CLI_USAGE, "an argument is missing; usage: posthorn %s%s%s %s",
	    c->verb->noun, c->verb->sub ? " " : "", c->verb->sub ? c->verb->sub : "",
	    c->verb->args);
}

/* Words to words, options with their values to opts. */
static int
split(struct cli *c, int argc, char **argv, char **words, struct raw *raws, size_t *n_raws,
    bool *want_help)
{
	bool options = true;

	for (int i = 0; i < argc; i++) {
		char *w = argv[i];
		struct takes t;

		if (!options || w[0] != '-' || !w[1]) {
			words[c->n_args++] = w;
		} else if (strcmp(w, "--") == 0) {
			options = false;
		} else if (global_option(c, argv, argc, &i, want_help)) {
			continue;
		} else if (w[1] != '-') {
			return cli_fail(c, CLI_USAGE, "unknown option %s%s", w,
			    strcmp(w, "-C") == 0 ? ": it needs a directory or a file" : "");
		} else {
			t = (struct takes){ w + 2, strcspn(w + 2, "="), false };
			cli_each_verb(takes_value, &t);
			raws[*n_raws] = (struct raw){ .name = w + 2 };
			if (w[2 + t.len] == '=')
				raws[*n_raws].value = w + 2 + t.len + 1;
			else if (t.value && i + 1 < argc)
				raws[*n_raws].value = argv[++i];
			++*n_raws;
		}
	}
	return 0;
}

int
cli_parse(struct cli *c, int argc, char **argv, bool *ret_help)
{
	size_t n = argc > 0 ? (size_t)argc : 0, n_raws = 0;
	char **words = ARENA_ARRAY(c->arena, char *, n + 1);
	struct raw *raws = ARENA_ARRAY(c->arena, struct raw, n + 1);
	int r;

	*ret_help = false;
	if (!words || !raws)
		return CLI_TEMPORARY;
	c->args = words;
	r = split(c, argc, argv, words, raws, &n_raws, ret_help);
	if (r == 0 && c->n_args && strcmp(words[0], "help") == 0) {
		*ret_help = true;
		c->args++;
		c->n_args--;
	}
	if (r == 0)
		r = choose_verb(c, *ret_help);
	if (r || *ret_help)
		return r;
	for (size_t i = 0; i < n_raws && r == 0; i++)
		r = verb_option(c, raws[i].name, raws[i].value);
	return r ? r : check_args(c);
}

/* The place of the option's last value, or -1. */
static int
value_at(const struct cli *c, const char *name)
{
	if (!opt_find(c->verb, name, strlen(name)))
		abort();
	for (size_t i = c->values->n; i > 0; i--)
		if (strcmp(c->values->opt[i - 1]->name, name) == 0)
			return (int)i - 1;
	return -1;
}

bool
cli_flag(const struct cli *c, const char *name)
{
	return value_at(c, name) >= 0;
}

const char *
cli_opt(const struct cli *c, const char *name)
{
	int i = value_at(c, name);

	return i < 0 ? NULL : c->values->text[i];
}

const char *
cli_opt_nth(const struct cli *c, const char *name, size_t i)
{
	if (!opt_find(c->verb, name, strlen(name)))
		abort();
	for (size_t k = 0; k < c->values->n; k++)
		if (strcmp(c->values->opt[k]->name, name) == 0 && i-- == 0)
			return c->values->text[k];
	return NULL;
}

uint64_t
cli_opt_u64(const struct cli *c, const char *name, uint64_t not_given)
{
	int i = value_at(c, name);

	return i < 0 ? not_given : c->values->number[i];
}
