/* EXAMINE (RFC 3501 section 6.3.2). */
#include "imapd/commands.h"

enum result
cmd_examine(struct imap *c, struct parse *p)
{
	return select_mailbox(c, p, true);
}
