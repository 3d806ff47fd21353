/* ID (RFC 2971). */
#include "imapd/commands.h"

enum result
cmd_id(struct imap *c, struct parse *p)
{
	if (!parse_sp(p) || !(parse_word(p, "NIL") || parse_skip_value(p)) || !parse_end(p))
		return bad_args(c, p);
	out_c(c, "* ID (\"name\" \"Posthorn\")\r\n");
	return ok(c, "ID completed");
}
