/* CLOSE (RFC 3501 section 6.4.2). */
#include "imapd/commands.h"
#include "imapd/view.h"

enum result
cmd_close(struct imap *c, struct parse *p)
{
	struct wire_error we = { 0 };
	struct uid_set gone;
	uint64_t modseq;
	int r = 0;

	if (!parse_end(p))
		return bad_args(c, p);
	if (!c->view->readonly)
		r = store_expunge(c->acct, c->view->mailbox, NULL, c->ar, &gone, &modseq, &we);
	if (r < 0)
		return no_store(c, r, &we);
	close_mailbox(c);
	return ok(c, "CLOSE completed");
}
