/* The names of an account in order; see tree.h. */
#include "imapd/tree.h"

#include <stdlib.h>

#include "lib/mail/mutf7.h"

static const struct {
	const char *role, *use;
} uses[] = { { "sent", "\\Sent" }, { "drafts", "\\Drafts" }, { "trash", "\\Trash" },
	{ "junk", "\\Junk" }, { "archive", "\\Archive" } };

static const char *
use_of(struct str role)
{
	size_t i;

	for (i = 0; i < sizeof uses / sizeof *uses; i++)
		if (str_eq(role, str_c(uses[i].role)))
			return uses[i].use;
	return NULL;
}

/* ---- order ---- */

static bool
in_inbox(struct str name)
{
	return str_eq(name, STR("INBOX")) || str_starts(name, STR("INBOX/"));
}

/* The separator sorts below every other character, so that what is below a name
 * follows it at once. */
static int
name_cmp(struct str a, struct str b)
{
	size_t i, n = a.n < b.n ? a.n : b.n;
	int x, y;

	if (in_inbox(a) != in_inbox(b))
		return in_inbox(a) ? -1 : 1;
	for (i = 0; i < n; i++) {
		if (a.p[i] == b.p[i])
			continue;
		x = a.p[i] == '/' ? -1 : (unsigned char)a.p[i];
		y = b.p[i] == '/' ? -1 : (unsigned char)b.p[i];
		return x < y ? -1 : 1;
	}
	return a.n < b.n ? -1 : a.n > b.n;
}

static int
node_cmp(const void *a, const void *b)
{
	const struct tree_node *x = a, *y = b;

	return name_cmp(x->name, y->name);
}

static bool
is_below(struct str name, struct str parent)
{
	return name.n > parent.n && name.p[parent.n] == '/' && str_starts(name, parent);
}

/* ---- making ---- */

static size_t
levels(struct str name)
{
	size_t i, n = 1;

	for (i = 0; i < name.n; i++)
		n += name.p[i] == '/';
	return n;
}

static void
add(struct tree *t, const struct store_mailbox *m)
{
	bool exists = m->id != 0;
	size_t i;

	t->v[t->n++] = (struct tree_node){ .name = m->name, .use = use_of(m->role),
		.exists = exists, .noselect = m->noselect || !exists, .subscribed = m->subscribed };
	for (i = 1; i < m->name.n; i++)
		if (m->name.p[i] == '/')
			t->v[t->n++] = (struct tree_node){ .name = str_head(m->name, i),
				.noselect = true };
}

/* Of several nodes of one name, what each knows. */
static void
merge(struct tree *t)
{
	size_t i, n = 0;

	for (i = 0; i < t->n; i++) {
		struct tree_node *last = n ? &t->v[n - 1] : NULL;

		if (!last || !str_eq(last->name, t->v[i].name)) {
			t->v[n++] = t->v[i];
			continue;
		}
		last->exists |= t->v[i].exists;
		last->noselect &= t->v[i].noselect;
		last->subscribed |= t->v[i].subscribed;
		if (!last->use)
			last->use = t->v[i].use;
	}
	t->n = n;
}

/* A level that was left without anything below it is shown no longer. */
static bool
finish(struct tree *t, size_t at, struct arena *ar)
{
	struct tree_node *x = &t->v[at];
	struct buf b;
	size_t i;

	for (i = at + 1; i < t->n && is_below(t->v[i].name, x->name); i++)
		x->children |= t->v[i].exists;
	x->end = i;
	x->exists &= !x->noselect || x->children;
	buf_init(&b, 8 * x->name.n + 16);
	x->wire = mutf7_encode(x->name, &b) == 0 ? arena_dup(ar, buf_view(&b)) : x->name;
	buf_done(&b);
	return x->wire.p != NULL;
}

bool
tree_make(struct tree *t, const struct store_mailbox *m, size_t n, struct arena *ar)
{
	size_t i, max = 1;

	for (i = 0; i < n; i++)
		max += levels(m[i].name);
	*t = (struct tree){ .v = ARENA_ARRAY(ar, struct tree_node, max) };
	if (!t->v)
		return false;
	for (i = 0; i < n; i++)
		add(t, &m[i]);
	qsort(t->v, t->n, sizeof *t->v, node_cmp);
	merge(t);
	for (i = t->n; i--;) /* what is below a node comes before it */
		if (!finish(t, i, ar))
			return false;
	return true;
}
