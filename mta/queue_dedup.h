/*
 * Deduplication keys of submissions: which message a key stands for, for a day.
 * A key is durable with its message's record (it stands in the envelope), then
 * with the checkpoints, whose entries name those that are not over. No I/O here.
 *
 * A key whose record is being committed is `pending`: requests with it wait in
 * `waiting` for the outcome. Beyond DEDUP_KEYS the oldest are forgotten early.
 */
#ifndef MTA_QUEUE_DEDUP_H
#define MTA_QUEUE_DEDUP_H

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#define DEDUP_KEYS 1000000u   /* about 200 bytes each */

struct dedup_key {
	struct list link;         /* dedup.keys: in the order they came */
	struct list waiting;      /* of the owner of the dedup */
	uint64_t id;              /* of the message */
	uint64_t expires_ms;      /* real time */
	bool pending;
	uint8_t n;
	char key[];
};

struct dedup { /* dedup_init */
	struct list keys;
	struct strmap by_key;
	struct map pending;       /* message id -> key */
	size_t n, max;
	uint64_t forgotten;       /* before their time */
	/* A key is about to be forgotten (cursors move on). */
	void (*on_remove)(struct dedup_key *k);
};

void dedup_init(struct dedup *d, size_t max);
void dedup_done(struct dedup *d);

struct dedup_key *dedup_find(const struct dedup *d, struct str key);
/* Adds a key of 1 to 255 bytes that is not there. 0, -EINVAL, -EEXIST, -ENOMEM. */
int dedup_add(struct dedup *d, struct str key, uint64_t id, uint64_t expires_ms, bool pending);
/* The pending key of a message, or NULL. */
struct dedup_key *dedup_pending(const struct dedup *d, uint64_t id);
/* Its record is durable. */
void dedup_commit(struct dedup *d, struct dedup_key *k);
void dedup_remove(struct dedup *d, struct dedup_key *k);
/* Forgets those that are over. */
void dedup_expire(struct dedup *d, uint64_t now_ms);

/* Walking in order: NULL at the end. */
struct dedup_key *dedup_first(const struct dedup *d);
struct dedup_key *dedup_next(const struct dedup *d, const struct dedup_key *k);

/* A checkpoint's entry, with its u32 length; and back. A known key is kept as it
 * is. 0, -EBADMSG, -ENOMEM. */
bool dedup_is_entry(struct str entry);
void dedup_entry_put(struct buf *b, const struct dedup_key *k);
int dedup_entry_get(struct dedup *d, struct str entry);

#endif
