/* RENAME (RFC 3501 section 6.3.5). */
#include "imapd/commands.h"

enum result
cmd_rename(struct imap *c, struct parse *p)
{
	struct wire_error we = { 0 };
	struct store_mailbox m;
	struct str from, to;
	int r;

	if (!parse_sp(p) || !parse_mailbox(p, &from) || !parse_sp(p) ||
	    !parse_mailbox_dir(p, &to) || !parse_end(p))
		return bad_args(c, p);
	if ((r = mailbox_find(c, from, &m, &we)) == 0)
		r = store_rename(c->acct, m.id, to, &we);
	return r < 0 ? no_store(c, r, &we) : ok(c, "RENAME completed");
}
