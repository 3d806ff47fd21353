/* DELETE (RFC 3501 section 6.3.4). */
#include "imapd/commands.h"
#include "imapd/view.h"

enum result
cmd_delete(struct imap *c, struct parse *p)
{
	struct wire_error we = { 0 };
	struct store_mailbox m;
	struct str name;
	int r;

	if (!parse_one_mailbox(p, &name))
		return bad_args(c, p);
	if ((r = mailbox_find(c, name, &m, &we)) == 0)
		r = store_delete(c->acct, m.id, &we);
	if (r < 0)
		return no_store(c, r, &we);
	if (c->view && c->view->mailbox == m.id)
		close_mailbox(c);
	return ok(c, "DELETE completed");
}
