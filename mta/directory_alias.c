/*
 * Aliases and forwards of the directory: `posthorn alias` and `posthorn user forward`.
 * Their targets are plain addresses with a domain; commands and files are for the
 * administrator's alias files.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/mail/path.h"
#include "mta/address_list.h"
#include "mta/directory_private.h"

#define TARGETS_MAX 200   /* of one alias or account */

/* Joins the rows of a statement for one column. */
static int
join(struct directory *d, sqlite3_stmt *s, struct arena *a, struct str *ret)
{
	struct buf b = { .max = 1u << 20 };
	int rc, r;

	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		if (b.n)
			buf_putc(&b, ',');
		buf_puts(&b, (const char *)sqlite3_column_text(s, 0));
	}
	sqlite3_reset(s);
	r = rc != SQLITE_DONE || b.over ? -EIO : b.n > 0;
	if (r > 0) {
		*ret = arena_dup(a, buf_view(&b));
		r = ret->p ? 1 : -ENOMEM;
	}
	buf_done(&b);
	return r;
}

int
directory_aliases(struct directory *d, const char *domain, struct str local, struct arena *a,
    struct str *ret)
{
	sqlite3_stmt *s = directory_stmt(d, DS_ALIAS_FIND);

	if (!s)
		return -EIO;
	sqlite3_bind_text(s, 1, domain, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, local.n ? local.p : "", (int)local.n, SQLITE_STATIC);
	return join(d, s, a, ret);
}

int
directory_forwards(struct directory *d, uint64_t account, struct arena *a, struct str *ret)
{
	sqlite3_stmt *s = directory_stmt(d, DS_FORWARD_FIND);

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, (int64_t)account);
	return join(d, s, a, ret);
}

/* ---- changes ---- */

/* Calls fn with each address of the list, in the house's spelling. */
static int
each_target(struct directory *d, struct str list,
    int (*fn)(struct directory *d, struct str target, void *arg, struct err *e), void *arg,
    struct err *e)
{
	struct arena *a = arena_new(1u << 20);
	struct address_item item;
	struct path p;
	unsigned n = 0;
	int r = a ? 0 : err_set(e, -ENOMEM, "no memory");

	while (!r && (r = address_list_next(&list, a, &item)) > 0) {
		if (item.kind != ADDRESS_MAIL || path_parse_address(item.text, PATH_UTF8, a, &p))
			r = err_set(e, -EINVAL, "%.*s is no address", STR_ARG(str_head(item.text, 200)));
		else if (n++ == TARGETS_MAX)
			r = err_set(e, -E2BIG, "more than %d addresses", TARGETS_MAX);
		else
			r = fn(d, p.text, arg, e);
	}
	if (r == -EINVAL && e && !e->text[0])
		err_set(e, r, "%.*s is no address", STR_ARG(str_head(item.text, 200)));
	if (!r && !n)
		r = err_set(e, -EINVAL, "no address is given");
	arena_free(&a);
	return r;
}

static int
bind_alias(struct directory *d, enum directory_stmt which, const struct mailname *m,
    struct str target, sqlite3_stmt **ret, struct err *e)
{
	sqlite3_stmt *s = directory_stmt(d, which);

	if (!s)
		return directory_fail(d, e);
	sqlite3_bind_text(s, 1, m->domain, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, m->local, -1, SQLITE_STATIC);
	directory_bind_str(s, 3, target);
	*ret = s;
	return 0;
}

static int
add_one(struct directory *d, struct str target, void *arg, struct err *e)
{
	const struct mailname *m = arg;
	sqlite3_stmt *s;
	int r = bind_alias(d, DS_ALIAS_ADD, m, target, &s, e);

	if (r)
		return r;
	sqlite3_bind_int64(s, 4, (int64_t)(clock_real_us() / 1000));
	if (directory_run(d, s))
		return directory_fail(d, e);
	return sqlite3_changes(d->db) ? 0 : err_set(e, -ENOENT,
	    "domain %s is not local (posthorn domain add %s)", m->domain, m->domain);
}

int
directory_alias_add(struct directory *d, const struct mailname *m, struct str targets, struct err *e)
{
	return each_target(d, targets, add_one, (void *)(uintptr_t)m, e);
}

static int
delete_one(struct directory *d, struct str target, void *arg, struct err *e)
{
	const struct mailname *m = arg;
	sqlite3_stmt *s;
	int r = bind_alias(d, DS_ALIAS_DELETE, m, target, &s, e);

	if (r)
		return r;
	if (directory_run(d, s))
		return directory_fail(d, e);
	return sqlite3_changes(d->db) ? 0 : err_set(e, -ENOENT, "no alias %s@%s%s%.*s", m->local,
	    m->domain, target.n ? " to " : "", STR_ARG(target));
}

int
directory_alias_delete(struct directory *d, const struct mailname *m, struct str targets,
    struct err *e)
{
	void *arg = (void *)(uintptr_t)m;

	return targets.n ? each_target(d, targets, delete_one, arg, e) :
	    delete_one(d, STR_NULL, arg, e);
}

int
directory_alias_list(struct directory *d, struct str part, directory_row_fn *fn, void *arg,
    struct err *e)
{
	sqlite3_stmt *s = directory_stmt(d, DS_ALIAS_LIST);
	int rc;

	if (!s)
		return directory_fail(d, e);
	directory_bind_str(s, 1, part);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		struct auth_row r = { .name = str_c((const char *)sqlite3_column_text(s, 0)),
			.targets = str_c((const char *)sqlite3_column_text(s, 1)),
			.created_ms = (uint64_t)sqlite3_column_int64(s, 2) };

		fn(arg, &r);
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE ? 0 : directory_fail(d, e);
}

static int
forward_one(struct directory *d, struct str target, void *arg, struct err *e)
{
	sqlite3_stmt *s = directory_stmt(d, DS_FORWARD_ADD);

	if (!s)
		return directory_fail(d, e);
	sqlite3_bind_int64(s, 1, *(const int64_t *)arg);
	directory_bind_str(s, 2, target);
	return directory_run(d, s) ? directory_fail(d, e) : 0;
}

int
directory_forward(struct directory *d, uint64_t account, struct str targets, bool keep, struct err *e)
{
	sqlite3_stmt *clear = directory_stmt(d, DS_FORWARD_CLEAR);
	sqlite3_stmt *mode = directory_stmt(d, DS_FORWARD_MODE);
	int64_t id = (int64_t)account;
	int r = 0;

	if (!clear || !mode)
		return directory_fail(d, e);
	sqlite3_bind_int64(clear, 1, id);
	sqlite3_bind_int64(mode, 1, id);
	sqlite3_bind_int(mode, 2, !targets.n ? DIRECTORY_FORWARD_NONE :
	    keep ? DIRECTORY_FORWARD_KEEP : DIRECTORY_FORWARD_ONLY);
	if (directory_run(d, clear) || directory_run(d, mode))
		return directory_fail(d, e);
	if (targets.n)
		r = each_target(d, targets, forward_one, &id, e);
	return r;
}
