/*
 * Tables that tabled answers for, as authd has them: what it said is remembered for the
 * table's cache-time, that there is no such key for its cache-missing-time; what is in
 * neither a request's answers nor the cache must be asked (table.h).
 *
 * A cache has two generations. New entries go to the young one; when that is full it
 * becomes the old one, whose entries are then forgotten. What is used moves to the young.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "mta/table_private.h"

#define GENERATION_ENTRIES 20000
#define GENERATION_BYTES ((size_t)16 << 20)
#define ANSWERS_MAX 20000 /* of one request */
#define ANSWERS_BYTES ((size_t)32 << 20)

/* ---- the cache ---- */

struct remembered {
	uint64_t until_ms;
	bool found;
	struct str value;
};

struct generation {
	struct arena *arena;
	struct strmap map;      /* key -> struct remembered */
};

struct table_cache {
	uint64_t found_ms, missing_ms;
	struct generation young, old;
};

static void
generation_done(struct generation *g)
{
	strmap_done(&g->map);
	arena_free(&g->arena);
	*g = (struct generation){ 0 };
}

struct table_cache *
table_cache_new(const struct conf_table *t)
{
	struct table_cache *c = calloc(1, sizeof *c);

	if (c) {
		c->found_ms = t->cache_ms;
		c->missing_ms = t->cache_missing_ms;
	}
	return c;
}

void
table_cache_free(struct table_cache **c)
{
	if (!*c)
		return;
	generation_done(&(*c)->young);
	generation_done(&(*c)->old);
	free(*c);
	*c = NULL;
}

/* Into the young generation; what does not fit is not remembered. */
static void
keep(struct table_cache *c, struct str key, const struct remembered *what)
{
	struct remembered *r;

	if (c->young.map.n >= GENERATION_ENTRIES ||
	    (c->young.arena && arena_used(c->young.arena) > GENERATION_BYTES)) {
		generation_done(&c->old);
		c->old = c->young;
		c->young = (struct generation){ 0 };
	}
	if (!c->young.arena)
		c->young.arena = arena_new(GENERATION_BYTES + 2 * TABLE_VALUE_MAX);
	r = c->young.arena ? ARENA_NEW(c->young.arena, struct remembered) : NULL;
	if (!r)
		return;
	*r = *what;
	r->value = arena_dup(c->young.arena, what->value);
	if (r->value.p || !what->value.n)
		strmap_set(&c->young.map, key, r);
}

void
table_cache_put(struct table_cache *c, struct str key, int code, struct str value)
{
	uint64_t life = code ? c->found_ms : c->missing_ms;
	struct remembered r = { clock_ms() + life, code == 1, value };

	if (life)
		keep(c, key, &r);
}

static const struct remembered *
recall(struct table_cache *c, struct str key)
{
	const struct remembered *r = strmap_get(&c->young.map, key);
	uint64_t now = clock_ms();

	if (!r && (r = strmap_get(&c->old.map, key)) && now < r->until_ms)
		keep(c, key, r);
	return r && now < r->until_ms ? r : NULL;
}

/* ---- the answers of a request ---- */

struct told {
	struct str table, key, value;
	int code;               /* -EINPROGRESS: to be asked, or being asked */
};

struct table_answers {
	struct arena *arena;
	struct strmap map;      /* table and key -> struct told */
	struct told **v;
	size_t n, taken, cap;
};

struct table_answers *
table_answers_new(void)
{
	struct table_answers *a = calloc(1, sizeof *a);

	if (a && !(a->arena = arena_new(ANSWERS_BYTES)))
		table_answers_free(&a);
	return a;
}

void
table_answers_free(struct table_answers **a)
{
	if (!*a)
		return;
	strmap_done(&(*a)->map);
	arena_free(&(*a)->arena);
	free((*a)->v);
	free(*a);
	*a = NULL;
}

bool
table_answers_next(struct table_answers *a, size_t *ret_number, struct str *ret_table,
    struct str *ret_key)
{
	while (a->taken < a->n && a->v[a->taken]->code != -EINPROGRESS)
		a->taken++;
	if (a->taken == a->n)
		return false;
	*ret_table = a->v[a->taken]->table;
	*ret_key = a->v[a->taken]->key;
	*ret_number = a->taken++;
	return true;
}

void
table_answers_put(struct table_answers *a, size_t number, int code, struct str value)
{
	struct told *t = a->v[number];

	t->value = code == 1 ? arena_dup(a->arena, value) : STR_NULL;
	t->code = code == 1 && !t->value.p ? -ENOMEM : code;
}

/* The entry of a key, made when it is new (code as given). */
static struct told *
entry(struct table_answers *a, struct str table, struct str key, int code, struct str value)
{
	struct str id = arena_printf(a->arena, "%zu:%.*s%.*s", table.n, STR_ARG(table), STR_ARG(key));
	struct told *t = id.p ? strmap_get(&a->map, id) : NULL;

	if (t || !id.p || a->n >= ANSWERS_MAX)
		return t;
	if (a->n == a->cap) {
		size_t cap = a->cap ? a->cap * 2 : 16;
		struct told **v = realloc(a->v, cap * sizeof *v);

		if (!v)
			return NULL;
		a->v = v;
		a->cap = cap;
	}
	t = ARENA_NEW(a->arena, struct told);
	if (!t || strmap_set(&a->map, id, t))
		return NULL;
	*t = (struct told){ arena_dup(a->arena, table), arena_dup(a->arena, key), STR_NULL, code };
	a->v[a->n++] = t;
	table_answers_put(a, a->n - 1, code, value);
	return t;
}

int
table_foreign_find(struct table *t, struct table_answers *answers, struct str key, struct arena *a,
    struct str *ret)
{
	const struct remembered *r;
	const struct told *told;

	if (!answers || !t->cache)
		return -ENOTCONN;
	if (!key.n)
		return 0;
	r = recall(t->cache, key);
	told = r ? entry(answers, t->conf->name, key, r->found, r->value) :
	    entry(answers, t->conf->name, key, -EINPROGRESS, STR_NULL);
	if (!told)
		return -ENOMEM;
	if (told->code != 1)
		return told->code;
	*ret = arena_dup(a, told->value);
	return ret->p ? 1 : -ENOMEM;
}
