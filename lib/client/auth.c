/* authd's callers: log-in, renewal, account records, and all calls; see auth.h. */
#include "lib/client/auth.h"

#include <errno.h>

#define ASK_MS 10000
#define LOGIN_MS 60000 /* above the longest delay on failures */

enum { T_ASK = 1, T_ASK_ID };

void
auth_ask_put(struct buf *b, struct str what)
{
	wire_str(b, T_ASK, what);
}

void
auth_ask_id_put(struct buf *b, uint64_t account)
{
	wire_u64(b, T_ASK_ID, account);
}

static int
ask_get(struct str body, uint16_t tag, struct wire_field *ret)
{
	struct wire_field f;
	int r, got = -EPROTO;

	while ((r = wire_next(&body, &f)) > 0)
		if (f.tag == tag)
			*ret = f, got = 0;
	return r ? r : got;
}

int
auth_ask_get(struct str body, struct str *ret)
{
	struct wire_field f;
	int r = ask_get(body, T_ASK, &f);

	if (!r)
		*ret = f.v;
	return r;
}

int
auth_ask_id_get(struct str body, uint64_t *ret)
{
	struct wire_field f;
	int r = ask_get(body, T_ASK_ID, &f);

	if (!r)
		*ret = wire_int(&f);
	return r;
}

/* ---- log-in ---- */

enum { T_Q_MECH = 1, T_Q_USER, T_Q_PASSWORD, T_Q_AUTHZID, T_Q_SERVICE, T_Q_CLIENT, T_Q_TLS,
	T_Q_MESSAGE, T_Q_STATE, T_Q_EXPORTER, T_Q_END_POINT };

void
login_request_put(struct buf *b, const struct login_request *r)
{
	wire_str(b, T_Q_MECH, r->mech);
	wire_str(b, T_Q_USER, r->user);
	wire_str(b, T_Q_PASSWORD, r->password);
	if (r->authzid.n)
		wire_str(b, T_Q_AUTHZID, r->authzid);
	wire_str(b, T_Q_SERVICE, r->service);
	wire_str(b, T_Q_CLIENT, r->client_ip);
	if (r->tls)
		wire_u64(b, T_Q_TLS, 1);
	if (r->message.p)
		wire_str(b, T_Q_MESSAGE, r->message);
	if (r->state.n)
		wire_str(b, T_Q_STATE, r->state);
	if (r->bind_exporter.n)
		wire_str(b, T_Q_EXPORTER, r->bind_exporter);
	if (r->bind_end_point.n)
		wire_str(b, T_Q_END_POINT, r->bind_end_point);
}

int
login_request_get(struct str body, struct login_request *ret)
{
	struct login_request q = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_Q_MECH: q.mech = f.v; break;
		case T_Q_USER: q.user = f.v; break;
		case T_Q_PASSWORD: q.password = f.v; break;
		case T_Q_AUTHZID: q.authzid = f.v; break;
		case T_Q_SERVICE: q.service = f.v; break;
		case T_Q_CLIENT: q.client_ip = f.v; break;
		case T_Q_TLS: q.tls = wire_int(&f) != 0; break;
		case T_Q_MESSAGE: q.message = f.v; break;
		case T_Q_STATE: q.state = f.v; break;
		case T_Q_EXPORTER: q.bind_exporter = f.v; break;
		case T_Q_END_POINT: q.bind_end_point = f.v; break;
		}
	}
	if (r < 0)
		return r;
	*ret = q;
	return 0;
}

enum { T_A_OK = 1, T_A_TEMPORARY, T_A_ACCOUNT, T_A_VOLUME, T_A_SLOT, T_A_USER, T_A_TICKET,
	T_A_EXPIRES, T_A_TEXT, T_A_MORE, T_A_MESSAGE, T_A_STATE };

void
login_answer_put(struct buf *b, const struct login_answer *r)
{
	wire_u64(b, T_A_OK, r->ok);
	wire_u64(b, T_A_TEMPORARY, r->temporary);
	if (r->ok) {
		wire_u64(b, T_A_ACCOUNT, r->account);
		wire_u64(b, T_A_VOLUME, r->volume);
		wire_u64(b, T_A_SLOT, r->slot);
		wire_str(b, T_A_USER, r->user);
		wire_str(b, T_A_TICKET, r->ticket);
		wire_u64(b, T_A_EXPIRES, r->ticket_expires_ms);
	}
	if (r->text.n)
		wire_str(b, T_A_TEXT, r->text);
	if (r->more)
		wire_u64(b, T_A_MORE, 1);
	if (r->message.n)
		wire_str(b, T_A_MESSAGE, r->message);
	if (r->state.n)
		wire_str(b, T_A_STATE, r->state);
}

int
login_answer_get(struct str body, struct login_answer *ret)
{
	struct login_answer a = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_A_OK: a.ok = wire_int(&f) != 0; break;
		case T_A_TEMPORARY: a.temporary = wire_int(&f) != 0; break;
		case T_A_ACCOUNT: a.account = wire_int(&f); break;
		case T_A_VOLUME: a.volume = (uint32_t)wire_int(&f); break;
		case T_A_SLOT: a.slot = (uint32_t)wire_int(&f); break;
		case T_A_USER: a.user = f.v; break;
		case T_A_TICKET: a.ticket = f.v; break;
		case T_A_EXPIRES: a.ticket_expires_ms = wire_int(&f); break;
		case T_A_TEXT: a.text = f.v; break;
		case T_A_MORE: a.more = wire_int(&f) != 0; break;
		case T_A_MESSAGE: a.message = f.v; break;
		case T_A_STATE: a.state = f.v; break;
		}
	}
	if (r < 0)
		return r;
	*ret = a;
	return 0;
}

/* ---- account records ---- */

enum { T_C_ACCOUNT = 1, T_C_GENERATION, T_C_VOLUME, T_C_SLOT, T_C_QUOTA, T_C_ENABLED, T_C_ADDRESS,
	T_C_DELETED, T_C_PURGE };

void
account_record_put(struct buf *b, const struct account_record *r)
{
	wire_u64(b, T_C_ACCOUNT, r->account);
	wire_u64(b, T_C_GENERATION, r->generation);
	wire_u64(b, T_C_VOLUME, r->volume);
	wire_u64(b, T_C_SLOT, r->slot);
	wire_u64(b, T_C_QUOTA, r->quota);
	wire_u64(b, T_C_ENABLED, r->enabled);
	wire_str(b, T_C_ADDRESS, r->address);
}

int
account_record_get(struct str body, struct account_record *ret)
{
	struct account_record a = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_C_ACCOUNT: a.account = wire_int(&f); break;
		case T_C_GENERATION: a.generation = wire_int(&f); break;
		case T_C_VOLUME: a.volume = (uint32_t)wire_int(&f); break;
		case T_C_SLOT: a.slot = (uint32_t)wire_int(&f); break;
		case T_C_QUOTA: a.quota = wire_int(&f); break;
		case T_C_ENABLED: a.enabled = wire_int(&f) != 0; break;
		case T_C_ADDRESS: a.address = f.v; break;
		}
	}
	if (r < 0)
		return r;
	*ret = a;
	return 0;
}

void
auth_changed_put(struct buf *b, const struct auth_changed *c)
{
	wire_u64(b, T_C_ACCOUNT, c->account);
	wire_u64(b, T_C_GENERATION, c->generation);
	wire_u64(b, T_C_VOLUME, c->volume);
	wire_u64(b, T_C_SLOT, c->slot);
	wire_u64(b, T_C_ENABLED, c->enabled);
	wire_u64(b, T_C_DELETED, c->deleted);
	wire_u64(b, T_C_PURGE, c->purge);
	wire_str(b, T_C_ADDRESS, c->address);
}

int
auth_changed_get(struct str body, struct auth_changed *ret)
{
	struct auth_changed c = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_C_ACCOUNT: c.account = wire_int(&f); break;
		case T_C_GENERATION: c.generation = wire_int(&f); break;
		case T_C_VOLUME: c.volume = (uint32_t)wire_int(&f); break;
		case T_C_SLOT: c.slot = (uint32_t)wire_int(&f); break;
		case T_C_ENABLED: c.enabled = wire_int(&f) != 0; break;
		case T_C_DELETED: c.deleted = wire_int(&f) != 0; break;
		case T_C_PURGE: c.purge = wire_int(&f) != 0; break;
		case T_C_ADDRESS: c.address = f.v; break;
		}
	}
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}

/* ---- calls ---- */

/* Asks authd; the answer's body is in the arena. Empties b. */
static int
ask(uint16_t type, struct buf *b, uint64_t ms, struct arena *a, struct str *ret_body)
{
	struct chan *c = chan_to(ROLE_AUTHD, 0);
	struct wire_error we = { 0 };
	struct frame f;
	int r = c ? chan_call_buf(c, type, b, ms, a, &f, &we) : -ENOTCONN;

	buf_done(b);
	if (!r)
		*ret_body = f.body;
	return r;
}

static int
ask_resolve(const struct resolve_request *q, struct arena *a, struct resolve_answer *ret)
{
	struct buf b = { 0 };
	struct str body;
	int r;

	resolve_request_put(&b, q);
	r = ask(MSG_AUTH_RESOLVE, &b, ASK_MS, a, &body);
	return r ? r : resolve_answer_get(body, a, ret);
}

int
auth_resolve(struct str address, struct str sender, struct arena *a, struct resolve_answer *ret)
{
	return ask_resolve(&(struct resolve_request){ .address = address, .sender = sender }, a, ret);
}

int
auth_whose(struct str address, struct arena *a, struct resolve_answer *ret)
{
	return ask_resolve(&(struct resolve_request){ .address = address, .whose = true }, a, ret);
}

static int
ask_login(uint16_t type, struct buf *b, uint64_t ms, struct arena *a, struct login_answer *ret)
{
	struct str body;
	int r = ask(type, b, ms, a, &body);

	if (!r)
		r = login_answer_get(body, ret);
	if (r)
		*ret = (struct login_answer){ .temporary = true, .text = STR("authd did not answer") };
	return r;
}

int
auth_login(const struct login_request *q, struct arena *a, struct login_answer *ret)
{
	struct buf b = { 0 };

	login_request_put(&b, q);
	return ask_login(MSG_AUTH_LOGIN, &b, LOGIN_MS, a, ret);
}

int
auth_renew(struct str ticket, struct arena *a, struct login_answer *ret)
{
	struct buf b = { 0 };
	int r;

	auth_ask_put(&b, ticket);
	r = ask_login(MSG_AUTH_RENEW, &b, ASK_MS, a, ret);
	if (r)
		return r;
	if (ret->temporary)
		return -EAGAIN;
	return ret->ok ? 0 : -EACCES;
}

int
auth_account(uint64_t account, struct arena *a, struct account_record *ret)
{
	struct buf b = { 0 };
	struct str body;
	int r;

	auth_ask_id_put(&b, account);
	r = ask(MSG_AUTH_ACCOUNT, &b, ASK_MS, a, &body);
	return r ? r : account_record_get(body, ret);
}
