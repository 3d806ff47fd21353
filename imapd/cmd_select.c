/* SELECT (RFC 3501 section 6.3.1, RFC 7162 section 3.1.8), and what EXAMINE shares. */
#include "imapd/commands.h"
#include "imapd/view.h"

/* [SP "(" "CONDSTORE" ")"] */
static bool
select_params(struct parse *p, bool *ret_condstore)
{
	if (p->in.n == 0)
		return true;
	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	if (!parse_word(p, "CONDSTORE"))
		return parse_fail(p, "Unknown SELECT parameter");
	*ret_condstore = true;
	return parse_char(p, ')');
}

static void
show(struct imap *c)
{
	const struct box *b = c->view->box;
	size_t i;

	view_put_keywords(c);
	out_printf(c, "* %zu EXISTS\r\n* %zu RECENT\r\n", view_count(c->view),
	    view_recent_count(c->view));
	for (i = 0; i < b->n && b->flags[i] & F_SEEN; i++)
		;
	if (i < b->n)
		out_printf(c, "* OK [UNSEEN %zu] First unseen\r\n", i + 1);
	out_printf(c, "* OK [UIDVALIDITY %u] UIDs valid\r\n", b->uidvalidity);
	out_printf(c, "* OK [UIDNEXT %u] Predicted next UID\r\n", b->uidnext);
	out_printf(c, "* OK [HIGHESTMODSEQ %llu] Highest\r\n", (unsigned long long)b->modseq);
}

enum result
select_mailbox(struct imap *c, struct parse *p, bool readonly)
{
	struct wire_error we = { 0 };
	struct store_mailbox m;
	bool condstore = false;
	struct str name;
	int r;

	if (!parse_sp(p) || !parse_mailbox(p, &name) || !select_params(p, &condstore) ||
	    !parse_end(p))
		return bad_args(c, p);
	close_mailbox(c); /* whether this one opens or not (RFC 3501 section 6.3.1) */
	if ((r = mailbox_find(c, name, &m, &we)) < 0)
		return no_store(c, r, &we);
	if (m.noselect)
		return no(c, "[NONEXISTENT] Mailbox cannot be selected");
	if ((r = view_open(c, m.id, readonly, &c->view, &we)) < 0)
		return no_store(c, r, &we);
	c->state = IN_SELECTED;
	c->condstore |= condstore;
	show(c);
	return ok(c, readonly ? "[READ-ONLY] EXAMINE completed" : "[READ-WRITE] SELECT completed");
}

enum result
cmd_select(struct imap *c, struct parse *p)
{
	return select_mailbox(c, p, false);
}
