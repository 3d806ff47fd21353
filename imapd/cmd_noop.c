/* NOOP (RFC 3501 section 6.1.2): the news that come with every answer are all. */
#include "imapd/commands.h"

enum result
cmd_noop(struct imap *c, struct parse *p)
{
	return parse_end(p) ? ok(c, "NOOP completed") : bad_args(c, p);
}
