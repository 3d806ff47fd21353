/* CHECK (RFC 3501 section 6.4.1): what has been answered is kept already. */
#include "imapd/commands.h"

enum result
cmd_check(struct imap *c, struct parse *p)
{
	return parse_end(p) ? ok(c, "CHECK completed") : bad_args(c, p);
}
