/* NAMESPACE (RFC 2342). */
#include "imapd/commands.h"

enum result
cmd_namespace(struct imap *c, struct parse *p)
{
	if (!parse_end(p))
		return bad_args(c, p);
	out_c(c, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	return ok(c, "NAMESPACE completed");
}
