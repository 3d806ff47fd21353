/* FETCH and UID FETCH (RFC 3501 section 6.4.5, RFC 7162 section 3.1.4). */
#include <errno.h>

#include "imapd/commands.h"
#include "imapd/fetch.h"
#include "imapd/view.h"
#include "lib/base/log.h"

/* Messages whose \Seen this command has set. */
struct seen {
	struct seq_set seqs;
	uint32_t *flags;       /* of each, as shown */
	size_t range;          /* where the walk over the answers stands */
};

/* Leaves in the set what has a mod-sequence above `since`. */
static int
only_changed(struct imap *c, struct seq_set *set, uint64_t since)
{
	struct seq_set kept = { 0 };
	size_t i, hint = 0;
	uint32_t seq;
	ptrdiff_t pos;

	for (i = 0; i < set->n; i++)
		for (seq = set->v[i].lo; seq <= set->v[i].hi; seq++) {
			pos = view_pos(c->view, seq, view_uid(c->view, seq), &hint);
			if (pos >= 0 && c->view->box->mod[pos] > since &&
			    seq_set_add(&kept, seq, c->ar) < 0)
				return -ENOMEM;
		}
	*set = kept;
	return 0;
}

static int
find_unseen(struct imap *c, const struct seq_set *set, struct seq_set *ret)
{
	size_t i, hint = 0;
	uint32_t seq;
	ptrdiff_t pos;

	for (i = 0; i < set->n; i++)
		for (seq = set->v[i].lo; seq <= set->v[i].hi; seq++) {
			pos = view_pos(c->view, seq, view_uid(c->view, seq), &hint);
			if (pos >= 0 && !(c->view->box->flags[pos] & F_SEEN) &&
			    seq_set_add(ret, seq, c->ar) < 0)
				return -ENOMEM;
		}
	return 0;
}

static int
note_flags(struct imap *c, struct seen *s)
{
	size_t i, n = 0, hint = 0;
	uint32_t seq;
	ptrdiff_t pos;

	for (i = 0; i < s->seqs.n; i++)
		n += s->seqs.v[i].hi - s->seqs.v[i].lo + 1;
	if (!(s->flags = ARENA_ARRAY(c->ar, uint32_t, n)))
		return -ENOMEM;
	for (i = n = 0; i < s->seqs.n; i++)
		for (seq = s->seqs.v[i].lo; seq <= s->seqs.v[i].hi; seq++, n++) {
			pos = view_pos(c->view, seq, view_uid(c->view, seq), &hint);
			s->flags[n] = pos < 0 ? 0 : c->view->box->flags[pos];
		}
	return 0;
}

/* Sets \Seen, at once for all, before anything is shown. A store that cannot write
 * does not keep the mail from being read. */
static int
set_seen(struct imap *c, const struct fetch_args *a, struct seen *s, struct wire_error *we)
{
	struct uid_set uids, refused;
	uint64_t modseq;
	size_t i;
	int r;

	for (i = 0; i < a->n_sections && !a->sections[i].sees; i++)
		;
	if (c->view->readonly || i == a->n_sections)
		return 0;
	if ((r = find_unseen(c, &a->set, &s->seqs)) < 0 || s->seqs.n == 0)
		return r;
	if ((r = view_uids(c->view, &s->seqs, c->ar, &uids)) < 0)
		return r;
	r = store_flags(c->acct, c->view->mailbox, &uids, FLAGS_ADD, F_SEEN, NULL, 0, UINT64_MAX,
	    c->ar, &refused, &modseq, we);
	if (r == 0)
		r = view_sync(c, true, we);
	if (r == 0)
		return note_flags(c, s);
	s->seqs.n = 0;
	if (r == -ESTALE || r == -ENOENT)
		return r;
	LOG_WARN("imap.seen_failed", L_C("user", c->user), L_I64("code", r), L_STR("text", we->text));
	return 0;
}

/* What an answer has to say beyond what was asked for: the flag that was set. */
static unsigned
seen_items(const struct imap *c, struct seen *s, uint32_t seq)
{
	while (s->range < s->seqs.n && s->seqs.v[s->range].hi < seq)
		s->range++;
	if (s->range == s->seqs.n || s->seqs.v[s->range].lo > seq)
		return 0;
	return FETCH_FLAGS | (c->condstore ? FETCH_MODSEQ : 0);
}

/* Writes all answers. *ret_gone: some messages are not there; *ret_broken: some cannot be
 * read. 0, -EPIPE or a code of the store. */
static int
put_all(struct fetch *f, struct seen *s, bool *ret_gone, bool *ret_broken, struct wire_error *we)
{
	struct imap *c = f->c;
	struct rows rows;
	struct row row;
	int r = rows_begin(&rows, c, &f->args->set, f->want);

	while (r >= 0 && (r = rows_next(&rows, &row, we)) > 0) {
		r = fetch_message(f, &row, seen_items(c, s, row.seq), we);
		if (r == -ENOENT)
			*ret_gone = true;
		else if (r < 0 && r != -EPIPE && r != -ESTALE)
			*ret_broken = true;
		if (r < 0 && r != -EPIPE && r != -ESTALE)
			r = 0;
		if (f->args->n_sections)
			arena_reset(f->ar);
		if (out_full(c))
			out_flush(c);
		if (*stream_why(c->st))
			r = -EPIPE;
		breathe(c);
	}
	if (r < 0 && r != -EPIPE)
		no_store(c, r, we); /* while the text is there */
	rows_end(&rows);
	return r;
}

static enum result
finish(struct imap *c, int r, bool gone, bool broken)
{
	if (r == -EPIPE) {
		c->bye = true;
		return IMAP_BYE;
	}
	if (r < 0)
		return IMAP_NO; /* put_all has set the text */
	if (broken)
		return no(c, "[SERVERBUG] Some of the messages cannot be read");
	if (gone && !c->uid)
		return no(c, "[EXPUNGEISSUED] Some of the messages no longer exist");
	return ok(c, "FETCH completed");
}

static enum result
fetch(struct imap *c, const struct fetch_args *a)
{
	struct fetch f = { c, a, fetch_want(a), NULL };
	struct wire_error we = { 0 };
	struct seen seen = { 0 };
	struct view_echo echo = { .shown = true };
	bool gone = false, broken = false;
	int r;

	if ((r = set_seen(c, a, &seen, &we)) < 0)
		return no_store(c, r, &we);
	if (!(f.ar = arena_new(0)))
		return no(c, "[UNAVAILABLE] Out of memory");
	r = put_all(&f, &seen, &gone, &broken, &we);
	arena_free(&f.ar);
	if (r == 0 && seen.seqs.n) {
		echo.seqs = seen.seqs;
		echo.expected = seen.flags;
		view_announce(c, c->uid, &echo);
	}
	return finish(c, r, gone, broken);
}

enum result
cmd_fetch(struct imap *c, struct parse *p)
{
	struct fetch_args a;

	if (!parse_sp(p) || !parse_fetch(p, &a))
		return bad_args(c, p);
	if (c->uid)
		a.items |= FETCH_UID;
	if (a.items & FETCH_MODSEQ)
		enable_condstore(c);
	if (!view_resolve(c->view, c->uid, &a.set, c->ar))
		return bad(c, "No message of that number");
	if (a.changed_since_given && only_changed(c, &a.set, a.changed_since) < 0)
		return no(c, "[LIMIT] Too many messages");
	return fetch(c, &a);
}
