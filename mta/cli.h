/*
 * The `posthorn` command: one table of verbs, from which come parsing, --help,
 * --json, shell completion and (by a test) the check of posthorn(1).
 *
 * A noun has a file of its own (cli_queue.c) that exports an array of verbs
 * ended by one with noun NULL; mta/cli.c lists the arrays. A verb's function
 * gets its arguments and options parsed and checked, prints by the helpers
 * below (which know --json and -q) and returns an exit status.
 *
 *	static const struct cli_opt list_opts[] = {
 *		{ "state", OPT_CHOICE, "active|deferred|held", "only messages in this state" },
 *		{ "limit", OPT_NUMBER, "N", "at most N messages" },
 *		{ 0 },
 *	};
 *	const struct verb cli_queue[] = {
 *		{ "queue", "list", "[ADDRESS]", "list queued messages", list_opts, queue_list,
 *		    .examples = "queue list --state held\n" },
 *		{ 0 },
 *	};
 */
#ifndef MTA_CLI_H
#define MTA_CLI_H

#include <stdio.h>

#include "lib/base/arena.h"
#include "lib/base/json.h"
#include "lib/conf/settings.h"

/* Exit statuses. */
enum {
	CLI_OK = 0,
	CLI_FAILED = 1,       /* understood, and it did not work (or was refused) */
	CLI_USAGE = 2,        /* wrong command line, or mistakes in the configuration */
	CLI_NOT_RUNNING = 3,  /* the instance, or the process that is needed, does not run */
	CLI_TEMPORARY = 75,   /* try again later */
};

enum cli_opt_type {
	OPT_FLAG,    /* --all */
	OPT_STRING,  /* --reason TEXT */
	OPT_NUMBER,  /* --limit 100 */
	OPT_SIZE,    /* --quota 5G: bytes, units as in the configuration */
	OPT_TIME,    /* --older 4h: milliseconds */
	OPT_CHOICE,  /* --new on|off: arg lists the words */
};

struct cli_opt {
	const char *name;     /* without the dashes; NULL ends the list */
	enum cli_opt_type type;
	const char *arg;      /* how help shows the value; NULL for a flag */
	const char *help;     /* without capital and full stop */
};

struct cli;

struct verb {
	const char *noun, *sub; /* "queue", "list"; sub NULL: a verb of one word */
	const char *args;     /* "ACCOUNT [KEY]", "ID...", "[PATTERN...]", or "" */
	const char *help;     /* one line, without capital and full stop */
	const struct cli_opt *opts; /* or NULL */
	int (*run)(struct cli *c);
	unsigned flags;       /* VERB_* */
	const char *more;     /* further text for --help, or NULL */
	const char *examples; /* lines without the leading "posthorn", or NULL */
};
enum {
	VERB_NO_CONFIG = 1,   /* runs without a configuration: c->settings is NULL */
	VERB_OPT_CONFIG = 2,  /* loads it by itself (cli_load_settings) */
};

/* One run of the command. */
struct cli {
	const struct verb *verb;
	char *const *args;    /* what is not an option, in order */
	size_t n_args;
	bool json, quiet;
	const char *config_path; /* DIR/posthorn.conf of -C, or the default */
	const struct settings *settings;
	struct arena *arena;  /* lives until the command ends */
	struct cli_values *values; /* of the options: use cli_opt and friends */
};

/* The options' values; asking for a name that the verb has not listed panics. */
bool cli_flag(const struct cli *c, const char *name);
const char *cli_opt(const struct cli *c, const char *name); /* NULL: not given */
/* Of an option that may be given several times: the i-th value, NULL behind the last. */
const char *cli_opt_nth(const struct cli *c, const char *name, size_t i);
uint64_t cli_opt_u64(const struct cli *c, const char *name, uint64_t not_given);

/* Loads c->settings: 0, or CLI_USAGE with all mistakes printed. */
int cli_load_settings(struct cli *c);

/* "posthorn: TEXT" on standard error (with --json an {"error":...} object on
 * standard output); returns status. */
__attribute__((format(printf, 3, 4)))
int cli_fail(struct cli *c, int status, const char *fmt, ...);
/* The same for the outcome of a control call or another library call: the
 * status is chosen by code (-ENOTCONN: CLI_NOT_RUNNING; -EAGAIN, -ETIMEDOUT,
 * -EPIPE: CLI_TEMPORARY; else CLI_FAILED). */
int cli_fail_err(struct cli *c, int code, const struct err *e);

/* A line on standard output for people: nothing with -q or --json. */
__attribute__((format(printf, 2, 3)))
void cli_say(struct cli *c, const char *fmt, ...);

/* One JSON value on standard output when --json was given: fill it, then
 * cli_json_end prints it. */
struct json *cli_json(struct cli *c);
void cli_json_end(struct cli *c);

/*
 * A table: for people aligned columns with a heading, with --json an array of
 * objects named by the columns. Rows stream: memory is bounded whatever their
 * number. Call one cell function per column and row, in order; a row ends by
 * itself. NULL or empty text shows as "-".
 */
struct cli_col {
	const char *name;     /* JSON key, and (upper case) heading */
	bool right;           /* aligned to the right: numbers */
};
struct cli_table;
struct cli_table *cli_table_new(struct cli *c, const struct cli_col *cols, size_t n);
void cli_cell(struct cli_table *t, struct str v);
void cli_cell_u64(struct cli_table *t, uint64_t v);
void cli_cell_size(struct cli_table *t, uint64_t bytes); /* 25M for people, bytes in JSON */
void cli_cell_age(struct cli_table *t, uint64_t ms);     /* 3h for people, seconds in JSON */
void cli_table_end(struct cli_table **t);

/* Reads a secret: the first line of standard input when that is not a terminal,
 * else asks twice without echo. 0 and *ret in c->arena, or a status (an error
 * was printed). */
int cli_secret(struct cli *c, const char *prompt, struct str *ret);

#endif
