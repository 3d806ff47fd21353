/*
 * SEARCH over the selected mailbox; see search.h. The numbers cannot change while it runs
 * (no EXPUNGE is sent), so what matched is kept as numbers.
 */
#include "imapd/search.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/mail/body.h"
#include "lib/mail/date.h"

enum {
	TELL_US = 15 * 1000000,      /* a sign of life, for clients that wait */
	LIMIT_US = 600 * 1000000,
	DAY = 86400,
	ENVELOPE_TEXT = 4000,        /* lib/mail cuts texts and lists about here: */
	ENVELOPE_LIST = 6500,        /* then the header itself decides */
};

/* ---- preparing ---- */

/* Which fields the envelope block has as they are. */
static const struct {
	struct str name;
	size_t text, list;           /* offsets in struct facts_envelope; 0: not that kind */
} envelope_fields[] = {
	{ STR_INIT("Subject"), offsetof(struct facts_envelope, subject), 0 },
	{ STR_INIT("From"), 0, offsetof(struct facts_envelope, from) },
	{ STR_INIT("To"), 0, offsetof(struct facts_envelope, to) },
	{ STR_INIT("Cc"), 0, offsetof(struct facts_envelope, cc) },
	{ STR_INIT("Bcc"), 0, offsetof(struct facts_envelope, bcc) },
	{ STR_INIT("In-Reply-To"), offsetof(struct facts_envelope, in_reply_to), 0 },
	{ STR_INIT("Message-ID"), offsetof(struct facts_envelope, message_id), 0 },
};
enum { N_ENVELOPE_FIELDS = sizeof envelope_fields / sizeof *envelope_fields };

static size_t
envelope_field(struct str name)
{
	size_t i;

	for (i = 0; i < N_ENVELOPE_FIELDS; i++)
		if (str_ieq(name, envelope_fields[i].name))
			break;
	return i;
}

static int
fold_text(struct search *s, struct search_key *k)
{
	struct buf b;

	buf_init(&b, 4 * k->text.n + 16);
	text_fold(k->text, &b);
	k->folded = arena_dup(s->c->ar, buf_view(&b));
	buf_done(&b);
	return k->folded.p ? 0 : -ENOMEM;
}

static int
add_text(struct search *s, struct search_key *k)
{
	/* SEARCH_KEYS_MAX pointers at most */
	if (!s->texts && !(s->texts = ARENA_ARRAY(s->c->ar, struct search_key *, SEARCH_KEYS_MAX)))
		return -ENOMEM;
	s->texts[s->n_texts++] = k;
	if (k->folded.n > s->longest)
		s->longest = k->folded.n;
	return 0;
}

/* What a key by itself needs. */
static int
prepare_leaf(struct search *s, struct search_key *k)
{
	int r = 0;

	switch (k->type) {
	case SK_SEQ:
		seq_resolve(&k->set, (uint32_t)view_count(s->c->view));
		break;
	case SK_UID:
		seq_resolve(&k->set, view_last_uid(s->c->view));
		break;
	case SK_LARGER: case SK_SMALLER: case SK_BEFORE: case SK_ON: case SK_SINCE:
		k->cost = KNOWN_BY_FACTS;
		s->want |= FACT_DATES;
		break;
	case SK_SENTBEFORE: case SK_SENTON: case SK_SENTSINCE:
		k->cost = KNOWN_BY_FACTS;
		s->want |= FACT_ENVELOPE;
		break;
	case SK_HEADER:
		r = fold_text(s, k);
		k->cost = KNOWN_BY_HEADER;
		s->want |= FACT_STRUCTURE;
		if (envelope_field(k->name) < N_ENVELOPE_FIELDS && k->text.n) {
			k->cost = KNOWN_BY_FACTS;
			s->want |= FACT_ENVELOPE;
		}
		break;
	case SK_BODY: case SK_TEXT:
		k->cost = KNOWN_BY_TEXT;
		s->want |= FACT_STRUCTURE;
		if ((r = fold_text(s, k)) == 0)
			r = add_text(s, k);
		break;
	default:
		break;
	}
	return r;
}

/* Cheap kids first; those of one cost in the client's order. */
static void
sort_kids(struct search_key *k)
{
	struct search_key *from = k->kids, *kid, **at;

	k->kids = NULL;
	while ((kid = from)) {
		from = kid->next;
		for (at = &k->kids; *at && (*at)->cost <= kid->cost; at = &(*at)->next)
			;
		kid->next = *at;
		*at = kid;
	}
}

static int
prepare(struct search *s, struct search_key *k)
{
	struct search_key *kid;
	int r;

	if (!k->kids)
		r = prepare_leaf(s, k);
	else
		r = 0;
	for (kid = k->kids; kid && r == 0; kid = kid->next) {
		r = prepare(s, kid);
		if (kid->cost > k->cost)
			k->cost = kid->cost;
	}
	if (k->kids)
		sort_kids(k);
	if (k->cost > s->highest)
		s->highest = (enum search_level)k->cost;
	return r;
}

int
search_prepare(struct search *s)
{
	return prepare(s, &s->args->key);
}

/* ---- one message against one key ---- */

static bool
set_has(const struct seq_set *set, uint32_t n)
{
	size_t lo = 0, hi = set->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (set->v[mid].hi < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < set->n && set->v[lo].lo <= n;
}

static bool
match_view(const struct search *s, const struct search_key *k, const struct search_row *row)
{
	const struct box *b = s->c->view->box;
	ptrdiff_t word;

	switch (k->type) {
	case SK_FLAG:
		return ((b->flags[row->pos] & k->flag) != 0) == k->want;
	case SK_KEYWORD:
		word = box_keyword(b, k->text);
		return (word >= 0 && box_has_keyword(b, row->pos, (size_t)word)) == k->want;
	case SK_RECENT:
		return view_is_recent(s->c->view, row->uid) == k->want;
	case SK_SEQ:
		return set_has(&k->set, row->seq);
	case SK_UID:
		return set_has(&k->set, row->uid);
	case SK_MODSEQ:
		return b->mod[row->pos] >= (uint64_t)k->number;
	default:
		return true;
	}
}

static int64_t
day_of(int64_t time)
{
	return time >= 0 ? time / DAY : -((DAY - 1 - time) / DAY);
}

/* The Date field's day as its sender wrote it; false without one. */
static bool
sent_day(struct search_row *row, int64_t *ret)
{
	struct date d;

	if (!row->envelope.date.p || date_parse(row->envelope.date, &d) < 0)
		return false;
	*ret = date_days(d.year, d.month, d.day);
	return true;
}

static bool
match_facts(const struct search_key *k, struct search_row *row)
{
	const struct store_fact *f = row->fact;
	int64_t day = day_of(f->internal_date + (int64_t)f->internal_zone * 60);

	switch (k->type) {
	case SK_LARGER:
		return f->size > (uint64_t)k->number;
	case SK_SMALLER:
		return f->size < (uint64_t)k->number;
	case SK_BEFORE:
		return day < k->number;
	case SK_ON:
		return day == k->number;
	case SK_SINCE:
		return day >= k->number;
	case SK_SENTBEFORE:
		return sent_day(row, &day) && day < k->number;
	case SK_SENTON:
		return sent_day(row, &day) && day == k->number;
	case SK_SENTSINCE:
		return sent_day(row, &day) && day >= k->number;
	default:
		return false;
	}
}

/* By the envelope: 1 or 0, or -1 when it does not have the whole field. */
static int
match_envelope(const struct search_key *k, struct search_row *row)
{
	const struct facts_addrs *list;
	size_t i = envelope_field(k->name), sum = 0, a;
	const char *env = (const char *)&row->envelope;
	const struct str *text;

	if (i == N_ENVELOPE_FIELDS || !k->text.n || !row->has_envelope)
		return -1;
	if (envelope_fields[i].text) {
		text = (const struct str *)(env + envelope_fields[i].text);
		return text->n >= ENVELOPE_TEXT ? -1 : search_in_value(*text, k);
	}
	list = (const struct facts_addrs *)(env + envelope_fields[i].list);
	for (a = 0; a < list->n; a++)
		sum += list->v[a].name.n + list->v[a].mailbox.n + list->v[a].host.n + 16;
	return sum >= ENVELOPE_LIST ? -1 : search_in_addresses(list, k);
}

static int
match_header(const struct search_key *k, struct search_row *row)
{
	int r = match_envelope(k, row);

	if (r >= 0)
		return r;
	return row->level < KNOWN_BY_HEADER ? -1 : search_in_header(row->header, k);
}

static int
match_kids(struct search *s, const struct search_key *k, struct search_row *row)
{
	bool any = k->type == SK_OR, open = false;
	const struct search_key *kid;
	int r;

	for (kid = k->kids; kid; kid = kid->next) {
		r = search_match(s, kid, row);
		if (r >= 0 && (r == 1) == any)
			return any;
		open |= r < 0;
	}
	return open ? -1 : !any;
}

int
search_match(struct search *s, const struct search_key *k, struct search_row *row)
{
	int r;

	switch (k->type) {
	case SK_NOT:
		r = search_match(s, k->kids, row);
		return r < 0 ? r : !r;
	case SK_AND:
	case SK_OR:
		return match_kids(s, k, row);
	case SK_HEADER:
		return row->level < KNOWN_BY_FACTS ? -1 : match_header(k, row);
	case SK_BODY:
	case SK_TEXT:
		return row->level < KNOWN_BY_TEXT ? -1 : k->found;
	default:
		break;
	}
	if (k->cost == KNOWN_BY_VIEW)
		return match_view(s, k, row);
	return row->level < KNOWN_BY_FACTS ? -1 : match_facts(k, row);
}

/* ---- all messages ---- */

/* Now and then: other sessions, a sign of life, the limit. */
static int
keep_going(struct search *s, uint32_t seq)
{
	uint64_t now;

	breathe(s->c);
	now = clock_us();
	if (now - s->began_us > LIMIT_US)
		return -ETIME;
	if (now - s->told_us > TELL_US) {
		s->told_us = now;
		out_printf(s->c, "* OK Searched %u of %zu messages\r\n", seq,
		    view_count(s->c->view));
		out_flush(s->c);
		stream_flush(s->c->st);
	}
	return *stream_why(s->c->st) ? -EPIPE : 0;
}

/* Decides by what the session knows: numbers that match, and those still open. */
static int
by_view(struct search *s, struct seq_set *yes, struct seq_set *open)
{
	uint32_t seq, n = (uint32_t)view_count(s->c->view);
	struct search_row row = { .level = KNOWN_BY_VIEW };
	size_t hint = 0;
	ptrdiff_t pos;
	int r = 0, m;

	for (seq = 1; seq <= n && r == 0; seq++) {
		if (seq % 4096 == 0 && (r = keep_going(s, seq)) < 0)
			break;
		row.seq = seq;
		row.uid = view_uid(s->c->view, seq);
		if ((pos = view_pos(s->c->view, seq, row.uid, &hint)) < 0)
			continue; /* gone */
		row.pos = (size_t)pos;
		m = search_match(s, &s->args->key, &row);
		if (m)
			r = seq_set_add(m > 0 ? yes : open, seq, s->c->ar);
	}
	return r;
}

static int
read_header(struct search_row *row, const struct content *m)
{
	const struct mime_part *top = &m->mime.parts[0];
	struct buf b;
	int r;

	buf_init(&b, MIME_MAX_HEADER + 1);
	r = content_read(m, top->head, top->body - top->head, &b);
	if (r == 0 && !(row->header = arena_dup(row->ar, buf_view(&b))).p)
		r = -ENOMEM;
	buf_done(&b);
	return r;
}

/* Decides by the message's bytes: 1, 0 or negative. */
static int
by_content(struct search *s, struct search_row *row, struct wire_error *we)
{
	struct content m;
	int r = content_open(s->c, row->uid, &m, we), match = 0;

	if (r == 0 && (r = content_parts(&m, row->fact->structure, row->ar)) == 0)
		r = read_header(row, &m);
	if (r == 0 && !row->has_envelope && m.envelope.n)
		row->has_envelope = facts_envelope_get(m.envelope, row->ar, &row->envelope) == 0;
	row->level = KNOWN_BY_HEADER;
	if (r == 0)
		match = search_match(s, &s->args->key, row);
	if (match < 0) {
		r = search_scan(s, &m, row->header);
		row->level = KNOWN_BY_TEXT;
		match = r < 0 ? 0 : search_match(s, &s->args->key, row);
	}
	content_close(&m);
	return r < 0 ? r : match;
}

/* Decides one message with its facts: 1, 0, or negative. */
static int
by_facts(struct search *s, const struct row *at, struct arena *ar, struct wire_error *we)
{
	struct search_row row = { .seq = at->seq, .uid = at->uid, .level = KNOWN_BY_FACTS,
		.fact = at->fact, .ar = ar };
	ptrdiff_t pos = view_pos(s->c->view, at->seq, at->uid, NULL);
	int r;

	if (pos < 0 || !at->fact)
		return 0;
	row.pos = (size_t)pos;
	if (at->fact->envelope.n)
		row.has_envelope = facts_envelope_get(at->fact->envelope, ar, &row.envelope) == 0;
	if (s->want & FACT_ENVELOPE && !row.has_envelope)
		return by_content(s, &row, we); /* its facts are not known yet */
	r = search_match(s, &s->args->key, &row);
	if (r >= 0)
		return r;
	return by_content(s, &row, we);
}

static int
by_store(struct search *s, const struct seq_set *open, struct seq_set *yes)
{
	struct wire_error we = { 0 };
	struct arena *ar = arena_new(0);
	struct rows rows;
	struct row row;
	int r = ar ? rows_begin(&rows, s->c, open, s->want) : -ENOMEM, m;

	if (r < 0) {
		arena_free(&ar);
		return r;
	}
	while (r == 0 && (r = rows_next(&rows, &row, &we)) > 0) {
		m = by_facts(s, &row, ar, &we);
		r = m > 0 ? seq_set_add(yes, row.seq, s->c->ar) : 0;
		if (m == -ESTALE)
			r = m;
		else if (m < 0 && m != -ENOENT)
			s->broken = true;
		arena_reset(ar);
		if (r == 0)
			r = keep_going(s, row.seq);
	}
	if (r < 0 && r != -EPIPE && r != -ETIME)
		no_store(s->c, r, &we); /* while the text is there */
	rows_end(&rows);
	arena_free(&ar);
	return r;
}

/* Two ascending sets without a common number as one. */
static int
merge(const struct seq_set *a, const struct seq_set *b, struct arena *ar, struct seq_set *ret)
{
	size_t i = 0, k = 0, n = 0;
	struct seq_range *v = ARENA_ARRAY(ar, struct seq_range, a->n + b->n + 1);

	if (!v)
		return -ENOMEM;
	while (i < a->n || k < b->n) {
		struct seq_range r = k == b->n || (i < a->n && a->v[i].lo < b->v[k].lo)
		    ? a->v[i++] : b->v[k++];

		if (n && v[n - 1].hi + 1 == r.lo)
			v[n - 1].hi = r.hi;
		else
			v[n++] = r;
	}
	*ret = (struct seq_set){ v, n };
	return 0;
}

int
search_run(struct search *s, struct seq_set *ret)
{
	struct seq_set yes = { 0 }, open = { 0 }, more = { 0 };
	int r;

	s->began_us = s->told_us = clock_us();
	r = by_view(s, &yes, &open);
	if (r == 0 && open.n)
		r = by_store(s, &open, &more);
	if (r == 0)
		r = merge(&yes, &more, s->c->ar, ret);
	return r;
}
