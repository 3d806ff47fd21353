/* Memory of one unit of work; see arena.h. Blocks double up to 256 KiB; a
 * request over a quarter of that gets a block of its own. */
#include "lib/base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK_FIRST 4096
#define BLOCK_MAX (256u << 10)
#define ALIGN _Alignof(max_align_t)

struct block {
	struct block *next;
	size_t used, cap;
	_Alignas(max_align_t) char mem[];
};

struct deferred {
	struct deferred *next;
	void (*fn)(void *);
	void *arg;
};

struct arena {
	struct block *blocks; /* the first is the one in use */
	struct deferred *deferred;
	size_t used, max;
};

static struct block *
block_new(size_t cap)
{
	struct block *b = malloc(sizeof *b + cap);

	if (b)
		*b = (struct block){ .cap = cap };
	return b;
}

struct arena *
arena_new(size_t max)
{
	struct arena *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->max = max ? max : (size_t)64 << 20;
	return a;
}

static void
run_deferred(struct arena *a)
{
	while (a->deferred) {
		struct deferred *d = a->deferred;

		a->deferred = d->next;
		d->fn(d->arg);
	}
}

void
arena_free(struct arena **ap)
{
	struct arena *a = *ap;

	if (!a)
		return;
	run_deferred(a);
	*ap = NULL; /* before the blocks: it may stand in one of them */
	while (a->blocks) {
		struct block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
	free(a);
}

void
arena_reset(struct arena *a)
{
	struct block *keep = NULL;

	run_deferred(a);
	while (a->blocks) {
		struct block *b = a->blocks;

		a->blocks = b->next;
		if (!b->next && b->cap <= BLOCK_FIRST)
			keep = b;
		else
			free(b);
	}
	if (keep) {
		keep->used = 0;
		keep->next = NULL;
	}
	a->blocks = keep;
	a->used = 0;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct block *b = a->blocks;
	size_t cap;

	if (n > a->max || a->used > a->max - n)
		return NULL;
	n = (n + ALIGN - 1) & ~(ALIGN - 1);
	if (n == 0)
		n = ALIGN;
	if (!b || b->cap - b->used < n) {
		cap = b ? b->cap * 2 : BLOCK_FIRST;
		if (cap > BLOCK_MAX)
			cap = BLOCK_MAX;
		if (n > cap / 4 && b) {
			/* a block of its own, behind the one in use */
			struct block *own = block_new(n);

			if (!own)
				return NULL;
			own->used = n;
			own->next = b->next;
			b->next = own;
			a->used += n;
			return own->mem;
		}
		if (cap < n)
			cap = n;
		b = block_new(cap);
		if (!b)
			return NULL;
		b->next = a->blocks;
		a->blocks = b;
	}
	b->used += n;
	a->used += n;
	return b->mem + b->used - n;
}

void *
arena_zalloc(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);

	if (p)
		memset(p, 0, n);
	return p;
}

struct str
arena_dup(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (!p)
		return STR_NULL;
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return str_from(p, s.n);
}

char *
arena_cstr(struct arena *a, struct str s)
{
	return (char *)(uintptr_t)arena_dup(a, s).p;
}

struct str
arena_lower(struct arena *a, struct str s)
{
	char *p = arena_cstr(a, s);

	for (size_t i = 0; p && i < s.n; i++)
		p[i] = ascii_lower(p[i]);
	return str_from(p, p ? s.n : 0);
}

struct str
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !(p = arena_alloc(a, (size_t)n + 1)))
		return STR_NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return str_from(p, (size_t)n);
}

int
arena_defer(struct arena *a, void (*fn)(void *), void *arg)
{
	struct deferred *d = arena_alloc(a, sizeof *d);

	if (!d) {
		fn(arg);
		return -ENOMEM;
	}
	*d = (struct deferred){ a->deferred, fn, arg };
	a->deferred = d;
	return 0;
}

size_t
arena_used(const struct arena *a)
{
	return a->used;
}
