/*
 * Deduplication keys; see queue_dedup.h. A checkpoint's entry, little-endian:
 *
 *	 0 u64 zero (no message has that id)   8 u8 kind (1), key's length; 6 zero
 *	16 u64 message id, expires_ms         32 the key
 */
#include "mta/queue_dedup.h"

#include <errno.h>
#include <stdlib.h>

#define ENTRY_HEAD 32u
#define KIND_DEDUP 1

void
dedup_init(struct dedup *d, size_t max)
{
	*d = (struct dedup){ .max = max };
	list_init(&d->keys);
}

void
dedup_done(struct dedup *d)
{
	d->on_remove = NULL;
	while (!list_empty(&d->keys))
		dedup_remove(d, dedup_first(d));
	strmap_done(&d->by_key);
	map_done(&d->pending);
}

struct dedup_key *
dedup_find(const struct dedup *d, struct str key)
{
	return strmap_get(&d->by_key, key);
}

struct dedup_key *
dedup_pending(const struct dedup *d, uint64_t id)
{
	return map_get(&d->pending, id);
}

struct dedup_key *
dedup_first(const struct dedup *d)
{
	return list_empty(&d->keys) ? NULL : LIST_ENTRY(d->keys.next, struct dedup_key, link);
}

struct dedup_key *
dedup_next(const struct dedup *d, const struct dedup_key *k)
{
	return k->link.next == &d->keys ? NULL : LIST_ENTRY(k->link.next, struct dedup_key, link);
}

/* Somebody waits for a pending one: it stays. */
static void
make_room(struct dedup *d)
{
	struct dedup_key *k = dedup_first(d);

	while (k && k->pending)
		k = dedup_next(d, k);
	if (!k)
		return;
	d->forgotten++;
	dedup_remove(d, k);
}

int
dedup_add(struct dedup *d, struct str key, uint64_t id, uint64_t expires_ms, bool pending)
{
	struct dedup_key *k;

	if (!key.n || key.n > 255)
		return -EINVAL;
	if (dedup_find(d, key))
		return -EEXIST;
	if (d->n >= d->max)
		make_room(d);
	k = calloc(1, sizeof *k + key.n);
	if (!k)
		return -ENOMEM;
	list_init(&k->waiting);
	k->id = id;
	k->expires_ms = expires_ms;
	k->n = (uint8_t)key.n;
	memcpy(k->key, key.p, key.n);
	if (strmap_set(&d->by_key, key, k) || (pending && map_set(&d->pending, id, k))) {
		strmap_del(&d->by_key, key);
		free(k);
		return -ENOMEM;
	}
	k->pending = pending;
	list_push(&d->keys, &k->link);
	d->n++;
	return 0;
}

void
dedup_commit(struct dedup *d, struct dedup_key *k)
{
	map_del(&d->pending, k->id);
	k->pending = false;
}

void
dedup_remove(struct dedup *d, struct dedup_key *k)
{
	if (d->on_remove)
		d->on_remove(k);
	if (k->pending)
		map_del(&d->pending, k->id);
	strmap_del(&d->by_key, str_from(k->key, k->n));
	list_remove(&k->link);
	d->n--;
	free(k);
}

void
dedup_expire(struct dedup *d, uint64_t now_ms)
{
	struct dedup_key *k;

	while ((k = dedup_first(d)) && !k->pending && k->expires_ms <= now_ms)
		dedup_remove(d, k);
}

bool
dedup_is_entry(struct str entry)
{
	return entry.n >= 8 && le64_get(entry.p) == 0;
}

void
dedup_entry_put(struct buf *b, const struct dedup_key *k)
{
	buf_le32(b, ENTRY_HEAD + k->n);
	buf_le64(b, 0);
	buf_putc(b, KIND_DEDUP);
	buf_putc(b, (char)k->n);
	buf_put(b, "\0\0\0\0\0\0", 6);
	buf_le64(b, k->id);
	buf_le64(b, k->expires_ms);
	buf_put(b, k->key, k->n);
}

int
dedup_entry_get(struct dedup *d, struct str entry)
{
	size_t n;
	int rc;

	if (entry.n < ENTRY_HEAD || entry.p[8] != KIND_DEDUP)
		return -EBADMSG;
	n = (unsigned char)entry.p[9];
	if (!n || entry.n != ENTRY_HEAD + n)
		return -EBADMSG;
	rc = dedup_add(d, str_skip(entry, ENTRY_HEAD), le64_get(entry.p + 16), le64_get(entry.p + 24),
	    false);
	return rc == -EEXIST ? 0 : rc;
}
