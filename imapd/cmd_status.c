/* STATUS (RFC 3501 section 6.3.10, RFC 7162 section 3.1.7). */
#include "imapd/commands.h"
#include "imapd/view.h"

enum { ST_MESSAGES, ST_RECENT, ST_UIDNEXT, ST_UIDVALIDITY, ST_UNSEEN, ST_MODSEQ, ST_N };
static const char *const status_names[ST_N] = { "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY",
	"UNSEEN", "HIGHESTMODSEQ" };

static bool
status_items(struct parse *p, unsigned *ret)
{
	unsigned i;

	*ret = 0;
	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	do {
		if (*ret && !parse_sp(p))
			return false;
		for (i = 0; i < ST_N && !parse_word(p, status_names[i]); i++)
			;
		if (i == ST_N)
			return parse_fail(p, "Unknown STATUS item");
		*ret |= 1u << i;
	} while (!parse_is(p, ')'));
	return parse_char(p, ')') && parse_end(p);
}

static uint64_t
status_value(struct imap *c, const struct store_mailbox *m, unsigned i)
{
	uint32_t recent = m->uidnext > m->first_recent ? m->uidnext - m->first_recent : 0;

	switch (i) {
	case ST_MESSAGES:
		return m->total;
	case ST_RECENT:
		if (c->view && c->view->mailbox == m->id)
			return view_recent_count(c->view);
		return recent < m->total ? recent : m->total;
	case ST_UIDNEXT:
		return m->uidnext;
	case ST_UIDVALIDITY:
		return m->uidvalidity;
	case ST_UNSEEN:
		return m->unseen;
	default:
		return m->modseq;
	}
}

enum result
cmd_status(struct imap *c, struct parse *p)
{
	struct wire_error we = { 0 };
	struct store_mailbox m;
	const char *sep = " (";
	unsigned items, i;
	struct str name;
	int r;

	if (!parse_sp(p) || !parse_mailbox(p, &name) || !status_items(p, &items))
		return bad_args(c, p);
	if ((r = mailbox_find(c, name, &m, &we)) < 0)
		return no_store(c, r, &we);
	if (m.noselect)
		return no(c, "[NONEXISTENT] Mailbox cannot be selected");
	if (items & 1u << ST_MODSEQ)
		enable_condstore(c);
	out_c(c, "* STATUS ");
	out_mailbox(c, name);
	for (i = 0; i < ST_N; i++)
		if (items & 1u << i) {
			out_printf(c, "%s%s ", sep, status_names[i]);
			out_u64(c, status_value(c, &m, i));
			sep = " ";
		}
	out_c(c, ")\r\n");
	return ok(c, "STATUS completed");
}
