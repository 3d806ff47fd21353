/* posthorn import postfix DIR: a Postfix configuration as one of this system. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "mta/cli_tables.h"
#include "mta/import.h"

static const struct cli_opt opts[] = {
	{ "output", OPT_STRING, "FOLDER", "where to write (default: ./imported); it must be empty or not be there" },
	{ 0 },
};

static int
make_folders(struct cli *c, const char *out)
{
	static const char *const subs[] = { "", "/tables", "/secrets" };

	for (size_t i = 0; i < sizeof subs / sizeof *subs; i++) {
		const char *path = arena_printf(c->arena, "%s%s", out, subs[i]).p;

		if (mkdir(path, i == 2 ? 0700 : 0755) && (errno != EEXIST || i))
			return cli_fail(c, CLI_FAILED, "cannot make the folder %s: %s", path, strerror(errno));
	}
	return 0;
}

/* Without symbolic links and absolute: tables name files in it. */
static const char *
real_path(struct cli *c, const char *path)
{
	char *p = realpath(path, NULL);
	const char *copy = p ? arena_dup(c->arena, str_c(p)).p : NULL;

	free(p);
	return copy;
}

static int
read_config(struct cli *c, struct import *m)
{
	struct err e = { 0 };
	struct str text;
	const char *path = arena_printf(c->arena, "%s/main.cf", m->dir).p;

	if (import_file(m, path, &text, &e) || import_main_cf(m, text, &e))
		return cli_fail(c, CLI_FAILED, "%s", e.text);
	path = arena_printf(c->arena, "%s/master.cf", m->dir).p;
	if (import_file(m, path, &text, &e) || import_master_cf(m, text, &e))
		return cli_fail(c, CLI_FAILED, "%s", e.text);
	return 0;
}

/* The report as it is, and for --json as rows. */
static void
tell(struct cli *c, struct import *m)
{
	struct str rest = buf_view(&m->report);
	struct json *j;

	if (!c->json) {
		cli_say(c, "%.*s", STR_ARG(rest));
		cli_say(c, "written: %s/posthorn.conf and %u tables; %zu points were NOT CARRIED", m->out, m->n_tables,
		    m->lost);
		return;
	}
	j = cli_json(c);
	json_object(j);
	json_key(j, "lost");
	json_u64(j, m->lost);
	json_key(j, "report");
	json_array(j);
	while (rest.n)
		json_str(j, str_cut(&rest, '\n'));
	json_end(j);
	json_end(j);
	cli_json_end(c);
}

static int
run_import(struct cli *c)
{
	struct import *m = ARENA_NEW(c->arena, struct import);
	struct err e = { 0 };
	int rc;

	if (!m)
		return cli_fail(c, CLI_TEMPORARY, "out of memory");
	m->arena = c->arena;
	m->dir = c->args[0];
	m->out = cli_opt(c, "output") ? cli_opt(c, "output") : "imported";
	rc = read_config(c, m);
	if (!rc)
		rc = make_folders(c, m->out);
	if (!rc && !(m->out = real_path(c, m->out)))
		rc = cli_fail(c, CLI_FAILED, "cannot use the folder: %s", strerror(errno));
	if (!rc && import_rules(m, &e))
		rc = cli_fail(c, CLI_FAILED, "%s", e.text);
	if (!rc)
		tell(c, m);
	strmap_done(&m->by_name);
	buf_done(&m->conf);
	buf_done(&m->report);
	return rc;
}

const struct verb cli_import[] = {
	{ "import", "postfix", "DIR", "turn a Postfix configuration into one of this system", opts, run_import,
	    .flags = VERB_NO_CONFIG,
	    .more = "Reads main.cf, master.cf and the tables that they name, and writes posthorn.conf, tables and\n"
	            "a script that makes the accounts. Each parameter is told: carried, the same here, needless,\n"
	            "or NOT CARRIED. Nothing of the Postfix installation is changed.",
	    .examples = "import postfix /etc/postfix --output /tmp/imported\n" },
	{ 0 },
};
