/* STORE (RFC 3501 section 6.4.6, RFC 7162 section 3.1.3). */
#include "imapd/commands.h"
#include "imapd/view.h"

struct store_args {
	struct seq_set set;
	enum store_flag_op op;
	bool silent, conditional;
	uint64_t unchanged_since;
	struct flag_args flags;
};

static bool
unchanged_since(struct parse *p, struct store_args *a)
{
	a->unchanged_since = UINT64_MAX;
	if (!parse_is(p, '('))
		return true;
	a->conditional = true;
	if (!parse_char(p, '('))
		return false;
	if (!parse_word(p, "UNCHANGEDSINCE"))
		return parse_fail(p, "Unknown STORE modifier");
	return parse_sp(p) && parse_modseq(p, &a->unchanged_since) && parse_char(p, ')') &&
	    parse_sp(p);
}

static bool
store_args(struct parse *p, struct store_args *a)
{
	static const struct {
		const char *name;
		enum store_flag_op op;
		bool silent;
	} t[] = { { "FLAGS", FLAGS_SET, false }, { "FLAGS.SILENT", FLAGS_SET, true },
		{ "+FLAGS", FLAGS_ADD, false }, { "+FLAGS.SILENT", FLAGS_ADD, true },
		{ "-FLAGS", FLAGS_REMOVE, false }, { "-FLAGS.SILENT", FLAGS_REMOVE, true } };
	size_t i;

	if (!parse_sp(p) || !parse_seq_set(p, &a->set) || !parse_sp(p) || !unchanged_since(p, a))
		return false;
	for (i = 0; i < sizeof t / sizeof *t && !parse_word(p, t[i].name); i++)
		;
	if (i == sizeof t / sizeof *t)
		return parse_fail(p, "Unknown STORE item");
	a->op = t[i].op;
	a->silent = t[i].silent;
	return parse_sp(p) && parse_flags_loose(p, &a->flags) && parse_end(p);
}

static uint32_t
flags_after(const struct box *b, const struct store_args *a, uint32_t old)
{
	uint32_t bits = a->flags.sysflags;
	ptrdiff_t k;
	size_t i;

	/* keywords that the mailbox does not know yet cannot be expected: such a row is
	 * shown in full, which is never wrong */
	for (i = 0; i < a->flags.n; i++)
		if ((k = box_keyword(b, a->flags.keywords[i])) >= 0)
			bits |= k < 24 ? (uint32_t)F_KEYWORD0 << k : F_MORE;
	switch (a->op) {
	case FLAGS_SET:
		return bits;
	case FLAGS_ADD:
		return old | bits;
	case FLAGS_REMOVE:
		return old & ~bits;
	}
	return old;
}

#define NOT_EXPECTED UINT32_MAX

/* What the client must think that a message looks like afterwards. It does not know
 * what others have changed and it has not been told of: then it is to be shown. */
static uint32_t
expected_of(const struct view *v, const struct store_args *a, uint32_t seq, size_t *hint)
{
	ptrdiff_t pos = view_pos(v, seq, view_uid(v, seq), hint);

	if (pos < 0 || v->box->mod[pos] > v->modseq)
		return NOT_EXPECTED;
	return flags_after(v->box, a, v->box->flags[pos]);
}

/* The same for each message of the set, in order. */
static uint32_t *
expected(struct imap *c, const struct store_args *a)
{
	size_t n = 0, i, k = 0, hint = 0;
	uint32_t *v, seq;

	for (i = 0; i < a->set.n; i++)
		n += a->set.v[i].hi - a->set.v[i].lo + 1;
	if (!(v = arena_alloc(c->ar, n * sizeof *v)))
		return NULL;
	for (i = 0; i < a->set.n; i++)
		for (seq = a->set.v[i].lo; seq <= a->set.v[i].hi; seq++)
			v[k++] = expected_of(c->view, a, seq, &hint);
	return v;
}

static void
put_range(struct buf *b, const struct seq_range *r, bool first)
{
	if (!first)
		buf_putc(b, ',');
	buf_u64(b, r->lo);
	if (r->hi > r->lo) {
		buf_putc(b, ':');
		buf_u64(b, r->hi);
	}
}

/* What was refused, as the client names it: UIDs or numbers. */
static void
put_refused(struct imap *c, struct buf *b, const struct uid_set *refused)
{
	struct seq_range last = { 0 };
	bool first = true;
	uint32_t uid, n;
	size_t i;

	for (i = 0; i < refused->n; i++)
		for (uid = refused->v[i].lo; uid <= refused->v[i].hi; uid++) {
			if (!(n = c->uid ? uid : view_seq(c->view, uid)))
				continue;
			if (last.lo && n == last.hi + 1) {
				last.hi = n;
				continue;
			}
			if (last.lo) {
				put_range(b, &last, first);
				first = false;
			}
			last = (struct seq_range){ n, n };
		}
	if (last.lo)
		put_range(b, &last, first);
}

/* The tagged answer of a conditional STORE that was refused for some. */
static enum result
modified(struct imap *c, const struct uid_set *refused, bool gone)
{
	struct buf b = { 0 };

	buf_puts(&b, "[MODIFIED ");
	put_refused(c, &b, refused);
	buf_puts(&b, "] Conditional STORE failed");
	c->text = arena_dup(c->ar, buf_view(&b));
	buf_done(&b);
	return gone ? IMAP_NO : IMAP_OK;
}

enum result
cmd_store(struct imap *c, struct parse *p)
{
	struct store_args a = { 0 };
	struct wire_error we = { 0 };
	struct uid_set uids, refused = { 0 };
	struct view_echo echo = { 0 };
	enum result res;
	uint64_t modseq;
	bool gone;
	int r;

	if (!store_args(p, &a))
		return bad_args(c, p);
	if (c->view->readonly)
		return no(c, "[READ-ONLY] Mailbox is read-only");
	if (a.conditional)
		enable_condstore(c);
	if (!messages_of(c, &a.set, &uids, &res))
		return res;
	if (uids.n == 0)
		return ok(c, "STORE completed");
	if (!(echo.expected = expected(c, &a)))
		return no(c, "[LIMIT] Too many messages");
	r = store_flags(c->acct, c->view->mailbox, &uids, a.op, a.flags.sysflags, a.flags.keywords,
	    a.flags.n, a.unchanged_since, c->ar, &refused, &modseq, &we);
	if (r == 0)
		r = view_sync(c, true, &we);
	if (r < 0)
		return no_store(c, r, &we);
	/* the sync may just have brought that some of them are gone */
	gone = !c->uid && view_has_ghost(c->view, &a.set);
	echo.seqs = a.set;
	echo.silent = a.silent;
	echo.all = !a.silent || (a.conditional && c->condstore);
	echo.refused = &refused;
	view_announce(c, c->uid, &echo);
	if (refused.n)
		return modified(c, &refused, gone);
	if (gone)
		return no(c, "[EXPUNGEISSUED] Some of the messages no longer exist");
	return ok(c, "STORE completed");
}
