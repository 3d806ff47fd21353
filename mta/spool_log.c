/*
 * Batches and their commit: one write, one fdatasync, then the answers. The
 * batch is contiguous in memory with room for its head, so that the write is a
 * single pwrite from where the records were copied.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "mta/spool_private.h"
#include "mta/spool_scan.h"

#define BATCH_MAX (8u << 20)

size_t
spool_batch_max(const struct spool *s)
{
	return s->batch_max;
}

int
spool_batch_init(struct spool_batch *b, size_t max)
{
	void *p = mmap(NULL, max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	*b = (struct spool_batch){ .mem = p, .cap = max, .len = SPOOL_BATCH_HEAD };
	return 0;
}

void
spool_batch_done(struct spool_batch *b)
{
	if (b->mem)
		munmap(b->mem, b->cap);
	*b = (struct spool_batch){ 0 };
}

void
spool_batch_clear(struct spool_batch *b)
{
	*b = (struct spool_batch){ .mem = b->mem, .cap = b->cap, .len = SPOOL_BATCH_HEAD };
}

bool
spool_batch_fits(const struct spool_batch *b, size_t meta, size_t content)
{
	return meta <= b->cap && content <= b->cap &&
	    spool_record_size(meta, content) <= b->cap - b->len;
}

unsigned char *
spool_batch_add(struct spool_batch *b, enum spool_type type, uint64_t seq, uint64_t id,
    size_t meta, size_t content, uint32_t *ret_at)
{
	size_t size = spool_record_size(meta, content), raw = SPOOL_RECORD_HEAD + meta + content;
	unsigned char *p;

	if (!spool_batch_fits(b, meta, content))
		return NULL;
	p = b->mem + b->len;
	spool_record_head_put(p, type, 0, seq, id, (uint32_t)meta, (uint32_t)content);
	memset(p + raw, 0, size - raw);
	if (ret_at)
		*ret_at = (uint32_t)b->len;
	if (!b->count++)
		b->first_seq = seq;
	b->last_seq = seq;
	b->len += size;
	return p + SPOOL_RECORD_HEAD;
}

static size_t
padded(size_t n)
{
	return (n + SPOOL_BLOCK - 1) & ~(size_t)(SPOOL_BLOCK - 1);
}

/* The open segment when it has room for n bytes; else rolls. */
static int
place(struct spool *s, size_t n, bool mail, struct segment **ret)
{
	struct segment *g;
	int rc;

	pthread_mutex_lock(&s->mu);
	g = s->open;
	pthread_mutex_unlock(&s->mu);
	if (!g || g->end + n > g->header.size) {
		rc = spool_roll(s, mail);
		if (rc)
			return rc;
		g = s->open;
	}
	if (g->end + n > g->header.size)
		return -EMSGSIZE;
	*ret = g;
	return 0;
}

static int
write_batch(struct spool *s, struct segment *g, struct spool_batch *b)
{
	struct spool_batch_head h = {
		.number = s->next_batch,
		.use = g->header.use,
		.first_seq = b->first_seq,
		.time_us = clock_real_us(),
		.len = (uint32_t)b->len,
		.count = b->count,
		.flags = b->flags,
	};
	size_t n = padded(b->len);
	int rc;

	memset(b->mem + b->len, 0, n - b->len);
	spool_batch_seal(b->mem, &h, spool_seed(g->header.salt));
	rc = spool_full_pwrite(g->fd, b->mem, n, g->end);
	if (!rc && fdatasync(g->fd))
		rc = -errno;
	return rc;
}

static void
committed(struct spool *s, struct segment *g, struct spool_batch *b)
{
	pthread_mutex_lock(&s->mu);
	b->seg = g->file;
	b->off = g->end;
	g->end += padded(b->len);
	if (b->last_seq > g->last_seq)
		g->last_seq = s->last_seq = b->last_seq;
	s->next_batch++;
	s->failed = false;
	pthread_mutex_unlock(&s->mu);
}

/* A failed write or sync retires the segment; the batch gets one more try in the
 * next one, whose header says that the old one ended before the batch. */
int
spool_commit(struct spool *s, struct spool_batch *b)
{
	struct segment *g;
	int rc = 0;

	for (int tries = 0; tries < 2; tries++) {
		rc = place(s, padded(b->len), b->mail, &g);
		if (rc)
			break;
		rc = write_batch(s, g, b);
		if (!rc) {
			committed(s, g, b);
			break;
		}
		spool_seg_retire(s, g);
	}
	if (rc) {
		pthread_mutex_lock(&s->mu);
		s->failed = true;
		pthread_mutex_unlock(&s->mu);
	}
	return b->code = rc;
}

int
spool_commit_end(struct spool *s)
{
	struct spool_batch b;
	int rc = spool_batch_init(&b, 2 * SPOOL_BLOCK);

	if (rc)
		return rc;
	b.flags = SPOOL_BATCH_END;
	rc = spool_commit(s, &b);
	spool_batch_done(&b);
	pthread_mutex_lock(&s->mu);
	if (!rc && s->open) {
		s->open->state = SEG_CLOSED;
		s->prev_use = s->open->header.use;
		s->prev_end = s->open->end;
		s->prev_how = SPOOL_END_CLEAN;
		s->open = NULL;
	}
	pthread_mutex_unlock(&s->mu);
	return rc;
}

bool
spool_has_room(struct spool *s, size_t pending, size_t more)
{
	size_t need = padded(pending) + padded(more) + 4 * SPOOL_BLOCK;
	bool ok;

	pthread_mutex_lock(&s->mu);
	ok = (s->open && s->open->end + need <= s->open->header.size) ||
	    (spool_ready_count(s) > SPOOL_RESERVE && need <= s->o.segment_size - SPOOL_HEADER_SIZE) ||
	    spool_ready_count(s) > SPOOL_RESERVE + 1;
	pthread_mutex_unlock(&s->mu);
	return ok;
}

int
spool_read(struct spool *s, const struct spool_place *at, uint64_t id, void *mem,
    struct spool_record *ret)
{
	struct segment *g;
	uint32_t seed;
	int fd, rc;

	pthread_mutex_lock(&s->mu);
	g = spool_seg(s, at->seg);
	fd = g ? g->fd : -1;
	seed = g ? spool_seed(g->header.salt) : 0;
	pthread_mutex_unlock(&s->mu);
	if (fd < 0)
		return -ENOENT;
	rc = spool_full_pread(fd, mem, at->len, at->off);
	if (!rc)
		rc = spool_record_verify(mem, at->len, seed, ret);
	if (!rc && ret->id != id)
		rc = -EBADMSG;
	return rc;
}
