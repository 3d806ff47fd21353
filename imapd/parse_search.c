/* The grammar of SEARCH; see search.h and RFC 3501 section 9, RFC 4466, 4731, 7162. */
#include "imapd/search.h"

#include "lib/base/text.h"
#include "lib/client/store.h"
#include "lib/mail/word.h"

enum arg { A_NONE, A_TEXT, A_DATE, A_NUMBER, A_KEYWORD, A_HEADER, A_SET, A_MODSEQ };

static const struct key_name {
	const char *name;
	enum search_type type;
	enum arg arg;
	uint32_t flag;
	bool want;
	const char *header; /* SK_HEADER with a name of its own */
} key_names[] = {
	{ "ALL", SK_ALL, A_NONE, 0, true, NULL },
	{ "ANSWERED", SK_FLAG, A_NONE, F_ANSWERED, true, NULL },
	{ "BCC", SK_HEADER, A_TEXT, 0, true, "Bcc" },
	{ "BEFORE", SK_BEFORE, A_DATE, 0, true, NULL },
	{ "BODY", SK_BODY, A_TEXT, 0, true, NULL },
	{ "CC", SK_HEADER, A_TEXT, 0, true, "Cc" },
	{ "DELETED", SK_FLAG, A_NONE, F_DELETED, true, NULL },
	{ "DRAFT", SK_FLAG, A_NONE, F_DRAFT, true, NULL },
	{ "FLAGGED", SK_FLAG, A_NONE, F_FLAGGED, true, NULL },
	{ "FROM", SK_HEADER, A_TEXT, 0, true, "From" },
	{ "HEADER", SK_HEADER, A_HEADER, 0, true, NULL },
	{ "KEYWORD", SK_KEYWORD, A_KEYWORD, 0, true, NULL },
	{ "LARGER", SK_LARGER, A_NUMBER, 0, true, NULL },
	{ "MODSEQ", SK_MODSEQ, A_MODSEQ, 0, true, NULL },
	{ "OLD", SK_RECENT, A_NONE, 0, false, NULL },
	{ "ON", SK_ON, A_DATE, 0, true, NULL },
	{ "RECENT", SK_RECENT, A_NONE, 0, true, NULL },
	{ "SEEN", SK_FLAG, A_NONE, F_SEEN, true, NULL },
	{ "SENTBEFORE", SK_SENTBEFORE, A_DATE, 0, true, NULL },
	{ "SENTON", SK_SENTON, A_DATE, 0, true, NULL },
	{ "SENTSINCE", SK_SENTSINCE, A_DATE, 0, true, NULL },
	{ "SINCE", SK_SINCE, A_DATE, 0, true, NULL },
	{ "SMALLER", SK_SMALLER, A_NUMBER, 0, true, NULL },
	{ "SUBJECT", SK_HEADER, A_TEXT, 0, true, "Subject" },
	{ "TEXT", SK_TEXT, A_TEXT, 0, true, NULL },
	{ "TO", SK_HEADER, A_TEXT, 0, true, "To" },
	{ "UID", SK_UID, A_SET, 0, true, NULL },
	{ "UNANSWERED", SK_FLAG, A_NONE, F_ANSWERED, false, NULL },
	{ "UNDELETED", SK_FLAG, A_NONE, F_DELETED, false, NULL },
	{ "UNDRAFT", SK_FLAG, A_NONE, F_DRAFT, false, NULL },
	{ "UNFLAGGED", SK_FLAG, A_NONE, F_FLAGGED, false, NULL },
	{ "UNKEYWORD", SK_KEYWORD, A_KEYWORD, 0, false, NULL },
	{ "UNSEEN", SK_FLAG, A_NONE, F_SEEN, false, NULL },
};

/* What one parse run counts. */
struct run {
	struct parse *p;
	struct search_args *args;
	unsigned n_keys;
	struct str charset; /* of texts; p NULL: UTF-8 */
};

static bool search_key(struct run *r, struct search_key *k);

static struct search_key *
key_new(struct run *r)
{
	struct search_key *k;

	if (++r->n_keys > SEARCH_KEYS_MAX) {
		parse_fail(r->p, "Too many search keys");
		return NULL;
	}
	k = ARENA_NEW(r->p->ar, struct search_key);
	if (!k)
		parse_fail(r->p, "Command is too large");
	return k;
}

/* A text, as UTF-8. */
static bool
text_arg(struct run *r, struct str *ret)
{
	struct parse *p = r->p;
	struct buf b;

	if (!parse_astring(p, ret))
		return false;
	if (!r->charset.p)
		return utf8_valid(*ret) || parse_fail(p, "Search text is not valid in its charset");
	buf_init(&b, 4 * ret->n + 16);
	charset_to_utf8(r->charset, *ret, &b);
	*ret = arena_dup(p->ar, buf_view(&b));
	buf_done(&b);
	return ret->p || parse_fail(p, "Command is too large");
}

/* ["/flags/..." priv|shared|all] number; entry names are ignored, since the store
 * has one mod-sequence a message (RFC 7162 section 3.1.5). */
static bool
modseq_arg(struct parse *p, struct search_key *k)
{
	struct str entry;
	uint64_t v;

	if (parse_is(p, '"')) {
		if (!parse_string(p, &entry) || !parse_sp(p))
			return false;
		if (!parse_word(p, "all") && !parse_word(p, "priv") && !parse_word(p, "shared"))
			return parse_fail(p, "Unknown MODSEQ entry type");
		if (!parse_sp(p))
			return false;
	}
	if (!parse_modseq(p, &v))
		return false;
	k->number = (int64_t)v;
	return true;
}

static bool
key_arg(struct run *r, enum arg arg, struct search_key *k)
{
	struct parse *p = r->p;
	uint32_t n;

	if (arg == A_NONE)
		return true;
	if (!parse_sp(p))
		return false;
	switch (arg) {
	case A_TEXT:
		return text_arg(r, &k->text);
	case A_DATE:
		return parse_date(p, &k->number);
	case A_NUMBER:
		if (!parse_number(p, &n))
			return false;
		k->number = n;
		return true;
	case A_KEYWORD:
		return parse_keyword(p, &k->text);
	case A_HEADER:
		return parse_astring(p, &k->name) && parse_sp(p) && text_arg(r, &k->text);
	case A_SET:
		return parse_seq_set(p, &k->set);
	case A_MODSEQ:
		r->args->modseq = true;
		return modseq_arg(p, k);
	case A_NONE:
		break;
	}
	return true;
}

/* NEW is RECENT UNSEEN. */
static bool
key_of_new(struct run *r, struct search_key *k)
{
	struct search_key *a = key_new(r), *b = a ? key_new(r) : NULL;

	if (!b)
		return false;
	*a = (struct search_key){ .type = SK_RECENT, .want = true, .next = b };
	*b = (struct search_key){ .type = SK_FLAG, .flag = F_SEEN };
	*k = (struct search_key){ .type = SK_AND, .kids = a };
	return true;
}

/* n keys behind the word of NOT (1) and OR (2). */
static bool
key_of_keys(struct run *r, enum search_type type, unsigned n, struct search_key *k)
{
	struct search_key **tail = &k->kids;

	*k = (struct search_key){ .type = type };
	while (n--) {
		if (!parse_sp(r->p) || !(*tail = key_new(r)) || !search_key(r, *tail))
			return false;
		tail = &(*tail)->next;
	}
	return true;
}

static bool
key_list(struct run *r, bool parens, struct search_key *k)
{
	struct search_key **tail = &k->kids;

	*k = (struct search_key){ .type = SK_AND };
	for (;;) {
		if (!(*tail = key_new(r)) || !search_key(r, *tail))
			return false;
		tail = &(*tail)->next;
		if (parens ? parse_is(r->p, ')') : r->p->in.n == 0)
			break;
		if (!parse_sp(r->p))
			return false;
	}
	return !parens || parse_char(r->p, ')');
}

static bool
key_named(struct run *r, struct search_key *k)
{
	struct parse *p = r->p;
	size_t i;

	if (parse_word(p, "NOT"))
		return key_of_keys(r, SK_NOT, 1, k);
	if (parse_word(p, "OR"))
		return key_of_keys(r, SK_OR, 2, k);
	if (parse_word(p, "NEW"))
		return key_of_new(r, k);
	for (i = 0; i < sizeof key_names / sizeof *key_names; i++) {
		const struct key_name *kn = &key_names[i];

		if (!parse_word(p, kn->name))
			continue;
		*k = (struct search_key){ .type = kn->type, .want = kn->want, .flag = kn->flag,
			.name = str_c(kn->header) };
		return key_arg(r, kn->arg, k);
	}
	return parse_fail(p, "Unknown search key");
}

static bool
search_key(struct run *r, struct search_key *k)
{
	struct parse *p = r->p;
	bool ok;

	if (++p->depth > PARSE_DEPTH_MAX)
		return parse_fail(p, "Search keys are nested too deeply");
	if (parse_is(p, '(')) {
		p->in = str_skip(p->in, 1);
		ok = key_list(r, true, k);
	} else if (parse_is(p, '*') || (p->in.n && ascii_isdigit(p->in.p[0]))) {
		struct search_key seq = { .type = SK_SEQ };

		ok = parse_seq_set(p, &seq.set);
		*k = (struct search_key){ .type = SK_SEQ, .set = seq.set, .next = k->next };
	} else {
		ok = key_named(r, k);
	}
	p->depth--;
	return ok;
}

static bool
return_options(struct parse *p, struct search_args *a)
{
	static const struct {
		const char *name;
		unsigned bit;
	} opts[] = { { "MIN", RETURN_MIN }, { "MAX", RETURN_MAX }, { "ALL", RETURN_ALL },
		{ "COUNT", RETURN_COUNT } };
	size_t i;

	a->extended = true;
	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	while (!parse_is(p, ')')) {
		if (a->returns && !parse_sp(p))
			return false;
		for (i = 0; i < sizeof opts / sizeof *opts; i++)
			if (parse_word(p, opts[i].name))
				break;
		if (i == sizeof opts / sizeof *opts)
			return parse_fail(p, "Unknown SEARCH return option");
		a->returns |= opts[i].bit;
	}
	if (!a->returns)
		a->returns = RETURN_ALL;
	return parse_char(p, ')') && parse_sp(p);
}

static bool
charset(struct run *r)
{
	struct parse *p = r->p;
	struct str name;

	if (!parse_sp(p) || !parse_astring(p, &name))
		return false;
	if (!charset_known(name)) {
		r->args->badcharset = true;
		return parse_fail(p, "Charset is not supported");
	}
	if (!str_ieq(name, STR("UTF-8")) && !str_ieq(name, STR("US-ASCII")))
		r->charset = name;
	return parse_sp(p);
}

bool
parse_search(struct parse *p, struct search_args *ret)
{
	struct run r = { .p = p, .args = ret };

	*ret = (struct search_args){ 0 };
	if (parse_word(p, "RETURN") && !return_options(p, ret))
		return false;
	if (parse_word(p, "CHARSET") && !charset(&r))
		return false;
	return key_list(&r, false, &ret->key) && parse_end(p);
}
