/* Frames and fields; see wire.h. */
#include "lib/io/wire.h"

#include <errno.h>

#define FIELD_HEAD 6

static void
field_head(struct buf *b, uint16_t tag, size_t n)
{
	buf_le16(b, tag);
	buf_le32(b, (uint32_t)n);
}

void
wire_u64(struct buf *b, uint16_t tag, uint64_t v)
{
	if (v <= UINT8_MAX) {
		field_head(b, tag, 1);
		buf_putc(b, (char)v);
	} else if (v <= UINT32_MAX) {
		field_head(b, tag, 4);
		buf_le32(b, (uint32_t)v);
	} else {
		field_head(b, tag, 8);
		buf_le64(b, v);
	}
}

void
wire_str(struct buf *b, uint16_t tag, struct str v)
{
	field_head(b, tag, v.n);
	buf_str(b, v);
}

size_t
wire_begin(struct buf *b, uint16_t tag)
{
	field_head(b, tag, 0);
	return b->n;
}

void
wire_end(struct buf *b, size_t start)
{
	if (!b->over)
		le32_put(b->p + start - 4, (uint32_t)(b->n - start));
}

int
wire_next(struct str *body, struct wire_field *f)
{
	size_t n;

	if (!body->n)
		return 0;
	if (body->n < FIELD_HEAD)
		return -EPROTO;
	n = le32_get(body->p + 2);
	if (n > body->n - FIELD_HEAD)
		return -EPROTO;
	f->tag = le16_get(body->p);
	f->v = str_from(body->p + FIELD_HEAD, n);
	*body = str_skip(*body, FIELD_HEAD + n);
	return 1;
}

uint64_t
wire_int(const struct wire_field *f)
{
	switch (f->v.n) {
	case 1:
		return (unsigned char)f->v.p[0];
	case 2:
		return le16_get(f->v.p);
	case 4:
		return le32_get(f->v.p);
	case 8:
		return le64_get(f->v.p);
	default:
		return 0;
	}
}

bool
wire_int_max(const struct wire_field *f, uint64_t max, uint64_t *ret)
{
	uint64_t v = wire_int(f);

	if (v > max)
		return false;
	*ret = v;
	return true;
}

ssize_t
wire_parse(struct str in, struct frame *ret)
{
	size_t n;

	if (in.n < WIRE_HEAD)
		return 0;
	n = le32_get(in.p);
	if (n < WIRE_HEAD - 4 || n > WIRE_MAX)
		return -EPROTO;
	if (in.n - 4 < n)
		return 0;
	*ret = (struct frame){
		.type = le16_get(in.p + 4),
		.version = (uint8_t)in.p[6],
		.flags = (uint8_t)in.p[7],
		.id = le64_get(in.p + 8),
		.body = str_from(in.p + WIRE_HEAD, n + 4 - WIRE_HEAD),
		.fd = -1,
	};
	return (ssize_t)n + 4;
}

void
wire_head(char out[static WIRE_HEAD], uint16_t type, uint8_t flags, uint64_t id, size_t body_len)
{
	le32_put(out, (uint32_t)(body_len + WIRE_HEAD - 4));
	out[4] = (char)type;
	out[5] = (char)(type >> 8);
	out[6] = 1; /* version */
	out[7] = (char)flags;
	le64_put(out + 8, id);
}

enum { E_CODE = 1, E_SMTP, E_ENHANCED, E_TEXT };

void
wire_error_put(struct buf *b, const struct wire_error *e)
{
	wire_u64(b, E_CODE, (uint64_t)-e->code);
	wire_u64(b, E_SMTP, e->smtp);
	wire_str(b, E_ENHANCED, e->enhanced);
	wire_str(b, E_TEXT, e->text);
}

int
wire_error_get(struct str body, struct wire_error *ret)
{
	struct wire_field f;
	uint64_t v;
	int r;

	*ret = (struct wire_error){ .code = -EIO };
	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case E_CODE:
			if (!wire_int_max(&f, 4095, &v) || v == 0)
				return -EPROTO;
			ret->code = -(int)v;
			break;
		case E_SMTP:
			if (!wire_int_max(&f, 599, &v))
				return -EPROTO;
			ret->smtp = (unsigned)v;
			break;
		case E_ENHANCED:
			ret->enhanced = f.v;
			break;
		case E_TEXT:
			ret->text = f.v;
			break;
		}
	}
	return r;
}
