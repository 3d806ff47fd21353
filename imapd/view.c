/* A session's view of its mailbox; see view.h. */
#include "imapd/view.h"

#include <errno.h>
#include <stdlib.h>

#include "imapd/imap.h"

enum { RECENT_RANGES_MAX = 1024 };

/* ---- UID ranges ---- */

/* Appends uid to ascending ranges. */
static int
ranges_add(struct uid_range **v, size_t *n, uint32_t lo, uint32_t hi)
{
	struct uid_range *r;

	if (*n && lo <= (*v)[*n - 1].hi + 1 && lo >= (*v)[*n - 1].lo) {
		if (hi > (*v)[*n - 1].hi)
			(*v)[*n - 1].hi = hi;
		return 0;
	}
	/* room doubles at powers of two */
	if ((*n & (*n - 1)) == 0) {
		if (!(r = realloc(*v, (*n ? *n * 2 : 1) * sizeof *r)))
			return -ENOMEM;
		*v = r;
	}
	(*v)[(*n)++] = (struct uid_range){ lo, hi };
	return 0;
}

static bool
ranges_have(const struct uid_range *v, size_t n, uint32_t uid)
{
	size_t i;

	/* few ranges, and the latest are asked for most */
	for (i = n; i-- && v[i].hi >= uid;)
		if (v[i].lo <= uid)
			return true;
	return false;
}

/* ---- ghosts ---- */

static size_t
ghost_lower(const struct view *v, uint32_t uid)
{
	return uid_lower(v->ghosts, v->n_ghosts, uid);
}

void
view_add_ghost(struct view *v, uint32_t uid)
{
	size_t at;

	if (uid > v->known)
		return;
	at = ghost_lower(v, uid);
	if (at < v->n_ghosts && v->ghosts[at] == uid)
		return;
	if (v->n_ghosts == v->cap_ghosts) {
		size_t cap = v->cap_ghosts ? v->cap_ghosts * 2 : 16;
		uint32_t *g = realloc(v->ghosts, cap * sizeof *g);

		if (!g) {
			v->lost_ghosts = true;
			return;
		}
		v->ghosts = g;
		v->cap_ghosts = cap;
	}
	memmove(v->ghosts + at + 1, v->ghosts + at, (v->n_ghosts - at) * sizeof *v->ghosts);
	v->ghosts[at] = uid;
	v->n_ghosts++;
}

static void
ghosts_clear(struct view *v)
{
	free(v->ghosts);
	v->ghosts = NULL;
	v->n_ghosts = v->cap_ghosts = 0;
}

/* ---- opening and closing ---- */

static void
attach(struct view *v, struct box *b)
{
	v->box = b;
	list_push(&b->views, &v->link);
}

static void
detach(struct view *v)
{
	list_remove(&v->link);
	box_unref(&v->box);
}

/* Messages from this UID on are \Recent for this session. */
static void
claim_recent(struct view *v, uint32_t from)
{
	if (from == 0 || from >= v->box->uidnext)
		return;
	if (v->n_recent == RECENT_RANGES_MAX) {
		memmove(v->recent, v->recent + 1, --v->n_recent * sizeof *v->recent);
		/* the room that was doubled stays: n is no power of two here */
	}
	ranges_add(&v->recent, &v->n_recent, from, v->box->uidnext - 1);
}

int
view_open(struct imap *c, uint32_t mailbox, bool readonly, struct view **ret,
    struct wire_error *we)
{
	struct view *v = calloc(1, sizeof *v);
	struct box *b;
	uint32_t recent = 0;
	int r;

	if (!v)
		return -ENOMEM;
	r = box_open(c->acct, c->account, mailbox, !readonly, c->ar, &b, &recent, we);
	if (r < 0) {
		free(v);
		return r;
	}
	*v = (struct view){ .account = c->account, .mailbox = mailbox, .readonly = readonly,
		.uidvalidity = b->uidvalidity, .modseq = b->modseq };
	attach(v, b);
	v->known = b->n ? b->uid[b->n - 1] : 0;
	v->n_keywords = b->n_keywords;
	claim_recent(v, recent);
	*ret = v;
	return 0;
}

void
view_close(struct view **vp)
{
	struct view *v = *vp;

	*vp = NULL;
	if (!v)
		return;
	if (v->box)
		detach(v);
	ghosts_clear(v);
	free(v->recent);
	free(v->frozen);
	free(v);
}

void
view_freeze(struct view *v)
{
	size_t i, g = 0;
	int r = 0;

	if (!v->box)
		return;
	for (i = 0; i < v->box->n && v->box->uid[i] <= v->known && r == 0; i++) {
		for (; g < v->n_ghosts && v->ghosts[g] < v->box->uid[i] && r == 0; g++)
			r = ranges_add(&v->frozen, &v->n_frozen, v->ghosts[g], v->ghosts[g]);
		if (r == 0)
			r = ranges_add(&v->frozen, &v->n_frozen, v->box->uid[i], v->box->uid[i]);
	}
	for (; g < v->n_ghosts && r == 0; g++)
		r = ranges_add(&v->frozen, &v->n_frozen, v->ghosts[g], v->ghosts[g]);
	if (r < 0) {
		/* no memory for the ranges: stay on the box */
		free(v->frozen);
		v->frozen = NULL;
		v->n_frozen = 0;
		return;
	}
	ghosts_clear(v);
	detach(v);
}

/* What was told of and is no longer in the box. */
static void
find_ghosts(struct view *v)
{
	size_t i, pos;
	uint32_t uid;

	for (i = 0; i < v->n_frozen; i++) {
		pos = box_lower(v->box, v->frozen[i].lo);
		for (uid = v->frozen[i].lo; uid && uid <= v->frozen[i].hi; uid++) {
			if (pos < v->box->n && v->box->uid[pos] == uid)
				pos++;
			else
				view_add_ghost(v, uid);
		}
	}
}

int
view_thaw(struct imap *c, struct view *v, struct wire_error *we)
{
	struct box *b;
	uint32_t recent = 0;
	int r;

	if (v->box)
		return 0;
	r = box_open(c->acct, v->account, v->mailbox, !v->readonly, c->ar, &b, &recent, we);
	if (r < 0)
		return r;
	if (b->uidvalidity != v->uidvalidity) {
		box_unref(&b);
		return -ENOENT;
	}
	attach(v, b);
	find_ghosts(v);
	free(v->frozen);
	v->frozen = NULL;
	v->n_frozen = 0;
	claim_recent(v, recent);
	return 0;
}

/* ---- numbers ---- */

/* Messages of the box that have been told of. */
static size_t
live(const struct view *v)
{
	const struct box *b = v->box;

	if (b->n == 0 || b->uid[b->n - 1] <= v->known)
		return b->n;
	return box_lower(b, v->known + 1);
}

size_t
view_count(const struct view *v)
{
	return live(v) + v->n_ghosts;
}

uint32_t
view_last_uid(const struct view *v)
{
	size_t n = live(v);
	uint32_t a = n ? v->box->uid[n - 1] : 0, g = v->n_ghosts ? v->ghosts[v->n_ghosts - 1] : 0;

	return a > g ? a : g;
}

bool
view_is_recent(const struct view *v, uint32_t uid)
{
	return ranges_have(v->recent, v->n_recent, uid);
}

/* How many messages told of have UIDs below uid. */
static size_t
below(const struct view *v, uint32_t uid)
{
	size_t i = box_lower(v->box, uid), n = live(v);

	return (i < n ? i : n) + ghost_lower(v, uid);
}

size_t
view_recent_count(const struct view *v)
{
	size_t i, n = 0;

	for (i = 0; i < v->n_recent; i++)
		n += below(v, v->recent[i].hi + 1) - below(v, v->recent[i].lo);
	return n;
}

/* The number of the i-th ghost. */
static size_t
ghost_seq(const struct view *v, size_t i)
{
	return box_lower(v->box, v->ghosts[i]) + i + 1;
}

uint32_t
view_uid(const struct view *v, uint32_t seq)
{
	size_t lo = 0, hi = v->n_ghosts;

	while (lo < hi) { /* ghosts with numbers up to seq */
		size_t mid = lo + (hi - lo) / 2;

		if (ghost_seq(v, mid) <= seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo && ghost_seq(v, lo - 1) == seq)
		return v->ghosts[lo - 1];
	return v->box->uid[seq - 1 - lo];
}

uint32_t
view_seq(const struct view *v, uint32_t uid)
{
	size_t i, g;

	if (uid > v->known || uid == 0)
		return 0;
	i = box_lower(v->box, uid);
	g = ghost_lower(v, uid);
	if ((i < v->box->n && v->box->uid[i] == uid) || (g < v->n_ghosts && v->ghosts[g] == uid))
		return (uint32_t)(i + g + 1);
	return 0;
}

ptrdiff_t
view_pos(const struct view *v, uint32_t seq, uint32_t uid, size_t *hint)
{
	if (seq - 1 < v->box->n && v->box->uid[seq - 1] == uid)
		return (ptrdiff_t)seq - 1;
	return box_find(v->box, uid, hint);
}

/* ---- sets ---- */

static void
resolve_uids(const struct view *v, struct seq_set *set)
{
	size_t i, n = 0;

	for (i = 0; i < set->n; i++) {
		uint32_t lo = set->v[i].lo, hi = set->v[i].hi;
		size_t first = below(v, lo) + 1;
		size_t last = hi == UINT32_MAX ? view_count(v) : below(v, hi + 1);

		if (first > last)
			continue;
		if (n && set->v[n - 1].hi + 1 == first)
			set->v[n - 1].hi = (uint32_t)last;
		else
			set->v[n++] = (struct seq_range){ (uint32_t)first, (uint32_t)last };
	}
	set->n = n;
}

bool
view_resolve(const struct view *v, bool uid, struct seq_set *set, struct arena *ar)
{
	uint32_t count = (uint32_t)view_count(v);

	if (uid) {
		seq_resolve(set, view_last_uid(v));
		resolve_uids(v, set);
		return true;
	}
	seq_resolve(set, count);
	return set->n == 0 || (set->v[0].lo >= 1 && set->v[set->n - 1].hi <= count);
}

int
view_uids(const struct view *v, const struct seq_set *seqs, struct arena *ar, struct uid_set *ret)
{
	struct uid_range *r = NULL;
	size_t i, n = 0;
	uint32_t seq, uid;
	int res = 0;

	for (i = 0; i < seqs->n && res == 0; i++)
		for (seq = seqs->v[i].lo; seq <= seqs->v[i].hi && res == 0; seq++) {
			uid = view_uid(v, seq);
			res = ranges_add(&r, &n, uid, uid);
		}
	ret->n = 0;
	if (res == 0 && n && !(ret->v = arena_alloc(ar, n * sizeof *r)))
		res = -ENOMEM;
	if (res == 0 && n) {
		memcpy(ret->v, r, n * sizeof *r);
		ret->n = n;
	}
	free(r);
	return res;
}

bool
view_has_ghost(const struct view *v, const struct seq_set *seqs)
{
	size_t g, i = 0;

	for (g = 0; g < v->n_ghosts; g++) {
		size_t seq = ghost_seq(v, g);

		while (i < seqs->n && seqs->v[i].hi < seq)
			i++;
		if (i < seqs->n && seqs->v[i].lo <= seq)
			return true;
	}
	return false;
}

/* ---- news ---- */

int
view_sync(struct imap *c, bool always, struct wire_error *we)
{
	struct view *v = c->view;
	bool unclaimed = !v->readonly && v->box->first_recent < v->box->uidnext;
	uint32_t recent = 0;
	int r;

	if (!always && !v->news && !unclaimed)
		return 0;
	v->news = false;
	r = box_sync(v->box, c->acct, !v->readonly, c->ar, &recent, we);
	if (r < 0) {
		v->news = true;
		return r;
	}
	if (!v->readonly)
		claim_recent(v, recent);
	return v->lost_ghosts ? -ENOMEM : 0;
}

/* ---- writing ---- */

static const struct {
	uint32_t bit;
	const char *name;
} flag_names[] = { { F_ANSWERED, "\\Answered" }, { F_FLAGGED, "\\Flagged" },
	{ F_DELETED, "\\Deleted" }, { F_SEEN, "\\Seen" }, { F_DRAFT, "\\Draft" } };

void
view_put_flags(struct imap *c, size_t pos)
{
	const struct box *b = c->view->box;
	uint32_t flags = b->flags[pos];
	const char *sep = "FLAGS (";
	size_t i;

	for (i = 0; i < sizeof flag_names / sizeof *flag_names; i++)
		if (flags & flag_names[i].bit) {
			out_c(c, sep);
			out_c(c, flag_names[i].name);
			sep = " ";
		}
	if (c->view->n_recent && view_is_recent(c->view, b->uid[pos])) {
		out_c(c, sep);
		out_c(c, "\\Recent");
		sep = " ";
	}
	for (i = 0; flags >= F_MORE && i < b->n_keywords; i++)
		if (box_has_keyword(b, pos, i)) {
			out_c(c, sep);
			out_str(c, b->keywords[i]);
			sep = " ";
		}
	out_c(c, *sep == ' ' ? ")" : "FLAGS ()");
}

void
view_put_keywords(struct imap *c)
{
	const struct box *b = c->view->box;
	size_t i;

	out_c(c, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft");
	for (i = 0; i < b->n_keywords; i++) {
		out_c(c, " ");
		out_str(c, b->keywords[i]);
	}
	if (c->view->readonly) {
		out_c(c, ")\r\n* OK [PERMANENTFLAGS ()] Read-only mailbox\r\n");
	} else {
		out_c(c, ")\r\n* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft");
		for (i = 0; i < b->n_keywords; i++) {
			out_c(c, " ");
			out_str(c, b->keywords[i]);
		}
		out_c(c, " \\*)] Flags permitted\r\n");
	}
	c->view->n_keywords = b->n_keywords;
}

static void
announce_expunges(struct imap *c)
{
	struct view *v = c->view;
	size_t g;

	/* the ghosts before this one have been announced by then, so its number is
	 * one more than the live messages below it */
	for (g = 0; g < v->n_ghosts; g++) {
		out_c(c, "* ");
		out_u64(c, box_lower(v->box, v->ghosts[g]) + 1);
		out_c(c, " EXPUNGE\r\n");
	}
	ghosts_clear(v);
}

static void
announce_exists(struct imap *c)
{
	struct view *v = c->view;
	const struct box *b = v->box;

	if (b->n == 0 || b->uid[b->n - 1] <= v->known)
		return;
	/* what nobody has claimed is recent to a read-only session too */
	if (v->readonly && b->first_recent <= b->uid[b->n - 1])
		claim_recent(v, b->first_recent > v->known ? b->first_recent : v->known + 1);
	v->known = b->uid[b->n - 1];
	out_c(c, "* ");
	out_u64(c, view_count(v));
	out_c(c, " EXISTS\r\n* ");
	out_u64(c, view_recent_count(v));
	out_c(c, " RECENT\r\n");
}

static void
put_row(struct imap *c, size_t pos, uint32_t seq, bool flags, bool modseq)
{
	const struct box *b = c->view->box;
	const char *sep = "";

	out_c(c, "* ");
	out_u64(c, seq);
	out_c(c, " FETCH (");
	if (c->uid) {
		out_c(c, "UID ");
		out_u64(c, b->uid[pos]);
		sep = " ";
	}
	if (flags) {
		out_c(c, sep);
		view_put_flags(c, pos);
		sep = " ";
	}
	if (modseq) {
		out_c(c, sep);
		out_c(c, "MODSEQ (");
		out_u64(c, b->mod[pos]);
		out_c(c, ")");
	}
	out_c(c, ")\r\n");
}

static bool
set_has(const struct uid_set *s, size_t *at, uint32_t uid)
{
	if (!s)
		return false;
	while (*at < s->n && s->v[*at].hi < uid)
		++*at;
	return *at < s->n && s->v[*at].lo <= uid;
}

/* Where a walk over numbers stands in a view_echo. */
struct echo_at {
	size_t range, index, refused;
};

/* The flags expected of message seq when the echo names it: false when not. */
static bool
echo_has(const struct view_echo *e, struct echo_at *at, uint32_t seq, uint32_t *ret_expected)
{
	if (!e)
		return false;
	while (at->range < e->seqs.n && e->seqs.v[at->range].hi < seq) {
		at->index += e->seqs.v[at->range].hi - e->seqs.v[at->range].lo + 1;
		at->range++;
	}
	if (at->range == e->seqs.n || e->seqs.v[at->range].lo > seq)
		return false;
	*ret_expected = e->expected[at->index + (seq - e->seqs.v[at->range].lo)];
	return true;
}

static void
announce_row(struct imap *c, const struct view_echo *e, struct echo_at *at, size_t pos, uint32_t seq)
{
	const struct box *b = c->view->box;
	bool changed = b->mod[pos] > c->view->modseq, mine;
	uint32_t expected;

	if (!changed && !(e && e->all))
		return;
	mine = echo_has(e, at, seq, &expected) && !set_has(e->refused, &at->refused, b->uid[pos]);
	if (mine && b->flags[pos] == expected) {
		if (e->shown)
			return;
		if (e->all)
			put_row(c, pos, seq, !e->silent, c->condstore);
		else if (!e->silent || (c->condstore && changed))
			put_row(c, pos, seq, !e->silent, c->condstore);
	} else if (changed) {
		put_row(c, pos, seq, true, c->condstore);
	}
}

static void
announce_flags(struct imap *c, const struct view_echo *e)
{
	struct view *v = c->view;
	const struct box *b = v->box;
	struct echo_at at = { 0 };
	uint64_t upto = b->modseq;
	uint32_t uid, known = v->known;
	size_t i;

	if (v->modseq >= upto && !(e && e->all))
		return;
	for (i = 0; i < b->n && (uid = b->uid[i]) <= known; i++) {
		announce_row(c, e, &at, i, (uint32_t)(i + ghost_lower(v, uid) + 1));
		if (out_full(c)) {
			/* what others learn while this waits is for the next time */
			out_flush(c);
			i = box_lower(b, uid + 1) - 1;
		}
	}
	v->modseq = upto;
}

void
view_announce(struct imap *c, bool expunge, const struct view_echo *echo)
{
	struct view *v = c->view;

	if (v->n_keywords != v->box->n_keywords)
		view_put_keywords(c);
	announce_flags(c, echo);
	if (expunge && v->n_ghosts)
		announce_expunges(c);
	announce_exists(c);
}
