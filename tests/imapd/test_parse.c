/* The grammar of IMAP commands: what is taken, what is refused and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "imapd/cmdbuf.h"
#include "imapd/fetch.h"
#include "imapd/search.h"
#include "lib/client/store.h"

static void
sets(void **state)
{
	static const struct {
		const char *in;
		uint32_t max;
		struct seq_range want[4];
		size_t n;
	} t[] = {
		{ "2,4:7,9,12:*", 15, { { 2, 2 }, { 4, 7 }, { 9, 9 }, { 12, 15 } }, 4 },
		{ "*:4,5:7", 10, { { 4, 10 } }, 1 },
		{ "3291:*", 10, { { 10, 3291 } }, 1 },
		{ "4:2", 9, { { 2, 4 } }, 1 },
		{ "1,2,3", 9, { { 1, 3 } }, 1 },
	};
	static const char *const bad[] = { "", "0", "1:", ":1", "1,", "a", "4294967296", "1:0" };
	struct arena *ar = arena_new(0);
	struct seq_set s;
	struct parse p;
	size_t i, k;

	for (i = 0; i < sizeof t / sizeof *t; i++) {
		parse_init(&p, str_c(t[i].in), ar);
		assert_true(parse_seq_set(&p, &s) && parse_end(&p));
		seq_resolve(&s, t[i].max);
		assert_int_equal(s.n, t[i].n);
		for (k = 0; k < s.n; k++) {
			assert_int_equal(s.v[k].lo, t[i].want[k].lo);
			assert_int_equal(s.v[k].hi, t[i].want[k].hi);
		}
	}
	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		parse_init(&p, str_c(bad[i]), ar);
		assert_false(parse_seq_set(&p, &s) && parse_end(&p));
		assert_non_null(p.why);
	}
	arena_free(&ar);
}

static void
fetches(void **state)
{
	static const struct {
		const char *in;
		bool ok;
		unsigned items;
		const char *label, *spec;
	} t[] = {
		{ "1 FLAGS", true, FETCH_FLAGS, NULL, NULL },
		{ "1:* (UID flags)", true, FETCH_FLAGS | FETCH_UID, NULL, NULL },
		{ "1 fast", true, FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE, NULL, NULL },
		{ "1 BODY", true, FETCH_BODY, NULL, NULL },
		{ "1 BODY[]", true, 0, "BODY[]", "" },
		{ "1 body.peek[1.2.mime]<3.9>", true, 0, "BODY[1.2.MIME]<3>", "1.2.MIME" },
		{ "1 BODY[HEADER.FIELDS (Date \"x y\")]", true, 0,
		    "BODY[HEADER.FIELDS (Date \"x y\")]", "HEADER.FIELDS" },
		{ "1 BODY[2.HEADER.FIELDS.NOT (To)]", true, 0, "BODY[2.HEADER.FIELDS.NOT (To)]",
		    "2.HEADER.FIELDS.NOT" },
		{ "1 RFC822.TEXT", true, 0, "RFC822.TEXT", "TEXT" },
		{ "1 FLAGS (CHANGEDSINCE 12)", true, FETCH_FLAGS | FETCH_MODSEQ, NULL, NULL },
		{ "1 (ALL)", false, 0, NULL, NULL },
		{ "1 ()", false, 0, NULL, NULL },
		{ "1 BODY[MIME]", false, 0, NULL, NULL },
		{ "1 BODY[0]", false, 0, NULL, NULL },
		{ "1 BODY[1.]", false, 0, NULL, NULL },
		{ "1 BODY[]<1.0>", false, 0, NULL, NULL },
		{ "1 BODY[HEADER.FIELDS ()]", false, 0, NULL, NULL },
		{ "1 FLAGS UID", false, 0, NULL, NULL },
		{ "1  FLAGS", false, 0, NULL, NULL },
	};
	struct arena *ar = arena_new(0);
	struct fetch_args a;
	struct parse p;
	size_t i;

	for (i = 0; i < sizeof t / sizeof *t; i++) {
		parse_init(&p, str_c(t[i].in), ar);
		assert_int_equal(parse_fetch(&p, &a), t[i].ok);
		if (!t[i].ok)
			continue;
		assert_int_equal(a.items, t[i].items);
		assert_int_equal(a.n_sections, t[i].label != NULL);
		if (t[i].label) {
			assert_true(str_eq(a.sections[0].label, str_c(t[i].label)));
			assert_true(str_eq(a.sections[0].spec, str_c(t[i].spec)));
		}
	}
	arena_free(&ar);
}

static void
searches(void **state)
{
	static const struct {
		const char *in;
		bool ok, modseq, extended, badcharset;
		unsigned returns;
	} t[] = {
		{ "ALL", true, false, false, false, 0 },
		{ "RETURN () UNSEEN", true, false, true, false, RETURN_ALL },
		{ "RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"", true, false, true,
		    false, RETURN_MIN | RETURN_COUNT },
		{ "CHARSET UTF-8 TEXT {4}\r\nab\303\244", true, false, false, false, 0 },
		{ "CHARSET X-NONE ALL", false, false, false, true, 0 },
		{ "CHARSET KOI8-R TEXT {3}\r\n\xcd\xc9\xd2", true, false, false, false, 0 },
		{ "TEXT {3}\r\n\xcd\xc9\xd2", false, false, false, false, 0 },
		{ "OR (SEEN NEW) NOT 1:3", true, false, false, false, 0 },
		{ "MODSEQ \"/flags/\\\\draft\" all 620162338", true, true, false, false, 0 },
		{ "MODSEQ 5 LARGER 50000", true, true, false, false, 0 },
		{ "OR SEEN", false, false, false, false, 0 },
		{ "SINCE 31-Feb-1994", false, false, false, false, 0 },
		{ "FOO", false, false, false, false, 0 },
		{ "RETURN (X) ALL", false, false, true, false, 0 },
		{ "(ALL", false, false, false, false, 0 },
	};
	struct arena *ar = arena_new(0);
	struct search_args a;
	struct parse p;
	size_t i;

	for (i = 0; i < sizeof t / sizeof *t; i++) {
		parse_init(&p, str_c(t[i].in), ar);
		assert_int_equal(parse_search(&p, &a), t[i].ok);
		assert_int_equal(a.badcharset, t[i].badcharset);
		if (!t[i].ok)
			continue;
		assert_int_equal(a.modseq, t[i].modseq);
		assert_int_equal(a.extended, t[i].extended);
		assert_int_equal(a.returns, t[i].returns);
	}
	arena_free(&ar);
}

static void
deep(void **state)
{
	char in[400];
	struct arena *ar = arena_new(0);
	struct search_args a;
	struct parse p;

	memset(in, '(', sizeof in);
	parse_init(&p, str_from(in, sizeof in), ar);
	assert_false(parse_search(&p, &a));
	assert_string_equal(p.why, "Search keys are nested too deeply");
	arena_free(&ar);
}

static void
dates_flags_names(void **state)
{
	struct arena *ar = arena_new(0);
	struct flag_args f;
	struct parse p;
	struct str s;
	int64_t v;
	int32_t zone;

	parse_init(&p, STR("\" 1-Nov-2026 08:49:51 +0100\""), ar);
	assert_true(parse_date_time(&p, &v, &zone) && parse_end(&p));
	assert_int_equal(v, 1793519391);
	assert_int_equal(zone, 60);
	parse_init(&p, STR("(\\Seen $Junk \\deleted)"), ar);
	assert_true(parse_flag_list(&p, &f));
	assert_int_equal(f.sysflags, F_SEEN | F_DELETED);
	assert_int_equal(f.n, 1);
	parse_init(&p, STR("\\Recent"), ar);
	assert_false(parse_flags_loose(&p, &f));
	parse_init(&p, STR("iNbOx"), ar);
	assert_true(parse_mailbox(&p, &s) && str_eq(s, STR("INBOX")));
	parse_init(&p, STR("\"Entw&APw-rfe\""), ar);
	assert_true(parse_mailbox(&p, &s) && str_eq(s, STR("Entw\303\274rfe")));
	parse_init(&p, STR("\"a&b\""), ar);
	assert_false(parse_mailbox(&p, &s));
	parse_init(&p, STR("\"a\\\"b\\\\c\""), ar);
	assert_true(parse_astring(&p, &s) && str_eq(s, STR("a\"b\\c")));
	arena_free(&ar);
}

/* Feeds in pieces of `step` bytes; returns the last state but MORE. */
static enum cmdbuf_state
feed(struct cmdbuf *c, struct str in, size_t step)
{
	enum cmdbuf_state st = CMDBUF_MORE;

	while (in.n && st == CMDBUF_MORE) {
		struct str piece = str_head(in, step);

		in = str_skip(in, piece.n);
		while (piece.n && st == CMDBUF_MORE) {
			st = cmdbuf_feed(c, &piece);
			if (st == CMDBUF_LITERAL && cmdbuf_accept(c))
				st = CMDBUF_MORE;
		}
	}
	return st;
}

static void
gathering(void **state)
{
	struct str in = STR("a LOGIN {5}\r\nuser1 {3+}\r\npw)\r\n");
	struct str want = STR("a LOGIN {5}\r\nuser1 {3+}\r\npw)");
	struct cmdbuf c;
	size_t step;
	char line[3000];

	for (step = 1; step <= in.n; step++) {
		cmdbuf_init(&c, 100);
		assert_int_equal(feed(&c, in, step), CMDBUF_DONE);
		assert_true(str_eq(buf_view(&c.b), want));
		cmdbuf_done(&c);
	}
	memset(line, 'x', sizeof line);
	memcpy(line + sizeof line - 2, "\r\n", 2);
	for (step = 1; step < 200; step += 7) {
		cmdbuf_init(&c, 100);
		assert_int_equal(feed(&c, str_from(line, sizeof line), step), CMDBUF_REFUSED);
		assert_true(c.b.n <= 100);
		cmdbuf_reset(&c);
		assert_int_equal(feed(&c, in, step), CMDBUF_DONE);
		cmdbuf_done(&c);
	}
	cmdbuf_init(&c, 100);
	assert_int_equal(feed(&c, STR("a APPEND x {2147483648}\r\n"), 9), CMDBUF_LITERAL);
	assert_non_null(c.why);
	cmdbuf_reset(&c);
	assert_int_equal(feed(&c, STR("a APPEND x {99999999999}\r\n"), 9), CMDBUF_REFUSED);
	cmdbuf_done(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets),
		cmocka_unit_test(fetches),
		cmocka_unit_test(searches),
		cmocka_unit_test(deep),
		cmocka_unit_test(dates_flags_names),
		cmocka_unit_test(gathering),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
