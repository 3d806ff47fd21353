/*
 * Opening the log: which segments there are, what they say behind the
 * checkpoint, where the log ends. Nothing is written here but the removal of
 * files that never were in use.
 *
 * Segments form a chain by use number; the header of each says which use came
 * before and where that one ended. So the end of all but the last is known, and
 * a batch that does not verify before a known end is damage.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mta/spool_private.h"
#include "mta/spool_scan.h"

#define READ_STEP (1u << 20)

struct recovery {
	struct spool *s;
	const struct spool_visitor *v;
	struct spool_recovery *rec;
	struct segment *seg;     /* being scanned */
	unsigned char *mem;
	size_t cap;
	uint64_t last_seq, covers_seen;
};

static void
report(struct recovery *r, uint32_t file, uint64_t off, uint64_t len, const char *what)
{
	char name[16], path[24];

	spool_seg_name(name, file);
	snprintf(path, sizeof path, "log/%s", name);
	r->rec->damaged++;
	if (r->v->damage)
		r->v->damage(r->v->arg, path, off, len, what);
}

/* ---- the folder ---- */

static int
read_header(int fd, struct spool_header *ret)
{
	unsigned char *two = malloc(SPOOL_HEADER_SIZE);
	int rc = two ? spool_full_pread(fd, two, SPOOL_HEADER_SIZE, 0) : -ENOMEM;

	if (!rc)
		rc = spool_scan_header(two, SPOOL_HEADER_SIZE, ret);
	free(two);
	return rc;
}

static int
add_file(struct recovery *r, uint32_t file, const char *name, struct err *e)
{
	struct segment *g;
	struct stat st;
	int fd = openat(r->s->logfd, name, O_RDWR | O_CLOEXEC), rc;

	if (fd < 0 || fstat(fd, &st))
		return err_sys(e, -errno, "%s/log/%s", r->s->dir, name);
	rc = spool_seg_add(r->s, file, fd, SEG_BAD, &g);
	if (rc)
		return err_set(e, rc, "out of memory");
	g->recovered = true;
	rc = st.st_size >= SPOOL_HEADER_SIZE ? read_header(fd, &g->header) : -ENODATA;
	if (!rc) {
		g->state = SEG_CLOSED;
		g->end = (uint64_t)st.st_size;
		return 0;
	}
	if (rc == -ENODATA && (uint64_t)st.st_size == r->s->o.segment_size) {
		g->state = SEG_READY;
		return 0;
	}
	if (rc == -ENODATA) { /* never used, and of another size */
		spool_seg_drop(r->s, g, true);
		return 0;
	}
	if (rc == -EPROTONOSUPPORT)
		return err_set(e, rc, "%s/log/%s is of a later version", r->s->dir, name);
	report(r, file, 0, SPOOL_HEADER_SIZE, "header");
	return 0;
}

static int
read_folder(struct recovery *r, struct err *e)
{
	int fd = openat(r->s->logfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d)
		return err_sys(e, -errno, "%s/log", r->s->dir);
	while (!rc && (de = readdir(d))) {
		unsigned file;
		int end = 0;

		if (sscanf(de->d_name, "%8u.%n", &file, &end) != 1 || end != 9)
			continue;
		if (!strcmp(de->d_name + 9, "new"))
			unlinkat(r->s->logfd, de->d_name, 0);
		else if (!strcmp(de->d_name + 9, "seg"))
			rc = add_file(r, file, de->d_name, e);
	}
	closedir(d);
	return rc;
}

static int
by_use(const void *a, const void *b)
{
	const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;

	return x->header.use < y->header.use ? -1 : x->header.use > y->header.use;
}

/* The segments in use, by use number. */
static int
chain(struct recovery *r, struct segment ***ret, size_t *ret_n)
{
	struct segment **v = calloc(r->s->n_segs + 1, sizeof(struct segment *));
	size_t n = 0, m = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < r->s->n_segs; i++)
		if (r->s->segs[i]->state == SEG_CLOSED)
			v[n++] = r->s->segs[i];
	qsort(v, n, sizeof *v, by_use);
	for (size_t i = 0; i < n; i++) {
		if (m && v[m - 1]->header.use == v[i]->header.use) {
			v[i]->state = SEG_BAD;
			report(r, v[i]->file, 0, SPOOL_HEADER_SIZE, "second segment of one use");
			continue;
		}
		v[m++] = v[i];
	}
	*ret = v;
	*ret_n = m;
	return 0;
}

/* ---- one segment ---- */

/* What cannot be read counts as zeros, and is reported. */
static int
load(struct recovery *r, struct segment *g)
{
	struct stat st;

	if (fstat(g->fd, &st))
		return -errno;
	if ((uint64_t)st.st_size > SPOOL_SEGMENT_MAX)
		st.st_size = SPOOL_SEGMENT_MAX;
	if ((size_t)st.st_size > r->cap) {
		free(r->mem);
		r->cap = (size_t)st.st_size;
		r->mem = malloc(r->cap);
		if (!r->mem)
			return -ENOMEM;
	}
	for (uint64_t at = 0; at < (uint64_t)st.st_size; at += READ_STEP) {
		uint64_t left = (uint64_t)st.st_size - at;
		size_t n = left < READ_STEP ? (size_t)left : READ_STEP;

		if (!spool_full_pread(g->fd, r->mem + at, n, at))
			continue;
		for (size_t b = 0; b < n; b += SPOOL_BLOCK) {
			size_t k = n - b < SPOOL_BLOCK ? n - b : SPOOL_BLOCK;

			if (spool_full_pread(g->fd, r->mem + at + b, k, at + b)) {
				memset(r->mem + at + b, 0, k);
				report(r, g->file, at + b, k, "unreadable");
			}
		}
	}
	return (int)(st.st_size / SPOOL_BLOCK);
}

static int
on_record(void *arg, const struct spool_record *rec, uint64_t off)
{
	struct recovery *r = arg;
	struct spool_place at = {
		.seg = r->seg->file,
		.len = (uint32_t)(SPOOL_RECORD_HEAD + rec->meta.n + rec->content.n),
		.off = off,
	};

	if (rec->seq > r->last_seq)
		r->last_seq = rec->seq;
	if (rec->type == SPOOL_CHECKPOINT) {
		if (rec->id > r->covers_seen)
			r->covers_seen = rec->id;
		return 0;
	}
	if (rec->seq <= r->rec->covered)
		return 0;
	r->rec->records++;
	return r->v->record ? r->v->record(r->v->arg, rec, &at) : 0;
}

static void
on_damage(void *arg, uint64_t off, uint64_t len, const char *what)
{
	struct recovery *r = arg;

	report(r, r->seg->file, off, len, what);
}

static int
scan_one(struct recovery *r, struct segment *g, const struct segment *next,
    struct spool_scan_result *res)
{
	struct spool_scan_spec spec = { .arg = r, .record = on_record, .damage = on_damage };
	int blocks, rc;

	r->seg = g;
	blocks = load(r, g);
	if (blocks < 0)
		return blocks;
	spec.mem = r->mem;
	spec.size = (size_t)blocks * SPOOL_BLOCK;
	if (next && next->header.prev_use == g->header.use)
		spec.known_end = next->header.prev_end;
	rc = spool_scan(&spec, res);
	if (rc)
		return rc;
	r->rec->scanned++;
	g->end = res->end;
	g->last_seq = res->last_seq;
	if (res->torn && !next) {
		r->rec->torn_off = res->torn;
		snprintf(r->rec->torn_file, sizeof r->rec->torn_file, "log/%08u.seg", g->file);
	}
	return 0;
}

/* A use that the chain names but that is not there held records behind the
 * checkpoint. */
static void
check_link(struct recovery *r, const struct segment *before, const struct segment *g)
{
	uint64_t use = before ? before->header.use : 0;

	if (g->header.prev_use != use && g->header.first_seq > r->rec->covered + 1 &&
	    g->header.prev_how != SPOOL_END_NONE)
		report(r, g->file, 0, 0, "segment before it is missing");
}

static int
scan_chain(struct recovery *r, struct segment **v, size_t n, struct spool_scan_result *last)
{
	for (size_t i = 0; i < n; i++) {
		struct segment *next = i + 1 < n ? v[i + 1] : NULL;
		int rc;

		check_link(r, i ? v[i - 1] : NULL, v[i]);
		if (next && next->header.first_seq <= r->rec->covered + 1) {
			v[i]->last_seq = next->header.first_seq - 1;
			continue;
		}
		rc = scan_one(r, v[i], next, last);
		if (rc)
			return rc;
		/* damage may have hidden its last records */
		if (next && v[i]->last_seq < next->header.first_seq - 1)
			v[i]->last_seq = next->header.first_seq - 1;
	}
	return 0;
}

/* Where the log goes on. */
static void
decide_end(struct recovery *r, const struct segment *g, const struct spool_scan_result *last)
{
	struct spool *s = r->s;

	s->next_use = g->header.use + 1;
	s->next_batch = last->next_batch;
	s->prev_use = g->header.use;
	s->prev_end = last->end;
	s->prev_how = last->clean ? SPOOL_END_CLEAN : SPOOL_END_CRASH;
	r->rec->clean = last->clean && !r->rec->damaged;
}

/* Without a checkpoint, everything that one may have known to be finished is
 * uncertain. */
static void
decide_uncertain(struct recovery *r, struct segment *const *v)
{
	if (!r->rec->checkpoint_lost)
		return;
	r->rec->uncertain_seq = v[0]->header.use > 1 ? r->last_seq : r->covers_seen;
}

int
spool_recover(struct spool *s, const struct spool_visitor *v, struct spool_recovery *rec,
    struct err *e)
{
	struct recovery r = { .s = s, .v = v, .rec = rec };
	struct spool_scan_result last = { 0 };
	struct segment **segs = NULL;
	uint64_t counter = 0;
	size_t n = 0;
	int rc = read_folder(&r, e), loaded;

	if (rc)
		return rc;
	loaded = spool_ckpt_load(s, v, rec, &counter, e);
	if (loaded < 0)
		return loaded;
	rc = chain(&r, &segs, &n);
	s->next_use = s->next_batch = 1;
	rec->segments = n;
	rec->fresh = !loaded && !rec->checkpoint_lost && n == 0;
	if (!loaded && n)
		rec->checkpoint_lost = true;
	if (!rc)
		rc = scan_chain(&r, segs, n, &last);
	if (!rc && n) {
		decide_end(&r, segs[n - 1], &last);
		decide_uncertain(&r, segs);
	}
	s->last_seq = r.last_seq > rec->covered ? r.last_seq : rec->covered;
	s->counter = s->last_seq > counter ? s->last_seq : counter;
	free(segs);
	free(r.mem);
	return rc ? err_sys(e, rc, "%s/log", s->dir) : 0;
}
