/* LOGOUT (RFC 3501 section 6.1.3). */
#include "imapd/commands.h"

enum result
cmd_logout(struct imap *c, struct parse *p)
{
	if (!parse_end(p))
		return bad_args(c, p);
	close_mailbox(c);
	bye(c, "Logging out");
	return ok(c, "LOGOUT completed");
}
