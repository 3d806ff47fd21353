/* `posthorn table ...`: trying the tables of the configuration. */
#include "mta/cli.h"
#include "mta/table.h"

static void
note(void *arg, const struct table_note *n)
{
	struct err *e = arg;

	if (n->failed)
		err_set(e, -1, "%s", n->text);
}

/* Only the table that is asked for is opened. */
static int
lookup(struct cli *c, const struct conf_table *conf, struct str *ret, struct err *e)
{
	struct settings one = { .tables = (struct conf_table *)(uintptr_t)conf, .n_tables = 1 };
	struct tables *t;
	int r = tables_open(&one, note, e, &t);

	if (r)
		return r;
	r = table_find(tables_get(t, conf->name), str_c(c->args[1]), c->arena, ret);
	tables_close(&t);
	return r;
}

static int
table_lookup(struct cli *c)
{
	const struct settings *s = c->settings;
	struct err e = { 0 };
	struct str value;
	struct json *j;
	size_t i = 0;
	int r;

	while (i < s->n_tables && !str_ieq(s->tables[i].name, str_c(c->args[0])))
		i++;
	if (i == s->n_tables)
		return cli_fail(c, CLI_USAGE, "no table %s in the configuration", c->args[0]);
	r = lookup(c, &s->tables[i], &value, &e);
	if (r < 0)
		return cli_fail(c, CLI_TEMPORARY, "%s", e.text[0] ? e.text : "the table does not answer");
	if (!r)
		return cli_fail(c, CLI_FAILED, "%s is not in table %s", c->args[1], c->args[0]);
	cli_say(c, "%.*s", STR_ARG(value));
	if (!c->json)
		return CLI_OK;
	j = cli_json(c);
	json_object(j);
	json_key(j, "value");
	json_str(j, value);
	json_end(j);
	cli_json_end(c);
	return CLI_OK;
}

const struct verb cli_table[] = {
	{ "table", "lookup", "NAME KEY", "look KEY up in a table of the configuration", NULL,
	    table_lookup,
	    .more = "The table is read as it is now. Mistakes in it are shown with file and line.",
	    .examples = "table lookup virtual user1@example.test\n" },
	{ 0 },
};
