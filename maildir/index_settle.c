/*
 * What happens to files once a commit is on stable storage: taken-in ones get their
 * names in cur/, removed ones are unlinked, renamed mailboxes' directories follow.
 *
 * pending_unlink rows say what is to be unlinked; a row is cleared by a later
 * transaction, but only when a settle has shown that a volume sync began after the
 * unlink: else a power cut could keep the clearing and lose the unlink, and the file
 * would come back as a message.
 *
 * After a restart settle_load unlinks what rows are left (after an unclean stop the
 * recovery's settle does: a file may be the last one of a move that was cut); renames
 * into cur/ that were missed come again when new/ is swept, because the `delivered` row
 * knows the place.
 */
#include "maildir/index_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int
unlink_later(struct index *x, uint32_t mailbox, struct str name, struct err *e)
{
	uint64_t id = x->unlink_ids + 1;
	int r = db_run(x, Q_UNLINK_PUT, e, "iit", DB_I(id), DB_I(mailbox), name);

	if (!r)
		x->unlink_ids = id;
	return r;
}

int
settle_later(struct index *x, uint32_t mailbox, uint32_t uid, uint64_t email, struct str file,
    struct err *e)
{
	struct settle_name *s = index_grow(&x->names, &x->n_names, &x->cap_names, sizeof *s);

	if (!s || !(s->file = strndup(file.p, file.n))) {
		x->n_names -= s != NULL;
		x->trouble = true;
		return err_set(e, -ENOMEM, "no memory for a name");
	}
	s->no = UINT64_MAX;
	s->mailbox = mailbox;
	s->uid = uid;
	s->email = email;
	return 0;
}

void
settle_forget(struct index *x, size_t keep)
{
	while (x->n_names > keep)
		free(x->names[--x->n_names].file);
}

int
unlink_mark(struct index *x)
{
	struct unlink_mark *m;
	uint64_t last = x->n_marks ? x->marks[x->n_marks - 1].id : x->unlinked;

	if (x->unlink_ids == last)
		return 0;
	m = index_grow(&x->marks, &x->n_marks, &x->cap_marks, sizeof *m);
	if (!m)
		return -ENOMEM;
	*m = (struct unlink_mark){ x->commit_no, x->unlink_ids };
	return 0;
}

/* ---- names ---- */

static int
name_one(struct index *x, const struct settle_name *s, struct err *e)
{
	struct box *b = map_get(&x->by_id, s->mailbox);
	struct buf from, to;
	struct msg_name n;
	int r = 0;

	if (!b || !name_parse(str_c(s->file), &n))
		return 0; /* the mailbox is gone and its directory with it */
	buf_init(&from, 0);
	buf_init(&to, 0);
	folder_path(&from, b->dir, "new", str_c(s->file));
	folder_path(&to, b->dir, "cur/", STR_NULL);
	name_cur(&to, n.base, s->uid, s->email);
	if (!buf_cstr(&from) || !buf_cstr(&to))
		r = -ENOMEM;
	else if (!s->uid || renameat2(x->dirfd, from.p, x->dirfd, to.p, RENAME_NOREPLACE))
		r = s->uid && errno != EEXIST ? -errno : 0;
	else
		goto done;
	if (!r && unlinkat(x->dirfd, from.p, 0) && errno != ENOENT)
		r = -errno; /* a double of what is there already */
	if (r == -ENOENT && !faccessat(x->dirfd, to.p, F_OK, AT_SYMLINK_NOFOLLOW))
		r = 0;
	if (r)
		err_sys(e, r, "%s/%s -> %s", x->dir, from.p ? from.p : "", to.p ? to.p : "");
done:
	buf_done(&from);
	buf_done(&to);
	return r;
}

static int
settle_names(struct index *x, struct err *e)
{
	size_t kept = 0, i;
	int r = 0;

	for (i = 0; i < x->n_names; i++) {
		if (x->names[i].no > x->settled_no || r) {
			x->names[kept++] = x->names[i];
			continue;
		}
		r = name_one(x, &x->names[i], e);
		free(x->names[i].file);
	}
	x->n_names = kept;
	return r;
}

/* ---- unlinks ---- */

static int
unlink_one(struct index *x, uint32_t mailbox, struct str name, struct err *e)
{
	struct box *b = map_get(&x->by_id, mailbox);
	struct buf p;
	int r = 0;

	if (!b && mailbox)
		return 0;
	if (!name.n || memchr(name.p, '/', name.n))
		return err_set(e, -EUCLEAN, "%s: impossible pending unlink", x->dir);
	buf_init(&p, 0);
	if (!mailbox) {
		buf_str(&p, name);
		r = buf_cstr(&p) ? folder_remove(x->dirfd, p.p, e) : -ENOMEM;
	} else {
		folder_path(&p, b->dir, "cur", name);
		if (!buf_cstr(&p) || (unlinkat(x->dirfd, p.p, 0) && errno != ENOENT))
			r = err_sys(e, -errno, "%s/%s", x->dir, p.p);
	}
	buf_done(&p);
	return r;
}

static int
unlink_upto(struct index *x, uint64_t id, struct err *e)
{
	sqlite3_stmt *s;
	int r;

	if (id <= x->unlinked)
		return 0;
	if (!(s = db_q(x, Q_UNLINK_LIST, e, "ii", DB_I(x->unlinked), DB_I(id))))
		return -EUCLEAN;
	while ((r = db_step(x, s, e)) > 0)
		if ((r = unlink_one(x, db_u32(s, 1), db_text(s, 2), e)))
			break;
	sqlite3_reset(s);
	if (r)
		return r;
	x->unlinked = id;
	x->unlinked_no = x->commit_no;
	return 0;
}

static int
settle_unlinks(struct index *x, struct err *e)
{
	uint64_t id = 0;
	size_t n = 0;

	if (x->unlinked && x->settled_no > x->unlinked_no)
		x->clear_to = x->unlinked;
	while (n < x->n_marks && x->marks[n].no <= x->settled_no)
		id = x->marks[n++].id;
	if (n)
		memmove(x->marks, x->marks + n, (x->n_marks - n) * sizeof *x->marks);
	x->n_marks -= n;
	return unlink_upto(x, id, e);
}

/* ---- directories of renamed mailboxes ---- */

static bool
dir_in_use(const struct index *x, const char *dir)
{
	for (size_t i = 0; i < x->n_boxes; i++)
		if (!strcmp(x->boxes[i]->dir, dir))
			return true;
	return false;
}

/* Gives b's directory the name that its mailbox's name asks for, if it is free. */
static int
follow_name(struct index *x, struct box *b, struct err *e)
{
	struct buf want;
	char *dir;
	size_t n;
	int r = 0;

	buf_init(&want, 0);
	folder_name(&want, str_c(b->name));
	n = want.n;
	if (!n || !buf_cstr(&want) ||
	    (!strncmp(b->dir, want.p, n) && (!b->dir[n] || b->dir[n] == '-')) ||
	    dir_in_use(x, want.p))
		goto out;
	if (!renameat2(x->dirfd, b->dir, x->dirfd, want.p, RENAME_NOREPLACE) || errno == ENOENT) {
		if ((dir = buf_detach(&want, &n))) {
			free(b->dir);
			b->dir = dir;
			b->dir_moved = b->dirty = true;
		}
	} else if (errno != EEXIST && errno != ENOTEMPTY) {
		r = err_sys(e, -errno, "%s/%s -> %s", x->dir, b->dir, want.p);
	}
out:
	buf_done(&want);
	return r;
}

static int
settle_dirs(struct index *x, struct err *e)
{
	int r = 0;

	for (size_t i = 0; !r && i < x->n_boxes; i++)
		if (x->boxes[i]->renamed_no && x->boxes[i]->renamed_no <= x->settled_no) {
			x->boxes[i]->renamed_no = 0;
			r = follow_name(x, x->boxes[i], e);
		}
	return r;
}

/* ---- what readers may see ---- */

static void
settle_holds(struct index *x)
{
	size_t kept = 0;

	for (size_t i = 0; i < x->n_holds; i++) {
		struct hold *h = &x->holds[i];
		struct box *b = map_get(&x->by_id, h->mailbox);

		if (h->no > x->settled_no) {
			x->holds[kept++] = *h;
		} else if (b) {
			b->shown = h->uidnext > b->shown ? h->uidnext : b->shown;
			b->hold = 0;
		}
	}
	x->n_holds = kept;
	for (size_t i = kept; i-- > 0;) {
		struct box *b = map_get(&x->by_id, x->holds[i].mailbox);

		if (b)
			b->hold = x->holds[i].modseq;
	}
}

int
index_settle(struct index *x, uint64_t no, struct err *e)
{
	int r;

	if ((r = index_need_read(x, e)))
		return r;
	if (no > x->commit_no)
		return err_set(e, -EINVAL, "settle of a commit that is none");
	if (no <= x->settled_no)
		return 0;
	x->settled_no = no;
	if ((r = settle_names(x, e)) || (r = settle_unlinks(x, e)) || (r = settle_dirs(x, e))) {
		x->lost = true; /* reopening puts the tree right */
		return r;
	}
	settle_holds(x);
	return 0;
}

/* After opening: directories whose rename the row did not learn, unlinks left. */
int
settle_load(struct index *x, bool recover, struct err *e)
{
	sqlite3_stmt *s = db_q(x, Q_UNLINK_MAX, e, "");
	int r;

	if (!s || (r = db_step(x, s, e)) < 0)
		return -EUCLEAN;
	x->unlink_ids = db_u64(s, 0);
	sqlite3_reset(s);
	for (size_t i = 0; i < x->n_boxes; i++)
		if (*x->boxes[i]->dir && faccessat(x->dirfd, x->boxes[i]->dir, F_OK, 0) &&
		    (r = follow_name(x, x->boxes[i], e)))
			return r;
	return recover ? 0 : unlink_upto(x, x->unlink_ids, e);
}
