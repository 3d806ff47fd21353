/* COPY (RFC 3501 section 6.4.7, RFC 4315), and what MOVE shares. */
#include <errno.h>

#include "imapd/commands.h"
#include "imapd/view.h"

static void
add_uids(struct buf *b, const uint32_t *v, size_t n)
{
	size_t i, k;

	for (i = 0; i < n; i = k) {
		for (k = i + 1; k < n && v[k] == v[k - 1] + 1; k++)
			;
		if (i)
			buf_putc(b, ',');
		buf_u64(b, v[i]);
		if (k - i > 1) {
			buf_putc(b, ':');
			buf_u64(b, v[k - 1]);
		}
	}
}

static struct str
copyuid(struct imap *c, const struct store_copied *d)
{
	struct buf b = { 0 };
	struct str s;

	buf_printf(&b, "[COPYUID %u ", d->uidvalidity);
	add_uids(&b, d->from, d->n);
	buf_putc(&b, ' ');
	add_uids(&b, d->to, d->n);
	buf_puts(&b, "] Done");
	s = arena_dup(c->ar, buf_view(&b));
	buf_done(&b);
	return s;
}

enum result
copy_messages(struct imap *c, struct parse *p, bool move)
{
	struct wire_error we = { 0 };
	struct store_copied done = { 0 };
	struct store_mailbox m;
	struct seq_set set;
	struct uid_set uids;
	struct str name;
	enum result res;
	int r;

	if (!parse_sp(p) || !parse_seq_set(p, &set) || !parse_sp(p) || !parse_mailbox(p, &name) ||
	    !parse_end(p))
		return bad_args(c, p);
	if (move && c->view->readonly)
		return no(c, "[READ-ONLY] Mailbox is read-only");
	if (!messages_of(c, &set, &uids, &res))
		return res;
	if (!c->uid && view_has_ghost(c->view, &set))
		return no(c, "[EXPUNGEISSUED] Some of the messages no longer exist");
	r = mailbox_find(c, name, &m, &we);
	if (r == -ENOENT || (r == 0 && m.noselect))
		return no(c, "[TRYCREATE] No such mailbox");
	if (r == 0 && uids.n)
		r = store_copy(c->acct, c->view->mailbox, &uids, m.id, move, c->ar, &done, &we);
	if (r < 0)
		return no_store(c, r, &we);
	if (done.n == 0)
		return ok(c, move ? "MOVE completed" : "COPY completed");
	if (!move) {
		c->text = copyuid(c, &done);
		return IMAP_OK;
	}
	out_c(c, "* OK ");
	out_str(c, copyuid(c, &done));
	out_c(c, "\r\n");
	return ok(c, "MOVE completed");
}

enum result
cmd_copy(struct imap *c, struct parse *p)
{
	return copy_messages(c, p, false);
}
