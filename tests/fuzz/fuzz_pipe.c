/* What piped and its runner read: targets, requests, orders, and the output of commands. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/base/text.h"
#include "mta/pipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_output(struct str in, struct arena *a)
{
	struct pipe_end end = { .status = EX_DATAERR << 8 };
	struct pipe_answer ans;

	end.n_output = in.n < PIPE_OUTPUT_MAX ? in.n : PIPE_OUTPUT_MAX;
	memcpy(end.output, in.p, end.n_output);
	ans = pipe_answer_of(&end, PIPE_COMMAND, a);
	if (!ans.enhanced.n || (ans.enhanced.p[0] == '4') != (ans.outcome == PIPE_TEMPFAIL) ||
	    ascii_has_control(ans.text))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_from(data, size);
	struct arena *a = arena_new(0);
	struct pipe_order order;
	struct pipe_request request;
	struct pipe_answer answer;
	struct pipe_target target;
	struct buf b = { 0 };

	if (!pipe_target_parse(in, &target) && (!target.what.n || target.what.n > in.n))
		abort();
	if (!pipe_order_get(in, &order)) {
		pipe_order_put(&b, &order);
		if (pipe_order_get(buf_view(&b), &order))
			abort();
	}
	pipe_request_get(in, &request);
	pipe_answer_get(in, &answer);
	pipe_loops(in, STR("user1@example.test"));
	check_output(in, a);
	buf_done(&b);
	arena_free(&a);
	return 0;
}
