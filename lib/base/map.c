/* Hash tables; see map.h. A slot with val NULL is free; val GRAVE was deleted. */
#include "lib/base/map.h"

#include <errno.h>
#include <stdlib.h>

static char grave;
#define GRAVE ((void *)&grave)

static inline size_t
spread(uint64_t k)
{
	k ^= k >> 33;
	k *= 0xff51afd7ed558ccdu;
	k ^= k >> 33;
	return (size_t)k;
}

static struct map_slot *
map_find(const struct map *m, uint64_t key)
{
	if (!m->cap)
		return NULL;
	for (size_t i = spread(key);; i++) {
		struct map_slot *s = &m->slots[i & (m->cap - 1)];

		if (!s->val)
			return NULL;
		if (s->val != GRAVE && s->key == key)
			return s;
	}
}

void *
map_get(const struct map *m, uint64_t key)
{
	struct map_slot *s = map_find(m, key);

	return s ? s->val : NULL;
}

static void
map_place(struct map *m, uint64_t key, void *val)
{
	for (size_t i = spread(key);; i++) {
		struct map_slot *s = &m->slots[i & (m->cap - 1)];

		if (!s->val) {
			*s = (struct map_slot){ key, val };
			m->used++;
			m->n++;
			return;
		}
	}
}

static int
map_grow(struct map *m)
{
	struct map old = *m;
	size_t cap = 16;

	while (cap < old.n * 2 + 2)
		cap *= 2;
	m->slots = calloc(cap, sizeof *m->slots);
	if (!m->slots) {
		*m = old;
		return -ENOMEM;
	}
	m->cap = cap;
	m->n = m->used = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].val && old.slots[i].val != GRAVE)
			map_place(m, old.slots[i].key, old.slots[i].val);
	free(old.slots);
	return 0;
}

int
map_set(struct map *m, uint64_t key, void *val)
{
	struct map_slot *s = map_find(m, key);

	if (s) {
		s->val = val;
		return 0;
	}
	if ((m->used + 1) * 4 > m->cap * 3 && map_grow(m))
		return -ENOMEM;
	map_place(m, key, val);
	return 0;
}

void *
map_del(struct map *m, uint64_t key)
{
	struct map_slot *s = map_find(m, key);
	void *v;

	if (!s)
		return NULL;
	v = s->val;
	s->val = GRAVE;
	m->n--;
	return v;
}

void
map_done(struct map *m)
{
	free(m->slots);
	*m = (struct map){ 0 };
}

void *
map_next(const struct map *m, size_t *pos, uint64_t *ret_key)
{
	while (*pos < m->cap) {
		struct map_slot *s = &m->slots[(*pos)++];

		if (s->val && s->val != GRAVE) {
			if (ret_key)
				*ret_key = s->key;
			return s->val;
		}
	}
	return NULL;
}

static struct strmap_slot *
strmap_find(const struct strmap *m, struct str key, uint64_t h)
{
	if (!m->cap)
		return NULL;
	for (size_t i = (size_t)h;; i++) {
		struct strmap_slot *s = &m->slots[i & (m->cap - 1)];

		if (!s->val)
			return NULL;
		if (s->val != GRAVE && s->hash == h && str_eq(s->key, key))
			return s;
	}
}

void *
strmap_get(const struct strmap *m, struct str key)
{
	struct strmap_slot *s = strmap_find(m, key, str_hash(key));

	return s ? s->val : NULL;
}

static void
strmap_place(struct strmap *m, struct strmap_slot v)
{
	for (size_t i = (size_t)v.hash;; i++) {
		struct strmap_slot *s = &m->slots[i & (m->cap - 1)];

		if (!s->val) {
			*s = v;
			m->used++;
			m->n++;
			return;
		}
	}
}

static int
strmap_grow(struct strmap *m)
{
	struct strmap old = *m;
	size_t cap = 16;

	while (cap < old.n * 2 + 2)
		cap *= 2;
	m->slots = calloc(cap, sizeof *m->slots);
	if (!m->slots) {
		*m = old;
		return -ENOMEM;
	}
	m->cap = cap;
	m->n = m->used = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].val && old.slots[i].val != GRAVE)
			strmap_place(m, old.slots[i]);
	free(old.slots);
	return 0;
}

int
strmap_set(struct strmap *m, struct str key, void *val)
{
	uint64_t h = str_hash(key);
	struct strmap_slot *s = strmap_find(m, key, h);
	char *p;

	if (s) {
		s->val = val;
		return 0;
	}
	if ((m->used + 1) * 4 > m->cap * 3 && strmap_grow(m))
		return -ENOMEM;
	p = malloc(key.n + 1);
	if (!p)
		return -ENOMEM;
	if (key.n)
		memcpy(p, key.p, key.n);
	p[key.n] = '\0';
	strmap_place(m, (struct strmap_slot){ h, { p, key.n }, val });
	return 0;
}

void *
strmap_del(struct strmap *m, struct str key)
{
	struct strmap_slot *s = strmap_find(m, key, str_hash(key));
	void *v;

	if (!s)
		return NULL;
	v = s->val;
	free((void *)(uintptr_t)s->key.p);
	s->val = GRAVE;
	m->n--;
	return v;
}

void
strmap_done(struct strmap *m)
{
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].val && m->slots[i].val != GRAVE)
			free((void *)(uintptr_t)m->slots[i].key.p);
	free(m->slots);
	*m = (struct strmap){ 0 };
}

void *
strmap_next(const struct strmap *m, size_t *pos, struct str *ret_key)
{
	while (*pos < m->cap) {
		struct strmap_slot *s = &m->slots[(*pos)++];

		if (s->val && s->val != GRAVE) {
			if (ret_key)
				*ret_key = s->key;
			return s->val;
		}
	}
	return NULL;
}
