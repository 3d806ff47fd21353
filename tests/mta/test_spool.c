/* The spool's log, checkpoints, segments and large files, on a real folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mta/spool_private.h"
#include "mta/spool_scan.h"

#define SEG_SIZE (1u << 20)

static char dir[64];

struct seen {
	unsigned records, entries, damage;
	uint64_t ids[64];
	char last_file[64], what[64];
	uint64_t last_off, last_len;
};

static int
on_entry(void *arg, struct str bytes)
{
	struct seen *s = arg;

	s->entries++;
	return 0;
}

static int
on_record(void *arg, const struct spool_record *r, const struct spool_place *at)
{
	struct seen *s = arg;

	if (s->records < 64)
		s->ids[s->records] = r->id;
	s->records++;
	return 0;
}

static void
on_damage(void *arg, const char *file, uint64_t off, uint64_t len, const char *what)
{
	struct seen *s = arg;

	s->damage++;
	snprintf(s->last_file, sizeof s->last_file, "%s", file);
	snprintf(s->what, sizeof s->what, "%s", what);
	s->last_off = off;
	s->last_len = len;
}

static int
setup(void **st)
{
	snprintf(dir, sizeof dir, "/tmp/test_spool.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **st)
{
	char cmd[128];

	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd);
}

static struct spool *
open_spool(struct seen *seen, struct spool_recovery *rec)
{
	struct spool_options o = { .dir = dir, .segment_size = SEG_SIZE, .ready = 1 };
	struct spool_visitor v = { seen, on_entry, on_record, on_damage };
	struct spool *s = NULL;
	struct err e = { 0 };

	*seen = (struct seen){ 0 };
	if (spool_open(&o, &v, &s, rec, &e))
		fail_msg("%s", e.text);
	return s;
}

/* One batch with one message of n bytes; its place in *ret_at. */
static int
put(struct spool *s, size_t n, uint64_t *ret_id, struct spool_place *ret_at)
{
	struct spool_batch b;
	unsigned char *p;
	uint32_t at;
	int rc;

	assert_int_equal(spool_batch_init(&b, spool_batch_max(s)), 0);
	*ret_id = spool_next(s);
	p = spool_batch_add(&b, SPOOL_MESSAGE, *ret_id, *ret_id, 4, n, &at);
	assert_non_null(p);
	memset(p, (int)(*ret_id & 0xff), n + 4);
	b.mail = true;
	rc = spool_commit(s, &b);
	if (ret_at)
		*ret_at = (struct spool_place){ b.seg, (uint32_t)(SPOOL_RECORD_HEAD + 4 + n),
			b.off + at };
	spool_batch_done(&b);
	return rc;
}

static void
test_reopen(void **st)
{
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec);
	struct spool_record r;
	struct spool_place at;
	uint64_t id, first;
	char mem[2000];

	assert_true(rec.fresh);
	assert_int_equal(put(s, 100, &first, NULL), 0);
	for (int i = 0; i < 9; i++)
		assert_int_equal(put(s, 1000, &id, &at), 0);
	assert_int_equal(spool_read(s, &at, id, mem, &r), 0);
	assert_int_equal(r.content.n, 1000);
	assert_int_equal(spool_read(s, &at, id + 1, mem, &r), -EBADMSG);
	spool_close(&s);
	s = open_spool(&seen, &rec);
	assert_false(rec.fresh);
	assert_false(rec.clean);
	assert_int_equal(seen.records, 10);
	assert_int_equal(seen.ids[0], first);
	assert_int_equal(seen.ids[9], id);
	assert_true(spool_next(s) > id);
	assert_int_equal(spool_commit_end(s), 0);
	spool_close(&s);
	s = open_spool(&seen, &rec);
	assert_true(rec.clean);
	assert_int_equal(seen.records, 10);
	assert_int_equal(seen.damage, 0);
	spool_close(&s);
}

static void
test_second_opener(void **st)
{
	struct spool_options o = { .dir = dir, .segment_size = SEG_SIZE };
	struct spool_visitor v = { 0 };
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec), *t;
	struct err e;

	assert_int_equal(spool_open(&o, &v, &t, NULL, &e), -EBUSY);
	spool_close(&s);
}

static void
checkpoint(struct spool *s, uint64_t covers)
{
	struct spool_ckpt *c;

	assert_int_equal(spool_ckpt_begin(s, covers, &c), 0);
	assert_int_equal(spool_ckpt_section(c, STR("\4\0\0\0abcd"), 1), 0);
	assert_int_equal(spool_ckpt_commit(&c), 0);
}

/* Segments come back only when dead and covered by both checkpoints. */
static void
test_recycle(void **st)
{
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec);
	struct spool_usage u;
	struct err e;
	uint64_t id = 0;
	unsigned segs = 0;

	for (int i = 0; i < 40; i++) {
		while (!spool_has_room(s, 0, 200000))
			assert_int_equal(spool_fill_segment(s, &e), 0), segs++;
		assert_int_equal(put(s, 200000, &id, NULL), 0);
	}
	assert_true(segs > 4);
	assert_int_equal(spool_recycle(s), 0);
	checkpoint(s, id);
	assert_int_equal(spool_recycle(s), 0);
	assert_true(spool_wants_checkpoint(s));
	checkpoint(s, spool_next(s));
	assert_true(spool_recycle(s) >= 4);
	assert_false(spool_wants_checkpoint(s));
	/* stale records of recycled segments are never seen again */
	assert_int_equal(put(s, 10, &id, NULL), 0);
	spool_usage(s, &u);
	assert_true(u.ready > 2);
	spool_close(&s);
	s = open_spool(&seen, &rec);
	assert_int_equal(seen.records, 1);
	assert_int_equal(seen.entries, 1);
	assert_int_equal(seen.ids[0], id);
	spool_close(&s);
}

static void
test_live_and_read_keep(void **st)
{
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec);
	struct spool_place at, at2;
	uint64_t id, id2;
	struct err e;

	assert_int_equal(put(s, 400000, &id, &at), 0);
	spool_ref(s, at.seg, at.len);
	while (put(s, 400000, &id2, &at2) == -ENOSPC || at2.seg == at.seg)
		assert_int_equal(spool_fill_segment(s, &e), 0);
	checkpoint(s, id2 - 1);
	checkpoint(s, id2);
	assert_int_equal(spool_recycle(s), 0);
	spool_read_begin(s, at.seg);
	spool_unref(s, at.seg, at.len);
	assert_int_equal(spool_recycle(s), 0);
	spool_read_end(s, at.seg);
	assert_int_equal(spool_recycle(s), 1);
	spool_close(&s);
}

static void
flip(const char *file, uint64_t off, size_t n)
{
	char path[128], *p = calloc(1, n);
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, file);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, p, n, (off_t)off), (ssize_t)n);
	for (size_t i = 0; i < n; i++)
		p[i] ^= 0x5a;
	assert_int_equal(pwrite(fd, p, n, (off_t)off), (ssize_t)n);
	close(fd);
	free(p);
}

static void
test_damage(void **st)
{
	static const struct {
		int which;      /* message that is hurt, of 5 */
		int64_t off;    /* from its record's beginning */
		unsigned records, damage, torn;
	} t[] = {
		{ 4, 50, 4, 0, 1 },   /* content of the last: torn tail */
		{ 4, -64, 4, 0, 0 },  /* head of the last batch: nothing to see */
		{ 2, 50, 4, 1, 0 },   /* content in the middle */
		{ 2, -64, 5, 1, 0 },  /* batch head in the middle: the record speaks for itself */
		{ 2, 2, 4, 1, 0 },    /* record head */
		{ 0, 5000, 4, 1, 0 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct spool_recovery rec;
		struct seen seen;
		struct spool_place at[5];
		struct spool *s;
		char file[32];
		uint64_t id;

		setup(st);
		s = open_spool(&seen, &rec);
		for (int k = 0; k < 5; k++)
			assert_int_equal(put(s, 6000, &id, &at[k]), 0);
		spool_close(&s);
		snprintf(file, sizeof file, "log/%08u.seg", at[0].seg);
		flip(file, (uint64_t)((int64_t)at[t[i].which].off + t[i].off), 8);
		s = open_spool(&seen, &rec);
		assert_int_equal(seen.records, t[i].records);
		assert_int_equal(seen.damage, t[i].damage);
		assert_int_equal(rec.torn_off != 0, t[i].torn);
		/* decided once: the next opening says the same, but for the tail,
		 * which is cut now */
		spool_close(&s);
		s = open_spool(&seen, &rec);
		assert_int_equal(seen.records, t[i].records);
		assert_int_equal(seen.damage, t[i].damage);
		assert_int_equal(rec.torn_off, 0);
		spool_close(&s);
		teardown(st);
	}
	setup(st);
}

static void
test_headers(void **st)
{
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec);
	struct spool_place at;
	char file[32];
	uint64_t id;

	assert_int_equal(put(s, 100, &id, &at), 0);
	spool_close(&s);
	snprintf(file, sizeof file, "log/%08u.seg", at.seg);
	flip(file, 16, 8); /* one copy */
	s = open_spool(&seen, &rec);
	assert_int_equal(seen.records, 1);
	assert_int_equal(seen.damage, 0);
	spool_close(&s);
	flip(file, SPOOL_BLOCK + 16, 8); /* the other */
	s = open_spool(&seen, &rec);
	assert_int_equal(seen.records, 0);
	assert_true(seen.damage >= 1);
	spool_close(&s);
}

static void
ckpt_file(uint64_t covers, char out[64])
{
	snprintf(out, 64, "checkpoint/%016llx.ckpt", (unsigned long long)covers);
}

static void
test_checkpoint_fallback(void **st)
{
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec);
	uint64_t a, b, c;
	char file[64];

	assert_int_equal(put(s, 10, &a, NULL), 0);
	checkpoint(s, a);
	assert_int_equal(put(s, 10, &b, NULL), 0);
	checkpoint(s, b);
	assert_int_equal(put(s, 10, &c, NULL), 0);
	spool_close(&s);
	s = open_spool(&seen, &rec);
	assert_int_equal(rec.covered, b);
	assert_int_equal(seen.records, 1);
	spool_close(&s);
	ckpt_file(b, file);
	flip(file, 90, 1);
	s = open_spool(&seen, &rec);
	assert_int_equal(rec.covered, a);
	assert_int_equal(seen.records, 2);
	assert_int_equal(seen.entries, 1);
	assert_false(rec.checkpoint_lost);
	spool_close(&s);
	ckpt_file(a, file);
	flip(file, 70, 1);
	s = open_spool(&seen, &rec);
	assert_true(rec.checkpoint_lost);
	assert_int_equal(seen.records, 3);
	spool_close(&s);
}

static void
test_reserve(void **st)
{
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec);
	struct spool_batch b;
	uint64_t id;
	int rc = 0, n = 0;

	/* no segment is filled: new mail ends before the reserve */
	for (; !rc && n < 100; n++)
		rc = put(s, 300000, &id, NULL);
	assert_int_equal(rc, -ENOSPC);
	assert_false(spool_has_room(s, 0, 300000));
	/* results still go in */
	assert_int_equal(spool_batch_init(&b, spool_batch_max(s)), 0);
	assert_non_null(spool_batch_add(&b, SPOOL_FINAL, spool_next(s), id, 0, 0, NULL));
	assert_int_equal(spool_commit(s, &b), 0);
	spool_batch_done(&b);
	spool_close(&s);
}

/* A write that fails: the segment is retired, the batch goes to the next, and
 * recovery believes exactly one copy. */
static void
test_retire(void **st)
{
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec);
	struct spool_place at;
	struct spool_usage u;
	uint64_t id;
	int ro, keep;
	char path[128];
	struct err e;

	assert_int_equal(spool_fill_segment(s, &e), 0);
	assert_int_equal(put(s, 100, &id, NULL), 0);
	snprintf(path, sizeof path, "%s/log/%08u.seg", dir, s->open->file);
	ro = open(path, O_RDONLY);
	keep = dup(s->open->fd);
	dup2(ro, s->open->fd); /* pwrite now gives EBADF */
	assert_int_equal(put(s, 100, &id, &at), 0);
	spool_usage(s, &u);
	assert_int_equal(u.retired, 1);
	close(ro);
	close(keep);
	spool_close(&s);
	s = open_spool(&seen, &rec);
	assert_int_equal(seen.records, 2);
	assert_int_equal(seen.damage, 0);
	spool_close(&s);
}

static void
large_seen(void *arg, uint64_t file, uint64_t size)
{
	*(uint64_t *)arg += size;
}

static void
test_large(void **st)
{
	struct spool_recovery rec;
	struct seen seen;
	struct spool *s = open_spool(&seen, &rec);
	struct spool_large l;
	uint64_t sum = 0;
	int fd;

	assert_int_equal(spool_large_create(s, 77, &l), 0);
	assert_int_equal(spool_large_write(&l, STR("hello ")), 0);
	assert_int_equal(spool_large_write(&l, STR("world")), 0);
	assert_int_equal(spool_large_finish(s, &l), 0);
	assert_int_equal(spool_large_open(s, 77, 12), -EBADMSG);
	fd = spool_large_open(s, 77, 11);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(spool_large_list(s, large_seen, &sum), 0);
	assert_int_equal(sum, 11);
	assert_int_equal(spool_large_remove(s, 77), 0);
	assert_int_equal(spool_large_open(s, 77, 11), -ENOENT);
	spool_close(&s);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_reopen), T(test_second_opener), T(test_recycle), T(test_live_and_read_keep),
		T(test_damage), T(test_headers), T(test_checkpoint_fallback), T(test_reserve),
		T(test_retire), T(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
