/*
 * Checkpoints: what every live message is, as of a sequence, in one file, so
 * that a start reads that and only the log behind it.
 *
 *	spool/checkpoint/<covered sequence, 16 hex digits>.ckpt
 *
 *	head, 64 bytes:                     section:
 *	 0  8  "PHCKPT1\n"                   0  4  length of the bytes
 *	 8  4  version (1)                   4  4  number of entries
 *	12  4  zero                          8  4  number of the section, from 0
 *	16 16  salt                         12  4  CRC (from the salt) of 0..11
 *	32  8  sequence covered                    and the bytes
 *	40  8  next sequence to give out    16  .  entries: u32 length, bytes
 *	48  8  real time, us
 *	60  4  CRC32C of 0..59
 *
 * The last section has 0xffffffff for its number of entries and 8 bytes: the
 * number of all entries. A file without it is not a checkpoint. A new one is
 * written as new.tmp, synced, renamed, the folder synced; the last two are kept.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/crc32c.h"
#include "mta/spool_private.h"

#define CKPT_HEAD 64u
#define SECTION_HEAD 16u
#define SECTION_LAST 0xffffffffu
#define CKPT_KEEP 64 /* files looked at */

static const char magic[8] = "PHCKPT1\n";

struct spool_ckpt {
	struct spool *s;
	int fd;
	uint64_t covers, off, entries;
	uint32_t seed, sections;
};

static void
ckpt_name(char out[static 24], uint64_t covers)
{
	snprintf(out, 24, "%016llx.ckpt", (unsigned long long)covers);
}

int
spool_ckpt_begin(struct spool *s, uint64_t covers, struct spool_ckpt **ret)
{
	unsigned char head[CKPT_HEAD] = { 0 };
	struct spool_ckpt *c = calloc(1, sizeof *c);
	int rc;

	if (!c)
		return -ENOMEM;
	*c = (struct spool_ckpt){ .s = s, .covers = covers, .off = CKPT_HEAD };
	c->fd = openat(s->ckptfd, "new.tmp", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	rc = c->fd < 0 ? -errno : 0;
	memcpy(head, magic, 8);
	le32_put(head + 8, SPOOL_VERSION);
	if (!rc && getrandom(head + 16, 16, 0) != 16)
		rc = -EIO;
	c->seed = spool_seed(head + 16);
	le64_put(head + 32, covers);
	le64_put(head + 40, s->counter);
	le64_put(head + 48, clock_real_us());
	le32_put(head + 60, crc32c(0, head, 60));
	if (!rc)
		rc = spool_full_pwrite(c->fd, head, sizeof head, 0);
	if (rc)
		spool_ckpt_abort(&c);
	else
		*ret = c;
	return rc;
}

static int
put_section(struct spool_ckpt *c, struct str bytes, uint32_t count)
{
	unsigned char head[SECTION_HEAD];
	int rc;

	le32_put(head, (uint32_t)bytes.n);
	le32_put(head + 4, count);
	le32_put(head + 8, c->sections++);
	le32_put(head + 12, crc32c(crc32c(c->seed, head, 12), bytes.p, bytes.n));
	rc = spool_full_pwrite(c->fd, head, sizeof head, c->off);
	if (!rc)
		rc = spool_full_pwrite(c->fd, bytes.p, bytes.n, c->off + sizeof head);
	c->off += sizeof head + bytes.n;
	return rc;
}

int
spool_ckpt_section(struct spool_ckpt *c, struct str entries, uint32_t count)
{
	if (entries.n > SPOOL_SECTION || count == SECTION_LAST)
		return -EMSGSIZE;
	c->entries += count;
	return put_section(c, entries, count);
}

void
spool_ckpt_abort(struct spool_ckpt **cp)
{
	struct spool_ckpt *c = *cp;

	if (!c)
		return;
	if (c->fd >= 0) {
		close(c->fd);
		unlinkat(c->s->ckptfd, "new.tmp", 0);
	}
	free(c);
	*cp = NULL;
}

/* ---- the folder ---- */

struct found {
	uint64_t covers[CKPT_KEEP]; /* falling */
	size_t n;
};

static int
falling(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

static int
list_ckpts(struct spool *s, struct found *ret)
{
	int fd = openat(s->ckptfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	ret->n = 0;
	if (!d) {
		if (fd >= 0)
			close(fd);
		return -errno;
	}
	while ((de = readdir(d)) && ret->n < CKPT_KEEP) {
		unsigned long long v;
		int end = 0;

		if (sscanf(de->d_name, "%16llx.ckpt%n", &v, &end) == 1 && end == 21 &&
		    !de->d_name[21])
			ret->covers[ret->n++] = v;
	}
	closedir(d);
	qsort(ret->covers, ret->n, sizeof *ret->covers, falling);
	return 0;
}

static void
remove_old(struct spool *s)
{
	struct found f;
	char name[24];

	if (list_ckpts(s, &f))
		return;
	for (size_t i = 2; i < f.n; i++) {
		ckpt_name(name, f.covers[i]);
		unlinkat(s->ckptfd, name, 0);
	}
}

int
spool_ckpt_commit(struct spool_ckpt **cp)
{
	struct spool_ckpt *c = *cp;
	struct spool *s = c->s;
	unsigned char total[8];
	char name[24];
	int rc;

	le64_put(total, c->entries);
	rc = put_section(c, str_from(total, 8), SECTION_LAST);
	if (!rc && fsync(c->fd))
		rc = -errno;
	ckpt_name(name, c->covers);
	if (!rc && (renameat(s->ckptfd, "new.tmp", s->ckptfd, name) || fsync(s->ckptfd)))
		rc = -errno;
	if (rc) {
		spool_ckpt_abort(cp);
		return rc;
	}
	close(c->fd);
	pthread_mutex_lock(&s->mu);
	if (c->covers != s->covered[0]) {
		s->covered[1] = s->covered[0];
		s->covered[0] = c->covers;
	}
	pthread_mutex_unlock(&s->mu);
	free(c);
	*cp = NULL;
	remove_old(s);
	return 0;
}

uint64_t
spool_covered(struct spool *s)
{
	uint64_t v;

	pthread_mutex_lock(&s->mu);
	v = s->covered[0];
	pthread_mutex_unlock(&s->mu);
	return v;
}

/* ---- reading ---- */

struct reader {
	int fd;
	uint32_t seed, section;
	uint64_t off, entries, counter, covers;
	unsigned char *mem;       /* one section */
};

static int
read_head(struct reader *r)
{
	unsigned char head[CKPT_HEAD];
	int rc = spool_full_pread(r->fd, head, sizeof head, 0);

	if (rc)
		return rc;
	if (memcmp(head, magic, 8) || le32_get(head + 60) != crc32c(0, head, 60))
		return -EBADMSG;
	if (le32_get(head + 8) != SPOOL_VERSION)
		return -EPROTONOSUPPORT;
	r->seed = spool_seed(head + 16);
	r->covers = le64_get(head + 32);
	r->counter = le64_get(head + 40);
	r->off = CKPT_HEAD;
	r->section = 0;
	r->entries = 0;
	return 0;
}

/* 1: a section is in mem; 0: the last one was read and its count is right. */
static int
next_section(struct reader *r, uint32_t *ret_len, uint32_t *ret_count)
{
	unsigned char head[SECTION_HEAD];
	int rc = spool_full_pread(r->fd, head, sizeof head, r->off);
	uint32_t len, count;

	if (rc)
		return rc;
	len = le32_get(head);
	count = le32_get(head + 4);
	if (len > SPOOL_SECTION || le32_get(head + 8) != r->section++)
		return -EBADMSG;
	rc = spool_full_pread(r->fd, r->mem, len, r->off + sizeof head);
	if (rc)
		return rc;
	if (le32_get(head + 12) != crc32c(crc32c(r->seed, head, 12), r->mem, len))
		return -EBADMSG;
	r->off += sizeof head + len;
	if (count == SECTION_LAST)
		return len == 8 && le64_get(r->mem) == r->entries ? 0 : -EBADMSG;
	r->entries += count;
	*ret_len = len;
	*ret_count = count;
	return 1;
}

static int
give_entries(struct reader *r, const struct spool_visitor *v, uint32_t len, uint32_t count)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t n;
		int rc;

		if (len - at < 4 || (n = le32_get(r->mem + at)) > len - at - 4)
			return -EBADMSG;
		rc = v->entry ? v->entry(v->arg, str_from(r->mem + at + 4, n)) : 0;
		if (rc)
			return rc;
		at += 4 + n;
	}
	return 0;
}

/* Verifies all before a single entry is given, so that a bad file leaves no
 * trace. */
static int
read_ckpt(struct reader *r, const struct spool_visitor *v)
{
	uint32_t len, count;
	int rc = read_head(r);

	while (!rc && (rc = next_section(r, &len, &count)) > 0)
		rc = 0;
	if (!rc)
		rc = read_head(r);
	while (!rc && (rc = next_section(r, &len, &count)) > 0)
		rc = give_entries(r, v, len, count);
	return rc;
}

static int
try_ckpt(struct spool *s, uint64_t covers, const struct spool_visitor *v, struct reader *r)
{
	char name[24], bad[48];
	int rc;

	ckpt_name(name, covers);
	r->fd = openat(s->ckptfd, name, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0)
		return -errno;
	rc = read_ckpt(r, v);
	close(r->fd);
	if (!rc && r->covers != covers)
		rc = -EBADMSG;
	if (rc == -EBADMSG || rc == -EIO) {
		snprintf(bad, sizeof bad, "checkpoint/%s", name);
		if (v->damage)
			v->damage(v->arg, bad, r->off, 0, "checkpoint");
		snprintf(bad, sizeof bad, "%s.bad", name);
		renameat(s->ckptfd, name, s->ckptfd, bad);
	}
	return rc;
}

int
spool_ckpt_load(struct spool *s, const struct spool_visitor *v, struct spool_recovery *rec,
    uint64_t *ret_counter, struct err *e)
{
	struct reader r = { .mem = malloc(SPOOL_SECTION) };
	struct found f = { .n = 0 };
	int rc = r.mem ? list_ckpts(s, &f) : -ENOMEM;
	size_t i;

	unlinkat(s->ckptfd, "new.tmp", 0);
	for (i = 0; i < f.n && !rc; i++) {
		rc = try_ckpt(s, f.covers[i], v, &r);
		if (!rc)
			break;
		if (rc == -EBADMSG || rc == -EIO)
			rc = 0;
	}
	free(r.mem);
	if (rc)
		return err_sys(e, rc, "%s/checkpoint", s->dir);
	if (i == f.n) {
		rec->checkpoint_lost = f.n > 0;
		return 0;
	}
	s->covered[0] = rec->covered = f.covers[i];
	s->covered[1] = i + 1 < f.n ? f.covers[i + 1] : 0;
	*ret_counter = r.counter;
	return 1;
}
