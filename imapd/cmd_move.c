/* MOVE (RFC 6851). */
#include "imapd/commands.h"

enum result
cmd_move(struct imap *c, struct parse *p)
{
	return copy_messages(c, p, true);
}
