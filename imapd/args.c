/* Arguments that several commands have; see commands.h. */
#include "imapd/commands.h"
#include "imapd/view.h"

bool
parse_one_mailbox(struct parse *p, struct str *ret)
{
	return parse_sp(p) && parse_mailbox(p, ret) && parse_end(p);
}

bool
messages_of(struct imap *c, struct seq_set *set, struct uid_set *ret, enum result *ret_answer)
{
	if (!view_resolve(c->view, c->uid, set, c->ar)) {
		*ret_answer = bad(c, "No message of that number");
		return false;
	}
	if (view_uids(c->view, set, c->ar, ret) < 0) {
		*ret_answer = no(c, "[LIMIT] Too many messages");
		return false;
	}
	return true;
}

enum result
not_in_plaintext(struct imap *c)
{
	return no(c, "[PRIVACYREQUIRED] Not without TLS");
}
