/* The bytes of the spool's log; the layout is drawn in spool_format.h. */
#include "mta/spool_format.h"

#include <errno.h>

#include "lib/base/crc32c.h"

static const char header_magic[8] = "PHSPOOL\n";
static const char batch_magic[4] = "PHBT";
static const char record_magic[2] = "RP";

#define HEADER_CRC_AT (SPOOL_BLOCK - 4)

void
spool_header_put(unsigned char out[static SPOOL_BLOCK], const struct spool_header *h)
{
	memset(out, 0, SPOOL_BLOCK);
	memcpy(out, header_magic, 8);
	le32_put(out + 8, SPOOL_VERSION);
	le32_put(out + 12, (uint32_t)h->prev_how);
	le64_put(out + 16, h->use);
	memcpy(out + 24, h->salt, 16);
	le64_put(out + 40, h->first_batch);
	le64_put(out + 48, h->first_seq);
	le64_put(out + 56, h->prev_use);
	le64_put(out + 64, h->prev_end);
	le64_put(out + 72, h->made_us);
	le64_put(out + 80, h->size);
	le32_put(out + HEADER_CRC_AT, crc32c(0, out, HEADER_CRC_AT));
}

static bool
all_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

int
spool_header_get(const unsigned char in[static SPOOL_BLOCK], struct spool_header *ret)
{
	if (all_zero(in, SPOOL_BLOCK))
		return -ENODATA;
	if (memcmp(in, header_magic, 8) || le32_get(in + HEADER_CRC_AT) != crc32c(0, in, HEADER_CRC_AT))
		return -EBADMSG;
	if (le32_get(in + 8) != SPOOL_VERSION)
		return -EPROTONOSUPPORT;
	*ret = (struct spool_header){
		.use = le64_get(in + 16),
		.first_batch = le64_get(in + 40),
		.first_seq = le64_get(in + 48),
		.prev_use = le64_get(in + 56),
		.prev_end = le64_get(in + 64),
		.prev_how = (enum spool_end)le32_get(in + 12),
		.made_us = le64_get(in + 72),
		.size = le64_get(in + 80),
	};
	memcpy(ret->salt, in + 24, 16);
	return 0;
}

uint32_t
spool_seed(const unsigned char salt[static 16])
{
	return crc32c(0, salt, 16);
}

void
spool_batch_head_put(unsigned char out[static SPOOL_BATCH_HEAD], const struct spool_batch_head *h)
{
	memset(out, 0, SPOOL_BATCH_HEAD);
	memcpy(out, batch_magic, 4);
	le32_put(out + 4, h->crc);
	le64_put(out + 8, h->number);
	le64_put(out + 16, h->use);
	le64_put(out + 24, h->first_seq);
	le64_put(out + 32, h->time_us);
	le32_put(out + 40, h->len);
	le32_put(out + 44, h->count);
	le32_put(out + 48, h->flags);
}

int
spool_batch_head_get(const unsigned char *in, size_t n, struct spool_batch_head *ret)
{
	if (n < SPOOL_BATCH_HEAD || memcmp(in, batch_magic, 4))
		return -EBADMSG;
	*ret = (struct spool_batch_head){
		.crc = le32_get(in + 4),
		.number = le64_get(in + 8),
		.use = le64_get(in + 16),
		.first_seq = le64_get(in + 24),
		.time_us = le64_get(in + 32),
		.len = le32_get(in + 40),
		.count = le32_get(in + 44),
		.flags = le32_get(in + 48),
	};
	if (ret->len < SPOOL_BATCH_HEAD || ret->len > n ||
	    ret->count > (ret->len - SPOOL_BATCH_HEAD) / SPOOL_RECORD_HEAD)
		return -EBADMSG;
	return 0;
}

void
spool_record_head_put(unsigned char out[static SPOOL_RECORD_HEAD], enum spool_type type,
    uint8_t flags, uint64_t seq, uint64_t id, uint32_t meta, uint32_t content)
{
	memcpy(out, record_magic, 2);
	out[2] = (unsigned char)type;
	out[3] = flags;
	le32_put(out + 4, 0);
	le64_put(out + 8, seq);
	le64_put(out + 16, id);
	le32_put(out + 24, meta);
	le32_put(out + 28, content);
}

int
spool_record_get(const unsigned char *in, size_t n, struct spool_record *ret)
{
	uint64_t meta, content;

	if (n < SPOOL_RECORD_HEAD || memcmp(in, record_magic, 2))
		return -EBADMSG;
	meta = le32_get(in + 24);
	content = le32_get(in + 28);
	if (meta + content > n - SPOOL_RECORD_HEAD)
		return -EBADMSG;
	*ret = (struct spool_record){
		.type = (enum spool_type)in[2],
		.flags = in[3],
		.crc = le32_get(in + 4),
		.seq = le64_get(in + 8),
		.id = le64_get(in + 16),
		.meta = { (const char *)in + SPOOL_RECORD_HEAD, meta },
		.content = { (const char *)in + SPOOL_RECORD_HEAD + meta, content },
	};
	return 0;
}

uint32_t
spool_record_crc(uint32_t seed, const unsigned char *rec, size_t meta, size_t content)
{
	uint32_t crc = crc32c(seed, rec, 4);

	return crc32c(crc, rec + 8, SPOOL_RECORD_HEAD - 8 + meta + content);
}

bool
spool_batch_crc(const unsigned char *batch, const struct spool_batch_head *h, uint32_t seed,
    uint32_t *ret)
{
	uint32_t crc = crc32c(crc32c(seed, batch, 4), batch + 8, SPOOL_BATCH_HEAD - 8);
	size_t at = SPOOL_BATCH_HEAD;

	for (uint32_t i = 0; i < h->count; i++) {
		struct spool_record r;

		if (at > h->len || spool_record_get(batch + at, h->len - at, &r))
			return false;
		crc = crc32c(crc, batch + at, SPOOL_RECORD_HEAD);
		at += spool_record_size(r.meta.n, r.content.n);
	}
	*ret = crc;
	return at == h->len;
}

void
spool_batch_seal(unsigned char *batch, const struct spool_batch_head *h, uint32_t seed)
{
	size_t at = SPOOL_BATCH_HEAD;
	uint32_t crc = 0;

	while (at < h->len) {
		size_t meta = le32_get(batch + at + 24), content = le32_get(batch + at + 28);

		le32_put(batch + at + 4, spool_record_crc(seed, batch + at, meta, content));
		at += spool_record_size(meta, content);
	}
	spool_batch_head_put(batch, h);
	spool_batch_crc(batch, h, seed, &crc);
	le32_put(batch + 4, crc);
}

const char *
spool_type_name(enum spool_type t)
{
	static const char *const names[] = { "?", "message", "large", "update", "final",
		"checkpoint" };

	return names[(unsigned)t < sizeof names / sizeof *names ? (unsigned)t : 0];
}

const char *
spool_end_name(enum spool_end e)
{
	static const char *const names[] = { "none", "full", "clean", "crash", "retired" };

	return (unsigned)e < sizeof names / sizeof *names ? names[(unsigned)e] : "?";
}
