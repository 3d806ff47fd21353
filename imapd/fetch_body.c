/*
 * BODY[section]<partial> and its RFC822 forms. What is small is read straight into the
 * output; what is big goes from the descriptor to the client in pieces, between which
 * other sessions run.
 */
#include <errno.h>

#include "imapd/fetch.h"
#include "lib/base/log.h"

enum { SMALL = 24 << 10, PIECE = 128 << 10 };

bool
fetch_needs_parts(const struct fetch_args *a)
{
	size_t i;

	for (i = 0; i < a->n_sections; i++)
		if (a->sections[i].n_path || a->sections[i].what != SEC_ALL)
			return true;
	return false;
}

/* Cuts *len bytes at *off to what <offset.count> names of them. */
static void
partial(const struct fetch_section *s, uint64_t *off, uint64_t *len)
{
	uint64_t skip;

	if (!s->partial)
		return;
	skip = s->offset < *len ? s->offset : *len;
	*off += skip;
	*len -= skip;
	if (*len > s->count)
		*len = s->count;
}

static void
literal_head(struct buf *o, uint64_t n)
{
	buf_putc(o, '{');
	buf_u64(o, n);
	buf_put(o, "}\r\n", 3);
}

/* The literal's bytes were promised and cannot be read. */
static int
torn(struct fetch *f, int r)
{
	if (!*stream_why(f->c->st))
		LOG_ERROR("imap.message_torn", L_C("user", f->c->user), L_I64("code", r),
		    L_U64("mailbox", f->c->view->mailbox));
	return -EPIPE;
}

static int
put_range(struct fetch *f, const struct content *m, uint64_t off, uint64_t len)
{
	struct imap *c = f->c;
	int r = 0;

	literal_head(&c->out, len);
	if (len <= SMALL)
		return content_read(m, off, len, &c->out) < 0 ? torn(f, -EIO) : 0;
	out_flush(c);
	while (len && r == 0) {
		size_t n = len < PIECE ? len : PIECE;

		r = stream_put_fd(c->st, m->fd, (off_t)off, n);
		off += n;
		len -= n;
		breathe(c);
	}
	return r < 0 ? torn(f, r) : 0;
}

static int
put_fields(struct fetch *f, const struct content *m, const struct fetch_section *s, uint64_t off,
    uint64_t len)
{
	struct buf header, picked;
	uint64_t from = 0, n;
	int r;

	buf_init(&header, len + 1);
	buf_init(&picked, 2 * len + 16);
	r = content_read(m, off, len, &header);
	if (r == 0) {
		mime_header_fields(buf_view(&header), s->fields, s->n_fields,
		    s->what == SEC_FIELDS_NOT, &picked);
		n = picked.n;
		partial(s, &from, &n);
		literal_head(&f->c->out, n);
		buf_put(&f->c->out, picked.p ? picked.p + from : "", n);
	} else {
		r = torn(f, r);
	}
	buf_done(&header);
	buf_done(&picked);
	return r;
}

int
fetch_section_put(struct fetch *f, const struct content *m, const struct fetch_section *s)
{
	struct mime_section at = { .len = m->size };

	buf_str(&f->c->out, s->label);
	buf_putc(&f->c->out, ' ');
	if ((s->n_path || s->what != SEC_ALL) && mime_section(&m->mime, s->spec, &at) < 0) {
		buf_put(&f->c->out, "NIL", 3);
		return 0;
	}
	if (s->what == SEC_FIELDS || s->what == SEC_FIELDS_NOT)
		return put_fields(f, m, s, at.off, at.len);
	partial(s, &at.off, &at.len);
	return put_range(f, m, at.off, at.len);
}
