/*
 * Where mail goes, as authd tells it: the codecs of the question and the answer, and
 * the recipients that an answer makes; see auth.h.
 */
#include <errno.h>

#include "lib/client/auth.h"

enum { T_RQ_ADDRESS = 1, T_RQ_SENDER, T_RQ_WHOSE };

void
resolve_request_put(struct buf *b, const struct resolve_request *q)
{
	wire_str(b, T_RQ_ADDRESS, q->address);
	if (q->sender.n)
		wire_str(b, T_RQ_SENDER, q->sender);
	if (q->whose)
		wire_u64(b, T_RQ_WHOSE, 1);
}

int
resolve_request_get(struct str body, struct resolve_request *ret)
{
	struct resolve_request q = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_RQ_ADDRESS: q.address = f.v; break;
		case T_RQ_SENDER: q.sender = f.v; break;
		case T_RQ_WHOSE: q.whose = wire_int(&f) != 0; break;
		}
	}
	if (r < 0 || !q.address.p)
		return -EPROTO;
	*ret = q;
	return 0;
}

enum { T_R_KIND = 1, T_R_ACCOUNT, T_R_VOLUME, T_R_SLOT, T_R_QUOTA, T_R_ADDRESS, T_R_DETAIL,
	T_R_OPEN, T_R_BY_SENDER, T_R_NEXT_HOP, T_R_SMTP, T_R_ENHANCED, T_R_TEXT, T_R_TARGET,
	T_R_ROUTE, T_R_SENDER };

static void
str_given(struct buf *b, uint16_t tag, struct str v)
{
	if (v.n)
		wire_str(b, tag, v);
}

static void
target_put(struct buf *b, const struct resolve_target *t)
{
	size_t start = wire_begin(b, T_R_TARGET);

	wire_u64(b, T_R_ROUTE, t->route);
	if (t->route == ROUTE_LOCAL) {
		wire_u64(b, T_R_ACCOUNT, t->account);
		wire_u64(b, T_R_VOLUME, t->volume);
		wire_u64(b, T_R_SLOT, t->slot);
		wire_u64(b, T_R_QUOTA, t->quota);
	}
	wire_str(b, T_R_ADDRESS, t->address);
	str_given(b, T_R_DETAIL, t->detail);
	str_given(b, T_R_NEXT_HOP, t->next_hop);
	str_given(b, T_R_SENDER, t->sender);
	wire_end(b, start);
}

static int
target_get(struct str body, struct resolve_target *ret)
{
	struct resolve_target t = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_R_ROUTE: t.route = (enum rcpt_route)wire_int(&f); break;
		case T_R_ACCOUNT: t.account = wire_int(&f); break;
		case T_R_VOLUME: t.volume = (uint32_t)wire_int(&f); break;
		case T_R_SLOT: t.slot = (uint32_t)wire_int(&f); break;
		case T_R_QUOTA: t.quota = wire_int(&f); break;
		case T_R_ADDRESS: t.address = f.v; break;
		case T_R_DETAIL: t.detail = f.v; break;
		case T_R_NEXT_HOP: t.next_hop = f.v; break;
		case T_R_SENDER: t.sender = f.v; break;
		}
	}
	if (r < 0 || t.route < ROUTE_LOCAL || t.route > ROUTE_PIPE)
		return -EPROTO;
	*ret = t;
	return 0;
}

void
resolve_answer_put(struct buf *b, const struct resolve_answer *r)
{
	wire_u64(b, T_R_KIND, r->kind);
	wire_u64(b, T_R_OPEN, r->open);
	wire_u64(b, T_R_BY_SENDER, r->by_sender);
	if (r->kind == RESOLVE_ACCOUNT) {
		wire_u64(b, T_R_ACCOUNT, r->account);
		wire_u64(b, T_R_VOLUME, r->volume);
		wire_u64(b, T_R_SLOT, r->slot);
		wire_u64(b, T_R_QUOTA, r->quota);
	}
	str_given(b, T_R_ADDRESS, r->address);
	str_given(b, T_R_DETAIL, r->detail);
	str_given(b, T_R_NEXT_HOP, r->next_hop);
	if (r->kind == RESOLVE_REJECT) {
		wire_u64(b, T_R_SMTP, r->smtp);
		wire_str(b, T_R_ENHANCED, r->enhanced);
		wire_str(b, T_R_TEXT, r->text);
	}
	for (size_t i = 0; i < r->n_targets; i++)
		target_put(b, &r->targets[i]);
}

static int
targets_get(struct str body, struct arena *a, struct resolve_answer *ret)
{
	struct resolve_target *v;
	struct wire_field f;
	size_t n, i = 0;

	if (wire_count(body, T_R_TARGET, &n) || (ret->kind == RESOLVE_LIST) != (n > 0) ||
	    n > RESOLVE_TARGETS_MAX)
		return -EPROTO;
	if (!n)
		return 0;
	v = ARENA_ARRAY(a, struct resolve_target, n);
	if (!v)
		return -ENOMEM;
	while (i < n && wire_next(&body, &f) > 0)
		if (f.tag == T_R_TARGET && target_get(f.v, &v[i++]))
			return -EPROTO;
	ret->targets = v;
	ret->n_targets = n;
	return 0;
}

int
resolve_answer_get(struct str body, struct arena *a, struct resolve_answer *ret)
{
	struct resolve_answer ans = { 0 };
	struct str rest = body;
	struct wire_field f;
	int r;

	while ((r = wire_next(&rest, &f)) > 0) {
		switch (f.tag) {
		case T_R_KIND: ans.kind = (enum resolve_kind)wire_int(&f); break;
		case T_R_OPEN: ans.open = wire_int(&f) != 0; break;
		case T_R_BY_SENDER: ans.by_sender = wire_int(&f) != 0; break;
		case T_R_ACCOUNT: ans.account = wire_int(&f); break;
		case T_R_VOLUME: ans.volume = (uint32_t)wire_int(&f); break;
		case T_R_SLOT: ans.slot = (uint32_t)wire_int(&f); break;
		case T_R_QUOTA: ans.quota = wire_int(&f); break;
		case T_R_ADDRESS: ans.address = f.v; break;
		case T_R_DETAIL: ans.detail = f.v; break;
		case T_R_NEXT_HOP: ans.next_hop = f.v; break;
		case T_R_SMTP: ans.smtp = (unsigned)wire_int(&f); break;
		case T_R_ENHANCED: ans.enhanced = f.v; break;
		case T_R_TEXT: ans.text = f.v; break;
		}
	}
	if (r < 0 || ans.kind < RESOLVE_ACCOUNT || ans.kind > RESOLVE_REJECT ||
	    (ans.kind == RESOLVE_REJECT && (ans.smtp < 400 || ans.smtp > 599)))
		return -EPROTO;
	r = targets_get(body, a, &ans);
	if (!r)
		*ret = ans;
	return r;
}

size_t
resolve_deliveries(const struct resolve_answer *r)
{
	if (r->kind == RESOLVE_LIST)
		return r->n_targets;
	return r->kind == RESOLVE_ACCOUNT || r->kind == RESOLVE_NOT_LOCAL;
}

void
resolve_rcpt(const struct resolve_answer *r, size_t i, struct str original,
    struct envelope_rcpt *ret)
{
	const struct resolve_target one = {
		.route = r->kind == RESOLVE_ACCOUNT ? ROUTE_LOCAL : ROUTE_REMOTE,
		.account = r->account, .volume = r->volume, .slot = r->slot, .quota = r->quota,
		.address = r->address.n ? r->address : original, .detail = r->detail,
		.next_hop = r->next_hop };
	const struct resolve_target *t = r->kind == RESOLVE_LIST ? &r->targets[i] : &one;

	ret->address = t->address;
	ret->original = original;
	ret->route = t->route;
	ret->account = t->account;
	ret->volume = t->volume;
	ret->slot = t->slot;
	ret->quota = t->quota;
	ret->next_hop = t->next_hop;
	ret->detail = t->detail;
	ret->sender = t->sender;
}
