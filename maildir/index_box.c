/*
 * Mailboxes: their rows in memory and in the database, names, roles, keyword
 * lists. The row in memory is the one that is worked with; a dirty one is written
 * by the commit. Names are UTF-8 with '/' between levels; the directory's name is
 * made from it (index_folder.c) and follows a rename after the settle.
 */
#include "maildir/index_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>

#include "lib/base/clock.h"
#include "lib/base/text.h"

static void
box_free(struct box *b)
{
	for (size_t i = 0; i < b->n_keywords; i++)
		free(b->keywords[i]);
	free(b->keywords);
	free(b->name);
	free(b->role);
	free(b->dir);
	free(b);
}

static void
drop_at(struct index *x, size_t i)
{
	map_del(&x->by_id, x->boxes[i]->id);
	box_free(x->boxes[i]);
	x->boxes[i] = x->boxes[--x->n_boxes];
}

void
box_free_all(struct index *x)
{
	while (x->n_boxes)
		drop_at(x, x->n_boxes - 1);
	free(x->boxes);
	x->boxes = NULL;
	map_done(&x->by_id);
}

void
box_drop_dead(struct index *x)
{
	for (size_t i = x->n_boxes; i-- > 0;) {
		x->boxes[i]->dir_moved = false; /* the row says it now */
		if (x->boxes[i]->dead)
			drop_at(x, i);
	}
}

static struct box *
box_insert(struct index *x, uint32_t id)
{
	struct box *b = calloc(1, sizeof *b), **slot;

	if (!b)
		return NULL;
	b->id = id;
	slot = index_grow(&x->boxes, &x->n_boxes, &x->cap_boxes, sizeof *slot);
	if (!slot || map_set(&x->by_id, id, b)) {
		x->n_boxes -= slot != NULL;
		free(b);
		return NULL;
	}
	*slot = b;
	return b;
}

static bool
set_text(char **at, struct str s)
{
	char *p = strndup(s.n ? s.p : "", s.n);

	if (!p)
		return false;
	free(*at);
	*at = p;
	return true;
}

/* ---- rows ---- */

static bool
row_get(struct box *b, sqlite3_stmt *s)
{
	uint32_t claimed = b->first_recent;

	if (!set_text(&b->name, db_text(s, 1)) || !set_text(&b->role, db_text(s, 2)) ||
	    (!b->dir_moved && !set_text(&b->dir, db_text(s, 3))))
		return false;
	b->subscribed = db_u64(s, 4), b->noselect = db_u64(s, 5);
	b->uidvalidity = db_u32(s, 6), b->uidnext = db_u32(s, 7);
	b->first_recent = db_u32(s, 8), b->reserved = db_u32(s, 9);
	b->modseq = db_u64(s, 10), b->created = db_u64(s, 11);
	b->keyword_modseq = db_u64(s, 12), b->tomb_floor = db_u64(s, 13);
	b->total = db_u32(s, 14), b->unseen = db_u32(s, 15), b->deleted = db_u32(s, 16);
	b->bytes = db_u64(s, 17);
	b->jmap = (struct index_jmap_counts){ db_u32(s, 18), db_u32(s, 19), db_u32(s, 20),
		db_u32(s, 21) };
	b->checksum = db_u64(s, 22);
	b->view_stamp = db_u64(s, 23), b->view_lag = db_u64(s, 24);
	b->dead = false;
	b->txn_hold = 0;
	if (claimed > b->first_recent) /* claims are not of any transaction */
		b->first_recent = claimed;
	b->dirty = b->dir_moved || claimed == b->first_recent;
	b->seen_in_load = true;
	return true;
}

/* A directory name that leads out of the account's own is damage or an attack. */
static bool
row_sane(const struct box *b)
{
	return *b->name && !strchr(b->dir, '/') && (!*b->dir || *b->dir == '.') &&
	    strcmp(b->dir, ".") && strcmp(b->dir, "..") && strlen(b->dir) < 240 && b->uidnext &&
	    b->uidvalidity && strlen(b->role) < 32 && strlen(b->name) <= INDEX_MAX_NAME;
}

static int
load_row(struct index *x, sqlite3_stmt *s, struct err *e)
{
	uint32_t id = db_u32(s, 0);
	struct box *b = map_get(&x->by_id, id);
	bool born = !b;

	if (x->n_boxes > 2 * INDEX_MAX_MAILBOXES)
		return err_set(e, -EUCLEAN, "%s/index.db: too many mailboxes", x->dir);
	if (!b && !(b = box_insert(x, id)))
		return err_set(e, -ENOMEM, "no memory for the mailboxes");
	if (!row_get(b, s))
		return err_set(e, -ENOMEM, "no memory for the mailboxes");
	if (!row_sane(b))
		return err_set(e, -EUCLEAN, "%s/index.db: impossible mailbox %u", x->dir, id);
	if (born)
		b->shown = b->uidnext;
	return 0;
}

static void
forget_keywords(struct box *b)
{
	while (b->n_keywords)
		free(b->keywords[--b->n_keywords]);
	b->keywords_loaded = false;
}

int
box_load_all(struct index *x, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_BOX_ALL, e, "");
	int r;

	if (!s)
		return db_errno(sqlite3_extended_errcode(x->db));
	for (size_t i = 0; i < x->n_boxes; i++) {
		x->boxes[i]->seen_in_load = false;
		forget_keywords(x->boxes[i]);
	}
	while ((r = db_step(x, s, e)) > 0)
		if ((r = load_row(x, s, e)))
			break;
	sqlite3_reset(s);
	if (r)
		return r;
	for (size_t i = x->n_boxes; i-- > 0;)
		if (!x->boxes[i]->seen_in_load)
			drop_at(x, i);
	return 0;
}

static int
row_put(struct index *x, const struct box *b, struct err *e)
{
	return db_run(x, Q_BOX_PUT, e, "itttiiiiiiiiiiiiiiiiiiiii", DB_I(b->id), str_c(b->name),
	    str_c(b->role), str_c(b->dir), DB_I(b->subscribed), DB_I(b->noselect),
	    DB_I(b->uidvalidity), DB_I(b->uidnext), DB_I(b->first_recent), DB_I(b->reserved),
	    DB_I(b->modseq), DB_I(b->created), DB_I(b->keyword_modseq), DB_I(b->tomb_floor),
	    DB_I(b->total), DB_I(b->unseen), DB_I(b->deleted), DB_I(b->bytes),
	    DB_I(b->jmap.total), DB_I(b->jmap.unread), DB_I(b->jmap.threads),
	    DB_I(b->jmap.unread_threads), DB_I(b->checksum), DB_I(b->view_stamp),
	    DB_I(b->view_lag));
}

int
box_write_dirty(struct index *x, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < x->n_boxes; i++) {
		struct box *b = x->boxes[i];

		if (!b->dirty || b->dead)
			continue;
		if (b->view_lag > VIEW_LAG_MAX && (r = view_fold(x, b, e)))
			break;
		if ((uint64_t)b->uidnext + INDEX_UID_STEP / 2 > b->reserved || b->rename) {
			uint64_t want = ((uint64_t)b->uidnext / INDEX_UID_STEP + 2) * INDEX_UID_STEP;

			b->reserved = want < UINT32_MAX ? (uint32_t)want : UINT32_MAX;
			b->rename = false;
			if ((r = folder_write(x, b, e)))
				break;
		}
		if (!(r = row_put(x, b, e)))
			b->dirty = false;
	}
	return r;
}

struct box *
box_get(struct index *x, uint32_t id, struct err *e)
{
	struct box *b = map_get(&x->by_id, id);

	if (b && !b->dead)
		return b;
	err_set(e, -ENOENT, "no such mailbox");
	return NULL;
}

struct box *
box_named(const struct index *x, struct str name)
{
	bool inbox = str_ieq(name, STR("INBOX"));

	for (size_t i = 0; i < x->n_boxes; i++) {
		struct box *b = x->boxes[i];

		if (!b->dead && str_eq(str_c(b->name), inbox ? STR("INBOX") : name))
			return b;
	}
	return NULL;
}

uint32_t
index_find(const struct index *x, struct str name)
{
	const struct box *b = box_named(x, name);

	return b ? b->id : 0;
}

uint32_t
index_find_role(const struct index *x, struct str role)
{
	for (size_t i = 0; role.n && i < x->n_boxes; i++)
		if (!x->boxes[i]->dead && str_eq(str_c(x->boxes[i]->role), role))
			return x->boxes[i]->id;
	return 0;
}

/* ---- counters ---- */

uint64_t
box_shown_modseq(const struct box *b)
{
	return b->hold && b->hold <= b->modseq ? b->hold - 1 : b->modseq;
}

void
box_touch(struct index *x, struct box *b, uint64_t modseq, uint64_t rows, bool hold)
{
	b->modseq = modseq;
	b->view_lag += rows;
	b->dirty = true;
	if (hold && !b->txn_hold)
		b->txn_hold = modseq;
}

int
box_next_uid(struct box *b, uint32_t *ret, struct err *e)
{
	if (b->uidnext >= UINT32_MAX - 1)
		return err_set(e, -E2BIG, "%s has no UIDs left", b->name);
	*ret = b->uidnext++;
	b->dirty = true;
	return 0;
}

static uint64_t
mix(uint64_t v)
{
	v ^= v >> 33, v *= 0xff51afd7ed558ccdu;
	v ^= v >> 33, v *= 0xc4ceb9fe1a85ec53u;
	return v ^ v >> 33;
}

uint64_t
box_row_sum(uint32_t uid, uint64_t email, uint32_t flags)
{
	return mix(mix(email) ^ ((uint64_t)uid << 32 | (flags & F_PUBLIC)));
}

/* ---- keywords ---- */

int
box_keywords_load(struct index *x, struct box *b, struct err *e)
{
	sqlite3_stmt *s;
	char **slot;
	int r;

	if (b->keywords_loaded)
		return 0;
	if (!(s = db_q(x, Q_KEYWORD_ALL, e, "i", DB_I(b->id))))
		return db_errno(sqlite3_extended_errcode(x->db));
	forget_keywords(b);
	while ((r = db_step(x, s, e)) > 0) {
		struct str name = db_text(s, 1);

		if (db_u64(s, 0) != b->n_keywords || b->n_keywords >= INDEX_MAX_KEYWORDS ||
		    !name.n || name.n > INDEX_MAX_KEYWORD)
			r = err_set(e, -EUCLEAN, "%s: impossible keyword row", x->dir);
		else if (!(slot = index_grow(&b->keywords, &b->n_keywords, &b->cap_keywords,
		             sizeof *slot)))
			r = err_set(e, -ENOMEM, "no memory for keywords");
		else if (!(*slot = strndup(name.p, name.n)))
			b->n_keywords--, r = err_set(e, -ENOMEM, "no memory for keywords");
		if (r < 0)
			break;
	}
	sqlite3_reset(s);
	b->keywords_loaded = !r;
	return r;
}

static bool
keyword_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 127)
			return false;
	return s.n && s.n <= INDEX_MAX_KEYWORD;
}

int
box_keyword(struct index *x, struct box *b, struct str name, bool add, struct err *e)
{
	char **slot;
	int r;

	if ((r = box_keywords_load(x, b, e)))
		return r;
	for (size_t i = 0; i < b->n_keywords; i++)
		if (str_ieq(str_c(b->keywords[i]), name))
			return (int)i;
	if (!add)
		return -ENOENT;
	if (!keyword_valid(name))
		return err_set(e, -EINVAL, "not a keyword");
	if (b->n_keywords >= INDEX_MAX_KEYWORDS)
		return err_set(e, -E2BIG, "%s has %d keywords already", b->name,
		    INDEX_MAX_KEYWORDS);
	r = db_run(x, Q_KEYWORD_PUT, e, "iit", DB_I(b->id), DB_I(b->n_keywords), name);
	if (r)
		return r;
	slot = index_grow(&b->keywords, &b->n_keywords, &b->cap_keywords, sizeof *slot);
	if (!slot || !(*slot = strndup(name.p, name.n))) {
		b->n_keywords -= slot != NULL;
		x->trouble = true;
		return err_set(e, -ENOMEM, "no memory for keywords");
	}
	b->keyword_modseq = x->acc.modseq + 1;
	b->dirty = true;
	return (int)b->n_keywords - 1;
}

/* ---- making ---- */

static bool
level_valid(struct str s)
{
	return s.n && !ascii_has_control(s) && !str_eq(s, STR(".")) && !str_eq(s, STR(".."));
}

static bool
name_valid(struct str name)
{
	struct str s = name;
	size_t levels = 0;

	if (!name.n || name.n > INDEX_MAX_NAME || !utf8_valid(name))
		return false;
	while (s.p)
		if (!level_valid(str_cut(&s, '/')) || ++levels > INDEX_MAX_LEVELS)
			return false;
	return true;
}

/* The name as kept: its first level INBOX in capitals. */
static struct str
name_norm(struct index *x, struct str name)
{
	struct str rest = name, first = str_cut(&rest, '/');

	if (!str_ieq(first, STR("INBOX")))
		return name;
	return rest.p ? arena_printf(x->txn, "INBOX/%.*s", STR_ARG(rest)) : STR("INBOX");
}

static bool
dir_taken(struct index *x, const char *dir)
{
	struct stat st;

	for (size_t i = 0; i < x->n_boxes; i++)
		if (!strcmp(x->boxes[i]->dir, dir))
			return true;
	return *dir && !fstatat(x->dirfd, dir, &st, AT_SYMLINK_NOFOLLOW);
}

/* A free directory name for the mailbox. */
static char *
choose_dir(struct index *x, struct str name, uint32_t id)
{
	struct buf b;

	buf_init(&b, 0);
	folder_name(&b, name);
	if (b.n && dir_taken(x, buf_cstr(&b)))
		buf_printf(&b, "-%u", id);
	if (!b.n)
		return strdup("");
	buf_cstr(&b);
	return buf_detach(&b, &(size_t){ 0 });
}

static uint32_t
new_uidvalidity(struct index *x)
{
	uint64_t v = x->uidvalidity ? x->uidvalidity : clock_real_us() / 1000000;

	for (size_t i = 0; i < x->n_boxes; i++)
		if (x->boxes[i]->uidvalidity >= v)
			v = (uint64_t)x->boxes[i]->uidvalidity + 1;
	if (v < x->acc.next_uidvalidity)
		v = x->acc.next_uidvalidity;
	if (v >= UINT32_MAX)
		v = UINT32_MAX - 1;
	x->acc.next_uidvalidity = (uint32_t)v + 1;
	return (uint32_t)v;
}

int
box_make(struct index *x, struct str name, struct str role, const char *dir, bool noselect,
    struct box **ret, struct err *e)
{
	uint32_t id = x->acc.next_mailbox, validity = new_uidvalidity(x);
	struct box *b;
	char *own;
	int r;

	if (x->n_boxes >= INDEX_MAX_MAILBOXES)
		return err_set(e, -E2BIG, "more than %d mailboxes", INDEX_MAX_MAILBOXES);
	if (!(b = box_insert(x, id)))
		goto nomem;
	x->acc.next_mailbox++;
	b->dir = strdup("-"); /* no directory yet: nobody's name */
	if (!b->dir || !set_text(&b->name, name) || !set_text(&b->role, role))
		goto nomem;
	if (!(own = dir ? strdup(dir) : choose_dir(x, name, id)))
		goto nomem;
	free(b->dir);
	b->dir = own;
	b->noselect = noselect;
	b->uidvalidity = validity;
	b->uidnext = b->first_recent = b->shown = 1;
	b->created = b->tomb_floor = index_next_modseq(x);
	b->modseq = b->created;
	b->rename = b->dirty = true;
	if ((r = folder_make(x, b->dir, e)))
		x->trouble = true;
	else
		*ret = b;
	return r;
nomem:
	x->trouble = true;
	return err_set(e, -ENOMEM, "no memory for a mailbox");
}

/* The levels above name that are missing, as noselect mailboxes. */
static int
make_parents(struct index *x, struct str name, struct err *e)
{
	struct box *b;
	int r;

	for (size_t i = 0; i < name.n; i++) {
		struct str parent = str_head(name, i);

		if (name.p[i] != '/' || box_named(x, parent))
			continue;
		if ((r = box_make(x, parent, STR(""), NULL, true, &b, e)))
			return r;
	}
	return 0;
}

/* A name that is subscribed to keeps that when it becomes a mailbox. */
static int
take_subscription(struct index *x, struct box *b, struct err *e)
{
	int r = db_run(x, Q_SUB_DEL, e, "t", str_c(b->name));

	if (r == 0 && sqlite3_changes(x->db) > 0)
		b->subscribed = b->rename = true;
	return r;
}

int
index_create(struct index *x, struct str name, struct str role, uint32_t *ret_id, struct err *e)
{
	struct box *b;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (!name_valid(name))
		return err_set(e, -EINVAL, "not a mailbox name");
	if (role.n > 31 || (role.n && index_find_role(x, role)))
		return err_set(e, -EEXIST, "another mailbox has the role %.*s", STR_ARG(role));
	name = name_norm(x, name);
	b = box_named(x, name);
	if (b && !b->noselect)
		return err_set(e, -EEXIST, "the mailbox exists");
	if (b) { /* a parent becomes a mailbox of its own */
		b->noselect = false;
		b->uidvalidity = new_uidvalidity(x);
		b->rename = true;
		box_touch(x, b, index_next_modseq(x), 0, false);
		if (role.n && !set_text(&b->role, role))
			r = x->trouble = true, err_set(e, -ENOMEM, "no memory for a mailbox");
	} else if (!(r = make_parents(x, name, e))) {
		r = box_make(x, name, role, NULL, false, &b, e);
	}
	if (!r)
		r = take_subscription(x, b, e);
	if (!r)
		*ret_id = b->id;
	return r;
}

static bool
is_under(const struct box *b, struct str parent)
{
	struct str n = str_c(b->name);

	return n.n > parent.n && n.p[parent.n] == '/' && str_starts(n, parent);
}

static bool
has_children(const struct index *x, const struct box *b)
{
	for (size_t i = 0; i < x->n_boxes; i++)
		if (!x->boxes[i]->dead && is_under(x->boxes[i], str_c(b->name)))
			return true;
	return false;
}

static int
delete_rows(struct index *x, struct box *b, bool keep, struct err *e)
{
	int r;

	if ((r = member_remove_all(x, b, keep, e)) ||
	    (r = db_run(x, Q_KEYWORD_DEL, e, "i", DB_I(b->id))) ||
	    (r = db_run(x, Q_CHUNK_DEL, e, "ii", DB_I((uint64_t)b->id << 32),
	         DB_I((uint64_t)b->id << 32 | UINT32_MAX))))
		return r;
	forget_keywords(b);
	if (keep)
		return 0;
	if ((r = db_run(x, Q_GONE_DEL, e, "ii", DB_I(b->id), DB_I(INT64_MAX))) ||
	    (r = db_run(x, Q_BOX_DEL, e, "i", DB_I(b->id))) ||
	    (r = db_run(x, Q_BOX_GONE, e, "iii", DB_I(index_next_modseq(x)), DB_I(b->id),
	         DB_I(clock_real_us() / 1000000))))
		return r;
	return unlink_later(x, 0, str_c(b->dir), e);
}

int
index_delete(struct index *x, uint32_t mailbox, struct err *e)
{
	struct box *b;
	bool keep;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)))
		return -ENOENT;
	if (!strcmp(b->name, "INBOX"))
		return err_set(e, -EPERM, "INBOX cannot be deleted");
	keep = has_children(x, b);
	if (keep && b->noselect)
		return err_set(e, -EBUSY, "the mailbox has children");
	if ((r = delete_rows(x, b, keep, e)) ||
	    (!keep && b->subscribed && (r = db_run(x, Q_SUB_PUT, e, "t", str_c(b->name))))) {
		x->trouble = true;
		return r;
	}
	if (keep) {
		b->noselect = true;
		b->view_stamp = b->view_lag = 0;
		*b->role = 0;
		b->rename = true;
		box_touch(x, b, index_next_modseq(x), 0, false);
	} else {
		b->dead = true;
	}
	return 0;
}

static int
rename_inbox(struct index *x, struct box *inbox, struct str name, struct err *e)
{
	struct uid_range all = { 1, UINT32_MAX };
	struct uid_set set = { &all, 1 };
	struct store_copied c;
	uint32_t id;
	int r;

	if ((r = index_create(x, name, STR(""), &id, e)))
		return r;
	return index_copy(x, inbox->id, &set, id, true, 0, x->txn, &c, e);
}

/* One mailbox gets the name new + what follows its first old_n bytes. */
static int
rename_one(struct index *x, struct box *b, size_t old_n, struct str name, struct err *e)
{
	struct str rest = str_skip(str_c(b->name), old_n);
	struct str full = arena_printf(x->txn, "%.*s%.*s", STR_ARG(name), STR_ARG(rest));

	if (!full.p || !set_text(&b->name, full)) {
		x->trouble = true;
		return err_set(e, -ENOMEM, "no memory for a name");
	}
	b->rename = true;
	b->renamed_no = UINT64_MAX;
	box_touch(x, b, index_next_modseq(x), 0, false);
	return 0;
}

static int
rename_tree(struct index *x, struct box *b, struct str name, struct err *e)
{
	struct str old = arena_dup(x->txn, str_c(b->name));
	int r;

	for (size_t i = 0; i < x->n_boxes; i++) {
		struct box *c = x->boxes[i];

		if (!c->dead && is_under(c, old) &&
		    !name_valid(arena_printf(x->txn, "%.*s%s", STR_ARG(name), c->name + old.n)))
			return err_set(e, -E2BIG, "a child's name would be too long");
	}
	if ((r = make_parents(x, name, e)) || (r = rename_one(x, b, old.n, name, e)))
		return r;
	for (size_t i = 0; i < x->n_boxes; i++)
		if (!x->boxes[i]->dead && x->boxes[i] != b && is_under(x->boxes[i], old) &&
		    (r = rename_one(x, x->boxes[i], old.n, name, e)))
			return r;
	return 0;
}

int
index_rename(struct index *x, uint32_t mailbox, struct str name, struct err *e)
{
	struct box *b;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)))
		return -ENOENT;
	if (!name_valid(name))
		return err_set(e, -EINVAL, "not a mailbox name");
	name = name_norm(x, name);
	if (box_named(x, name))
		return err_set(e, -EEXIST, "the mailbox exists");
	if (!strcmp(b->name, "INBOX"))
		return rename_inbox(x, b, name, e);
	if (name.n > strlen(b->name) && name.p[strlen(b->name)] == '/' &&
	    str_starts(name, str_c(b->name)))
		return err_set(e, -EINVAL, "a mailbox cannot move below itself");
	return rename_tree(x, b, name, e);
}

int
index_subscribe(struct index *x, struct str name, bool on, struct err *e)
{
	struct box *b;
	int r;

	if ((r = index_need_txn(x, e)))
		return r;
	if (!name_valid(name))
		return err_set(e, -EINVAL, "not a mailbox name");
	name = name_norm(x, name);
	if ((b = box_named(x, name)) && b->subscribed != on) {
		b->subscribed = on;
		b->rename = true; /* the folder's file says it too */
		box_touch(x, b, index_next_modseq(x), 0, false);
	}
	if (b)
		return db_run(x, Q_SUB_DEL, e, "t", name);
	return db_run(x, on ? Q_SUB_PUT : Q_SUB_DEL, e, "t", name);
}

/* ---- reading ---- */

static void
fill(struct arena *ar, const struct box *b, struct store_mailbox *m)
{
	*m = (struct store_mailbox){ .id = b->id, .name = arena_dup(ar, str_c(b->name)),
		.role = arena_dup(ar, str_c(b->role)), .subscribed = b->subscribed,
		.noselect = b->noselect, .uidvalidity = b->uidvalidity, .uidnext = b->shown,
		.first_recent = b->first_recent, .modseq = box_shown_modseq(b), .total = b->total,
		.unseen = b->unseen, .deleted = b->deleted, .bytes = b->bytes };
}

/* Names that are subscribed to and no mailbox. */
static int
list_subscriptions(struct index *x, struct arena *ar, struct store_mailbox *m, size_t max,
    size_t *n, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_SUB_ALL, e, "");
	int r;

	if (!s)
		return db_errno(sqlite3_extended_errcode(x->db));
	while ((r = db_step(x, s, e)) > 0 && *n < max)
		if (!box_named(x, db_text(s, 0)))
			m[(*n)++] = (struct store_mailbox){ .name = arena_dup(ar, db_text(s, 0)),
				.subscribed = true, .noselect = true };
	sqlite3_reset(s);
	return r < 0 ? r : 0;
}

int
index_list(struct index *x, struct arena *ar, struct store_mailbox **ret, size_t *ret_n,
    struct err *e)
{
	size_t max = x->n_boxes + 1000, n = 0;
	struct store_mailbox *m = ARENA_ARRAY(ar, struct store_mailbox, max);
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!m)
		return err_set(e, -ENOMEM, "no memory for the list");
	for (size_t i = 0; i < x->n_boxes; i++)
		if (!x->boxes[i]->dead)
			fill(ar, x->boxes[i], &m[n++]);
	if ((r = list_subscriptions(x, ar, m, max, &n, e)))
		return r;
	*ret = m;
	*ret_n = n;
	return 0;
}

int
index_status(struct index *x, uint32_t mailbox, struct arena *ar, struct store_mailbox *ret,
    struct err *e)
{
	struct box *b;
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)))
		return -ENOENT;
	fill(ar, b, ret);
	return 0;
}

int
index_jmap_counts(struct index *x, uint32_t mailbox, struct index_jmap_counts *ret, struct err *e)
{
	struct box *b;
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (!(b = box_get(x, mailbox, e)))
		return -ENOENT;
	*ret = b->jmap;
	return 0;
}

int
index_folder(struct index *x, uint32_t mailbox, struct arena *ar, struct str *ret_dir,
    struct err *e)
{
	struct box *b = box_get(x, mailbox, e);

	if (!b)
		return -ENOENT;
	*ret_dir = arena_dup(ar, str_c(b->dir));
	return ret_dir->p ? 0 : err_set(e, -ENOMEM, "no memory for a path");
}
