/* Messages of a set with their facts; see rows.h. */
#include "imapd/rows.h"

#include <errno.h>

enum {
	RANGES_MAX = 4096,       /* of one call */
	BATCH_MAX = 16 << 20,    /* bytes of a batch: a frame, its table, the set */
};

int
rows_begin(struct rows *r, struct imap *c, const struct seq_set *set, unsigned want)
{
	*r = (struct rows){ .c = c, .set = set, .want = want };
	if (want && !(r->ar = arena_new(BATCH_MAX)))
		return -ENOMEM;
	return 0;
}

void
rows_end(struct rows *r)
{
	arena_free(&r->ar);
}

/* What is left of the set as UIDs, from message seq on. What stands between two
 * neighbours' UIDs is in no mailbox, so a range of numbers is one range of UIDs. */
static int
rest(struct rows *r, uint32_t seq, struct uid_set *ret)
{
	size_t i, n = r->set->n - r->range;

	if (n > RANGES_MAX)
		n = RANGES_MAX;
	ret->v = ARENA_ARRAY(r->ar, struct uid_range, n);
	if (!ret->v)
		return -ENOMEM;
	ret->n = n;
	for (i = 0; i < n; i++) {
		const struct seq_range *s = &r->set->v[r->range + i];

		ret->v[i].lo = view_uid(r->c->view, i ? s->lo : seq);
		ret->v[i].hi = view_uid(r->c->view, s->hi);
	}
	return 0;
}

static int
batch(struct rows *r, uint32_t seq, struct wire_error *we)
{
	struct uid_set set;
	uint32_t next = 0;
	int code;

	arena_reset(r->ar);
	r->v = NULL;
	r->n = r->i = 0;
	if ((code = rest(r, seq, &set)) < 0)
		return code;
	code = store_facts(r->c->acct, r->c->view->mailbox, &set, 0, r->want, r->ar, &r->v, &r->n,
	    &next, we);
	if (code < 0)
		return code;
	if (next && next <= set.v[0].lo)
		return -EPROTO; /* it would go on for ever */
	r->covered = next ? next - 1 : set.v[set.n - 1].hi;
	return 0;
}

int
rows_next(struct rows *r, struct row *ret, struct wire_error *we)
{
	int code;

	if (r->range == r->set->n)
		return 0;
	if (!r->seq)
		r->seq = r->set->v[r->range].lo;
	*ret = (struct row){ r->seq, view_uid(r->c->view, r->seq), NULL };
	if (r->want) {
		if (ret->uid > r->covered && (code = batch(r, r->seq, we)) < 0)
			return code;
		while (r->i < r->n && r->v[r->i].uid < ret->uid)
			r->i++;
		if (r->i < r->n && r->v[r->i].uid == ret->uid)
			ret->fact = &r->v[r->i];
	}
	if (r->seq++ == r->set->v[r->range].hi) {
		r->range++;
		r->seq = 0;
	}
	return 1;
}

int
seq_set_add(struct seq_set *s, uint32_t seq, struct arena *ar)
{
	struct seq_range *v;

	if (s->n && s->v[s->n - 1].hi + 1 == seq) {
		s->v[s->n - 1].hi = seq;
		return 0;
	}
	/* room doubles at powers of two */
	if ((s->n & (s->n - 1)) == 0) {
		if (!(v = arena_alloc(ar, (s->n ? s->n * 2 : 1) * sizeof *v)))
			return -ENOMEM;
		if (s->n)
			memcpy(v, s->v, s->n * sizeof *v);
		s->v = v;
	}
	s->v[s->n++] = (struct seq_range){ seq, seq };
	return 0;
}
