/* `posthorn domain ...`: the domains of the directory. */
#include "mta/cli_directory.h"

static const struct cli_opt add_opts[] = {
	{ "postmaster", OPT_STRING, "ADDRESS", "the account that gets the domain's postmaster mail" },
	{ 0 },
};

static int
domain_add(struct cli *c)
{
	return cli_directory_change(c, (struct auth_admin){ .op = AUTH_DOMAIN_ADD,
		.postmaster = str_c(cli_opt(c, "postmaster")) }, "is a local domain");
}

static int
domain_delete(struct cli *c)
{
	return cli_directory_change(c, (struct auth_admin){ .op = AUTH_DOMAIN_DELETE }, "deleted");
}

static const struct cli_col columns[] = {
	{ "domain", false },
	{ "users", true },
	{ "postmaster", false },
	{ "from", false },
};

static void
list_row(void *arg, const struct auth_row *r)
{
	struct cli_table *t = arg;

	cli_cell(t, r->name);
	cli_cell_u64(t, r->accounts);
	cli_cell(t, r->postmaster);
	cli_cell(t, r->configured ? STR("configuration") : STR("directory"));
}

static int
domain_list(struct cli *c)
{
	struct auth_admin q = { .op = AUTH_DOMAIN_LIST };
	struct cli_table *t = cli_table_new(c, columns, sizeof columns / sizeof *columns);
	int status = cli_directory(c, &q, list_row, t);

	cli_table_end(&t);
	return status;
}

const struct verb cli_domain[] = {
	{ "domain", "add", "DOMAIN", "take mail for a domain, or set its postmaster", add_opts,
	    domain_add,
	    .more = "Without --postmaster, mail to the domain's postmaster goes to its oldest account.",
	    .examples = "domain add example.test --postmaster user1@example.test\n" },
	{ "domain", "list", "", "list the local domains", NULL, domain_list },
	{ "domain", "delete", "DOMAIN", "stop taking mail for a domain that has no users", NULL,
	    domain_delete },
	{ 0 },
};
