/* Opening and closing the spool; see spool.h. */
#include "mta/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "mta/spool_private.h"

static int
open_folder(int at, const char *name, int *ret)
{
	bool made = !mkdirat(at, name, 0700);

	if (!made && errno != EEXIST)
		return -errno;
	*ret = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret < 0 || (made && at != AT_FDCWD && fsync(at)))
		return -errno;
	return 0;
}

static int
open_folders(struct spool *s, struct err *e)
{
	int rc = open_folder(AT_FDCWD, s->dir, &s->dirfd);

	if (!rc)
		rc = open_folder(s->dirfd, "log", &s->logfd);
	if (!rc)
		rc = open_folder(s->dirfd, "large", &s->largefd);
	if (!rc)
		rc = open_folder(s->dirfd, "checkpoint", &s->ckptfd);
	if (rc)
		return err_sys(e, rc, "%s", s->dir);
	s->lockfd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lockfd < 0)
		return err_sys(e, -errno, "%s/lock", s->dir);
	if (flock(s->lockfd, LOCK_EX | LOCK_NB))
		return err_set(e, -EBUSY, "%s is in use by another process", s->dir);
	return 0;
}

static void
set_options(struct spool *s, const struct spool_options *o)
{
	uint64_t size = o->segment_size;

	if (size < SPOOL_SEGMENT_MIN)
		size = SPOOL_SEGMENT_MIN;
	if (size > SPOOL_SEGMENT_MAX)
		size = SPOOL_SEGMENT_MAX;
	s->o = *o;
	s->o.dir = s->dir;
	s->o.segment_size = size & ~(uint64_t)(SPOOL_BLOCK - 1);
	s->batch_max = s->o.segment_size / 2 < (8u << 20) ? (size_t)s->o.segment_size / 2 : 8u << 20;
}

/* A new spool has a checkpoint from its first moment, so that one without has
 * lost it. */
static int
first_checkpoint(struct spool *s)
{
	struct spool_ckpt *c;
	int rc = spool_ckpt_begin(s, s->last_seq, &c);

	return rc ? rc : spool_ckpt_commit(&c);
}

/* Enough segments to start with, as the disk allows; then a fresh use. */
static void
prepare_log(struct spool *s)
{
	struct err e;

	while (spool_ready_count(s) < SPOOL_RESERVE + 1 && spool_wants_segment(s))
		if (spool_fill_segment(s, &e))
			break;
	if (spool_roll(s, false))
		s->failed = true;
}

int
spool_open(const struct spool_options *o, const struct spool_visitor *v, struct spool **ret,
    struct spool_recovery *ret_recovery, struct err *e)
{
	struct spool *s = calloc(1, sizeof *s);
	struct spool_recovery rec = { 0 };
	uint64_t now = clock_real_us();
	int rc;

	if (!s || !(s->dir = strdup(o->dir))) {
		free(s);
		return err_set(e, -ENOMEM, "out of memory");
	}
	s->dirfd = s->logfd = s->largefd = s->ckptfd = s->lockfd = -1;
	pthread_mutex_init(&s->mu, NULL);
	set_options(s, o);
	rc = open_folders(s, e);
	if (!rc)
		rc = spool_recover(s, v, &rec, e);
	if (s->counter < now)
		s->counter = now;
	if (!rc && rec.fresh) {
		rc = first_checkpoint(s);
		if (rc)
			err_sys(e, rc, "%s: first checkpoint", s->dir);
	}
	if (rc) {
		spool_close(&s);
		return rc;
	}
	prepare_log(s);
	*ret = s;
	if (ret_recovery)
		*ret_recovery = rec;
	return 0;
}

static void
close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
spool_close(struct spool **sp)
{
	struct spool *s = *sp;

	if (!s)
		return;
	while (s->n_segs)
		spool_seg_drop(s, s->segs[s->n_segs - 1], false);
	free(s->segs);
	map_done(&s->by_file);
	close_fd(s->logfd);
	close_fd(s->largefd);
	close_fd(s->ckptfd);
	close_fd(s->dirfd);
	close_fd(s->lockfd);
	pthread_mutex_destroy(&s->mu);
	free(s->dir);
	free(s);
	*sp = NULL;
}

uint64_t
spool_next(struct spool *s)
{
	return ++s->counter;
}

uint64_t
spool_last(struct spool *s)
{
	uint64_t v;

	pthread_mutex_lock(&s->mu);
	v = s->last_seq;
	pthread_mutex_unlock(&s->mu);
	return v;
}
