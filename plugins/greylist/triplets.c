/*
 * The memory of greylisting; see triplets.h.
 *
 * A key is the text "network|sender|recipient", the primary key of a table without row ids. Writes are synced by SQLite's journal at NORMAL: a power cut may
 * lose the last of them, which costs their senders one more delay and no mail.
 */
#include "plugins/greylist/triplets.h"

#include "plugins/common/net.h"
#include "plugins/common/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

#define KEY_MAX (TRIPLETS_NET_MAX + 2 * TRIPLETS_ADDRESS_MAX + 2)
#define BUSY_MS 2000
#define SCHEMA "1"

enum { GET_TRIPLET, PUT_TRIPLET, GET_CLIENT, PUT_CLIENT, OLD_TRIPLETS, OLD_CLIENTS, MANY_TRIPLETS,
	MANY_CLIENTS, COUNT, STATEMENTS };

static const char *const texts[STATEMENTS] = {
	[GET_TRIPLET] = "SELECT first, last, passed FROM triplet WHERE key = ?1",
	[PUT_TRIPLET] = "INSERT INTO triplet VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE "
		"SET first = ?2, last = ?3, passed = ?4",
	[GET_CLIENT] = "SELECT passed, last FROM client WHERE key = ?1",
	[PUT_CLIENT] = "INSERT INTO client VALUES (?1, ?2, 1) ON CONFLICT (key) DO UPDATE "
		"SET last = ?2, passed = min(passed + ?3, 1000000000)",
	[OLD_TRIPLETS] = "DELETE FROM triplet WHERE (passed = 0 AND first < ?1) OR last < ?2",
	[OLD_CLIENTS] = "DELETE FROM client WHERE last < ?2",
	[MANY_TRIPLETS] = "DELETE FROM triplet WHERE key IN (SELECT key FROM triplet ORDER BY passed, last "
		"LIMIT max(0, (SELECT count(*) FROM triplet) - ?1))",
	[MANY_CLIENTS] = "DELETE FROM client WHERE key IN (SELECT key FROM client ORDER BY last "
		"LIMIT max(0, (SELECT count(*) FROM client) - ?1))",
	[COUNT] = "SELECT (SELECT count(*) FROM triplet) + (SELECT count(*) FROM client)",
};

struct triplets {
	sqlite3 *db;
	sqlite3_stmt *st[STATEMENTS];
	struct triplets_policy policy;
	uint64_t puts;            /* since the last look at how much there is */
};

/* ---- names ---- */

int
triplets_net(struct ph_str ip, unsigned bits4, unsigned bits6, char ret[TRIPLETS_NET_MAX])
{
	unsigned char a[16];
	char text[INET6_ADDRSTRLEN];
	unsigned offset, bits;

	if (net_address(ip, a))
		return -1;
	offset = net_is_ip4(a) ? 12 : 0;
	bits = offset ? bits4 : bits6;
	for (unsigned i = offset; i < 16; i++) {
		unsigned before = 8 * (i - offset);

		a[i] &= bits >= before + 8 ? 0xff : bits <= before ? 0 : (unsigned char)(0xff00u >> (bits - before));
	}
	inet_ntop(offset ? AF_INET : AF_INET6, a + offset, text, sizeof text);
	snprintf(ret, TRIPLETS_NET_MAX, "%s/%u", text, bits);
	return 0;
}

/* A byte of an address as it stands in a key. */
static char
plain(char c)
{
	return c && c != '|' ? text_lower(c) : '?';
}

size_t
triplets_rcpt(struct ph_str address, char ret[TRIPLETS_ADDRESS_MAX])
{
	size_t n = 0;

	for (; n < address.n && n + 1 < TRIPLETS_ADDRESS_MAX; n++)
		ret[n] = plain(address.p[n]);
	ret[n] = 0;
	return n;
}

/* The local part without its tags: "prvs=4321abcdef=user" (BATV) is user, "SRS0=hash=tt=domain=user"
 * is domain=user. */
static struct ph_str
without_tag(struct ph_str local)
{
	unsigned fields = text_begins(local, "prvs=") || text_begins(local, "btv1==") ? 2 :
	    text_begins(local, "srs0") || text_begins(local, "srs1") ? 3 : 0;
	size_t i = 0;

	while (fields && i < local.n)
		if (local.p[i++] == '=')
			fields--;
	return fields ? local : ph_bytes(local.p + i, local.n - i);
}

size_t
triplets_sender(struct ph_str address, char ret[TRIPLETS_ADDRESS_MAX])
{
	struct ph_str domain = text_domain(address), local = without_tag(text_local(address));
	size_t n = 0;
	int digits = 0;

	for (size_t i = 0; i < local.n && local.p[i] != '+' && n + 2 < TRIPLETS_ADDRESS_MAX; i++) {
		int digit = local.p[i] >= '0' && local.p[i] <= '9';

		if (!digit || !digits)
			ret[n++] = digit ? '#' : plain(local.p[i]);
		digits = digit;
	}
	if (domain.p)
		ret[n++] = '@';
	for (size_t i = 0; i < domain.n && n + 1 < TRIPLETS_ADDRESS_MAX; i++)
		ret[n++] = plain(domain.p[i]);
	ret[n] = 0;
	return n;
}

/* ---- the file ---- */

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS triplet (key TEXT PRIMARY KEY, first INTEGER NOT NULL, "
	"last INTEGER NOT NULL, passed INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS client (key TEXT PRIMARY KEY, last INTEGER NOT NULL, "
	"passed INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS triplet_age ON triplet (passed, last);"
	"PRAGMA user_version = " SCHEMA;

static int
version(struct triplets *t)
{
	sqlite3_stmt *st = NULL;
	int v = -1;

	if (sqlite3_prepare_v2(t->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return v;
}

static int
prepare(struct triplets *t)
{
	for (int i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(t->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &t->st[i], NULL))
			return -EIO;
	return 0;
}

/* The header and the pages of both tables: a file that was cut or overwritten fails here. */
static int
is_whole(struct triplets *t)
{
	sqlite3_stmt *st = NULL;
	int good = 0;

	if (sqlite3_prepare_v2(t->db, "PRAGMA quick_check(1)", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		good = !strcmp((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	return good;
}

/* 0; -EUCLEAN: damaged; other negative ones. */
static int
open_file(const char *path, struct triplets *t, char *why, size_t size)
{
	/* One process: the lock is kept, so the journal needs no shared memory file. */
	static const char pragmas[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
		"PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
		"PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 256";
	int r = sqlite3_open_v2(path, &t->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
	    SQLITE_OPEN_NOMUTEX, NULL), v;

	if (r == SQLITE_OK) {
		sqlite3_busy_timeout(t->db, BUSY_MS);
		r = sqlite3_exec(t->db, pragmas, NULL, NULL, NULL);
	}
	if (r == SQLITE_OK && !is_whole(t))
		r = SQLITE_CORRUPT;
	v = r == SQLITE_OK ? version(t) : 0;
	if (r == SQLITE_OK && v > atoi(SCHEMA)) {
		snprintf(why, size, "%s was written by a later version", path);
		return -EPROTO;
	}
	if (r == SQLITE_OK)
		r = sqlite3_exec(t->db, schema, NULL, NULL, NULL);
	if (r == SQLITE_OK && !prepare(t))
		return 0;
	snprintf(why, size, "%s: %s", path, t->db ? sqlite3_errmsg(t->db) : "out of memory");
	return r == SQLITE_CORRUPT || r == SQLITE_NOTADB ? -EUCLEAN : -EIO;
}

static void
close_file(struct triplets *t)
{
	for (int i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(t->st[i]);
		t->st[i] = NULL;
	}
	sqlite3_close(t->db);
	t->db = NULL;
}

static int
move_aside(const char *path)
{
	char to[4096 + 16];
	int n = snprintf(to, sizeof to, "%s.damaged", path);

	if (n < 0 || (size_t)n >= sizeof to || rename(path, to))
		return -EIO;
	snprintf(to, sizeof to, "%s-wal", path);
	remove(to);
	return 0;
}

int
triplets_open(const char *path, const struct triplets_policy *p, struct triplets **ret,
    int *ret_lost, char *why, size_t size)
{
	struct triplets *t = calloc(1, sizeof *t);
	int r, lost = 0;

	if (!t)
		return -ENOMEM;
	t->policy = *p;
	r = open_file(path, t, why, size);
	if (r == -EUCLEAN) {
		close_file(t);
		lost = 1;
		r = move_aside(path);
		if (!r)
			r = open_file(path, t, why, size);
	}
	if (r) {
		triplets_close(&t);
		return r;
	}
	*ret = t;
	*ret_lost = lost;
	return 0;
}

void
triplets_close(struct triplets **tp)
{
	struct triplets *t = *tp;

	*tp = NULL;
	if (!t)
		return;
	close_file(t);
	free(t);
}

/* ---- statements ---- */

/* A statement with its key (or NULL) and numbers bound. */
static sqlite3_stmt *
bound(struct triplets *t, int which, const char *key, const uint64_t *v, int n)
{
	sqlite3_stmt *st = t->st[which];

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	if (key)
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	for (int i = 0; i < n; i++)
		sqlite3_bind_int64(st, i + (key ? 2 : 1), (sqlite3_int64)v[i]);
	return st;
}

/* Runs one that gives no row. 0 or -EIO. */
static int
run(struct triplets *t, int which, const char *key, const uint64_t *v, int n)
{
	sqlite3_stmt *st = bound(t, which, key, v, n);
	int r = sqlite3_step(st);

	sqlite3_reset(st);
	return r == SQLITE_DONE ? 0 : -EIO;
}

/* The numbers of a row. 1, 0: there is none, -EIO. */
static int
row(struct triplets *t, int which, const char *key, uint64_t *ret, int n)
{
	sqlite3_stmt *st = bound(t, which, key, NULL, 0);
	int r = sqlite3_step(st);

	for (int i = 0; i < n; i++)
		ret[i] = r == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, i) : 0;
	sqlite3_reset(st);
	return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : -EIO;
}

/* ---- attempts ---- */

enum { FIRST, LAST, PASSED };

/* What an attempt is, by its row (all 0: none), which becomes what is to be kept. */
static enum triplets_answer
judge(const struct triplets_policy *p, uint64_t now, uint64_t v[3], uint64_t *wait)
{
	int stale = v[PASSED] ? now > v[LAST] + p->expire_ms : now > v[FIRST] + p->window_ms;

	if (!v[FIRST] || stale || now < v[FIRST]) {
		v[FIRST] = v[LAST] = now;
		v[PASSED] = !p->delay_ms;
		*wait = p->delay_ms;
		return v[PASSED] ? TRIPLETS_PASSED : TRIPLETS_NEW;
	}
	v[LAST] = now;
	if (v[PASSED])
		return TRIPLETS_SEEN;
	if (now - v[FIRST] < p->delay_ms) {
		*wait = v[FIRST] + p->delay_ms - now;
		return TRIPLETS_EARLY;
	}
	v[PASSED] = 1;
	return TRIPLETS_PASSED;
}

/* Whether the network is known. 1, 0, -EIO; *ret_last: when it was seen. */
static int
is_known(struct triplets *t, const char *net, uint64_t now, uint64_t *ret_last)
{
	uint64_t v[2];
	int r = t->policy.allow_after ? row(t, GET_CLIENT, net, v, 2) : 0;

	if (r <= 0)
		return r;
	*ret_last = v[1];
	return v[0] >= t->policy.allow_after && now <= v[1] + t->policy.expire_ms;
}

static int
remember(struct triplets *t, const char *key, const char *net, const uint64_t v[3],
    enum triplets_answer a)
{
	uint64_t gone, client[2] = { v[LAST], 1 };
	int r = sqlite3_exec(t->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;

	if (r)
		return r;
	r = run(t, PUT_TRIPLET, key, v, 3);
	if (!r && a == TRIPLETS_PASSED)
		r = run(t, PUT_CLIENT, net, client, 2);
	if (sqlite3_exec(t->db, r ? "ROLLBACK" : "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		r = -EIO;
	if (!r && ++t->puts >= t->policy.rows_max / 8 + 1)
		triplets_expire(t, v[LAST], &gone);
	return r;
}

int
triplets_try(struct triplets *t, struct ph_str net, struct ph_str sender, struct ph_str rcpt,
    uint64_t now_ms, enum triplets_answer *ret, uint64_t *ret_wait_ms)
{
	char key[KEY_MAX], network[TRIPLETS_NET_MAX];
	uint64_t v[3], seen = 0, client[2] = { now_ms, 0 };
	enum triplets_answer a;
	int r;

	snprintf(network, sizeof network, "%.*s", PH_ARG(net));
	snprintf(key, sizeof key, "%s|%.*s|%.*s", network, PH_ARG(sender), PH_ARG(rcpt));
	*ret_wait_ms = 0;
	r = is_known(t, network, now_ms, &seen);
	if (r < 0)
		return r;
	if (r) {
		*ret = TRIPLETS_KNOWN;
		/* Once an hour is enough to know that it is still there. */
		return now_ms < seen + 3600000 ? 0 : run(t, PUT_CLIENT, network, client, 2);
	}
	r = row(t, GET_TRIPLET, key, v, 3);
	if (r < 0)
		return r;
	a = judge(&t->policy, now_ms, v, ret_wait_ms);
	r = remember(t, key, network, v, a);
	if (!r)
		*ret = a;
	return r;
}

/* ---- upkeep ---- */

static int
delete(struct triplets *t, int which, const uint64_t *v, int n, uint64_t *gone)
{
	int r = run(t, which, NULL, v, n);

	if (!r)
		*gone += (uint64_t)sqlite3_changes(t->db);
	return r;
}

static uint64_t
before(uint64_t now, uint64_t age)
{
	return now > age ? now - age : 0;
}

int
triplets_expire(struct triplets *t, uint64_t now_ms, uint64_t *ret_gone)
{
	uint64_t old[2] = { before(now_ms, t->policy.window_ms), before(now_ms, t->policy.expire_ms) };
	int r;

	*ret_gone = 0;
	t->puts = 0;
	r = delete(t, OLD_TRIPLETS, old, 2, ret_gone);
	if (!r)
		r = delete(t, OLD_CLIENTS, old, 2, ret_gone);
	if (!r)
		r = delete(t, MANY_TRIPLETS, &t->policy.rows_max, 1, ret_gone);
	if (!r)
		r = delete(t, MANY_CLIENTS, &t->policy.rows_max, 1, ret_gone);
	return r;
}

uint64_t
triplets_count(struct triplets *t)
{
	uint64_t n = 0;

	row(t, COUNT, NULL, &n, 1);
	return n;
}
