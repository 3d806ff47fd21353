/*
 * Tagged fields, the coding of every message and record of the house:
 *
 *	u16 tag | u32 length | value
 *
 * all little-endian; integers in 1, 2, 4 or 8 bytes; a group is a field whose value
 * is fields. Readers skip tags that they do not know, or carry them.
 */
#ifndef LIB_BASE_TLV_H
#define LIB_BASE_TLV_H

#include "lib/base/buf.h"

#define TLV_HEAD 6

void tlv_u64(struct buf *b, uint16_t tag, uint64_t v); /* in as few bytes as hold it */
void tlv_str(struct buf *b, uint16_t tag, struct str v);
/* A group: begin returns where it starts, end closes it. */
size_t tlv_begin(struct buf *b, uint16_t tag);
void tlv_end(struct buf *b, size_t start);

struct tlv {
	uint16_t tag;
	struct str v;
};
/* Cuts the next field off *s: 1, 0 at the end, -EPROTO for a torn one. */
int tlv_next(struct str *s, struct tlv *ret);
/* The integer of a value; 0 when its length is not 1, 2, 4 or 8. */
uint64_t tlv_int(struct str v);

#endif
