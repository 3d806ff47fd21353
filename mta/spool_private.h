/* What the files of the spool share; see spool.h. */
#ifndef MTA_SPOOL_PRIVATE_H
#define MTA_SPOOL_PRIVATE_H

#include <pthread.h>

#include "lib/base/map.h"
#include "mta/spool.h"

enum seg_state {
	SEG_READY,   /* filled or recycled: may be used */
	SEG_OPEN,    /* batches are appended */
	SEG_CLOSED,  /* records that may be needed */
	SEG_RETIRED, /* the same, and a write failed there: unlinked when dead */
	SEG_BAD,     /* header unreadable: left alone for the admin */
};

struct segment {
	uint32_t file;
	int fd;
	enum seg_state state;
	bool recovered;      /* was there when the spool opened */
	struct spool_header header;
	uint64_t end;        /* bytes in use */
	uint64_t last_seq;   /* last of this use; 0: none */
	uint64_t live, live_bytes;
	unsigned readers;
};

struct spool {
	struct spool_options o;
	char *dir;
	int dirfd, logfd, largefd, ckptfd, lockfd;
	size_t batch_max;
	uint64_t counter;        /* owner's thread */

	pthread_mutex_t mu;      /* guards all below */
	struct segment **segs;   /* in no order */
	size_t n_segs;
	struct map by_file;      /* number of the file -> segment */
	struct segment *open;    /* where batches go; NULL: roll first */
	uint32_t next_file;
	uint64_t next_use, next_batch;
	uint64_t last_seq;       /* last committed */
	uint64_t prev_use, prev_end; /* of the segment that was closed last */
	enum spool_end prev_how;
	uint64_t covered[2];     /* by the latest checkpoint, by the one before */
	uint64_t used_recently;  /* segments opened since the last fill: sizes the pool */
	bool failed;
};

struct segment *spool_seg(struct spool *s, uint32_t file);
unsigned spool_ready_count(struct spool *s); /* mu held */
int spool_seg_add(struct spool *s, uint32_t file, int fd, enum seg_state state,
    struct segment **ret);
void spool_seg_drop(struct spool *s, struct segment *g, bool unlink_file);
void spool_seg_name(char out[static 16], uint32_t file);
/* Rolls to a ready segment. mail: the reserve stays. Blocks. 0, -ENOSPC, ... */
int spool_roll(struct spool *s, bool mail);
void spool_seg_retire(struct spool *s, struct segment *g);

int spool_full_pwrite(int fd, const void *p, size_t n, uint64_t off);
int spool_full_pread(int fd, void *p, size_t n, uint64_t off);

/* Reads the newest good checkpoint. 1: read; 0: there is none; negative: all are
 * bad. */
int spool_ckpt_load(struct spool *s, const struct spool_visitor *v,
    struct spool_recovery *rec, uint64_t *ret_counter, struct err *e);
int spool_recover(struct spool *s, const struct spool_visitor *v, struct spool_recovery *rec,
    struct err *e);

#endif
