/*
 * The structure block:
 *
 *	u8 version | n parts | size of the message | part ...            (preorder)
 *	part: u8 kind | u8 flags | n children | head | body - head | end - body | lines |
 *	      type | subtype | params | id | description | encoding | md5 |
 *	      disposition | its params | languages | location | envelope
 *	string: 0 is NIL, else length + 1, then bytes; params: n, then n times name, value
 *
 * Numbers are LEB128 varints. A reader (struct reader) turns bad at the first torn or
 * impossible field and then gives zeros.
 */
#include <errno.h>

#include "lib/mail/facts_private.h"
#include "lib/mail/header.h"

enum { PART_TEXT = 1 /* lines are shown */, MAX_LANGUAGES = 32 };

/* ---- making ---- */

static void
put_int(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_putc(b, (char)(v | 0x80));
	buf_putc(b, (char)v);
}

static void
put_str(struct buf *b, struct str s)
{
	put_int(b, s.p ? s.n + 1 : 0);
	buf_str(b, s);
}

static void
put_params(struct buf *b, const struct mime_value *v)
{
	put_int(b, v->n);
	for (size_t i = 0; i < v->n; i++) {
		put_str(b, v->params[i].name);
		put_str(b, v->params[i].value.p ? v->params[i].value : STR(""));
	}
}

static struct str
short_text(struct str raw, struct arena *a)
{
	return raw.p ? str_head(header_unfold(raw, a), 1000) : raw;
}

/* The first token of a value: encodings have nothing else. */
static struct str
first_word(struct str raw, struct arena *a)
{
	struct str s = short_text(raw, a), w = str_word(&s);

	return w.n ? w : STR_NULL;
}

static void
put_languages(struct buf *b, struct str raw, struct arena *a)
{
	struct str s = short_text(raw, a), v[MAX_LANGUAGES];
	size_t n = 0;

	while (s.p && n < MAX_LANGUAGES) {
		struct str w = str_trim(str_cut(&s, ','));

		if (w.n)
			v[n++] = w;
	}
	put_int(b, n);
	for (size_t i = 0; i < n; i++)
		put_str(b, v[i]);
}

/* What a part is called: defaults of RFC 2045 section 5.2 and RFC 2046 section
 * 5.1.5. What has a container's type but was not looked into is shown as a leaf. */
static void
effective_type(const struct mime_part *p, const struct mime_fields *f, struct arena *a,
    struct mime_value *v)
{
	static struct mime_param ascii = { STR_INIT("charset"), STR_INIT("us-ascii"),
		STR_INIT("us-ascii") };
	bool digest = !f->type.p && (p->flags & MIME_F_DIGEST_CHILD);

	mime_value_parse(f->type, a, v);
	if (p->kind != MIME_LEAF && v->type.n && v->subtype.n)
		return;
	if (p->kind == MIME_MULTIPART) {
		v->subtype = STR("mixed"), v->type = STR("multipart");
	} else if (p->kind == MIME_MESSAGE) {
		*v = (struct mime_value){ STR("message"), STR("rfc822"), NULL, 0 };
	} else if (digest || (str_ieq(v->type, STR("message")) && str_ieq(v->subtype, STR("rfc822")))) {
		*v = (struct mime_value){ STR("application"), STR("octet-stream"), NULL, 0 };
	} else if (v->type.n == 0 || v->subtype.n == 0 || str_ieq(v->type, STR("multipart"))) {
		*v = (struct mime_value){ STR("text"), STR("plain"), &ascii, 1 };
	}
}

static void
put_part(struct str message, const struct mime *m, uint32_t i, struct arena *a, struct buf *b,
    uint32_t *problems)
{
	const struct mime_part *p = &m->parts[i];
	const struct mime_fields *f = &m->fields[i];
	struct mime_value v, disposition;
	struct buf envelope;

	effective_type(p, f, a, &v);
	mime_value_parse(f->disposition, a, &disposition);
	buf_putc(b, (char)p->kind);
	buf_putc(b, (char)(str_ieq(v.type, STR("text")) ? PART_TEXT : 0));
	put_int(b, p->n_children);
	put_int(b, p->head);
	put_int(b, p->body - p->head);
	put_int(b, p->end - p->body);
	put_int(b, p->lines);
	put_str(b, v.type);
	put_str(b, v.subtype);
	put_params(b, &v);
	put_str(b, short_text(f->id, a));
	put_str(b, short_text(f->description, a));
	put_str(b, first_word(f->encoding, a));
	put_str(b, first_word(f->md5, a));
	put_str(b, disposition.type.n ? disposition.type : STR_NULL);
	put_params(b, &disposition);
	put_languages(b, f->language, a);
	put_str(b, short_text(f->location, a));
	buf_init(&envelope, FACTS_MAX_ENVELOPE);
	if (p->kind == MIME_MESSAGE) {
		const struct mime_part *in = &m->parts[p->child];

		buf_putc(&envelope, FACTS_VERSION);
		facts_envelope_make(str_from(message.p + in->head, in->body - in->head), a,
		    &envelope, problems);
	}
	put_str(b, envelope.n && !envelope.over ? buf_view(&envelope) : STR_NULL);
	buf_done(&envelope);
}

int
facts_structure_make(struct str message, const struct mime *m, struct arena *a, struct buf *out,
    uint32_t *problems)
{
	buf_putc(out, FACTS_VERSION);
	put_int(out, m->n);
	put_int(out, m->size);
	for (uint32_t i = 0; i < m->n; i++)
		put_part(message, m, i, a, out, problems);
	return out->over ? -ENOMEM : 0;
}

/* ---- reading ---- */

struct reader {
	struct str s;
	bool bad;
};

static uint64_t
get_int(struct reader *r, uint64_t max)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 63 && r->s.n && !r->bad; shift += 7) {
		unsigned char c = (unsigned char)r->s.p[0];

		r->s.p++, r->s.n--;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			if (v <= max)
				return v;
			break;
		}
	}
	r->bad = true;
	return 0;
}

static struct str
get_str(struct reader *r)
{
	uint64_t n = get_int(r, r->s.n + 1);
	struct str v;

	if (n == 0)
		return STR_NULL;
	if (n - 1 > r->s.n) {
		r->bad = true;
		return STR_NULL;
	}
	v = str_head(r->s, n - 1);
	r->s = str_skip(r->s, n - 1);
	return v;
}

static unsigned
get_byte(struct reader *r, unsigned max)
{
	unsigned char c;

	if (!r->s.n || (c = (unsigned char)r->s.p[0]) > max) {
		r->bad = true;
		return 0;
	}
	r->s = str_skip(r->s, 1);
	return c;
}

/* The fixed fields at the begin of a part. */
static unsigned
get_range(struct reader *r, uint64_t size, struct mime_part *p)
{
	unsigned flags;

	*p = (struct mime_part){ .child = MIME_NONE, .next = MIME_NONE };
	p->kind = (enum mime_kind)get_byte(r, MIME_MESSAGE);
	flags = get_byte(r, 255);
	p->n_children = (uint32_t)get_int(r, MIME_MAX_PARTS);
	p->head = get_int(r, size);
	p->body = p->head + get_int(r, size - p->head);
	p->end = p->body + get_int(r, size - p->body);
	p->lines = (uint32_t)get_int(r, UINT32_MAX);
	if ((p->kind == MIME_LEAF) != (p->n_children == 0) ||
	    (p->kind == MIME_MESSAGE && p->n_children != 1))
		r->bad = true;
	return flags;
}

/* ---- IMAP ---- */

static void
copy_params(struct reader *r, struct buf *out)
{
	uint64_t n = get_int(r, MIME_MAX_PARAMS);

	if (!n) {
		buf_put(out, "NIL", 3);
		return;
	}
	for (uint64_t i = 0; i < n && !r->bad; i++) {
		struct str name = get_str(r), value = get_str(r);

		buf_putc(out, i ? ' ' : '(');
		facts_nstring(out, name.p ? name : STR(""));
		buf_putc(out, ' ');
		facts_nstring(out, value.p ? value : STR(""));
	}
	buf_putc(out, ')');
}

static void
copy_disposition(struct reader *r, struct buf *out)
{
	struct str d = get_str(r);
	size_t start = out->n;

	if (d.p) {
		buf_putc(out, '(');
		facts_nstring(out, d);
		buf_putc(out, ' ');
	}
	copy_params(r, out);
	if (d.p) {
		buf_putc(out, ')');
	} else {
		buf_truncate(out, start);
		buf_put(out, "NIL", 3);
	}
}

static void
copy_languages(struct reader *r, struct buf *out)
{
	uint64_t n = get_int(r, MAX_LANGUAGES);

	if (n != 1)
		buf_puts(out, n ? "(" : "NIL");
	for (uint64_t i = 0; i < n && !r->bad; i++) {
		struct str s = get_str(r);

		if (i)
			buf_putc(out, ' ');
		facts_nstring(out, s.p ? s : STR(""));
	}
	if (n > 1)
		buf_putc(out, ')');
}

static void put_body(struct reader *r, uint64_t size, struct buf *out, bool extended,
    unsigned depth);

static void
put_string(struct buf *out, struct str s, struct str or)
{
	facts_nstring(out, s.p ? s : or);
}

/* BODY's fields of a leaf or message up to its octets. */
static void
put_basic(struct reader *r, struct buf *out)
{
	copy_params(r, out);
	buf_putc(out, ' ');
	facts_nstring(out, get_str(r));
	buf_putc(out, ' ');
	facts_nstring(out, get_str(r));
	buf_putc(out, ' ');
	put_string(out, get_str(r), STR("7BIT"));
}

static void
skip_strings(struct reader *r, uint64_t n)
{
	while (n-- && !r->bad)
		get_str(r);
}

/* Disposition, languages and location from the block; nothing when not extended. */
static void
put_extension(struct reader *r, struct buf *out, bool extended)
{
	size_t start = out->n;

	buf_putc(out, ' ');
	copy_disposition(r, out);
	buf_putc(out, ' ');
	copy_languages(r, out);
	buf_putc(out, ' ');
	facts_nstring(out, get_str(r));
	if (!extended)
		buf_truncate(out, start);
}

static void
put_multipart(struct reader *r, uint64_t size, const struct mime_part *p, struct buf *out,
    bool extended, unsigned depth)
{
	struct str subtype;
	struct reader params, rest;

	get_str(r);
	subtype = get_str(r);
	params = *r;
	skip_strings(r, 2 * get_int(r, MIME_MAX_PARAMS)); /* parameters */
	skip_strings(r, 4);                               /* id, description, encoding, md5 */
	rest = *r;
	get_str(r);
	skip_strings(r, 2 * get_int(r, MIME_MAX_PARAMS));
	skip_strings(r, get_int(r, MAX_LANGUAGES));
	skip_strings(r, 2); /* location, envelope */
	for (uint32_t i = 0; i < p->n_children && !r->bad; i++)
		put_body(r, size, out, extended, depth + 1);
	buf_putc(out, ' ');
	put_string(out, subtype, STR("mixed"));
	if (extended) {
		buf_putc(out, ' ');
		copy_params(&params, out);
		put_extension(&rest, out, true);
	}
}

static void
put_single(struct reader *r, uint64_t size, const struct mime_part *p, unsigned flags,
    struct buf *out, bool extended, unsigned depth)
{
	struct str type = get_str(r), subtype = get_str(r), md5;
	struct reader rest;

	put_string(out, type, STR("text"));
	buf_putc(out, ' ');
	put_string(out, subtype, STR("plain"));
	buf_putc(out, ' ');
	put_basic(r, out);
	buf_putc(out, ' ');
	buf_u64(out, p->end - p->body);
	md5 = get_str(r);
	rest = *r;
	get_str(r);
	skip_strings(r, 2 * get_int(r, MIME_MAX_PARAMS));
	skip_strings(r, get_int(r, MAX_LANGUAGES));
	get_str(r); /* location */
	if (p->kind == MIME_MESSAGE) {
		buf_putc(out, ' ');
		facts_envelope_imap(get_str(r), out);
		buf_putc(out, ' ');
		put_body(r, size, out, extended, depth + 1);
	} else {
		get_str(r);
	}
	if (p->kind == MIME_MESSAGE || (flags & PART_TEXT)) {
		buf_putc(out, ' ');
		buf_u64(out, p->lines);
	}
	if (extended) {
		buf_putc(out, ' ');
		facts_nstring(out, md5);
		put_extension(&rest, out, true);
	}
}

static void
put_body(struct reader *r, uint64_t size, struct buf *out, bool extended, unsigned depth)
{
	struct mime_part p;
	unsigned flags = get_range(r, size, &p);

	if (depth > 2 * MIME_MAX_DEPTH)
		r->bad = true;
	if (r->bad)
		return;
	buf_putc(out, '(');
	if (p.kind == MIME_MULTIPART)
		put_multipart(r, size, &p, out, extended, depth);
	else
		put_single(r, size, &p, flags, out, extended, depth);
	buf_putc(out, ')');
}

static bool
open_block(struct str block, struct reader *r, uint64_t *ret_n, uint64_t *ret_size)
{
	*r = (struct reader){ str_skip(block, 1), block.n == 0 || block.p[0] != FACTS_VERSION };
	*ret_n = get_int(r, MIME_MAX_PARTS);
	*ret_size = get_int(r, INT64_MAX);
	return !r->bad && *ret_n > 0;
}

void
facts_structure_imap(struct str block, struct buf *out, bool extended)
{
	struct reader r;
	uint64_t n, size;
	size_t start = out->n;

	if (open_block(block, &r, &n, &size)) {
		put_body(&r, size, out, extended, 0);
		if (!r.bad && r.s.n == 0)
			return;
	}
	buf_truncate(out, start);
	buf_puts(out, "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 0 0");
	buf_puts(out, extended ? " NIL NIL NIL NIL)" : ")");
}

/* ---- as a table ---- */

static struct facts_param *
get_params(struct reader *r, struct arena *a, size_t *ret_n)
{
	size_t n = get_int(r, MIME_MAX_PARAMS);
	struct facts_param *v = n ? ARENA_ARRAY(a, struct facts_param, n) : NULL;

	if (n && !v)
		r->bad = true;
	for (size_t i = 0; i < n && !r->bad; i++) {
		v[i].name = get_str(r);
		v[i].value = get_str(r);
	}
	*ret_n = r->bad ? 0 : n;
	return v;
}

static void
get_part(struct reader *r, struct arena *a, struct facts_part *p)
{
	size_t n;

	p->type = get_str(r);
	p->subtype = get_str(r);
	p->params = get_params(r, a, &p->n_params);
	p->id = get_str(r);
	p->description = get_str(r);
	p->encoding = get_str(r);
	p->md5 = get_str(r);
	p->disposition = get_str(r);
	p->disposition_params = get_params(r, a, &p->n_disposition_params);
	n = get_int(r, MAX_LANGUAGES);
	p->languages = n ? ARENA_ARRAY(a, struct str, n) : NULL;
	if (n && !p->languages)
		r->bad = true;
	for (size_t i = 0; i < n && !r->bad; i++)
		p->languages[i] = get_str(r);
	p->n_languages = r->bad ? 0 : n;
	p->location = get_str(r);
	p->envelope = get_str(r);
}

/* Ties part i to the innermost ancestor that still wants children. */
static bool
link_part(struct mime *m, uint32_t *want, uint32_t i)
{
	uint32_t up = i - 1;
	struct mime_part *p = &m->parts[i], *pa;

	while (want[up] == 0) {
		if (m->parts[up].parent == MIME_NONE)
			return false;
		up = m->parts[up].parent;
	}
	want[up]--;
	pa = &m->parts[up];
	p->parent = up;
	*(pa->child == MIME_NONE ? &pa->child : &m->parts[pa->last_child].next) = i;
	pa->last_child = i;
	return p->head >= pa->body && p->end <= pa->end;
}

int
facts_structure_get(struct str block, struct arena *a, struct mime *ret_mime,
    struct facts_part **ret_parts)
{
	struct reader r;
	uint64_t n, size, wanted = 1;
	struct mime m = { 0 };
	struct facts_part *parts;
	uint32_t *want;

	if (!open_block(block, &r, &n, &size))
		return -EPROTO;
	m.parts = ARENA_ARRAY(a, struct mime_part, n);
	parts = ARENA_ARRAY(a, struct facts_part, n);
	want = ARENA_ARRAY(a, uint32_t, n);
	if (!m.parts || !parts || !want)
		return -EPROTO;
	m.n = (uint32_t)n, m.size = size;
	for (uint32_t i = 0; i < n && !r.bad; i++) {
		get_range(&r, size, &m.parts[i]);
		want[i] = m.parts[i].n_children;
		wanted += want[i];
		m.parts[i].parent = MIME_NONE;
		if (i && !link_part(&m, want, i))
			r.bad = true;
		parts[i].range = &m.parts[i];
		get_part(&r, a, &parts[i]);
	}
	if (r.bad || r.s.n || wanted != n)
		return -EPROTO;
	*ret_mime = m;
	*ret_parts = parts;
	return 0;
}
