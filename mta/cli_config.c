/* `posthorn config ...`: what is set, what it means, what a reload would change. */
#include <errno.h>

#include "lib/client/control.h"
#include "lib/client/master.h"
#include "lib/conf/table.h"
#include "mta/cli_private.h"
#include "mta/cli_tables.h"

static const struct cli_col show_cols[] = { { "key" }, { "value" }, { "from" } };

/* One setting as text, in c->arena. */
static struct str
value_text(struct cli *c, const void *base, const struct conf_row *row)
{
	struct buf b = { 0 };
	struct str s;

	conf_value_put(&b, base, row);
	s = arena_dup(c->arena, buf_view(&b));
	buf_done(&b);
	return s;
}

static bool
is_plain(const struct conf_row *row)
{
	const struct conf_block *b = conf_block_find(str_c(row->block));

	return !b || b->kind == CONF_B_PLAIN;
}

static struct str
default_text(const struct conf_row *row)
{
	return row->def ? str_c(row->def) : STR_NULL;
}

static bool
same_as_default(struct str value, const struct conf_row *row)
{
	if (str_eq(value, default_text(row)))
		return true;
	return value.n >= 2 && value.p[0] == '"' &&
	    str_eq(str_from(value.p + 1, value.n - 2), default_text(row));
}

enum show { SHOW_EFFECTIVE, SHOW_CHANGED, SHOW_DEFAULTS };

static void
show_row(struct cli *c, struct cli_table *t, const struct conf_row *row, enum show what)
{
	const struct conf_origin *o = &c->settings->origin[row - conf_rows];
	struct str value = value_text(c, c->settings, row), from = STR("default");
	struct buf key = { 0 };

	if (what == SHOW_CHANGED && (!o->file.p || same_as_default(value, row)))
		return;
	if (what == SHOW_DEFAULTS)
		value = row->def ? str_c(row->def) :
		    arena_printf(c->arena, "(%s)", row->def_text);
	else if (o->file.p)
		from = arena_printf(c->arena, "%.*s:%u", STR_ARG(o->file), o->line);
	conf_row_key(&key, row);
	cli_cell(t, buf_view(&key));
	cli_cell(t, value);
	cli_cell(t, what == SHOW_DEFAULTS ? STR("default") : from);
	buf_done(&key);
}

/* KEY as given: a setting's, or a block's name, for all of its settings. */
static bool
key_matches(const struct conf_row *row, const char *key)
{
	return !key || conf_row_by_key(str_c(key)) == row || strcmp(row->block, key) == 0;
}

static void
show_blocks(struct cli *c, struct cli_table *t, const char *block, const char *name,
    const void *base, const char *key)
{
	for (size_t i = 0; i < conf_n_rows; i++) {
		const struct conf_row *row = &conf_rows[i];

		if (strcmp(row->block, block) || !key_matches(row, key))
			continue;
		cli_cell(t, arena_printf(c->arena, "%s.%s", name, row->name));
		cli_cell(t, value_text(c, base, row));
		cli_cell(t, STR("configured"));
	}
}

static int
show(struct cli *c)
{
	enum show what = cli_flag(c, "changed") ? SHOW_CHANGED :
	    cli_flag(c, "defaults") ? SHOW_DEFAULTS : SHOW_EFFECTIVE;
	const char *key = c->n_args ? c->args[0] : NULL;
	const struct settings *s = c->settings;
	struct cli_table *t;

	if (key && !conf_row_by_key(str_c(key)) && !conf_block_find(str_c(key)))
		return cli_fail(c, CLI_USAGE, "there is no setting '%s'", key);
	t = cli_table_new(c, show_cols, 3);
	for (size_t i = 0; i < conf_n_rows; i++)
		if (is_plain(&conf_rows[i]) && key_matches(&conf_rows[i], key))
			show_row(c, t, &conf_rows[i], what);
	for (size_t i = 0; what != SHOW_DEFAULTS && i < s->n_tls; i++)
		show_blocks(c, t, "tls", arena_printf(c->arena, "tls[%zu]", i).p, &s->tls[i], key);
	for (size_t i = 0; what != SHOW_DEFAULTS && i < s->n_listen; i++)
		show_blocks(c, t, "listen",
		    arena_printf(c->arena, "listen[%.*s]", STR_ARG(s->listen[i].name)).p,
		    &s->listen[i], key);
	cli_table_end(&t);
	return CLI_OK;
}

static void
explain_text(struct cli *c, const struct conf_row *row)
{
	struct buf key = { 0 };

	conf_row_key(&key, row);
	printf("%s\n    %s\n", buf_cstr(&key), row->help);
	buf_done(&key);
	printf("    default: %s\n", row->def ? row->def : row->def_text);
	if (row->words)
		printf("    values:  %s\n", row->words);
	if (row->max && (row->type == CONF_T_NUMBER || row->type == CONF_T_SIZE ||
	    row->type == CONF_T_TIME)) {
		struct buf b = { 0 };

		buf_puts(&b, "    range:   ");
		if (row->type == CONF_T_SIZE)
			conf_size_put(&b, row->min), buf_puts(&b, " to "), conf_size_put(&b, row->max);
		else if (row->type == CONF_T_TIME)
			conf_time_put(&b, row->min), buf_puts(&b, " to "), conf_time_put(&b, row->max);
		else
			buf_printf(&b, "%llu to %llu", (unsigned long long)row->min,
			    (unsigned long long)row->max);
		printf("%s%s%s\n", buf_cstr(&b), row->zero ? ", or " : "", row->zero ? row->zero : "");
		buf_done(&b);
	}
	printf("    changes: %s\n    since:   %s\n", row->reload ? "by reload" : "at the next start",
	    row->since);
}

static void
explain_json(struct cli *c, const struct conf_row *row)
{
	struct json *j = cli_json(c);
	struct buf key = { 0 };

	conf_row_key(&key, row);
	json_object(j);
	json_key(j, "key");
	json_str(j, buf_view(&key));
	json_key(j, "help");
	json_str(j, str_c(row->help));
	json_key(j, "default");
	json_str(j, str_c(row->def ? row->def : row->def_text));
	if (row->words) {
		json_key(j, "values");
		json_str(j, str_c(row->words));
	}
	json_key(j, "reload");
	json_bool(j, row->reload);
	json_key(j, "since");
	json_str(j, str_c(row->since));
	json_end(j);
	cli_json_end(c);
	buf_done(&key);
}

static const char *
nth_key(void *arg, size_t i)
{
	struct cli *c = arg;
	struct buf key = { 0 };
	const char *s;

	if (i >= conf_n_rows)
		return NULL;
	conf_row_key(&key, &conf_rows[i]);
	s = arena_cstr(c->arena, buf_view(&key));
	buf_done(&key);
	return s;
}

static int
explain(struct cli *c)
{
	const struct conf_row *row = conf_row_by_key(str_c(c->args[0]));
	const struct conf_block *block = conf_block_find(str_c(c->args[0]));
	const char *near;

	if (row) {
		(c->json ? explain_json : explain_text)(c, row);
		return CLI_OK;
	}
	if (!block) {
		near = conf_near(str_c(c->args[0]), nth_key, c);
		return cli_fail(c, CLI_USAGE, "there is no setting '%s'%s%s%s", c->args[0],
		    near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
	}
	cli_say(c, "%s %s\n    %s", block->name, block->args, block->help);
	for (size_t i = 0; i < conf_n_rows; i++)
		if (strcmp(conf_rows[i].block, block->name) == 0)
			(c->json ? explain_json : explain_text)(c, &conf_rows[i]);
	return CLI_OK;
}

static const struct cli_opt show_opts[] = {
	{ "effective", OPT_FLAG, NULL, "every setting as it takes effect (this is the default)" },
	{ "changed", OPT_FLAG, NULL, "settings that differ from their defaults" },
	{ "defaults", OPT_FLAG, NULL, "the defaults" },
	{ 0 },
};

const struct verb cli_config[] = {
	{ "config", "show", "[KEY]", "show settings and where they come from", show_opts, show,
	    .examples = "config show --changed\nconfig show smtp\n" },
	{ "config", "explain", "KEY", "explain a setting or a block", NULL, explain,
	    .flags = VERB_NO_CONFIG, .examples = "config explain smtp.message-size-limit\n" },
	{ 0 },
};
