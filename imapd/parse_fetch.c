/* The grammar of FETCH; see fetch.h and RFC 3501 section 9, RFC 7162 section 7. */
#include "imapd/fetch.h"

#include "lib/base/buf.h"

static const struct {
	const char *name;
	unsigned bits;
} plain_items[] = {
	{ "FLAGS", FETCH_FLAGS },
	{ "UID", FETCH_UID },
	{ "INTERNALDATE", FETCH_INTERNALDATE },
	{ "RFC822.SIZE", FETCH_SIZE },
	{ "ENVELOPE", FETCH_ENVELOPE },
	{ "BODYSTRUCTURE", FETCH_BODYSTRUCTURE },
	{ "MODSEQ", FETCH_MODSEQ },
}, macros[] = {
	{ "ALL", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE },
	{ "FAST", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE },
	{ "FULL", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE | FETCH_BODY },
};

static const struct {
	const char *name;
	const char *spec;
	enum section_what what;
	bool sees;
} rfc822_items[] = { { "RFC822.HEADER", "HEADER", SEC_HEADER, false },
	{ "RFC822.TEXT", "TEXT", SEC_TEXT, true }, { "RFC822", "", SEC_ALL, true } };

static struct fetch_section *
section_new(struct parse *p, struct fetch_args *a)
{
	if (a->n_sections == FETCH_SECTIONS_MAX) {
		parse_fail(p, "Too many body sections");
		return NULL;
	}
	/* room doubles at powers of two */
	if ((a->n_sections & (a->n_sections - 1)) == 0) {
		size_t cap = a->n_sections ? a->n_sections * 2 : 1;
		struct fetch_section *more = ARENA_ARRAY(p->ar, struct fetch_section, cap);

		if (!more) {
			parse_fail(p, "Command is too large");
			return NULL;
		}
		if (a->n_sections)
			memcpy(more, a->sections, a->n_sections * sizeof *more);
		a->sections = more;
	}
	return &a->sections[a->n_sections++];
}

/* ---- BODY[section]<partial> ---- */

static bool
section_path(struct parse *p, struct fetch_section *s)
{
	uint32_t path[FETCH_PATH_MAX];

	while (p->in.n && ascii_isdigit(p->in.p[0])) {
		if (s->n_path == FETCH_PATH_MAX)
			return parse_fail(p, "Part number is too deep");
		if (!parse_nz_number(p, &path[s->n_path++]))
			return false;
		if (parse_is(p, ']'))
			break;
		if (!parse_char(p, '.'))
			return false;
		if (parse_is(p, ']'))
			return parse_fail(p, "Part number ends in a dot");
	}
	if (s->n_path == 0)
		return true;
	if (!(s->path = ARENA_ARRAY(p->ar, uint32_t, s->n_path)))
		return parse_fail(p, "Command is too large");
	memcpy(s->path, path, s->n_path * sizeof *path);
	return true;
}

static bool
section_fields(struct parse *p, struct fetch_section *s)
{
	size_t cap = 16;

	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	s->fields = ARENA_ARRAY(p->ar, struct str, cap);
	do {
		if (s->n_fields == cap) {
			struct str *more = ARENA_ARRAY(p->ar, struct str, cap * 2);

			if (!more || cap >= PARSE_ITEMS_MAX)
				return parse_fail(p, "Too many header fields");
			memcpy(more, s->fields, cap * sizeof *more);
			s->fields = more;
			cap *= 2;
		}
		if (s->n_fields && !parse_sp(p))
			return false;
		if (!s->fields || !parse_astring(p, &s->fields[s->n_fields]))
			return parse_fail(p, "Command is too large");
		s->n_fields++;
	} while (!parse_is(p, ')'));
	return parse_char(p, ')');
}

static bool
section_text(struct parse *p, struct fetch_section *s)
{
	if (parse_is(p, ']'))
		return true;
	if (parse_word(p, "HEADER.FIELDS.NOT")) {
		s->what = SEC_FIELDS_NOT;
		return section_fields(p, s);
	}
	if (parse_word(p, "HEADER.FIELDS")) {
		s->what = SEC_FIELDS;
		return section_fields(p, s);
	}
	if (parse_word(p, "HEADER"))
		s->what = SEC_HEADER;
	else if (parse_word(p, "TEXT"))
		s->what = SEC_TEXT;
	else if (s->n_path && parse_word(p, "MIME"))
		s->what = SEC_MIME;
	else
		return parse_fail(p, "Unknown body section");
	return true;
}

static void
label_field(struct buf *b, struct str f)
{
	size_t i;

	for (i = 0; i < f.n; i++)
		if (!ascii_isalnum(f.p[i]) && f.p[i] != '-' && f.p[i] != '_' && f.p[i] != '.')
			break;
	if (f.n && i == f.n) {
		buf_str(b, f);
		return;
	}
	/* a quoted string; what it cannot hold was in a literal and finds no field */
	buf_putc(b, '"');
	for (i = 0; i < f.n; i++) {
		if (f.p[i] == '"' || f.p[i] == '\\')
			buf_putc(b, '\\');
		if (f.p[i] != '\r' && f.p[i] != '\n')
			buf_putc(b, f.p[i]);
	}
	buf_putc(b, '"');
}

static bool
section_label(struct parse *p, struct fetch_section *s)
{
	static const char *const words[] = { "", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT",
		"TEXT", "MIME" };
	struct buf b;
	size_t i;

	buf_init(&b, 1 << 20);
	buf_puts(&b, "BODY[");
	for (i = 0; i < s->n_path; i++) {
		if (i)
			buf_putc(&b, '.');
		buf_u64(&b, s->path[i]);
	}
	if (s->n_path && s->what != SEC_ALL)
		buf_putc(&b, '.');
	buf_puts(&b, words[s->what]);
	s->spec = arena_dup(p->ar, str_skip(buf_view(&b), 5));
	for (i = 0; i < s->n_fields; i++) {
		buf_puts(&b, i ? " " : " (");
		label_field(&b, s->fields[i]);
	}
	buf_puts(&b, s->n_fields ? ")]" : "]");
	if (s->partial) {
		buf_putc(&b, '<');
		buf_u64(&b, s->offset);
		buf_putc(&b, '>');
	}
	s->label = arena_dup(p->ar, buf_view(&b));
	buf_done(&b);
	return (s->label.p && s->spec.p) || parse_fail(p, "Command is too large");
}

static bool
body_section(struct parse *p, struct fetch_args *a, bool peek)
{
	struct fetch_section *s = section_new(p, a);

	if (!s)
		return false;
	s->sees = !peek;
	if (!parse_char(p, '[') || !section_path(p, s) || !section_text(p, s) || !parse_char(p, ']'))
		return false;
	if (parse_is(p, '<')) {
		s->partial = true;
		p->in = str_skip(p->in, 1);
		if (!parse_number(p, &s->offset) || !parse_char(p, '.') ||
		    !parse_nz_number(p, &s->count) || !parse_char(p, '>'))
			return false;
	}
	return section_label(p, s);
}

/* ---- items ---- */

static bool
fetch_item(struct parse *p, struct fetch_args *a)
{
	size_t i;

	if (str_istarts(p->in, STR("BODY.PEEK["))) {
		p->in = str_skip(p->in, 9);
		return body_section(p, a, true);
	}
	if (str_istarts(p->in, STR("BODY["))) {
		p->in = str_skip(p->in, 4);
		return body_section(p, a, false);
	}
	for (i = 0; i < sizeof plain_items / sizeof *plain_items; i++)
		if (parse_word(p, plain_items[i].name)) {
			a->items |= plain_items[i].bits;
			return true;
		}
	if (parse_word(p, "BODY")) {
		a->items |= FETCH_BODY;
		return true;
	}
	for (i = 0; i < sizeof rfc822_items / sizeof *rfc822_items; i++)
		if (parse_word(p, rfc822_items[i].name)) {
			struct fetch_section *s = section_new(p, a);

			if (!s)
				return false;
			s->label = str_c(rfc822_items[i].name);
			s->spec = str_c(rfc822_items[i].spec);
			s->what = rfc822_items[i].what;
			s->sees = rfc822_items[i].sees;
			return true;
		}
	return parse_fail(p, "Unknown FETCH item");
}

static bool
fetch_items(struct parse *p, struct fetch_args *a)
{
	size_t i;

	for (i = 0; i < sizeof macros / sizeof *macros; i++)
		if (parse_word(p, macros[i].name)) {
			a->items |= macros[i].bits;
			return true;
		}
	if (!parse_is(p, '('))
		return fetch_item(p, a);
	p->in = str_skip(p->in, 1);
	do {
		if ((a->items || a->n_sections) && !parse_sp(p))
			return false;
		if (!fetch_item(p, a))
			return false;
	} while (!parse_is(p, ')'));
	return parse_char(p, ')');
}

static bool
fetch_modifiers(struct parse *p, struct fetch_args *a)
{
	if (p->in.n == 0)
		return true;
	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	do {
		if (a->changed_since_given && !parse_sp(p))
			return false;
		if (!parse_word(p, "CHANGEDSINCE"))
			return parse_fail(p, "Unknown FETCH modifier");
		if (!parse_sp(p) || !parse_modseq(p, &a->changed_since))
			return false;
		a->changed_since_given = true;
	} while (!parse_is(p, ')'));
	a->items |= FETCH_MODSEQ;
	return parse_char(p, ')');
}

bool
parse_fetch(struct parse *p, struct fetch_args *ret)
{
	*ret = (struct fetch_args){ 0 };
	return parse_seq_set(p, &ret->set) && parse_sp(p) && fetch_items(p, ret) &&
	    fetch_modifiers(p, ret) && parse_end(p);
}
