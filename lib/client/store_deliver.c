/* The deliver frame and its results: what queued asks of maild. The content is the last
 * field. */
#include "lib/client/store.h"

#include <errno.h>

enum {
	T_SPOOL_ID = 1, T_ARRIVED, T_SENDER, T_TRACE, T_VOLUME, T_SIZE, T_RCPT,
	T_CONTENT = 100,
};
enum { T_R_ACCOUNT = 1, T_R_QUOTA, T_R_ADDRESS, T_R_DETAIL, T_R_MAYBE };
enum { T_RESULT = 1 };
enum { T_O_OUTCOME = 1, T_O_SMTP, T_O_ENHANCED, T_O_TEXT, T_O_EMAIL };

static void
rcpt_put(struct buf *b, const struct deliver_rcpt *r)
{
	size_t at = wire_begin(b, T_RCPT);

	wire_u64(b, T_R_ACCOUNT, r->account);
	wire_u64(b, T_R_QUOTA, r->quota);
	wire_str(b, T_R_ADDRESS, r->address);
	if (r->detail.n)
		wire_str(b, T_R_DETAIL, r->detail);
	if (r->maybe_done)
		wire_u64(b, T_R_MAYBE, 1);
	wire_end(b, at);
}

void
deliver_request_put(struct buf *b, const struct deliver_request *r)
{
	wire_u64(b, T_SPOOL_ID, r->spool_id);
	wire_u64(b, T_ARRIVED, r->arrived_us);
	wire_str(b, T_SENDER, r->sender);
	wire_str(b, T_TRACE, r->trace);
	wire_u64(b, T_VOLUME, r->volume);
	wire_u64(b, T_SIZE, r->size);
	for (size_t i = 0; i < r->n_rcpts; i++)
		rcpt_put(b, &r->rcpts[i]);
	if (r->content.n)
		wire_str(b, T_CONTENT, r->content);
}

static int
rcpt_get(struct str body, struct deliver_rcpt *ret)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_R_ACCOUNT: ret->account = wire_int(&f); break;
		case T_R_QUOTA: ret->quota = wire_int(&f); break;
		case T_R_ADDRESS: ret->address = f.v; break;
		case T_R_DETAIL: ret->detail = f.v; break;
		case T_R_MAYBE: ret->maybe_done = wire_int(&f) != 0; break;
		}
	}
	return r;
}

int
deliver_request_get(struct str body, struct arena *a, struct deliver_request *ret)
{
	struct deliver_request q = { 0 };
	struct wire_field f;
	size_t n = 0;
	int r;

	r = wire_count(body, T_RCPT, &n);
	if (r < 0)
		return r;
	q.rcpts = ARENA_ARRAY(a, struct deliver_rcpt, n + 1);
	if (!q.rcpts)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_SPOOL_ID: q.spool_id = wire_int(&f); break;
		case T_ARRIVED: q.arrived_us = wire_int(&f); break;
		case T_SENDER: q.sender = f.v; break;
		case T_TRACE: q.trace = f.v; break;
		case T_VOLUME: q.volume = (uint32_t)wire_int(&f); break;
		case T_SIZE: q.size = wire_int(&f); break;
		case T_CONTENT: q.content = f.v; break;
		case T_RCPT:
			r = rcpt_get(f.v, &q.rcpts[q.n_rcpts++]);
			if (r < 0)
				return r;
			break;
		}
	}
	if (r < 0)
		return r;
	*ret = q;
	return 0;
}

void
deliver_results_put(struct buf *b, const struct deliver_result *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = wire_begin(b, T_RESULT);

		wire_u64(b, T_O_OUTCOME, r[i].outcome);
		if (r[i].smtp)
			wire_u64(b, T_O_SMTP, r[i].smtp);
		if (r[i].enhanced.n)
			wire_str(b, T_O_ENHANCED, r[i].enhanced);
		if (r[i].text.n)
			wire_str(b, T_O_TEXT, r[i].text);
		if (r[i].email)
			wire_u64(b, T_O_EMAIL, r[i].email);
		wire_end(b, at);
	}
}

static int
result_get(struct str body, struct deliver_result *ret)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_O_OUTCOME: ret->outcome = (enum deliver_outcome)wire_int(&f); break;
		case T_O_SMTP: ret->smtp = (unsigned)wire_int(&f); break;
		case T_O_ENHANCED: ret->enhanced = f.v; break;
		case T_O_TEXT: ret->text = f.v; break;
		case T_O_EMAIL: ret->email = wire_int(&f); break;
		}
	}
	if (r == 0 && (ret->outcome < DELIVER_DONE || ret->outcome > DELIVER_NOT_HERE))
		return -EPROTO;
	return r;
}

int
deliver_results_get(struct str body, struct arena *a, struct deliver_result **ret, size_t *ret_n)
{
	struct deliver_result *v;
	struct wire_field f;
	size_t n = 0, i = 0;
	int r;

	r = wire_count(body, T_RESULT, &n);
	if (r < 0)
		return r;
	v = ARENA_ARRAY(a, struct deliver_result, n + 1);
	if (!v)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag != T_RESULT)
			continue;
		r = result_get(f.v, &v[i++]);
		if (r < 0)
			return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}
