/* CAPABILITY (RFC 3501 section 6.1.1). */
#include "imapd/commands.h"

enum result
cmd_capability(struct imap *c, struct parse *p)
{
	struct buf b = { 0 };

	if (!parse_end(p))
		return bad_args(c, p);
	capabilities(c, &b);
	out_c(c, "* CAPABILITY ");
	out_str(c, buf_view(&b));
	out_c(c, "\r\n");
	buf_done(&b);
	return ok(c, "CAPABILITY completed");
}
