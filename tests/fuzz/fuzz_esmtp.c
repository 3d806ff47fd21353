/* Parameters of MAIL and RCPT: whatever is taken reads the same after it was written again. */
#include <stdlib.h>

#include "lib/base/text.h"
#include "lib/mail/esmtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
orcpt(struct str in, bool utf8, struct arena *a)
{
	struct buf b = { 0 };
	struct str v, again;

	if (esmtp_orcpt(in, utf8, a, &v))
		return;
	if (!utf8_valid(v))
		abort();
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] < ' ' || v.p[i] == 127) /* none may reach a report's header */
			abort();
	esmtp_orcpt_put(&b, v, utf8);
	/* what is quoted may get longer than a parameter may be */
	if (b.n <= ESMTP_ORCPT_MAX && (esmtp_orcpt(buf_view(&b), utf8, a, &again) || !str_eq(v, again)))
		abort();
	buf_done(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str in = str_from(data, size), v;
	struct esmtp_by by;
	uint64_t seconds;
	int64_t time;
	uint32_t bits;
	int32_t priority;

	orcpt(in, true, a);
	orcpt(in, false, a);
	if (!esmtp_envid(in, a, &v) && (!ascii_only(v) || v.n > ESMTP_ENVID_MAX))
		abort();
	if (!esmtp_by(in, &by) && !by.notify && by.seconds <= 0)
		abort();
	if (!esmtp_priority(in, &priority) && (priority < -9 || priority > 9))
		abort();
	esmtp_notify(in, &bits);
	esmtp_ret(in, &bits);
	esmtp_hold_for(in, &seconds);
	esmtp_hold_until(in, &time);
	arena_free(&a);
	return 0;
}
