/*
 * The spool: a log of segments (spool_format.h), files of large messages,
 * checkpoints. One process has it open at a time (spool/lock).
 *
 *	spool/log/NNNNNNNN.seg     segments (NNNNNNNN.new while being filled)
 *	spool/large/XXXXXXXXXXXXXXXX  content of messages over 256 KiB
 *	spool/checkpoint/XXXXXXXXXXXXXXXX.ckpt   the last two, by covered sequence
 *
 * The rules that keep it safe:
 *
 *  1. A batch is acknowledged only after its one write and one fdatasync. A
 *     write or sync that fails retires its segment: nothing is ever written
 *     there again, and the header of the next use says where it ended.
 *  2. The header of a use is durable before the first batch of that use.
 *  3. Recovery never appends to a segment that it found: it rolls on, and the
 *     new header says which end it decided for the one before.
 *  4. A segment is used again only when no live message has its record in it,
 *     nobody reads from it, and the older of the two kept checkpoints covers
 *     all of it. So a result in it is never needed again, and a record of a
 *     checkpoint's past that is not in that checkpoint is dead.
 *  5. Sequences and spool ids come from one counter that starts at the real
 *     time in microseconds and never goes back, so neither is ever reused, not
 *     even by a spool that was made anew.
 *
 * Threads: one thread at a time commits; another may fill segments; the rest
 * belongs to the owner's thread. `mu` in spool_private.h guards what they share.
 */
#ifndef MTA_SPOOL_H
#define MTA_SPOOL_H

#include "lib/base/err.h"
#include "mta/spool_format.h"

struct spool;

#define SPOOL_RESERVE 2u /* segments that new mail may not take */

struct spool_options {
	const char *dir;
	uint64_t segment_size;  /* a multiple of the block; clipped to the limits */
	unsigned ready;         /* filled segments to keep beside the reserve */
	uint64_t size_limit;    /* bytes of all segments; 0: none */
	uint64_t min_free;      /* no new segment below this many free bytes on disk */
};

/* Where a record stands. */
struct spool_place {
	uint32_t seg;           /* number of the segment's file */
	uint32_t len;           /* of the record without padding */
	uint64_t off;
};

/* What an opening spool tells its owner: first the entries of the checkpoint,
 * then every later record in the order of the log. */
struct spool_visitor {
	void *arg;
	int (*entry)(void *arg, struct str bytes);
	int (*record)(void *arg, const struct spool_record *r, const struct spool_place *at);
	/* file: relative to the spool. what: "batch", "record", "header", ... */
	void (*damage)(void *arg, const char *file, uint64_t off, uint64_t len, const char *what);
};

struct spool_recovery {
	bool fresh;               /* the spool was made just now */
	bool clean;               /* an end mark stood at the end of the log */
	bool checkpoint_lost;     /* none could be read although there had been one: messages
	                           * up to uncertain_seq may have been finished already */
	uint64_t uncertain_seq;
	uint64_t covered;         /* sequence covered by the checkpoint that was read */
	uint64_t torn_off;        /* a torn tail was cut here; 0: none */
	char torn_file[32];
	uint64_t segments, scanned, records, damaged;
};

/* Opens (makes, recovers) the spool and rolls to a fresh segment. Without room
 * for one it opens all the same: commits then fail with -ENOSPC. */
int spool_open(const struct spool_options *o, const struct spool_visitor *v, struct spool **ret,
    struct spool_recovery *ret_recovery, struct err *e);
/* Closes without an end mark. */
void spool_close(struct spool **s);

/* The next sequence or spool id (owner's thread). */
uint64_t spool_next(struct spool *s);

/* The last sequence in the log; after an opening: the last that was found. */
uint64_t spool_last(struct spool *s);

/* ---- batches ---- */

/* Records gathered in memory, written by one commit. */
struct spool_batch {
	unsigned char *mem;
	size_t len, cap;          /* len counts the head */
	uint32_t count, flags;
	uint64_t first_seq, last_seq;
	bool mail;                /* has records of new mail: the reserve is not for it */
	/* after a commit */
	int code;                 /* 0 or negative */
	uint32_t seg;
	uint64_t off;             /* records stand at off + their place in mem */
};

/* The largest batch (and so the largest record) of this spool. */
size_t spool_batch_max(const struct spool *s);
/* 0 or -ENOMEM. */
int spool_batch_init(struct spool_batch *b, size_t max);
void spool_batch_done(struct spool_batch *b);
void spool_batch_clear(struct spool_batch *b);
bool spool_batch_fits(const struct spool_batch *b, size_t meta, size_t content);
/* Begins a record: returns where its meta goes (content follows it at once), or
 * NULL when it does not fit. *ret_at: the record's place in mem. */
unsigned char *spool_batch_add(struct spool_batch *b, enum spool_type type, uint64_t seq,
    uint64_t id, size_t meta, size_t content, uint32_t *ret_at);

/* Writes and syncs, rolling and retiring as needed; b->code and return: 0 means
 * durable. Blocks. */
int spool_commit(struct spool *s, struct spool_batch *b);
/* The end mark of a clean stop. */
int spool_commit_end(struct spool *s);

/* Whether `more` bytes of new mail, beside `pending` that wait for their commit,
 * still fit without touching the reserve. */
bool spool_has_room(struct spool *s, size_t pending, size_t more);

/* ---- segments ---- */

/* One more, one less live message has its record there (owner's thread). */
void spool_ref(struct spool *s, uint32_t seg, uint64_t bytes);
void spool_unref(struct spool *s, uint32_t seg, uint64_t bytes);
/* Reads a record's bytes into mem (at->len of them) and verifies it, its id
 * too. Any thread, between spool_read_begin and spool_read_end (owner's thread)
 * of its segment, which keep the segment from being recycled. 0, -EBADMSG, or
 * -EIO and the like. */
void spool_read_begin(struct spool *s, uint32_t seg);
void spool_read_end(struct spool *s, uint32_t seg);
int spool_read(struct spool *s, const struct spool_place *at, uint64_t id, void *mem,
    struct spool_record *ret);

/* Frees what may be used again, removes what is too much. Returns the number of
 * segments freed. */
unsigned spool_recycle(struct spool *s);
/* Whether a checkpoint would let segments go. */
bool spool_wants_checkpoint(struct spool *s);
/* A closed segment that holds few live bytes (under a quarter), when the log
 * holds far more segments than its live bytes need; false: none. */
bool spool_sparse(struct spool *s, uint32_t *ret_seg);

/* Whether another segment should be filled, and filling one (blocks; any thread
 * but one at a time). 0 or negative. */
bool spool_wants_segment(struct spool *s);
int spool_fill_segment(struct spool *s, struct err *e);

struct spool_usage {
	uint64_t segments, ready, retired, live_bytes, disk_bytes, disk_free;
	bool failed;              /* the last commit failed for the disk's sake */
};
void spool_usage(struct spool *s, struct spool_usage *ret);

/* ---- checkpoints ---- */

/* A new checkpoint. covers: every record up to it is durable, and the entries
 * that follow tell at least what those records said (later changes may be in
 * them too: records are applied on top at recovery, and applying one twice
 * changes nothing). Begin on the owner's thread; sections, commit and abort on
 * any one thread. */
struct spool_ckpt;
int spool_ckpt_begin(struct spool *s, uint64_t covers, struct spool_ckpt **ret);
/* Entries, each u32 length and bytes, at most 1 MiB together. */
int spool_ckpt_section(struct spool_ckpt *c, struct str entries, uint32_t count);
/* Durable: written, synced, renamed, the folder synced. Frees *c, as abort does. */
int spool_ckpt_commit(struct spool_ckpt **c);
void spool_ckpt_abort(struct spool_ckpt **c);
/* Sequence covered by the latest durable checkpoint. */
uint64_t spool_covered(struct spool *s);
#define SPOOL_SECTION (1u << 20)

/* ---- large messages ---- */

struct spool_large {
	uint64_t file, size;
	uint32_t crc;
	int fd;
};
/* Makes a file (spool_next gives its number). Blocking calls, any thread. */
int spool_large_create(struct spool *s, uint64_t file, struct spool_large *ret);
int spool_large_write(struct spool_large *l, struct str bytes);
/* Syncs file and folder; closes. */
int spool_large_finish(struct spool *s, struct spool_large *l);
void spool_large_abort(struct spool *s, struct spool_large *l);
/* A read-only descriptor; -EBADMSG when the size is not `size`. */
int spool_large_open(struct spool *s, uint64_t file, uint64_t size);
int spool_large_remove(struct spool *s, uint64_t file);
/* Calls fn for every file there (names of other forms are left alone). */
int spool_large_list(struct spool *s, void (*fn)(void *arg, uint64_t file, uint64_t size),
    void *arg);

#endif
