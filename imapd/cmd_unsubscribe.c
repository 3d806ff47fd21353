/* UNSUBSCRIBE (RFC 3501 section 6.3.7). */
#include "imapd/commands.h"

enum result
cmd_unsubscribe(struct imap *c, struct parse *p)
{
	return subscribe(c, p, false);
}
