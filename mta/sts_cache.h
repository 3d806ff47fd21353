/*
 * MTA-STS policies that were fetched, by domain, in memory and in two files that are written
 * in turn: who starts reads the newer one that is whole.
 *
 *	posthorn-mta-sts 1 SEQUENCE
 *	policy DOMAIN ID MODE MAX_AGE FETCHED MX,MX,...
 *	...
 *	end POLICIES CRC32C
 *
 * FETCHED is in seconds since 1970; without hosts the last field is "-". The sum covers all
 * before the line `end`. A file of another version is as if it were not there: what it
 * held is fetched again. The files stay open, so that a process that can open none may
 * write them.
 */
#ifndef MTA_STS_CACHE_H
#define MTA_STS_CACHE_H

#include "lib/base/map.h"
#include "lib/mail/sts.h"

enum {
	STS_CACHE_DOMAINS = 50000,
	STS_CACHE_BYTES = 32 << 20,  /* of the file */
};

struct sts_kept {
	char *id;
	struct sts_policy policy;    /* in arena */
	struct arena *arena;
	uint64_t fetched_s;          /* real time */
};

struct sts_cache {
	struct strmap domains;       /* struct sts_kept */
	size_t bytes;                /* that they take in the file, about */
	int fd[2];
	uint64_t sequence;           /* of the file written last: in fd[sequence % 2] */
};

/* Opens DIR/mta-sts.0 and .1, making them where they are missing, and reads. 0 or negative. */
int sts_cache_open(struct sts_cache *c, const char *dir, struct err *e);
void sts_cache_close(struct sts_cache *c);

/* The policy of a domain if it has not run out at now_s, or NULL. */
const struct sts_kept *sts_cache_get(const struct sts_cache *c, struct str domain, uint64_t now_s);
/* Copies it in place of an older one. 0, -ENOMEM, -ENOSPC: full. */
int sts_cache_put(struct sts_cache *c, struct str domain, struct str id,
    const struct sts_policy *p, uint64_t fetched_s);
/* Forgets those that have run out. */
void sts_cache_sweep(struct sts_cache *c, uint64_t now_s);

/* The next file's text, for sts_cache_write, which may run on another thread. */
void sts_cache_text(struct sts_cache *c, struct buf *out);
/* Writes the text for sequence n, and syncs. 0 or negative. */
int sts_cache_write(const struct sts_cache *c, struct str text, uint64_t n);
/* Takes in what a file says. 0, or -EINVAL and nothing taken. */
int sts_cache_read(struct sts_cache *c, struct str text);

#endif
