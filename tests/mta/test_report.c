/*
 * mta/report: notifications as bytes. What a MIME parser makes of them is the matter
 * of check_report.py, for which `test_report NAME` prints a sample.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mta/report.h"

#define MESSAGE "From: user1@example.test\r\nTo: user2@example.org\r\n" \
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <one@example.test>\r\n" \
	"Date: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\nHello.\r\n"

static const struct bounce_rcpt failed = {
	.address = STR_INIT("user2@example.org"), .orcpt = STR_INIT("rfc822;User2@example.org"),
	.action = BOUNCE_FAILED, .smtp = 550, .enhanced = STR_INIT("5.1.1"),
	.text = STR_INIT("User unknown\nsee https://example.org/why"),
	.mta = STR_INIT("mx.example.org"), .last_attempt_ms = 1795510000000,
};
static const struct bounce_rcpt delayed = {
	.address = STR_INIT("user3@example.org"), .action = BOUNCE_DELAYED, .smtp = 451,
	.enhanced = STR_INIT("4.3.0"), .text = STR_INIT("Try again"), .mta = STR_INIT("mx.example.org"),
	.last_attempt_ms = 1795510000000, .will_retry_until_ms = 1795900000000,
};
static const struct bounce_rcpt delivered = {
	.address = STR_INIT("user4@example.org"), .original = STR_INIT("team@example.test"),
	.action = BOUNCE_DELIVERED,
};
static const struct bounce_rcpt relayed = {
	.address = STR_INIT("user5@example.org"), .action = BOUNCE_RELAYED, .smtp = 250,
	.enhanced = STR_INIT("2.0.0"), .text = STR_INIT("Ok"), .mta = STR_INIT("mx.example.org"),
};
static const struct bounce_rcpt hostile = {
	.address = STR_INIT("user6@example.org"), .action = BOUNCE_FAILED, .smtp = 550,
	.enhanced = STR_INIT("9.9.9"), .orcpt = STR_INIT("rfc 822\r\nX: y;a"),
	.text = STR_INIT("no\r\n\r\n--=_bound\r\nContent-Type: text/html\r\n\0\x1b[2J\xff\xe2\x80\xaegpj"),
	.mta = STR_INIT("mx\r\nX-Evil: yes"),
};
static const struct bounce_rcpt unicode = {
	.address = STR_INIT("j\xc3\xb6rg@example.org"), .orcpt = STR_INIT("utf-8;j\\x{F6}rg@example.org"),
	.action = BOUNCE_FAILED, .smtp = 550, .enhanced = STR_INIT("5.6.7"),
	.text = STR_INIT("kein Postfach f\xc3\xbcr j\xc3\xb6rg"), .mta = STR_INIT("mx.example.org"),
};

static const struct sample {
	const char *name;
	const struct bounce_rcpt *rcpts[4];
	enum bounce_kind kind;
	uint32_t ret, flags;
	uint64_t limit;
	const char *sender, *message;
} samples[] = {
	{ "failed", { &failed }, BOUNCE_SENDER, 0, 0, 50000, "user1@example.test", MESSAGE },
	{ "headers", { &failed }, BOUNCE_SENDER, 2, 0, 50000, "user1@example.test", MESSAGE },
	{ "large", { &failed }, BOUNCE_SENDER, 1, 0, 100, "user1@example.test", MESSAGE },
	{ "requiretls", { &failed }, BOUNCE_SENDER, 1, ENV_REQUIRETLS, 50000, "user1@example.test", MESSAGE },
	{ "mixed", { &delayed, &failed, &delivered, &relayed }, BOUNCE_SENDER, 1, 0, 50000,
	    "user1@example.test", MESSAGE },
	{ "delayed", { &delayed }, BOUNCE_SENDER, 1, 0, 50000, "user1@example.test", MESSAGE },
	{ "success", { &delivered, &relayed }, BOUNCE_SENDER, 0, 0, 50000, "user1@example.test", MESSAGE },
	{ "hostile", { &hostile }, BOUNCE_SENDER, 0, 0, 50000, "user1@example.test", MESSAGE },
	{ "ascii", { &unicode }, BOUNCE_SENDER, 0, 0, 50000, "user1@example.test", MESSAGE },
	{ "global", { &unicode }, BOUNCE_SENDER, 0, ENV_SMTPUTF8, 50000, "us\xc3\xa9r1@example.test", MESSAGE },
	{ "globalheaders", { &unicode }, BOUNCE_SENDER, 2, ENV_SMTPUTF8, 50000, "us\xc3\xa9r1@example.test",
	    "Subject: gr\xc3\xbc\xc3\x9f\r\n\r\nx\r\n" },
	{ "postmaster", { &failed }, BOUNCE_POSTMASTER, 0, 0, 50000, "", MESSAGE },
	{ "binary", { &failed }, BOUNCE_SENDER, 1, 0, 50000, "user1@example.test",
	    "Subject: x\nBroken: \r\r\n\r\nlone\nlines\r" },
	{ "eight", { &failed }, BOUNCE_SENDER, 1, 0, 50000, "user1@example.test",
	    "Subject: x\r\n\r\nf\xc3\xbc\r\n" },
	{ "noid", { &failed }, BOUNCE_SENDER, 1, 0, 50000, "user1@example.test",
	    "Message-ID: <a b@x>\r\nSubject: x\r\n\r\n" },
};
#define N_SAMPLES (sizeof samples / sizeof *samples)

static void
make(const struct sample *s, struct buf *out)
{
	struct bounce_rcpt rcpts[4];
	struct bounce_request q = { .kind = s->kind, .spool_id = 0x1234, .event = 1,
		.sender = str_c(s->sender), .ret = s->ret, .flags = s->flags, .envid = STR("env 1"),
		.arrived_us = 1795500000000000, .client_name = STR("client.example.test"),
		.client_ip = STR("192.0.2.9"), .rcpts = rcpts };
	struct report r = { .request = &q, .message = str_c(s->message), .hostname = STR("mx.example.test"),
		.to = s->kind == BOUNCE_POSTMASTER ? STR("postmaster@mx.example.test") : str_c(s->sender),
		.boundary = STR("=_bound"), .now_us = 1795520000000000, .return_limit = s->limit };
	struct arena *a = arena_new(0);

	while (q.n_rcpts < 4 && s->rcpts[q.n_rcpts]) {
		rcpts[q.n_rcpts] = *s->rcpts[q.n_rcpts];
		q.n_rcpts++;
	}
	report_put(out, &r, a);
	arena_free(&a);
}

static void
lines_are_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SAMPLES; i++) {
		struct buf b = { 0 };
		size_t line = 0;

		make(&samples[i], &b);
		assert_false(b.over);
		assert_true(str_ends(buf_view(&b), STR("\r\n--=_bound--\r\n")));
		for (size_t k = 0; k < b.n; k++, line++) {
			assert_true(b.p[k] != 0 && line <= 998);
			assert_true((b.p[k] == '\n') == (k && b.p[k - 1] == '\r'));
			if (b.p[k] == '\n')
				line = (size_t)-1;
		}
		buf_done(&b);
	}
}

static void
status_is_of_the_action(void **state)
{
	static const struct {
		enum bounce_action action;
		const char *enhanced;
		unsigned smtp;
		const char *want;
	} cases[] = {
		{ BOUNCE_FAILED, "5.1.1", 550, "5.1.1" }, { BOUNCE_FAILED, "4.4.7", 0, "4.4.7" },
		{ BOUNCE_FAILED, "2.0.0", 0, "5.0.0" }, { BOUNCE_FAILED, "", 451, "4.0.0" },
		{ BOUNCE_FAILED, "5.1", 550, "5.0.0" }, { BOUNCE_FAILED, "5.1.1x", 550, "5.0.0" },
		{ BOUNCE_FAILED, "5.1.1000", 550, "5.0.0" }, { BOUNCE_FAILED, "5..1", 550, "5.0.0" },
		{ BOUNCE_DELAYED, "4.2.2", 452, "4.2.2" }, { BOUNCE_DELAYED, "5.2.2", 0, "4.0.0" },
		{ BOUNCE_DELIVERED, "", 0, "2.0.0" }, { BOUNCE_RELAYED, "2.1.5", 250, "2.1.5" },
		{ BOUNCE_EXPANDED, "5.0.0", 0, "2.0.0" },
	};
	struct arena *a = arena_new(0);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bounce_rcpt r = { .action = cases[i].action, .smtp = cases[i].smtp,
			.enhanced = str_c(cases[i].enhanced) };

		assert_string_equal(arena_cstr(a, report_status(&r, a)), cases[i].want);
	}
	arena_free(&a);
}

/* Many recipients: people see the first, programs all. */
static void
many_recipients(void **state)
{
	struct bounce_rcpt *rcpts = calloc(BOUNCE_RCPTS_MAX, sizeof *rcpts);
	struct bounce_request q = { .kind = BOUNCE_SENDER, .sender = STR("user1@example.test"),
		.rcpts = rcpts, .n_rcpts = BOUNCE_RCPTS_MAX };
	struct report r = { .request = &q, .message = STR(MESSAGE), .hostname = STR("mx.example.test"),
		.to = q.sender, .boundary = STR("=_bound"), .bare = true };
	struct arena *a = arena_new(0);
	struct buf b = { 0 };
	size_t n = 0;
	struct str s;

	(void)state;
	for (size_t i = 0; i < BOUNCE_RCPTS_MAX; i++)
		rcpts[i] = failed;
	report_put(&b, &r, a);
	assert_true(str_find(buf_view(&b), STR("and 900 more")) > 0);
	s = buf_view(&b);
	while (str_find(s, STR("Final-Recipient:")) >= 0) {
		s = str_skip(s, (size_t)str_find(s, STR("Final-Recipient:")) + 1);
		n++;
	}
	assert_int_equal(n, BOUNCE_RCPTS_MAX);
	assert_true(str_find(buf_view(&b), STR("rfc822-headers")) < 0);
	buf_done(&b);
	arena_free(&a);
	free(rcpts);
}

static void
frames_read_back(void **state)
{
	struct bounce_rcpt rcpts[] = { failed, delayed };
	struct bounce_request q = { .kind = BOUNCE_POSTMASTER, .spool_id = 7, .event = 3,
		.sender = STR("user1@example.test"), .ret = 2, .flags = ENV_SMTPUTF8, .rcpts = rcpts,
		.n_rcpts = 2, .content = STR(MESSAGE) }, back;
	struct bounce_answer answer = { .outcome = BOUNCE_REFUSED, .smtp = 550, .text = STR("no") }, read;
	struct arena *a = arena_new(0);
	struct buf b = { 0 };

	(void)state;
	bounce_request_put(&b, &q);
	assert_int_equal(bounce_request_get(buf_view(&b), a, &back), 0);
	assert_int_equal(back.n_rcpts, 2);
	assert_int_equal(back.rcpts[1].will_retry_until_ms, delayed.will_retry_until_ms);
	assert_true(str_eq(back.content, q.content) && str_eq(back.rcpts[0].text, failed.text));
	assert_int_equal(bounce_request_get(str_head(buf_view(&b), b.n - 1), a, &back), -EPROTO);
	buf_clear(&b);
	rcpts[0].action = BOUNCE_ACTION_MAX;
	bounce_request_put(&b, &q);
	assert_int_equal(bounce_request_get(buf_view(&b), a, &back), -EPROTO);
	buf_clear(&b);
	bounce_answer_put(&b, &answer);
	assert_int_equal(bounce_answer_get(buf_view(&b), &read), 0);
	assert_true(read.outcome == BOUNCE_REFUSED && read.smtp == 550);
	buf_done(&b);
	arena_free(&a);
}

static int
print(const char *name)
{
	for (size_t i = 0; i < N_SAMPLES; i++)
		if (!strcmp(samples[i].name, name)) {
			struct buf b = { 0 };

			make(&samples[i], &b);
			fwrite(b.p, 1, b.n, stdout);
			buf_done(&b);
			return 0;
		}
	return 1;
}

int
main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_sound),
		cmocka_unit_test(status_is_of_the_action),
		cmocka_unit_test(many_recipients),
		cmocka_unit_test(frames_read_back),
	};

	return argc > 1 ? print(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
