/* The database of what is not reported yet; see tlsrpt_store.h. */
#include "mta/tlsrpt_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define APPLICATION 0x50485452 /* "PHTR" */
#define FORMAT 1

static const char schema[] =
	"CREATE TABLE policy(id INTEGER PRIMARY KEY, day INTEGER NOT NULL, domain TEXT NOT NULL,"
	" kind INTEGER NOT NULL, text TEXT NOT NULL, mx TEXT NOT NULL, good INTEGER NOT NULL,"
	" bad INTEGER NOT NULL, UNIQUE(day, domain, kind, text, mx));"
	"CREATE TABLE failure(policy INTEGER NOT NULL, result INTEGER NOT NULL, host TEXT NOT NULL,"
	" sending TEXT NOT NULL, receiving TEXT NOT NULL, why TEXT NOT NULL, n INTEGER NOT NULL,"
	" PRIMARY KEY(policy, result, host, sending, receiving)) WITHOUT ROWID;"
	"CREATE TABLE report(day INTEGER NOT NULL, domain TEXT NOT NULL, due INTEGER NOT NULL,"
	" tries INTEGER NOT NULL, PRIMARY KEY(day, domain)) WITHOUT ROWID;"
	"CREATE INDEX report_due ON report(due);";

enum query {
	Q_BEGIN, Q_COMMIT, Q_COUNT, Q_BUMP, Q_INSERT, Q_KINDS, Q_FAILURE, Q_PLAN, Q_HURRY, Q_DUE,
	Q_POLICIES, Q_FAILURES, Q_LATER, Q_DROP_FAILURES, Q_DROP_POLICIES, Q_DROP_REPORT, Q_PLANNED,
	Q_N
};
static const char *const sql[Q_N] = {
	[Q_BEGIN] = "BEGIN IMMEDIATE",
	[Q_COMMIT] = "COMMIT",
	[Q_COUNT] = "SELECT count(*) FROM policy",
	[Q_BUMP] = "UPDATE policy SET good=good+?6, bad=bad+?7 WHERE day=?1 AND domain=?2 AND kind=?3"
	    " AND text=?4 AND mx=?5 RETURNING id",
	[Q_INSERT] = "INSERT INTO policy(day, domain, kind, text, mx, good, bad)"
	    " VALUES(?1,?2,?3,?4,?5,?6,?7) RETURNING id",
	[Q_KINDS] = "SELECT count(*) FROM failure WHERE policy=?1",
	[Q_FAILURE] = "INSERT INTO failure VALUES(?1,?2,?3,?4,?5,?6,1)"
	    " ON CONFLICT DO UPDATE SET n=n+1",
	[Q_PLAN] = "INSERT INTO report SELECT DISTINCT day, domain,"
	    " ?2 + CASE WHEN ?3 > 0 THEN abs(random() % ?3) ELSE 0 END, 0 FROM policy p WHERE day < ?1"
	    " AND NOT EXISTS(SELECT 1 FROM report r WHERE r.day=p.day AND r.domain=p.domain)",
	[Q_HURRY] = "UPDATE report SET due=?1 WHERE due > ?1",
	[Q_DUE] = "SELECT day, domain, due, tries FROM report WHERE due <= ?1 ORDER BY due LIMIT 1",
	[Q_POLICIES] = "SELECT id, kind, text, mx, good, bad FROM policy WHERE day=?1 AND domain=?2"
	    " ORDER BY id",
	[Q_FAILURES] = "SELECT result, host, sending, receiving, why, n FROM failure WHERE policy=?1",
	[Q_LATER] = "UPDATE report SET due=?3, tries=tries+1 WHERE day=?1 AND domain=?2",
	[Q_DROP_FAILURES] = "DELETE FROM failure WHERE policy IN"
	    " (SELECT id FROM policy WHERE day=?1 AND domain=?2)",
	[Q_DROP_POLICIES] = "DELETE FROM policy WHERE day=?1 AND domain=?2",
	[Q_DROP_REPORT] = "DELETE FROM report WHERE day=?1 AND domain=?2",
	[Q_PLANNED] = "SELECT count(*) FROM report",
};

struct tlsrpt_store {
	sqlite3 *db;
	sqlite3_stmt *q[Q_N];
	bool open;              /* a transaction */
	uint64_t policies;      /* rows, about */
};

/* ---- statements ---- */

static sqlite3_stmt *
query(struct tlsrpt_store *s, enum query q)
{
	sqlite3_reset(s->q[q]);
	return s->q[q];
}

static void
bind_int(sqlite3_stmt *st, int at, int64_t v)
{
	sqlite3_bind_int64(st, at, v);
}

static void
bind_str(sqlite3_stmt *st, int at, struct str v)
{
	sqlite3_bind_text(st, at, v.n ? v.p : "", (int)v.n, SQLITE_TRANSIENT);
}

static struct str
column(sqlite3_stmt *st, int at, struct arena *a)
{
	const void *p = sqlite3_column_text(st, at);

	return arena_dup(a, str_from(p, (size_t)sqlite3_column_bytes(st, at)));
}

/* Runs to the end: 0 or -EIO. */
static int
run(sqlite3_stmt *st)
{
	int r;

	while ((r = sqlite3_step(st)) == SQLITE_ROW)
		;
	sqlite3_reset(st);
	return r == SQLITE_DONE ? 0 : -EIO;
}

/* The integer of the only row: 1, 0 without one, -EIO. */
static int
one(sqlite3_stmt *st, int64_t *ret)
{
	int r = sqlite3_step(st);

	if (r == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : -EIO;
}

/* ---- opening ---- */

static int
exec(struct tlsrpt_store *s, const char *text, struct err *e)
{
	return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 :
	    err_set(e, -EIO, "tls.db: %s", sqlite3_errmsg(s->db));
}

static int64_t
pragma(struct tlsrpt_store *s, const char *text)
{
	sqlite3_stmt *st = NULL;
	int64_t v = -1;

	if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) == SQLITE_OK)
		one(st, &v);
	sqlite3_finalize(st);
	return v;
}

static int
identify(struct tlsrpt_store *s, struct err *e)
{
	int64_t version = pragma(s, "PRAGMA user_version"), id = pragma(s, "PRAGMA application_id");
	char text[100];
	int r;

	if (version == FORMAT && id == APPLICATION)
		return 0;
	if (version || id)
		return err_set(e, -EINVAL, "tls.db is of another version, or no database of ours");
	snprintf(text, sizeof text, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
	    APPLICATION, FORMAT);
	r = exec(s, "BEGIN IMMEDIATE", e);
	r = r ? r : exec(s, schema, e);
	return r ? r : exec(s, text, e);
}

static int
prepare(struct tlsrpt_store *s, struct err *e)
{
	int64_t n = 0;

	for (enum query q = 0; q < Q_N; q++)
		if (sqlite3_prepare_v3(s->db, sql[q], -1, SQLITE_PREPARE_PERSISTENT, &s->q[q], NULL))
			return err_set(e, -EIO, "tls.db: %s", sqlite3_errmsg(s->db));
	if (one(query(s, Q_COUNT), &n) < 0)
		return err_set(e, -EIO, "tls.db: %s", sqlite3_errmsg(s->db));
	s->policies = (uint64_t)n;
	return 0;
}

int
tlsrpt_store_open(const char *dir, struct tlsrpt_store **ret, struct err *e)
{
	struct tlsrpt_store *s = calloc(1, sizeof *s);
	char path[4096];
	int fd, r = 0;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	snprintf(path, sizeof path, "%s/tls.db", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		free(s);
		return err_sys(e, -errno, "cannot open %s", path);
	}
	close(fd);
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL))
		r = err_set(e, -EIO, "%s: %s", path, sqlite3_errmsg(s->db));
	r = r ? r : exec(s, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
	    "PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;", e);
	r = r ? r : identify(s, e);
	r = r ? r : prepare(s, e);
	if (r)
		tlsrpt_store_close(&s);
	else
		*ret = s;
	return r;
}

void
tlsrpt_store_close(struct tlsrpt_store **sp)
{
	struct tlsrpt_store *s = *sp;

	*sp = NULL;
	if (!s)
		return;
	tlsrpt_store_commit(s);
	for (enum query q = 0; q < Q_N; q++)
		sqlite3_finalize(s->q[q]);
	sqlite3_close(s->db);
	free(s);
}

/* ---- counting ---- */

static int
begin(struct tlsrpt_store *s)
{
	int r = s->open ? 0 : run(query(s, Q_BEGIN));

	s->open = !r;
	return r;
}

int
tlsrpt_store_commit(struct tlsrpt_store *s)
{
	if (!s->open)
		return 0;
	s->open = false;
	return run(query(s, Q_COMMIT));
}

static void
bind_policy(sqlite3_stmt *st, int64_t day, const struct tls_seen *v)
{
	bind_int(st, 1, day);
	bind_str(st, 2, v->domain);
	bind_int(st, 3, v->kind);
	bind_str(st, 4, v->policy);
	bind_str(st, 5, v->mx);
	bind_int(st, 6, v->result == TLS_SEEN_GOOD);
	bind_int(st, 7, v->result != TLS_SEEN_GOOD);
}

/* The row of the policy with one session more. */
static int
count_session(struct tlsrpt_store *s, int64_t day, const struct tls_seen *v, int64_t *ret_id)
{
	sqlite3_stmt *st = query(s, Q_BUMP);
	int r;

	bind_policy(st, day, v);
	r = one(st, ret_id);
	if (r)
		return r < 0 ? r : 0;
	if (s->policies >= TLSRPT_POLICIES_MAX)
		return -ENOSPC;
	st = query(s, Q_INSERT);
	bind_policy(st, day, v);
	r = one(st, ret_id);
	s->policies += r > 0;
	return r > 0 ? 0 : -EIO;
}

static int
count_failure(struct tlsrpt_store *s, int64_t id, const struct tls_seen *v)
{
	sqlite3_stmt *st = query(s, Q_KINDS);
	int64_t kinds = 0;
	bool sum;

	bind_int(st, 1, id);
	if (one(st, &kinds) < 0)
		return -EIO;
	sum = kinds >= TLSRPT_FAILURES_MAX;
	st = query(s, Q_FAILURE);
	bind_int(st, 1, id);
	bind_int(st, 2, v->result);
	bind_str(st, 3, sum ? STR_NULL : v->host);
	bind_str(st, 4, sum ? STR_NULL : v->sending_ip);
	bind_str(st, 5, sum ? STR_NULL : v->receiving_ip);
	bind_str(st, 6, sum ? STR("failures beyond those told one by one") : v->why);
	return run(st);
}

int
tlsrpt_store_add(struct tlsrpt_store *s, int64_t day, const struct tls_seen *v)
{
	int64_t id = 0;
	int r = begin(s);

	r = r ? r : count_session(s, day, v, &id);
	return r || v->result == TLS_SEEN_GOOD ? r : count_failure(s, id, v);
}

/* ---- reports ---- */

int
tlsrpt_store_plan(struct tlsrpt_store *s, int64_t before, int64_t from_s, uint64_t spread_s)
{
	sqlite3_stmt *st = query(s, Q_PLAN);

	bind_int(st, 1, before);
	bind_int(st, 2, from_s);
	bind_int(st, 3, (int64_t)spread_s);
	return begin(s) ? -EIO : run(st);
}

int
tlsrpt_store_hurry(struct tlsrpt_store *s, int64_t now_s)
{
	sqlite3_stmt *st = query(s, Q_HURRY);

	bind_int(st, 1, now_s);
	return begin(s) ? -EIO : run(st);
}

int
tlsrpt_store_due(struct tlsrpt_store *s, int64_t now_s, struct arena *a, struct tlsrpt_due *ret)
{
	sqlite3_stmt *st = query(s, Q_DUE);
	int r;

	bind_int(st, 1, now_s);
	r = sqlite3_step(st);
	if (r == SQLITE_ROW)
		*ret = (struct tlsrpt_due){ sqlite3_column_int64(st, 0), column(st, 1, a),
		    sqlite3_column_int64(st, 2), (unsigned)sqlite3_column_int(st, 3) };
	sqlite3_reset(st);
	return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : -EIO;
}

static int
read_failures(struct tlsrpt_store *s, struct arena *a, struct tlsrpt_policy *p)
{
	/* one row for each kind of result may stand beyond the limit: the sum */
	const size_t max = TLSRPT_FAILURES_MAX + TLS_SEEN_N;
	sqlite3_stmt *st = query(s, Q_FAILURES);
	int r = SQLITE_DONE;

	p->failures = ARENA_ARRAY(a, struct tlsrpt_failure, max);
	if (!p->failures)
		return -ENOMEM;
	bind_int(st, 1, p->id);
	while (p->n_failures < max && (r = sqlite3_step(st)) == SQLITE_ROW)
		p->failures[p->n_failures++] = (struct tlsrpt_failure){
			.result = (enum tls_result)sqlite3_column_int(st, 0),
			.host = column(st, 1, a),
			.sending_ip = column(st, 2, a),
			.receiving_ip = column(st, 3, a),
			.why = column(st, 4, a),
			.n = (uint64_t)sqlite3_column_int64(st, 5),
		};
	sqlite3_reset(st);
	return r == SQLITE_DONE || r == SQLITE_ROW ? 0 : -EIO;
}

#define REPORT_POLICIES 200 /* told of a domain and a day */

int
tlsrpt_store_read(struct tlsrpt_store *s, const struct tlsrpt_due *d, struct arena *a,
    struct tlsrpt_report *ret)
{
	sqlite3_stmt *st = query(s, Q_POLICIES);
	int r = 0;

	ret->n_policies = 0;
	ret->policies = ARENA_ARRAY(a, struct tlsrpt_policy, REPORT_POLICIES);
	if (!ret->policies)
		return -ENOMEM;
	bind_int(st, 1, d->day);
	bind_str(st, 2, d->domain);
	while (ret->n_policies < REPORT_POLICIES && sqlite3_step(st) == SQLITE_ROW)
		ret->policies[ret->n_policies++] = (struct tlsrpt_policy){
			.id = sqlite3_column_int64(st, 0),
			.kind = (enum tls_policy_kind)sqlite3_column_int(st, 1),
			.text = column(st, 2, a),
			.mx = column(st, 3, a),
			.good = (uint64_t)sqlite3_column_int64(st, 4),
			.bad = (uint64_t)sqlite3_column_int64(st, 5),
		};
	sqlite3_reset(st);
	for (size_t i = 0; i < ret->n_policies && !r; i++)
		r = read_failures(s, a, &ret->policies[i]);
	return r;
}

static int
about(struct tlsrpt_store *s, enum query q, const struct tlsrpt_due *d)
{
	sqlite3_stmt *st = query(s, q);

	bind_int(st, 1, d->day);
	bind_str(st, 2, d->domain);
	return run(st);
}

int
tlsrpt_store_later(struct tlsrpt_store *s, const struct tlsrpt_due *d, int64_t due_s)
{
	bind_int(query(s, Q_LATER), 3, due_s);
	return begin(s) ? -EIO : about(s, Q_LATER, d);
}

int
tlsrpt_store_drop(struct tlsrpt_store *s, const struct tlsrpt_due *d)
{
	int64_t n = 0;
	int r = begin(s);

	for (enum query q = Q_DROP_FAILURES; !r && q <= Q_DROP_REPORT; q++)
		r = about(s, q, d);
	if (!r && one(query(s, Q_COUNT), &n) > 0)
		s->policies = (uint64_t)n;
	return r;
}

int
tlsrpt_store_planned(struct tlsrpt_store *s, uint64_t *ret)
{
	int64_t n = 0;
	int r = one(query(s, Q_PLANNED), &n);

	*ret = (uint64_t)n;
	return r < 0 ? r : 0;
}
