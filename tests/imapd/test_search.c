/* SEARCH's substrings: in header values, in addresses, in bodies however they are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imapd/search.h"
#include "lib/base/text.h"
#include "lib/mail/body.h"

static struct search_key
key(enum search_type type, const char *name, const char *text, struct buf *folded)
{
	buf_init(folded, 0);
	text_fold(str_c(text), folded);
	return (struct search_key){ .type = type, .name = str_c(name), .folded = buf_view(folded) };
}

static void
headers(void **state)
{
	static const struct {
		const char *name, *text;
		bool want;
	} t[] = {
		{ "Subject", "grüße aus köln", true }, { "subject", "GRÜßE", true },
		{ "Subject", "gr\xc3\xbc\xc3\x9f", true }, { "Subject", "utf-8", false },
		{ "X-Empty", "", true }, { "X-None", "", false }, { "X-Empty", "a", false },
		{ "X-Two", "second", true }, { "X-Two", "firstsecond", false },
		{ "X-Raw", "sp\xc3\xa4m", true }, { "X-Fold", "one two", true },
	};
	struct str h = STR("Subject: =?iso-8859-1?Q?Gr=FC=DFe_?= =?utf-8?b?YXVzIEvDtmxu?=\r\n"
			   "no field at all\r\nX-Empty:\r\nX-Two: first\r\nX-Two: second\r\n"
			   "X-Raw: sp\xe4m\r\nX-Fold: one\r\n two\r\n\r\n");
	struct buf b;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct search_key k = key(SK_HEADER, t[i].name, t[i].text, &b);

		if (search_in_header(h, &k) != t[i].want)
			fail_msg("%s: %s", t[i].name, t[i].text);
		buf_done(&b);
	}
}

static void
addresses(void **state)
{
	struct facts_addr v[] = {
		{ STR("=?utf-8?q?J=C3=BCrgen?="), STR_NULL, STR("j"), STR("example.test") },
		{ STR_NULL, STR_NULL, STR("friends"), STR_NULL },
		{ STR_NULL, STR_NULL, STR("a"), STR("b.test") },
		{ STR_NULL, STR_NULL, STR_NULL, STR_NULL },
	};
	struct facts_addrs list = { v, 4 }, none = { NULL, 0 };
	static const char *const yes[] = { "jürgen", "JÜRGEN <J@EXAMPLE", "friends:", "a@b.test", "" };
	static const char *const no[] = { "utf-8", "jurgen", "friends@" };
	struct search_key k;
	struct buf b;
	size_t i;

	for (i = 0; i < sizeof yes / sizeof *yes; i++) {
		k = key(SK_HEADER, "To", yes[i], &b);
		assert_true(search_in_addresses(&list, &k));
		assert_false(search_in_addresses(&none, &k));
		buf_done(&b);
	}
	for (i = 0; i < sizeof no / sizeof *no; i++) {
		k = key(SK_HEADER, "To", no[i], &b);
		assert_false(search_in_addresses(&list, &k));
		buf_done(&b);
	}
}

/* ---- whole messages ---- */

struct fixture {
	struct imap imap;
	int pair[2];
};

static int
setup(void **state)
{
	static struct fixture f;
	struct err e;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, f.pair) < 0)
		return -1;
	f.imap.st = stream_new(NULL, f.pair[0], 0, &e);
	*state = &f;
	return f.imap.st ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	stream_free(&f->imap.st);
	close(f->pair[1]);
	return 0;
}

/* Whether the message has text, as the key of that type says. */
static bool
scan(struct imap *c, struct str message, enum search_type type, const char *text)
{
	struct arena *ar = arena_new(0);
	struct content m = { .fd = memfd_create("message", MFD_CLOEXEC), .size = message.n };
	struct buf folded;
	struct search_key k = key(type, NULL, text, &folded), *keys[] = { &k };
	struct search s = { .c = c, .texts = keys, .n_texts = 1, .longest = folded.n };

	assert_int_equal(write(m.fd, message.p, message.n), message.n);
	assert_int_equal(content_parts(&m, STR_NULL, ar), 0);
	assert_int_equal(search_scan(&s, &m, str_head(message, m.mime.parts[0].body)), 0);
	content_close(&m);
	buf_done(&folded);
	arena_free(&ar);
	return k.found;
}

static void
bodies(void **state)
{
	struct imap *c = &((struct fixture *)*state)->imap;
	static const char message[] =
	    "Subject: outer words\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
	    "--b\r\nContent-Type: text/plain; charset=iso-8859-1; name=part-name\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\nStra=DFe, a soft=\r\n line\r\n"
	    "--b\r\nContent-Type: text/html\r\n\r\n<p>bold <b>wor</b>d &auml;</p><style>hidden</style>\r\n"
	    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner words\r\n\r\ninner body\r\n"
	    "--b\r\nContent-Type: application/octet-stream\r\n\r\nbinary\r\n--b--\r\n";
	static const struct {
		const char *text;
		bool body, whole;
	} t[] = {
		{ "STRAßE", true, true }, { "soft line", true, true }, { "bold word ä", true, true },
		{ "hidden", false, false }, { "inner body", true, true }, { "inner words", true, true },
		{ "outer words", false, true }, { "Subject: OUTER", false, true },
		{ "part-name", false, true }, { "binary", false, false }, { "preamble", false, false },
		{ "linebold", false, false }, { "", true, true },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		if (scan(c, str_from(message, sizeof message - 1), SK_BODY, t[i].text) != t[i].body)
			fail_msg("BODY %s", t[i].text);
		if (scan(c, str_from(message, sizeof message - 1), SK_TEXT, t[i].text) != t[i].whole)
			fail_msg("TEXT %s", t[i].text);
	}
}

/* Whether a large body is found to have the needle that stands at `at` in it. */
static bool
found_at(struct imap *c, const char *encoding, bool lines, size_t at)
{
	struct buf text = { 0 }, m = { 0 };
	bool r;

	buf_puts(&text, at % 2 ? "x" : "");
	for (size_t i = 0; text.n < at; i++)
		buf_puts(&text, lines && i % 8 == 0 ? "\r\n" : "\u00f6");
	buf_puts(&text, "Die Nädel-βγδ hier");
	while (text.n < 150000)
		buf_puts(&text, "ü ");
	buf_printf(&m, "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: %s\r\n\r\n", encoding);
	if (str_eq(str_c(encoding), STR("base64")))
		base64_put(&m, buf_view(&text));
	else
		buf_str(&m, buf_view(&text));
	r = scan(c, buf_view(&m), SK_BODY, "die nädel-ΒΓΔ HIER");
	buf_done(&text);
	buf_done(&m);
	return r;
}

/* The needle stands at every place around the cuts, with and without ends of lines. */
static void
cuts(void **state)
{
	static const char *const encodings[] = { "8bit", "base64" };
	static const size_t places[][2] = { { 65536, 131072 }, { 49152, 98304 } };

	for (size_t e = 0; e < 2; e++)
		for (unsigned k = 0; k < 4; k++)
			for (size_t back = 0; back < 28; back += 1 + k % 2)
				if (!found_at(&((struct fixture *)*state)->imap, encodings[e], k % 2,
				        places[e][k / 2] + 2 - back))
					fail_msg("%s, %u, %zu", encodings[e], k, back);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),
		cmocka_unit_test(addresses),
		cmocka_unit_test_setup_teardown(bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(cuts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
