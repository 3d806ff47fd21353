/* Codecs of the admin's verbs on the store; see store_admin.h. */
#include "lib/client/store_admin.h"

#include <errno.h>

enum { X_VERB = 1, X_ACCOUNT, X_VOLUME, X_DEEP };
enum { I_ITEM = 1 };
enum {
	I_KIND = 1, I_NAME, I_MAILBOX, I_UID, I_PATH, I_TEXT, I_VALUE, I_TOTAL, I_UNSEEN, I_BYTES,
	I_UIDNEXT, I_UIDVALIDITY,
};

void
store_admin_put(struct buf *b, const struct store_admin *r)
{
	wire_u64(b, X_VERB, r->verb);
	wire_u64(b, X_ACCOUNT, r->account);
	wire_u64(b, X_VOLUME, r->volume);
	wire_u64(b, X_DEEP, r->deep);
}

int
store_admin_get(struct str body, struct store_admin *ret)
{
	struct store_admin q = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case X_VERB: q.verb = (enum store_admin_verb)wire_int(&f); break;
		case X_ACCOUNT: q.account = wire_int(&f); break;
		case X_VOLUME: q.volume = (uint32_t)wire_int(&f); break;
		case X_DEEP: q.deep = wire_int(&f) != 0; break;
		}
	}
	if (r == 0)
		*ret = q;
	return r;
}

void
store_item_put(struct buf *b, const struct store_item *i)
{
	size_t at = wire_begin(b, I_ITEM);

	wire_u64(b, I_KIND, i->kind);
	wire_str(b, I_NAME, i->name);
	if (i->kind == STORE_FINDING) {
		wire_str(b, I_MAILBOX, i->mailbox);
		wire_u64(b, I_UID, i->uid);
		wire_str(b, I_PATH, i->path);
		wire_str(b, I_TEXT, i->text);
	} else if (i->kind == STORE_COUNT) {
		wire_u64(b, I_VALUE, i->value);
	} else {
		wire_u64(b, I_TOTAL, i->box.total);
		wire_u64(b, I_UNSEEN, i->box.unseen);
		wire_u64(b, I_BYTES, i->box.bytes);
		wire_u64(b, I_UIDNEXT, i->box.uidnext);
		wire_u64(b, I_UIDVALIDITY, i->box.uidvalidity);
	}
	wire_end(b, at);
}

static int
item_get(struct str body, struct store_item *i)
{
	struct wire_field f;
	int r;

	*i = (struct store_item){ 0 };
	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case I_KIND: i->kind = (enum store_item_kind)wire_int(&f); break;
		case I_NAME: i->name = f.v; break;
		case I_MAILBOX: i->mailbox = f.v; break;
		case I_UID: i->uid = (uint32_t)wire_int(&f); break;
		case I_PATH: i->path = f.v; break;
		case I_TEXT: i->text = f.v; break;
		case I_VALUE: i->value = wire_int(&f); break;
		case I_TOTAL: i->box.total = (uint32_t)wire_int(&f); break;
		case I_UNSEEN: i->box.unseen = (uint32_t)wire_int(&f); break;
		case I_BYTES: i->box.bytes = wire_int(&f); break;
		case I_UIDNEXT: i->box.uidnext = (uint32_t)wire_int(&f); break;
		case I_UIDVALIDITY: i->box.uidvalidity = (uint32_t)wire_int(&f); break;
		}
	}
	return r;
}

int
store_item_next(struct str *body, struct store_item *ret)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(body, &f)) > 0)
		if (f.tag == I_ITEM)
			return item_get(f.v, ret) < 0 ? -EPROTO : 1;
	return r;
}
