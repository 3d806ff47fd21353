/*
 * The MIME parser. It goes through the message line by line with a stack of the
 * containers that are open:
 *
 *	stack[0] multipart "a" | stack[1] message/rfc822 | stack[2] multipart "b" ; leaf
 *
 * A line that begins with "--" is held against their boundaries, innermost
 * first. A match at level i ends the leaf and all containers above i; a closing one
 * silences level i too: what follows is its epilogue. So a boundary that is never
 * closed is repaired by the next one outside (RFC 2046 section 5.1.2).
 *
 * Line counts come from one running count of LFs, so nothing is read twice but
 * headers, and time is linear in size (times the depth for lines with "--").
 */
#include "lib/mail/mime.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/mail/header.h"

struct open {
	uint32_t part;
	struct str boundary; /* n 0: a message, or a multipart in its epilogue */
};

struct parser {
	struct str msg;
	struct arena *a;
	struct mime *out;
	uint32_t cap;
	uint64_t pos;        /* begin of the line that is looked at */
	uint32_t line;       /* LFs before pos */
	uint32_t leaf;       /* the leaf whose body is read, or MIME_NONE */
	bool full;           /* parts' cap reached: no more boundaries */
	unsigned depth;
	struct open stack[MIME_MAX_DEPTH];
};

static struct str
line_at(const struct parser *p)
{
	struct str s = str_skip(p->msg, p->pos);
	ptrdiff_t i = str_chr(s, '\n');

	return i < 0 ? s : str_head(s, (size_t)i + 1);
}

static void
next_line(struct parser *p, struct str line)
{
	p->pos += line.n;
	if (line.n && line.p[line.n - 1] == '\n') {
		p->line++;
		if (line.n < 2 || line.p[line.n - 2] != '\r')
			p->out->problems |= MIME_P_BARE_LF;
	}
}

static bool
only_blanks(struct str s)
{
	return str_trim(s).n == 0;
}

/* The level whose boundary the line is, or -1. */
static int
boundary_level(const struct parser *p, struct str line, bool *ret_close)
{
	if (p->full || line.n < 3 || line.p[0] != '-' || line.p[1] != '-')
		return -1;
	line = str_skip(line, 2);
	for (int i = (int)p->depth - 1; i >= 0; i--) {
		struct str b = p->stack[i].boundary, rest;

		if (b.n == 0 || !str_starts(line, b))
			continue;
		rest = str_skip(line, b.n);
		*ret_close = str_starts(rest, STR("--")) && only_blanks(str_skip(rest, 2));
		if (*ret_close || only_blanks(rest))
			return i;
	}
	return -1;
}

static int
new_part(struct parser *p, uint32_t parent, uint32_t *ret)
{
	struct mime *m = p->out;
	struct mime_part *part;

	if (m->n == p->cap) {
		uint32_t cap = p->cap ? p->cap * 2 : 8;
		struct mime_part *v = ARENA_ARRAY(p->a, struct mime_part, cap);
		struct mime_fields *f = ARENA_ARRAY(p->a, struct mime_fields, cap);

		if (!v || !f)
			return -ENOMEM;
		if (m->n) {
			memcpy(v, m->parts, m->n * sizeof *v);
			memcpy(f, m->fields, m->n * sizeof *f);
		}
		m->parts = v, m->fields = f, p->cap = cap;
	}
	part = &m->parts[m->n];
	*part = (struct mime_part){ .parent = parent, .child = MIME_NONE, .next = MIME_NONE };
	part->head = part->body = part->end = p->pos;
	*ret = m->n++;
	return 0;
}

static void
link_part(struct mime *m, uint32_t parent, uint32_t i)
{
	struct mime_part *pa = &m->parts[parent];

	*(pa->n_children++ ? &m->parts[pa->last_child].next : &pa->child) = i;
	pa->last_child = i;
}

static const struct {
	struct str name;
	size_t off;
} fields[] = {
	{ STR_INIT("Content-Type"), offsetof(struct mime_fields, type) },
	{ STR_INIT("Content-Transfer-Encoding"), offsetof(struct mime_fields, encoding) },
	{ STR_INIT("Content-ID"), offsetof(struct mime_fields, id) },
	{ STR_INIT("Content-Description"), offsetof(struct mime_fields, description) },
	{ STR_INIT("Content-Disposition"), offsetof(struct mime_fields, disposition) },
	{ STR_INIT("Content-MD5"), offsetof(struct mime_fields, md5) },
	{ STR_INIT("Content-Language"), offsetof(struct mime_fields, language) },
	{ STR_INIT("Content-Location"), offsetof(struct mime_fields, location) },
};

static void
take_fields(struct parser *p, struct str header, struct mime_fields *ret)
{
	struct header_field f;

	while (header_next(&header, &f)) {
		if (f.name.n == 0)
			p->out->problems |= MIME_P_BAD_HEADER;
		if (f.name.n < 10 || !str_istarts(f.name, STR("Content-")))
			continue;
		for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
			struct str *at = (struct str *)((char *)ret + fields[i].off);

			if (!at->p && str_ieq(f.name, fields[i].name))
				*at = f.raw;
		}
	}
}

/* Reads the header at pos: to its empty line, a boundary, the cap or the end. */
static void
read_header(struct parser *p, uint32_t i)
{
	struct mime_part *part = &p->out->parts[i];
	bool closing;

	while (p->pos < p->msg.n) {
		struct str line = line_at(p);
		bool blank = header_blank(line) != 0;

		if (boundary_level(p, line, &closing) >= 0)
			break;
		if (p->pos - part->head + line.n > MIME_MAX_HEADER) {
			p->out->problems |= MIME_P_HEADER_SIZE;
			break;
		}
		next_line(p, line);
		if (blank)
			break;
	}
	part->body = p->pos;
	take_fields(p, str_from(p->msg.p + part->head, part->body - part->head),
	    &p->out->fields[i]);
}

static bool
is_identity(struct str encoding)
{
	struct str e = str_trim(encoding);

	return e.n == 0 || str_ieq(e, STR("7bit")) || str_ieq(e, STR("8bit")) ||
	    str_ieq(e, STR("binary"));
}

/* What a part is, and for a multipart its boundary. */
static enum mime_kind
classify(struct parser *p, uint32_t i, struct str *ret_boundary, bool *ret_digest)
{
	struct mime_fields *f = &p->out->fields[i];
	struct mime_value v = { 0 };
	struct str b;

	mime_value_parse(f->type, p->a, &v);
	if (str_ieq(v.type, STR("message")) && str_ieq(v.subtype, STR("rfc822")))
		return is_identity(f->encoding) ? MIME_MESSAGE : MIME_LEAF;
	if (!f->type.p && (p->out->parts[i].flags & MIME_F_DIGEST_CHILD))
		return is_identity(f->encoding) ? MIME_MESSAGE : MIME_LEAF;
	if (!str_ieq(v.type, STR("multipart")))
		return MIME_LEAF;
	b = mime_value_get(&v, STR("boundary"));
	while (b.n && ascii_isspace(b.p[b.n - 1]))
		b.n--;
	if (b.n == 0 || b.n > MIME_MAX_BOUNDARY) {
		p->out->problems |= MIME_P_NO_BOUNDARY;
		return MIME_LEAF;
	}
	*ret_boundary = b;
	*ret_digest = str_ieq(v.subtype, STR("digest"));
	return MIME_MULTIPART;
}

/* Opens the part whose header begins at pos, and, while it is a message, the one
 * inside. */
static int
open_part(struct parser *p, uint32_t parent)
{
	for (;;) {
		struct str boundary = STR_NULL;
		bool digest = false;
		struct mime *m = p->out;
		uint32_t i;
		enum mime_kind kind;

		if (m->n >= MIME_MAX_PARTS) {
			m->problems |= MIME_P_PARTS;
			p->full = true;
			p->leaf = MIME_NONE;
			return 0;
		}
		if (new_part(p, parent, &i) < 0)
			return -ENOMEM;
		if (parent != MIME_NONE) {
			link_part(m, parent, i);
			if (m->parts[parent].flags & MIME_F_DIGEST)
				m->parts[i].flags |= MIME_F_DIGEST_CHILD;
		}
		read_header(p, i);
		kind = classify(p, i, &boundary, &digest);
		if (kind != MIME_LEAF && p->depth == MIME_MAX_DEPTH) {
			m->problems |= MIME_P_DEPTH;
			kind = MIME_LEAF;
		}
		m->parts[i].kind = kind;
		m->parts[i].first_line = p->line;
		p->leaf = kind == MIME_LEAF ? i : MIME_NONE;
		if (kind == MIME_LEAF)
			return 0;
		if (digest)
			m->parts[i].flags |= MIME_F_DIGEST;
		p->stack[p->depth++] = (struct open){ i, boundary };
		if (kind == MIME_MULTIPART)
			return 0;
		parent = i;
	}
}

/* Part i ends at *end, before which stand *line LFs. Where the line break before the
 * boundary is the header's own, the header keeps it, and the containers around end
 * no sooner than the part. */
static void
end_part(struct parser *p, uint32_t i, uint64_t *end, uint32_t *line)
{
	struct mime_part *part = &p->out->parts[i];

	if (*end < part->body) {
		*end = part->body;
		*line = part->first_line;
	}
	part->end = *end;
	part->lines = *line - part->first_line;
	if (part->kind != MIME_LEAF && part->n_children == 0) {
		part->kind = MIME_LEAF; /* a container of nothing is opaque */
		p->out->problems |= MIME_P_NO_BOUNDARY;
	}
}

/* Ends the leaf and all containers from level up. */
static void
end_above(struct parser *p, unsigned level, uint64_t end, uint32_t line)
{
	if (p->leaf != MIME_NONE)
		end_part(p, p->leaf, &end, &line);
	p->leaf = MIME_NONE;
	while (p->depth > level) {
		struct open *o = &p->stack[--p->depth];

		if (o->boundary.n)
			p->out->problems |= MIME_P_NO_CLOSE;
		end_part(p, o->part, &end, &line);
	}
}

static int
at_boundary(struct parser *p, struct str line, unsigned level, bool closing)
{
	uint64_t end = p->pos;
	uint32_t lines = p->line;

	if (end && p->msg.p[end - 1] == '\n') {
		end--, lines--;
		if (end && p->msg.p[end - 1] == '\r')
			end--;
	}
	end_above(p, level + 1, end, lines);
	next_line(p, line);
	if (closing) {
		p->stack[level].boundary = STR_NULL;
		return 0;
	}
	return open_part(p, p->stack[level].part);
}

int
mime_parse(struct str message, struct arena *a, uint64_t deadline, struct mime *ret)
{
	struct parser *p = ARENA_NEW(a, struct parser);
	unsigned turn = 0;
	int r;

	*ret = (struct mime){ .size = message.n };
	if (!p)
		return -ENOMEM;
	p->msg = message, p->a = a, p->out = ret, p->leaf = MIME_NONE;
	if ((r = open_part(p, MIME_NONE)) < 0)
		return r;
	while (p->pos < message.n) {
		struct str line = line_at(p);
		bool closing = false;
		int level = boundary_level(p, line, &closing);

		if (deadline && (++turn & 1023) == 0 && clock_us() > deadline)
			return -ETIME;
		if (level < 0)
			next_line(p, line);
		else if ((r = at_boundary(p, line, (unsigned)level, closing)) < 0)
			return r;
	}
	end_above(p, 0, message.n, p->line);
	if (message.n && memchr(message.p, 0, message.n))
		ret->problems |= MIME_P_NUL;
	return 0;
}
