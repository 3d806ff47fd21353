/* lib/proc/census: limits on sessions, over two processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/proc/census.h"

static const unsigned char one[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };
static const unsigned char two[16] = { [10] = 0xff, 0xff, 192, 0, 2, 2 };
static const unsigned char six[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, [15] = 1 };
static const unsigned char six_too[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, [15] = 2 };

static void
test_limits(void **st)
{
	struct err e;

	assert_int_equal(census_open(-1, 3, 4, &e), 0);
	assert_int_equal(census_enter(one, 3, 2), CENSUS_OK);
	assert_int_equal(census_enter(one, 3, 2), CENSUS_OK);
	assert_int_equal(census_enter(one, 3, 2), CENSUS_ADDRESS_FULL);
	assert_int_equal(census_enter(two, 3, 2), CENSUS_OK);
	assert_int_equal(census_enter(six, 3, 2), CENSUS_FULL);
	assert_int_equal(census_total(), 3);
	census_leave(one);
	assert_int_equal(census_enter(one, 3, 2), CENSUS_OK);
	assert_int_equal(census_enter(one, 0, 0), CENSUS_OK);
	/* one network of a provider's customer */
	assert_int_equal(census_enter(six, 0, 1), CENSUS_OK);
	assert_int_equal(census_enter(six_too, 0, 1), CENSUS_ADDRESS_FULL);
}

/* Another process counts in the same memory; its next life clears its part. */
static void
test_two_processes(void **st)
{
	struct err e;
	int fd = census_create(2, &e), status;
	pid_t pid;

	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0) {
		bool ok = !census_open(dup(fd), 1, 2, &e) && census_enter(one, 0, 1) == CENSUS_OK;

		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(census_open(dup(fd), 0, 2, &e), 0);
	assert_int_equal(census_total(), 1);
	assert_int_equal(census_enter(one, 0, 1), CENSUS_ADDRESS_FULL);
	assert_int_equal(census_enter(two, 1, 0), CENSUS_FULL);
	assert_int_equal(census_open(dup(fd), 1, 2, &e), 0);
	assert_int_equal(census_total(), 0);
	assert_int_equal(census_enter(one, 1, 1), CENSUS_OK);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_limits),
		cmocka_unit_test(test_two_processes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
