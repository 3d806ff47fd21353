/* The deliver frame of relayd and its answer. The content is the last field. */
#include "lib/client/relay.h"

#include <errno.h>

enum {
	T_SPOOL_ID = 1, T_ARRIVED, T_SENDER, T_TRACE, T_ENVID, T_RET, T_BODY, T_FLAGS, T_PRIORITY,
	T_DELIVER_BY, T_NEXT_HOP, T_DOMAIN, T_MECH, T_USER, T_SECRET, T_SIZE, T_RCPT, T_EDITS,
	T_CONTENT = 100,
};
enum { T_R_ADDRESS = 1, T_R_ORCPT, T_R_NOTIFY };
enum { T_SITE = 1, T_SITE_TTL, T_UNREACHABLE, T_THROTTLED, T_SESSIONS, T_REUSED, T_RESULT };
enum { T_O_OUTCOME = 1, T_O_SMTP, T_O_ENHANCED, T_O_TEXT, T_O_MTA, T_O_DSN, T_O_REMOTE };

#define PRIORITY_BIAS 16 /* the wire has no negative integers */

/* ---- the request ---- */

static void
rcpt_put(struct buf *b, const struct relay_rcpt *r)
{
	size_t at = wire_begin(b, T_RCPT);

	wire_str(b, T_R_ADDRESS, r->address);
	wire_opt_str(b, T_R_ORCPT, r->orcpt);
	wire_opt_u64(b, T_R_NOTIFY, r->notify);
	wire_end(b, at);
}

void
relay_request_put(struct buf *b, const struct relay_request *r)
{
	wire_u64(b, T_SPOOL_ID, r->spool_id);
	wire_u64(b, T_ARRIVED, r->arrived_us);
	wire_opt_str(b, T_SENDER, r->sender);
	wire_opt_str(b, T_TRACE, r->trace);
	wire_opt_str(b, T_ENVID, r->envid);
	wire_opt_u64(b, T_RET, r->ret);
	wire_opt_u64(b, T_BODY, r->body);
	wire_opt_u64(b, T_FLAGS, r->flags);
	if (r->priority)
		wire_u64(b, T_PRIORITY, (uint64_t)(r->priority + PRIORITY_BIAS));
	wire_opt_u64(b, T_DELIVER_BY, r->deliver_by_ms);
	wire_opt_str(b, T_NEXT_HOP, r->next_hop);
	wire_opt_str(b, T_DOMAIN, r->domain);
	wire_opt_str(b, T_MECH, r->credential.mech);
	wire_opt_str(b, T_USER, r->credential.user);
	wire_opt_str(b, T_SECRET, r->credential.secret);
	wire_opt_str(b, T_EDITS, r->edits);
	wire_opt_u64(b, T_SIZE, r->size);
	for (size_t i = 0; i < r->n_rcpts; i++)
		rcpt_put(b, &r->rcpts[i]);
	wire_opt_str(b, T_CONTENT, r->content);
}

static int
rcpt_get(struct str body, struct relay_rcpt *ret)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_R_ADDRESS: ret->address = f.v; break;
		case T_R_ORCPT: ret->orcpt = f.v; break;
		case T_R_NOTIFY: ret->notify = (uint32_t)wire_int(&f); break;
		}
	}
	return r;
}

static void
request_field(struct relay_request *q, const struct wire_field *f)
{
	switch (f->tag) {
	case T_SPOOL_ID: q->spool_id = wire_int(f); break;
	case T_ARRIVED: q->arrived_us = wire_int(f); break;
	case T_SENDER: q->sender = f->v; break;
	case T_TRACE: q->trace = f->v; break;
	case T_ENVID: q->envid = f->v; break;
	case T_RET: q->ret = (uint32_t)wire_int(f); break;
	case T_BODY: q->body = (uint32_t)wire_int(f); break;
	case T_FLAGS: q->flags = (uint32_t)wire_int(f); break;
	case T_PRIORITY: q->priority = (int32_t)wire_int(f) - PRIORITY_BIAS; break;
	case T_DELIVER_BY: q->deliver_by_ms = wire_int(f); break;
	case T_NEXT_HOP: q->next_hop = f->v; break;
	case T_DOMAIN: q->domain = f->v; break;
	case T_MECH: q->credential.mech = f->v; break;
	case T_USER: q->credential.user = f->v; break;
	case T_SECRET: q->credential.secret = f->v; break;
	case T_EDITS: q->edits = f->v; break;
	case T_SIZE: q->size = wire_int(f); break;
	case T_CONTENT: q->content = f->v; break;
	}
}

int
relay_request_get(struct str body, struct arena *a, struct relay_request *ret)
{
	struct relay_request q = { 0 };
	struct wire_field f;
	size_t n = 0;
	int r;

	r = wire_count(body, T_RCPT, &n);
	if (r < 0)
		return r;
	if (!n || n > RELAY_RCPTS_MAX)
		return -EPROTO;
	q.rcpts = ARENA_ARRAY(a, struct relay_rcpt, n);
	if (!q.rcpts)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag != T_RCPT)
			request_field(&q, &f);
		else if ((r = rcpt_get(f.v, &q.rcpts[q.n_rcpts++])) < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret = q;
	return 0;
}

/* ---- the answer ---- */

static void
result_put(struct buf *b, const struct relay_result *r)
{
	size_t at = wire_begin(b, T_RESULT);

	wire_u64(b, T_O_OUTCOME, r->outcome);
	wire_opt_u64(b, T_O_SMTP, r->smtp);
	wire_opt_str(b, T_O_ENHANCED, r->enhanced);
	wire_opt_str(b, T_O_TEXT, str_head(r->text, RELAY_TEXT_MAX));
	wire_opt_str(b, T_O_MTA, r->mta);
	wire_opt_u64(b, T_O_DSN, r->dsn);
	wire_opt_u64(b, T_O_REMOTE, r->remote);
	wire_end(b, at);
}

void
relay_answer_put(struct buf *b, const struct relay_answer *r)
{
	wire_opt_str(b, T_SITE, r->site);
	wire_opt_u64(b, T_SITE_TTL, r->site_ttl_ms);
	wire_opt_u64(b, T_UNREACHABLE, r->unreachable);
	wire_opt_u64(b, T_THROTTLED, r->throttled);
	wire_opt_u64(b, T_SESSIONS, r->sessions);
	wire_opt_u64(b, T_REUSED, r->reused);
	for (size_t i = 0; i < r->n_rcpts; i++)
		result_put(b, &r->rcpts[i]);
}

static int
result_get(struct str body, struct relay_result *ret)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_O_OUTCOME: ret->outcome = (enum relay_outcome)wire_int(&f); break;
		case T_O_SMTP: ret->smtp = (unsigned)wire_int(&f); break;
		case T_O_ENHANCED: ret->enhanced = f.v; break;
		case T_O_TEXT: ret->text = f.v; break;
		case T_O_MTA: ret->mta = f.v; break;
		case T_O_DSN: ret->dsn = wire_int(&f) != 0; break;
		case T_O_REMOTE: ret->remote = wire_int(&f) != 0; break;
		}
	}
	if (r == 0 && (ret->outcome < RELAY_DONE || ret->outcome > RELAY_REJECT))
		return -EPROTO;
	return r;
}

static void
answer_field(struct relay_answer *q, const struct wire_field *f)
{
	switch (f->tag) {
	case T_SITE: q->site = f->v; break;
	case T_SITE_TTL: q->site_ttl_ms = wire_int(f); break;
	case T_UNREACHABLE: q->unreachable = wire_int(f) != 0; break;
	case T_THROTTLED: q->throttled = wire_int(f) != 0; break;
	case T_SESSIONS: q->sessions = (unsigned)wire_int(f); break;
	case T_REUSED: q->reused = wire_int(f) != 0; break;
	}
}

int
relay_answer_get(struct str body, struct arena *a, struct relay_answer *ret)
{
	struct relay_answer q = { 0 };
	struct wire_field f;
	size_t n = 0;
	int r;

	r = wire_count(body, T_RESULT, &n);
	if (r < 0)
		return r;
	if (n > RELAY_RCPTS_MAX)
		return -EPROTO;
	q.rcpts = ARENA_ARRAY(a, struct relay_result, n + 1);
	if (!q.rcpts)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag != T_RESULT)
			answer_field(&q, &f);
		else if ((r = result_get(f.v, &q.rcpts[q.n_rcpts++])) < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret = q;
	return 0;
}
