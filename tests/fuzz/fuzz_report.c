/*
 * Notifications from foreign bytes: the input is a notify frame. Whatever stands in
 * it, the report is CRLF lines of bounded length without NUL, and its boundary stands
 * where it should.
 */
#include <stdlib.h>

#include "mta/report.h"

#define BOUNDARY "=_6aa3f7b1c0"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_lines(struct str s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++, line++) {
		if (!s.p[i] || line > 998 || (s.p[i] == '\n') != (i && s.p[i - 1] == '\r'))
			abort();
		if (s.p[i] == '\n')
			line = (size_t)-1;
	}
	if (!str_ends(s, STR("\r\n--" BOUNDARY "--\r\n")))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct bounce_answer answer;
	struct bounce_request q;
	struct buf b = { 0 };

	bounce_answer_get(str_from(data, size), &answer);
	if (!bounce_request_get(str_from(data, size), a, &q)) {
		struct report r = { .request = &q, .message = q.content, .hostname = STR("mx.example.test"),
			.to = q.sender, .boundary = STR(BOUNDARY), .return_limit = 4096,
			.words = { .contact = q.trace } };

		report_put(&b, &r, a);
		if (!b.over)
			check_lines(buf_view(&b));
	}
	buf_done(&b);
	arena_free(&a);
	return 0;
}
