/* Questions about what addresses become, and their codecs; see rewrite.h. */
#include "lib/client/rewrite.h"

#include <errno.h>

#define ASK_MS 30000

enum { T_ASK = 1, T_KIND, T_ADDRESS };
enum { T_STAYS = 1, T_BECOMES };

static bool
by_classes(const struct settings *s, unsigned class)
{
	bool sender = class & (CONF_CLASS_SENDER | CONF_CLASS_HEADER_SENDER);

	return (s->canonical.n && s->canonical_classes & class) ||
	    (sender && s->sender_canonical.n && s->sender_canonical_classes & class) ||
	    (!sender && s->recipient_canonical.n && s->recipient_canonical_classes & class) ||
	    (s->masquerade_domains.n && s->masquerade_classes & class);
}

bool
rewrite_wanted(const struct settings *s, enum rewrite_kind kind)
{
	switch (kind) {
	case REWRITE_SENDER: return by_classes(s, CONF_CLASS_SENDER);
	case REWRITE_RCPT: return by_classes(s, CONF_CLASS_RCPT);
	case REWRITE_HEADER_SENDER: return by_classes(s, CONF_CLASS_HEADER_SENDER);
	case REWRITE_HEADER_RCPT: return by_classes(s, CONF_CLASS_HEADER_RCPT);
	case REWRITE_GENERIC: return s->generic.n > 0;
	case REWRITE_COPY_SENDER: return s->sender_bcc.n > 0;
	case REWRITE_COPY_RCPT: return s->recipient_bcc.n > 0;
	}
	return false;
}

void
rewrite_request_put(struct buf *b, const struct rewrite_ask *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = wire_begin(b, T_ASK);

		wire_u64(b, T_KIND, v[i].kind);
		wire_str(b, T_ADDRESS, v[i].address);
		wire_end(b, at);
	}
}

static int
ask_get(struct str body, struct rewrite_ask *ret)
{
	struct rewrite_ask q = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case T_KIND: q.kind = (enum rewrite_kind)wire_int(&f); break;
		case T_ADDRESS: q.address = f.v; break;
		}
	}
	if (r < 0 || q.kind < REWRITE_SENDER || q.kind > REWRITE_COPY_RCPT || !q.address.p)
		return -EPROTO;
	*ret = q;
	return 0;
}

int
rewrite_request_get(struct str body, struct rewrite_ask *ret, size_t *ret_n)
{
	struct wire_field f;
	size_t n = 0;
	int r;

	while ((r = wire_next(&body, &f)) > 0)
		if (f.tag == T_ASK && (n == REWRITE_ASKS_MAX || ask_get(f.v, &ret[n++])))
			return -EPROTO;
	*ret_n = n;
	return r < 0 || !n ? -EPROTO : 0;
}

void
rewrite_answer_put(struct buf *b, const struct str *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		wire_str(b, v[i].p ? T_BECOMES : T_STAYS, v[i].p ? v[i] : STR(""));
}

int
rewrite_answer_get(struct str body, struct str *ret, size_t n)
{
	struct wire_field f;
	size_t i = 0;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		if (i == n || (f.tag != T_BECOMES && f.tag != T_STAYS))
			return -EPROTO;
		ret[i++] = f.tag == T_BECOMES ? f.v : STR_NULL;
	}
	return r < 0 || i != n ? -EPROTO : 0;
}

int
auth_rewrite(const struct rewrite_ask *v, size_t n, struct arena *a, struct str *ret)
{
	struct wire_error we = { 0 };
	struct frame f;
	int r = 0;

	for (size_t at = 0, k; at < n && !r; at += k) {
		struct chan *c = chan_to(ROLE_AUTHD, 0);
		struct buf b = { 0 };

		k = n - at < REWRITE_ASKS_MAX ? n - at : REWRITE_ASKS_MAX;
		rewrite_request_put(&b, v + at, k);
		r = c ? chan_call_buf(c, MSG_AUTH_REWRITE, &b, ASK_MS, a, &f, &we) : -ENOTCONN;
		buf_done(&b);
		if (!r)
			r = rewrite_answer_get(f.body, ret + at, k);
	}
	return r;
}
