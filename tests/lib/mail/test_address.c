/* lib/mail: address lists of header fields, SMTP paths, and the envelope's codec. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "lib/mail/address.h"
#include "lib/mail/envelope.h"
#include "lib/mail/path.h"

/* One line for a list: name|route|local|domain; groups as {name ... }. */
static void
show(const struct addresses *l, struct buf *out)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct address *v = &l->v[i];

		if (i)
			buf_puts(out, "; ");
		if (v->kind == ADDRESS_GROUP)
			buf_printf(out, "{%.*s", STR_ARG(v->name));
		else if (v->kind == ADDRESS_GROUP_END)
			buf_puts(out, "}");
		else
			buf_printf(out, "%.*s|%.*s|%.*s|%.*s", STR_ARG(v->name), STR_ARG(v->route),
			    STR_ARG(v->local), STR_ARG(v->domain));
	}
	if (l->bad)
		buf_puts(out, " bad");
	if (l->cut)
		buf_puts(out, " cut");
}

static const struct {
	const char *in, *want;
} lists[] = {
	{ "", "" },
	{ "user1@example.test", "||user1|example.test" },
	{ "A User <user1@example.test>", "A User||user1|example.test" },
	{ "\"User, A\" <user1@example.test>, user2@example.test",
	    "User, A||user1|example.test; ||user2|example.test" },
	{ "\"a \\\"q\\\" b\" <\"odd local\"@example.test>", "a \"q\" b||odd local|example.test" },
	{ "user1@example.test (A User)", "A User||user1|example.test" },
	{ "A (comment (nested)) User <user1@example.test>", "A User||user1|example.test" },
	{ "<@a.example,@b.example:user1@example.test>", "|@a.example,@b.example|user1|example.test" },
	{ "Team: user1@example.test, U Two <user2@example.test>;",
	    "{Team; ||user1|example.test; U Two||user2|example.test; }" },
	{ "Undisclosed recipients:;", "{Undisclosed recipients; }" },
	{ "user1 @ example . test", "||user1|example.test" },
	{ "a.b.c@[192.0.2.1]", "||a.b.c|[192.0.2.1]" },
	{ ",, user1@example.test ,,", "||user1|example.test" },
	{ "A.\r\n User\r\n <user1@example.test>", "A. User||user1|example.test" },
	{ "=?utf-8?q?=C3=A9?= <user1@example.test>", "=?utf-8?q?=C3=A9?=||user1|example.test" },
};

static void
test_lists(void **st)
{
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		struct arena *a = arena_new(0);
		struct addresses l;
		struct buf out = { 0 };

		address_parse(str_c(lists[i].in), a, &l);
		show(&l, &out);
		assert_string_equal(buf_cstr(&out), lists[i].want);
		buf_done(&out);
		arena_free(&a);
	}
}

/* What is no list still yields what looks like an address, and is marked. */
static void
test_bad_lists(void **st)
{
	static const char *const bad[] = { "<user1@example.test", "user1@example.test>", "a b c",
		"\"open <user1@example.test>", "(open", "@", "user1@@example.test", "\\" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct arena *a = arena_new(0);
		struct addresses l;

		address_parse(str_c(bad[i]), a, &l);
		if (!l.bad)
			fail_msg("'%s' was taken for a list", bad[i]);
		arena_free(&a);
	}
}

static void
test_list_limit(void **st)
{
	struct arena *a = arena_new(0);
	struct addresses l;
	struct buf in = { 0 };

	for (int i = 0; i < ADDRESS_MAX + 10; i++)
		buf_printf(&in, "u%d@example.test,", i);
	address_parse(buf_view(&in), a, &l);
	assert_int_equal(l.n, ADDRESS_MAX);
	assert_true(l.cut);
	buf_done(&in);
	arena_free(&a);
}

static const struct {
	const char *in;
	unsigned flags;
	int result;
	const char *text, *rest;
} paths[] = {
	{ "<user1@example.test>", 0, 0, "user1@example.test", "" },
	{ "<User1@EXAMPLE.test> SIZE=10", 0, 0, "User1@example.test", " SIZE=10" },
	{ "<>", PATH_NULL, 0, "", "" },
	{ "<>", 0, -EINVAL, NULL, NULL },
	{ "<@a.example,@b.example:user1@example.test>", 0, 0, "user1@example.test", "" },
	{ "<Postmaster>", PATH_POSTMASTER, 0, NULL, "" },
	{ "<Postmaster>", 0, -EINVAL, NULL, NULL },
	{ "<\"user1\"@example.test>", 0, 0, "user1@example.test", "" },
	{ "<\"odd local\"@example.test>", 0, 0, "\"odd local\"@example.test", "" },
	{ "<\"a\\@b\"@example.test>", 0, 0, "\"a@b\"@example.test", "" },
	{ "<user1@[192.0.2.1]>", 0, 0, "user1@[192.0.2.1]", "" },
	{ "<user1@[IPv6:2001:db8::1]>", 0, 0, "user1@[ipv6:2001:db8::1]", "" },
	{ "<user1@[300.0.2.1]>", 0, -EINVAL, NULL, NULL },
	{ "<user1@example.test", 0, -EINVAL, NULL, NULL },
	{ "user1@example.test", 0, -EINVAL, NULL, NULL },
	{ "<user1>", 0, -EINVAL, NULL, NULL },
	{ "<@example.test>", 0, -EINVAL, NULL, NULL },
	{ "<user1@>", 0, -EINVAL, NULL, NULL },
	{ "<user1@exa mple.test>", 0, -EINVAL, NULL, NULL },
	{ "<us er1@example.test>", 0, -EINVAL, NULL, NULL },
	{ "<.user1@example.test>", 0, -EINVAL, NULL, NULL },
	{ "<user..1@example.test>", 0, -EINVAL, NULL, NULL },
	{ "<user1@-example.test>", 0, -EINVAL, NULL, NULL },
	{ "<user1@example..test>", 0, -EINVAL, NULL, NULL },
	{ "<user1@example.test\r\n>", 0, -EINVAL, NULL, NULL },
	{ "<us\xc3\xa9r@example.test>", 0, -EILSEQ, NULL, NULL },
	{ "<us\xc3\xa9r@example.test>", PATH_UTF8, 0, "us\xc3\xa9r@example.test", "" },
	{ "<us\xc3r@example.test>", PATH_UTF8, -EILSEQ, NULL, NULL },
	{ "<user1@b\xc3\xbc" "cher.test>", PATH_UTF8, 0, "user1@xn--bcher-kva.test", "" },
};

static void
test_paths(void **st)
{
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct arena *a = arena_new(0);
		struct path p;
		struct str rest;
		int r = path_parse(str_c(paths[i].in), paths[i].flags, a, &p, &rest);

		if (r != paths[i].result)
			fail_msg("%s: %d, not %d", paths[i].in, r, paths[i].result);
		if (r == 0 && paths[i].text && !str_eq(p.text, str_c(paths[i].text)))
			fail_msg("%s: '%.*s'", paths[i].in, STR_ARG(p.text));
		if (r == 0)
			assert_true(str_eq(rest, str_c(paths[i].rest)));
		arena_free(&a);
	}
}

static void
test_path_limits(void **st)
{
	static const struct {
		int local, labels, result;
	} t[] = { { 64, 1, 0 }, { 65, 1, -ENAMETOOLONG }, { 1, 25, 0 }, { 1, 26, -ENAMETOOLONG } };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct arena *a = arena_new(0);
		struct buf in = { 0 };
		struct path p;

		for (int k = 0; k < t[i].local; k++)
			buf_puts(&in, "a");
		buf_puts(&in, "@");
		for (int k = 0; k < t[i].labels; k++)
			buf_puts(&in, "123456789.");
		buf_puts(&in, "tst");
		assert_int_equal(path_parse_address(buf_view(&in), 0, a, &p), t[i].result);
		buf_done(&in);
		arena_free(&a);
	}
}

static void
test_envelope(void **st)
{
	struct arena *a = arena_new(0);
	struct envelope_rcpt r[2] = {
		{ .address = STR("user1@example.test"), .original = STR("User1@example.test"),
		    .route = ROUTE_LOCAL, .account = 7, .volume = 1, .slot = 4095, .quota = 1 << 20,
		    .detail = STR("plus"), .notify = NOTIFY_FAILURE | NOTIFY_DELAY,
		    .orcpt = STR("rfc822;user1@example.test") },
		{ .address = STR("user2@example.net"), .route = ROUTE_REMOTE, .next_hop = STR("[mx]:25") },
	};
	struct envelope in = { .sender = STR("user2@example.test"), .client_name = STR("c.example"),
		.client_ip = STR("192.0.2.1"), .user = STR("user2@example.test"), .envid = STR("id"),
		.ret = 2, .body = 1, .flags = ENV_SMTPUTF8 | ENV_TLS, .priority = -9,
		.hold_until_ms = 5, .deliver_by_ms = 6, .arrived_us = 7, .size = 8,
		.trace = STR("t.1"), .dedup_key = STR("key"), .rcpts = r, .n_rcpts = 2 };
	struct envelope out;
	struct buf b = { 0 }, again = { 0 };

	envelope_put(&b, &in);
	assert_int_equal(envelope_get(buf_view(&b), a, &out), 0);
	assert_int_equal(out.n_rcpts, 2);
	assert_true(str_eq(out.rcpts[0].detail, STR("plus")));
	assert_int_equal(out.rcpts[0].slot, 4095);
	assert_int_equal(out.priority, -9);
	assert_true(str_eq(out.dedup_key, STR("key")));
	envelope_put(&again, &out);
	assert_true(str_eq(buf_view(&b), buf_view(&again)));
	for (size_t n = 1; n < buf_view(&b).n; n++) /* cut: refused or a shorter one, never a crash */
		(void)envelope_get(str_head(buf_view(&b), n), a, &out);
	buf_done(&b);
	buf_done(&again);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists), cmocka_unit_test(test_bad_lists),
		cmocka_unit_test(test_list_limit), cmocka_unit_test(test_paths),
		cmocka_unit_test(test_path_limits), cmocka_unit_test(test_envelope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
