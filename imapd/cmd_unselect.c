/* UNSELECT (RFC 3691). */
#include "imapd/commands.h"

enum result
cmd_unselect(struct imap *c, struct parse *p)
{
	if (!parse_end(p))
		return bad_args(c, p);
	close_mailbox(c);
	return ok(c, "UNSELECT completed");
}
