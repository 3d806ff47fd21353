/* ENABLE (RFC 5161). */
#include "imapd/commands.h"

enum result
cmd_enable(struct imap *c, struct parse *p)
{
	bool condstore = false;
	struct str what;

	do {
		if (!parse_sp(p) || !parse_atom(p, &what))
			return bad_args(c, p);
		if (str_ieq(what, STR("CONDSTORE")))
			condstore = true;
	} while (p->in.n);
	if (condstore)
		enable_condstore(c);
	out_c(c, condstore ? "* ENABLED CONDSTORE\r\n" : "* ENABLED\r\n");
	return ok(c, "ENABLE completed");
}
