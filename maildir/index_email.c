/*
 * Email rows and their places (memberships). What an Email counts in JMAP follows from
 * all its places: it counts once in each mailbox where a place without \Deleted is, and
 * as unread when such a place lacks \Seen and none has \Draft. Emails with one place,
 * nearly all, are counted from that place's flags alone; F_LINKED in a member's flags
 * says that the Email has had more, and then the rows are looked at.
 */
#include "maildir/index_private.h"

#include <errno.h>

#define PLACE 8

static int
places_get(struct index *x, struct str s, struct arena *ar, struct place **ret, size_t *ret_n,
    struct err *e)
{
	size_t n = s.n / PLACE;
	struct place *p;

	if (s.n % PLACE || n > INDEX_MAX_MEMBERSHIPS)
		return err_set(e, -EUCLEAN, "%s: impossible Email row", x->dir);
	if (!(p = ARENA_ARRAY(ar, struct place, n + 1)))
		return err_set(e, -ENOMEM, "no memory for an Email");
	for (size_t i = 0; i < n; i++)
		p[i] = (struct place){ le32_get(s.p + i * PLACE), le32_get(s.p + i * PLACE + 4) };
	*ret = p;
	*ret_n = n;
	return 0;
}

int
email_get(struct index *x, uint64_t id, struct arena *ar, struct email_row *ret, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_EMAIL_GET, e, "i", DB_I(id));
	struct email_row m = { .id = id };
	int r;

	if (!s)
		return -EUCLEAN;
	if ((r = db_step(x, s, e)) <= 0)
		return r ? r : err_set(e, -EUCLEAN, "%s: no row for Email %016llx", x->dir,
		    (unsigned long long)id);
	m.thread = db_u64(s, 0), m.size = db_u64(s, 1);
	m.received = sqlite3_column_int64(s, 2), m.zone = sqlite3_column_int(s, 3);
	m.base = arena_dup(ar, db_text(s, 4));
	r = places_get(x, db_text(s, 5), ar, &m.places, &m.n_places, e);
	sqlite3_reset(s);
	if (r || !m.base.p)
		return r ? r : err_set(e, -ENOMEM, "no memory for an Email");
	*ret = m;
	return 0;
}

struct str
places_pack(struct arena *ar, const struct place *p, size_t n)
{
	char *out = arena_alloc(ar, n * PLACE + 1);

	for (size_t i = 0; out && i < n; i++) {
		le32_put(out + i * PLACE, p[i].mailbox);
		le32_put(out + i * PLACE + 4, p[i].uid);
	}
	return (struct str){ out, out ? n * PLACE : 0 };
}

int
email_put_places(struct index *x, uint64_t id, const struct place *p, size_t n, struct err *e)
{
	struct str s = places_pack(x->txn, p, n);

	if (!s.p) {
		x->trouble = true;
		return err_set(e, -ENOMEM, "no memory for an Email");
	}
	return db_run(x, Q_EMAIL_PLACES, e, "ib", DB_I(id), s);
}

static bool
is_unread(uint32_t flags)
{
	return !(flags & (F_SEEN | F_DRAFT | F_DELETED));
}

int
email_count_single(struct index *x, struct box *b, uint64_t thread, uint32_t flags, int sign,
    struct err *e)
{
	int unread = is_unread(flags) ? sign : 0;

	if (flags & F_DELETED)
		return 0;
	b->jmap.total += (uint32_t)sign;
	b->jmap.unread += (uint32_t)unread;
	b->dirty = true;
	return thread_shift(x, thread, b->id, sign, unread, e);
}

int
email_count_flags(struct index *x, struct box *b, uint64_t thread, uint32_t old, uint32_t flags,
    struct err *e)
{
	int vis = !(flags & F_DELETED) - !(old & F_DELETED);
	int unread = is_unread(flags) - is_unread(old);

	b->jmap.total += (uint32_t)vis;
	b->jmap.unread += (uint32_t)unread;
	b->dirty |= vis || unread;
	return thread_shift(x, thread, b->id, vis, unread, e);
}

/* The flags of each place. */
static int
places_flags(struct index *x, const struct email_row *m, uint32_t *flags, struct err *e)
{
	for (size_t i = 0; i < m->n_places; i++) {
		sqlite3_stmt *s = db_q(x, Q_MEMBER_GET, e, "ii", DB_I(m->places[i].mailbox),
		    DB_I(m->places[i].uid));
		int r;

		if (!s)
			return -EUCLEAN;
		if ((r = db_step(x, s, e)) <= 0)
			return r ? r : err_set(e, -EUCLEAN, "%s: an Email's place is missing",
			    x->dir);
		flags[i] = db_u32(s, 3);
		sqlite3_reset(s);
	}
	return 0;
}

static bool
first_visible_in_box(const struct email_row *m, const uint32_t *flags, size_t i)
{
	if (flags[i] & F_DELETED)
		return false;
	for (size_t k = 0; k < i; k++)
		if (m->places[k].mailbox == m->places[i].mailbox && !(flags[k] & F_DELETED))
			return false;
	return true;
}

int
email_count_linked(struct index *x, uint64_t id, int sign, struct err *e)
{
	struct email_row m;
	bool unread = false, draft = false;
	uint32_t *flags;
	int r;

	if ((r = email_get(x, id, x->txn, &m, e)))
		return r;
	if (!(flags = ARENA_ARRAY(x->txn, uint32_t, m.n_places + 1)))
		return err_set(e, -ENOMEM, "no memory for an Email");
	if ((r = places_flags(x, &m, flags, e)))
		return r;
	for (size_t i = 0; i < m.n_places; i++) {
		unread |= is_unread(flags[i]);
		draft |= !(flags[i] & F_DELETED) && (flags[i] & F_DRAFT);
	}
	unread &= !draft;
	for (size_t i = 0; i < m.n_places; i++) {
		struct box *b = map_get(&x->by_id, m.places[i].mailbox);

		if (!b || !first_visible_in_box(&m, flags, i))
			continue;
		b->jmap.total += (uint32_t)sign;
		b->jmap.unread += (uint32_t)(unread ? sign : 0);
		b->dirty = true;
		if ((r = thread_shift(x, m.thread, b->id, sign, unread ? sign : 0, e)))
			return r;
	}
	return 0;
}

void
member_count(struct box *b, uint32_t uid, uint64_t email, uint32_t flags, uint64_t size, int sign)
{
	b->total += (uint32_t)sign;
	if (!(flags & F_SEEN))
		b->unseen += (uint32_t)sign;
	if (flags & F_DELETED)
		b->deleted += (uint32_t)sign;
	b->bytes += sign > 0 ? size : -size;
	b->checksum ^= box_row_sum(uid, email, flags);
	b->dirty = true;
}
