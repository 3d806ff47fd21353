/*
 * The admin's verbs on the directory. Each change is one transaction, synced
 * before anybody hears of it.
 */
#include <errno.h>
#include <openssl/rand.h>

#include "lib/base/clock.h"
#include "mta/directory_private.h"

struct verb_ctx {
	struct directory *d;
	const struct auth_admin *q;
	unsigned cost;
	struct mailname name;
	struct directory_account account; /* of the verbs on one user */
	directory_row_fn *fn;
	void *arg;
	bool tell;                        /* others must be told */
	struct auth_changed *changed;
	char *changed_name;
	struct arena *rows;               /* of the row that is being made */
	struct err *e;
};

static int64_t
now_ms(void)
{
	return (int64_t)(clock_real_us() / 1000);
}

static int
failed(struct verb_ctx *c, int r)
{
	return r == -EEXIST ? r : directory_fail(c->d, c->e);
}

/* Notes whom to tell of what. */
static void
tell(struct verb_ctx *c, bool enabled)
{
	const struct directory_account *a = &c->account;

	c->tell = true;
	*c->changed = (struct auth_changed){ .account = a->id, .generation = a->generation,
		.volume = a->volume, .slot = account_slot(a->id), .enabled = enabled };
	memcpy(c->changed_name, a->address, strlen(a->address) + 1);
	c->changed->address = str_c(c->changed_name);
}

static int
no_such_user(struct verb_ctx *c)
{
	return err_set(c->e, -ENOENT, "no user %.*s", STR_ARG(c->q->name));
}

/* The account that q->name means, whether its domain is still ours or not. */
static int
load(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_USER_SHOW);
	int rc, r;

	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_text(s, 1, c->name.domain, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, c->name.local, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		r = directory_account(c->d, (uint64_t)sqlite3_column_int64(s, 0), &c->account);
	else
		r = rc == SQLITE_DONE ? -ENOENT : failed(c, -EIO);
	sqlite3_reset(s);
	return r == -ENOENT ? no_such_user(c) : r;
}

/* ---- users ---- */

static int
set_password(struct verb_ctx *c, uint64_t account)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_PASSWORD_SET);
	char prepared[PASSWORD_MAX + 1], hash[PASSWORD_HASH_MAX];
	struct scram_keys k;
	int r;

	if (!s)
		return failed(c, -EIO);
	if (password_prepare(c->q->password, prepared))
		return err_set(c->e, -EINVAL,
		    "a password is 1 to %d bytes of UTF-8 without control characters", PASSWORD_MAX);
	r = password_hash(prepared, c->cost, hash, c->e);
	if (!r)
		r = password_scram(prepared, c->cost, &k, c->e);
	password_wipe(prepared, sizeof prepared);
	if (r)
		return r;
	sqlite3_bind_int64(s, 1, (int64_t)account);
	sqlite3_bind_text(s, 2, hash, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 3, k.iterations);
	sqlite3_bind_blob(s, 4, k.salt, sizeof k.salt, SQLITE_TRANSIENT);
	sqlite3_bind_blob(s, 5, k.stored, sizeof k.stored, SQLITE_TRANSIENT);
	sqlite3_bind_blob(s, 6, k.server, sizeof k.server, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 7, now_ms());
	r = directory_run(c->d, s);
	return r ? failed(c, r) : 0;
}

/* A random id that no account has or had. */
static int
fresh_id(struct verb_ctx *c, uint64_t *ret)
{
	for (int tries = 0; tries < 16; tries++) {
		sqlite3_stmt *s = directory_stmt(c->d, DS_BURIED);
		uint64_t id;
		int rc;

		if (!s || RAND_bytes((unsigned char *)&id, sizeof id) != 1)
			break;
		id &= INT64_MAX;
		sqlite3_bind_int64(s, 1, (int64_t)id);
		rc = sqlite3_step(s);
		sqlite3_reset(s);
		if (rc == SQLITE_DONE && id) {
			*ret = id;
			return 0;
		}
	}
	return err_set(c->e, -EIO, "cannot make an account id");
}

static void
bind_quota(sqlite3_stmt *s, int i, uint64_t quota)
{
	if (quota == AUTH_QUOTA_DEFAULT)
		sqlite3_bind_null(s, i);
	else
		sqlite3_bind_int64(s, i, quota > INT64_MAX ? INT64_MAX : (int64_t)quota);
}

static int
insert_user(struct verb_ctx *c, uint64_t id)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_USER_ADD);
	int r;

	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_int64(s, 1, (int64_t)id);
	sqlite3_bind_text(s, 2, c->name.domain, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 3, c->name.local, -1, SQLITE_STATIC);
	bind_quota(s, 4, c->q->quota);
	sqlite3_bind_int64(s, 5, now_ms());
	r = directory_run(c->d, s);
	if (r == -EEXIST)
		return err_set(c->e, r, "user %s@%s exists", c->name.local, c->name.domain);
	if (r)
		return failed(c, r);
	if (!sqlite3_changes(c->d->db))
		return err_set(c->e, -ENOENT, "domain %s is not local (posthorn domain add %s)",
		    c->name.domain, c->name.domain);
	return 0;
}

static int
user_add(struct verb_ctx *c)
{
	uint64_t id = 0;
	int r;

	if (!mailname_plain(&c->name))
		return err_set(c->e, -EINVAL, "%s cannot be the name of a user", c->name.local);
	r = fresh_id(c, &id);
	if (!r)
		r = insert_user(c, id);
	if (!r)
		r = set_password(c, id);
	if (!r)
		r = load(c);
	if (!r)
		tell(c, true);
	return r;
}

/* Raises the generation, so that every ticket is void, and tells. */
static int
revoke(struct verb_ctx *c, enum directory_stmt how, int64_t value, bool enabled)
{
	sqlite3_stmt *s = directory_stmt(c->d, how);
	int r;

	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_int64(s, 1, (int64_t)c->account.id);
	if (how == DS_USER_STATE)
		sqlite3_bind_int64(s, 2, value);
	r = directory_run(c->d, s);
	if (r)
		return failed(c, r);
	c->account.generation++;
	tell(c, enabled);
	return 0;
}

static int
user_passwd(struct verb_ctx *c)
{
	int r = set_password(c, c->account.id);

	return r ? r : revoke(c, DS_USER_RAISE, 0, c->account.state == AUTH_ACTIVE);
}

static int
user_quota(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_USER_QUOTA);
	int r;

	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_int64(s, 1, (int64_t)c->account.id);
	bind_quota(s, 2, c->q->quota);
	r = directory_run(c->d, s);
	if (r)
		return failed(c, r);
	tell(c, c->account.state == AUTH_ACTIVE);
	return 0;
}

static int
user_suspend(struct verb_ctx *c)
{
	return revoke(c, DS_USER_STATE, AUTH_SUSPENDED, false);
}

static int
user_resume(struct verb_ctx *c)
{
	return revoke(c, DS_USER_STATE, AUTH_ACTIVE, true);
}

static int
user_delete(struct verb_ctx *c)
{
	sqlite3_stmt *bury = directory_stmt(c->d, DS_USER_BURY);
	sqlite3_stmt *del = directory_stmt(c->d, DS_USER_DELETE);
	int r;

	if (!bury || !del)
		return failed(c, -EIO);
	sqlite3_bind_int64(bury, 1, (int64_t)c->account.id);
	sqlite3_bind_text(bury, 2, c->account.address, -1, SQLITE_STATIC);
	sqlite3_bind_int64(bury, 3, c->account.volume);
	sqlite3_bind_int64(bury, 4, c->q->purge);
	sqlite3_bind_int64(bury, 5, now_ms());
	r = directory_run(c->d, bury);
	if (!r) {
		sqlite3_bind_int64(del, 1, (int64_t)c->account.id);
		r = directory_run(c->d, del);
	}
	if (r)
		return failed(c, r);
	c->account.generation++;
	tell(c, false);
	c->changed->deleted = true;
	c->changed->purge = c->q->purge;
	return 0;
}

/* What the account forwards to; the text is in c->rows. */
static void
user_forwards(struct verb_ctx *c, struct auth_row *r)
{
	c->rows = arena_new(0);
	if (c->rows)
		directory_forwards(c->d, r->account, c->rows, &r->targets);
}

static void
user_row(struct verb_ctx *c, sqlite3_stmt *s)
{
	struct auth_row r = {
		.account = (uint64_t)sqlite3_column_int64(s, 0),
		.generation = (uint64_t)sqlite3_column_int64(s, 1),
		.volume = (uint32_t)sqlite3_column_int64(s, 2),
		.state = (enum auth_state)sqlite3_column_int(s, 3),
		.quota = sqlite3_column_type(s, 4) == SQLITE_NULL ? AUTH_QUOTA_DEFAULT
		                                                  : (uint64_t)sqlite3_column_int64(s, 4),
		.name = str_c((const char *)sqlite3_column_text(s, 5)),
		.keep = sqlite3_column_int(s, 6) == DIRECTORY_FORWARD_KEEP,
		.created_ms = (uint64_t)sqlite3_column_int64(s, 7),
		.changed_ms = (uint64_t)sqlite3_column_int64(s, 8),
	};

	r.slot = account_slot(r.account);
	if (sqlite3_column_int(s, 6))
		user_forwards(c, &r);
	c->fn(c->arg, &r);
	arena_free(&c->rows);
}

static int
rows(struct verb_ctx *c, sqlite3_stmt *s, void (*row)(struct verb_ctx *, sqlite3_stmt *))
{
	size_t n = 0;
	int rc;

	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		row(c, s), n++;
	sqlite3_reset(s);
	if (rc != SQLITE_DONE)
		return failed(c, -EIO);
	return n ? 0 : -ENOENT;
}

static int
user_list(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_USER_LIST);
	int r;

	if (!s)
		return failed(c, -EIO);
	directory_bind_str(s, 1, c->q->name);
	r = rows(c, s, user_row);
	return r == -ENOENT ? 0 : r;
}

static int
user_show(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_USER_SHOW);
	int r;

	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_text(s, 1, c->name.domain, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, c->name.local, -1, SQLITE_STATIC);
	r = rows(c, s, user_row);
	return r == -ENOENT ? no_such_user(c) : r;
}

/* ---- app passwords ---- */

#define APP_PASSWORDS_MAX 50
#define LABEL_MAX 100

static bool
is_label(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 127)
			return false;
	return s.n > 0 && s.n <= LABEL_MAX;
}

static int64_t
app_count(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_APP_COUNT);
	int64_t n = INT64_MAX;

	if (!s)
		return n;
	sqlite3_bind_int64(s, 1, (int64_t)c->account.id);
	if (sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	return n;
}

static int
app_add(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_APP_ADD);
	char hash[PASSWORD_HASH_MAX];
	int r;

	if (!s)
		return failed(c, -EIO);
	if (!is_label(c->q->label))
		return err_set(c->e, -EINVAL, "a label is 1 to %d bytes without control characters", LABEL_MAX);
	if (!password_app_hash(c->q->password, hash))
		return err_set(c->e, -EINVAL, "not an app password");
	if (app_count(c) >= APP_PASSWORDS_MAX)
		return err_set(c->e, -ENOSPC, "an account has at most %d app passwords", APP_PASSWORDS_MAX);
	sqlite3_bind_int64(s, 1, (int64_t)c->account.id);
	directory_bind_str(s, 2, c->q->label);
	sqlite3_bind_text(s, 3, hash, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 4, now_ms());
	r = directory_run(c->d, s);
	if (r == -EEXIST)
		return err_set(c->e, r, "there is an app password '%.*s'", STR_ARG(c->q->label));
	return r ? failed(c, r) : 0;
}

/* Sessions that logged in with it end, as after a new password. */
static int
app_delete(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_APP_DELETE);
	int r;

	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_int64(s, 1, (int64_t)c->account.id);
	directory_bind_str(s, 2, c->q->label);
	r = directory_run(c->d, s);
	if (r)
		return failed(c, r);
	if (!sqlite3_changes(c->d->db))
		return err_set(c->e, -ENOENT, "no app password '%.*s'", STR_ARG(c->q->label));
	return revoke(c, DS_USER_RAISE, 0, c->account.state == AUTH_ACTIVE);
}

static void
app_row(struct verb_ctx *c, sqlite3_stmt *s)
{
	struct auth_row r = { .name = str_c((const char *)sqlite3_column_text(s, 0)),
		.changed_ms = (uint64_t)sqlite3_column_int64(s, 1) };

	c->fn(c->arg, &r);
}

static int
app_list(struct verb_ctx *c)
{
	sqlite3_stmt *s;
	int r = load(c);

	if (r)
		return r;
	s = directory_stmt(c->d, DS_APP_LIST);
	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_int64(s, 1, (int64_t)c->account.id);
	r = rows(c, s, app_row);
	return r == -ENOENT ? 0 : r;
}

/* ---- domains ---- */

static void
domains_changed(struct verb_ctx *c)
{
	c->tell = true;
	*c->changed = (struct auth_changed){ .enabled = true };
	c->changed_name[0] = '\0';
}

static int
set_postmaster(struct verb_ctx *c, const char *domain)
{
	sqlite3_stmt *s;
	struct directory_account a;
	struct str detail;
	int r = directory_resolve(c->d, c->q->postmaster, STR_NULL, &a, &detail);

	if (r != DIRECTORY_ACCOUNT)
		return r < 0 ? failed(c, r) : err_set(c->e, -ENOENT, "no user %.*s",
		    STR_ARG(c->q->postmaster));
	s = directory_stmt(c->d, DS_DOMAIN_POSTMASTER);
	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_text(s, 1, domain, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, (int64_t)a.id);
	r = directory_run(c->d, s);
	return r ? failed(c, r) : 0;
}

static int
domain_add(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_DOMAIN_ADD);
	int r;

	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_text(s, 1, c->name.domain, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, now_ms());
	r = directory_run(c->d, s);
	if (r)
		return failed(c, r);
	if (!sqlite3_changes(c->d->db) && !c->q->postmaster.n)
		return err_set(c->e, -EEXIST, "domain %s exists", c->name.domain);
	if (c->q->postmaster.n)
		r = set_postmaster(c, c->name.domain);
	if (!r)
		domains_changed(c);
	return r;
}

/* 0 when the domain was added by the verb and has no accounts. */
static int
may_delete(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_DOMAIN_COUNT);
	int64_t accounts = 0;
	bool configured = false, added = false;
	int rc;

	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_text(s, 1, c->name.domain, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		accounts = sqlite3_column_int64(s, 0);
		configured = sqlite3_column_int(s, 1);
		added = sqlite3_column_int(s, 2);
	}
	sqlite3_reset(s);
	if (rc != SQLITE_ROW || (!added && !configured))
		return err_set(c->e, -ENOENT, "no domain %s", c->name.domain);
	if (!added)
		return err_set(c->e, -EPERM, "domain %s stands in the configuration: remove it there",
		    c->name.domain);
	if (accounts && !configured)
		return err_set(c->e, -ENOTEMPTY, "domain %s has %lld users", c->name.domain,
		    (long long)accounts);
	return 0;
}

static int
domain_delete(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_DOMAIN_DELETE);
	int r = may_delete(c);

	if (r)
		return r;
	if (!s)
		return failed(c, -EIO);
	sqlite3_bind_text(s, 1, c->name.domain, -1, SQLITE_STATIC);
	r = directory_run(c->d, s);
	if (!r)
		r = directory_run(c->d, directory_stmt(c->d, DS_DOMAIN_SWEEP));
	if (r)
		return failed(c, r);
	domains_changed(c);
	return 0;
}

static void
domain_row(struct verb_ctx *c, sqlite3_stmt *s)
{
	struct auth_row r = {
		.name = str_c((const char *)sqlite3_column_text(s, 0)),
		.configured = sqlite3_column_int(s, 1),
		.created_ms = (uint64_t)sqlite3_column_int64(s, 2),
		.accounts = (uint64_t)sqlite3_column_int64(s, 3),
		.postmaster = str_c((const char *)sqlite3_column_text(s, 4)),
	};

	c->fn(c->arg, &r);
}

static int
domain_list(struct verb_ctx *c)
{
	sqlite3_stmt *s = directory_stmt(c->d, DS_DOMAIN_LIST);
	int r = s ? rows(c, s, domain_row) : failed(c, -EIO);

	return r == -ENOENT ? 0 : r;
}

/* ---- aliases and forwards ---- */

static int
alias_add(struct verb_ctx *c)
{
	int r = directory_alias_add(c->d, &c->name, c->q->targets, c->e);

	if (!r)
		domains_changed(c);
	return r;
}

static int
alias_delete(struct verb_ctx *c)
{
	int r = directory_alias_delete(c->d, &c->name, c->q->targets, c->e);

	if (!r)
		domains_changed(c);
	return r;
}

static int
alias_list(struct verb_ctx *c)
{
	return directory_alias_list(c->d, c->q->name, c->fn, c->arg, c->e);
}

static int
user_forward(struct verb_ctx *c)
{
	int r = directory_forward(c->d, c->account.id, c->q->targets, c->q->keep, c->e);

	if (!r)
		tell(c, c->account.state == AUTH_ACTIVE);
	return r;
}

/* ---- the table ---- */

enum { V_USER = 1 /* the name is an address */, V_DOMAIN = 2, V_LOAD = 4 /* of a user there is */,
	V_WRITE = 8, V_ALIAS = 16 /* an address or @DOMAIN */ };

static const struct {
	int (*fn)(struct verb_ctx *c);
	unsigned flags;
} verbs[AUTH_OP_MAX] = {
	[AUTH_USER_ADD] = { user_add, V_USER | V_WRITE },
	[AUTH_USER_LIST] = { user_list, 0 },
	[AUTH_USER_SHOW] = { user_show, V_USER },
	[AUTH_USER_PASSWD] = { user_passwd, V_USER | V_LOAD | V_WRITE },
	[AUTH_USER_QUOTA] = { user_quota, V_USER | V_LOAD | V_WRITE },
	[AUTH_USER_SUSPEND] = { user_suspend, V_USER | V_LOAD | V_WRITE },
	[AUTH_USER_RESUME] = { user_resume, V_USER | V_LOAD | V_WRITE },
	[AUTH_USER_DELETE] = { user_delete, V_USER | V_LOAD | V_WRITE },
	[AUTH_USER_FORWARD] = { user_forward, V_USER | V_LOAD | V_WRITE },
	[AUTH_ALIAS_ADD] = { alias_add, V_ALIAS | V_WRITE },
	[AUTH_ALIAS_LIST] = { alias_list, 0 },
	[AUTH_ALIAS_DELETE] = { alias_delete, V_ALIAS | V_WRITE },
	[AUTH_DOMAIN_ADD] = { domain_add, V_DOMAIN | V_WRITE },
	[AUTH_DOMAIN_LIST] = { domain_list, 0 },
	[AUTH_DOMAIN_DELETE] = { domain_delete, V_DOMAIN | V_WRITE },
	[AUTH_APP_ADD] = { app_add, V_USER | V_LOAD | V_WRITE },
	[AUTH_APP_LIST] = { app_list, V_USER },
	[AUTH_APP_DELETE] = { app_delete, V_USER | V_LOAD | V_WRITE },
};

static int
parse_name(struct verb_ctx *c, unsigned flags)
{
	struct str name = c->q->name;

	if (flags & V_ALIAS && name.n && name.p[0] == '@') {
		c->name.local[0] = '\0';
		if (mailname_domain(str_skip(name, 1), c->name.domain))
			return err_set(c->e, -EINVAL, "%.*s is no domain", STR_ARG(name));
		return 0;
	}
	if (flags & V_ALIAS)
		flags |= V_USER;
	if (flags & V_USER && (mailname_parse(c->q->name, &c->name) || !c->name.domain[0]))
		return err_set(c->e, -EINVAL, "%.*s is no address", STR_ARG(c->q->name));
	if (flags & V_DOMAIN && mailname_domain(c->q->name, c->name.domain))
		return err_set(c->e, -EINVAL, "%.*s is no domain", STR_ARG(c->q->name));
	return 0;
}

static int
transaction(struct verb_ctx *c, unsigned flags)
{
	int r = directory_run(c->d, directory_stmt(c->d, DS_BEGIN));

	if (r)
		return failed(c, -EIO);
	if (flags & V_LOAD)
		r = load(c);
	if (!r)
		r = verbs[c->q->op].fn(c);
	if (!r && directory_run(c->d, directory_stmt(c->d, DS_COMMIT)))
		r = failed(c, -EIO);
	if (r)
		directory_run(c->d, directory_stmt(c->d, DS_ROLLBACK));
	return r;
}

int
directory_admin(struct directory *d, const struct auth_admin *q, unsigned cost,
    directory_row_fn *fn, void *arg, struct auth_changed *ret_changed,
    char changed_name[static DIRECTORY_NAME_MAX + 1], struct err *e)
{
	struct verb_ctx c = { .d = d, .q = q, .cost = cost ? cost : 5, .fn = fn, .arg = arg,
		.changed = ret_changed, .changed_name = changed_name, .e = e };
	unsigned flags = verbs[q->op].flags;
	int r = parse_name(&c, flags);

	if (!r)
		r = flags & V_WRITE ? transaction(&c, flags) : verbs[q->op].fn(&c);
	return r ? r : c.tell;
}

int
directory_configured(struct directory *d, const struct str *domains, size_t n, struct err *e)
{
	int r = directory_run(d, directory_stmt(d, DS_BEGIN));

	if (!r)
		r = directory_run(d, directory_stmt(d, DS_DOMAIN_UNCONFIGURE));
	for (size_t i = 0; !r && i < n; i++) {
		sqlite3_stmt *s = directory_stmt(d, DS_DOMAIN_CONFIGURED);
		char name[MAILNAME_DOMAIN_MAX + 1];

		if (!s || mailname_domain(domains[i], name)) {
			r = -EINVAL;
			break;
		}
		sqlite3_bind_text(s, 1, name, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(s, 2, now_ms());
		r = directory_run(d, s);
	}
	if (!r)
		r = directory_run(d, directory_stmt(d, DS_DOMAIN_SWEEP));
	if (!r)
		r = directory_run(d, directory_stmt(d, DS_COMMIT));
	if (r) {
		err_set(e, r, "domains of the configuration: %s", sqlite3_errmsg(d->db));
		directory_run(d, directory_stmt(d, DS_ROLLBACK));
	}
	return r;
}
