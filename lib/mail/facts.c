/*
 * The facts blob: fields of lib/base/tlv.h behind a magic and a version.
 *
 *	"PHF" | u8 version | fields
 *
 * facts_get checks what other programs rely on: lengths, the envelope's grammar,
 * the structure's tree, UTF-8 where it is promised.
 */
#include "lib/mail/facts.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/text.h"
#include "lib/base/tlv.h"
#include "lib/mail/body.h"
#include "lib/mail/date.h"
#include "lib/mail/facts_private.h"
#include "lib/mail/header.h"

static const char magic[4] = { 'P', 'H', 'F', FACTS_VERSION };

enum { T_ENVELOPE = 1, T_STRUCTURE, T_PREVIEW, T_SEARCH, T_ID, T_REFS, T_SUBJECT, T_REPLY, T_DATE,
	T_ZONE, T_PROBLEMS, T_SIZE };

/* ---- ids ---- */

/* Cuts the next <id> of a value; blanks inside make it none. */
static bool
next_id(struct str *s, struct str *ret)
{
	for (;;) {
		ptrdiff_t open = str_chr(*s, '<'), close;
		struct str id;

		if (open < 0)
			return false;
		*s = str_skip(*s, (size_t)open + 1);
		if ((close = str_chr(str_head(*s, FACTS_MAX_ID + 1), '>')) <= 0)
			continue;
		id = str_head(*s, (size_t)close);
		if (str_chr(id, '<') >= 0 || str_chr(id, ' ') >= 0 || str_chr(id, '\0') >= 0)
			continue;
		*s = str_skip(*s, (size_t)close + 1);
		*ret = id;
		return true;
	}
}

struct refs {
	struct str v[FACTS_MAX_REFS];
	size_t n;
};

static void
add_ref(struct refs *r, struct str id)
{
	for (size_t i = 0; i < r->n; i++)
		if (str_eq(r->v[i], id))
			return;
	if (r->n < FACTS_MAX_REFS)
		r->v[r->n++] = id;
}

/* The parent (In-Reply-To), then References from the last to the first. */
static void
collect_refs(struct str header, struct arena *a, struct refs *ret)
{
	struct str raw, id, last[FACTS_MAX_REFS];
	size_t n = 0;

	if (header_find(header, STR("In-Reply-To"), &raw))
		for (raw = header_unfold(raw, a); next_id(&raw, &id);)
			add_ref(ret, id);
	if (!header_find(header, STR("References"), &raw))
		return;
	for (raw = header_unfold(raw, a); next_id(&raw, &id); n++)
		last[n % FACTS_MAX_REFS] = id;
	for (size_t i = 0; i < n && i < FACTS_MAX_REFS; i++)
		add_ref(ret, last[(n - 1 - i) % FACTS_MAX_REFS]);
}

bool
facts_ref_next(struct str *refs, struct str *ret_id)
{
	size_t n;

	if (refs->n < 2 || (n = le16_get(refs->p)) > refs->n - 2)
		return false;
	*ret_id = str_from(refs->p + 2, n);
	*refs = str_skip(*refs, 2 + n);
	return true;
}

static void
put_refs(struct str header, struct arena *a, struct buf *out)
{
	struct refs r = { .n = 0 };
	size_t start;

	collect_refs(header, a, &r);
	start = tlv_begin(out, T_REFS);
	for (size_t i = 0; i < r.n; i++) {
		buf_le16(out, (uint16_t)r.v[i].n);
		buf_str(out, r.v[i]);
	}
	tlv_end(out, start);
}

static void
put_ids(struct str header, struct arena *a, struct buf *out, uint32_t *problems)
{
	struct str raw, id;
	struct buf subject;
	struct date d;
	bool reply;

	if (header_find(header, STR("Message-ID"), &raw)) {
		raw = header_unfold(raw, a);
		id = raw;
		if (!next_id(&raw, &id))
			id = str_head(id, FACTS_MAX_ID);
		if (id.n)
			tlv_str(out, T_ID, id);
	}
	put_refs(header, a, out);
	if (header_find(header, STR("Subject"), &raw)) {
		buf_init(&subject, 16384);
		reply = subject_base(raw, &subject);
		while (subject.n > FACTS_MAX_SUBJECT ||
		    (subject.n && !utf8_valid(str_from(subject.p, subject.n))))
			subject.n = subject.n > FACTS_MAX_SUBJECT ? FACTS_MAX_SUBJECT : subject.n - 1;
		tlv_str(out, T_SUBJECT, buf_view(&subject));
		tlv_u64(out, T_REPLY, reply);
		buf_done(&subject);
	}
	if (!header_find(header, STR("Date"), &raw) || date_parse(raw, &d) < 0) {
		*problems |= FACTS_P_BAD_DATE;
		return;
	}
	tlv_u64(out, T_DATE, (uint64_t)d.time);
	tlv_u64(out, T_ZONE, (uint64_t)(int64_t)d.zone);
}

/* ---- text ---- */

static bool
is_text(const struct mime_value *v, struct str subtype)
{
	if (v->type.n == 0)
		return str_eq(subtype, STR("plain"));
	return str_ieq(v->type, STR("text")) && str_ieq(v->subtype, subtype);
}

/* Appends the text of a leaf, from at most max bytes of its body. False: it has none. */
static bool
leaf_text(struct str message, const struct mime *m, uint32_t i, struct arena *a, size_t max,
    struct buf *out)
{
	const struct mime_part *p = &m->parts[i];
	struct mime_value v, d;
	struct str body = str_from(message.p + p->body, p->end - p->body);
	struct buf text;
	bool html;

	if (p->kind != MIME_LEAF)
		return false;
	mime_value_parse(m->fields[i].type, a, &v);
	mime_value_parse(m->fields[i].disposition, a, &d);
	html = is_text(&v, STR("html"));
	if ((!html && !is_text(&v, STR("plain"))) || str_ieq(d.type, STR("attachment")))
		return false;
	buf_init(&text, 4 * max + 64);
	body_text(str_head(body, max), m->fields[i].encoding, mime_value_get(&v, STR("charset")),
	    html ? &text : out);
	if (html)
		html_text(buf_view(&text), out);
	buf_done(&text);
	return true;
}

/* At most FACTS_PREVIEW_CHARS characters; runs of blanks become one; quoted lines
 * (">") are left out unless nothing else is there. */
static void
squeeze(struct str s, bool quotes, struct buf *out)
{
	unsigned chars = 0;
	bool line_start = true, gap = false;

	while (s.n && chars < FACTS_PREVIEW_CHARS) {
		uint32_t cp = 0;
		size_t n = utf8_next(s, &cp);

		if (line_start && cp == '>' && !quotes) {
			ptrdiff_t lf = str_chr(s, '\n');

			s = str_skip(s, lf < 0 ? s.n : (size_t)lf + 1);
			continue;
		}
		line_start = cp == '\n';
		if (n == 0 || cp <= 0x20 || cp == 0x7f || cp == 0xa0 || cp == 0xad ||
		    (cp >= 0x200b && cp <= 0x200f) || cp == 0xfeff) {
			gap = gap || cp <= 0x20 || cp == 0xa0;
			s = str_skip(s, n ? n : 1);
			continue;
		}
		if (gap && chars) {
			buf_putc(out, ' ');
			if (++chars == FACTS_PREVIEW_CHARS)
				break;
		}
		gap = false;
		buf_put(out, s.p, n);
		chars++;
		s = str_skip(s, n);
	}
}

static void
put_preview(struct str message, const struct mime *m, struct arena *a, struct buf *out)
{
	struct buf text, preview;
	size_t start = tlv_begin(out, T_PREVIEW);

	buf_init(&text, 64 << 10);
	buf_init(&preview, FACTS_MAX_PREVIEW - 1);
	for (uint32_t i = 0; i < m->n && preview.n == 0; i++) {
		buf_clear(&text);
		if (!leaf_text(message, m, i, a, 6000, &text))
			continue;
		squeeze(buf_view(&text), false, &preview);
		if (preview.n == 0)
			squeeze(buf_view(&text), true, &preview);
	}
	buf_putc(out, FACTS_VERSION);
	buf_str(out, buf_view(&preview));
	tlv_end(out, start);
	buf_done(&text);
	buf_done(&preview);
}

static void
put_search(struct str message, const struct mime *m, struct arena *a, struct buf *out)
{
	struct buf text;
	size_t n;

	buf_init(&text, FACTS_MAX_SEARCH);
	for (uint32_t i = 0; i < m->n && !text.over; i++)
		if (leaf_text(message, m, i, a, FACTS_MAX_SEARCH, &text))
			buf_putc(&text, '\n');
	n = text.n;
	while (n && !utf8_valid(str_from(text.p, n)))
		n--;
	tlv_str(out, T_SEARCH, str_from(text.p, n));
	buf_done(&text);
}

/* ---- making ---- */

static uint32_t
mime_problems(unsigned p)
{
	static const uint32_t map[][2] = {
		{ MIME_P_DEPTH, FACTS_P_DEPTH }, { MIME_P_PARTS, FACTS_P_PARTS },
		{ MIME_P_HEADER_SIZE, FACTS_P_HEADER_SIZE }, { MIME_P_NO_CLOSE, FACTS_P_NO_CLOSE },
		{ MIME_P_NO_BOUNDARY, FACTS_P_NO_BOUNDARY }, { MIME_P_BARE_LF, FACTS_P_BARE_LF },
		{ MIME_P_NUL, FACTS_P_NUL }, { MIME_P_BAD_HEADER, FACTS_P_BAD_HEADER },
	};
	uint32_t r = 0;

	for (size_t i = 0; i < sizeof map / sizeof *map; i++)
		if (p & map[i][0])
			r |= map[i][1];
	return r;
}

/* The structure block of one text/plain part that spans all. */
static void
put_flat_structure(uint64_t size, struct buf *out)
{
	struct mime_part part = { .kind = MIME_LEAF, .end = size, .parent = MIME_NONE,
		.child = MIME_NONE, .next = MIME_NONE };
	struct mime_fields fields = { 0 };
	struct mime m = { &part, &fields, 1, 0, size };
	struct arena *a = arena_new(64 << 10);
	uint32_t problems = 0;
	size_t start = tlv_begin(out, T_STRUCTURE);

	if (a)
		facts_structure_make(STR_NULL, &m, a, out, &problems);
	else
		out->over = true;
	tlv_end(out, start);
	arena_free(&a);
}

static void
put_structure(struct str message, const struct mime *m, struct arena *a, struct buf *out,
    uint32_t *problems)
{
	struct buf b;

	buf_init(&b, FACTS_MAX_STRUCTURE);
	if (facts_structure_make(message, m, a, &b, problems) < 0) {
		*problems |= FACTS_P_CUT;
		put_flat_structure(message.n, out);
	} else {
		tlv_str(out, T_STRUCTURE, buf_view(&b));
	}
	buf_done(&b);
}

static int
make(struct str message, unsigned want, uint64_t deadline, struct arena *a, struct buf *out)
{
	struct mime m;
	uint32_t problems;
	struct str header;
	size_t start;
	int r = mime_parse(message, a, deadline, &m);

	if (r < 0)
		return r;
	problems = mime_problems(m.problems);
	header = str_head(message, m.parts[0].body);
	buf_put(out, magic, sizeof magic);
	start = tlv_begin(out, T_ENVELOPE);
	buf_putc(out, FACTS_VERSION);
	facts_envelope_make(header, a, out, &problems);
	tlv_end(out, start);
	put_structure(message, &m, a, out, &problems);
	if (deadline && clock_us() > deadline)
		return -ETIME;
	put_preview(message, &m, a, out);
	if (want & FACTS_WANT_SEARCH)
		put_search(message, &m, a, out);
	put_ids(header, a, out, &problems);
	tlv_u64(out, T_PROBLEMS, problems);
	tlv_u64(out, T_SIZE, message.n);
	return out->over ? -ENOMEM : 0;
}

int
facts_make(struct str message, unsigned want, uint64_t deadline, struct buf *out)
{
	struct arena *a = arena_new(0);
	size_t start = out->n;
	int r = a ? make(message, want, deadline, a, out) : -ENOMEM;

	if (r < 0)
		buf_truncate(out, start);
	arena_free(&a);
	return r;
}

void
facts_opaque(uint64_t size, struct buf *out)
{
	static const char nils[] = "\001(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";

	buf_put(out, magic, sizeof magic);
	tlv_str(out, T_ENVELOPE, str_from(nils, sizeof nils - 1));
	put_flat_structure(size, out);
	tlv_str(out, T_PREVIEW, STR("\001"));
	tlv_u64(out, T_PROBLEMS, FACTS_P_OPAQUE);
	tlv_u64(out, T_SIZE, size);
}

/* ---- reading ---- */

static bool
valid_structure(struct str block)
{
	struct arena *a = arena_new(0);
	struct facts_part *parts;
	struct mime m;
	bool ok = a && facts_structure_get(block, a, &m, &parts) == 0;

	for (uint32_t i = 0; ok && i < m.n; i++) {
		struct facts_envelope e;

		if (parts[i].envelope.p)
			ok = facts_envelope_get(parts[i].envelope, NULL, &e) == 0;
	}
	arena_free(&a);
	return ok;
}

static bool
valid(struct facts *f)
{
	struct facts_envelope e;
	struct str r = f->references, id;

	for (; facts_ref_next(&r, &id); f->n_references++)
		if (id.n == 0 || id.n > FACTS_MAX_ID)
			return false;
	return r.n == 0 && f->n_references <= FACTS_MAX_REFS &&
	    f->envelope.n <= FACTS_MAX_ENVELOPE && f->structure.n <= FACTS_MAX_STRUCTURE &&
	    f->preview.n >= 1 && f->preview.n <= FACTS_MAX_PREVIEW && f->preview.p[0] == FACTS_VERSION &&
	    utf8_valid(f->preview) && f->search.n <= FACTS_MAX_SEARCH && utf8_valid(f->search) &&
	    f->message_id.n <= FACTS_MAX_ID && f->base_subject.n <= FACTS_MAX_SUBJECT &&
	    utf8_valid(f->base_subject) && f->date_zone > -1440 && f->date_zone < 1440 &&
	    facts_envelope_get(f->envelope, NULL, &e) == 0 && valid_structure(f->structure);
}

int
facts_get(struct str blob, struct facts *ret)
{
	struct facts f = { 0 };
	struct tlv t;
	int r;

	if (blob.n > FACTS_MAX || !str_starts(blob, str_from(magic, sizeof magic)))
		return -EPROTO;
	blob = str_skip(blob, sizeof magic);
	while ((r = tlv_next(&blob, &t)) > 0)
		switch (t.tag) {
		case T_ENVELOPE: f.envelope = t.v; break;
		case T_STRUCTURE: f.structure = t.v; break;
		case T_PREVIEW: f.preview = t.v; break;
		case T_SEARCH: f.search = t.v; break;
		case T_ID: f.message_id = t.v; break;
		case T_REFS: f.references = t.v; break;
		case T_SUBJECT: f.base_subject = t.v; break;
		case T_REPLY: f.is_reply = tlv_int(t.v) != 0; break;
		case T_DATE: f.date = (int64_t)tlv_int(t.v); break;
		case T_ZONE: f.date_zone = (int32_t)tlv_int(t.v); break;
		case T_PROBLEMS: f.problems = (uint32_t)tlv_int(t.v); break;
		case T_SIZE: f.size = tlv_int(t.v); break;
		}
	if (r < 0 || !valid(&f))
		return -EPROTO;
	*ret = f;
	return 0;
}

struct str
facts_preview(struct str block)
{
	return block.n && block.p[0] == FACTS_VERSION ? str_skip(block, 1) : STR_NULL;
}
