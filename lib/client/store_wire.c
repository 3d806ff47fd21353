/*
 * Codecs of the mailbox calls. Arrays of integers are one field each: packed,
 * little-endian. Every array that a peer sends is checked for its length, every
 * set for its order, before anybody walks it.
 */
#include "lib/client/store_wire.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	Q_HANDLE = 1, Q_MAILBOX, Q_DEST, Q_UID, Q_OP, Q_SYSFLAGS, Q_WANT, Q_ON, Q_ALL, Q_SINCE,
	Q_NAME, Q_ROLE, Q_TICKET, Q_FACTS, Q_KEYWORD, Q_SET, Q_SET_FD, Q_DATE, Q_ZONE, Q_SIZE,
};
enum {
	A_ID = 1, A_UIDVALIDITY, A_UID, A_EMAIL, A_MODSEQ, A_USED, A_LIMIT, A_SIZE, A_SET, A_FROM,
	A_TO,
};
enum { L_MAILBOX = 1 };
enum {
	M_ID = 1, M_NAME, M_ROLE, M_SUBSCRIBED, M_NOSELECT, M_UIDVALIDITY, M_UIDNEXT, M_RECENT,
	M_MODSEQ, M_TOTAL, M_UNSEEN, M_DELETED, M_BYTES,
};
enum {
	D_UIDNEXT = 1, D_RECENT, D_MODSEQ, D_UID, D_FLAGS, D_MOD, D_KEYWORD, D_MORE, D_GONE,
	D_UNKNOWN, D_KEYWORDS,
};
enum { F_ROW = 1, F_NEXT };
enum { E_HANDLE = 1, E_MAILBOX, E_MODSEQ };
enum { R_ACCOUNT = 1, R_QUOTA, R_SIZE, R_VOLUME };
enum { BIG = 0xfff0 };

/* Zero is what a missing field reads as. */
static void
put_num(struct buf *b, uint16_t tag, uint64_t v)
{
	if (v)
		wire_u64(b, tag, v);
}

static void
put_text(struct buf *b, uint16_t tag, struct str v)
{
	if (v.n)
		wire_str(b, tag, v);
}

static void
put_u32s(struct buf *b, uint16_t tag, const uint32_t *v, size_t n)
{
	size_t at;

	if (!n)
		return;
	at = wire_begin(b, tag);
	for (size_t i = 0; i < n; i++)
		buf_le32(b, v[i]);
	wire_end(b, at);
}

static int
get_u32s(struct str v, struct arena *a, uint32_t **ret, size_t *ret_n)
{
	uint32_t *p;

	if (v.n % 4)
		return -EPROTO;
	p = arena_alloc(a, v.n + 4);
	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < v.n / 4; i++)
		p[i] = le32_get(v.p + 4 * i);
	*ret = p;
	*ret_n = v.n / 4;
	return 0;
}

static void
put_u64s(struct buf *b, uint16_t tag, const uint64_t *v, size_t n)
{
	size_t at;

	if (!n)
		return;
	at = wire_begin(b, tag);
	for (size_t i = 0; i < n; i++)
		buf_le64(b, v[i]);
	wire_end(b, at);
}

static int
get_u64s(struct str v, struct arena *a, uint64_t **ret, size_t *ret_n)
{
	uint64_t *p;

	if (v.n % 8)
		return -EPROTO;
	p = arena_alloc(a, v.n + 8);
	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < v.n / 8; i++)
		p[i] = le64_get(v.p + 8 * i);
	*ret = p;
	*ret_n = v.n / 8;
	return 0;
}

static void
ranges_put(struct buf *b, const struct uid_set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		buf_le32(b, s->v[i].lo);
		buf_le32(b, s->v[i].hi);
	}
}

static int
ranges_get(struct str v, struct arena *a, struct uid_set *ret)
{
	struct uid_range *r;
	uint32_t last = 0;

	if (v.n % 8)
		return -EPROTO;
	if (v.n / 8 > STORE_RANGES_MAX)
		return -E2BIG;
	r = arena_alloc(a, v.n + sizeof *r);
	if (!r)
		return -ENOMEM;
	for (size_t i = 0; i < v.n / 8; i++) {
		r[i].lo = le32_get(v.p + 8 * i);
		r[i].hi = le32_get(v.p + 8 * i + 4);
		if (r[i].lo <= last || r[i].hi < r[i].lo)
			return -EPROTO;
		last = r[i].hi;
	}
	ret->v = r;
	ret->n = v.n / 8;
	return 0;
}

/* ---- memfds ---- */

static int
memfd_of(struct str v, int *ret_fd)
{
	int fd = memfd_create("posthorn-store", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	while (v.n) {
		ssize_t w = write(fd, v.p, v.n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			int code = w < 0 ? -errno : -ENOSPC;

			close(fd);
			return code;
		}
		v = str_skip(v, (size_t)w);
	}
	*ret_fd = fd;
	return 0;
}

/* Reads n bytes of fd from its beginning into the arena. */
static int
memfd_read(int fd, uint64_t n, struct arena *a, struct str *ret)
{
	char *p;

	if (fd < 0 || n > STORE_BIG_MAX)
		return fd < 0 ? -EPROTO : -E2BIG;
	p = arena_alloc(a, n + 1);
	if (!p)
		return -ENOMEM;
	for (size_t got = 0; got < n;) {
		ssize_t r = pread(fd, p + got, n - got, (off_t)got);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -EPROTO;
		got += (size_t)r;
	}
	*ret = str_from(p, n);
	return 0;
}

int
store_big_put(struct buf *b, int *ret_fd)
{
	size_t n = b->n;
	int fd, r;

	*ret_fd = -1;
	if (b->over)
		return -E2BIG;
	if (n <= STORE_FRAME_MAX)
		return 0;
	r = memfd_of(buf_view(b), &fd);
	if (r < 0)
		return r;
	buf_clear(b);
	wire_u64(b, BIG, n);
	*ret_fd = fd;
	return 0;
}

int
store_big_get(struct str body, int fd, struct arena *a, struct str *ret)
{
	struct wire_field f;
	struct str s = body;

	if (wire_next(&s, &f) > 0 && f.tag == BIG)
		return memfd_read(fd, wire_int(&f), a, ret);
	*ret = body;
	return 0;
}

/* ---- requests ---- */

static int
set_put(struct buf *b, const struct uid_set *s, int *ret_fd)
{
	struct buf big = { 0 };
	size_t at;
	int r;

	if (!s->n)
		return 0;
	if (s->n > STORE_RANGES_MAX)
		return -E2BIG;
	if (s->n * 8 <= STORE_FRAME_MAX) {
		at = wire_begin(b, Q_SET);
		ranges_put(b, s);
		wire_end(b, at);
		return 0;
	}
	ranges_put(&big, s);
	r = big.over ? -ENOMEM : memfd_of(buf_view(&big), ret_fd);
	buf_done(&big);
	if (r == 0)
		wire_u64(b, Q_SET_FD, s->n * 8);
	return r;
}

int
store_request_put(struct buf *b, const struct store_request *q, int *ret_fd)
{
	int r;

	*ret_fd = -1;
	put_num(b, Q_HANDLE, q->handle);
	put_num(b, Q_MAILBOX, q->mailbox);
	put_num(b, Q_DEST, q->dest);
	put_num(b, Q_UID, q->uid);
	put_num(b, Q_OP, q->op);
	put_num(b, Q_SYSFLAGS, q->sysflags);
	put_num(b, Q_WANT, q->want);
	put_num(b, Q_ON, q->on);
	put_num(b, Q_ALL, q->all);
	put_num(b, Q_SINCE, q->since);
	put_text(b, Q_NAME, q->name);
	put_text(b, Q_ROLE, q->role);
	put_text(b, Q_TICKET, q->ticket);
	put_text(b, Q_FACTS, q->facts);
	for (size_t i = 0; i < q->n_keywords; i++)
		wire_str(b, Q_KEYWORD, q->keywords[i]);
	put_num(b, Q_DATE, (uint64_t)q->internal_date);
	put_num(b, Q_ZONE, (uint32_t)q->internal_zone);
	put_num(b, Q_SIZE, q->size);
	r = set_put(b, &q->set, ret_fd);
	if (r == 0 && b->over)
		r = -ENOMEM;
	return r;
}

/* One field of a request that is an integer or a string; false: not one of those. */
static bool
request_scalar(struct store_request *q, const struct wire_field *f)
{
	switch (f->tag) {
	case Q_HANDLE: q->handle = wire_int(f); return true;
	case Q_MAILBOX: q->mailbox = (uint32_t)wire_int(f); return true;
	case Q_DEST: q->dest = (uint32_t)wire_int(f); return true;
	case Q_UID: q->uid = (uint32_t)wire_int(f); return true;
	case Q_OP: q->op = (uint32_t)wire_int(f); return true;
	case Q_SYSFLAGS: q->sysflags = (uint32_t)wire_int(f); return true;
	case Q_WANT: q->want = (uint32_t)wire_int(f); return true;
	case Q_ON: q->on = wire_int(f) != 0; return true;
	case Q_ALL: q->all = wire_int(f) != 0; return true;
	case Q_SINCE: q->since = wire_int(f); return true;
	case Q_NAME: q->name = f->v; return true;
	case Q_ROLE: q->role = f->v; return true;
	case Q_TICKET: q->ticket = f->v; return true;
	case Q_FACTS: q->facts = f->v; return true;
	case Q_DATE: q->internal_date = (int64_t)wire_int(f); return true;
	case Q_ZONE: q->internal_zone = (int32_t)(uint32_t)wire_int(f); return true;
	case Q_SIZE: q->size = wire_int(f); return true;
	}
	return false;
}

static int
request_field(struct store_request *q, const struct wire_field *f, int fd, struct arena *a)
{
	struct str s;
	int r;

	if (request_scalar(q, f))
		return 0;
	switch (f->tag) {
	case Q_KEYWORD:
		q->keywords[q->n_keywords++] = f->v;
		return 0;
	case Q_SET:
		return ranges_get(f->v, a, &q->set);
	case Q_SET_FD:
		r = memfd_read(fd, wire_int(f), a, &s);
		return r < 0 ? r : ranges_get(s, a, &q->set);
	}
	return 0;
}

int
store_request_get(struct str body, int fd, struct arena *a, struct store_request *ret)
{
	struct store_request q = { 0 };
	struct wire_field f;
	size_t n = 0;
	int r;

	r = wire_count(body, Q_KEYWORD, &n);
	if (r < 0)
		return r;
	if (n > STORE_KEYWORDS_MAX)
		return -E2BIG;
	q.keywords = ARENA_ARRAY(a, struct str, n + 1);
	if (!q.keywords)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		r = request_field(&q, &f, fd, a);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret = q;
	return 0;
}

/* ---- answers ---- */

void
store_answer_put(struct buf *b, const struct store_answer *r)
{
	size_t at;

	put_num(b, A_ID, r->id);
	put_num(b, A_UIDVALIDITY, r->uidvalidity);
	put_num(b, A_UID, r->uid);
	put_num(b, A_EMAIL, r->email);
	put_num(b, A_MODSEQ, r->modseq);
	put_num(b, A_USED, r->used);
	put_num(b, A_LIMIT, r->limit);
	put_num(b, A_SIZE, r->size);
	if (r->set.n) {
		at = wire_begin(b, A_SET);
		ranges_put(b, &r->set);
		wire_end(b, at);
	}
	put_u32s(b, A_FROM, r->from, r->n);
	put_u32s(b, A_TO, r->to, r->n);
}

static int
answer_field(struct store_answer *r, const struct wire_field *f, struct arena *a, size_t *n_to)
{
	switch (f->tag) {
	case A_ID: r->id = (uint32_t)wire_int(f); break;
	case A_UIDVALIDITY: r->uidvalidity = (uint32_t)wire_int(f); break;
	case A_UID: r->uid = (uint32_t)wire_int(f); break;
	case A_EMAIL: r->email = wire_int(f); break;
	case A_MODSEQ: r->modseq = wire_int(f); break;
	case A_USED: r->used = wire_int(f); break;
	case A_LIMIT: r->limit = wire_int(f); break;
	case A_SIZE: r->size = wire_int(f); break;
	case A_SET: return ranges_get(f->v, a, &r->set);
	case A_FROM: return get_u32s(f->v, a, &r->from, &r->n);
	case A_TO: return get_u32s(f->v, a, &r->to, n_to);
	}
	return 0;
}

int
store_answer_get(struct str body, struct arena *a, struct store_answer *ret)
{
	struct store_answer v = { 0 };
	struct wire_field f;
	size_t n_to = 0;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		r = answer_field(&v, &f, a, &n_to);
		if (r < 0)
			return r;
	}
	if (r < 0 || v.n != n_to)
		return r < 0 ? r : -EPROTO;
	*ret = v;
	return 0;
}

/* ---- mailboxes ---- */

void
store_mailboxes_put(struct buf *b, const struct store_mailbox *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = wire_begin(b, L_MAILBOX);

		put_num(b, M_ID, v[i].id);
		put_text(b, M_NAME, v[i].name);
		put_text(b, M_ROLE, v[i].role);
		put_num(b, M_SUBSCRIBED, v[i].subscribed);
		put_num(b, M_NOSELECT, v[i].noselect);
		put_num(b, M_UIDVALIDITY, v[i].uidvalidity);
		put_num(b, M_UIDNEXT, v[i].uidnext);
		put_num(b, M_RECENT, v[i].first_recent);
		put_num(b, M_MODSEQ, v[i].modseq);
		put_num(b, M_TOTAL, v[i].total);
		put_num(b, M_UNSEEN, v[i].unseen);
		put_num(b, M_DELETED, v[i].deleted);
		put_num(b, M_BYTES, v[i].bytes);
		wire_end(b, at);
	}
}

static int
mailbox_get(struct str body, struct store_mailbox *m)
{
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case M_ID: m->id = (uint32_t)wire_int(&f); break;
		case M_NAME: m->name = f.v; break;
		case M_ROLE: m->role = f.v; break;
		case M_SUBSCRIBED: m->subscribed = wire_int(&f) != 0; break;
		case M_NOSELECT: m->noselect = wire_int(&f) != 0; break;
		case M_UIDVALIDITY: m->uidvalidity = (uint32_t)wire_int(&f); break;
		case M_UIDNEXT: m->uidnext = (uint32_t)wire_int(&f); break;
		case M_RECENT: m->first_recent = (uint32_t)wire_int(&f); break;
		case M_MODSEQ: m->modseq = wire_int(&f); break;
		case M_TOTAL: m->total = (uint32_t)wire_int(&f); break;
		case M_UNSEEN: m->unseen = (uint32_t)wire_int(&f); break;
		case M_DELETED: m->deleted = (uint32_t)wire_int(&f); break;
		case M_BYTES: m->bytes = wire_int(&f); break;
		}
	}
	return r;
}

int
store_mailboxes_get(struct str body, struct arena *a, struct store_mailbox **ret, size_t *ret_n)
{
	struct store_mailbox *v;
	struct wire_field f;
	size_t n = 0, i = 0;
	int r;

	r = wire_count(body, L_MAILBOX, &n);
	if (r < 0)
		return r;
	v = ARENA_ARRAY(a, struct store_mailbox, n + 1);
	if (!v)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag != L_MAILBOX)
			continue;
		r = mailbox_get(f.v, &v[i++]);
		if (r < 0)
			return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

/* ---- deltas ---- */

void
store_delta_put(struct buf *b, const struct store_delta *d)
{
	size_t at;

	put_num(b, D_UIDNEXT, d->uidnext);
	put_num(b, D_RECENT, d->first_recent);
	put_num(b, D_MODSEQ, d->modseq);
	put_num(b, D_UNKNOWN, d->gone_unknown);
	put_u32s(b, D_UID, d->uid, d->n);
	put_u32s(b, D_FLAGS, d->flags, d->n);
	put_u64s(b, D_MOD, d->mod, d->n);
	put_num(b, D_KEYWORDS, d->keywords != NULL);
	for (size_t i = 0; d->keywords && i < d->n_keywords; i++)
		wire_str(b, D_KEYWORD, d->keywords[i]);
	if (d->n_more) {
		at = wire_begin(b, D_MORE);
		for (size_t i = 0; i < d->n_more; i++) {
			buf_le32(b, d->more[i].uid);
			buf_le32(b, d->more[i].keyword);
		}
		wire_end(b, at);
	}
	if (d->gone.n) {
		at = wire_begin(b, D_GONE);
		ranges_put(b, &d->gone);
		wire_end(b, at);
	}
}

static int
more_get(struct str v, struct arena *a, struct store_delta *d)
{
	if (v.n % 8)
		return -EPROTO;
	d->more = arena_alloc(a, v.n / 8 * sizeof *d->more + 1);
	if (!d->more)
		return -ENOMEM;
	d->n_more = v.n / 8;
	for (size_t i = 0; i < d->n_more; i++) {
		d->more[i].uid = le32_get(v.p + 8 * i);
		d->more[i].keyword = le32_get(v.p + 8 * i + 4);
	}
	return 0;
}

static int
delta_field(struct store_delta *d, const struct wire_field *f, struct arena *a, size_t n[2],
    struct str *keywords, bool *has_keywords)
{
	switch (f->tag) {
	case D_UIDNEXT: d->uidnext = (uint32_t)wire_int(f); break;
	case D_RECENT: d->first_recent = (uint32_t)wire_int(f); break;
	case D_MODSEQ: d->modseq = wire_int(f); break;
	case D_UNKNOWN: d->gone_unknown = wire_int(f) != 0; break;
	case D_KEYWORDS: *has_keywords = wire_int(f) != 0; break;
	case D_KEYWORD: keywords[d->n_keywords++] = f->v; break;
	case D_UID: return get_u32s(f->v, a, &d->uid, &d->n);
	case D_FLAGS: return get_u32s(f->v, a, &d->flags, &n[0]);
	case D_MOD: return get_u64s(f->v, a, &d->mod, &n[1]);
	case D_MORE: return more_get(f->v, a, d);
	case D_GONE: return ranges_get(f->v, a, &d->gone);
	}
	return 0;
}

int
store_delta_get(struct str body, struct arena *a, struct store_delta *ret)
{
	struct store_delta d = { 0 };
	struct wire_field f;
	struct str *keywords;
	size_t n[2] = { 0 }, n_kw = 0;
	bool has_keywords = false;
	int r;

	r = wire_count(body, D_KEYWORD, &n_kw);
	if (r < 0)
		return r;
	keywords = ARENA_ARRAY(a, struct str, n_kw + 1);
	if (!keywords)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		r = delta_field(&d, &f, a, n, keywords, &has_keywords);
		if (r < 0)
			return r;
	}
	if (r < 0 || d.n != n[0] || d.n != n[1])
		return r < 0 ? r : -EPROTO;
	if (has_keywords)
		d.keywords = keywords;
	*ret = d;
	return 0;
}

/* ---- facts ----
 * A row: u32 uid, i32 zone, u64 size, email, thread, i64 date, saved, u32 lengths
 * of envelope, structure and preview, then their bytes. */

#define FACT_HEAD 60

void
store_fact_put(struct buf *b, const struct store_fact *f)
{
	size_t at = wire_begin(b, F_ROW);

	buf_le32(b, f->uid);
	buf_le32(b, (uint32_t)f->internal_zone);
	buf_le64(b, f->size);
	buf_le64(b, f->email);
	buf_le64(b, f->thread);
	buf_le64(b, (uint64_t)f->internal_date);
	buf_le64(b, (uint64_t)f->save_date);
	buf_le32(b, (uint32_t)f->envelope.n);
	buf_le32(b, (uint32_t)f->structure.n);
	buf_le32(b, (uint32_t)f->preview.n);
	buf_str(b, f->envelope);
	buf_str(b, f->structure);
	buf_str(b, f->preview);
	wire_end(b, at);
}

void
store_facts_end(struct buf *b, uint32_t next)
{
	put_num(b, F_NEXT, next);
}

static int
fact_get(struct str v, struct store_fact *f)
{
	uint64_t e, s, p;

	if (v.n < FACT_HEAD)
		return -EPROTO;
	f->uid = le32_get(v.p);
	f->internal_zone = (int32_t)le32_get(v.p + 4);
	f->size = le64_get(v.p + 8);
	f->email = le64_get(v.p + 16);
	f->thread = le64_get(v.p + 24);
	f->internal_date = (int64_t)le64_get(v.p + 32);
	f->save_date = (int64_t)le64_get(v.p + 40);
	e = le32_get(v.p + 48), s = le32_get(v.p + 52), p = le32_get(v.p + 56);
	if (FACT_HEAD + e + s + p != v.n)
		return -EPROTO;
	f->envelope = str_from(v.p + FACT_HEAD, e);
	f->structure = str_from(v.p + FACT_HEAD + e, s);
	f->preview = str_from(v.p + FACT_HEAD + e + s, p);
	return 0;
}

int
store_facts_get(struct str body, struct arena *a, struct store_fact **ret, size_t *ret_n,
    uint32_t *ret_next)
{
	struct store_fact *v;
	struct wire_field f;
	uint32_t next = 0;
	size_t n = 0, i = 0;
	int r;

	r = wire_count(body, F_ROW, &n);
	if (r < 0)
		return r;
	v = ARENA_ARRAY(a, struct store_fact, n + 1);
	if (!v)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag == F_NEXT)
			next = (uint32_t)wire_int(&f);
		if (f.tag == F_ROW && (r = fact_get(f.v, &v[i++])) < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret = v;
	*ret_n = n;
	*ret_next = next;
	return 0;
}

/* ---- the small ones ---- */

void
store_event_put(struct buf *b, const struct store_event *e)
{
	put_num(b, E_HANDLE, e->handle);
	put_num(b, E_MAILBOX, e->mailbox);
	put_num(b, E_MODSEQ, e->modseq);
}

int
store_event_get(struct str body, struct store_event *ret)
{
	struct store_event e = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case E_HANDLE: e.handle = wire_int(&f); break;
		case E_MAILBOX: e.mailbox = (uint32_t)wire_int(&f); break;
		case E_MODSEQ: e.modseq = wire_int(&f); break;
		}
	}
	if (r == 0)
		*ret = e;
	return r;
}

void
room_request_put(struct buf *b, const struct room_request *r)
{
	put_num(b, R_ACCOUNT, r->account);
	put_num(b, R_QUOTA, r->quota);
	put_num(b, R_SIZE, r->size);
	put_num(b, R_VOLUME, r->volume);
}

int
room_request_get(struct str body, struct room_request *ret)
{
	struct room_request q = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		switch (f.tag) {
		case R_ACCOUNT: q.account = wire_int(&f); break;
		case R_QUOTA: q.quota = wire_int(&f); break;
		case R_SIZE: q.size = wire_int(&f); break;
		case R_VOLUME: q.volume = (uint32_t)wire_int(&f); break;
		}
	}
	if (r == 0)
		*ret = q;
	return r;
}
