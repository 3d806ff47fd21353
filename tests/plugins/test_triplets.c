/* The memory of greylisting (plugins/greylist/triplets.h): answers, restarts, bounds, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "plugins/greylist/triplets.h"

const struct ph_api *ph_host; /* no host is here */

#define MINUTE UINT64_C(60000)
#define START UINT64_C(1700000000000)

static char path[64];

static struct triplets *
opened(const struct triplets_policy *p, int want_lost)
{
	struct triplets *t = NULL;
	char why[200] = "";
	int lost = 7;

	if (triplets_open(path, p, &t, &lost, why, sizeof why))
		fail_msg("%s", why);
	assert_int_equal(lost, want_lost);
	return t;
}

static const struct triplets_policy usual = { MINUTE, 60 * MINUTE, 600 * MINUTE, 2, 100 };

static enum triplets_answer
attempt(struct triplets *t, const char *net, const char *sender, uint64_t now, uint64_t want_wait)
{
	enum triplets_answer a = TRIPLETS_NEW;
	uint64_t wait = 1;

	assert_int_equal(triplets_try(t, ph_c(net), ph_c(sender), ph_c("r"), now, &a, &wait), 0);
	assert_int_equal(wait, want_wait);
	return a;
}

static int
setup(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "test_triplets.%d.db", (int)getpid());
	return 0;
}

static int
teardown(void **state)
{
	char more[80];
	static const char *const tails[] = { "", "-wal", "-shm", "-journal", ".damaged" };

	(void)state;
	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
		snprintf(more, sizeof more, "%s%s", path, tails[i]);
		unlink(more);
	}
	return 0;
}

static void
one_sender(void **state)
{
	struct triplets *t = opened(&usual, 0);

	(void)state;
	assert_int_equal(attempt(t, "n/24", "s", START, MINUTE), TRIPLETS_NEW);
	assert_int_equal(attempt(t, "n/24", "s", START + 1000, MINUTE - 1000), TRIPLETS_EARLY);
	assert_int_equal(attempt(t, "n/24", "other", START + 2000, MINUTE), TRIPLETS_NEW);
	assert_int_equal(attempt(t, "n/24", "s", START + MINUTE, 0), TRIPLETS_PASSED);
	triplets_close(&t);
	t = opened(&usual, 0); /* all of it outlives a restart */
	assert_int_equal(attempt(t, "n/24", "s", START + 2 * MINUTE, 0), TRIPLETS_SEEN);
	assert_int_equal(attempt(t, "n/24", "s", START + 601 * MINUTE, 0), TRIPLETS_SEEN);
	assert_int_equal(attempt(t, "n/24", "s", START + 1203 * MINUTE, MINUTE), TRIPLETS_NEW);
	/* never tried again within the window */
	assert_int_equal(attempt(t, "n/24", "other", START + 100 * MINUTE, MINUTE), TRIPLETS_NEW);
	/* a clock that went back */
	assert_int_equal(attempt(t, "n/24", "other", START, MINUTE), TRIPLETS_NEW);
	triplets_close(&t);
}

static void
known_network(void **state)
{
	struct triplets *t = opened(&usual, 0);

	(void)state;
	for (int i = 0; i < 2; i++) {
		const char *s = i ? "b" : "a";

		assert_int_equal(attempt(t, "n/24", s, START, MINUTE), TRIPLETS_NEW);
		assert_int_equal(attempt(t, "n/24", s, START + MINUTE, 0), TRIPLETS_PASSED);
	}
	assert_int_equal(attempt(t, "n/24", "c", START + MINUTE, 0), TRIPLETS_KNOWN);
	assert_int_equal(attempt(t, "m/24", "c", START + MINUTE, MINUTE), TRIPLETS_NEW);
	/* still there after 590 minutes, and again 590 later; then it is forgotten */
	assert_int_equal(attempt(t, "n/24", "c", START + 590 * MINUTE, 0), TRIPLETS_KNOWN);
	assert_int_equal(attempt(t, "n/24", "c", START + 1180 * MINUTE, 0), TRIPLETS_KNOWN);
	assert_int_equal(attempt(t, "n/24", "c", START + 1800 * MINUTE, MINUTE), TRIPLETS_NEW);
	triplets_close(&t);
}

static void
bounds(void **state)
{
	struct triplets *t = opened(&usual, 0);
	char s[20];
	uint64_t gone;

	(void)state;
	assert_int_equal(attempt(t, "n/24", "kept", START, MINUTE), TRIPLETS_NEW);
	assert_int_equal(attempt(t, "n/24", "kept", START + MINUTE, 0), TRIPLETS_PASSED);
	for (int i = 0; i < 1000; i++) {
		snprintf(s, sizeof s, "s%d", i);
		assert_int_equal(attempt(t, "n/24", s, START + MINUTE + (uint64_t)i, MINUTE), TRIPLETS_NEW);
	}
	assert_in_range(triplets_count(t), 50, 120);
	assert_int_equal(attempt(t, "n/24", "kept", START + 2 * MINUTE, 0), TRIPLETS_SEEN);
	assert_int_equal(triplets_expire(t, START + 2 * MINUTE, &gone), 0);
	assert_in_range(triplets_count(t), 50, 101);
	assert_int_equal(triplets_expire(t, START + 62 * MINUTE, &gone), 0);
	assert_true(gone >= 50);
	assert_int_equal(triplets_count(t), 2); /* what passed, and its network */
	assert_int_equal(triplets_expire(t, START + 700 * MINUTE, &gone), 0);
	assert_int_equal(triplets_count(t), 0);
	triplets_close(&t);
}

static void
damage(void **state)
{
	struct triplets *t = opened(&usual, 0);
	FILE *f;

	(void)state;
	assert_int_equal(attempt(t, "n/24", "s", START, MINUTE), TRIPLETS_NEW);
	triplets_close(&t);
	f = fopen(path, "r+");
	assert_non_null(f);
	for (int i = 0; i < 9000; i++)
		fputc('x', f);
	fclose(f);
	t = opened(&usual, 1);
	assert_int_equal(attempt(t, "n/24", "s", START + MINUTE, MINUTE), TRIPLETS_NEW);
	triplets_close(&t);
	t = opened(&usual, 0);
	triplets_close(&t);
}

static void
names(void **state)
{
	static const struct {
		const char *ip, *want;
	} nets[] = {
		{ "192.0.2.99", "192.0.0.0/20" }, { "::ffff:192.0.18.99", "192.0.16.0/20" },
		{ "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48" }, { "junk", NULL }, { "", NULL },
	};
	static const struct {
		const char *address, *want;
	} senders[] = {
		{ "News-4711-x@Example.ORG", "news-#-x@example.org" }, { "user+tag@b.test", "user@b.test" },
		{ "prvs=4321abcdef=user@b.test", "user@b.test" },
		{ "SRS0=HHH=TT=a.test=user@b.test", "a.test=user@b.test" }, { "", "" },
		{ "a|b@c.test", "a?b@c.test" }, { "local", "local" }, { "prvs=x@b.test", "prvs=x@b.test" },
	};
	char text[TRIPLETS_ADDRESS_MAX], net[TRIPLETS_NET_MAX], longest[3000];

	(void)state;
	for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
		assert_int_equal(triplets_net(ph_c(nets[i].ip), 20, 48, net), nets[i].want ? 0 : -1);
		if (nets[i].want)
			assert_string_equal(net, nets[i].want);
	}
	for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
		triplets_sender(ph_c(senders[i].address), text);
		assert_string_equal(text, senders[i].want);
	}
	memset(longest, 'a', sizeof longest);
	assert_int_equal(triplets_rcpt(ph_bytes(longest, sizeof longest), text), TRIPLETS_ADDRESS_MAX - 1);
	longest[2999] = '@';
	assert_true(triplets_sender(ph_bytes(longest, sizeof longest), text) < TRIPLETS_ADDRESS_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_sender, setup, teardown),
		cmocka_unit_test_setup_teardown(known_network, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(damage, setup, teardown),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
