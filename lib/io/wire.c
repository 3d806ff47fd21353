/* Frames and fields; see wire.h. */
#include "lib/io/wire.h"

#include <errno.h>

#include "lib/base/tlv.h"

void
wire_u64(struct buf *b, uint16_t tag, uint64_t v)
{
	tlv_u64(b, tag, v);
}

void
wire_str(struct buf *b, uint16_t tag, struct str v)
{
	tlv_str(b, tag, v);
}

void
wire_opt_u64(struct buf *b, uint16_t tag, uint64_t v)
{
	if (v)
		tlv_u64(b, tag, v);
}

void
wire_opt_str(struct buf *b, uint16_t tag, struct str v)
{
	if (v.n)
		tlv_str(b, tag, v);
}

size_t
wire_begin(struct buf *b, uint16_t tag)
{
	return tlv_begin(b, tag);
}

void
wire_end(struct buf *b, size_t start)
{
	tlv_end(b, start);
}

int
wire_next(struct str *body, struct wire_field *f)
{
	struct tlv t;
	int r = tlv_next(body, &t);

	if (r > 0)
		*f = (struct wire_field){ t.tag, t.v };
	return r;
}

int
wire_count(struct str body, uint16_t tag, size_t *ret)
{
	struct wire_field f;
	size_t n = 0;
	int r;

	while ((r = wire_next(&body, &f)) > 0)
		n += f.tag == tag;
	if (r == 0)
		*ret = n;
	return r;
}

uint64_t
wire_int(const struct wire_field *f)
{
	return tlv_int(f->v);
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
