/* mta/relay_reply and relay_hop: replies cut at each place, next hops as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "mta/relay_hop.h"
#include "mta/relay_reply.h"

static const struct {
	const char *in;
	ssize_t want;      /* 0: all of it */
	unsigned code;
	const char *enhanced, *text;
} replies[] = {
	{ "250 ok\r\n", 0, 250, "", "ok" },
	{ "250\r\n", 0, 250, "", "" },
	{ "250 \r\n", 0, 250, "", "" },
	{ "250 ok\n", 0, 250, "", "ok" },
	{ "550 5.1.1 no such user\r\n", 0, 550, "5.1.1", "no such user" },
	{ "550-5.1.1 no\r\n550 5.1.1 such user\r\n", 0, 550, "5.1.1", "no such user" },
	{ "550-no\r\n550-\r\n550 5.7.123 x\r\n", 0, 550, "5.7.123", "no x" },
	{ "450 5.1.1 x\r\n", 0, 450, "", "5.1.1 x" },   /* another class */
	{ "550 5.1 x\r\n", 0, 550, "", "5.1 x" },
	{ "550 5.1.1.1 x\r\n", 0, 550, "", "5.1.1.1 x" },
	{ "550 5..1 x\r\n", 0, 550, "", "5..1 x" },
	{ "550 5.1.1\r\n", 0, 550, "5.1.1", "" },
	{ "250-a\r\n251 b\r\n", 0, 251, "", "a b" },     /* the last line's code holds */
	{ "250 a\r\n250 b\r\n", 7, 250, "", "a" },
	{ "421 a\001b\tc\177\xff\r\n", 0, 421, "", "a?b c??" },
	{ "421 gr\xc3\xbc\xc3\x9f\r\n", 0, 421, "", "gr\xc3\xbc\xc3\x9f" },
	{ "100 x\r\n", -EPROTO, 0, NULL, NULL },
	{ "600 x\r\n", -EPROTO, 0, NULL, NULL },
	{ "25 x\r\n", -EPROTO, 0, NULL, NULL },
	{ "2500 x\r\n", -EPROTO, 0, NULL, NULL },
	{ "250_x\r\n", -EPROTO, 0, NULL, NULL },
	{ "\r\n", -EPROTO, 0, NULL, NULL },
	{ "250-a\r\nhello\r\n", -EPROTO, 0, NULL, NULL },
};

static void
test_replies(void **st)
{
	for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
		struct str in = str_c(replies[i].in);
		ssize_t want = replies[i].want ? replies[i].want : (ssize_t)in.n;
		struct arena *a = arena_new(0);
		struct reply r = { 0 };

		assert_int_equal(reply_parse(in, &r), want);
		if (want > 0) {
			assert_int_equal(r.code, replies[i].code);
			assert_true(str_eq(reply_enhanced(&r), str_c(replies[i].enhanced)));
			assert_string_equal(reply_text(&r, a).n ? reply_text(&r, a).p : "", replies[i].text);
			for (size_t n = 0; n < (size_t)want; n++)
				assert_int_equal(reply_parse(str_head(in, n), &r), 0);
		}
		arena_free(&a);
	}
}

static void
test_reply_limits(void **st)
{
	struct buf b = { 0 };
	struct reply r;

	buf_puts(&b, "250 ");
	while (b.n < REPLY_LINE_MAX)
		buf_putc(&b, 'x');
	assert_int_equal(reply_parse(buf_view(&b), &r), -E2BIG);
	buf_clear(&b);
	for (int i = 0; i < REPLY_LINES_MAX - 1; i++)
		buf_puts(&b, "250-x\r\n");
	assert_int_equal(reply_parse(buf_view(&b), &r), 0);
	buf_puts(&b, "250-x\r\n");
	assert_int_equal(reply_parse(buf_view(&b), &r), -E2BIG);
	buf_clear(&b);
	for (int i = 0; i < 40; i++)
		buf_printf(&b, "250-%01000d\r\n", i);
	assert_int_equal(reply_parse(buf_view(&b), &r), -E2BIG);
	buf_done(&b);
}

static void
test_hops(void **st)
{
	static const struct {
		const char *text, *domain, *host;
		unsigned port;
		bool good, mx, literal, lmtp;
	} t[] = {
		{ "", "dest.test", "dest.test", 0, true, true, false, false },
		{ "", "[192.0.2.1]", "192.0.2.1", 0, true, false, true, false },
		{ "", "[ipv6:2001:db8::1]", "ipv6:2001:db8::1", 0, true, false, true, false },
		{ "mx.test", "d", "mx.test", 0, true, true, false, false },
		{ "mx.test.", "d", "mx.test", 0, true, true, false, false },
		{ "mx.test:587", "d", "mx.test", 587, true, true, false, false },
		{ "[mx.test]", "d", "mx.test", 0, true, false, false, false },
		{ "[mx.test]:25", "d", "mx.test", 25, true, false, false, false },
		{ "[2001:db8::1]:2525", "d", "2001:db8::1", 2525, true, false, true, false },
		{ "[192.0.2.1]:1", "d", "192.0.2.1", 1, true, false, true, false },
		{ "lmtp:[mx.test]:24", "d", "mx.test", 24, true, false, false, true },
		{ "LMTP:[127.0.0.1]:24", "d", "127.0.0.1", 24, true, false, true, true },
		{ "lmtp:[mx.test]", "d", "", 0, false, false, false, false },
		{ "[mx.test", "d", "", 0, false, false, false, false },
		{ "[mx.test]25", "d", "", 0, false, false, false, false },
		{ "[]", "d", "", 0, false, false, false, false },
		{ "mx.test:0", "d", "", 0, false, false, false, false },
		{ "mx.test:65536", "d", "", 0, false, false, false, false },
		{ "mx.test:", "d", "", 0, false, false, false, false },
		{ ":25", "d", "", 0, false, false, false, false },
		{ "a b", "d", "", 0, false, false, false, false },
		{ "a\r\nb", "d", "", 0, false, false, false, false },
		{ "", "", "", 0, false, false, false, false },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct relay_hop h = { 0 };

		assert_int_equal(relay_hop_parse(str_c(t[i].text), str_c(t[i].domain), &h),
		    t[i].good ? 0 : -EINVAL);
		if (!t[i].good)
			continue;
		assert_true(str_eq(h.host, str_c(t[i].host)));
		assert_int_equal(h.port, t[i].port);
		assert_int_equal(h.mx, t[i].mx);
		assert_int_equal(h.literal, t[i].literal);
		assert_int_equal(h.lmtp, t[i].lmtp);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies), cmocka_unit_test(test_reply_limits),
		cmocka_unit_test(test_hops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
