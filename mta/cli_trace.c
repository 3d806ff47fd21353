/*
 * posthorn trace ID|ADDRESS: the life of messages, from the log of all processes.
 *
 * Every hand-over logs the ids of both sides on one line, so a trace is a join: the lines that
 * name what was asked for give ids, the lines with these ids give more of them, until a
 * pass over the log finds no new one. Ids are those of one message (never of a session or an
 * account, in which other messages have a part), unless a session was asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/logfmt.h"
#include "lib/base/map.h"
#include "mta/cli_tables.h"

#define IDS_MAX 100000u
#define PASSES_MAX 6u

static const struct cli_opt opts[] = {
	{ "file", OPT_STRING, "FILE", "read this log, not that of the configuration; may be given several times" },
	{ "journal", OPT_FLAG, NULL, "read the journal of the unit posthorn" },
	{ "since", OPT_STRING, "TIME", "only what is not older, such as 2026-11-24 or 2026-11-24T10:00; for a journal as journalctl has it" },
	{ 0 },
};

/* Keys whose values name one message. */
static const char *const id_keys[] = { "qid", "txn", "sid", "trace", "file", "notice" };
/* Keys whose values are addresses. */
static const char *const address_keys[] = { "from", "to", "address", "user", "sender", "rcpt" };

struct trace {
	struct cli *c;
	struct str wanted;
	bool address;
	const char *since;
	struct strmap ids;
	bool grown;              /* this pass found an id */
	bool show;               /* the last pass: lines are printed */
	struct buf value;
	size_t shown;
	struct arena *row;       /* of the line that is printed */
	struct cli_table *t;
};

static bool
is_key(const char *const *keys, size_t n, struct str key)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(key, str_c(keys[i])))
			return true;
	return false;
}
#define IS_KEY(keys, key) is_key((keys), sizeof(keys) / sizeof *(keys), (key))

static void
add_id(struct trace *t, struct str id)
{
	static char present;

	if (!id.n || t->ids.n >= IDS_MAX || strmap_get(&t->ids, id))
		return;
	if (!strmap_set(&t->ids, id, &present))
		t->grown = true;
}

/* Whether the pair is what was asked for, or an id of it. */
static bool
hits(struct trace *t, struct str key, struct str value)
{
	if (IS_KEY(id_keys, key) && strmap_get(&t->ids, value))
		return true;
	if (t->address)
		return IS_KEY(address_keys, key) && str_ieq(value, t->wanted);
	return (str_eq(key, STR("session")) || str_eq(key, STR("email")) || IS_KEY(id_keys, key)) &&
	    str_ieq(value, t->wanted);
}

static bool
line_hits(struct trace *t, struct str line)
{
	struct str key;

	while (logfmt_next(&line, &key, &t->value))
		if (hits(t, key, buf_view(&t->value)))
			return true;
	return false;
}

static void
gather_ids(struct trace *t, struct str line)
{
	struct str key;

	while (logfmt_next(&line, &key, &t->value))
		if (IS_KEY(id_keys, key))
			add_id(t, buf_view(&t->value));
}

static struct str
get(struct trace *t, struct str line, const char *name)
{
	struct str key;

	while (logfmt_next(&line, &key, &t->value))
		if (str_eq(key, str_c(name)))
			return arena_dup(t->row, buf_view(&t->value));
	return STR("");
}

static void
show_line(struct trace *t, struct str line)
{
	struct str rest = line, all = line;

	cli_cell(t->t, get(t, line, "ts"));
	cli_cell(t->t, get(t, line, "p"));
	cli_cell(t->t, get(t, line, "ev"));
	while (rest.n) { /* what stands behind the event */
		struct str w = str_word(&rest);

		if (str_starts(w, STR("ev=")))
			all = str_trim(rest);
	}
	cli_cell(t->t, all);
	t->shown++;
	arena_reset(t->row);
}

static void
take_line(struct trace *t, struct str line)
{
	ptrdiff_t at = str_find(line, STR("ts="));

	if (at < 0)
		return; /* not one of ours, or a line as Postfix has it */
	line = str_trim(str_skip(line, (size_t)at));
	if (t->since && strncmp(line.p + 3, t->since, strlen(t->since)) < 0)
		return;
	if (!line_hits(t, line))
		return;
	if (t->show)
		show_line(t, line);
	else
		gather_ids(t, line);
}

static int
read_lines(struct trace *t, FILE *f, const char *name)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = 0;

	while ((n = getline(&line, &cap, f)) > 0)
		take_line(t, str_from(line, (size_t)n));
	if (ferror(f))
		rc = cli_fail(t->c, CLI_FAILED, "cannot read %s: %s", name, strerror(errno));
	free(line);
	return rc;
}

static int
read_file(struct trace *t, const char *path)
{
	FILE *f = fopen(path, "re");
	int rc;

	if (!f)
		return cli_fail(t->c, CLI_FAILED, "cannot read the log %s: %s", path, strerror(errno));
	rc = read_lines(t, f, path);
	fclose(f);
	return rc;
}

static int
read_journal(struct trace *t)
{
	const char *since = cli_opt(t->c, "since");
	int p[2], status = 0, rc;
	FILE *f;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return cli_fail(t->c, CLI_TEMPORARY, "cannot start journalctl: %s", strerror(errno));
	if (pid == 0) {
		dup2(p[1], 1);
		execlp("journalctl", "journalctl", "--quiet", "--no-pager", "--output=cat", "--unit=posthorn",
		    since ? "--since" : (char *)NULL, since, (char *)NULL);
		_exit(127);
	}
	close(p[1]);
	f = fdopen(p[0], "r");
	rc = f ? read_lines(t, f, "the journal") : CLI_TEMPORARY;
	if (f)
		fclose(f);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!rc && (!WIFEXITED(status) || WEXITSTATUS(status)))
		return cli_fail(t->c, CLI_FAILED, "journalctl failed; is this user allowed to read the journal?");
	return rc;
}

static int
read_log(struct trace *t, const char *config_file)
{
	const char *path;
	int rc = 0;

	if (cli_flag(t->c, "journal"))
		return read_journal(t);
	if (!cli_opt(t->c, "file"))
		return read_file(t, config_file);
	for (size_t i = 0; !rc && (path = cli_opt_nth(t->c, "file", i)); i++)
		rc = read_file(t, path);
	return rc;
}

static int
join(struct trace *t, const char *config_file)
{
	int rc = 0;

	for (unsigned pass = 0; !rc && pass < PASSES_MAX; pass++) {
		t->grown = false;
		rc = read_log(t, config_file);
		if (!t->grown)
			break;
	}
	t->show = true;
	return rc ? rc : read_log(t, config_file);
}

/* Ids are 16 hexadecimal digits in the log, and may be given without leading zeros or in
 * capitals, as mailq shows them. */
static struct str
normal_id(struct str given, char out[static 17])
{
	size_t pad = given.n < 16 ? 16 - given.n : 0;

	for (size_t i = 0; i < given.n; i++)
		if (!ascii_isdigit(given.p[i]) && !(ascii_lower(given.p[i]) >= 'a' && ascii_lower(given.p[i]) <= 'f'))
			return given;
	if (given.n > 16)
		return given;
	memset(out, '0', pad);
	for (size_t i = 0; i < given.n; i++)
		out[pad + i] = ascii_lower(given.p[i]);
	return str_from(out, 16);
}

static int
run_trace(struct cli *c)
{
	static const struct cli_col cols[] = {
		{ "time", false }, { "process", false }, { "event", false }, { "what", false },
	};
	struct trace t = { .c = c, .wanted = str_c(c->args[0]) };
	char id[17], file[4096];
	int rc;

	snprintf(file, sizeof file, "%.*s", STR_ARG(c->settings->log_file));
	if (!(t.row = arena_new(0)))
		return cli_fail(c, CLI_TEMPORARY, "out of memory");
	t.since = cli_flag(c, "journal") ? NULL : cli_opt(c, "since");
	t.address = str_chr(t.wanted, '@') >= 0;
	if (!*file && !cli_flag(c, "journal") && !cli_opt(c, "file"))
		return cli_fail(c, CLI_USAGE, "the log goes to standard error: give --journal, or --file FILE");
	if (!t.address)
		add_id(&t, normal_id(t.wanted, id));
	t.t = cli_table_new(c, cols, sizeof cols / sizeof *cols);
	rc = join(&t, file);
	cli_table_end(&t.t);
	strmap_done(&t.ids);
	arena_free(&t.row);
	buf_done(&t.value);
	if (!rc && !t.shown)
		return cli_fail(c, CLI_FAILED, "the log has nothing about '%s'", c->args[0]);
	return rc;
}

const struct verb cli_trace[] = {
	{ "trace", NULL, "ID|ADDRESS", "show the life of messages, from the log of all processes", opts,
	    run_trace,
	    .more = "ID is a queue id, a session's or transaction's id as the log and Received fields have it,\n"
	            "or an email id; ADDRESS a sender or recipient, of all of whose messages is told.",
	    .examples = "trace 00066103e38d9e03\ntrace user1@example.test --since 2026-11-24\n" },
	{ 0 },
};
