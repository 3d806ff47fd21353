/*
 * The bytes of the spool's log: segment headers, batches, records.
 *
 * Segment (spool/log/NNNNNNNN.seg, spool_segment_size bytes):
 *
 *	block 0, 1   the header of this use, twice
 *	block 2 ...  batches, each starting on a 4 KiB block and padded to one
 *
 * Header (all integers little-endian):
 *
 *	 0  8  "PHSPOOL\n"        40  8  number of the first batch
 *	 8  4  version (1)        48  8  first sequence
 *	12  4  end of the         56  8  use number of the segment before
 *	       segment before     64  8  its end in bytes, as decided
 *	       (enum spool_end)   72  8  real time, us
 *	16  8  use number         80  8  size of the segment
 *	24 16  salt             4092  4  CRC32C of what stands before
 *
 * Batch: a head of 64 bytes, then records back to back.
 *
 *	 0  4  "PHBT"             24  8  first sequence
 *	 4  4  CRC                32  8  real time, us
 *	 8  8  batch number       40  4  length, head included
 *	16  8  use number         44  4  number of records
 *	                          48  4  flags (SPOOL_BATCH_*)
 *
 * Record: a head of 32 bytes, meta (TLV), content, zeros up to 8 bytes.
 *
 *	 0  2  "RP"                8  8  sequence
 *	 2  1  type               16  8  spool id of the message
 *	 3  1  flags              24  4  length of meta
 *	 4  4  CRC                28  4  length of content
 *
 * Every CRC32C but the header's starts from the salt, which is fresh for each
 * use of a segment: bytes of an earlier use, or of a message that imitates a
 * record, never carry a valid one. A record's CRC covers the record without the
 * CRC itself; the batch's covers its head and the heads of its records.
 */
#ifndef MTA_SPOOL_FORMAT_H
#define MTA_SPOOL_FORMAT_H

#include "lib/base/buf.h"

#define SPOOL_VERSION 1
#define SPOOL_BLOCK 4096u
#define SPOOL_HEADER_SIZE (2 * SPOOL_BLOCK)
#define SPOOL_BATCH_HEAD 64u
#define SPOOL_RECORD_HEAD 32u
#define SPOOL_SEGMENT_MIN (1u << 20)
#define SPOOL_SEGMENT_MAX (1u << 30)
/* Content above this goes into a file of its own. */
#define SPOOL_LARGE (256u << 10)

/* How the segment before this use ended. */
enum spool_end {
	SPOOL_END_NONE = 0,    /* there was none */
	SPOOL_END_FULL = 1,    /* rolled on */
	SPOOL_END_CLEAN = 2,   /* end mark of a clean stop */
	SPOOL_END_CRASH = 3,   /* recovery decided */
	SPOOL_END_RETIRED = 4, /* a write or sync failed */
};

enum { SPOOL_BATCH_END = 1 /* clean stop */ };

enum spool_type {
	SPOOL_MESSAGE = 1,     /* meta: SPOOL_META_*; content */
	SPOOL_LARGE_MESSAGE = 2, /* meta names the file */
	SPOOL_UPDATE = 3,      /* results, hold, release, requeue (mta/queue_update.h) */
	SPOOL_FINAL = 4,       /* the same, and the message is finished */
	SPOOL_CHECKPOINT = 5,  /* meta: SPOOL_META_COVERS: that checkpoint is durable */
};

/* Fields of meta (the TLV of lib/io/wire.h). */
enum {
	SPOOL_META_ENVELOPE = 1, /* group: lib/mail/envelope.h, as the client sent it */
	SPOOL_META_UPDATE = 2,   /* group: what has happened since, for a moved message */
	SPOOL_META_FILE = 3,     /* number of the file in spool/large */
	SPOOL_META_FILE_SIZE = 4,
	SPOOL_META_FILE_CRC = 5, /* CRC32C of its bytes */
	SPOOL_META_COVERS = 6,
};

struct spool_header {
	uint64_t use, first_batch, first_seq;
	uint64_t prev_use, prev_end;
	enum spool_end prev_how;
	uint64_t made_us, size;
	unsigned char salt[16];
};

/* One block. */
void spool_header_put(unsigned char out[static SPOOL_BLOCK], const struct spool_header *h);
/* 0; -ENODATA: nothing but zeros; -EPROTONOSUPPORT: of a later version; -EBADMSG. */
int spool_header_get(const unsigned char in[static SPOOL_BLOCK], struct spool_header *ret);

/* What CRCs of a use start from. */
uint32_t spool_seed(const unsigned char salt[static 16]);

struct spool_batch_head {
	uint64_t number, use, first_seq, time_us;
	uint32_t len, count, flags, crc;
};
void spool_batch_head_put(unsigned char out[static SPOOL_BATCH_HEAD],
    const struct spool_batch_head *h);
/* 0 or -EBADMSG; looks at the magic and the ranges only. */
int spool_batch_head_get(const unsigned char *in, size_t n, struct spool_batch_head *ret);

struct spool_record {
	enum spool_type type;
	uint8_t flags;
	uint32_t crc;
	uint64_t seq, id;
	struct str meta, content;
};

/* Bytes that a record takes, padding included. */
static inline size_t
spool_record_size(size_t meta, size_t content)
{
	return (SPOOL_RECORD_HEAD + meta + content + 7) & ~(size_t)7;
}

/* Writes the head (CRC zero); the caller puts meta and content behind it. */
void spool_record_head_put(unsigned char out[static SPOOL_RECORD_HEAD], enum spool_type type,
    uint8_t flags, uint64_t seq, uint64_t id, uint32_t meta, uint32_t content);
/* Parses the record that begins at in. 0, or -EBADMSG: no record, or longer than
 * n. The CRC is not looked at. */
int spool_record_get(const unsigned char *in, size_t n, struct spool_record *ret);
/* The CRC that the record (head, meta, content contiguous) should have. */
uint32_t spool_record_crc(uint32_t seed, const unsigned char *rec, size_t meta, size_t content);

/* Seals a batch in memory: fills the CRCs of its records and its head. */
void spool_batch_seal(unsigned char *batch, const struct spool_batch_head *h, uint32_t seed);
/* The CRC of a batch's head and record heads; false when the records do not add
 * up to its length. */
bool spool_batch_crc(const unsigned char *batch, const struct spool_batch_head *h, uint32_t seed,
    uint32_t *ret);

const char *spool_type_name(enum spool_type t);
const char *spool_end_name(enum spool_end e);

#endif
