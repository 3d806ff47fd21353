/*
 * The `posthorn` command; see cli.h. A new noun: its file, its table below, and
 * its verbs in posthorn(1) (a test compares).
 */
#include "mta/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "mta/cli_private.h"
#include "mta/cli_tables.h"

const struct verb *const cli_tables[] = {
	CLI_NOUNS cli_completion, NULL,
};

int
cli_each_verb(int (*fn)(const struct verb *v, void *arg), void *arg)
{
	for (size_t i = 0; cli_tables[i]; i++)
		for (const struct verb *v = cli_tables[i]; v->noun; v++) {
			int r = fn(v, arg);

			if (r)
				return r;
		}
	return 0;
}

/* -C: the directory of an instance, or a configuration file. */
static const char *
config_path(struct arena *a, const char *given)
{
	struct stat st;

	if (!given)
		return SYSCONFDIR "/posthorn/posthorn.conf";
	if (stat(given, &st) == 0 && !S_ISDIR(st.st_mode))
		return given;
	if (stat(given, &st) && strlen(given) > 5 &&
	    strcmp(given + strlen(given) - 5, ".conf") == 0)
		return given;
	return arena_printf(a, "%s/posthorn.conf", given).p;
}

static void
errors_json(struct cli *c, const struct conf_errors *errors)
{
	struct json *j = cli_json(c);

	json_object(j);
	json_key(j, "errors");
	json_array(j);
	for (size_t i = 0; i < errors->n; i++) {
		const struct conf_error *e = &errors->v[i];

		json_object(j);
		json_key(j, "file");
		json_str(j, e->file);
		json_key(j, "line");
		json_u64(j, e->line);
		json_key(j, "column");
		json_u64(j, e->col);
		json_key(j, "severity");
		json_str(j, e->warning ? STR("warning") : STR("error"));
		json_key(j, "text");
		json_str(j, e->text);
		json_end(j);
	}
	json_end(j);
	json_end(j);
	cli_json_end(c);
}

static void
errors_print(const struct conf_errors *errors, bool warnings)
{
	struct buf b = { 0 };

	for (size_t i = 0; i < errors->n; i++)
		if (warnings || !errors->v[i].warning)
			conf_error_put(&b, &errors->v[i]);
	fwrite(b.p, 1, b.n, stderr);
	buf_done(&b);
}

/* Warnings are shown by the verbs that look at the configuration by themselves
 * (check, config check, start), errors by every verb. */
int
cli_load_settings(struct cli *c)
{
	struct conf_errors errors;
	bool warnings = c->verb->flags & VERB_OPT_CONFIG;

	c->settings = settings_load(c->config_path, c->arena, &errors);
	if (c->settings && (!warnings || c->json))
		return 0;
	if (c->json && !c->settings)
		errors_json(c, &errors);
	else if (!c->quiet || !c->settings)
		errors_print(&errors, warnings);
	return c->settings ? 0 : CLI_USAGE;
}

static int
run(struct cli *c)
{
	int r = 0;

	if (!(c->verb->flags & (VERB_NO_CONFIG | VERB_OPT_CONFIG)))
		r = cli_load_settings(c);
	if (r == 0)
		r = c->verb->run(c);
	if (fflush(stdout) || ferror(stdout))
		r = r ? r : CLI_FAILED;
	return r;
}

static void
help(const struct cli *c, int argc, char **argv)
{
	if (c->verb)
		cli_help_verb(stdout, c->verb);
	else if (c->n_args && cli_noun_exists(c->args[0]))
		cli_help_noun(stdout, c->args[0]);
	else
		cli_help_all(stdout);
}

int
cli_main(int argc, char **argv)
{
	struct cli_values values = { .n = 0 };
	struct cli c = { .values = &values, .arena = arena_new(0) };
	struct settings *s;
	bool want_help;
	int r;

	if (!c.arena)
		return CLI_TEMPORARY;
	r = cli_parse(&c, argc - 1, argv + 1, &want_help);
	if (r == 0 && want_help) {
		help(&c, argc, argv);
	} else if (r == 0) {
		c.config_path = config_path(c.arena, c.config_path);
		r = run(&c);
	}
	s = (struct settings *)(uintptr_t)c.settings;
	settings_free(&s);
	arena_free(&c.arena);
	return r;
}
