/* lib/client/dns, dns_rdata: frames, names, and the data of records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "lib/client/dns_rdata.h"

#define BYTES(lit) str_from("" lit, sizeof(lit) - 1)

static int
arena_setup(void **st)
{
	*st = arena_new(0);
	return !*st;
}

static int
arena_teardown(void **st)
{
	arena_free((struct arena **)st);
	return 0;
}

static void
test_names(void **st)
{
	static const struct {
		struct str wire;
		const char *text; /* NULL: refused */
	} rows[] = {
		{ STR_INIT("\0"), "" },
		{ STR_INIT("\2Mx\7eXample\4test\0"), "mx.example.test" },
		{ STR_INIT("\3a.b\1\\\0"), "a\\046b.\\092" },
		{ STR_INIT("\3a\0b\0"), "a\\000b" },
		{ STR_INIT(""), NULL },
		{ STR_INIT("\2mx"), NULL },
		{ STR_INIT("\3mx\0"), NULL },
		{ STR_INIT("\xc0\x0c"), NULL },
		{ STR_INIT("\x40" "0123456789012345678901234567890123456789012345678901234567890123\0"), NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b = { 0 };
		struct str rest = rows[i].wire, name = STR_NULL;
		int r = dns_name_get(&rest, *st, &name);

		if (!rows[i].text) {
			assert_int_equal(r, -EPROTO);
			assert_int_equal(rest.n, rows[i].wire.n);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(rest.n, 0);
		assert_true(str_eq(name, str_c(rows[i].text)));
		assert_int_equal(dns_name_put(&b, name), 0);
		assert_true(str_ieq(buf_view(&b), rows[i].wire));
		buf_done(&b);
	}
}

/* A name of 255 bytes in wire form is the longest. */
static void
test_long_names(void **st)
{
	char text[300];
	struct buf b = { 0 };
	struct str rest, name;

	for (int i = 0; i < 300; i++)
		text[i] = i % 2 ? '.' : 'a';
	assert_int_equal(dns_name_put(&b, str_from(text, 253)), 0);
	assert_int_equal(b.n, 255);
	rest = buf_view(&b);
	assert_int_equal(dns_name_get(&rest, *st, &name), 0);
	assert_true(str_eq(name, str_from(text, 253)));
	buf_clear(&b);
	assert_int_equal(dns_name_put(&b, str_from(text, 255)), -EINVAL);
	assert_int_equal(dns_name_put(&b, STR("a..b")), -EINVAL);
	assert_int_equal(dns_name_put(&b, STR(".a")), -EINVAL);
	assert_int_equal(dns_name_put(&b, STR("a\\2b")), -EINVAL);
	assert_int_equal(dns_name_put(&b, STR("a\\")), -EINVAL);
	assert_int_equal(b.n, 0);
	assert_int_equal(dns_name_put(&b, STR("a.")), 0);
	assert_true(str_eq(buf_view(&b), BYTES("\1a\0")));
	buf_done(&b);
}

static void
test_hosts(void **st)
{
	assert_true(dns_name_is_host(STR("mx-1.example.test")));
	assert_true(dns_name_is_host(STR("_25._tcp.mx.example.test")));
	assert_false(dns_name_is_host(STR("")));
	assert_false(dns_name_is_host(STR("a\\046b.test")));
	assert_false(dns_name_is_host(STR("a b")));
	assert_false(dns_name_is_host(BYTES("a\0b")));
}

static void
test_mx(void **st)
{
	struct dns_host h = { 0 };

	assert_int_equal(dns_mx_get(BYTES("\0\12\2mx\4test\0"), *st, &h), 0);
	assert_int_equal(h.preference, 10);
	assert_true(str_eq(h.name, STR("mx.test")));
	assert_int_equal(dns_mx_get(BYTES("\0\0\0"), *st, &h), 0);
	assert_int_equal(h.name.n, 0);
	assert_int_equal(dns_mx_get(BYTES("\0\12"), *st, &h), -EPROTO);
	assert_int_equal(dns_mx_get(BYTES("\0\12\2mx\4test\0x"), *st, &h), -EPROTO);
	assert_int_equal(dns_mx_get(BYTES("\0\12\2mx\4tes"), *st, &h), -EPROTO);
}

static void
test_addresses(void **st)
{
	struct sockaddr_storage ss;

	assert_int_equal(dns_address_get(BYTES("\300\0\2\1"), DNS_A, &ss), 0);
	assert_int_equal(ss.ss_family, AF_INET);
	assert_int_equal(((struct sockaddr_in *)&ss)->sin_addr.s_addr, htonl(0xc0000201));
	assert_int_equal(dns_address_get(BYTES("\300\0\2"), DNS_A, &ss), -EPROTO);
	assert_int_equal(dns_address_get(BYTES("\300\0\2\1"), DNS_AAAA, &ss), -EPROTO);
	assert_int_equal(dns_address_get(BYTES("0123456789abcdef"), DNS_AAAA, &ss), 0);
	assert_int_equal(ss.ss_family, AF_INET6);
}

static void
test_txt(void **st)
{
	struct str t;

	assert_int_equal(dns_txt_get(BYTES("\3v=S\5TSv1;\0"), *st, &t), 0);
	assert_true(str_eq(t, STR("v=STSv1;")));
	assert_int_equal(dns_txt_get(BYTES("\0"), *st, &t), 0);
	assert_int_equal(t.n, 0);
	assert_int_equal(dns_txt_get(BYTES(""), *st, &t), -EPROTO);
	assert_int_equal(dns_txt_get(BYTES("\3v="), *st, &t), -EPROTO);
}

static void
test_tlsa(void **st)
{
	struct dns_tlsa t;

	assert_int_equal(dns_tlsa_get(BYTES("\3\1\1\xab\xcd"), &t), 0);
	assert_int_equal(t.usage, 3);
	assert_int_equal(t.selector, 1);
	assert_int_equal(t.matching, 1);
	assert_true(str_eq(t.data, BYTES("\xab\xcd")));
	assert_int_equal(dns_tlsa_get(BYTES("\3\1\1"), &t), -EPROTO);
}

static void
test_text(void **st)
{
	static const struct {
		uint16_t type;
		struct str rdata;
		const char *text;
	} rows[] = {
		{ DNS_A, STR_INIT("\300\0\2\1"), "192.0.2.1" },
		{ DNS_A, STR_INIT("\300\0\2"), "\\# 3 c00002" },
		{ DNS_MX, STR_INIT("\0\12\2mx\0"), "10 mx." },
		{ DNS_MX, STR_INIT("\0\0\0"), "0 ." },
		{ DNS_TXT, STR_INIT("\3a\"b\1c"), "\"a\\034b\" \"c\"" },
		{ DNS_SRV, STR_INIT("\0\1\0\2\1\xbb\1x\0"), "1 2 443 x." },
		{ DNS_TLSA, STR_INIT("\3\1\1\xab"), "3 1 1 ab" },
		{ 257, STR_INIT("\1"), "\\# 1 01" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b = { 0 };

		dns_rdata_text(&b, rows[i].type, rows[i].rdata);
		assert_string_equal(buf_cstr(&b), rows[i].text);
		buf_done(&b);
	}
	assert_int_equal(dns_type_by_name(STR("mx")), DNS_MX);
	assert_int_equal(dns_type_by_name(STR("TYPE257")), 257);
	assert_int_equal(dns_type_by_name(STR("TYPE99999")), 0);
}

static void
test_reverse(void **st)
{
	struct sockaddr_storage ss;
	struct str name;

	dns_address_get(BYTES("\300\0\2\1"), DNS_A, &ss);
	assert_int_equal(dns_reverse_name(&ss, *st, &name), 0);
	assert_true(str_eq(name, STR("1.2.0.192.in-addr.arpa")));
	dns_address_get(BYTES("\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\x1f"), DNS_AAAA, &ss);
	assert_int_equal(dns_reverse_name(&ss, *st, &name), 0);
	assert_true(str_eq(name, STR("f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
				     "ip6.arpa")));
	ss.ss_family = AF_UNIX;
	assert_int_equal(dns_reverse_name(&ss, *st, &name), -EAFNOSUPPORT);
}

static void
test_frames(void **st)
{
	struct str records[] = { BYTES("\300\0\2\1"), BYTES("\300\0\2\2") };
	struct dns_question q[DNS_QUESTIONS_MAX + 1] = {
		{ STR("example.test"), DNS_MX }, { STR("mx.example.test"), DNS_A } };
	struct dns_answer v[] = {
		{ .status = DNS_OK, .secure = true, .ttl = 60, .canonical = STR("mx.test"),
		    .rdata = records, .n = 2 },
		{ .status = DNS_BOGUS, .canonical = STR("b.test"), .why = STR("signature expired") } };
	struct dns_question got[DNS_QUESTIONS_MAX];
	struct dns_answer back[2];
	struct buf b = { 0 };
	size_t n;

	dns_questions_put(&b, q, 2);
	assert_int_equal(dns_questions_get(buf_view(&b), got, &n), 0);
	assert_int_equal(n, 2);
	assert_true(str_eq(got[1].name, q[1].name));
	assert_int_equal(got[0].type, DNS_MX);
	assert_int_equal(dns_questions_get(STR(""), got, &n), -EPROTO);
	buf_clear(&b);
	for (int i = 0; i <= DNS_QUESTIONS_MAX; i++)
		dns_questions_put(&b, q, 1);
	assert_int_equal(dns_questions_get(buf_view(&b), got, &n), -EPROTO);
	buf_clear(&b);
	dns_answers_put(&b, v, 2);
	assert_int_equal(dns_answers_get(buf_view(&b), *st, back, 2), 0);
	assert_true(back[0].secure && back[0].n == 2 && back[0].ttl == 60);
	assert_true(str_eq(back[0].rdata[1], records[1]));
	assert_int_equal(back[1].status, DNS_BOGUS);
	assert_true(str_eq(back[1].why, v[1].why));
	assert_int_equal(dns_answers_get(buf_view(&b), *st, back, 1), -EPROTO);
	buf_clear(&b);
	v[1].secure = true; /* bogus and secure at once */
	dns_answers_put(&b, v, 2);
	assert_int_equal(dns_answers_get(buf_view(&b), *st, back, 2), -EPROTO);
	buf_done(&b);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, arena_setup, arena_teardown)
	const struct CMUnitTest tests[] = {
		T(test_names), T(test_long_names), T(test_hosts), T(test_mx), T(test_addresses), T(test_txt),
		T(test_tlsa), T(test_text), T(test_reverse), T(test_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
