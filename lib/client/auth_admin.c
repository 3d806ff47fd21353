/* The directory's admin frames; see auth_admin.h. */
#include "lib/client/auth_admin.h"

#include <errno.h>

enum { T_OP = 1, T_NAME, T_PASSWORD, T_POSTMASTER, T_QUOTA, T_PURGE, T_TARGETS, T_KEEP, T_LABEL };

void
auth_admin_put(struct buf *b, const struct auth_admin *q)
{
	wire_u64(b, T_OP, q->op);
	wire_str(b, T_NAME, q->name);
	wire_str(b, T_PASSWORD, q->password);
	wire_str(b, T_POSTMASTER, q->postmaster);
	wire_u64(b, T_QUOTA, q->quota);
	wire_u64(b, T_PURGE, q->purge);
	wire_str(b, T_TARGETS, q->targets);
	wire_u64(b, T_KEEP, q->keep);
	if (q->label.n)
		wire_str(b, T_LABEL, q->label);
}

int
auth_admin_get(struct str body, struct auth_admin *ret)
{
	struct auth_admin q = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_OP: q.op = (enum auth_op)wire_int(&f); break;
		case T_NAME: q.name = f.v; break;
		case T_PASSWORD: q.password = f.v; break;
		case T_POSTMASTER: q.postmaster = f.v; break;
		case T_QUOTA: q.quota = wire_int(&f); break;
		case T_PURGE: q.purge = wire_int(&f) != 0; break;
		case T_TARGETS: q.targets = f.v; break;
		case T_KEEP: q.keep = wire_int(&f) != 0; break;
		case T_LABEL: q.label = f.v; break;
		}
	}
	if (r < 0 || q.op < AUTH_USER_ADD || q.op >= AUTH_OP_MAX)
		return -EPROTO;
	*ret = q;
	return 0;
}

enum { T_ROW = 1 };
enum { T_R_NAME = 1, T_R_ACCOUNT, T_R_GENERATION, T_R_VOLUME, T_R_SLOT, T_R_STATE, T_R_QUOTA,
	T_R_CREATED, T_R_CHANGED, T_R_POSTMASTER, T_R_ACCOUNTS, T_R_CONFIGURED, T_R_TARGETS,
	T_R_KEEP };

void
auth_row_put(struct buf *b, const struct auth_row *r)
{
	size_t at = wire_begin(b, T_ROW);

	wire_str(b, T_R_NAME, r->name);
	wire_u64(b, T_R_ACCOUNT, r->account);
	wire_u64(b, T_R_GENERATION, r->generation);
	wire_u64(b, T_R_VOLUME, r->volume);
	wire_u64(b, T_R_SLOT, r->slot);
	wire_u64(b, T_R_STATE, r->state);
	wire_u64(b, T_R_QUOTA, r->quota);
	wire_u64(b, T_R_CREATED, r->created_ms);
	wire_u64(b, T_R_CHANGED, r->changed_ms);
	wire_str(b, T_R_POSTMASTER, r->postmaster);
	wire_u64(b, T_R_ACCOUNTS, r->accounts);
	wire_u64(b, T_R_CONFIGURED, r->configured);
	wire_str(b, T_R_TARGETS, r->targets);
	wire_u64(b, T_R_KEEP, r->keep);
	wire_end(b, at);
}

static int
row_get(struct str body, struct auth_row *ret)
{
	struct auth_row a = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_R_NAME: a.name = f.v; break;
		case T_R_ACCOUNT: a.account = wire_int(&f); break;
		case T_R_GENERATION: a.generation = wire_int(&f); break;
		case T_R_VOLUME: a.volume = (uint32_t)wire_int(&f); break;
		case T_R_SLOT: a.slot = (uint32_t)wire_int(&f); break;
		case T_R_STATE: a.state = (enum auth_state)wire_int(&f); break;
		case T_R_QUOTA: a.quota = wire_int(&f); break;
		case T_R_CREATED: a.created_ms = wire_int(&f); break;
		case T_R_CHANGED: a.changed_ms = wire_int(&f); break;
		case T_R_POSTMASTER: a.postmaster = f.v; break;
		case T_R_ACCOUNTS: a.accounts = wire_int(&f); break;
		case T_R_CONFIGURED: a.configured = wire_int(&f) != 0; break;
		case T_R_TARGETS: a.targets = f.v; break;
		case T_R_KEEP: a.keep = wire_int(&f) != 0; break;
		}
	}
	if (r < 0)
		return r;
	*ret = a;
	return 0;
}

int
auth_row_next(struct str *body, struct auth_row *ret)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(body, &f)) > 0)
		if (f.tag == T_ROW)
			return (r = row_get(f.v, ret)) < 0 ? r : 1;
	return r;
}
