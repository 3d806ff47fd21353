/*
 * The directory database: opening, and the questions of the mail system. The
 * admin's changes are in directory_admin.c.
 *
 * Invariants:
 *  1. An account id is random, 63 bits, and never used again: a deleted one goes
 *     to `tombstone`, and a new one is looked up there.
 *  2. `generation` of an account only rises; every change that must end sessions
 *     (password, suspension) raises it in the same transaction.
 *  3. A domain is ours while it was added or stands in the configuration.
 *  4. Accounts refer to domains and credentials to accounts; a credential of kind
 *     1 is the account's password (at most one).
 *
 * Version 1 is the first. A later version upgrades an older file in one
 * transaction when it opens it, step by step (`upgrades`), and refuses a newer.
 */
#include "mta/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mta/directory_private.h"

#define APPLICATION_ID 0x50486469 /* "PHdi" */
#define VERSION_NOW 2
#define CHECK_BELOW (64 << 20) /* larger files are not read through at each start */

static const char schema_1[] =
    "CREATE TABLE domain ("
    " id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " added INTEGER NOT NULL DEFAULT 0,"
    " configured INTEGER NOT NULL DEFAULT 0,"
    " postmaster INTEGER REFERENCES account(id) ON DELETE SET NULL,"
    " created_ms INTEGER NOT NULL);"
    "CREATE TABLE account ("
    " id INTEGER PRIMARY KEY,"
    " domain INTEGER NOT NULL REFERENCES domain(id),"
    " local TEXT NOT NULL,"
    " volume INTEGER NOT NULL DEFAULT 0,"
    " quota INTEGER,"
    " state INTEGER NOT NULL DEFAULT 0,"
    " generation INTEGER NOT NULL DEFAULT 1,"
    " created_ms INTEGER NOT NULL,"
    " UNIQUE (domain, local));"
    "CREATE INDEX account_oldest ON account (domain, created_ms);"
    "CREATE TABLE credential ("
    " id INTEGER PRIMARY KEY,"
    " account INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,"
    " kind INTEGER NOT NULL,"
    " label TEXT NOT NULL DEFAULT '',"
    " hash TEXT NOT NULL,"
    " iterations INTEGER NOT NULL,"
    " salt BLOB NOT NULL,"
    " stored_key BLOB NOT NULL,"
    " server_key BLOB NOT NULL,"
    " changed_ms INTEGER NOT NULL,"
    " UNIQUE (account, kind, label));"
    "CREATE TABLE tombstone ("
    " id INTEGER PRIMARY KEY,"
    " address TEXT NOT NULL,"
    " volume INTEGER NOT NULL,"
    " purge INTEGER NOT NULL,"
    " deleted_ms INTEGER NOT NULL);";

static const char schema_2[] =
    "ALTER TABLE account ADD COLUMN forward INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE alias ("
    " domain INTEGER NOT NULL REFERENCES domain(id) ON DELETE CASCADE,"
    " local TEXT NOT NULL,"
    " target TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " PRIMARY KEY (domain, local, target)) WITHOUT ROWID;"
    "CREATE TABLE forward ("
    " account INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,"
    " target TEXT NOT NULL,"
    " PRIMARY KEY (account, target)) WITHOUT ROWID;";

/* upgrades[v] makes version v + 1 of version v. */
static const char *const upgrades[VERSION_NOW] = { schema_1, schema_2 };

#define ACCOUNT_COLUMNS \
	"a.id, a.generation, a.volume, a.state, a.quota, a.local || '@' || d.name, a.forward"
#define ACCOUNT_FROM " FROM account a JOIN domain d ON d.id = a.domain "
#define OURS "(d.added OR d.configured)"

static const char *const sql[DS_MAX] = {
	[DS_FIND] = "SELECT " ACCOUNT_COLUMNS ACCOUNT_FROM
	            "WHERE d.name = ?1 AND a.local = ?2 AND " OURS,
	[DS_FIND_LOGIN] = "SELECT " ACCOUNT_COLUMNS ", c.hash" ACCOUNT_FROM
	                  "LEFT JOIN credential c ON c.account = a.id AND c.kind = 1 "
	                  "WHERE d.name = ?1 AND a.local = ?2 AND " OURS,
	[DS_BY_ID] = "SELECT " ACCOUNT_COLUMNS ACCOUNT_FROM "WHERE a.id = ?1",
	[DS_IS_LOCAL] = "SELECT 1 FROM domain d WHERE d.name = ?1 AND " OURS,
	[DS_POSTMASTER] = "SELECT " ACCOUNT_COLUMNS ACCOUNT_FROM
	                  "WHERE d.name = ?1 AND " OURS
	                  " ORDER BY a.id IS NOT d.postmaster, a.created_ms, a.id LIMIT 1",
	[DS_ANY_POSTMASTER] = "SELECT " ACCOUNT_COLUMNS ACCOUNT_FROM "WHERE " OURS
	                      " ORDER BY a.id IS NOT d.postmaster, a.created_ms, a.id LIMIT 1",
	[DS_ONLY_DOMAIN] = "SELECT d.name FROM domain d WHERE " OURS " LIMIT 2",
	[DS_BEGIN] = "BEGIN IMMEDIATE",
	[DS_COMMIT] = "COMMIT",
	[DS_ROLLBACK] = "ROLLBACK",
	[DS_DOMAIN_ADD] = "INSERT INTO domain (name, added, created_ms) VALUES (?1, 1, ?2) "
	                  "ON CONFLICT (name) DO UPDATE SET added = 1 WHERE NOT added",
	[DS_DOMAIN_CONFIGURED] = "INSERT INTO domain (name, configured, created_ms) "
	                         "VALUES (?1, 1, ?2) "
	                         "ON CONFLICT (name) DO UPDATE SET configured = 1",
	[DS_DOMAIN_UNCONFIGURE] = "UPDATE domain SET configured = 0 WHERE configured",
	[DS_DOMAIN_DELETE] = "UPDATE domain SET added = 0 WHERE name = ?1 AND added",
	[DS_DOMAIN_SWEEP] = "DELETE FROM domain WHERE NOT added AND NOT configured AND NOT EXISTS "
	                    "(SELECT 1 FROM account a WHERE a.domain = domain.id) AND NOT EXISTS "
	                    "(SELECT 1 FROM alias l WHERE l.domain = domain.id)",
	[DS_DOMAIN_LIST] = "SELECT d.name, d.configured, d.created_ms, "
	                   "(SELECT count(*) FROM account a WHERE a.domain = d.id), "
	                   "(SELECT a.local || '@' || d.name FROM account a WHERE a.id = d.postmaster) "
	                   "FROM domain d WHERE " OURS " ORDER BY d.name",
	[DS_DOMAIN_COUNT] = "SELECT count(a.id), d.configured, d.added FROM domain d "
	                    "LEFT JOIN account a ON a.domain = d.id WHERE d.name = ?1 GROUP BY d.id",
	[DS_DOMAIN_POSTMASTER] = "UPDATE domain SET postmaster = ?2 WHERE name = ?1",
	[DS_USER_ADD] = "INSERT INTO account (id, domain, local, quota, created_ms) "
	                "SELECT ?1, d.id, ?3, ?4, ?5 FROM domain d WHERE d.name = ?2 AND " OURS,
	[DS_USER_LIST] = "SELECT " ACCOUNT_COLUMNS ", a.created_ms, c.changed_ms" ACCOUNT_FROM
	                 "LEFT JOIN credential c ON c.account = a.id AND c.kind = 1 "
	                 "WHERE ?1 = '' OR instr(a.local || '@' || d.name, ?1) "
	                 "ORDER BY d.name, a.local",
	[DS_USER_SHOW] = "SELECT " ACCOUNT_COLUMNS ", a.created_ms, c.changed_ms" ACCOUNT_FROM
	                 "LEFT JOIN credential c ON c.account = a.id AND c.kind = 1 "
	                 "WHERE d.name = ?1 AND a.local = ?2",
	[DS_USER_QUOTA] = "UPDATE account SET quota = ?2 WHERE id = ?1",
	[DS_USER_STATE] = "UPDATE account SET state = ?2, generation = generation + 1 "
	                  "WHERE id = ?1",
	[DS_USER_RAISE] = "UPDATE account SET generation = generation + 1 WHERE id = ?1",
	[DS_USER_DELETE] = "DELETE FROM account WHERE id = ?1",
	[DS_USER_BURY] = "INSERT INTO tombstone (id, address, volume, purge, deleted_ms) "
	                 "VALUES (?1, ?2, ?3, ?4, ?5)",
	[DS_BURIED] = "SELECT 1 FROM tombstone WHERE id = ?1 "
	              "UNION ALL SELECT 1 FROM account WHERE id = ?1",
	[DS_PURGED] = "SELECT id, volume, address FROM tombstone WHERE purge AND deleted_ms > ?1",
	[DS_ALIAS_FIND] = "SELECT l.target FROM domain d JOIN alias l ON l.domain = d.id "
	                  "WHERE d.name = ?1 AND l.local = ?2 AND " OURS " ORDER BY l.target",
	[DS_ALIAS_ADD] = "INSERT INTO alias (domain, local, target, created_ms) "
	                 "SELECT d.id, ?2, ?3, ?4 FROM domain d WHERE d.name = ?1 AND " OURS
	                 " ON CONFLICT DO UPDATE SET created_ms = created_ms",
	[DS_ALIAS_DELETE] = "DELETE FROM alias WHERE domain = (SELECT id FROM domain WHERE name = ?1) "
	                    "AND local = ?2 AND (?3 = '' OR target = ?3)",
	[DS_ALIAS_LIST] = "SELECT l.local || '@' || d.name, group_concat(l.target, ', '), "
	                  "min(l.created_ms) FROM alias l JOIN domain d ON d.id = l.domain "
	                  "WHERE ?1 = '' OR instr(l.local || '@' || d.name || ' ' || l.target, ?1) "
	                  "GROUP BY l.domain, l.local ORDER BY d.name, l.local",
	[DS_FORWARD_FIND] = "SELECT target FROM forward WHERE account = ?1 ORDER BY target",
	[DS_FORWARD_ADD] = "INSERT OR IGNORE INTO forward (account, target) VALUES (?1, ?2)",
	[DS_FORWARD_CLEAR] = "DELETE FROM forward WHERE account = ?1",
	[DS_FORWARD_MODE] = "UPDATE account SET forward = ?2 WHERE id = ?1",
	[DS_SCRAM] = "SELECT iterations, salt, stored_key, server_key FROM credential "
	             "WHERE account = ?1 AND kind = 1",
	[DS_APP_FIND] = "SELECT 1 FROM credential WHERE account = ?1 AND kind = 2 AND hash = ?2",
	[DS_APP_ADD] = "INSERT INTO credential (account, kind, label, hash, iterations, salt, "
	               "stored_key, server_key, changed_ms) VALUES (?1, 2, ?2, ?3, 0, x'', x'', x'', ?4)",
	[DS_APP_LIST] = "SELECT label, changed_ms FROM credential WHERE account = ?1 AND kind = 2 "
	                "ORDER BY label",
	[DS_APP_DELETE] = "DELETE FROM credential WHERE account = ?1 AND kind = 2 AND label = ?2",
	[DS_APP_COUNT] = "SELECT count(*) FROM credential WHERE account = ?1 AND kind = 2",
	[DS_PASSWORD_SET] = "INSERT INTO credential (account, kind, hash, iterations, salt, "
	                    "stored_key, server_key, changed_ms) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7) "
	                    "ON CONFLICT (account, kind, label) DO UPDATE SET hash = excluded.hash, "
	                    "iterations = excluded.iterations, salt = excluded.salt, "
	                    "stored_key = excluded.stored_key, server_key = excluded.server_key, "
	                    "changed_ms = excluded.changed_ms",
};

sqlite3_stmt *
directory_stmt(struct directory *d, enum directory_stmt which)
{
	if (!d->stmt[which])
		sqlite3_prepare_v3(d->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
		    &d->stmt[which], NULL);
	else
		sqlite3_reset(d->stmt[which]);
	return d->stmt[which];
}

void
directory_bind_str(sqlite3_stmt *s, int i, struct str v)
{
	sqlite3_bind_text(s, i, v.n ? v.p : "", (int)v.n, SQLITE_TRANSIENT);
}

static int
sqlite_code(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_CONSTRAINT: return -EEXIST;
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED: return -EAGAIN;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: return -EBADMSG;
	case SQLITE_READONLY:
	case SQLITE_PERM: return -EACCES;
	case SQLITE_NOMEM: return -ENOMEM;
	}
	return -EIO;
}

int
directory_fail(struct directory *d, struct err *e)
{
	return err_set(e, sqlite_code(sqlite3_errcode(d->db)), "directory database: %s",
	    sqlite3_errmsg(d->db));
}

int
directory_run(struct directory *d, sqlite3_stmt *s)
{
	int rc = s ? sqlite3_step(s) : SQLITE_ERROR;

	if (s)
		sqlite3_reset(s);
	return rc == SQLITE_DONE ? 0 : sqlite_code(rc);
}

/* ---- opening ---- */

int
directory_lock(const char *dir, int *ret_fd, struct err *e)
{
	char path[4096];
	int fd;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return err_sys(e, -errno, "%s", dir);
	if (snprintf(path, sizeof path, "%s/lock", dir) >= (int)sizeof path)
		return err_set(e, -ENAMETOOLONG, "%s", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int code = errno == EWOULDBLOCK ? -EAGAIN : -errno;

		close(fd);
		return code == -EAGAIN ? err_set(e, code, "%s is in use by another process", dir)
		                       : err_sys(e, code, "%s", path);
	}
	*ret_fd = fd;
	return 0;
}

static int64_t
pragma_int(sqlite3 *db, const char *text)
{
	sqlite3_stmt *s = NULL;
	int64_t v = -1;

	if (sqlite3_prepare_v2(db, text, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		v = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return v;
}

static int
exec(struct directory *d, const char *text, struct err *e)
{
	return sqlite3_exec(d->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : directory_fail(d, e);
}

static int
upgrade(struct directory *d, int64_t from, struct err *e)
{
	char mark[96];
	int r = exec(d, "BEGIN IMMEDIATE", e);

	for (int64_t v = from; !r && v < VERSION_NOW; v++)
		r = exec(d, upgrades[v], e);
	snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
	    APPLICATION_ID, VERSION_NOW);
	if (!r)
		r = exec(d, mark, e);
	if (!r)
		r = exec(d, "COMMIT", e);
	if (r)
		sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

/* Whether SQLite finds the file sound; a big one is believed. */
static bool
sound(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	bool ok = false;

	if (pragma_int(db, "PRAGMA page_count") * pragma_int(db, "PRAGMA page_size") > CHECK_BELOW)
		return true;
	if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		ok = !strcmp((const char *)sqlite3_column_text(s, 0), "ok");
	sqlite3_finalize(s);
	return ok;
}

/* Whose file it is and of which version: 0 when it can be used. */
static int
identify(struct directory *d, struct err *e)
{
	int64_t id = pragma_int(d->db, "PRAGMA application_id");
	int64_t version = pragma_int(d->db, "PRAGMA user_version");
	int64_t tables = pragma_int(d->db, "SELECT count(*) FROM sqlite_schema");

	if (tables < 0)
		return directory_fail(d, e);
	if (tables && id != APPLICATION_ID)
		return err_set(e, -EBADMSG, "directory.db is not a directory of Posthorn");
	if (version > VERSION_NOW)
		return err_set(e, -ENOTSUP,
		    "directory.db has version %lld, this program knows up to %d",
		    (long long)version, VERSION_NOW);
	if (!sound(d->db))
		return err_set(e, -EBADMSG, "directory.db is damaged (PRAGMA quick_check)");
	return version < VERSION_NOW ? upgrade(d, tables ? version : 0, e) : 0;
}

static int
open_file(const char *dir, sqlite3 **ret, struct err *e)
{
	char path[4096];
	int fd;

	if (snprintf(path, sizeof path, "%s/directory.db", dir) >= (int)sizeof path)
		return err_set(e, -ENAMETOOLONG, "%s", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* SQLite would make it 0644 */
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	close(fd);
	if (sqlite3_open_v2(path, ret, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return err_set(e, -EIO, "%s: %s", path, sqlite3_errmsg(*ret));
	return 0;
}

int
directory_open(const char *dir, struct directory **ret, struct err *e)
{
	struct directory *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "directory: no memory");
	r = open_file(dir, &d->db, e);
	if (!r) {
		sqlite3_busy_timeout(d->db, 5000);
		sqlite3_extended_result_codes(d->db, 1);
		r = exec(d, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		            "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
		            "PRAGMA trusted_schema = OFF;", e);
	}
	if (!r)
		r = identify(d, e);
	if (r)
		directory_close(&d);
	else
		*ret = d;
	return r;
}

void
directory_close(struct directory **d)
{
	if (!*d)
		return;
	for (size_t i = 0; i < DS_MAX; i++)
		sqlite3_finalize((*d)->stmt[i]);
	sqlite3_close((*d)->db);
	free(*d);
	*d = NULL;
}

/* ---- questions ---- */

static void
copy_text(sqlite3_stmt *s, int col, char *out, size_t max)
{
	const char *t = (const char *)sqlite3_column_text(s, col);
	size_t n = t ? strlen(t) : 0;

	if (n >= max)
		n = 0; /* cannot be: names are bounded when they are added */
	memcpy(out, t ? t : "", n);
	out[n] = '\0';
}

static void
read_account(sqlite3_stmt *s, struct directory_account *ret)
{
	ret->id = (uint64_t)sqlite3_column_int64(s, 0);
	ret->generation = (uint64_t)sqlite3_column_int64(s, 1);
	ret->volume = (uint32_t)sqlite3_column_int64(s, 2);
	ret->state = (enum auth_state)sqlite3_column_int(s, 3);
	ret->quota = sqlite3_column_type(s, 4) == SQLITE_NULL ? AUTH_QUOTA_DEFAULT
	                                                      : (uint64_t)sqlite3_column_int64(s, 4);
	copy_text(s, 5, ret->address, sizeof ret->address);
	ret->forward = (unsigned)sqlite3_column_int(s, 6);
	ret->hash[0] = '\0';
}

/* Steps a question for one account and resets it: 0, -ENOENT, or a failure. */
static int
one_account(struct directory *d, sqlite3_stmt *s, bool with_hash, struct directory_account *ret)
{
	int rc = s ? sqlite3_step(s) : SQLITE_ERROR;

	if (rc == SQLITE_ROW) {
		read_account(s, ret);
		if (with_hash)
			copy_text(s, 7, ret->hash, sizeof ret->hash);
	}
	if (s)
		sqlite3_reset(s);
	return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? -ENOENT : sqlite_code(rc);
}

static int
find(struct directory *d, enum directory_stmt which, const char *domain, struct str local,
    struct directory_account *ret)
{
	sqlite3_stmt *s = directory_stmt(d, which);

	if (!s)
		return -EIO;
	sqlite3_bind_text(s, 1, domain, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, local.p, (int)local.n, SQLITE_STATIC);
	return one_account(d, s, which == DS_FIND_LOGIN, ret);
}

int
directory_is_local(struct directory *d, const char *domain)
{
	sqlite3_stmt *s = directory_stmt(d, DS_IS_LOCAL);
	int rc;

	if (!s)
		return -EIO;
	sqlite3_bind_text(s, 1, domain, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	sqlite3_reset(s);
	return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : sqlite_code(rc);
}

/* RFC 5321 section 4.5.1: each domain has a postmaster, and so has the house
 * (domain ""). */
static int
postmaster(struct directory *d, const char *domain, struct directory_account *ret)
{
	sqlite3_stmt *s = directory_stmt(d, *domain ? DS_POSTMASTER : DS_ANY_POSTMASTER);

	if (!s)
		return -EIO;
	if (*domain)
		sqlite3_bind_text(s, 1, domain, -1, SQLITE_STATIC);
	return one_account(d, s, false, ret);
}

/* Where the detail begins: behind the first delimiter that is not the first
 * byte; 0 without. */
static size_t
detail_at(struct str local, struct str delimiters)
{
	for (size_t i = 1; i < local.n; i++)
		if (str_chr(delimiters, local.p[i]) >= 0)
			return i + 1;
	return 0;
}

int
directory_resolve(struct directory *d, struct str address, struct str delimiters,
    struct directory_account *ret, struct str *ret_detail)
{
	struct str local, detail = STR_NULL;
	struct mailname m;
	size_t at;
	int r;

	if (mailname_parse(address, &m))
		return DIRECTORY_NOT_LOCAL;
	local = str_c(m.local);
	if (!m.domain[0]) {
		r = str_eq(local, STR("postmaster")) ? postmaster(d, "", ret) : -ENOENT;
		*ret_detail = STR_NULL;
		return r == -ENOENT ? DIRECTORY_NO_USER : r < 0 ? r : DIRECTORY_ACCOUNT;
	}
	r = find(d, DS_FIND, m.domain, local, ret);
	if (r == -ENOENT && (at = detail_at(local, delimiters))) {
		struct str said = str_head(address, (size_t)str_rchr(address, '@'));

		r = find(d, DS_FIND, m.domain, str_head(local, at - 1), ret);
		/* as the sender wrote it, unless quotes shift it */
		detail = said.n == local.n ? str_skip(said, at) : STR_NULL;
		local = str_head(local, at - 1);
	}
	if (r == -ENOENT && str_eq(local, STR("postmaster")))
		r = postmaster(d, m.domain, ret);
	if (r == -ENOENT) {
		r = directory_is_local(d, m.domain);
		return r < 0 ? r : r ? DIRECTORY_NO_USER : DIRECTORY_NOT_LOCAL;
	}
	if (r)
		return r;
	*ret_detail = detail;
	return DIRECTORY_ACCOUNT;
}

/* The one local domain into out: 0, or -ENOENT when there are more or none. */
static int
only_domain(struct directory *d, char out[static MAILNAME_DOMAIN_MAX + 1])
{
	sqlite3_stmt *s = directory_stmt(d, DS_ONLY_DOMAIN);
	int r = -ENOENT;

	if (s && sqlite3_step(s) == SQLITE_ROW) {
		copy_text(s, 0, out, MAILNAME_DOMAIN_MAX + 1);
		if (sqlite3_step(s) == SQLITE_DONE)
			r = 0;
	}
	if (s)
		sqlite3_reset(s);
	return r;
}

int
directory_login(struct directory *d, struct str name, struct directory_account *ret)
{
	struct mailname m;

	if (mailname_parse(name, &m))
		return -ENOENT;
	if (!m.domain[0] && only_domain(d, m.domain))
		return -ENOENT;
	return find(d, DS_FIND_LOGIN, m.domain, str_c(m.local), ret);
}

void
directory_login_name(struct directory *d, struct str name, char out[static DIRECTORY_NAME_MAX + 1])
{
	struct mailname m = { 0 };

	if (mailname_parse(name, &m)) {
		snprintf(out, DIRECTORY_NAME_MAX + 1, "%.*s", STR_ARG(str_head(name, DIRECTORY_NAME_MAX)));
		return;
	}
	if (!m.domain[0])
		only_domain(d, m.domain);
	snprintf(out, DIRECTORY_NAME_MAX + 1, "%s@%s", m.local, m.domain);
}

static bool
read_key(sqlite3_stmt *s, int col, unsigned char *out, size_t n)
{
	const void *p = sqlite3_column_blob(s, col);

	if (!p || (size_t)sqlite3_column_bytes(s, col) != n)
		return false;
	memcpy(out, p, n);
	return true;
}

int
directory_scram(struct directory *d, uint64_t account, struct scram_keys *ret)
{
	sqlite3_stmt *s = directory_stmt(d, DS_SCRAM);
	int rc, r = -ENOENT;

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, (int64_t)account);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		ret->iterations = (unsigned)sqlite3_column_int(s, 0);
		if (read_key(s, 1, ret->salt, sizeof ret->salt) && ret->iterations &&
		    read_key(s, 2, ret->stored, sizeof ret->stored) &&
		    read_key(s, 3, ret->server, sizeof ret->server))
			r = 0;
	} else if (rc != SQLITE_DONE) {
		r = sqlite_code(rc);
	}
	sqlite3_reset(s);
	return r;
}

int
directory_app_password(struct directory *d, uint64_t account, struct str hash)
{
	sqlite3_stmt *s = directory_stmt(d, DS_APP_FIND);
	int rc;

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, (int64_t)account);
	directory_bind_str(s, 2, hash);
	rc = sqlite3_step(s);
	sqlite3_reset(s);
	return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : sqlite_code(rc);
}

int
directory_account(struct directory *d, uint64_t id, struct directory_account *ret)
{
	sqlite3_stmt *s = directory_stmt(d, DS_BY_ID);

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, (int64_t)id);
	return one_account(d, s, false, ret);
}

int
directory_purged(struct directory *d, uint64_t since_ms,
    void (*fn)(void *, const struct auth_changed *), void *arg)
{
	sqlite3_stmt *s = directory_stmt(d, DS_PURGED);
	int rc;

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, (int64_t)since_ms);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		struct auth_changed c = { .account = (uint64_t)sqlite3_column_int64(s, 0),
			.generation = UINT64_MAX, .volume = (uint32_t)sqlite3_column_int64(s, 1),
			.deleted = true, .purge = true,
			.address = str_c((const char *)sqlite3_column_text(s, 2)) };

		c.slot = account_slot(c.account);
		fn(arg, &c);
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE ? 0 : -EIO;
}
