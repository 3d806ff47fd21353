/* lib/sasl/oauth: the messages of RFC 7628 section 4 and of XOAUTH2, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

#include "lib/sasl/oauth.h"

#define TOKEN "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="

static void
test_bearer(void **st)
{
	static const struct {
		const char *in, *user;
	} t[] = {
		{ "n,a=user@example.test,\001host=server.example.test\001port=143\001auth=Bearer " TOKEN "\001\001",
		    "user@example.test" },
		{ "n,,\001auth=Bearer " TOKEN "\001\001", "" },
		{ "y,a=a=2Cb=3Dc,\001auth=bearer  " TOKEN "\001\001", "a,b=c" },
	};
	static const char *const bad[] = { "", "n", "n,", "n,,", "n,,\001", "n,,\001\001", "n,,auth=Bearer x\001\001",
		"n,,\001auth=Bearer " TOKEN "\001", "n,,\001auth=Bearer " TOKEN, "n,,\001auth=Basic " TOKEN "\001\001",
		"n,,\001auth=Bearer \001\001", "n,,\001auth=Bearer x\001auth=Bearer y\001\001",
		"p=tls-unique,,\001auth=Bearer x\001\001", "n,b=user,\001auth=Bearer x\001\001",
		"n,a=x=2,\001auth=Bearer x\001\001", "n,,\001auth=Bearer x y\001\001", "n,,\001=x\001auth=Bearer x\001\001",
		"n,,\001auth=Bearer x\001\001more" };
	struct oauth_message m;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct arena *a = arena_new(0);

		assert_int_equal(oauth_bearer(str_c(t[i].in), a, &m), 0);
		assert_true(str_eq(m.token, STR(TOKEN)));
		assert_true(str_eq(m.user, str_c(t[i].user)));
		arena_free(&a);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct arena *a = arena_new(0);

		assert_int_equal(oauth_bearer(str_c(bad[i]), a, &m), -EINVAL);
		arena_free(&a);
	}
}

static void
test_x2(void **st)
{
	static const char *const bad[] = { "", "user=", "user=a", "user=a\001", "user=a\001\001", "auth=Bearer x\001\001",
		"user=a\001auth=Bearer x\001", "user=a\tb\001auth=Bearer x\001\001", "user=a\001auth=x\001\001" };
	struct oauth_message m;

	assert_int_equal(oauth_x2(STR("user=user1@example.test\001auth=Bearer " TOKEN "\001\001"), &m), 0);
	assert_true(str_eq(m.user, STR("user1@example.test")) && str_eq(m.token, STR(TOKEN)));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(oauth_x2(str_c(bad[i]), &m), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bearer), cmocka_unit_test(test_x2) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
