/*
 * What the tests of the store share: a scratch account, messages, delivery.
 * Header only, so that each test stays one file.
 */
#ifndef TESTS_MAILDIR_STORE_TEST_H
#define TESTS_MAILDIR_STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maildir/index.h"

struct store {
	char dir[64];
	struct index *x;
	struct arena *ar;
	struct err e;
	uint64_t run;
	int found[16];
	char last[600];
};

static void
found(void *arg, enum index_finding what, const char *mailbox, uint32_t uid, const char *path,
    const char *text)
{
	struct store *s = arg;

	s->found[what]++;
	snprintf(s->last, sizeof s->last, "%d %s %u %s: %s", what, mailbox, uid, path, text);
	if (getenv("STORE_TEST_VERBOSE"))
		fprintf(stderr, "found %s\n", s->last);
}

static inline struct index_options
store_options(struct store *s)
{
	return (struct index_options){ .dir = s->dir, .create = true, .run = s->run,
		.report = found, .report_arg = s };
}

static inline void
store_open(struct store *s)
{
	struct index_options o = store_options(s);
	int r = index_open(&o, &s->x, NULL, &s->e);

	if (r)
		fprintf(stderr, "open: %d %s\n", r, s->e.text);
	assert_int_equal(r, 0);
}

static inline void
store_init(struct store *s)
{
	memset(s, 0, sizeof *s);
	snprintf(s->dir, sizeof s->dir, "/tmp/store-test-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->ar = arena_new((size_t)1 << 30);
	s->run = 1;
	store_open(s);
}

static inline int
rm_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	return remove(path);
}

static inline void
store_done(struct store *s)
{
	index_close(&s->x);
	arena_free(&s->ar);
	nftw(s->dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* fails the test with the error's text */
#define OK(s, call)                                                                              \
	do {                                                                                     \
		int ok_r = (call);                                                               \
		if (ok_r)                                                                        \
			fail_msg("%s: %d %s", #call, ok_r, (s)->e.text);                         \
	} while (0)

static inline void
store_begin(struct store *s)
{
	OK(s, index_begin(s->x, &s->e));
}

/* commit and settle, as if the volume had been synced */
static inline void
store_commit(struct store *s)
{
	uint64_t no;

	OK(s, index_commit(s->x, &no, &s->e));
	OK(s, index_settle(s->x, no, &s->e));
}

static inline void
put_file(struct store *s, const char *path, size_t size)
{
	char full[800];
	FILE *f;

	snprintf(full, sizeof full, "%s/%s", s->dir, path);
	f = fopen(full, "w");
	assert_non_null(f);
	for (size_t i = 0; i < size; i++)
		fputc('a' + (int)(i % 26), f);
	fclose(f);
}

static inline bool
has_file(struct store *s, const char *path)
{
	char full[800];

	snprintf(full, sizeof full, "%s/%s", s->dir, path);
	return !access(full, F_OK);
}

/* Appends within a transaction. */
static inline struct index_added
append(struct store *s, uint32_t mailbox, uint32_t flags, size_t size)
{
	struct index_new n = { .mailbox = mailbox, .sysflags = flags, .size = size,
		.internal_date = 1732440000, .internal_zone = 60, .opaque = true };
	struct index_added a;

	OK(s, index_add(s->x, &n, s->ar, &a, &s->e));
	put_file(s, arena_cstr(s->ar, a.path), size);
	return a;
}

static inline uint32_t
box(struct store *s, const char *name)
{
	uint32_t id = index_find(s->x, str_c(name));

	assert_int_not_equal(id, 0);
	return id;
}

static inline struct store_mailbox
status(struct store *s, const char *name)
{
	struct store_mailbox m;

	OK(s, index_status(s->x, box(s, name), s->ar, &m, &s->e));
	return m;
}

static inline int
flags(struct store *s, uint32_t mailbox, uint32_t lo, uint32_t hi, enum store_flag_op op,
    uint32_t f)
{
	struct uid_range r = { lo, hi };
	struct uid_set set = { &r, 1 }, mod;
	uint64_t modseq;

	return index_flags(s->x, mailbox, &set, op, f, NULL, 0, UINT64_MAX, s->ar, &mod, &modseq,
	    &s->e);
}

static inline void
check_clean(struct store *s)
{
	int n = index_check(s->x, true, &s->e);

	if (n)
		fail_msg("check: %d findings, last: %s %s", n, s->last, n < 0 ? s->e.text : "");
}

/* Set-up and tear-down of a test that has a store of its own. */
static inline int
up(void **st)
{
	struct store *s = malloc(sizeof *s);

	store_init(s);
	*st = s;
	return 0;
}

static inline int
down(void **st)
{
	store_done(*st);
	free(*st);
	return 0;
}

#endif
