/* Owned, bounded bytes; see buf.h. */
#include "lib/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void
buf_done(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ .max = b->max };
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
	b->over = false;
}

char *
buf_room(struct buf *b, size_t n)
{
	size_t max = b->max ? b->max : BUF_MAX_DEFAULT, cap;
	char *p;

	if (b->over)
		return NULL;
	if (n <= b->cap - b->n)
		return b->p + b->n;
	if (n > max || b->n > max - n)
		goto over;
	cap = b->cap ? b->cap : 64;
	while (cap < b->n + n)
		cap += cap / 2 + 64;
	if (cap > max)
		cap = max;
	p = realloc(b->p, cap);
	if (!p)
		goto over;
	b->p = p;
	b->cap = cap;
	return b->p + b->n;
over:
	b->over = true;
	return NULL;
}

void
buf_grown(struct buf *b, size_t n)
{
	b->n += n;
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	char *q;

	if (n == 0 || !(q = buf_room(b, n)))
		return;
	memcpy(q, p, n);
	b->n += n;
}

void
buf_str(struct buf *b, struct str s)
{
	buf_put(b, s.p, s.n);
}

void
buf_puts(struct buf *b, const char *c)
{
	buf_put(b, c, strlen(c));
}

void
buf_putc(struct buf *b, char c)
{
	buf_put(b, &c, 1);
}

void
buf_u64(struct buf *b, uint64_t v)
{
	char t[20];
	size_t i = sizeof t;

	do
		t[--i] = (char)('0' + v % 10);
	while (v /= 10);
	buf_put(b, t + i, sizeof t - i);
}

void
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	char small[256];
	va_list ap2;
	char *q;
	int n;

	va_copy(ap2, ap);
	n = vsnprintf(small, sizeof small, fmt, ap2);
	va_end(ap2);
	if (n < 0) {
		b->over = true;
		return;
	}
	if ((size_t)n < sizeof small) {
		buf_put(b, small, (size_t)n);
		return;
	}
	/* vsnprintf writes a NUL too, which n does not count */
	if (!(q = buf_room(b, (size_t)n + 1)))
		return;
	vsnprintf(q, (size_t)n + 1, fmt, ap);
	b->n += (size_t)n;
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void
buf_consume(struct buf *b, size_t n)
{
	if (n >= b->n) {
		b->n = 0;
		return;
	}
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

void
buf_truncate(struct buf *b, size_t n)
{
	if (n < b->n)
		b->n = n;
}

const char *
buf_cstr(struct buf *b)
{
	char *q = buf_room(b, 1);

	if (!q)
		return NULL;
	*q = '\0';
	return b->p;
}

char *
buf_detach(struct buf *b, size_t *ret_n)
{
	char *p = b->p;

	if (ret_n)
		*ret_n = b->n;
	*b = (struct buf){ .max = b->max };
	return p;
}

void
buf_le16(struct buf *b, uint16_t v)
{
	unsigned char t[2] = { (unsigned char)v, (unsigned char)(v >> 8) };

	buf_put(b, t, 2);
}

void
buf_le32(struct buf *b, uint32_t v)
{
	char t[4];

	le32_put(t, v);
	buf_put(b, t, 4);
}

void
buf_le64(struct buf *b, uint64_t v)
{
	char t[8];

	le64_put(t, v);
	buf_put(b, t, 8);
}
