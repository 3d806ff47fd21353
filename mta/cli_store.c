/* posthorn store ...: looking at the mail store of a running instance, and repairing it. */
#include <errno.h>
#include <stdlib.h>

#include "lib/client/control.h"
#include "lib/client/store_admin.h"
#include "mta/cli_directory.h"
#include "mta/cli_tables.h"

#define ANSWER_MS (3600u * 1000) /* a rebuild of a large account takes its time */
#define MAILDS_MAX 64u

static const struct cli_opt check_opts[] = {
	{ "quick", OPT_FLAG, NULL, "without the database's own check" },
	{ 0 },
};
static const struct cli_opt stat_opts[] = {
	{ "mailboxes", OPT_FLAG, NULL, "with --json: the mailboxes instead of the counts" },
	{ 0 },
};

/* ---- whose account ---- */

static void
take_row(void *arg, const struct auth_row *r)
{
	struct store_admin *q = arg;

	q->account = r->account;
	q->volume = r->volume;
}

static bool
is_id(const char *s, uint64_t *ret)
{
	char *end;

	if (strlen(s) != 16)
		return false;
	*ret = strtoull(s, &end, 16);
	return !*end && *ret;
}

/* By address, or by the 16 digits that user show prints (also of a deleted account). */
static int
find_account(struct cli *c, const char *who, struct store_admin *q)
{
	struct auth_admin ask = { .op = AUTH_USER_SHOW, .name = str_c(who) };

	return is_id(who, &q->account) ? CLI_OK : cli_directory(c, &ask, take_row, q);
}

static int
ask_one(struct cli *c, unsigned n, const struct store_admin *q, int (*part)(void *, struct frame *),
    void *arg, struct err *e)
{
	struct control *ctl;
	struct buf b = { 0 };
	int rc = control_open(c->settings, ROLE_MAILD, n, &ctl, e);

	if (rc)
		return rc;
	store_admin_put(&b, q);
	rc = control_stream(ctl, MSG_STORE_ADMIN, &b, ANSWER_MS, part, arg, e);
	buf_done(&b);
	control_close(&ctl);
	return rc;
}

/* Asks the maild that serves the account: the others answer -EXDEV. */
static int
ask(struct cli *c, const struct store_admin *q, int (*part)(void *, struct frame *), void *arg)
{
	struct err e = { 0 };
	int rc = -EXDEV;

	for (unsigned n = 0; n < MAILDS_MAX && rc == -EXDEV; n++)
		rc = ask_one(c, n, q, part, arg, &e);
	return rc ? cli_fail_err(c, rc, &e) : CLI_OK;
}

/* ---- check and rebuild ---- */

static const struct cli_col finding_cols[] = {
	{ "what", false }, { "mailbox", false }, { "uid", true }, { "path", false }, { "text", false },
};

struct findings {
	struct cli *c;
	struct cli_table *t;
	uint64_t n;
};

static int
take_findings(void *arg, struct frame *f)
{
	struct findings *x = arg;
	struct str body = f->body;
	struct store_item i;
	int r;

	while ((r = store_item_next(&body, &i)) > 0) {
		if (i.kind != STORE_FINDING)
			continue;
		x->n++;
		if (!x->t)
			x->t = cli_table_new(x->c, finding_cols, sizeof finding_cols / sizeof *finding_cols);
		cli_cell(x->t, i.name);
		cli_cell(x->t, i.mailbox);
		cli_cell_u64(x->t, i.uid);
		cli_cell(x->t, i.path);
		cli_cell(x->t, i.text);
	}
	return r;
}

static int
run(struct cli *c, struct store_admin q, struct findings *x)
{
	int status = find_account(c, c->args[0], &q);

	x->c = c;
	if (c->json)
		x->t = cli_table_new(c, finding_cols, sizeof finding_cols / sizeof *finding_cols);
	if (!status)
		status = ask(c, &q, take_findings, x);
	if (x->t)
		cli_table_end(&x->t);
	return status;
}

static int
store_check(struct cli *c)
{
	struct findings x = { 0 };
	int status = run(c, (struct store_admin){ .verb = STORE_ADMIN_CHECK,
	    .deep = !cli_flag(c, "quick") }, &x);

	if (status)
		return status;
	if (x.n == 0) {
		cli_say(c, "%s: index and tree agree", c->args[0]);
		return CLI_OK;
	}
	cli_say(c, "%s: %llu findings; 'posthorn store rebuild %s' makes the index anew", c->args[0],
	    (unsigned long long)x.n, c->args[0]);
	return CLI_FAILED;
}

static int
store_rebuild(struct cli *c)
{
	struct findings x = { 0 };
	int status = run(c, (struct store_admin){ .verb = STORE_ADMIN_REBUILD }, &x);

	if (!status)
		cli_say(c, "%s: rebuilt; the old index is kept as index.db.bad", c->args[0]);
	return status;
}

/* ---- stat of an account ---- */

static const struct cli_col box_cols[] = {
	{ "mailbox", false }, { "messages", true }, { "unseen", true }, { "size", true },
	{ "uidnext", true }, { "uidvalidity", true },
};

static void
put_box(struct cli_table *t, const struct store_item *i)
{
	cli_cell(t, i->name);
	cli_cell_u64(t, i->box.total);
	cli_cell_u64(t, i->box.unseen);
	cli_cell_size(t, i->box.bytes);
	cli_cell_u64(t, i->box.uidnext);
	cli_cell_u64(t, i->box.uidvalidity);
}

/* A stat is one frame. With --json it is the counts alone, and with --mailboxes the
 * mailboxes alone; for people both. */
static int
take_stat(void *arg, struct frame *f)
{
	struct cli *c = arg;
	bool boxes = !c->json || cli_flag(c, "mailboxes");
	struct cli_table *t = boxes ? cli_table_new(c, box_cols, sizeof box_cols / sizeof *box_cols) :
	    NULL;
	struct json *j = boxes ? NULL : cli_json(c);
	struct str body = f->body, again = f->body;
	struct store_item i;
	int r;

	while ((r = store_item_next(&body, &i)) > 0)
		if (t && i.kind == STORE_BOX)
			put_box(t, &i);
	if (t)
		cli_table_end(&t);
	if (j)
		json_object(j);
	while (r == 0 && store_item_next(&again, &i) > 0) {
		if (i.kind != STORE_COUNT)
			continue;
		cli_say(c, "%-24.*s %llu", STR_ARG(i.name), (unsigned long long)i.value);
		if (j) {
			json_key(j, arena_cstr(c->arena, i.name));
			json_u64(j, i.value);
		}
	}
	if (j) {
		json_end(j);
		cli_json_end(c);
	}
	return r;
}

/* ---- stat of the store: a row for each maild ---- */

static const struct cli_col daemon_cols[] = {
	{ "maild", true }, { "volumes", true }, { "volumes_failed", true }, { "bytes_free", true },
	{ "accounts_known", true }, { "accounts_open", true }, { "sessions", true },
	{ "requests", true },
};

/* The counts come in the order of the columns. */
static int
take_daemon(void *arg, struct frame *f)
{
	struct cli_table *t = arg;
	struct str body = f->body;
	struct store_item i;
	size_t at = 1;
	int r;

	while ((r = store_item_next(&body, &i)) > 0) {
		if (i.kind != STORE_COUNT || at == sizeof daemon_cols / sizeof *daemon_cols ||
		    !str_eq(i.name, str_c(daemon_cols[at].name)))
			return -EPROTO;
		if (at++ == 3)
			cli_cell_size(t, i.value);
		else
			cli_cell_u64(t, i.value);
	}
	return r;
}

static int
stat_store(struct cli *c)
{
	struct store_admin q = { .verb = STORE_ADMIN_STAT };
	struct cli_table *t = NULL;
	struct err e = { 0 };
	struct control *ctl;
	unsigned n = 0;
	int rc;

	while (n < MAILDS_MAX && (rc = control_open(c->settings, ROLE_MAILD, n, &ctl, &e)) == 0) {
		control_close(&ctl);
		if (!t)
			t = cli_table_new(c, daemon_cols, sizeof daemon_cols / sizeof *daemon_cols);
		cli_cell_u64(t, n);
		rc = ask_one(c, n++, &q, take_daemon, t, &e);
		if (rc)
			break;
	}
	if (t)
		cli_table_end(&t);
	return n && rc == -ENOTCONN ? CLI_OK : cli_fail_err(c, rc, &e);
}

static int
store_stat(struct cli *c)
{
	struct store_admin q = { .verb = STORE_ADMIN_STAT };
	int status;

	if (c->n_args == 0)
		return stat_store(c);
	status = find_account(c, c->args[0], &q);
	return status ? status : ask(c, &q, take_stat, c);
}

const struct verb cli_store[] = {
	{ "store", "check", "ACCOUNT", "compare an account's index with its files", check_opts,
	    store_check,
	    .more = "ACCOUNT is an address, or the 16 digits that user show prints. Every difference is a "
	            "row; the exit status is then 1.",
	    .examples = "store check user1@example.test\n" },
	{ "store", "rebuild", "ACCOUNT", "make an account's index anew from its files", NULL,
	    store_rebuild,
	    .more = "Folders, UIDs and Email ids come from the names of the files, flags from the last "
	            "snapshot. Sessions of the account end." },
	{ "store", "stat", "[ACCOUNT]", "how much an account holds, or what the store does",
	    stat_opts, store_stat },
	{ 0 },
};
