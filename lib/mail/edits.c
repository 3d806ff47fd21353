/* Pieces of a text that become others; see edits.h. On the wire: for each 32 bits of
 * place, length and length of the text, and the text. */
#include "lib/mail/edits.h"

#include <errno.h>

#define HEAD 12

size_t
edits_end(const struct edits *e)
{
	return e->n ? e->v[e->n - 1].at + e->v[e->n - 1].n : 0;
}

int
edits_add(struct edits *e, struct arena *a, size_t at, size_t n, struct str text)
{
	if (e->n == e->cap) {
		size_t cap = e->cap ? 2 * e->cap : 8;
		struct edit *v = ARENA_ARRAY(a, struct edit, cap);

		if (!v)
			return -ENOMEM;
		if (e->n)
			memcpy(v, e->v, e->n * sizeof *v);
		e->v = v;
		e->cap = cap;
	}
	e->v[e->n++] = (struct edit){ at, n, text };
	return 0;
}

int
edits_apply(const struct edits *e, struct str text, struct buf *out)
{
	size_t done = 0;

	for (size_t i = 0; i < e->n; i++) {
		const struct edit *d = &e->v[i];

		if (d->at < done || d->at > text.n || d->n > text.n - d->at)
			return -EINVAL;
		buf_put(out, text.p + done, d->at - done);
		buf_str(out, d->text);
		done = d->at + d->n;
	}
	if (done < text.n)
		buf_put(out, text.p + done, text.n - done);
	return out->over ? -ENOMEM : 0;
}

void
edits_put(struct buf *b, const struct edits *e)
{
	for (size_t i = 0; i < e->n; i++) {
		buf_le32(b, (uint32_t)e->v[i].at);
		buf_le32(b, (uint32_t)e->v[i].n);
		buf_le32(b, (uint32_t)e->v[i].text.n);
		buf_str(b, e->v[i].text);
	}
}

int
edits_get(struct str body, struct arena *a, struct edits *ret)
{
	struct edits e = { 0 };

	while (body.n) {
		size_t at, n, len;

		if (body.n < HEAD)
			return -EPROTO;
		at = le32_get(body.p);
		n = le32_get(body.p + 4);
		len = le32_get(body.p + 8);
		body = str_skip(body, HEAD);
		if (len > body.n || at < edits_end(&e))
			return -EPROTO;
		if (edits_add(&e, a, at, n, str_head(body, len)))
			return -ENOMEM;
		body = str_skip(body, len);
	}
	*ret = e;
	return 0;
}
