/*
 * Messages between the house's processes: frames on UNIX stream sockets.
 *
 *	u32 length of all that follows | u16 type | u8 version | u8 flags | u64 id | fields
 *
 * All little-endian. Types are allotted by callee (lib/proc/peers.h). `id` ties
 * an answer to its request; events have id 0. Flag WIRE_FD says that exactly
 * one descriptor comes with this frame, WIRE_ANSWER that it answers a request,
 * WIRE_ERROR that the answer is a struct wire_error.
 *
 * Fields are those of lib/base/tlv.h: u16 tag | u32 length | value. Integers are stored in 1, 2, 4 or 8
 * bytes. Unknown tags are skipped; a missing one reads as zero or empty. A
 * repeated tag is a list. Every message has its x_put() and x_get() side by
 * side in lib/client.
 */
#ifndef LIB_IO_WIRE_H
#define LIB_IO_WIRE_H

#include <sys/types.h>

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

#define WIRE_HEAD 16
#define WIRE_MAX (1u << 20) /* longest frame; longer things go in chunks or as descriptors */
#define WIRE_INLINE (64u << 10)

enum { WIRE_FD = 1, WIRE_ANSWER = 2, WIRE_ERROR = 4 };

struct frame {
	uint16_t type;
	uint8_t version, flags;
	uint64_t id;
	struct str body; /* the fields */
	int fd;          /* -1, or a descriptor that now belongs to the frame's reader */
};

/* Writing fields. */
void wire_u64(struct buf *b, uint16_t tag, uint64_t v);
void wire_str(struct buf *b, uint16_t tag, struct str v);
/* The same, but nothing when it is 0 or empty, which is what a reader takes a field that is
 * not there for. */
void wire_opt_u64(struct buf *b, uint16_t tag, uint64_t v);
void wire_opt_str(struct buf *b, uint16_t tag, struct str v);
/* A nested group of fields: begin returns where it starts, end closes it. */
size_t wire_begin(struct buf *b, uint16_t tag);
void wire_end(struct buf *b, size_t start);

/* Reading fields: while ((r = wire_next(&body, &f)) > 0) switch (f.tag) ...
 * 1 for a field, 0 at the end, -EPROTO for a torn one. */
struct wire_field {
	uint16_t tag;
	struct str v;
};
int wire_next(struct str *body, struct wire_field *f);
/* How many fields of this tag body has, to size an array before it is filled: 0,
 * or -EPROTO for a torn field. */
int wire_count(struct str body, uint16_t tag, size_t *ret);
/* The integer in f, 0 when its length is not 1, 2, 4 or 8. */
uint64_t wire_int(const struct wire_field *f);
/* A size-checked integer: false when over max. */
bool wire_int_max(const struct wire_field *f, uint64_t max, uint64_t *ret);

/* Parses a frame's head at the beginning of in: its whole length (head
 * included), 0 when more bytes are needed, -EPROTO when it cannot be one. */
ssize_t wire_parse(struct str in, struct frame *ret);
/* Puts a head for a frame whose fields have body_len bytes into out. */
void wire_head(char out[static WIRE_HEAD], uint16_t type, uint8_t flags, uint64_t id,
    size_t body_len);

/* The error answer: a class that the front end turns into its protocol's reply. */
struct wire_error {
	int code;           /* negative errno value */
	unsigned smtp;      /* 0, or a reply code such as 452 */
	struct str enhanced; /* "" or "4.3.1" */
	struct str text;
};
void wire_error_put(struct buf *b, const struct wire_error *e);
int wire_error_get(struct str body, struct wire_error *ret);

#endif
