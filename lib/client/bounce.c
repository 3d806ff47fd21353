/* The codecs of bounced's messages; see bounce.h. */
#include "lib/client/bounce.h"

#include <errno.h>

enum {
	B_KIND = 1, B_SPOOL_ID, B_EVENT, B_SENDER, B_ENVID, B_RET, B_FLAGS, B_ARRIVED,
	B_CLIENT_NAME, B_CLIENT_IP, B_TRACE, B_SIZE, B_RCPT,
	B_CONTENT = 100,
};
enum {
	R_ADDRESS = 1, R_ORIGINAL, R_ORCPT, R_ACTION, R_SMTP, R_ENHANCED, R_TEXT, R_MTA,
	R_LAST, R_UNTIL,
};
enum { A_OUTCOME = 1, A_SPOOL_ID, A_SMTP, A_ENHANCED, A_TEXT };

static void
rcpt_put(struct buf *b, const struct bounce_rcpt *r)
{
	size_t at = wire_begin(b, B_RCPT);

	wire_opt_str(b, R_ADDRESS, r->address);
	wire_opt_str(b, R_ORIGINAL, r->original);
	wire_opt_str(b, R_ORCPT, r->orcpt);
	wire_opt_u64(b, R_ACTION, r->action);
	wire_opt_u64(b, R_SMTP, r->smtp);
	wire_opt_str(b, R_ENHANCED, r->enhanced);
	wire_opt_str(b, R_TEXT, r->text);
	wire_opt_str(b, R_MTA, r->mta);
	wire_opt_u64(b, R_LAST, r->last_attempt_ms);
	wire_opt_u64(b, R_UNTIL, r->will_retry_until_ms);
	wire_end(b, at);
}

void
bounce_request_put(struct buf *b, const struct bounce_request *r)
{
	wire_opt_u64(b, B_KIND, r->kind);
	wire_opt_u64(b, B_SPOOL_ID, r->spool_id);
	wire_opt_u64(b, B_EVENT, r->event);
	wire_opt_str(b, B_SENDER, r->sender);
	wire_opt_str(b, B_ENVID, r->envid);
	wire_opt_u64(b, B_RET, r->ret);
	wire_opt_u64(b, B_FLAGS, r->flags);
	wire_opt_u64(b, B_ARRIVED, r->arrived_us);
	wire_opt_str(b, B_CLIENT_NAME, r->client_name);
	wire_opt_str(b, B_CLIENT_IP, r->client_ip);
	wire_opt_str(b, B_TRACE, r->trace);
	wire_opt_u64(b, B_SIZE, r->size);
	for (size_t i = 0; i < r->n_rcpts; i++)
		rcpt_put(b, &r->rcpts[i]);
	wire_opt_str(b, B_CONTENT, r->content);
}

static int
rcpt_get(struct str body, struct bounce_rcpt *ret)
{
	struct wire_field f;
	uint64_t action = 0;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case R_ADDRESS: ret->address = f.v; break;
		case R_ORIGINAL: ret->original = f.v; break;
		case R_ORCPT: ret->orcpt = f.v; break;
		case R_ACTION: action = wire_int(&f); break;
		case R_SMTP: ret->smtp = (unsigned)wire_int(&f); break;
		case R_ENHANCED: ret->enhanced = f.v; break;
		case R_TEXT: ret->text = f.v; break;
		case R_MTA: ret->mta = f.v; break;
		case R_LAST: ret->last_attempt_ms = wire_int(&f); break;
		case R_UNTIL: ret->will_retry_until_ms = wire_int(&f); break;
		}
	}
	if (!rc && (!action || action >= BOUNCE_ACTION_MAX || !ret->address.n || ret->smtp > 599))
		return -EPROTO;
	ret->action = (enum bounce_action)action;
	return rc;
}

static int
request_field(struct bounce_request *q, const struct wire_field *f)
{
	switch (f->tag) {
	case B_KIND: q->kind = (enum bounce_kind)wire_int(f); break;
	case B_SPOOL_ID: q->spool_id = wire_int(f); break;
	case B_EVENT: q->event = wire_int(f); break;
	case B_SENDER: q->sender = f->v; break;
	case B_ENVID: q->envid = f->v; break;
	case B_RET: q->ret = (uint32_t)wire_int(f); break;
	case B_FLAGS: q->flags = (uint32_t)wire_int(f); break;
	case B_ARRIVED: q->arrived_us = wire_int(f); break;
	case B_CLIENT_NAME: q->client_name = f->v; break;
	case B_CLIENT_IP: q->client_ip = f->v; break;
	case B_TRACE: q->trace = f->v; break;
	case B_SIZE: q->size = wire_int(f); break;
	case B_CONTENT: q->content = f->v; break;
	case B_RCPT: return rcpt_get(f->v, &q->rcpts[q->n_rcpts++]);
	}
	return 0;
}

int
bounce_request_get(struct str body, struct arena *a, struct bounce_request *ret)
{
	struct bounce_request q = { 0 };
	struct wire_field f;
	size_t n = 0;
	int rc = wire_count(body, B_RCPT, &n);

	if (rc || !n || n > BOUNCE_RCPTS_MAX)
		return rc ? rc : -EPROTO;
	q.rcpts = ARENA_ARRAY(a, struct bounce_rcpt, n);
	if (!q.rcpts)
		return -ENOMEM;
	while ((rc = wire_next(&body, &f)) > 0)
		if ((rc = request_field(&q, &f)) < 0)
			return rc;
	if (rc < 0 || q.kind < BOUNCE_SENDER || q.kind > BOUNCE_POSTMASTER)
		return -EPROTO;
	*ret = q;
	return 0;
}

void
bounce_answer_put(struct buf *b, const struct bounce_answer *r)
{
	wire_u64(b, A_OUTCOME, r->outcome);
	wire_opt_u64(b, A_SPOOL_ID, r->spool_id);
	wire_opt_u64(b, A_SMTP, r->smtp);
	wire_opt_str(b, A_ENHANCED, r->enhanced);
	wire_opt_str(b, A_TEXT, r->text);
}

int
bounce_answer_get(struct str body, struct bounce_answer *ret)
{
	struct bounce_answer r = { 0 };
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case A_OUTCOME: r.outcome = (enum bounce_outcome)wire_int(&f); break;
		case A_SPOOL_ID: r.spool_id = wire_int(&f); break;
		case A_SMTP: r.smtp = (unsigned)wire_int(&f); break;
		case A_ENHANCED: r.enhanced = f.v; break;
		case A_TEXT: r.text = f.v; break;
		}
	}
	if (rc < 0 || r.outcome < BOUNCE_SENT || r.outcome > BOUNCE_DROPPED)
		return -EPROTO;
	*ret = r;
	return 0;
}
