/*
 * SEARCH and UID SEARCH: the answer in the form of RFC 3501 section 7.2.5, with RFC 7162's
 * MODSEQ, or as ESEARCH (RFC 4731).
 */
#include <errno.h>

#include "imapd/commands.h"
#include "imapd/search.h"

/* Walks over the result's messages as the client names them. */
struct found {
	struct imap *c;
	const struct seq_set *set;
	size_t range;
	uint32_t seq;
};

static bool
found_next(struct found *f, uint32_t *ret_shown)
{
	if (f->range == f->set->n)
		return false;
	if (!f->seq)
		f->seq = f->set->v[f->range].lo;
	*ret_shown = f->c->uid ? view_uid(f->c->view, f->seq) : f->seq;
	if (f->seq++ == f->set->v[f->range].hi) {
		f->range++;
		f->seq = 0;
	}
	return true;
}

static uint64_t
modseq_of(struct imap *c, uint32_t seq)
{
	ptrdiff_t pos = view_pos(c->view, seq, view_uid(c->view, seq), NULL);

	return pos < 0 ? 0 : c->view->box->mod[pos];
}

static uint64_t
highest_modseq(struct imap *c, const struct seq_set *set)
{
	uint64_t high = 0, m;
	uint32_t seq;
	size_t i;

	for (i = 0; i < set->n; i++)
		for (seq = set->v[i].lo; seq <= set->v[i].hi; seq++)
			if ((m = modseq_of(c, seq)) > high)
				high = m;
	return high;
}

static void
put_plain(struct imap *c, const struct search_args *a, const struct seq_set *set)
{
	uint64_t modseq = a->modseq ? highest_modseq(c, set) : 0;
	struct found f = { .c = c, .set = set };
	uint32_t shown;

	out_c(c, "* SEARCH");
	while (found_next(&f, &shown)) {
		out_c(c, " ");
		out_u64(c, shown);
		if (out_full(c))
			out_flush(c);
	}
	if (modseq)
		out_printf(c, " (MODSEQ %llu)", (unsigned long long)modseq);
	out_c(c, "\r\n");
}

static void
put_set(struct imap *c, const struct seq_set *set)
{
	struct found f = { .c = c, .set = set };
	uint32_t shown, lo = 0, hi = 0;
	const char *sep = " ALL ";
	bool more;

	do {
		more = found_next(&f, &shown);
		if (more && lo && shown == hi + 1) {
			hi = shown;
			continue;
		}
		if (lo) {
			out_c(c, sep);
			sep = ",";
			out_uid_set(c, &(struct uid_range){ lo, hi }, 1);
		}
		lo = hi = shown;
		if (out_full(c))
			out_flush(c);
	} while (more);
}

/* What RFC 7162 section 3.1.10 says: of MIN and MAX alone when nothing else is shown. */
static uint64_t
extended_modseq(struct imap *c, unsigned returns, const struct seq_set *set)
{
	uint64_t a = 0, b = 0;

	if (returns & (RETURN_ALL | RETURN_COUNT))
		return highest_modseq(c, set);
	if (returns & RETURN_MIN)
		a = modseq_of(c, set->v[0].lo);
	if (returns & RETURN_MAX)
		b = modseq_of(c, set->v[set->n - 1].hi);
	return a > b ? a : b;
}

static uint32_t
shown(struct imap *c, uint32_t seq)
{
	return c->uid ? view_uid(c->view, seq) : seq;
}

static void
put_extended(struct imap *c, const struct search_args *a, const struct seq_set *set)
{
	uint32_t n = 0;
	size_t i;

	for (i = 0; i < set->n; i++)
		n += set->v[i].hi - set->v[i].lo + 1;
	out_c(c, "* ESEARCH (TAG ");
	out_nstring(c, c->tag);
	out_c(c, c->uid ? ") UID" : ")");
	if (n && a->returns & RETURN_MIN)
		out_printf(c, " MIN %u", shown(c, set->v[0].lo));
	if (n && a->returns & RETURN_MAX)
		out_printf(c, " MAX %u", shown(c, set->v[set->n - 1].hi));
	if (a->returns & RETURN_COUNT)
		out_printf(c, " COUNT %u", n);
	if (n && a->modseq)
		out_printf(c, " MODSEQ %llu",
		    (unsigned long long)extended_modseq(c, a->returns, set));
	if (n && a->returns & RETURN_ALL)
		put_set(c, set);
	out_c(c, "\r\n");
}

static enum result
answer(struct search *s, const struct seq_set *set)
{
	struct imap *c = s->c;

	if (s->args->extended)
		put_extended(c, s->args, set);
	else
		put_plain(c, s->args, set);
	if (s->broken)
		return no(c, "[SERVERBUG] Some of the messages cannot be read");
	if (c->view->n_ghosts && !c->uid)
		return ok(c, "[EXPUNGEISSUED] SEARCH completed");
	return ok(c, "SEARCH completed");
}

enum result
cmd_search(struct imap *c, struct parse *p)
{
	struct search_args a = { 0 };
	struct search s = { .c = c, .args = &a };
	struct seq_set set;
	int r;

	if (!parse_sp(p) || !parse_search(p, &a))
		return a.badcharset ? no(c, "[BADCHARSET (US-ASCII UTF-8 ISO-8859-1 ISO-8859-15"
		    " windows-1252 KOI8-R ISO-2022-JP GB18030 BIG5)] Charset is not known")
		    : bad_args(c, p);
	if (a.modseq)
		enable_condstore(c);
	if (search_prepare(&s) < 0)
		return no(c, "[LIMIT] Search is too large");
	if ((r = search_run(&s, &set)) == 0)
		return answer(&s, &set);
	if (r == -EPIPE) {
		c->bye = true;
		return IMAP_BYE;
	}
	if (r == -ETIME)
		return no(c, "[LIMIT] Search takes too long");
	if (r == -ENOMEM)
		return no(c, "[LIMIT] Search is too large");
	return IMAP_NO; /* search_run has set the text */
}
