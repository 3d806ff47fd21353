/*
 * Owned bytes that grow up to a limit given at birth. Appending past the limit
 * (or out of memory) appends nothing and sets `over`, which stays set until
 * buf_clear: a caller may do many appends and look once. A struct buf may live
 * on the stack or in another struct; zero it or call buf_init first.
 */
#ifndef LIB_BASE_BUF_H
#define LIB_BASE_BUF_H

#include <stdarg.h>

#include "lib/base/str.h"

struct buf {
	char *p;
	size_t n;    /* bytes in use */
	size_t cap;  /* bytes allocated */
	size_t max;  /* 0 means BUF_MAX_DEFAULT */
	bool over;   /* an append did not fit */
};

#define BUF_MAX_DEFAULT ((size_t)1 << 30)

void buf_init(struct buf *b, size_t max);
/* Frees the bytes; b is as after buf_init with the same limit. */
void buf_done(struct buf *b);
/* Forgets the content and `over`, keeps the memory. */
void buf_clear(struct buf *b);

/* Room for n more bytes: returns where to write them (b->n is not changed), or
 * NULL and sets over. Follow with buf_grown(b, written). */
char *buf_room(struct buf *b, size_t n);
void buf_grown(struct buf *b, size_t n);

void buf_put(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_puts(struct buf *b, const char *c);
void buf_putc(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t v); /* decimal digits */
__attribute__((format(printf, 2, 3)))
void buf_printf(struct buf *b, const char *fmt, ...);
__attribute__((format(printf, 2, 0)))
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);

/* Drops the first n bytes (n is clipped). */
void buf_consume(struct buf *b, size_t n);
/* Cuts to n bytes when longer. */
void buf_truncate(struct buf *b, size_t n);

/* The bytes as a borrowed string, valid until the buffer changes. */
static inline struct str
buf_view(const struct buf *b)
{
	return (struct str){ b->p, b->n };
}

/* The content with a NUL appended that n does not count; "" when empty. Valid
 * until the buffer changes. NULL when over. */
const char *buf_cstr(struct buf *b);

/* Hands the bytes to the caller (free() them); the buffer is empty after. */
char *buf_detach(struct buf *b, size_t *ret_n);

/* Little-endian integers as wire and disk formats store them. */
void buf_le16(struct buf *b, uint16_t v);
void buf_le32(struct buf *b, uint32_t v);
void buf_le64(struct buf *b, uint64_t v);

static inline uint16_t
le16_get(const void *p)
{
	const unsigned char *q = p;

	return (uint16_t)(q[0] | q[1] << 8);
}

static inline uint32_t
le32_get(const void *p)
{
	const unsigned char *q = p;

	return q[0] | (uint32_t)q[1] << 8 | (uint32_t)q[2] << 16 | (uint32_t)q[3] << 24;
}

static inline uint64_t
le64_get(const void *p)
{
	return le32_get(p) | (uint64_t)le32_get((const char *)p + 4) << 32;
}

static inline void
le32_put(void *p, uint32_t v)
{
	unsigned char *q = p;

	q[0] = (unsigned char)v, q[1] = (unsigned char)(v >> 8);
	q[2] = (unsigned char)(v >> 16), q[3] = (unsigned char)(v >> 24);
}

static inline void
le64_put(void *p, uint64_t v)
{
	le32_put(p, (uint32_t)v);
	le32_put((char *)p + 4, (uint32_t)(v >> 32));
}

#endif
