/*
 * LIST (RFC 3501 section 6.3.8) with the extended syntax of RFC 5258, CHILDREN (RFC
 * 3348) and SPECIAL-USE (RFC 6154). Attributes that cost nothing are always shown.
 *
 *	list = "LIST" [SP "(" selections ")"] SP reference SP patterns [SP "RETURN" SP "(" returns ")"]
 */
#include "imapd/commands.h"
#include "imapd/pattern.h"
#include "imapd/tree.h"

enum { PATTERNS_MAX = 100, OPTIONS_MAX = 16 };
enum { SEL_SUBSCRIBED = 1, SEL_SPECIAL = 2, SEL_REMOTE = 4, SEL_RECURSIVE = 8 };
enum { RET_SUBSCRIBED = 1, RET_CHILDREN = 2, RET_SPECIAL = 4 };

struct list_args {
	bool extended;
	unsigned select, returns;
	struct str ref;
	struct str *texts;
	size_t n;
};

struct option {
	const char *name;
	unsigned bit;
};
static const struct option selections[] = { { "SUBSCRIBED", SEL_SUBSCRIBED },
	{ "SPECIAL-USE", SEL_SPECIAL }, { "REMOTE", SEL_REMOTE },
	{ "RECURSIVEMATCH", SEL_RECURSIVE }, { NULL, 0 } };
static const struct option returns[] = { { "SUBSCRIBED", RET_SUBSCRIBED },
	{ "CHILDREN", RET_CHILDREN }, { "SPECIAL-USE", RET_SPECIAL }, { NULL, 0 } };

/* ---- arguments ---- */

/* "(" [option *(SP option)] ")" */
static bool
options(struct parse *p, const struct option *t, unsigned *ret)
{
	const struct option *o;
	unsigned n = 0;

	if (!parse_char(p, '('))
		return false;
	while (!parse_is(p, ')')) {
		if (n && !parse_sp(p))
			return false;
		for (o = t; o->name && !parse_word(p, o->name); o++)
			;
		if (!o->name || ++n > OPTIONS_MAX)
			return parse_fail(p, "Unknown LIST option");
		*ret |= o->bit;
	}
	return parse_char(p, ')');
}

/* One pattern, or several in parentheses. */
static bool
patterns(struct parse *p, struct list_args *a)
{
	if (!(a->texts = ARENA_ARRAY(p->ar, struct str, PATTERNS_MAX)))
		return parse_fail(p, "Command is too large");
	if (!parse_is(p, '('))
		return parse_list_mailbox(p, &a->texts[a->n++]);
	a->extended = true;
	if (!parse_char(p, '('))
		return false;
	do {
		if (a->n == PATTERNS_MAX)
			return parse_fail(p, "Too many patterns");
		if (a->n && !parse_sp(p))
			return false;
		if (!parse_list_mailbox(p, &a->texts[a->n++]))
			return false;
	} while (!parse_is(p, ')'));
	return parse_char(p, ')');
}

static bool
list_args(struct parse *p, struct list_args *a)
{
	if (!parse_sp(p))
		return false;
	if (parse_is(p, '(')) {
		a->extended = true;
		if (!options(p, selections, &a->select) || !parse_sp(p))
			return false;
	}
	if (!parse_astring(p, &a->ref) || !parse_sp(p) || !patterns(p, a))
		return false;
	if (p->in.n) {
		a->extended = true;
		if (!parse_sp(p))
			return false;
		if (!parse_word(p, "RETURN"))
			return parse_fail(p, "Expected RETURN");
		if (!parse_sp(p) || !options(p, returns, &a->returns))
			return false;
	}
	if (a->select & SEL_RECURSIVE && !(a->select & SEL_SUBSCRIBED))
		return parse_fail(p, "RECURSIVEMATCH needs SUBSCRIBED beside it");
	return parse_end(p);
}

/* ---- choosing ---- */

static bool
selected(const struct list_args *a, const struct tree_node *x)
{
	if (a->select & SEL_SUBSCRIBED ? !x->subscribed : !x->exists)
		return false;
	return !(a->select & SEL_SPECIAL) || x->use;
}

static bool
matches(const struct pattern *v, size_t n, const struct tree_node *x)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (pattern_match(&v[i], x->wire))
			return true;
	return false;
}

/* Whether a node below is selected; unseen: and is not shown by itself. */
static bool
selected_below(const struct list_args *a, const struct pattern *pats, const struct tree *t,
    size_t at, bool unseen)
{
	size_t i;

	for (i = at + 1; i < t->v[at].end; i++)
		if (selected(a, &t->v[i]) && !(unseen && matches(pats, a->n, &t->v[i])))
			return true;
	return false;
}

/* ---- showing ---- */

static void
attributes(struct imap *c, const struct list_args *a, const struct tree_node *x)
{
	const char *v[5];
	size_t n = 0, i;

	if (!x->exists && a->extended)
		v[n++] = "\\NonExistent";
	else if (x->noselect)
		v[n++] = "\\Noselect";
	if (x->subscribed && (a->select & SEL_SUBSCRIBED || a->returns & RET_SUBSCRIBED))
		v[n++] = "\\Subscribed";
	v[n++] = x->children ? "\\HasChildren" : "\\HasNoChildren";
	if (x->use)
		v[n++] = x->use;
	for (i = 0; i < n; i++) {
		if (i)
			out_c(c, " ");
		out_c(c, v[i]);
	}
}

static void
show(struct imap *c, const struct list_args *a, const struct tree_node *x, bool childinfo)
{
	out_c(c, "* LIST (");
	attributes(c, a, x);
	out_c(c, ") \"/\" ");
	out_astring(c, x->wire);
	if (childinfo)
		out_c(c, " (\"CHILDINFO\" (\"SUBSCRIBED\"))");
	out_c(c, "\r\n");
}

static void
consider(struct imap *c, const struct list_args *a, const struct pattern *pats,
    const struct tree *t, size_t at)
{
	bool recursive = a->select & SEL_RECURSIVE;

	if (!matches(pats, a->n, &t->v[at]))
		return;
	if (selected(a, &t->v[at]))
		show(c, a, &t->v[at], recursive && selected_below(a, pats, t, at, false));
	else if (recursive && selected_below(a, pats, t, at, true))
		show(c, a, &t->v[at], true);
}

/* LIST "" "": the separator, and the root of the reference, which here is none. */
static enum result
separator(struct imap *c)
{
	out_c(c, "* LIST (\\Noselect) \"/\" \"\"\r\n");
	return ok(c, "LIST completed");
}

enum result
cmd_list(struct imap *c, struct parse *p)
{
	struct list_args a = { 0 };
	struct pattern *pats;
	struct tree t;
	enum result r;
	size_t i;

	if (!list_args(p, &a))
		return bad_args(c, p);
	if (!a.extended && a.texts[0].n == 0)
		return separator(c);
	if ((r = mailbox_tree(c, &t)) != IMAP_OK)
		return r;
	if (!(pats = ARENA_ARRAY(c->ar, struct pattern, a.n)))
		return no(c, "[LIMIT] Out of memory");
	for (i = 0; i < a.n; i++)
		if (!pattern_make(&pats[i], a.ref, a.texts[i], c->ar))
			return no(c, "[LIMIT] Out of memory");
	for (i = 0; i < t.n; i++) {
		breathe(c);
		consider(c, &a, pats, &t, i);
	}
	return ok(c, "LIST completed");
}
