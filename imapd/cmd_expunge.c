/* EXPUNGE (RFC 3501 section 6.4.3) and UID EXPUNGE (RFC 4315 section 2.1). */
#include "imapd/commands.h"
#include "imapd/view.h"

enum result
cmd_expunge(struct imap *c, struct parse *p)
{
	struct wire_error we = { 0 };
	struct seq_set set;
	struct uid_set uids, gone;
	enum result res;
	uint64_t modseq;
	int r;

	if (c->uid && (!parse_sp(p) || !parse_seq_set(p, &set)))
		return bad_args(c, p);
	if (!parse_end(p))
		return bad_args(c, p);
	if (c->view->readonly)
		return no(c, "[READ-ONLY] Mailbox is read-only");
	if (c->uid && !messages_of(c, &set, &uids, &res))
		return res;
	if (c->uid && uids.n == 0)
		return ok(c, "EXPUNGE completed");
	r = store_expunge(c->acct, c->view->mailbox, c->uid ? &uids : NULL, c->ar, &gone, &modseq,
	    &we);
	return r < 0 ? no_store(c, r, &we) : ok(c, "EXPUNGE completed");
}
