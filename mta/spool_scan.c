/* Reading a segment's bytes without trusting them; see spool_scan.h. */
#include "mta/spool_scan.h"

#include <errno.h>

/* How many bytes are summed to find the good records of one damaged batch:
 * hostile content may be full of heads. */
#define SALVAGE_BYTES ((uint64_t)256 << 20)

struct scan {
	const struct spool_scan_spec *spec;
	struct spool_scan_result *r;
	uint32_t seed;
	uint64_t expect; /* number of the next batch */
};

int
spool_scan_header(const unsigned char *mem, size_t size, struct spool_header *ret)
{
	struct spool_header a, b;
	int ra, rb;

	if (size < SPOOL_HEADER_SIZE)
		return -EBADMSG;
	ra = spool_header_get(mem, &a);
	rb = spool_header_get(mem + SPOOL_BLOCK, &b);
	if (!ra && (rb || a.use >= b.use))
		*ret = a;
	else if (!rb)
		*ret = b;
	else
		return ra == -ENODATA && rb != -ENODATA ? rb : ra;
	return 0;
}

int
spool_record_verify(const unsigned char *mem, size_t n, uint32_t seed, struct spool_record *ret)
{
	struct spool_record r;

	if (spool_record_get(mem, n, &r))
		return -EBADMSG;
	if (r.crc != spool_record_crc(seed, mem, r.meta.n, r.content.n))
		return -EBADMSG;
	*ret = r;
	return 0;
}

/* Whether a batch of this use and number stands at off, heads verified. */
static bool
batch_at(const struct scan *s, uint64_t off, struct spool_batch_head *h)
{
	const unsigned char *p = s->spec->mem + off;
	uint32_t crc;

	if (spool_batch_head_get(p, s->spec->size - off, h) || h->use != s->r->header.use)
		return false;
	return spool_batch_crc(p, h, s->seed, &crc) && crc == h->crc;
}

static bool
records_good(const struct scan *s, uint64_t off, const struct spool_batch_head *h)
{
	const unsigned char *p = s->spec->mem + off;
	size_t at = SPOOL_BATCH_HEAD;
	struct spool_record r;

	for (uint32_t i = 0; i < h->count; i++) {
		if (spool_record_verify(p + at, h->len - at, s->seed, &r))
			return false;
		at += spool_record_size(r.meta.n, r.content.n);
	}
	return true;
}

static int
give(struct scan *s, const struct spool_record *r, uint64_t off)
{
	int rc = s->spec->record ? s->spec->record(s->spec->arg, r, off) : 0;

	s->r->records++;
	if (r->seq > s->r->last_seq)
		s->r->last_seq = r->seq;
	return rc;
}

static int
give_batch(struct scan *s, uint64_t off, const struct spool_batch_head *h)
{
	size_t at = SPOOL_BATCH_HEAD;
	int rc = 0;

	for (uint32_t i = 0; i < h->count && !rc; i++) {
		struct spool_record r;

		spool_record_get(s->spec->mem + off + at, h->len - at, &r);
		rc = give(s, &r, off + at);
		at += spool_record_size(r.meta.n, r.content.n);
	}
	s->r->batches++;
	return rc;
}

static void
damaged(struct scan *s, uint64_t off, uint64_t end, const char *what)
{
	if (end <= off)
		return;
	s->r->damaged++;
	if (s->spec->damage)
		s->spec->damage(s->spec->arg, off, end - off, what);
}

/* Gives the records in [off, end) that verify by themselves, reports the rest. */
static int
salvage(struct scan *s, uint64_t off, uint64_t end)
{
	uint64_t bad = off, at = off;
	uint64_t budget = SALVAGE_BYTES;

	while (at + SPOOL_RECORD_HEAD <= end && budget) {
		const unsigned char *p = s->spec->mem + at;
		struct spool_record r;
		size_t size;
		int rc;

		if (spool_record_get(p, end - at, &r)) {
			at += 8;
			continue;
		}
		size = spool_record_size(r.meta.n, r.content.n);
		budget -= budget < size ? budget : size;
		if (spool_record_verify(p, end - at, s->seed, &r)) {
			at += 8;
			continue;
		}
		if (at - bad > SPOOL_BATCH_HEAD)
			damaged(s, bad, at, "record");
		rc = give(s, &r, at);
		if (rc)
			return rc;
		at += size;
		bad = at;
	}
	damaged(s, bad, end, "batch");
	return 0;
}

/* The next place from off on where a later batch of this use verifies; 0: none. */
static uint64_t
find_batch(const struct scan *s, uint64_t off, uint64_t limit)
{
	struct spool_batch_head h;

	for (; off + SPOOL_BLOCK <= limit; off += SPOOL_BLOCK)
		if (batch_at(s, off, &h) && h.number > s->expect)
			return off;
	return 0;
}

static uint64_t
block_up(uint64_t n)
{
	return (n + SPOOL_BLOCK - 1) & ~(uint64_t)(SPOOL_BLOCK - 1);
}

/* What begins at off is no good batch: finds out what it is. 1: the scan goes on
 * at *off; 0: the end was reached. */
static int
not_good(struct scan *s, uint64_t *off, uint64_t limit)
{
	uint64_t next = find_batch(s, *off + SPOOL_BLOCK, limit), stop = next;
	struct spool_batch_head h;
	int rc;

	if (!next && s->spec->known_end <= *off) {
		if (!spool_batch_head_get(s->spec->mem + *off, s->spec->size - *off, &h) &&
		    h.use == s->r->header.use)
			s->r->torn = *off;
		return 0;
	}
	if (!stop)
		stop = limit;
	rc = salvage(s, *off, stop);
	if (rc)
		return rc;
	s->r->end = stop;
	if (!next)
		return 0;
	*off = next;
	return 1;
}

static int
scan_batches(struct scan *s, uint64_t limit)
{
	uint64_t off = SPOOL_HEADER_SIZE;
	struct spool_batch_head h;

	while (off + SPOOL_BLOCK <= limit && !s->r->clean) {
		int rc;

		/* a batch whose number was skipped follows damage; one of a lower
		 * number cannot be of this place */
		if (!batch_at(s, off, &h) || h.number < s->expect || !records_good(s, off, &h)) {
			rc = not_good(s, &off, limit);
			if (rc <= 0)
				return rc;
			continue;
		}
		rc = give_batch(s, off, &h);
		if (rc)
			return rc;
		off += block_up(h.len);
		s->expect = h.number + 1;
		s->r->end = off;
		s->r->next_batch = s->expect;
		s->r->clean = h.flags & SPOOL_BATCH_END;
	}
	return 0;
}

int
spool_scan(const struct spool_scan_spec *spec, struct spool_scan_result *ret)
{
	struct scan s = { .spec = spec, .r = ret };
	uint64_t limit = spec->size;
	int rc;

	*ret = (struct spool_scan_result){ .end = SPOOL_HEADER_SIZE };
	rc = spool_scan_header(spec->mem, spec->size, &ret->header);
	if (rc)
		return rc;
	if (spec->known_end && spec->known_end < limit)
		limit = spec->known_end;
	s.seed = spool_seed(ret->header.salt);
	s.expect = ret->next_batch = ret->header.first_batch;
	return scan_batches(&s, limit);
}
