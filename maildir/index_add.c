/*
 * Messages in: take-in of deliveries and appends, their facts, and the `delivered`
 * rows that make a delivery happen once.
 */
#include "maildir/index_private.h"

#include <errno.h>

#include "lib/base/clock.h"

/* ---- keywords and flags of a row ---- */

int
more_put(struct index *x, struct box *b, uint32_t uid, uint32_t keyword, struct err *e)
{
	return db_run(x, Q_MORE_PUT, e, "iii", DB_I(b->id), DB_I(uid), DB_I(keyword));
}

/* Finds (adds) keywords: bits in *ret_bits, rare ones in more[]. */
int
keywords_resolve(struct index *x, struct box *b, const struct str *v, size_t n, bool add,
    struct keyword_set *ret, struct err *e)
{
	ret->bits = 0;
	ret->n_more = 0;
	if (n > INDEX_MAX_KEYWORDS)
		return err_set(e, -E2BIG, "too many keywords");
	ret->more = ARENA_ARRAY(x->txn, uint32_t, n + 1);
	if (!ret->more)
		return err_set(e, -ENOMEM, "no memory for keywords");
	for (size_t i = 0; i < n; i++) {
		int k = box_keyword(x, b, v[i], add, e);

		if (k == -ENOENT && !add)
			continue;
		if (k < 0)
			return k;
		if (k < 24)
			ret->bits |= (uint32_t)F_KEYWORD0 << k;
		else
			ret->more[ret->n_more++] = (uint32_t)k;
	}
	return 0;
}

/* ---- facts ---- */

static int
facts_store(struct index *x, uint64_t email, const struct facts *f, struct err *e)
{
	return db_run(x, Q_FACTS_PUT, e, "ibbb", DB_I(email), f->envelope, f->structure,
	    f->preview);
}

static int
facts_read(struct str blob, struct facts *ret, struct err *e)
{
	if (facts_get(blob, ret) || ret->envelope.n > FACTS_MAX_ENVELOPE ||
	    ret->structure.n > FACTS_MAX_STRUCTURE || ret->preview.n > FACTS_MAX_PREVIEW)
		return err_set(e, -EPROTO, "the facts of the message are no facts");
	return 0;
}

/* The facts of a message that nobody could parse. */
static int
facts_of_opaque(struct index *x, uint64_t size, struct buf *b, struct facts *ret, struct err *e)
{
	facts_opaque(size, b);
	if (b->over)
		return err_set(e, -ENOMEM, "no memory for facts");
	return facts_read(buf_view(b), ret, e);
}

/* ---- rows ---- */

static int
put_email(struct index *x, const struct index_new *n, struct str base, struct place place,
    struct index_added *a, struct err *e)
{
	struct str places = places_pack(x->txn, &place, 1);

	if (!places.p)
		return err_set(e, -ENOMEM, "no memory for an Email");
	return db_run(x, Q_EMAIL_PUT, e, "iiiiitb", DB_I(a->email), DB_I(a->thread),
	    DB_I(n->size), DB_I(n->internal_date), DB_I(n->internal_zone), base, places);
}

int
member_put(struct index *x, struct box *b, uint32_t uid, uint64_t email, uint64_t thread,
    uint32_t flags, uint64_t modseq, struct err *e)
{
	return db_run(x, Q_MEMBER_PUT, e, "iiiiiii", DB_I(b->id), DB_I(uid), DB_I(email),
	    DB_I(thread), DB_I(flags), DB_I(modseq), DB_I(clock_real_us() / 1000000));
}

static int
put_rows(struct index *x, struct box *b, const struct index_new *n, const struct facts *f,
    struct str base, uint32_t flags, struct index_added *a, struct err *e)
{
	struct place place = { b->id, a->uid };
	int r;

	if ((r = thread_assign(x, f, &a->thread, e)) ||
	    (r = put_email(x, n, base, place, a, e)) ||
	    (r = member_put(x, b, a->uid, a->email, a->thread, flags, a->modseq, e)))
		return r;
	if (f)
		r = facts_store(x, a->email, f, e);
	else
		r = db_run(x, Q_UNPARSED_PUT, e, "i", DB_I(a->email));
	if (!r && n->spool_id)
		r = db_run(x, Q_DELIVERED_PUT, e, "iiii", DB_I(n->spool_id), DB_I(b->id),
		    DB_I(a->uid), DB_I(a->email));
	return r;
}

/* What the file's name begins with. */
static int
choose_base(struct index *x, const struct index_new *n, uint64_t email, struct str *ret,
    struct err *e)
{
	struct msg_name name;
	struct buf b;

	if (n->base.n) {
		if (!name_parse(n->base, &name) || name.base.n > NAME_BASE_MAX)
			return err_set(e, -EINVAL, "not a message file's name");
		*ret = name.base;
		return 0;
	}
	buf_init(&b, 0);
	name_base(&b, clock_real_us(), NAME_APPENDED, email, n->size, n->crc);
	*ret = arena_dup(x->txn, buf_view(&b));
	buf_done(&b);
	return ret->p ? 0 : err_set(e, -ENOMEM, "no memory for a name");
}

static int
give_file(struct index *x, struct box *b, const struct index_new *n, struct str base,
    struct arena *ar, struct index_added *a, struct err *e)
{
	struct buf path;
	int r = 0;

	buf_init(&path, 0);
	name_cur(&path, base, a->uid, a->email);
	a->path = arena_dup(x->txn, buf_view(&path));
	buf_clear(&path);
	folder_path(&path, b->dir, "cur", a->path);
	a->path = arena_dup(ar, buf_view(&path));
	buf_done(&path);
	if (!a->path.p)
		return err_set(e, -ENOMEM, "no memory for a path");
	if (n->in_new)
		r = settle_later(x, b->id, a->uid, a->email, n->base, e);
	else
		r = index_made(x, a->path, e);
	return r;
}

uint64_t
index_used(const struct index *x)
{
	uint64_t used = 0;

	for (size_t i = 0; i < x->n_boxes; i++)
		if (!x->boxes[i]->dead)
			used += x->boxes[i]->bytes;
	return used;
}

static int
add_checked(struct index *x, struct box *b, const struct index_new *n, const struct facts *f,
    uint32_t flags, struct arena *ar, struct index_added *ret, struct err *e)
{
	struct index_added a = { .uidvalidity = b->uidvalidity, .email = x->acc.next_email++ };
	struct str base;
	int r;

	a.modseq = index_next_modseq(x);
	if ((r = box_next_uid(b, &a.uid, e)) || (r = choose_base(x, n, a.email, &base, e)) ||
	    (r = put_rows(x, b, n, f, base, flags, &a, e)) ||
	    (r = give_file(x, b, n, base, ar, &a, e)))
		return r;
	member_count(b, a.uid, a.email, flags, n->size, 1);
	box_touch(x, b, a.modseq, 1, true);
	if ((r = email_count_single(x, b, a.thread, flags, 1, e)))
		return r;
	*ret = a;
	return 0;
}

/* The delivery's earlier row: 1; the file in new/ is named or dropped by settle. */
static int
seen_before(struct index *x, const struct index_new *n, struct index_added *ret, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_DELIVERED_GET, e, "i", DB_I(n->spool_id));
	uint32_t mailbox, uid;
	uint64_t email;
	int r;

	if (!s)
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) <= 0)
		return r;
	mailbox = db_u32(s, 0), uid = db_u32(s, 1), email = db_u64(s, 2);
	sqlite3_reset(s);
	if (!(s = db_q(x, Q_MEMBER_GET, e, "ii", DB_I(mailbox), DB_I(uid))))
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) < 0)
		return r;
	if (r && db_u64(s, 1) != email)
		r = 0;
	sqlite3_reset(s);
	*ret = (struct index_added){ .uid = r ? uid : 0, .email = email };
	if (n->in_new && (r = settle_later(x, n->mailbox,
	    r && mailbox == n->mailbox ? uid : 0, email, n->base, e)) < 0)
		return r;
	return 1;
}

int
index_add(struct index *x, const struct index_new *n, struct arena *ar, struct index_added *ret,
    struct err *e)
{
	struct keyword_set kw;
	struct facts f;
	struct buf own;
	struct box *b;
	bool parsed = n->facts.n || n->opaque;
	uint32_t flags;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (!(b = box_get(x, n->mailbox, e)) || b->noselect)
		return err_set(e, -ENOENT, "no such mailbox");
	if (n->size > INT64_MAX || n->spool_id > INT64_MAX || (n->in_new && !n->base.n))
		return err_set(e, -EINVAL, "impossible message");
	if (n->spool_id && (r = seen_before(x, n, ret, e)))
		return r;
	if (n->quota && (n->size > n->quota || index_used(x) > n->quota - n->size))
		return err_set(e, -EDQUOT, "over quota");
	buf_init(&own, 0);
	if (n->facts.n)
		r = facts_read(n->facts, &f, e);
	else if (n->opaque)
		r = facts_of_opaque(x, n->size, &own, &f, e);
	if (!r && !(r = keywords_resolve(x, b, n->keywords, n->n_keywords, true, &kw, e))) {
		flags = (n->sysflags & F_SYSTEM) | kw.bits | (kw.n_more ? F_MORE : 0u);
		r = add_checked(x, b, n, parsed ? &f : NULL, flags, ar, ret, e);
		for (size_t i = 0; !r && i < kw.n_more; i++)
			r = more_put(x, b, ret->uid, kw.more[i], e);
		x->trouble |= r != 0;
	}
	buf_done(&own);
	return r;
}

int
index_delivered(struct index *x, uint64_t spool_id, uint64_t *ret_email, struct err *e)
{
	sqlite3_stmt *s;
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!(s = db_q(x, Q_DELIVERED_GET, e, "i", DB_I(spool_id))))
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) > 0 && ret_email)
		*ret_email = db_u64(s, 2);
	sqlite3_reset(s);
	return r;
}

/* Forgets the rows of ids from lo to hi - 1. */
static int
prune_range(struct index *x, uint64_t lo, uint64_t hi, struct err *e)
{
	if (lo >= hi)
		return 0;
	return db_run(x, Q_DELIVERED_DEL, e, "ii", DB_I(lo), DB_I(hi - 1));
}

int
index_prune_delivered(struct index *x, uint64_t low, const uint64_t *open, size_t n_open,
    struct err *e)
{
	uint64_t from = 0;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (low > INT64_MAX)
		return err_set(e, -EINVAL, "impossible low-water mark");
	if (x->n_names) /* files in new/ are still told apart by their rows */
		return 0;
	for (size_t i = 0; i < n_open && open[i] < low; i++) {
		if ((r = prune_range(x, from, open[i], e)))
			return r;
		from = open[i] + 1;
	}
	x->acc.delivered_low = low;
	return prune_range(x, from, low, e);
}

/* ---- facts that come later ---- */

int
index_unparsed(struct index *x, uint64_t after, size_t limit, struct arena *ar,
    struct index_unparsed **ret, size_t *ret_n, struct err *e)
{
	struct index_unparsed *v;
	sqlite3_stmt *s;
	size_t n = 0;
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!(v = ARENA_ARRAY(ar, struct index_unparsed, limit + 1)))
		return err_set(e, -ENOMEM, "no memory for a list");
	if (!(s = db_q(x, Q_UNPARSED_LIST, e, "ii", DB_I(after), DB_I(limit))))
		return -EUCLEAN;
	while (n < limit && (r = db_step(x, s, e)) > 0)
		v[n++].email = db_u64(s, 0);
	sqlite3_reset(s);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		struct email_row m;

		if ((r = email_get(x, v[i].email, ar, &m, e)) || !m.n_places)
			continue;
		v[i].size = m.size;
		r = index_path(x, m.places[0].mailbox, m.places[0].uid, ar, &v[i].path, NULL, e);
	}
	if (r < 0)
		return r;
	*ret = v;
	*ret_n = n;
	return 0;
}

/* A message without facts was a thread of its own: now it finds the right one. */
static int
join_thread(struct index *x, const struct email_row *m, const struct facts *f, struct err *e)
{
	uint64_t thread;
	int r;

	if ((r = email_count_linked(x, m->id, -1, e)) ||
	    (r = thread_count(x, m->thread, -1, e)) ||
	    (r = thread_assign(x, f, &thread, e)) ||
	    (r = db_run(x, Q_EMAIL_THREAD, e, "ii", DB_I(m->id), DB_I(thread))))
		return r;
	for (size_t i = 0; i < m->n_places; i++)
		if ((r = db_run(x, Q_MEMBER_THREAD, e, "iii", DB_I(m->places[i].mailbox),
		         DB_I(m->places[i].uid), DB_I(thread))))
			return r;
	return email_count_linked(x, m->id, 1, e);
}

/* Whether an Email is there and has no facts: 1, 0, negative. */
static int
is_unparsed(struct index *x, uint64_t email, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_UNPARSED_LIST, e, "ii", DB_I(email - 1), DB_I(1));
	int r;

	if (!s)
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) > 0)
		r = db_u64(s, 0) == email;
	sqlite3_reset(s);
	return r;
}

int
index_set_facts(struct index *x, uint64_t email, struct str blob, struct err *e)
{
	struct email_row m;
	struct facts f;
	struct buf own;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if ((r = is_unparsed(x, email, e)) <= 0)
		return r ? r : err_set(e, -ENOENT, "no message waits for these facts");
	if ((r = email_get(x, email, x->txn, &m, e)))
		return r;
	buf_init(&own, 0);
	r = blob.n ? facts_read(blob, &f, e) : facts_of_opaque(x, m.size, &own, &f, e);
	if (!r && ((r = join_thread(x, &m, &f, e)) || (r = facts_store(x, email, &f, e)) ||
	              (r = db_run(x, Q_UNPARSED_DEL, e, "i", DB_I(email)))))
		x->trouble = true;
	buf_done(&own);
	return r;
}
