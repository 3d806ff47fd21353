/* DNS lists: entries of the configuration, names that are asked, answers (plugins/dnsbl/zone.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plugins/common/net.h"
#include "plugins/common/text.h"
#include "plugins/dnsbl/zone.h"

const struct ph_api *ph_host; /* no host is here */

static struct zone
zone_of(const char *text)
{
	struct zone z;
	const char *why = NULL;

	assert_int_equal(zone_parse(ph_c(text), 1, &z, &why), 0);
	return z;
}

static void
entries(void **state)
{
	static const char *const wrong[] = { "", "   ", "zone", "-1 2", "a..example", ".example.org",
		"list.example.org x", "list.example.org 127.0.0", "list.example.org 127.0.0.2.3",
		"list.example.org 127.0.0.256", "list.example.org 127.0.0.9-2", "list.example.org 127.0.0.-2",
		"list.example.org 127.0.0.2-", "list.example.org 1001", "127.0.0.2",
		"l.example 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1" };
	struct zone z = zone_of("  List.Example.ORG. 127.0.0.2-11\t127.*.1.7 -3 ");
	const char *why;

	(void)state;
	assert_string_equal(z.name, "list.example.org");
	assert_int_equal(z.weight, -3);
	assert_int_equal(z.n_patterns, 2);
	assert_int_equal(z.patterns[0].low[3], 2);
	assert_int_equal(z.patterns[0].high[3], 11);
	assert_int_equal(z.patterns[1].low[1], 0);
	assert_int_equal(z.patterns[1].high[1], 255);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		why = NULL;
		assert_int_equal(zone_parse(ph_c(wrong[i]), 1, &z, &why), -1);
		assert_non_null(why);
	}
}

static void
names(void **state)
{
	struct zone z = zone_of("l.example");
	char asked[ZONE_NAME_MAX], longest[300];

	(void)state;
	assert_int_equal(zone_ask_address(&z, ph_c("192.0.2.99"), asked), 0);
	assert_string_equal(asked, "99.2.0.192.l.example");
	assert_int_equal(zone_ask_address(&z, ph_c("::ffff:192.0.2.99"), asked), 0);
	assert_string_equal(asked, "99.2.0.192.l.example");
	/* RFC 5782 section 2.4 */
	assert_int_equal(zone_ask_address(&z, ph_c("2001:db8:1:2:3:4:567:89ab"), asked), 0);
	assert_string_equal(asked,
	    "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.l.example");
	assert_int_equal(zone_ask_address(&z, ph_c("192.0.2"), asked), -1);
	assert_int_equal(zone_ask_address(&z, ph_c(""), asked), -1);
	assert_int_equal(zone_ask_domain(&z, ph_c("Bad.Example.NET."), asked), 0);
	assert_string_equal(asked, "bad.example.net.l.example");
	assert_int_equal(zone_ask_domain(&z, ph_c("localhost"), asked), -1);
	assert_int_equal(zone_ask_domain(&z, ph_c("192.0.2.1"), asked), -1);
	assert_int_equal(zone_ask_domain(&z, ph_c("[192.0.2.1]"), asked), -1);
	assert_int_equal(zone_ask_domain(&z, ph_c("a b.example"), asked), -1);
	assert_int_equal(zone_ask_domain(&z, ph_c("a..example"), asked), -1);
	memset(longest, 'a', sizeof longest);
	for (size_t i = 50; i < sizeof longest; i += 50)
		longest[i] = '.';
	assert_int_equal(zone_ask_domain(&z, ph_bytes(longest, 253 - 10), asked), 0);
	assert_int_equal(zone_ask_domain(&z, ph_bytes(longest, 253), asked), -1);
}

static void
answers(void **state)
{
	static const struct {
		const char *zone;
		unsigned char answer[4];
		enum zone_answer want;
	} t[] = {
		{ "l.example", { 127, 0, 0, 2 }, ZONE_LISTED },
		{ "l.example", { 127, 255, 255, 254 }, ZONE_REFUSED },
		{ "l.example 127.255.255.254", { 127, 255, 255, 254 }, ZONE_LISTED },
		{ "l.example", { 192, 0, 2, 1 }, ZONE_FOREIGN },
		{ "l.example 127.0.0.2-11", { 127, 0, 0, 11 }, ZONE_LISTED },
		{ "l.example 127.0.0.2-11", { 127, 0, 0, 12 }, ZONE_OTHER },
		{ "l.example 127.0.0.2 127.0.*.3", { 127, 0, 200, 3 }, ZONE_LISTED },
		{ "l.example 127.0.0.2 127.0.*.3", { 127, 1, 200, 3 }, ZONE_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct zone z = zone_of(t[i].zone);

		assert_int_equal(zone_judge(&z, ph_bytes(t[i].answer, 4)), t[i].want);
		assert_int_equal(zone_judge(&z, ph_bytes(t[i].answer, 3)), ZONE_FOREIGN);
	}
}

static void
networks(void **state)
{
	static const char *const wrong[] = { "", "/8", "192.0.2.0/", "192.0.2.0/33", "::/129", "x/8",
		"192.0.2.0/0000", "192.0.2.0/-1" };
	struct net net;

	(void)state;
	assert_int_equal(net_parse(ph_c("192.0.2.128/25"), &net), 0);
	assert_true(net_has(&net, ph_c("192.0.2.129")));
	assert_false(net_has(&net, ph_c("192.0.2.127")));
	assert_false(net_has(&net, ph_c("2001:db8::1")));
	assert_int_equal(net_parse(ph_c("2001:db8::/33"), &net), 0);
	assert_true(net_has(&net, ph_c("2001:db8:7fff::1")));
	assert_false(net_has(&net, ph_c("2001:db8:8000::1")));
	assert_int_equal(net_parse(ph_c("192.0.2.1"), &net), 0);
	assert_false(net_has(&net, ph_c("192.0.2.2")));
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_int_equal(net_parse(ph_c(wrong[i]), &net), -1);
	assert_true(net_is_private(ph_c("127.0.0.1")) && net_is_private(ph_c("172.31.0.1")) &&
	    net_is_private(ph_c("::1")) && net_is_private(ph_c("fe80::1")) && net_is_private(ph_c("junk")));
	assert_false(net_is_private(ph_c("172.32.0.1")) || net_is_private(ph_c("192.0.2.1")) ||
	    net_is_private(ph_c("2001:db8::1")));
}

static void
cleaning(void **state)
{
	char text[8];

	(void)state;
	assert_int_equal(text_clean(ph_bytes("a\r\n\0\x80~z", 7), text, sizeof text), 7);
	assert_string_equal(text, "a????~z");
	assert_int_equal(text_clean(ph_c("123456789"), text, sizeof text), 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries), cmocka_unit_test(names), cmocka_unit_test(answers),
		cmocka_unit_test(networks), cmocka_unit_test(cleaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
