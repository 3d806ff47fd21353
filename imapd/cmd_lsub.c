/* LSUB (RFC 3501 section 6.3.9). */
#include "imapd/commands.h"
#include "imapd/pattern.h"
#include "imapd/tree.h"

/* Whether something below the node is subscribed to and does not match itself. */
static bool
hides_subscribed(const struct tree *t, size_t at, const struct pattern *pat)
{
	size_t i;

	for (i = at + 1; i < t->v[at].end; i++)
		if (t->v[i].subscribed && !pattern_match(pat, t->v[i].wire))
			return true;
	return false;
}

static void
show(struct imap *c, const struct tree_node *x, bool noselect)
{
	out_c(c, noselect ? "* LSUB (\\Noselect) \"/\" " : "* LSUB () \"/\" ");
	out_astring(c, x->wire);
	out_c(c, "\r\n");
}

enum result
cmd_lsub(struct imap *c, struct parse *p)
{
	struct str ref, text;
	struct pattern pat;
	struct tree t;
	enum result r;
	size_t i;

	if (!parse_sp(p) || !parse_astring(p, &ref) || !parse_sp(p) ||
	    !parse_list_mailbox(p, &text) || !parse_end(p))
		return bad_args(c, p);
	if ((r = mailbox_tree(c, &t)) != IMAP_OK)
		return r;
	if (!pattern_make(&pat, ref, text, c->ar))
		return no(c, "[LIMIT] Out of memory");
	for (i = 0; i < t.n; i++) {
		breathe(c);
		if (!pattern_match(&pat, t.v[i].wire))
			continue;
		if (t.v[i].subscribed)
			show(c, &t.v[i], t.v[i].noselect);
		else if (pat.percent && hides_subscribed(&t, i, &pat))
			show(c, &t.v[i], true);
	}
	return ok(c, "LSUB completed");
}
