/* mta/sts_cache: what is kept outlives a restart, a torn file and a damaged one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mta/sts_cache.h"

static char dir[] = "/tmp/test_sts_cache.XXXXXX";

static void
put(struct sts_cache *c, const char *domain, const char *id, enum sts_mode mode, uint64_t at)
{
	struct str mx[] = { STR("mx1.test"), STR("*.mx2.test") };
	struct sts_policy p = { mode, 1000, mx, mode == STS_MODE_NONE ? 0 : 2 };

	assert_int_equal(sts_cache_put(c, str_c(domain), str_c(id), &p, at), 0);
}

static void
save(struct sts_cache *c)
{
	struct buf text = { 0 };

	sts_cache_text(c, &text);
	assert_int_equal(sts_cache_write(c, buf_view(&text), c->sequence), 0);
	buf_done(&text);
}

static void
reopen(struct sts_cache *c)
{
	struct err e;

	sts_cache_close(c);
	assert_int_equal(sts_cache_open(c, dir, &e), 0);
}

static void
test_kept(void **st)
{
	struct sts_cache c;
	const struct sts_kept *k;
	struct err e;

	(void)st;
	assert_int_equal(sts_cache_open(&c, dir, &e), 0);
	put(&c, "a.test", "id1", STS_MODE_ENFORCE, 5000);
	put(&c, "b.test", "id2", STS_MODE_NONE, 5000);
	put(&c, "a.test", "id3", STS_MODE_TESTING, 6000);
	assert_int_equal(c.domains.n, 2);
	save(&c);
	reopen(&c);
	k = sts_cache_get(&c, STR("a.test"), 6999);
	assert_non_null(k);
	assert_string_equal(k->id, "id3");
	assert_int_equal(k->policy.mode, STS_MODE_TESTING);
	assert_int_equal(k->policy.n_mx, 2);
	assert_true(str_eq(k->policy.mx[1], STR("*.mx2.test")));
	assert_int_equal(k->fetched_s, 6000);
	assert_int_equal(sts_cache_get(&c, STR("b.test"), 5500)->policy.n_mx, 0);
	assert_null(sts_cache_get(&c, STR("a.test"), 7000)); /* it has run out */
	sts_cache_sweep(&c, 6500);
	assert_int_equal(c.domains.n, 1);
	assert_null(sts_cache_get(&c, STR("c.test"), 0));
	sts_cache_close(&c);
}

static void
damage(unsigned n, long at)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof path, "%s/mta-sts.%u", dir, n);
	f = fopen(path, "r+");
	assert_non_null(f);
	fseek(f, at, SEEK_SET);
	fputc('#', f);
	fclose(f);
}

/* Whatever happens to the file written last, the one before it is whole. */
static void
test_damaged(void **st)
{
	struct sts_cache c;
	struct err e;
	char path[200];
	unsigned last;

	(void)st;
	assert_int_equal(sts_cache_open(&c, dir, &e), 0);
	put(&c, "old.test", "1", STS_MODE_ENFORCE, 5000);
	save(&c);
	put(&c, "new.test", "1", STS_MODE_ENFORCE, 5000);
	save(&c);
	last = c.sequence % 2;
	reopen(&c);
	assert_non_null(sts_cache_get(&c, STR("new.test"), 5000));
	damage(last, 40);
	reopen(&c);
	assert_null(sts_cache_get(&c, STR("new.test"), 5000));
	assert_non_null(sts_cache_get(&c, STR("old.test"), 5000));
	put(&c, "new.test", "1", STS_MODE_ENFORCE, 5000);
	save(&c);
	assert_int_equal(c.sequence % 2, last); /* the damaged one is written next */
	snprintf(path, sizeof path, "%s/mta-sts.%u", dir, last);
	assert_int_equal(truncate(path, 60), 0);
	reopen(&c);
	assert_non_null(sts_cache_get(&c, STR("old.test"), 5000));
	damage(!last, 10);
	reopen(&c);
	assert_int_equal(c.domains.n, 0);
	sts_cache_close(&c);
}

static int
set_up(void **st)
{
	(void)st;
	return mkdtemp(dir) ? 0 : -1;
}

static int
tear_down(void **st)
{
	char path[200];

	(void)st;
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/mta-sts.%d", dir, i);
		unlink(path);
	}
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
