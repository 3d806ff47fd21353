/* `posthorn table ...`: trying the tables of the configuration. */
#include <errno.h>

#include "lib/client/control.h"
#include "lib/client/table.h"
#include "mta/cli.h"
#include "mta/table.h"

static void
note(void *arg, const struct table_note *n)
{
	struct err *e = arg;

	if (n->failed)
		err_set(e, -1, "%s", n->text);
}

/* By tabled of the running instance. 1 and *ret, 0, or negative and e says why. */
static int
lookup_foreign(struct cli *c, const struct conf_table *conf, struct str *ret, struct err *e)
{
	struct table_question q = { conf->name, arena_lower(c->arena, str_c(c->args[1])) };
	struct buf b = { 0 }, all = { .max = TABLE_VALUE_MAX };
	struct table_answer v = { 0 };
	struct control *ctl = NULL;
	struct frame f;
	int r = q.key.n && q.key.n <= TABLE_ASK_MAX ? control_open(c->settings, ROLE_TABLED, 0, &ctl, e) :
	    err_set(e, -EINVAL, "a key has 1 to %d bytes", TABLE_ASK_MAX);

	table_question_put(&b, &q);
	if (!r)
		r = control_call(ctl, MSG_TABLE_FIND, &b, -1, conf->timeout_ms + 1000, c->arena, &f, e);
	if (!r && (r = table_answer_get(f.body, c->arena, &v)))
		err_set(e, r, "tabled's answer cannot be read");
	for (size_t i = 0; i < v.n; i++)
		buf_printf(&all, "%s%.*s", i ? "," : "", STR_ARG(v.values[i]));
	*ret = arena_dup(c->arena, buf_view(&all));
	control_close(&ctl);
	buf_done(&all);
	buf_done(&b);
	return r ? r : v.n > 0;
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
	r = conf_table_is_foreign(&s->tables[i]) ? lookup_foreign(c, &s->tables[i], &value, &e) :
	    lookup(c, &s->tables[i], &value, &e);
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
	    .more = "The table is read as it is now. Mistakes in it are shown with file and line. What a server\n"
		    "holds (pgsql, mysql, ldap) is asked for by tabled of the running instance, past what is\n"
		    "remembered.",
	    .examples = "table lookup virtual user1@example.test\n" },
	{ 0 },
};
