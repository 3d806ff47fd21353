/*
 * Hash tables in memory: 64-bit key to pointer (struct map), and bytes to
 * pointer (struct strmap, which copies its keys). Open addressing, grows by
 * doubling. Values are never NULL. Not shared between threads.
 */
#ifndef LIB_BASE_MAP_H
#define LIB_BASE_MAP_H

#include "lib/base/str.h"

struct map_slot {
	uint64_t key;
	void *val;
};

struct map { /* zeroed is empty */
	struct map_slot *slots;
	size_t n, cap, used; /* used counts graves too */
};

void *map_get(const struct map *m, uint64_t key);
/* 0, or -ENOMEM. Replaces an old value. */
int map_set(struct map *m, uint64_t key, void *val);
/* The removed value, or NULL. */
void *map_del(struct map *m, uint64_t key);
void map_done(struct map *m);
/* Walk: start with *pos = 0; NULL at the end. Deleting the entry just returned
 * is allowed, adding is not. */
void *map_next(const struct map *m, size_t *pos, uint64_t *ret_key);

struct strmap_slot {
	uint64_t hash;
	struct str key;
	void *val;
};

struct strmap {
	struct strmap_slot *slots;
	size_t n, cap, used;
};

void *strmap_get(const struct strmap *m, struct str key);
int strmap_set(struct strmap *m, struct str key, void *val);
void *strmap_del(struct strmap *m, struct str key);
void strmap_done(struct strmap *m);
void *strmap_next(const struct strmap *m, size_t *pos, struct str *ret_key);

#endif
