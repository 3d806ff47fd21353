/*
 * Memory of one unit of work (an SMTP transaction, an IMAP command, a
 * delivery): taken piece by piece, freed whole, with deferred clean-ups for
 * what is not memory (descriptors, buffers). Not shared between threads.
 */
#ifndef LIB_BASE_ARENA_H
#define LIB_BASE_ARENA_H

#include "lib/base/str.h"

struct arena;

/* max bounds the bytes handed out; 0 means 64 MiB. NULL without memory. */
struct arena *arena_new(size_t max);
/* Runs the deferred functions, last first, and frees all. Takes &a, accepts a
 * null a, leaves null. */
void arena_free(struct arena **a);
/* The same but keeps the arena (and its first block) for the next unit. */
void arena_reset(struct arena *a);

/* n bytes, aligned for any type, not zeroed (arena_zalloc: zeroed). NULL when
 * the limit is reached. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* Copies with a NUL after them that the length does not count. p is NULL (and
 * n 0) when the limit is reached. */
struct str arena_dup(struct arena *a, struct str s);
char *arena_cstr(struct arena *a, struct str s);
struct str arena_lower(struct arena *a, struct str s); /* with ASCII letters in lower case */
__attribute__((format(printf, 2, 3)))
struct str arena_printf(struct arena *a, const char *fmt, ...);

/* fn(arg) runs when the arena is freed or reset. 0 or -ENOMEM (fn has then
 * been run already). */
int arena_defer(struct arena *a, void (*fn)(void *arg), void *arg);

/* Bytes handed out so far. */
size_t arena_used(const struct arena *a);

#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_zalloc((a), sizeof(type) * (count)))

#endif
