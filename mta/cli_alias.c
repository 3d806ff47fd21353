/* `posthorn alias ...`: the aliases of the directory. */
#include "mta/cli_directory.h"

static int
alias_add(struct cli *c)
{
	return cli_directory_change(c, (struct auth_admin){ .op = AUTH_ALIAS_ADD,
		.targets = cli_directory_targets(c) }, "is an alias");
}

static int
alias_delete(struct cli *c)
{
	return cli_directory_change(c, (struct auth_admin){ .op = AUTH_ALIAS_DELETE,
		.targets = cli_directory_targets(c) }, c->n_args > 1 ? "changed" : "deleted");
}

static const struct cli_col columns[] = {
	{ "alias", false },
	{ "targets", false },
};

static void
list_row(void *arg, const struct auth_row *r)
{
	struct cli_table *t = arg;

	cli_cell(t, r->name);
	cli_cell(t, r->targets);
}

static int
alias_list(struct cli *c)
{
	struct auth_admin q = { .op = AUTH_ALIAS_LIST,
		.name = c->n_args ? str_c(c->args[0]) : STR_NULL };
	struct cli_table *t = cli_table_new(c, columns, sizeof columns / sizeof *columns);
	int status = cli_directory(c, &q, list_row, t);

	cli_table_end(&t);
	return status;
}

const struct verb cli_alias[] = {
	{ "alias", "add", "ALIAS TARGET...", "give addresses to an alias", NULL, alias_add,
	    .more = "ALIAS is an address of a local domain, or @DOMAIN for what nobody else there has. "
	            "An alias goes before an account of the same name.",
	    .examples = "alias add info@example.test user1@example.test user2@example.test\n"
	                "alias add @example.test user1@example.test\n" },
	{ "alias", "list", "[TEXT]", "list aliases, or those in which TEXT stands", NULL, alias_list },
	{ "alias", "delete", "ALIAS [TARGET...]", "delete an alias, or some of its addresses", NULL,
	    alias_delete },
	{ 0 },
};
