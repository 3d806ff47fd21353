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

	if (row->secret)
		return STR(CONF_HIDDEN);
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

static void
show_lists(struct cli *c, struct cli_table *t, const char *key)
{
	for (size_t b = 0; b < conf_n_blocks; b++) {
		const struct conf_block *block = &conf_blocks[b];
		const void *element;

		if (block->kind != CONF_B_LIST)
			continue;
		for (size_t i = 0; (element = conf_list_at(c->settings, block, i)); i++)
			show_blocks(c, t, block->name, arena_printf(c->arena, "%s[%.*s]",
			    block->name, STR_ARG(*(const struct str *)element)).p, element, key);
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
	if (what != SHOW_DEFAULTS)
		show_lists(c, t, key);
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

/* ---- diff ---- */

/* The running settings, and those of the file as they would be. */
struct diff {
	struct cli *c;
	struct cli_table *t;
	const struct settings *run, *file;
	size_t rows;
};

static void
diff_row(struct diff *d, struct str key, struct str run, struct str file, const char *when)
{
	if (str_eq(run, file))
		return;
	d->rows++;
	cli_cell(d->t, key);
	cli_cell(d->t, run);
	cli_cell(d->t, file);
	cli_cell(d->t, str_c(when));
}

static const char *
when(const struct conf_row *row)
{
	return row->reload ? "reload" : "start";
}

/* Two blocks of one kind; NULL: there is none. */
static void
diff_block(struct diff *d, const char *block, struct str name, const void *run, const void *file)
{
	const char *whole = "reload";

	for (size_t i = 0; i < conf_n_rows; i++) {
		const struct conf_row *row = &conf_rows[i];

		if (strcmp(row->block, block))
			continue;
		if (run && file)
			diff_row(d, arena_printf(d->c->arena, "%.*s.%s", STR_ARG(name), row->name),
			    value_text(d->c, run, row), value_text(d->c, file, row), when(row));
		else if (!row->reload)
			whole = "start";
	}
	if (!run || !file)
		diff_row(d, name, run ? STR("configured") : STR_NULL,
		    file ? STR("configured") : STR_NULL, whole);
}

static const struct conf_listen *
same_listener(const struct settings *s, const struct conf_listen *ls)
{
	for (size_t i = 0; i < s->n_listen; i++)
		if (str_eq(s->listen[i].name, ls->name) && str_eq(s->listen[i].address, ls->address))
			return &s->listen[i];
	return NULL;
}

static struct str
listener_name(struct cli *c, const struct conf_listen *ls)
{
	return arena_printf(c->arena, "listen[%.*s %.*s]", STR_ARG(ls->name), STR_ARG(ls->address));
}

static void
diff_listeners(struct diff *d)
{
	for (size_t i = 0; i < d->run->n_listen; i++) {
		const struct conf_listen *ls = &d->run->listen[i];

		diff_block(d, "listen", listener_name(d->c, ls), ls, same_listener(d->file, ls));
	}
	for (size_t i = 0; i < d->file->n_listen; i++) {
		const struct conf_listen *ls = &d->file->listen[i];

		if (!same_listener(d->run, ls))
			diff_block(d, "listen", listener_name(d->c, ls), NULL, ls);
	}
}

/* The element of this name; NULL when there is none. */
static const void *
list_find(const struct settings *s, const struct conf_block *block, const struct str *name)
{
	const void *element;

	for (size_t i = 0; (element = conf_list_at(s, block, i)); i++)
		if (str_ieq(*(const struct str *)element, *name))
			return element;
	return NULL;
}

static void
diff_list(struct diff *d, const struct conf_block *block)
{
	struct arena *a = d->c->arena;
	const struct str *name;

	for (size_t i = 0; (name = conf_list_at(d->run, block, i)); i++)
		diff_block(d, block->name, arena_printf(a, "%s[%.*s]", block->name, STR_ARG(*name)),
		    name, list_find(d->file, block, name));
	for (size_t i = 0; (name = conf_list_at(d->file, block, i)); i++)
		if (!list_find(d->run, block, name))
			diff_block(d, block->name, arena_printf(a, "%s[%.*s]", block->name,
			    STR_ARG(*name)), NULL, name);
}

static void
diff_all(struct diff *d)
{
	struct cli *c = d->c;

	for (size_t i = 0; i < conf_n_rows; i++) {
		struct buf key = { 0 };

		if (!is_plain(&conf_rows[i]))
			continue;
		conf_row_key(&key, &conf_rows[i]);
		diff_row(d, buf_view(&key), value_text(c, d->run, &conf_rows[i]),
		    value_text(c, d->file, &conf_rows[i]), when(&conf_rows[i]));
		buf_done(&key);
	}
	for (size_t i = 0; i < d->run->n_tls || i < d->file->n_tls; i++)
		diff_block(d, "tls", arena_printf(c->arena, "tls[%zu]", i),
		    i < d->run->n_tls ? &d->run->tls[i] : NULL,
		    i < d->file->n_tls ? &d->file->tls[i] : NULL);
	diff_listeners(d);
	for (size_t i = 0; i < conf_n_blocks; i++)
		if (conf_blocks[i].kind == CONF_B_LIST)
			diff_list(d, &conf_blocks[i]);
}

static int
diff(struct cli *c)
{
	static const struct cli_col cols[] = { { "key" }, { "running" }, { "file" }, { "takes" } };
	struct diff d = { .c = c, .file = c->settings };
	struct conf_errors errors;
	struct settings *run;
	struct frame f;
	struct err e = { 0 };
	struct str text;
	int r = control_ask(c->settings, ROLE_MASTER, 0, MSG_MASTER_CONFIG, NULL, c->arena, &f, &e);

	if (r)
		return cli_fail_err(c, r, &e);
	if (master_config_get(f.body, &text))
		return cli_fail(c, CLI_FAILED, "the master's answer cannot be read");
	run = settings_parse(text, "running", c->arena, &errors);
	if (!run)
		return cli_fail(c, CLI_FAILED, "the running instance is of another version: restart it");
	d.run = run;
	d.t = cli_table_new(c, cols, 4);
	diff_all(&d);
	cli_table_end(&d.t);
	settings_free(&run);
	cli_say(c, d.rows ? "posthorn reload takes what says reload, the rest takes a stop and a start" :
	    "the running instance has what the file says");
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
	{ "config", "diff", "", "show where the running instance differs from the file", NULL, diff },
	{ "config", "explain", "KEY", "explain a setting or a block", NULL, explain,
	    .flags = VERB_NO_CONFIG, .examples = "config explain smtp.message-size-limit\n" },
	{ 0 },
};
