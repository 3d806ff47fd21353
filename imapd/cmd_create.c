/* CREATE (RFC 3501 section 6.3.3). */
#include "imapd/commands.h"

enum result
cmd_create(struct imap *c, struct parse *p)
{
	struct wire_error we = { 0 };
	struct str name;
	uint32_t id;
	int r;

	if (!parse_sp(p) || !parse_mailbox_dir(p, &name) || !parse_end(p))
		return bad_args(c, p);
	r = store_create(c->acct, name, STR_NULL, &id, &we);
	return r < 0 ? no_store(c, r, &we) : ok(c, "CREATE completed");
}
