/* What a milter sends, and what it changes (plugins/milter/wire.h, edits.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "plugins/milter/edits.h"

/* ---- a host that writes down what it is told ---- */

static struct buf told;

static int
host_add(struct ph_call *c, uint32_t at, struct ph_str name, struct ph_str value)
{
	(void)c;
	if (at == PH_BOTTOM)
		buf_printf(&told, "add end %.*s=%.*s\n", PH_ARG(name), PH_ARG(value));
	else
		buf_printf(&told, "add %u %.*s=%.*s\n", at, PH_ARG(name), PH_ARG(value));
	return 0;
}

static int
host_set(struct ph_call *c, uint32_t i, struct ph_str value)
{
	(void)c;
	buf_printf(&told, "set %u %.*s\n", i, PH_ARG(value));
	return 0;
}

static int
host_remove(struct ph_call *c, uint32_t i)
{
	(void)c;
	buf_printf(&told, "remove %u\n", i);
	return 0;
}

static int
host_body(struct ph_call *c, struct ph_str body)
{
	(void)c;
	buf_printf(&told, "body %.*s\n", PH_ARG(body));
	return 0;
}

static const struct ph_api api = { .size = sizeof api, .abi = PH_ABI, .header_add = host_add,
	.header_set = host_set, .header_remove = host_remove, .body_set = host_body };
const struct ph_api *ph_host = &api;

/* ---- answers ---- */

static int
judge(const char *bytes, size_t n, struct milter_reply *ret)
{
	static char copy[256];
	struct err e;

	memcpy(copy, bytes + 1, n - 1);
	return milter_reply_read(bytes[0], copy, n - 1, ret, &e);
}
#define JUDGE(lit, ret) judge(lit, sizeof lit - 1, ret)

static void
answers(void **state)
{
	struct milter_reply r;

	(void)state;
	assert_int_equal(JUDGE("c", &r), 0);
	assert_int_equal(r.what, MR_CONTINUE);
	assert_int_equal(JUDGE("i\0\0\0\2X-A\0b\0", &r), 0);
	assert_true(r.what == MR_INSERT_HEADER && r.index == 2 && str_eq(r.name, STR("X-A")));
	assert_true(str_eq(r.value, STR("b")) && r.needs == MA_ADD_HEADERS);
	assert_int_equal(JUDGE("2<a@b.test>\0NOTIFY=NEVER\0", &r), 0);
	assert_true(str_eq(r.value, STR("a@b.test")) && str_eq(r.args, STR("NOTIFY=NEVER")));
	assert_int_equal(JUDGE("e<>\0", &r), 0);
	assert_int_equal(r.value.n, 0);
	assert_int_equal(JUDGE("i\0\0\0", &r), -EPROTO);
	assert_int_equal(JUDGE("hX-A\0b", &r), -EPROTO);
	assert_int_equal(JUDGE("h\0b\0", &r), -EPROTO);
	assert_int_equal(JUDGE("+a@b", &r), -EPROTO);
	assert_int_equal(JUDGE("O", &r), -EPROTO);
}

static void
replies(void **state)
{
	static const struct {
		const char *in, *enhanced, *text;
		unsigned code;
	} rows[] = {
		{ "550 5.7.1 no", "5.7.1", "no", 550 },
		{ "451 later", "", "later", 451 },
		{ "550", "", "", 550 },
		{ "550 4.7.1 of another class", "", "4.7.1 of another class", 550 },
		{ "552-5.2.3 100%% full\r\n552 5.2.3 really", "5.2.3", "100% full really", 552 },
		{ "250 2.0.0 fine", NULL, NULL, 0 }, { "", NULL, NULL, 0 }, { "5501", NULL, NULL, 0 },
		{ "550-a\r\n551 b", NULL, NULL, 0 }, { "no code", NULL, NULL, 0 },
	};
	struct milter_reply r;
	char packet[200];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int n = snprintf(packet, sizeof packet, "y%s", rows[i].in) + 1;

		assert_int_equal(judge(packet, (size_t)n, &r), rows[i].code ? 0 : -EPROTO);
		if (!rows[i].code)
			continue;
		assert_int_equal(r.smtp, rows[i].code);
		assert_string_equal(r.enhanced, rows[i].enhanced);
		assert_true(str_eq(r.text, str_c(rows[i].text)));
	}
	assert_int_equal(JUDGE("y550 no end", &r), -EPROTO);
}

static void
negotiation(void **state)
{
	struct milter_terms offer = { .actions = 0x1ff, .protocol = 0x1fffff }, t = { 0 };
	struct buf b = { 0 };
	struct err e;
	static const char macros[] = "\0\0\0\6\0\0\0\1\0\0\0\x80\0\0\0\2i {x}\0";

	(void)state;
	milter_terms_limit(&offer, 2);
	assert_int_equal(offer.actions, 0x3f);
	assert_int_equal(offer.protocol, 0x7f);
	milter_terms_limit(&offer, 6);
	milter_put_offer(&b, &offer);
	assert_int_equal(b.n, 17);
	buf_done(&b);
	assert_int_equal(milter_terms_read(str_from(macros, sizeof macros - 1), &offer, &t, &e), 0);
	assert_string_equal(t.macros[MS_MAIL], "i {x}");
	assert_int_equal(t.protocol, 0); /* it was not offered */
	milter_terms_done(&t);
	for (size_t n = 0; n < sizeof macros - 1; n++)
		if (n != 12)
			assert_int_equal(milter_terms_read(str_from(macros, n), &offer, &t, &e), -EPROTO);
	assert_int_equal(milter_terms_read(STR("\0\0\0\6\0\0\1\0\0\0\0\0"), &offer, &t, &e), -EPROTO);
	assert_int_equal(milter_terms_read(STR("\0\0\0\1\0\0\0\0\0\0\0\0"), &offer, &t, &e), -EPROTO);
}

static void
addresses(void **state)
{
	struct milter_address a;

	(void)state;
	assert_int_equal(milter_address_parse(STR("unix:/run/a.sock"), &a), 0);
	assert_string_equal(a.at.un.sun_path, "/run/a.sock");
	assert_int_equal(milter_address_parse(STR("/run/b.sock"), &a), 0);
	assert_int_equal(milter_address_parse(STR("inet:8891@127.0.0.1"), &a), 0);
	assert_int_equal(a.at.any.sa_family, AF_INET);
	assert_int_equal(milter_address_parse(STR("inet:127.0.0.1:8891"), &a), 0);
	assert_int_equal(milter_address_parse(STR("inet6:8891@[::1]"), &a), 0);
	assert_int_equal(a.at.any.sa_family, AF_INET6);
	assert_int_equal(milter_address_parse(STR("inet:0@127.0.0.1"), &a), -EINVAL);
	assert_int_equal(milter_address_parse(STR("inet:127.0.0.1"), &a), -EINVAL);
	assert_int_equal(milter_address_parse(STR("unix:relative"), &a), -EINVAL);
	assert_int_equal(milter_address_parse(STR(""), &a), -EINVAL);
}

/* ---- edits ---- */

#define MAIL "Received: from x\r\n by mail.test with SMTP\r\nX-A: 1\r\nX-A:  2\r\n\ttwo\r\nSubject: s\r\n\r\nbody\r\n"

static void
edit(struct milter_message *m, enum milter_answer what, uint32_t index, const char *name, const char *value)
{
	struct milter_reply r = { .what = what, .index = index, .name = str_c(name), .value = str_c(value) };

	assert_int_equal(milter_message_edit(m, &r), 0);
}

static void
edits(void **state)
{
	struct milter_message m;

	(void)state;
	assert_int_equal(milter_message_init(&m, STR(MAIL), STR("mail.test")), 0);
	assert_true(m.fields[0].hidden && !m.fields[1].hidden);
	assert_true(str_eq(milter_field_value(&m, &m.fields[2], false), STR(" 2\n\ttwo")));
	assert_true(str_eq(milter_field_value(&m, &m.fields[2], true), STR("  2\n\ttwo")));
	edit(&m, MR_INSERT_HEADER, 0, "X-Top", "t");
	edit(&m, MR_INSERT_HEADER, 3, "X-Third", "3");
	edit(&m, MR_INSERT_HEADER, 99, "X-Far", "f\ng");
	edit(&m, MR_CHANGE_HEADER, 2, "x-a", "");
	edit(&m, MR_CHANGE_HEADER, 1, "subject", "new");
	edit(&m, MR_CHANGE_HEADER, 5, "X-A", "added");
	edit(&m, MR_CHANGE_HEADER, 5, "X-None", "");
	edit(&m, MR_ADD_HEADER, 0, "X-Last", "l");
	edit(&m, MR_BODY, 0, "", "a\nb\r");
	edit(&m, MR_BODY, 0, "", "\nc");
	assert_int_equal(milter_message_apply(&m, NULL), 0);
	assert_string_equal(buf_cstr(&told), "add 0 X-Top=t\nadd 2 X-Third=3\nremove 2\nset 3 new\n"
	    "add end X-Far=f\r\n\tg\nadd end X-A=added\nadd end X-Last=l\nbody a\r\nb\r\nc\r\n\n");
	milter_message_done(&m);
	buf_done(&told);
	assert_int_equal(milter_message_init(&m, STR(MAIL), STR("other.test")), 0);
	assert_false(m.fields[0].hidden);
	milter_message_done(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers), cmocka_unit_test(replies), cmocka_unit_test(negotiation),
		cmocka_unit_test(addresses), cmocka_unit_test(edits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
