/*
 * Tables that are a query of an SQLite database, which is only read. In the query %s
 * is the key, %u its local part and %d its domain (%% a percent sign), with or
 * without quotes around them, as sqlite_table(5) has it; they become parameters, so
 * that a key is never read as SQL. All rows and columns of the answer make one value,
 * joined by commas. A question that takes longer than QUERY_MS is a failure.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "mta/table_private.h"

#define QUERY_MS 500
#define BUSY_MS 200
#define STEPS 1000      /* of SQLite's machine between two looks at the clock */

struct table_db {
	const char *path;
	char *sql;
	bool wants_domain;     /* %u or %d: keys without domain are not asked for */
	sqlite3 *db;
	sqlite3_stmt *stmt;
	sqlite3_stmt *version;
	int64_t seen;
	uint64_t until_ms;
};

/* The query with parameters ?1 (key), ?2 (local part), ?3 (domain). */
static int
make_sql(struct table_db *d, struct str query, struct err *e)
{
	static const char letters[] = "sud";
	struct buf b = { .max = 65536 };
	char quote = 0;

	for (size_t i = 0; i < query.n; i++) {
		char c = query.p[i], next = i + 1 < query.n ? query.p[i + 1] : 0;
		const char *which = c == '%' && next ? strchr(letters, next) : NULL;

		if (which) {
			buf_printf(&b, quote ? "'||?%d||'" : "?%d", (int)(which - letters) + 1);
			d->wants_domain |= next != 's';
			i++;
			continue;
		}
		if (c == '%' && next == '%')
			i++;
		else if (c == '\'')
			quote = quote ? 0 : '\'';
		buf_putc(&b, c);
	}
	if (b.over || quote) {
		buf_done(&b);
		return err_set(e, -EINVAL, quote ? "a quote of the query has no end" : "the query is too long");
	}
	buf_putc(&b, '\0');
	d->sql = buf_detach(&b, &(size_t){ 0 });
	return 0;
}

int
table_db_new(const struct conf_table *t, const char *path, struct table_db **ret, struct err *e)
{
	struct table_db *d = calloc(1, sizeof *d);
	int r = d ? make_sql(d, t->query, e) : err_set(e, -ENOMEM, "no memory");

	if (r) {
		free(d);
		return r;
	}
	d->path = path;
	*ret = d;
	return 0;
}

static void
close_db(struct table_db *d)
{
	sqlite3_finalize(d->stmt);
	sqlite3_finalize(d->version);
	sqlite3_close(d->db);
	d->stmt = d->version = NULL;
	d->db = NULL;
}

void
table_db_free(struct table_db **d)
{
	if (!*d)
		return;
	close_db(*d);
	free((*d)->sql);
	free(*d);
	*d = NULL;
}

static int
too_late(void *arg)
{
	const struct table_db *d = arg;

	return clock_ms() > d->until_ms;
}

static int
open_db(struct table_db *d)
{
	int rc;

	if (d->db)
		return 0;
	rc = sqlite3_open_v2(d->path, &d->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(d->db, BUSY_MS);
		sqlite3_progress_handler(d->db, STEPS, too_late, d);
		sqlite3_exec(d->db, "PRAGMA trusted_schema = OFF; PRAGMA query_only = ON", NULL, NULL, NULL);
		rc = sqlite3_prepare_v3(d->db, d->sql, -1, SQLITE_PREPARE_PERSISTENT, &d->stmt, NULL);
	}
	if (rc != SQLITE_OK || !d->stmt || !sqlite3_stmt_readonly(d->stmt)) {
		close_db(d);
		return -EIO;
	}
	return 0;
}

static int
bind(struct table_db *d, struct str key)
{
	ptrdiff_t at = str_rchr(key, '@');
	struct str parts[3] = { key, at < 0 ? key : str_head(key, (size_t)at),
		at < 0 ? STR_NULL : str_skip(key, (size_t)at + 1) };

	if (d->wants_domain && at <= 0)
		return 0;
	for (int i = 1; i <= sqlite3_bind_parameter_count(d->stmt) && i <= 3; i++)
		sqlite3_bind_text(d->stmt, i, parts[i - 1].n ? parts[i - 1].p : "", (int)parts[i - 1].n,
		    SQLITE_STATIC);
	return 1;
}

static void
add_row(struct buf *b, sqlite3_stmt *s)
{
	for (int i = 0; i < sqlite3_column_count(s); i++) {
		const char *v = (const char *)sqlite3_column_text(s, i);

		if (!v || !*v)
			continue;
		if (b->n)
			buf_putc(b, ',');
		buf_puts(b, v);
	}
}

int
table_db_find(struct table_db *d, struct str key, struct arena *a, struct str *ret)
{
	struct buf b = { .max = TABLE_VALUE_MAX };
	int rc, r = open_db(d);

	d->until_ms = clock_ms() + QUERY_MS;
	if (r)
		return r;
	if (!bind(d, key))
		return 0;
	while ((rc = sqlite3_step(d->stmt)) == SQLITE_ROW && !b.over)
		add_row(&b, d->stmt);
	sqlite3_reset(d->stmt);
	if (b.over || rc != SQLITE_DONE) {
		r = -EIO;
		close_db(d);
	} else if (b.n) {
		*ret = arena_dup(a, buf_view(&b));
		r = ret->p ? 1 : -ENOMEM;
	}
	buf_done(&b);
	return r;
}

bool
table_db_changed(struct table_db *d)
{
	int64_t now = -1;

	d->until_ms = clock_ms() + QUERY_MS;
	if (!d->db)
		return false;
	if (!d->version)
		sqlite3_prepare_v2(d->db, "PRAGMA data_version", -1, &d->version, NULL);
	if (d->version && sqlite3_step(d->version) == SQLITE_ROW)
		now = sqlite3_column_int64(d->version, 0);
	sqlite3_reset(d->version);
	if (now == d->seen)
		return false;
	d->seen = now;
	return true;
}
