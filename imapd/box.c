/*
 * The mailboxes that sessions of this process have selected; see box.h.
 *
 * Only one coroutine at a time talks to the store about a box (busy), because a
 * delta since modseq M may be laid over the state of modseq M alone.
 */
#include "imapd/box.h"

#include <errno.h>
#include <stdlib.h>

#include "imapd/view.h"
#include "lib/io/co.h"

static struct list boxes = LIST_INIT(boxes);

struct waiter {
	struct list link;
	struct co *co;
};

static void
box_lock(struct box *b)
{
	while (b->busy) {
		struct waiter w = { .co = co_self() };

		list_push(&b->waiting, &w.link);
		co_wait(-1);
		list_remove(&w.link);
	}
	b->busy = true;
}

static void
box_unlock(struct box *b)
{
	struct list *l;

	b->busy = false;
	if (!list_empty(&b->waiting)) {
		l = b->waiting.next;
		co_wake(LIST_ENTRY(l, struct waiter, link)->co);
	}
}

/* ---- memory ---- */

static int
reserve(struct box *b, size_t n)
{
	uint32_t *uid, *flags;
	uint64_t *mod;
	size_t cap = n + n / 8 + 8;

	if (n <= b->cap)
		return 0;
	if ((uid = realloc(b->uid, cap * sizeof *uid)))
		b->uid = uid;
	if ((flags = realloc(b->flags, cap * sizeof *flags)))
		b->flags = flags;
	if ((mod = realloc(b->mod, cap * sizeof *mod)))
		b->mod = mod;
	if (!uid || !flags || !mod)
		return -ENOMEM;
	b->cap = cap;
	return 0;
}

static void
keywords_free(struct box *b)
{
	while (b->n_keywords)
		free((char *)b->keywords[--b->n_keywords].p);
	free(b->keywords);
	b->keywords = NULL;
}

static int
keywords_set(struct box *b, const struct str *v, size_t n)
{
	struct str *kw = calloc(n ? n : 1, sizeof *kw);
	size_t i;

	for (i = 0; kw && i < n; i++) {
		char *p = malloc(v[i].n + 1);

		if (!p)
			break;
		memcpy(p, v[i].p, v[i].n);
		kw[i] = str_from(p, v[i].n);
	}
	if (!kw || i < n) {
		while (kw && i--)
			free((char *)kw[i].p);
		free(kw);
		return -ENOMEM;
	}
	keywords_free(b);
	b->keywords = kw;
	b->n_keywords = n;
	return 0;
}

static int
more_set(struct box *b, const struct view_more *v, size_t n)
{
	struct view_more *m;

	if (n > b->cap_more) {
		if (!(m = realloc(b->more, n * sizeof *m)))
			return -ENOMEM;
		b->more = m;
		b->cap_more = n;
	}
	if (n)
		memcpy(b->more, v, n * sizeof *v);
	b->n_more = n;
	return 0;
}

static void
box_free(struct box *b)
{
	list_remove(&b->link);
	free(b->uid);
	free(b->flags);
	free(b->mod);
	keywords_free(b);
	free(b->more);
	free(b);
}

void
box_ref(struct box *b)
{
	b->refs++;
}

void
box_unref(struct box **bp)
{
	struct box *b = *bp;

	*bp = NULL;
	if (b && --b->refs == 0)
		box_free(b);
}

/* ---- loading ---- */

static int
take_view(struct box *b, const struct store_view *v)
{
	int r;

	if ((r = reserve(b, v->n)) < 0 || (r = keywords_set(b, v->keywords, v->n_keywords)) < 0 ||
	    (r = more_set(b, v->more, v->n_more)) < 0)
		return r;
	if (v->n) {
		memcpy(b->uid, v->uid, v->n * sizeof *v->uid);
		memcpy(b->flags, v->flags, v->n * sizeof *v->flags);
		memcpy(b->mod, v->mod, v->n * sizeof *v->mod);
	}
	b->n = v->n;
	b->uidvalidity = v->uidvalidity;
	b->uidnext = v->uidnext;
	b->modseq = v->modseq;
	return 0;
}

/* claimed: what was unclaimed is the caller's now. */
static void
set_recent(struct box *b, uint32_t first_recent, bool claimed)
{
	b->first_recent = claimed ? b->uidnext : first_recent;
}

static int
load(struct box *b, struct store_account *a, bool claim, struct arena *ar, uint32_t *ret_recent,
    struct wire_error *we)
{
	struct store_view v;
	int r = store_select(a, b->mailbox, claim, ar, &v, we);

	if (r < 0)
		return r;
	r = take_view(b, &v);
	*ret_recent = v.first_recent;
	set_recent(b, v.first_recent, claim);
	store_view_done(&v);
	return r;
}

static struct box *
find(uint64_t account, uint32_t mailbox)
{
	struct box *b;

	LIST_FOREACH(b, &boxes, struct box, link)
		if (b->account == account && b->mailbox == mailbox)
			return b;
	return NULL;
}

void
box_lose(uint64_t account)
{
	struct box *b, *tmp;

	LIST_FOREACH_SAFE(b, tmp, &boxes, struct box, link)
		if (b->account == account)
			list_remove(&b->link); /* nobody finds it any more */
}

int
box_open(struct store_account *a, uint64_t account, uint32_t mailbox, bool claim, struct arena *ar,
    struct box **ret, uint32_t *ret_recent, struct wire_error *we)
{
	struct box *b = find(account, mailbox);
	int r;

	if (b) {
		box_ref(b);
		if ((r = box_sync(b, a, claim, ar, ret_recent, we)) < 0)
			box_unref(&b);
		else
			*ret = b;
		return r;
	}
	if (!(b = calloc(1, sizeof *b)))
		return -ENOMEM;
	*b = (struct box){ .account = account, .mailbox = mailbox, .refs = 1 };
	list_init(&b->views);
	list_init(&b->waiting);
	list_push(&boxes, &b->link);
	box_lock(b);
	r = load(b, a, claim, ar, ret_recent, we);
	box_unlock(b);
	if (r < 0) {
		/* nobody may find a box that was never filled */
		list_remove(&b->link);
		box_unref(&b);
		return r;
	}
	*ret = b;
	return 0;
}

/* ---- looking up ---- */

size_t
uid_lower(const uint32_t *v, size_t n, uint32_t uid)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v[mid] < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

size_t
box_lower(const struct box *b, uint32_t uid)
{
	return uid_lower(b->uid, b->n, uid);
}

ptrdiff_t
box_find(const struct box *b, uint32_t uid, size_t *hint)
{
	size_t i;

	if (hint && *hint < b->n && b->uid[*hint] == uid)
		return (ptrdiff_t)*hint;
	if (hint && *hint + 1 < b->n && b->uid[*hint + 1] == uid)
		return (ptrdiff_t)++*hint;
	i = box_lower(b, uid);
	if (i == b->n || b->uid[i] != uid)
		return -1;
	if (hint)
		*hint = i;
	return (ptrdiff_t)i;
}

ptrdiff_t
box_keyword(const struct box *b, struct str name)
{
	size_t i;

	for (i = 0; i < b->n_keywords; i++)
		if (str_ieq(b->keywords[i], name))
			return (ptrdiff_t)i;
	return -1;
}

static size_t
more_lower(const struct box *b, uint32_t uid)
{
	size_t lo = 0, hi = b->n_more;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (b->more[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool
box_has_keyword(const struct box *b, size_t pos, size_t k)
{
	size_t i;

	if (k < 24)
		return b->flags[pos] & (uint32_t)F_KEYWORD0 << k;
	if (!(b->flags[pos] & F_MORE))
		return false;
	for (i = more_lower(b, b->uid[pos]); i < b->n_more && b->more[i].uid == b->uid[pos]; i++)
		if (b->more[i].keyword == k)
			return true;
	return false;
}

/* ---- bringing up to date ---- */

static bool
gone_has(const struct uid_set *s, size_t *at, uint32_t uid)
{
	while (*at < s->n && s->v[*at].hi < uid)
		++*at;
	return *at < s->n && s->v[*at].lo <= uid;
}

static void
remove_gone(struct box *b, const struct uid_set *gone)
{
	struct view *v;
	size_t at = 0, i, n = 0;

	if (gone->n == 0)
		return;
	for (i = 0; i < b->n; i++) {
		if (gone_has(gone, &at, b->uid[i])) {
			LIST_FOREACH(v, &b->views, struct view, link)
				view_add_ghost(v, b->uid[i]);
			continue;
		}
		b->uid[n] = b->uid[i];
		b->flags[n] = b->flags[i];
		b->mod[n++] = b->mod[i];
	}
	b->n = n;
}

/* Rows of the delta that carry rare keywords replace the older entries of the
 * same UIDs; entries of messages that are gone go too. */
static int
merge_more(struct box *b, const struct store_delta *d)
{
	size_t max = b->n_more + d->n_more, i, j = 0, k = 0, n = 0, hint = 0;
	struct view_more *m;

	if (max == 0)
		return 0;
	if (!(m = malloc(max * sizeof *m)))
		return -ENOMEM;
	for (i = 0; i <= b->n_more; i++) {
		uint32_t uid = i < b->n_more ? b->more[i].uid : UINT32_MAX;

		for (; j < d->n_more && d->more[j].uid <= uid; j++)
			m[n++] = d->more[j];
		if (i == b->n_more)
			break;
		while (k < d->n && d->uid[k] < uid)
			k++;
		if ((k < d->n && d->uid[k] == uid) || box_find(b, uid, &hint) < 0)
			continue;
		m[n++] = b->more[i];
	}
	free(b->more);
	b->more = m;
	b->n_more = n;
	b->cap_more = max;
	return 0;
}

static int
apply(struct box *b, const struct store_delta *d)
{
	size_t i, hint = 0, fresh = 0;
	int r;

	if (d->keywords && (r = keywords_set(b, d->keywords, d->n_keywords)) < 0)
		return r;
	for (i = d->n; i && (b->n == 0 || d->uid[i - 1] > b->uid[b->n - 1]); i--)
		fresh++;
	if ((r = reserve(b, b->n + fresh)) < 0)
		return r;
	for (i = 0; i < d->n; i++) {
		ptrdiff_t pos = box_find(b, d->uid[i], &hint);

		if (pos < 0) {
			/* a UID below the last one that is not here was expunged since */
			if (b->n && d->uid[i] < b->uid[b->n - 1])
				continue;
			pos = (ptrdiff_t)b->n++;
			b->uid[pos] = d->uid[i];
		}
		b->flags[pos] = d->flags[i];
		b->mod[pos] = d->mod[i];
	}
	remove_gone(b, &d->gone);
	if ((r = merge_more(b, d)) < 0)
		return r;
	b->uidnext = d->uidnext;
	b->modseq = d->modseq;
	return 0;
}

/* The tombstones since our modseq are forgotten: everything anew. */
static int
reload(struct box *b, struct store_account *a, bool claim, struct arena *ar, uint32_t *ret_recent,
    struct wire_error *we)
{
	struct store_view v;
	struct view *w;
	size_t i;
	int r = store_select(a, b->mailbox, claim, ar, &v, we);

	if (r < 0)
		return r;
	if (v.uidvalidity != b->uidvalidity) {
		store_view_done(&v);
		return -ESTALE;
	}
	for (i = 0; i < b->n; i++) {
		size_t lo = 0, hi = v.n;

		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;

			if (v.uid[mid] < b->uid[i])
				lo = mid + 1;
			else
				hi = mid;
		}
		if (lo < v.n && v.uid[lo] == b->uid[i])
			continue;
		LIST_FOREACH(w, &b->views, struct view, link)
			view_add_ghost(w, b->uid[i]);
	}
	r = take_view(b, &v);
	*ret_recent = v.first_recent;
	set_recent(b, v.first_recent, claim);
	store_view_done(&v);
	return r;
}

int
box_sync(struct box *b, struct store_account *a, bool claim, struct arena *ar,
    uint32_t *ret_recent, struct wire_error *we)
{
	struct store_delta d = { 0 };
	int r;

	box_ref(b);
	box_lock(b);
	r = store_sync(a, b->mailbox, b->modseq, claim, ar, &d, we);
	if (r == 0 && d.gone_unknown) {
		r = reload(b, a, claim, ar, ret_recent, we);
	} else if (r == 0) {
		r = apply(b, &d);
		*ret_recent = d.first_recent;
		set_recent(b, d.first_recent, claim);
	}
	box_unlock(b);
	box_unref(&b);
	return r;
}
