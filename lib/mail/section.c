/*
 * BODY[section] on the part table (RFC 3501 section 6.4.5). Numbers go from a
 * multipart to its n-th child; through a message/rfc822 to the message inside; and
 * a message that is no multipart has one part, 1, its own body.
 */
#include "lib/mail/mime.h"

#include <errno.h>

#include "lib/mail/header.h"

static const struct {
	struct str name;
	enum mime_what what;
} words[] = {
	{ STR_INIT("HEADER"), MIME_W_HEADER }, { STR_INIT("HEADER.FIELDS"), MIME_W_FIELDS },
	{ STR_INIT("HEADER.FIELDS.NOT"), MIME_W_FIELDS_NOT }, { STR_INIT("TEXT"), MIME_W_TEXT },
	{ STR_INIT("MIME"), MIME_W_MIME },
};

/* Cuts "12." or "12" off: the number, 0 when s begins with none, -EINVAL. */
static int
cut_number(struct str *s)
{
	size_t n = 0;
	uint32_t v;

	while (n < s->n && ascii_isdigit(s->p[n]))
		n++;
	if (n == 0)
		return 0;
	if (s->p[0] == '0' || !str_u32(str_head(*s, n), 1000000, &v))
		return -EINVAL;
	if (n < s->n && (s->p[n] != '.' || n + 1 == s->n))
		return -EINVAL;
	*s = str_skip(*s, n + 1);
	return (int)v;
}

static int
cut_what(struct str s, bool numbered, enum mime_what *ret)
{
	if (s.n == 0) {
		*ret = MIME_W_ALL;
		return 0;
	}
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_ieq(s, words[i].name) && (numbered || words[i].what != MIME_W_MIME)) {
			*ret = words[i].what;
			return 0;
		}
	return -EINVAL;
}

int
mime_section_check(struct str spec, enum mime_what *ret_what)
{
	bool numbered = false;
	int no;

	while ((no = cut_number(&spec)) > 0)
		numbered = true;
	return no < 0 ? no : cut_what(spec, numbered, ret_what);
}

/* The part that number `no` names inside *at, which is a message or a part. */
static int
descend(const struct mime *m, uint32_t *at, bool *is_message, uint32_t no)
{
	const struct mime_part *p = &m->parts[*at];
	uint32_t i;

	if (!*is_message && p->kind == MIME_MESSAGE) {
		*at = p->child;
		*is_message = true;
		return descend(m, at, is_message, no);
	}
	if (p->kind != MIME_MULTIPART) {
		/* the one part of a message that is none; of a leaf there are none */
		bool own = *is_message && no == 1;

		*is_message = false;
		return own ? 0 : -ENOENT;
	}
	for (i = p->child; i != MIME_NONE && --no; i = m->parts[i].next)
		;
	if (i == MIME_NONE)
		return -ENOENT;
	*at = i;
	*is_message = false;
	return 0;
}

int
mime_section(const struct mime *m, struct str spec, struct mime_section *ret)
{
	struct mime_section s = { 0 };
	const struct mime_part *p;
	bool is_message = true, numbered = false;
	uint32_t at = 0;
	int no, r;

	if ((r = mime_section_check(spec, &s.what)) < 0)
		return r;
	while ((no = cut_number(&spec)) > 0) {
		if (descend(m, &at, &is_message, (uint32_t)no) < 0)
			return -ENOENT;
		numbered = true;
	}
	p = &m->parts[at];
	if (numbered && s.what != MIME_W_ALL && s.what != MIME_W_MIME) {
		if (p->kind != MIME_MESSAGE)
			return -ENOENT; /* HEADER and TEXT are of a message */
		at = p->child;
		p = &m->parts[at];
	}
	s.part = at;
	switch (s.what) {
	case MIME_W_ALL:
		s.off = numbered ? p->body : 0;
		s.len = (numbered ? p->end : m->size) - s.off;
		break;
	case MIME_W_TEXT:
		s.off = p->body, s.len = p->end - p->body;
		break;
	default:
		s.off = p->head, s.len = p->body - p->head;
		break;
	}
	*ret = s;
	return 0;
}

void
mime_header_fields(struct str header, const struct str *names, size_t n, bool not, struct buf *out)
{
	struct header_field f;

	while (header_next(&header, &f)) {
		bool named = false;

		for (size_t i = 0; i < n && f.name.n; i++)
			named |= str_ieq(f.name, names[i]);
		if (f.name.n && named != not)
			buf_str(out, f.whole);
	}
	buf_str(out, str_head(header, header_blank(header)));
}

void
mime_part_number(const struct mime *m, uint32_t i, struct buf *out)
{
	uint32_t stack[2 * MIME_MAX_DEPTH + 2], n = 0;

	for (; i != MIME_NONE && n < sizeof stack / sizeof *stack; i = m->parts[i].parent) {
		uint32_t parent = m->parts[i].parent, no = 1;

		if (parent == MIME_NONE || m->parts[parent].kind != MIME_MULTIPART)
			continue;
		for (uint32_t k = m->parts[parent].child; k != i; k = m->parts[k].next)
			no++;
		stack[n++] = no;
	}
	while (n--) {
		buf_u64(out, stack[n]);
		if (n)
			buf_putc(out, '.');
	}
}
