/*
 * The coding of an envelope: fields of lib/base/tlv.h in the frames of smtpd,
 * submitd and queued and in the spool's records. A row of the tables below ties a
 * tag to a member; integers of value 0 and empty strings are not written. A tag
 * without a row goes to `extra`, byte for byte, and is written again, so that what
 * a newer program said survives an older one.
 *
 * Tags never change their meaning; a new one gets a new number.
 */
#include "lib/mail/envelope.h"

#include <errno.h>

#include "lib/base/tlv.h"

enum kind { K_STR, K_U32, K_U64, K_I32 };

struct row {
	uint16_t tag;
	enum kind kind;
	size_t off;
};

#define ROW(tag, kind, type, member) { tag, kind, offsetof(struct type, member) }

enum { TAG_RCPT = 64 };

static const struct row env_rows[] = {
	ROW(1, K_STR, envelope, sender),
	ROW(2, K_STR, envelope, client_name),
	ROW(3, K_STR, envelope, client_ip),
	ROW(4, K_STR, envelope, user),
	ROW(5, K_STR, envelope, tenant),
	ROW(6, K_STR, envelope, envid),
	ROW(7, K_U32, envelope, ret),
	ROW(8, K_U32, envelope, body),
	ROW(9, K_U32, envelope, flags),
	ROW(10, K_I32, envelope, priority),
	ROW(11, K_U64, envelope, hold_until_ms),
	ROW(12, K_U64, envelope, deliver_by_ms),
	ROW(13, K_U64, envelope, arrived_us),
	ROW(14, K_U64, envelope, size),
	ROW(15, K_STR, envelope, trace),
	ROW(16, K_STR, envelope, dedup_key),
	ROW(17, K_STR, envelope, generic_sender),
	ROW(18, K_STR, envelope, generic_header),
};

static const struct row rcpt_rows[] = {
	ROW(1, K_STR, envelope_rcpt, address),
	ROW(2, K_STR, envelope_rcpt, original),
	ROW(3, K_STR, envelope_rcpt, orcpt),
	ROW(4, K_U32, envelope_rcpt, notify),
	ROW(5, K_U32, envelope_rcpt, route),
	ROW(6, K_U64, envelope_rcpt, account),
	ROW(7, K_U32, envelope_rcpt, volume),
	ROW(8, K_U32, envelope_rcpt, slot),
	ROW(9, K_STR, envelope_rcpt, next_hop),
	ROW(10, K_STR, envelope_rcpt, detail),
	ROW(11, K_U64, envelope_rcpt, quota),
	ROW(12, K_STR, envelope_rcpt, sender),
	ROW(13, K_U32, envelope_rcpt, expanded),
	ROW(14, K_STR, envelope_rcpt, generic),
};

_Static_assert(sizeof(enum rcpt_route) == sizeof(uint32_t), "route is read as an integer");

#define N(rows) (sizeof(rows) / sizeof *(rows))

static void
rows_put(struct buf *b, const struct row *rows, size_t n, const void *obj)
{
	for (size_t i = 0; i < n; i++) {
		const char *at = (const char *)obj + rows[i].off;
		uint64_t v = 0;

		switch (rows[i].kind) {
		case K_STR:
			if (((const struct str *)at)->n)
				tlv_str(b, rows[i].tag, *(const struct str *)at);
			continue;
		case K_I32: /* zigzag: small negatives stay short */
			v = (uint32_t)(*(const int32_t *)at << 1) ^ (uint32_t)(*(const int32_t *)at >> 31);
			break;
		case K_U32:
			v = *(const uint32_t *)at;
			break;
		case K_U64:
			v = *(const uint64_t *)at;
			break;
		}
		if (v)
			tlv_u64(b, rows[i].tag, v);
	}
}

static int
row_get(const struct row *r, struct str v, void *obj)
{
	char *at = (char *)obj + r->off;
	uint64_t u = tlv_int(v);

	if (r->kind == K_STR) {
		*(struct str *)at = v;
		return 0;
	}
	if (r->kind != K_U64 && u > UINT32_MAX)
		return -EPROTO;
	if (r->kind == K_U64)
		*(uint64_t *)at = u;
	else if (r->kind == K_U32)
		*(uint32_t *)at = (uint32_t)u;
	else
		*(int32_t *)at = (int32_t)((uint32_t)u >> 1 ^ -((uint32_t)u & 1));
	return 0;
}

static const struct row *
row_find(const struct row *rows, size_t n, uint16_t tag)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].tag == tag)
			return &rows[i];
	return NULL;
}

/* Unknown fields, gathered into one run of bytes. */
static int
extra_add(struct arena *a, struct str *extra, struct str whole)
{
	char *p = arena_alloc(a, extra->n + whole.n);

	if (!p)
		return -ENOMEM;
	if (extra->n)
		memcpy(p, extra->p, extra->n);
	memcpy(p + extra->n, whole.p, whole.n);
	*extra = str_from(p, extra->n + whole.n);
	return 0;
}

/* Reads the fields that rows name into obj, the others into *extra; *n_groups
 * counts the fields with tag TAG_RCPT, which are passed over when it is given. */
static int
rows_get(struct str body, const struct row *rows, size_t n, void *obj, struct str *extra,
    struct arena *a, size_t *n_groups)
{
	struct tlv f;
	int r;

	for (;;) {
		const char *start = body.p;
		const struct row *row;

		if ((r = tlv_next(&body, &f)) <= 0)
			return r;
		if (n_groups && f.tag == TAG_RCPT) {
			(*n_groups)++;
			continue;
		}
		row = row_find(rows, n, f.tag);
		r = row ? row_get(row, f.v, obj) :
		    extra_add(a, extra, str_from(start, TLV_HEAD + f.v.n));
		if (r < 0)
			return -EPROTO;
	}
}

void
envelope_put(struct buf *b, const struct envelope *e)
{
	rows_put(b, env_rows, N(env_rows), e);
	for (size_t i = 0; i < e->n_rcpts; i++) {
		size_t start = tlv_begin(b, TAG_RCPT);

		rows_put(b, rcpt_rows, N(rcpt_rows), &e->rcpts[i]);
		buf_str(b, e->rcpts[i].extra);
		tlv_end(b, start);
	}
	buf_str(b, e->extra);
}

int
envelope_get(struct str body, struct arena *a, struct envelope *ret)
{
	struct envelope e = { 0 };
	struct tlv f;
	size_t n = 0, i = 0;

	if (rows_get(body, env_rows, N(env_rows), &e, &e.extra, a, &n) < 0)
		return -EPROTO;
	if (n && !(e.rcpts = ARENA_ARRAY(a, struct envelope_rcpt, n)))
		return -EPROTO;
	e.n_rcpts = n;
	while (i < n && tlv_next(&body, &f) > 0) {
		struct envelope_rcpt *rc = &e.rcpts[i];

		if (f.tag != TAG_RCPT)
			continue;
		if (rows_get(f.v, rcpt_rows, N(rcpt_rows), rc, &rc->extra, a, NULL) < 0)
			return -EPROTO;
		i++;
	}
	*ret = e;
	return 0;
}
