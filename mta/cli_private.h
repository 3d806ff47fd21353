/* Shared by the files of the command itself: cli.c (dispatch), cli_args.c
 * (parsing), cli_help.c (help, completion), cli_out.c (what is printed). */
#ifndef MTA_CLI_PRIVATE_H
#define MTA_CLI_PRIVATE_H

#include "mta/cli.h"

/* All tables of verbs, ended by NULL. */
extern const struct verb *const cli_tables[];
/* The options that every verb takes. */
extern const struct cli_opt cli_global_opts[];

/* Calls fn for every verb in the order of the tables until it returns non-zero. */
int cli_each_verb(int (*fn)(const struct verb *v, void *arg), void *arg);
const struct verb *cli_verb_find(const char *noun, const char *sub);
bool cli_noun_exists(const char *noun);

#define CLI_VALUES 256 /* options given, recipients of `send` among them */

struct cli_values {
	const struct cli_opt *opt[CLI_VALUES];
	const char *text[CLI_VALUES];
	uint64_t number[CLI_VALUES];
	size_t n;
};

/* Parses argv (behind the program's name) into c: 0, or a status after a mistake
 * was printed. *ret_help: help was asked for. */
int cli_parse(struct cli *c, int argc, char **argv, bool *ret_help);

void cli_help_all(FILE *f);
void cli_help_noun(FILE *f, const char *noun);
void cli_help_verb(FILE *f, const struct verb *v);

extern const struct verb cli_completion[];

int cli_main(int argc, char **argv);

#endif
