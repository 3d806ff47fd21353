/* `posthorn user ...`: the accounts of the directory. */
#include "lib/base/clock.h"
#include "mta/cli_directory.h"
#include "mta/password.h"

static const struct cli_opt add_opts[] = {
	{ "password", OPT_STRING, "TEXT", "the password; only in a sandbox" },
	{ "quota", OPT_SIZE, "SIZE", "how much mail the account may hold; 0: no limit" },
	{ 0 },
};
static const struct cli_opt passwd_opts[] = {
	{ "password", OPT_STRING, "TEXT", "the password; only in a sandbox" },
	{ 0 },
};
static const struct cli_opt forward_opts[] = {
	{ "keep", OPT_FLAG, NULL, "store the mail too" },
	{ 0 },
};
static const struct cli_opt delete_opts[] = {
	{ "purge", OPT_FLAG, NULL, "remove the account's mail too" },
	{ 0 },
};

/* --password in a sandbox, else from standard input. */
static int
get_password(struct cli *c, struct str *ret)
{
	const char *given = cli_opt(c, "password");

	if (!given)
		return cli_secret(c, "Password", ret);
	if (!c->settings->sandbox)
		return cli_fail(c, CLI_USAGE,
		    "--password is for sandboxes: others see it in the list of processes");
	*ret = str_c(given);
	return CLI_OK;
}

static int
user_add(struct cli *c)
{
	struct auth_admin q = { .op = AUTH_USER_ADD,
		.quota = cli_opt_u64(c, "quota", AUTH_QUOTA_DEFAULT) };
	int status = get_password(c, &q.password);

	return status ? status : cli_directory_change(c, q, "added");
}

static int
user_passwd(struct cli *c)
{
	struct auth_admin q = { .op = AUTH_USER_PASSWD };
	int status = get_password(c, &q.password);

	return status ? status : cli_directory_change(c, q, "has a new password");
}

static int
user_delete(struct cli *c)
{
	bool purge = cli_flag(c, "purge");

	return cli_directory_change(c, (struct auth_admin){ .op = AUTH_USER_DELETE, .purge = purge },
	    purge ? "deleted with all mail" : "deleted; its mail is kept");
}

static int
user_suspend(struct cli *c)
{
	return cli_directory_change(c, (struct auth_admin){ .op = AUTH_USER_SUSPEND }, "suspended");
}

static int
user_resume(struct cli *c)
{
	return cli_directory_change(c, (struct auth_admin){ .op = AUTH_USER_RESUME }, "resumed");
}

static int
user_quota(struct cli *c)
{
	struct auth_admin q = { .op = AUTH_USER_QUOTA,
		.quota = cli_opt_u64(c, "quota", AUTH_QUOTA_DEFAULT) };

	return cli_directory_change(c, q, "has a new quota");
}

static int
user_forward(struct cli *c)
{
	struct auth_admin q = { .op = AUTH_USER_FORWARD, .targets = cli_directory_targets(c),
		.keep = cli_flag(c, "keep") };

	return cli_directory_change(c, q, q.targets.n ? "is forwarded" : "is not forwarded any more");
}

static const struct cli_col columns[] = {
	{ "address", false },
	{ "state", false },
	{ "quota", true },
	{ "account", false },
	{ "slot", true },
};

static const char *
state_name(enum auth_state s)
{
	return s == AUTH_SUSPENDED ? "suspended" : "active";
}

static uint64_t
quota_of(const struct cli *c, const struct auth_row *r)
{
	return r->quota == AUTH_QUOTA_DEFAULT ? c->settings->default_quota : r->quota;
}

struct listing {
	struct cli *c;
	struct cli_table *t;
};

static void
list_row(void *arg, const struct auth_row *r)
{
	struct listing *l = arg;
	uint64_t quota = quota_of(l->c, r);

	cli_cell(l->t, r->name);
	cli_cell(l->t, str_c(state_name(r->state)));
	if (quota)
		cli_cell_size(l->t, quota);
	else
		cli_cell(l->t, STR_NULL);
	cli_cell(l->t, arena_printf(l->c->arena, "%016llx", (unsigned long long)r->account));
	cli_cell_u64(l->t, r->slot);
}

static int
user_list(struct cli *c)
{
	struct auth_admin q = { .op = AUTH_USER_LIST,
		.name = c->n_args ? str_c(c->args[0]) : STR_NULL };
	struct listing l = { c, cli_table_new(c, columns, sizeof columns / sizeof *columns) };
	int status = cli_directory(c, &q, list_row, &l);

	cli_table_end(&l.t);
	return status;
}

static void
show_row(void *arg, const struct auth_row *r)
{
	struct cli *c = arg;
	char created[25], changed[25];
	struct json *j;

	clock_iso(r->created_ms * 1000, created);
	clock_iso(r->changed_ms * 1000, changed);
	cli_say(c, "address           %.*s", STR_ARG(r->name));
	cli_say(c, "state             %s", state_name(r->state));
	cli_say(c, "quota             %llu%s", (unsigned long long)quota_of(c, r),
	    r->quota == AUTH_QUOTA_DEFAULT ? " (default-quota)" : "");
	cli_say(c, "account           %016llx", (unsigned long long)r->account);
	cli_say(c, "volume, slot      %u, %u", r->volume, r->slot);
	if (r->targets.n)
		cli_say(c, "forwarded to      %.*s%s", STR_ARG(r->targets), r->keep ? " (and kept)" : "");
	cli_say(c, "created           %s", created);
	cli_say(c, "password changed  %s", changed);
	if (!c->json)
		return;
	j = cli_json(c);
	json_object(j);
	json_key(j, "address");
	json_str(j, r->name);
	json_key(j, "state");
	json_str(j, str_c(state_name(r->state)));
	json_key(j, "quota");
	json_u64(j, quota_of(c, r));
	json_key(j, "account");
	json_str(j, arena_printf(c->arena, "%016llx", (unsigned long long)r->account));
	json_key(j, "volume");
	json_u64(j, r->volume);
	json_key(j, "slot");
	json_u64(j, r->slot);
	json_key(j, "forwarded_to");
	json_str(j, r->targets);
	json_key(j, "keep");
	json_bool(j, r->keep);
	json_key(j, "created");
	json_str(j, str_c(created));
	json_key(j, "password_changed");
	json_str(j, str_c(changed));
	json_end(j);
	cli_json_end(c);
}

static int
user_show(struct cli *c)
{
	struct auth_admin q = { .op = AUTH_USER_SHOW, .name = str_c(c->args[0]) };

	return cli_directory(c, &q, show_row, c);
}

/* ---- app passwords ---- */

static const struct cli_col app_columns[] = {
	{ "label", false },
	{ "created", false },
};

static void
app_row(void *arg, const struct auth_row *r)
{
	struct listing *l = arg;
	char created[25];

	clock_iso(r->changed_ms * 1000, created);
	cli_cell(l->t, r->name);
	cli_cell(l->t, arena_dup(l->c->arena, str_c(created)));
}

static int
app_list(struct cli *c, struct auth_admin q)
{
	struct listing l = { c, cli_table_new(c, app_columns, sizeof app_columns / sizeof *app_columns) };
	int status;

	q.op = AUTH_APP_LIST;
	status = cli_directory(c, &q, app_row, &l);
	cli_table_end(&l.t);
	return status;
}

/* The password is made here, told once, and kept as a hash only. */
static int
app_add(struct cli *c, struct auth_admin q)
{
	char password[PASSWORD_APP_SIZE + 1];
	int status;

	if (password_app_new(password))
		return cli_fail(c, CLI_FAILED, "no random bytes");
	q.op = AUTH_APP_ADD;
	q.password = str_c(password);
	status = cli_directory(c, &q, NULL, NULL);
	if (!status && c->json) {
		struct json *j = cli_json(c);

		json_object(j);
		json_key(j, "password");
		json_str(j, q.password);
		json_end(j);
		cli_json_end(c);
	}
	if (!status)
		cli_say(c, "%s", password);
	password_wipe(password, sizeof password);
	return status;
}

static int
app_delete(struct cli *c, struct auth_admin q)
{
	int status;

	q.op = AUTH_APP_DELETE;
	status = cli_directory(c, &q, NULL, NULL);
	if (!status)
		cli_say(c, "app password '%s' of %s deleted", c->args[2], c->args[1]);
	return status;
}

static int
user_app_password(struct cli *c)
{
	struct auth_admin q = { .name = str_c(c->args[1]) };
	struct str what = str_c(c->args[0]);

	if (c->n_args > 2)
		q.label = str_c(c->args[2]);
	if (str_eq(what, STR("list")) && !q.label.n)
		return app_list(c, q);
	if (str_eq(what, STR("add")) && q.label.n)
		return app_add(c, q);
	if (str_eq(what, STR("delete")) && q.label.n)
		return app_delete(c, q);
	return cli_fail(c, CLI_USAGE, "add ADDRESS LABEL, list ADDRESS, or delete ADDRESS LABEL");
}

const struct verb cli_user[] = {
	{ "user", "add", "ADDRESS", "add an account", add_opts, user_add,
	    .more = "The password is the first line of standard input; at a terminal it is asked for.",
	    .examples = "user add user1@example.test --quota 5G\n" },
	{ "user", "list", "[TEXT]", "list accounts, or those whose address has TEXT", NULL,
	    user_list },
	{ "user", "show", "ADDRESS", "show an account", NULL, user_show },
	{ "user", "passwd", "ADDRESS", "set a new password and end the account's sessions",
	    passwd_opts, user_passwd },
	{ "user", "quota", "ADDRESS", "set the quota; without --quota the default-quota", &add_opts[1],
	    user_quota },
	{ "user", "forward", "ADDRESS [TARGET...]", "send the account's mail on, or stop that",
	    forward_opts, user_forward,
	    .more = "Without TARGET mail is stored again and sent on no more. A message from elsewhere "
	            "goes on with a return path of ours (SRS).",
	    .examples = "user forward user1@example.test user1@example.org --keep\n" },
	{ "user", "suspend", "ADDRESS", "end the sessions; no log-in and no new mail", NULL,
	    user_suspend },
	{ "user", "resume", "ADDRESS", "undo suspend", NULL, user_resume },
	{ "user", "delete", "ADDRESS", "delete an account", delete_opts, user_delete,
	    .more = "The mail stays in the store unless --purge is given. The account's id is never "
	            "used again." },
	{ "user", "app-password", "add|list|delete ADDRESS [LABEL]",
	    "passwords for single programs of the user's", NULL, user_app_password,
	    .more = "A new one is made and printed, once. It logs in beside the account's own password, "
	            "by PLAIN and LOGIN. Deleting one ends the account's sessions.",
	    .examples = "user app-password add user1@example.test phone\n" },
	{ 0 },
};
