/* Tagged fields; see tlv.h. */
#include "lib/base/tlv.h"

#include <errno.h>

static void
head(struct buf *b, uint16_t tag, uint32_t n)
{
	buf_le16(b, tag);
	buf_le32(b, n);
}

void
tlv_u64(struct buf *b, uint16_t tag, uint64_t v)
{
	uint32_t n = v > UINT32_MAX ? 8 : v > UINT16_MAX ? 4 : v > UINT8_MAX ? 2 : 1;
	char t[8];

	le64_put(t, v);
	head(b, tag, n);
	buf_put(b, t, n);
}

void
tlv_str(struct buf *b, uint16_t tag, struct str v)
{
	if (v.n > UINT32_MAX) {
		b->over = true;
		return;
	}
	head(b, tag, (uint32_t)v.n);
	buf_str(b, v);
}

size_t
tlv_begin(struct buf *b, uint16_t tag)
{
	head(b, tag, 0);
	return b->n;
}

void
tlv_end(struct buf *b, size_t start)
{
	if (!b->over)
		le32_put(b->p + start - 4, (uint32_t)(b->n - start));
}

int
tlv_next(struct str *s, struct tlv *ret)
{
	uint32_t n;

	if (s->n == 0)
		return 0;
	if (s->n < TLV_HEAD || (n = le32_get(s->p + 2)) > s->n - TLV_HEAD)
		return -EPROTO;
	ret->tag = le16_get(s->p);
	ret->v = str_from(s->p + TLV_HEAD, n);
	*s = str_skip(*s, TLV_HEAD + (size_t)n);
	return 1;
}

uint64_t
tlv_int(struct str v)
{
	switch (v.n) {
	case 1:
		return (unsigned char)v.p[0];
	case 2:
		return le16_get(v.p);
	case 4:
		return le32_get(v.p);
	case 8:
		return le64_get(v.p);
	}
	return 0;
}
