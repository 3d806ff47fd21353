/* lib/mail: dates, encoded words, charsets, bodies, HTML, base subjects, header fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

#include "lib/mail/body.h"
#include "lib/mail/date.h"
#include "lib/mail/header.h"
#include "lib/mail/mutf7.h"
#include "lib/mail/word.h"

static void
test_dates(void **st)
{
	static const struct {
		const char *in;
		int64_t time;
		int zone, result;
	} t[] = {
		{ "Thu, 01 Jan 1970 00:00:00 +0000", 0, 0, 0 },
		{ "Tue, 24 Nov 2026 08:49:51 +0100", 1795506591, 60, 0 },
		{ "24 Nov 2026 08:49 -0130", 1795515540, -90, 0 },
		{ "Tue, 24 Nov 2026 08:49:51 GMT", 1795510191, 0, 0 },
		{ "Tue, 24 Nov 2026 08:49:51 EST", 1795528191, -300, 0 },
		{ "Tue, 24 Nov 26 08:49:51 +0000", 1795510191, 0, 0 },
		{ "Tue, 24 Nov 98 08:49:51 +0000", 911897391, 0, 0 },
		{ "Tue (day), 24 (d) Nov 2026 08:49:51 +0000 (zone)", 1795510191, 0, 0 },
		{ "Tue,\r\n 24 Nov 2026\r\n 08:49:51 +0000", 1795510191, 0, 0 },
		{ "29 Feb 2024 12:00:00 +0000", 1709208000, 0, 0 },
		{ "", 0, 0, -EINVAL },
		{ "yesterday", 0, 0, -EINVAL },
		{ "32 Nov 2026 08:49:51 +0000", 0, 0, -EINVAL },
		{ "24 Foo 2026 08:49:51 +0000", 0, 0, -EINVAL },
		{ "24 Nov 2026 25:49:51 +0000", 0, 0, -EINVAL },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct date d = { 0 };
		int r = date_parse(str_c(t[i].in), &d);

		if (r != t[i].result)
			fail_msg("'%s': %d", t[i].in, r);
		if (r == 0 && (d.time != t[i].time || d.zone != t[i].zone))
			fail_msg("'%s': %lld %d", t[i].in, (long long)d.time, d.zone);
	}
}

static void
test_imap_dates(void **st)
{
	static const char *const bad[] = { "1-Nov-2026 08:49:51 +0100", "01-Nov-2026",
		"32-Nov-2026 08:49:51 +0100", "01-Nov-2026 08:49:51 0100", "01-Nox-2026 08:49:51 +0100",
		"01-Nov-2026 08:49:51 +0100x", "01-Nov-26 08:49:51 +0100" };
	struct buf b = { 0 };
	struct date d;

	assert_int_equal(date_parse_imap(STR(" 1-Nov-2026 08:49:51 +0100"), &d), 0);
	assert_int_equal(d.day, 1);
	date_put_imap(&b, d.time, d.zone);
	assert_string_equal(buf_cstr(&b), " 1-Nov-2026 08:49:51 +0100");
	buf_clear(&b);
	date_put_rfc5322(&b, d.time, 0);
	assert_string_equal(buf_cstr(&b), "Sun, 1 Nov 2026 07:49:51 +0000");
	buf_done(&b);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (date_parse_imap(str_c(bad[i]), &d) == 0)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(date_parse_imap_day(STR("1-Nov-2026"), &d), 0);
	assert_int_equal(d.time % 86400, 0);
	assert_int_equal(date_parse_imap_day(STR("01-Nov-2026"), &d), 0);
	assert_int_equal(date_parse_imap_day(STR("1-Nov-26"), &d), -EINVAL);
}

/* Every day of eight centuries comes back as it was. */
static void
test_calendar(void **st)
{
	for (int64_t day = date_days(1600, 1, 1); day < date_days(2400, 1, 1); day++) {
		int y, m, d;

		date_civil(day, &y, &m, &d);
		assert_true(date_days(y, m, d) == day);
	}
}

struct pair {
	const char *in, *want;
};

static void
run_pairs(const struct pair *t, size_t n, void (*f)(struct str, struct buf *))
{
	for (size_t i = 0; i < n; i++) {
		struct buf out = { 0 };

		f(str_c(t[i].in), &out);
		assert_string_equal(buf_cstr(&out), t[i].want);
		buf_done(&out);
	}
}

static void
test_words(void **st)
{
	static const struct pair t[] = {
		{ "", "" }, { "plain text", "plain text" },
		{ "=?utf-8?q?caf=C3=A9?=", "caf\xc3\xa9" },
		{ "=?ISO-8859-1?Q?a_b?=", "a b" },
		{ "=?iso-8859-1?B?6Q==?=", "\xc3\xa9" },
		{ "=?utf-8?q?a?= =?utf-8?q?b?=", "ab" },
		{ "=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c" },
		{ "=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab" },
		{ "a\r\n b", "a b" },
		{ "=?utf-8?q?open", "=?utf-8?q?open" },
		{ "=?utf-8?x?abc?=", "=?utf-8?x?abc?=" },
		{ "=?utf-8*en?q?lang?=", "lang" },
		/* one character cut between two words */
		{ "=?utf-8?b?w6?= =?utf-8?q?=A9?=", "\xc3\xa9" },
	};

	run_pairs(t, sizeof t / sizeof *t, word_decode);
}

static void
test_charsets(void **st)
{
	static const struct {
		const char *charset, *in, *want;
	} t[] = {
		{ "utf-8", "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "utf-8", "a\xff" "b", "a\xef\xbf\xbd" "b" },
		{ "ISO-8859-15", "\xa4", "\xe2\x82\xac" },
		{ "windows-1252", "\x80", "\xe2\x82\xac" },
		{ "koi8-r", "\xc1", "\xd0\xb0" },
		{ "shift_jis", "\x82\xa0", "\xe3\x81\x82" },
		{ "iso-2022-jp", "\x1b$B$\"\x1b(B", "\xe3\x81\x82" },
		{ "no-such", "\xc3\xa9", "\xc3\xa9" },
		{ "no-such", "\xe9", "\xc3\xa9" },
		{ "", "\xe9", "\xc3\xa9" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct buf out = { 0 };

		charset_to_utf8(str_c(t[i].charset), str_c(t[i].in), &out);
		assert_string_equal(buf_cstr(&out), t[i].want);
		buf_done(&out);
	}
	assert_true(charset_known(STR("UTF-8")));
	assert_true(charset_known(STR("us-ascii")));
	assert_false(charset_known(STR("no-such")));
}

static void
test_bodies(void **st)
{
	static const struct {
		const char *encoding, *in, *want;
	} t[] = {
		{ "base64", "aGVs\r\nbG8=\r\n", "hello" },
		{ "BASE64", "aGVsbG8", "hello" },
		{ "base64", "aGV*sbG8=", "hello" },
		{ "quoted-printable", "a=3Db=\r\nc\r\n", "a=bc\r\n" },
		{ "quoted-printable", "a=zz", "a=zz" },
		{ "quoted-printable", "a   \r\nb", "a\r\nb" },
		{ "7bit", "a=3D", "a=3D" },
		{ "", "x", "x" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct buf out = { 0 };

		body_decode(str_c(t[i].in), str_c(t[i].encoding), &out);
		assert_string_equal(buf_cstr(&out), t[i].want);
		buf_done(&out);
	}
}

static void
folded_html(struct str in, struct buf *out)
{
	struct buf raw = { 0 };
	struct str word, rest;

	html_text(in, &raw);
	for (rest = buf_view(&raw); rest.p;) /* blanks are not the point */
		if ((word = str_trim(str_cut(&rest, ' '))).n)
			buf_printf(out, "%s%.*s", buf_view(out).n ? " " : "", STR_ARG(word));
	buf_done(&raw);
}

static void
test_html(void **st)
{
	static const struct pair t[] = {
		{ "<b>bold</b> text", "bold text" },
		{ "<script>alert('x')</script>seen", "seen" },
		{ "<style>p { color: red }</style>seen", "seen" },
		{ "a &amp; b &lt;c&gt; &#233; &#xe9;", "a & b <c> \xc3\xa9 \xc3\xa9" },
		{ "<!-- hidden -->seen", "seen" },
		{ "open <b", "open" },
	};

	run_pairs(t, sizeof t / sizeof *t, folded_html);
}

static void
base(struct str in, struct buf *out)
{
	if (subject_base(in, out))
		buf_puts(out, "*"); /* a reply or a forward */
}

static void
test_subjects(void **st)
{
	static const struct pair t[] = {
		{ "Hello", "hello" }, { "Re: Hello", "hello*" }, { "RE: re: Hello", "hello*" },
		{ "Fwd: Hello", "hello*" }, { "Hello (fwd)", "hello*" }, { "[list] Hello", "hello" },
		{ "[list] Re: [list] Hello", "hello*" }, { "Re[2]: Hello", "hello*" },
		{ "[fwd: Hello]", "hello*" }, { "[only]", "[only]" }, { "Re:", "*" }, { "", "" },
		{ "a   b\t c", "a b c" }, { "=?utf-8?q?Re=3A_Hello?=", "hello*" },
	};

	run_pairs(t, sizeof t / sizeof *t, base);
}

static void
test_fold(void **st)
{
	static const struct pair t[] = {
		{ "ABC xyz", "abc xyz" }, { "\xc3\x89", "\xc3\xa9" }, { "\xd0\x90", "\xd0\xb0" },
		{ "\xce\x91", "\xce\xb1" },
	};

	run_pairs(t, sizeof t / sizeof *t, text_fold);
}

/* Every byte of a header is in exactly one field. */
static void
test_fields(void **st)
{
	static const char head[] = "From \x01mbox line\r\nA: 1\r\n folded\r\nB:\r\nno field here\r\nC :x\n\r\nbody";
	struct str rest = str_c(head), raw;
	struct header_field f;
	size_t sum = 0, n = 0, named = 0;

	while (header_next(&rest, &f)) {
		sum += f.whole.n;
		n++;
		named += f.name.n > 0;
	}
	assert_int_equal(header_blank(rest), 2);
	assert_int_equal(sum + rest.n, sizeof head - 1);
	assert_int_equal(n, 5);
	assert_int_equal(named, 3);
	assert_true(header_find(str_c(head), STR("a"), &raw));
	assert_true(header_find(str_c(head), STR("c"), &raw));
	assert_false(header_find(str_c(head), STR("body"), &raw));
}

static void
test_mutf7(void **st)
{
	static const struct pair t[] = {
		{ "INBOX", "INBOX" }, { "Entw\xc3\xbcrfe", "Entw&APw-rfe" }, { "a&b", "a&-b" },
		{ "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
		    "~peter/mail/&U,BTFw-/&ZeVnLIqe-" },
	};
	static const char *const bad[] = { "&", "&APw", "\xc3\xbc", "&AGE-", "&APw-&APw-", "&-\x01" };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct buf out = { 0 };

		assert_int_equal(mutf7_encode(str_c(t[i].in), &out), 0);
		assert_string_equal(buf_cstr(&out), t[i].want);
		buf_clear(&out);
		assert_int_equal(mutf7_decode(str_c(t[i].want), &out), 0);
		assert_string_equal(buf_cstr(&out), t[i].in);
		buf_done(&out);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf out = { 0 };

		if (mutf7_decode(str_c(bad[i]), &out) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		buf_done(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dates), cmocka_unit_test(test_imap_dates),
		cmocka_unit_test(test_calendar), cmocka_unit_test(test_words),
		cmocka_unit_test(test_charsets), cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_html), cmocka_unit_test(test_subjects),
		cmocka_unit_test(test_fold), cmocka_unit_test(test_fields),
		cmocka_unit_test(test_mutf7),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
