/* SUBSCRIBE (RFC 3501 section 6.3.6). */
#include "imapd/commands.h"

enum result
subscribe(struct imap *c, struct parse *p, bool on)
{
	struct wire_error we = { 0 };
	struct str name;
	int r;

	if (!parse_one_mailbox(p, &name))
		return bad_args(c, p);
	r = store_subscribe(c->acct, name, on, &we);
	if (r < 0)
		return no_store(c, r, &we);
	return ok(c, on ? "SUBSCRIBE completed" : "UNSUBSCRIBE completed");
}

enum result
cmd_subscribe(struct imap *c, struct parse *p)
{
	return subscribe(c, p, true);
}
