/*
 * Threads (RFC 8621 section 3). A message's own id and every id that it refers to,
 * each hashed together with the base subject, point to its thread; so a late parent
 * or sibling finds it, and threads never merge afterwards. A thread takes at most
 * INDEX_MAX_THREAD Emails; then its keys go over to a new one.
 *
 * The hash is SipHash-2-4 with the account's salt: a sender cannot aim at the threads
 * of an account by anything but knowing the ids.
 *
 * A thread's row keeps how many Emails it has and, per mailbox, how many of them are
 * visible there and how many of those are unread:  u32 mailbox | u16 visible | u16
 * unread, little-endian. From it the mailboxes' thread counts are kept: a thread counts
 * as unread in a mailbox when it has a visible Email there and an unread one anywhere but
 * Trash (in Trash: an unread one there). Changes gather in memory and are written once
 * per transaction.
 */
#include "maildir/index_private.h"

#include <errno.h>
#include <stdlib.h>

#define ENTRY 8
#define THREAD_BOXES_MAX 4096
#define THREADS_IN_MEMORY 16384
/* Threads that are written together, and how many other rows for each of them make a walk
 * over all dearer than looking each up. */
#define FLUSH_CHUNK 256
#define WALK_SPARSE 4

static inline uint64_t
rotl(uint64_t v, int n)
{
	return v << n | v >> (64 - n);
}

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
	v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

static uint64_t
siphash(const uint64_t key[2], struct str s)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
		key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u };
	uint64_t last = (uint64_t)s.n << 56;
	size_t i;

	for (i = 0; i + 8 <= s.n; i += 8) {
		uint64_t m = le64_get(s.p + i);

		v[3] ^= m;
		sip_round(v), sip_round(v);
		v[0] ^= m;
	}
	for (int sh = 0; i < s.n; i++, sh += 8)
		last |= (uint64_t)(unsigned char)s.p[i] << sh;
	v[3] ^= last;
	sip_round(v), sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v), sip_round(v), sip_round(v), sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- changes in memory ---- */

static struct thread_delta *
delta_get(struct index *x, uint64_t thread, struct err *e)
{
	struct thread_delta *d = map_get(&x->threads, thread);

	if (d)
		return d;
	if (x->threads.n >= THREADS_IN_MEMORY && thread_flush(x, e))
		return NULL;
	d = ARENA_NEW(x->txn, struct thread_delta);
	if (!d || map_set(&x->threads, thread, d)) {
		x->trouble = true;
		err_set(e, -ENOMEM, "no memory for threads");
		return NULL;
	}
	d->thread = thread;
	return d;
}

int
thread_count(struct index *x, uint64_t thread, int n, struct err *e)
{
	struct thread_delta *d = delta_get(x, thread, e);

	if (!d)
		return -ENOMEM;
	d->n += n;
	return 0;
}

int
thread_shift(struct index *x, uint64_t thread, uint32_t mailbox, int vis, int unread,
    struct err *e)
{
	struct thread_delta *d;
	struct thread_box *v;
	uint32_t i;

	if (!vis && !unread)
		return 0;
	if (!(d = delta_get(x, thread, e)))
		return -ENOMEM;
	for (i = 0; i < d->n_boxes && d->boxes[i].mailbox != mailbox; i++)
		;
	if (i == d->cap_boxes) {
		d->cap_boxes = d->cap_boxes ? d->cap_boxes * 2 : 2;
		if (!(v = ARENA_ARRAY(x->txn, struct thread_box, d->cap_boxes))) {
			x->trouble = true;
			return err_set(e, -ENOMEM, "no memory for threads");
		}
		if (i)
			memcpy(v, d->boxes, i * sizeof *v);
		d->boxes = v;
	}
	if (i == d->n_boxes)
		d->boxes[d->n_boxes++] = (struct thread_box){ mailbox, 0, 0 };
	d->boxes[i].vis += vis;
	d->boxes[i].unread += unread;
	return 0;
}

/* ---- writing ---- */

static bool
is_trash(struct index *x, uint32_t mailbox)
{
	const struct box *b = map_get(&x->by_id, mailbox);

	return b && !strcmp(b->role, "trash");
}

/* What the thread counts in its mailboxes, times sign. */
static void
thread_tally(struct index *x, const struct thread_box *v, size_t n, int sign)
{
	int elsewhere = 0;

	for (size_t i = 0; i < n; i++)
		if (!is_trash(x, v[i].mailbox))
			elsewhere += v[i].unread;
	for (size_t i = 0; i < n; i++) {
		struct box *b = map_get(&x->by_id, v[i].mailbox);
		int unread = is_trash(x, v[i].mailbox) ? v[i].unread : elsewhere;

		if (!b || !v[i].vis)
			continue;
		b->jmap.threads += (uint32_t)sign;
		if (unread)
			b->jmap.unread_threads += (uint32_t)sign;
		b->dirty = true;
	}
}

/* Adds the changes to the row's entries; mailboxes with nothing left go. */
static int
merge(struct thread_box *v, size_t *n, const struct thread_delta *d)
{
	size_t kept = 0;

	for (uint32_t k = 0; k < d->n_boxes; k++) {
		size_t i;

		for (i = 0; i < *n && v[i].mailbox != d->boxes[k].mailbox; i++)
			;
		if (i == *n)
			v[(*n)++] = (struct thread_box){ d->boxes[k].mailbox, 0, 0 };
		v[i].vis += d->boxes[k].vis;
		v[i].unread += d->boxes[k].unread;
		if (v[i].vis < 0 || v[i].unread < 0 || v[i].unread > v[i].vis)
			return -EUCLEAN;
	}
	for (size_t i = 0; i < *n; i++)
		if (v[i].vis)
			v[kept++] = v[i];
	*n = kept;
	return 0;
}

static size_t
unpack(struct str s, struct thread_box *v)
{
	size_t n = s.n / ENTRY;

	for (size_t i = 0; i < n; i++, s = str_skip(s, ENTRY))
		v[i] = (struct thread_box){ le32_get(s.p), le16_get(s.p + 4), le16_get(s.p + 6) };
	return n;
}

static struct str
pack(char *out, const struct thread_box *v, size_t n)
{
	struct str s = { out, n * ENTRY };

	for (size_t i = 0; i < n; i++, out += ENTRY)
		le32_put(out, v[i].mailbox),
		    le32_put(out + 4, (uint32_t)v[i].vis | (uint32_t)v[i].unread << 16);
	return s;
}

/* A row as it is: how many Emails, its entries with room for the delta's. */
struct thread_row {
	int64_t n;
	struct thread_box *v;
	size_t nv;
};

static int
row_fill(struct index *x, const struct thread_delta *d, int64_t n, struct str data,
    struct thread_row *ret, struct err *e)
{
	if (data.n % ENTRY || data.n / ENTRY > THREAD_BOXES_MAX || n < 0 || n > INT32_MAX)
		return err_set(e, -EUCLEAN, "%s: impossible thread row", x->dir);
	ret->v = arena_alloc(x->txn, (data.n / ENTRY + d->n_boxes + 1) * sizeof *ret->v);
	if (!ret->v)
		return err_set(e, -ENOMEM, "no memory for threads");
	ret->nv = unpack(data, ret->v);
	ret->n = n;
	return 0;
}

static int
row_get(struct index *x, const struct thread_delta *d, struct thread_row *ret, struct err *e)
{
	sqlite3_stmt *s;
	int r;

	if (d->fresh)
		return row_fill(x, d, 0, STR_NULL, ret, e);
	if (!(s = db_q(x, Q_THREAD_GET, e, "i", DB_I(d->thread))))
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) < 0)
		return r;
	r = r ? row_fill(x, d, sqlite3_column_int64(s, 0), db_text(s, 1), ret, e) :
	    row_fill(x, d, 0, STR_NULL, ret, e);
	sqlite3_reset(s);
	return r;
}

/* The rows of threads that lie close together, by one walk over them. */
static int
rows_walk(struct index *x, struct thread_delta *const *d, size_t n, struct thread_row *row,
    struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_THREAD_RANGE, e, "ii", DB_I(d[0]->thread),
	    DB_I(d[n - 1]->thread));
	size_t i = 0;
	int r, step;

	if (!s)
		return -EUCLEAN;
	do {
		uint64_t id;

		if ((r = step = db_step(x, s, e)) < 0)
			break;
		id = step ? db_u64(s, 0) : UINT64_MAX;
		for (r = 0; !r && i < n && d[i]->thread < id; i++)
			r = row_fill(x, d[i], 0, STR_NULL, &row[i], e);
		if (!r && i < n && d[i]->thread == id) {
			r = row_fill(x, d[i], sqlite3_column_int64(s, 1), db_text(s, 2), &row[i], e);
			i++;
		}
	} while (!r && step);
	sqlite3_reset(s);
	return r;
}

static int
rows_get(struct index *x, struct thread_delta *const *d, size_t n, struct thread_row *row,
    struct err *e)
{
	int r = 0;

	if (d[n - 1]->thread - d[0]->thread < n * WALK_SPARSE)
		return rows_walk(x, d, n, row, e);
	for (size_t i = 0; !r && i < n; i++)
		r = row_get(x, d[i], &row[i], e);
	return r;
}

static int
flush_one(struct index *x, const struct thread_delta *d, struct thread_row *row, struct err *e)
{
	bool fresh = row->n == 0; /* a rebuild knows threads whose row it did not make */
	char *packed;

	thread_tally(x, row->v, row->nv, -1);
	row->n += d->n;
	if (merge(row->v, &row->nv, d) || row->n < 0)
		return err_set(e, -EUCLEAN, "%s: a thread's counts do not add up", x->dir);
	thread_tally(x, row->v, row->nv, 1);
	if (!row->n)
		return db_run(x, Q_THREAD_DEL, e, "i", DB_I(d->thread));
	if (!(packed = arena_alloc(x->txn, row->nv * ENTRY + 1)))
		return err_set(e, -ENOMEM, "no memory for threads");
	return db_run(x, fresh ? Q_THREAD_PUT : Q_THREAD_SET, e, "iib", DB_I(d->thread),
	    DB_I(row->n), pack(packed, row->v, row->nv));
}

/* A chunk: the rows are read before the first is written. */
static int
flush_chunk(struct index *x, struct thread_delta *const *d, size_t n, struct err *e)
{
	struct thread_row row[FLUSH_CHUNK];
	int r = rows_get(x, d, n, row, e);

	for (size_t i = 0; !r && i < n; i++)
		r = flush_one(x, d[i], &row[i], e);
	return r;
}

static int
by_thread(const void *a, const void *b)
{
	const struct thread_delta *const *p = a, *const *q = b;

	return (*p)->thread < (*q)->thread ? -1 : (*p)->thread > (*q)->thread;
}

int
thread_flush(struct index *x, struct err *e)
{
	struct thread_delta **v, *d;
	size_t n = 0, pos = 0;
	int r = 0;

	if (!x->threads.n)
		return 0;
	if (!(v = malloc(x->threads.n * sizeof *v))) {
		x->trouble = true;
		return err_set(e, -ENOMEM, "no memory for threads");
	}
	while ((d = map_next(&x->threads, &pos, &(uint64_t){ 0 })))
		v[n++] = d;
	qsort(v, n, sizeof *v, by_thread);
	for (size_t i = 0; !r && i < n; i += FLUSH_CHUNK)
		r = flush_chunk(x, v + i, n - i < FLUSH_CHUNK ? n - i : FLUSH_CHUNK, e);
	free(v);
	map_done(&x->threads);
	x->trouble |= r != 0;
	return r;
}

/* ---- finding ---- */

/* Emails in a thread, pending ones included; 0: it does not exist. */
static int
thread_size(struct index *x, uint64_t thread, int64_t *ret, struct err *e)
{
	const struct thread_delta *d = map_get(&x->threads, thread);
	sqlite3_stmt *s;
	int64_t n = 0;
	int r;

	if (!d || !d->fresh) {
		if (!(s = db_q(x, Q_THREAD_GET, e, "i", DB_I(thread))))
			return -EUCLEAN;
		if ((r = db_step(x, s, e)) < 0)
			return r;
		n = r ? sqlite3_column_int64(s, 0) : 0;
		sqlite3_reset(s);
	}
	*ret = n + (d ? d->n : 0);
	return 0;
}

static uint64_t
key_hash(struct index *x, struct str id, struct str subject)
{
	uint64_t half = siphash(x->acc.salt, id);
	uint64_t key[2] = { x->acc.salt[0] ^ half, x->acc.salt[1] };

	return siphash(key, subject);
}

static size_t
keys_of(struct index *x, const struct facts *f, uint64_t key[static FACTS_MAX_REFS + 1])
{
	struct str refs = f->references, id;
	size_t n = 0;

	if (f->message_id.n)
		key[n++] = key_hash(x, f->message_id, f->base_subject);
	while (n < FACTS_MAX_REFS && facts_ref_next(&refs, &id))
		key[n++] = key_hash(x, id, f->base_subject);
	return n;
}

static int
key_find(struct index *x, uint64_t key, uint64_t *ret, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_KEY_GET, e, "i", DB_I(key));
	int r;

	if (!s)
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) > 0)
		*ret = db_u64(s, 0);
	sqlite3_reset(s);
	return r;
}

/* 1 and the first thread of the keys that has room; 0 none. *ret_known[i]: the key
 * points to that thread already. */
static int
find_thread(struct index *x, const uint64_t *key, size_t n, uint64_t *at, uint64_t *ret,
    struct err *e)
{
	int64_t size;
	int r;

	for (size_t i = 0; i < n; i++) {
		at[i] = 0;
		if ((r = key_find(x, key[i], &at[i], e)) < 0)
			return r;
	}
	for (size_t i = 0; i < n; i++) {
		if (!at[i] || (i && at[i] == at[i - 1]))
			continue;
		if ((r = thread_size(x, at[i], &size, e)))
			return r;
		if (size > 0 && size < INDEX_MAX_THREAD) {
			*ret = at[i];
			return 1;
		}
	}
	return 0;
}

int
thread_assign(struct index *x, const struct facts *f, uint64_t *ret, struct err *e)
{
	uint64_t key[FACTS_MAX_REFS + 1], at[FACTS_MAX_REFS + 1], thread = 0;
	size_t n = f ? keys_of(x, f, key) : 0;
	struct thread_delta *d;
	int r, rc;

	if ((r = find_thread(x, key, n, at, &thread, e)) < 0)
		return r;
	if (!r)
		thread = x->acc.next_thread++;
	for (size_t i = 0; i < n; i++)
		if (at[i] != thread && (!at[i] || !r) &&
		    (rc = db_run(x, Q_KEY_PUT, e, "ii", DB_I(key[i]), DB_I(thread))))
			return rc;
	if (!(d = delta_get(x, thread, e)))
		return -ENOMEM;
	d->n++;
	d->fresh |= !r;
	*ret = thread;
	return 0;
}
