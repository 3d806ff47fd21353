/*
 * The set of segments: filling new ones with zeros, opening a use, retiring,
 * recycling. See spool.h for the rules; all here keeps rules 1, 2 and 4.
 *
 *	          fill                roll              roll / failure
 *	(no file) ----> SEG_READY ---------> SEG_OPEN ----------------> SEG_CLOSED
 *	                    ^                                        or SEG_RETIRED
 *	                    +---- dead, unread, covered twice <----------+   |
 *	                                                      unlinked <-----+
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "mta/spool_private.h"

#define FILL_STEP (1u << 20)
#define READY_MAX 16u /* ready segments above the reserve that are kept */

int
spool_full_pwrite(int fd, const void *p, size_t n, uint64_t off)
{
	const char *q = p;

	while (n) {
		ssize_t w = pwrite(fd, q, n, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? -errno : -EIO;
		q += w, n -= (size_t)w, off += (uint64_t)w;
	}
	return 0;
}

int
spool_full_pread(int fd, void *p, size_t n, uint64_t off)
{
	char *q = p;

	while (n) {
		ssize_t r = pread(fd, q, n, (off_t)off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EBADMSG;
		q += r, n -= (size_t)r, off += (uint64_t)r;
	}
	return 0;
}

void
spool_seg_name(char out[static 16], uint32_t file)
{
	snprintf(out, 16, "%08u.seg", file % 100000000u);
}

struct segment *
spool_seg(struct spool *s, uint32_t file)
{
	return map_get(&s->by_file, file);
}

int
spool_seg_add(struct spool *s, uint32_t file, int fd, enum seg_state state, struct segment **ret)
{
	struct segment *g = calloc(1, sizeof *g);
	struct segment **v = realloc(s->segs, (s->n_segs + 1) * sizeof(struct segment *));

	if (v)
		s->segs = v;
	if (!g || !v || map_set(&s->by_file, file, g)) {
		free(g);
		return -ENOMEM;
	}
	*g = (struct segment){ .file = file, .fd = fd, .state = state };
	s->segs[s->n_segs++] = g;
	if (file >= s->next_file)
		s->next_file = file + 1;
	if (ret)
		*ret = g;
	return 0;
}

void
spool_seg_drop(struct spool *s, struct segment *g, bool unlink_file)
{
	char name[16];

	for (size_t i = 0; i < s->n_segs; i++)
		if (s->segs[i] == g)
			s->segs[i] = s->segs[--s->n_segs];
	map_del(&s->by_file, g->file);
	spool_seg_name(name, g->file);
	if (unlink_file)
		unlinkat(s->logfd, name, 0);
	close(g->fd);
	free(g);
}

unsigned
spool_ready_count(struct spool *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->n_segs; i++)
		n += s->segs[i]->state == SEG_READY;
	return n;
}

/* ---- filling ---- */

static unsigned
ready_wanted(const struct spool *s)
{
	uint64_t n = s->o.ready;

	if (s->used_recently > n)
		n = s->used_recently;
	return SPOOL_RESERVE + (unsigned)(n < READY_MAX ? n : READY_MAX);
}

static bool
disk_allows(struct spool *s)
{
	struct statvfs v;
	uint64_t avail;

	if (s->o.size_limit && (s->n_segs + 1) * s->o.segment_size > s->o.size_limit &&
	    s->n_segs > SPOOL_RESERVE)
		return false;
	if (!s->o.min_free || fstatvfs(s->dirfd, &v))
		return true;
	avail = (uint64_t)v.f_bavail * v.f_frsize;
	return avail >= s->o.min_free + s->o.segment_size;
}

bool
spool_wants_segment(struct spool *s)
{
	bool want;

	pthread_mutex_lock(&s->mu);
	want = spool_ready_count(s) < ready_wanted(s) && disk_allows(s);
	pthread_mutex_unlock(&s->mu);
	return want;
}

/* Written zeros, in steps that leave the disk to others in between. */
static int
fill_zeros(int fd, uint64_t size)
{
	void *z = calloc(1, FILL_STEP);
	int rc = z ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < size && !rc; at += FILL_STEP) {
		size_t n = size - at < FILL_STEP ? (size_t)(size - at) : FILL_STEP;

		rc = spool_full_pwrite(fd, z, n, at);
		if (!rc && at && at % (8 * FILL_STEP) == 0 && fdatasync(fd))
			rc = -errno;
	}
	free(z);
	if (!rc && fsync(fd))
		rc = -errno;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return rc;
}

static int
publish(struct spool *s, uint32_t file, int fd, const char *from, const char *to)
{
	int rc;

	if (renameat(s->logfd, from, s->logfd, to) || fsync(s->logfd))
		return -errno;
	pthread_mutex_lock(&s->mu);
	rc = spool_seg_add(s, file, fd, SEG_READY, NULL);
	pthread_mutex_unlock(&s->mu);
	return rc;
}

int
spool_fill_segment(struct spool *s, struct err *e)
{
	char name[16], tmp[16];
	uint32_t file;
	int fd, rc;

	pthread_mutex_lock(&s->mu);
	file = s->next_file++;
	pthread_mutex_unlock(&s->mu);
	spool_seg_name(name, file);
	snprintf(tmp, sizeof tmp, "%08u.new", file % 100000000u);
	fd = openat(s->logfd, tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s/log/%s", s->dir, tmp);
	rc = fill_zeros(fd, s->o.segment_size);
	if (!rc)
		rc = publish(s, file, fd, tmp, name);
	if (rc) {
		close(fd);
		unlinkat(s->logfd, tmp, 0);
		return err_sys(e, rc, "%s/log/%s", s->dir, tmp);
	}
	return 0;
}

/* ---- a new use ---- */

/* Both copies of the header, durable before the first batch. */
static int
write_header(struct segment *g, const struct spool_header *h)
{
	unsigned char block[SPOOL_BLOCK];
	int rc;

	spool_header_put(block, h);
	rc = spool_full_pwrite(g->fd, block, sizeof block, 0);
	if (!rc)
		rc = spool_full_pwrite(g->fd, block, sizeof block, SPOOL_BLOCK);
	if (!rc && fdatasync(g->fd))
		rc = -errno;
	return rc;
}

static int
make_header(struct spool *s, struct spool_header *h)
{
	*h = (struct spool_header){
		.use = s->next_use,
		.first_batch = s->next_batch,
		.first_seq = s->last_seq + 1,
		.prev_use = s->prev_use,
		.prev_end = s->prev_end,
		.prev_how = s->prev_how,
		.made_us = clock_real_us(),
		.size = s->o.segment_size,
	};
	if (getrandom(h->salt, sizeof h->salt, 0) != (ssize_t)sizeof h->salt)
		return -EIO;
	return 0;
}

/* The ready segment of the lowest number, so that high ones can be given back. */
static struct segment *
first_ready(struct spool *s)
{
	struct segment *best = NULL;

	for (size_t i = 0; i < s->n_segs; i++) {
		struct segment *g = s->segs[i];

		if (g->state == SEG_READY && (!best || g->file < best->file))
			best = g;
	}
	return best;
}

static void
close_open(struct spool *s, enum spool_end how)
{
	struct segment *g = s->open;

	if (!g)
		return;
	g->state = how == SPOOL_END_RETIRED ? SEG_RETIRED : SEG_CLOSED;
	s->prev_use = g->header.use;
	s->prev_end = g->end;
	s->prev_how = how;
	s->open = NULL;
}

void
spool_seg_retire(struct spool *s, struct segment *g)
{
	pthread_mutex_lock(&s->mu);
	s->failed = true;
	if (s->open == g)
		close_open(s, SPOOL_END_RETIRED);
	else
		g->state = SEG_RETIRED;
	pthread_mutex_unlock(&s->mu);
}

/* Takes a ready segment out of the pool and writes its header. The mutex is not
 * held while the disk works. */
static int
open_use(struct spool *s, bool mail)
{
	struct segment *g;
	struct spool_header h;
	int rc;

	pthread_mutex_lock(&s->mu);
	close_open(s, SPOOL_END_FULL);
	g = spool_ready_count(s) > (mail ? SPOOL_RESERVE : 0) ? first_ready(s) : NULL;
	rc = g ? make_header(s, &h) : -ENOSPC;
	if (!rc)
		g->state = SEG_OPEN;
	pthread_mutex_unlock(&s->mu);
	if (rc)
		return rc;
	rc = write_header(g, &h);
	pthread_mutex_lock(&s->mu);
	s->next_use++;
	if (rc) {
		g->state = SEG_RETIRED;
	} else {
		g->header = h;
		g->end = SPOOL_HEADER_SIZE;
		g->last_seq = g->live = g->live_bytes = 0;
		s->open = g;
		s->used_recently++;
	}
	pthread_mutex_unlock(&s->mu);
	return rc ? rc : 0;
}

int
spool_roll(struct spool *s, bool mail)
{
	int rc = -ENOSPC;

	/* a segment that fails at once is retired; the next may do */
	for (int tries = 0; tries < 3; tries++) {
		rc = open_use(s, mail);
		if (!rc || rc == -ENOSPC)
			break;
	}
	return rc;
}

/* ---- what is live ---- */

void
spool_ref(struct spool *s, uint32_t seg, uint64_t bytes)
{
	struct segment *g;

	pthread_mutex_lock(&s->mu);
	g = spool_seg(s, seg);
	if (g)
		g->live++, g->live_bytes += bytes;
	pthread_mutex_unlock(&s->mu);
}

void
spool_unref(struct spool *s, uint32_t seg, uint64_t bytes)
{
	struct segment *g;

	pthread_mutex_lock(&s->mu);
	g = spool_seg(s, seg);
	if (g && g->live)
		g->live--, g->live_bytes -= bytes < g->live_bytes ? bytes : g->live_bytes;
	pthread_mutex_unlock(&s->mu);
}

void
spool_read_begin(struct spool *s, uint32_t seg)
{
	struct segment *g;

	pthread_mutex_lock(&s->mu);
	g = spool_seg(s, seg);
	if (g)
		g->readers++;
	pthread_mutex_unlock(&s->mu);
}

void
spool_read_end(struct spool *s, uint32_t seg)
{
	struct segment *g;

	pthread_mutex_lock(&s->mu);
	g = spool_seg(s, seg);
	if (g && g->readers)
		g->readers--;
	pthread_mutex_unlock(&s->mu);
}

/* A dead segment: no live message, no reader. */
static bool
dead(const struct segment *g)
{
	return (g->state == SEG_CLOSED || g->state == SEG_RETIRED) && !g->live && !g->readers;
}

unsigned
spool_recycle(struct spool *s)
{
	unsigned freed = 0, ready, keep;

	pthread_mutex_lock(&s->mu);
	ready = spool_ready_count(s);
	keep = ready_wanted(s) + 2;
	for (size_t i = s->n_segs; i-- > 0;) {
		struct segment *g = s->segs[i];

		if (g->state == SEG_READY && ready > keep && g->file >= keep) {
			spool_seg_drop(s, g, true);
			ready--;
			continue;
		}
		if (!dead(g) || g->last_seq > s->covered[1])
			continue;
		freed++;
		if (g->state == SEG_RETIRED || ready >= keep) {
			spool_seg_drop(s, g, true);
			continue;
		}
		g->state = SEG_READY;
		ready++;
	}
	/* once a second: what half a minute used is kept, since filling is dear */
	if (s->used_recently)
		s->used_recently -= (s->used_recently + 31) / 32;
	pthread_mutex_unlock(&s->mu);
	return freed;
}

bool
spool_wants_checkpoint(struct spool *s)
{
	bool want = false;

	pthread_mutex_lock(&s->mu);
	for (size_t i = 0; i < s->n_segs && !want; i++)
		want = dead(s->segs[i]) && s->segs[i]->last_seq > s->covered[1];
	pthread_mutex_unlock(&s->mu);
	return want;
}

bool
spool_sparse(struct spool *s, uint32_t *ret_seg)
{
	struct segment *best = NULL;
	uint64_t live = 0, held = 0;

	pthread_mutex_lock(&s->mu);
	for (size_t i = 0; i < s->n_segs; i++) {
		struct segment *g = s->segs[i];

		if ((g->state != SEG_CLOSED && g->state != SEG_RETIRED) || !g->live)
			continue;
		held++;
		live += g->live_bytes;
		if (!best || g->live_bytes < best->live_bytes)
			best = g;
	}
	if (best && (best->live_bytes > s->o.segment_size / 4 ||
	    held <= 4 + 2 * live / s->o.segment_size))
		best = NULL;
	if (best)
		*ret_seg = best->file;
	pthread_mutex_unlock(&s->mu);
	return best;
}

void
spool_usage(struct spool *s, struct spool_usage *ret)
{
	struct statvfs v;

	*ret = (struct spool_usage){ 0 };
	pthread_mutex_lock(&s->mu);
	for (size_t i = 0; i < s->n_segs; i++) {
		struct segment *g = s->segs[i];

		ret->ready += g->state == SEG_READY;
		ret->retired += g->state == SEG_RETIRED;
		ret->live_bytes += g->live_bytes;
	}
	ret->segments = s->n_segs;
	ret->disk_bytes = s->n_segs * s->o.segment_size;
	ret->failed = s->failed;
	pthread_mutex_unlock(&s->mu);
	if (!fstatvfs(s->dirfd, &v))
		ret->disk_free = (uint64_t)v.f_bavail * v.f_frsize;
}
