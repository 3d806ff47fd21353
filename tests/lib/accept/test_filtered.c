/* What plugins are asked and answer, over the wire, and edits of a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "lib/accept/filtered.h"

static const char mail[] = "Received: x\r\nSubject: one\r\n\ttwo\r\nTo: a\r\n\r\nBody\r\n";

static const struct edit_case {
	const char *name;
	struct filter_edit edits[4];
	size_t n;
	const char *want;
} cases[] = {
	{ "nothing", { { 0 } }, 0, "Received: x\r\nSubject: one\r\n\ttwo\r\nTo: a\r\n\r\nBody\r\n" },
	{ "top and bottom",
	    { { FILTER_HEADER_ADD, 0, STR_INIT("A"), STR_INIT("1") },
	      { FILTER_HEADER_ADD, UINT32_MAX, STR_INIT("Z"), STR_INIT("9") },
	      { FILTER_HEADER_ADD, 0, STR_INIT("B"), STR_INIT("2") } }, 3,
	    "A: 1\r\nB: 2\r\nReceived: x\r\nSubject: one\r\n\ttwo\r\nTo: a\r\nZ: 9\r\n\r\nBody\r\n" },
	{ "before the field, one is set, one goes",
	    { { FILTER_HEADER_ADD, 1, STR_INIT("M"), STR_INIT("m") },
	      { FILTER_HEADER_SET, 1, { 0 }, STR_INIT("new") }, { FILTER_HEADER_REMOVE, 2, { 0 }, { 0 } } },
	    3, "Received: x\r\nM: m\r\nSubject: new\r\n\r\nBody\r\n" },
	{ "the last edit of a field counts",
	    { { FILTER_HEADER_SET, 2, { 0 }, STR_INIT("b") }, { FILTER_HEADER_SET, 2, { 0 }, STR_INIT("c") } },
	    2, "Received: x\r\nSubject: one\r\n\ttwo\r\nTo: c\r\n\r\nBody\r\n" },
	{ "a field that is not there", { { FILTER_HEADER_REMOVE, 77, { 0 }, { 0 } } }, 1,
	    "Received: x\r\nSubject: one\r\n\ttwo\r\nTo: a\r\n\r\nBody\r\n" },
	{ "another body", { { FILTER_BODY_SET, 0, { 0 }, STR_INIT("New\r\n") } }, 1,
	    "Received: x\r\nSubject: one\r\n\ttwo\r\nTo: a\r\n\r\nNew\r\n" },
	{ "a body that came by descriptor", { { FILTER_BODY_SET, 1, { 0 }, { 0 } } }, 1,
	    "Received: x\r\nSubject: one\r\n\ttwo\r\nTo: a\r\n\r\nFile\r\n" },
};

static void
test_edits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf b = { 0 };

		filtered_edit(str_c(mail), cases[i].edits, cases[i].n, STR("File\r\n"), &b);
		if (strcmp(buf_cstr(&b), cases[i].want))
			print_error("%s: got\n%s", cases[i].name, b.p);
		assert_string_equal(buf_cstr(&b), cases[i].want);
		buf_done(&b);
	}
}

static void
test_ask(void **state)
{
	struct filter_rcpt rcpts[] = { { STR("a@b.test"), STR("a@b.test") },
		{ STR("c@d.test"), STR("C+x@d.test") } };
	struct filter_note notes[] = { { STR("spf.result"), STR("pass") }, { STR("x.y"), STR("") } };
	struct filter_ask q = { .hook = FILTER_MESSAGE, .session = 7, .txn = 9, .timeout_ms = 5000,
		.flags = FILTER_F_ESMTP, .client_ip = STR("192.0.2.1"), .sender = STR("s@t.test"),
		.rcpts = rcpts, .n_rcpts = 2, .notes = notes, .n_notes = 2, .content = str_c(mail),
		.size = sizeof mail - 1 }, got;
	struct arena *a = arena_new(0);
	struct buf b = { 0 };

	(void)state;
	filter_ask_put(&b, &q);
	assert_int_equal(filter_ask_get(buf_view(&b), a, &got), 0);
	assert_int_equal(got.hook, FILTER_MESSAGE);
	assert_int_equal(got.session + got.txn, 16);
	assert_int_equal(got.n_rcpts, 2);
	assert_true(str_eq(got.rcpts[1].said, STR("C+x@d.test")));
	assert_true(str_eq(got.rcpts[0].said, STR("a@b.test")));
	assert_int_equal(got.n_notes, 2);
	assert_true(str_eq(got.notes[0].value, STR("pass")) && !got.notes[1].value.n);
	assert_true(str_eq(got.content, str_c(mail)) && str_eq(got.client_ip, STR("192.0.2.1")));
	for (size_t n = 0; n < b.n; n++) /* cut anywhere: no crash, and never more than there was */
		if (!filter_ask_get(str_head(buf_view(&b), n), a, &got))
			assert_true(got.n_rcpts <= 2);
	buf_done(&b);
	arena_free(&a);
}

static void
test_answer(void **state)
{
	struct filter_edit edits[] = { { FILTER_HEADER_ADD, UINT32_MAX, STR("N"), STR("v") },
		{ FILTER_RCPT_REMOVE, 3, STR_NULL, STR_NULL } };
	struct filter_note notes[] = { { STR("k"), STR("v") } };
	struct filter_answer r = { .action = FILTER_REJECT, .smtp = 554, .enhanced = STR("5.7.1"),
		.text = STR("no"), .edits = edits, .n_edits = 2, .notes = notes, .n_notes = 1 }, got;
	struct arena *a = arena_new(0);
	struct buf b = { 0 };

	(void)state;
	filter_answer_put(&b, &r);
	assert_int_equal(filter_answer_get(buf_view(&b), a, &got), 0);
	assert_int_equal(got.action, FILTER_REJECT);
	assert_int_equal(got.smtp, 554);
	assert_int_equal(got.n_edits, 2);
	assert_int_equal(got.edits[0].at, UINT32_MAX);
	assert_int_equal(got.edits[1].op, FILTER_RCPT_REMOVE);
	assert_int_equal(got.edits[1].at, 3);
	assert_true(str_eq(got.notes[0].value, STR("v")));
	buf_clear(&b);
	r.action = FILTER_ACTIONS;
	filter_answer_put(&b, &r);
	assert_int_equal(filter_answer_get(buf_view(&b), a, &got), -71 /* -EPROTO */);
	buf_done(&b);
	arena_free(&a);
}

/* A plugin cannot make a reply of another class than its answer, nor one of ours into its own. */
static void
test_verdicts(void **state)
{
	static const struct {
		struct filter_answer a;
		unsigned smtp;
		const char *enhanced;
	} v[] = {
		{ { .action = FILTER_REJECT }, 550, "5.7.1" },
		{ { .action = FILTER_TEMPFAIL }, 451, "4.7.1" },
		{ { .action = FILTER_REJECT, .smtp = 450, .enhanced = STR_INIT("4.1.1") }, 550, "5.7.1" },
		{ { .action = FILTER_REJECT, .smtp = 552, .enhanced = STR_INIT("5.2.2") }, 552, "5.2.2" },
		{ { .action = FILTER_TEMPFAIL, .smtp = 250 }, 451, "4.7.1" },
		{ { .action = FILTER_CONTINUE, .smtp = 550 }, 0, "" },
		{ { .action = FILTER_QUARANTINE }, 0, "" },
	};
	const struct conf_plugin p = { .name = STR_INIT("p") };
	struct arena *a = arena_new(0);

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		struct filter_verdict got = filter_verdict_of(&p, &v[i].a, a);

		assert_int_equal(got.smtp, v[i].smtp);
		assert_string_equal(got.enhanced, v[i].enhanced);
	}
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edits),
		cmocka_unit_test(test_ask),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_verdicts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
