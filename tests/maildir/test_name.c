/* Names of message files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "maildir/name.h"

static void
test_parse(void **st)
{
	static const struct {
		const char *in, *base;
		enum name_origin origin;
		uint64_t id, size;
		uint32_t uid;
		uint64_t email;
	} t[] = {
		{ "1732440000.M123456D00000000000000ab.ph,S=5120", NULL, NAME_DELIVERED, 0xab, 5120, 0,
		    0 },
		{ "1732440000.M123456N00000000000000ab.ph,S=5120,U=17,E=00000000000004d2:2,",
		    "1732440000.M123456N00000000000000ab.ph,S=5120", NAME_APPENDED, 0xab, 5120, 17,
		    0x4d2 },
		{ "1732440000.M123456P9.host,S=7,W=8:2,S", "1732440000.M123456P9.host,S=7,W=8",
		    NAME_FOREIGN, 0, 7, 0, 0 },
		{ "a,U=0,E=0000000000000001:2,", "a,U=0,E=0000000000000001", NAME_FOREIGN, 0, 0, 0, 0 },
		{ "a,U=5,E=1:2,", "a,U=5,E=1", NAME_FOREIGN, 0, 0, 0, 0 },
		{ "a,U=4294967296,E=0000000000000001", NULL, NAME_FOREIGN, 0, 0, 0, 0 },
		{ "a,S=99999999999999999999999", NULL, NAME_FOREIGN, 0, 0, 0, 0 },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct msg_name n;

		assert_true(name_parse(str_c(t[i].in), &n));
		assert_true(str_eq(n.base, str_c(t[i].base ? t[i].base : t[i].in)));
		assert_int_equal(n.origin, t[i].origin);
		assert_int_equal(n.id, t[i].id);
		assert_int_equal(n.size, t[i].size);
		assert_int_equal(n.uid, t[i].uid);
		assert_int_equal(n.email, t[i].email);
	}
}

static void
test_refused(void **st)
{
	static const char *const t[] = { "", ".hidden", "a/b", ":2,", "a\nb", ",U=1,E=0000000000000001" };
	struct msg_name n;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		assert_false(name_parse(str_c(t[i]), &n));
}

static void
test_round(void **st)
{
	struct msg_name n;
	struct buf b, c;

	buf_init(&b, 0);
	buf_init(&c, 0);
	name_base(&b, 1732440000000007, NAME_DELIVERED, UINT64_MAX, 12, NULL);
	name_cur(&c, buf_view(&b), 4294967294u, 3);
	assert_true(c.n <= NAME_MAX_LEN);
	assert_true(name_parse(buf_view(&c), &n));
	assert_true(str_eq(n.base, buf_view(&b)));
	assert_int_equal(n.time_us, 1732440000000007);
	assert_int_equal(n.id, UINT64_MAX);
	assert_int_equal(n.uid, 4294967294u);
	assert_false(n.has_crc);
	buf_done(&b);
	buf_done(&c);
}

static void
test_crc(void **st)
{
	static const struct {
		const char *in;
		bool has;
		uint32_t crc;
	} t[] = {
		{ "1.M000002D00000000000000ab.ph,S=5,C=0000abcd", true, 0xabcd },
		{ "1.M000002D00000000000000ab.ph,S=5,C=fedcba98,U=1,E=0000000000000001:2,", true,
		    0xfedcba98 },
		{ "a,C=ABCDEF01", false, 0 },
		{ "a,C=123", false, 0 },
		{ "a,C=123456789", false, 0 },
	};
	uint32_t crc = 0x12;
	struct msg_name n;
	struct buf b;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		assert_true(name_parse(str_c(t[i].in), &n));
		assert_int_equal(n.has_crc, t[i].has);
		assert_int_equal(n.crc, t[i].crc);
	}
	buf_init(&b, 0);
	name_base(&b, 1, NAME_APPENDED, 2, 3, &crc);
	assert_true(name_parse(buf_view(&b), &n));
	assert_true(n.has_crc && n.crc == crc && n.size == 3 && n.id == 2);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_crc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
