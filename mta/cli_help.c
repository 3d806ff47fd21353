/* Help and shell completion, both from the table of verbs. */
#include <stdio.h>

#include "lib/conf/table.h"
#include "mta/cli_private.h"

static int
help_line(const struct verb *v, void *arg)
{
	char left[80];

	snprintf(left, sizeof left, "%s%s%s%s%s", v->noun, v->sub ? " " : "", v->sub ? v->sub : "",
	    *v->args ? " " : "", v->args);
	fprintf(arg, "  %-34s %s\n", left, v->help);
	return 0;
}

void
cli_help_all(FILE *f)
{
	fputs("usage: posthorn [-C DIR|FILE] [--json] [-q] VERB ...\n\n", f);
	cli_each_verb(help_line, f);
	fputs("\n  -C DIR|FILE   the instance: its directory or its configuration file\n"
	      "                (default " SYSCONFDIR "/posthorn/posthorn.conf)\n"
	      "  --json        print JSON\n"
	      "  -q, --quiet   print nothing but errors and what was asked for\n"
	      "  -h, --help    print this, or help of a verb\n\n"
	      "Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 not running,\n"
	      "75 try again later. See posthorn(1).\n", f);
}

struct noun_help {
	FILE *f;
	const char *noun;
};

static int
noun_line(const struct verb *v, void *arg)
{
	struct noun_help *h = arg;

	if (strcmp(v->noun, h->noun) == 0)
		help_line(v, h->f);
	return 0;
}

void
cli_help_noun(FILE *f, const char *noun)
{
	struct noun_help h = { f, noun };

	fprintf(f, "usage: posthorn %s VERB ...\n\n", noun);
	cli_each_verb(noun_line, &h);
}

static void
help_examples(FILE *f, const char *examples)
{
	struct str rest = str_c(examples), line;

	fputs("\nExamples:\n", f);
	while (rest.p && rest.n) {
		line = str_cut(&rest, '\n');
		if (line.n)
			fprintf(f, "  posthorn %.*s\n", STR_ARG(line));
	}
}

void
cli_help_verb(FILE *f, const struct verb *v)
{
	fprintf(f, "usage: posthorn %s%s%s%s%s%s\n\n%c%s.\n", v->noun, v->sub ? " " : "",
	    v->sub ? v->sub : "", v->opts ? " [OPTION...]" : "", *v->args ? " " : "", v->args,
	    ascii_upper(v->help[0]), v->help + 1);
	if (v->more)
		fprintf(f, "\n%s\n", v->more);
	if (v->opts)
		fputs("\nOptions:\n", f);
	for (const struct cli_opt *o = v->opts; o && o->name; o++) {
		char left[80];

		snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "",
		    o->arg ? o->arg : "");
		fprintf(f, "  %-26s %s\n", left, o->help);
	}
	if (v->examples)
		help_examples(f, v->examples);
}

/* ---- completion ---- */

static void
opt_words(const struct verb *v, const char *before)
{
	for (const struct cli_opt *o = v->opts; o && o->name; o++)
		printf("%s--%s", before, o->name);
	for (const struct cli_opt *o = cli_global_opts; o->name; o++)
		printf("%s--%s", before, o->name);
}

static int
bash_verb(const struct verb *v, void *arg)
{
	printf("\t'%s%s%s') words='", v->noun, v->sub ? " " : "", v->sub ? v->sub : "");
	opt_words(v, " ");
	if (strcmp(v->noun, "config") == 0)
		for (size_t i = 0; i < conf_n_rows; i++)
			printf(" %s%s%s", conf_rows[i].block, *conf_rows[i].block ? "." : "",
			    conf_rows[i].name);
	puts("' ;;");
	return 0;
}

/* First words, each once; or the second words of a noun. */
struct words {
	const char *noun, *last;
};

static int
print_word(const struct verb *v, void *arg)
{
	struct words *w = arg;

	if (w->noun ? strcmp(w->noun, v->noun) == 0 && v->sub :
	    !w->last || strcmp(w->last, v->noun))
		printf(" %s", w->noun ? v->sub : v->noun);
	w->last = v->noun;
	return 0;
}

static int
bash_noun(const struct verb *v, void *arg)
{
	struct words *seen = arg, of = { v->noun, NULL };

	if (v->sub && (!seen->last || strcmp(seen->last, v->noun))) {
		printf("\t'%s') words='", v->noun);
		cli_each_verb(print_word, &of);
		puts("' ;;");
	}
	seen->last = v->noun;
	return 0;
}

static void
bash(void)
{
	struct words all = { 0 }, seen = { 0 };

	fputs("# bash completion of posthorn: posthorn completion bash\n"
	      "_posthorn() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} words='' verb='' i\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t-C) ((i++)) ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) verb=${verb:+$verb }${COMP_WORDS[i]} ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\t[[ $verb == *' '*' '* ]] && verb=$(echo \"$verb\" | cut -d' ' -f1-2)\n"
	      "\tcase $verb in\n"
	      "\t'') words='-C", stdout);
	cli_each_verb(print_word, &all);
	puts("' ;;");
	cli_each_verb(bash_noun, &seen);
	cli_each_verb(bash_verb, NULL);
	fputs("\tesac\n"
	      "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	      "\t[[ ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"$cur\"))\n"
	      "}\n"
	      "complete -F _posthorn posthorn\n", stdout);
}

static int
fish_verb(const struct verb *v, void *arg)
{
	struct words *seen = arg;

	if (v->sub) {
		if (!seen->last || strcmp(seen->last, v->noun))
			printf("complete -c posthorn -f -n __fish_use_subcommand -a %s\n", v->noun);
		printf("complete -c posthorn -f -n '__fish_seen_subcommand_from %s' -a %s -d \"%s\"\n",
		    v->noun, v->sub, v->help);
	} else {
		printf("complete -c posthorn -f -n __fish_use_subcommand -a %s -d \"%s\"\n", v->noun,
		    v->help);
	}
	for (const struct cli_opt *o = v->opts; o && o->name; o++)
		printf("complete -c posthorn -n '__fish_seen_subcommand_from %s' -l %s%s -d \"%s\"\n",
		    v->sub ? v->sub : v->noun, o->name, o->arg ? " -r" : "", o->help);
	seen->last = v->noun;
	return 0;
}

static void
fish(void)
{
	struct words seen = { 0 };

	puts("# fish completion of posthorn: posthorn completion fish\n"
	     "complete -c posthorn -s C -r -d \"directory or configuration of the instance\"\n"
	     "complete -c posthorn -l json -d \"print JSON\"\n"
	     "complete -c posthorn -s q -l quiet -d \"print errors only\"\n"
	     "complete -c posthorn -s h -l help -d \"print help\"");
	cli_each_verb(fish_verb, &seen);
}

static void
zsh(void)
{
	puts("#compdef posthorn\n"
	     "# zsh completion of posthorn: posthorn completion zsh\n"
	     "autoload -U +X bashcompinit && bashcompinit");
	bash();
}

static int
completion(struct cli *c)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

	for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
		if (strcmp(c->args[0], shells[i].name) == 0) {
			shells[i].fn();
			return CLI_OK;
		}
	return cli_fail(c, CLI_USAGE, "'%s' is none of bash, zsh, fish", c->args[0]);
}

const struct verb cli_completion[] = {
	{ "completion", NULL, "SHELL", "print shell completion for bash, zsh or fish", NULL, completion,
	    .flags = VERB_NO_CONFIG, .examples = "completion bash > /etc/bash_completion.d/posthorn\n" },
	{ 0 },
};
