/*
 * The directory: domains, accounts and their credentials, in one SQLite file
 * DIR/directory.db (format: posthorn-directory(5)). authd opens it twice: a
 * connection for questions on its loop, one for changes on its workers (WAL: they
 * do not wait for each other). A connection is used by one thread at a time.
 *
 * Whoever may change it holds DIR/lock: authd for life, or the command line
 * while the instance is down.
 */
#ifndef MTA_DIRECTORY_H
#define MTA_DIRECTORY_H

#include "lib/client/auth_admin.h"
#include "mta/mailname.h"
#include "mta/password.h"

struct directory;

#define DIRECTORY_NAME_MAX (MAILNAME_LOCAL_MAX + 1 + MAILNAME_DOMAIN_MAX)

/* Takes the lock of the folder (made when missing, mode 0700). 0 and a descriptor
 * to keep open; -EAGAIN when somebody else holds it. */
int directory_lock(const char *dir, int *ret_fd, struct err *e);
/* Opens, makes or upgrades the database; call it with the lock held. -EBADMSG
 * for a file that is damaged or not ours, -ENOTSUP for one of a newer version. */
int directory_open(const char *dir, struct directory **ret, struct err *e);
void directory_close(struct directory **d);

/* The domains that the configuration names: sets which domains are ours beside
 * those that were added by `domain add`. */
int directory_configured(struct directory *d, const struct str *domains, size_t n, struct err *e);

struct directory_account {
	uint64_t id, generation;
	uint32_t volume;
	enum auth_state state;
	uint64_t quota;                     /* or AUTH_QUOTA_DEFAULT */
	enum { DIRECTORY_FORWARD_NONE, DIRECTORY_FORWARD_KEEP, DIRECTORY_FORWARD_ONLY } forward;
	char address[DIRECTORY_NAME_MAX + 1];
	char hash[PASSWORD_HASH_MAX];       /* only from directory_login; "" without */
};

enum directory_kind { DIRECTORY_ACCOUNT = 1, DIRECTORY_NO_USER, DIRECTORY_NOT_LOCAL };

/* Whose address it is, with plus-addressing by any byte of delimiters; postmaster
 * of each domain is always somebody when the domain has an account. The kind, or
 * negative; *ret_detail points into address. */
int directory_resolve(struct directory *d, struct str address, struct str delimiters,
    struct directory_account *ret, struct str *ret_detail);
/* Whether mail for the domain (lower case, A-labels) is ours: 1, 0, or negative. */
int directory_is_local(struct directory *d, const char *domain);
/* What an alias of the directory stands for (local empty: the catch-all), or what an
 * account forwards to: addresses parted by commas, in a. 1, 0, or negative. */
int directory_aliases(struct directory *d, const char *domain, struct str local, struct arena *a,
    struct str *ret);
int directory_forwards(struct directory *d, uint64_t account, struct arena *a, struct str *ret);
/* The account that logs in under this name, with its hash; a name without domain
 * counts when there is one local domain. 0, -ENOENT, or another failure. */
int directory_login(struct directory *d, struct str name, struct directory_account *ret);
/* The one spelling of a log-in name, whether anybody has it or not: "user1" is
 * "user1@example.test" where there is one local domain. */
void directory_login_name(struct directory *d, struct str name,
    char out[static DIRECTORY_NAME_MAX + 1]);
/* The keys of an account's password for SCRAM. 0, -ENOENT, or another failure. */
int directory_scram(struct directory *d, uint64_t account, struct scram_keys *ret);
/* Whether the account has an app password of this hash (password_app_hash): 1, 0, or a
 * failure. */
int directory_app_password(struct directory *d, uint64_t account, struct str hash);
/* 0, -ENOENT, or another failure. */
int directory_account(struct directory *d, uint64_t id, struct directory_account *ret);

/* Calls fn for each account that was deleted with its mail after since_ms (real time): a
 * maild that was not there then is told later. 0 or a failure. */
int directory_purged(struct directory *d, uint64_t since_ms,
    void (*fn)(void *arg, const struct auth_changed *c), void *arg);

/* Does what an admin asks. rows of an answer go to fn; what others must be told
 * is in *ret_changed (address in changed_name) when the return value is 1; 0: done,
 * nobody need know. -ENOENT, -EEXIST, -EINVAL, -ENOTEMPTY and failures with e.
 * Hashes passwords: not for a loop. */
typedef void directory_row_fn(void *arg, const struct auth_row *r);
int directory_admin(struct directory *d, const struct auth_admin *q, unsigned cost,
    directory_row_fn *fn, void *arg, struct auth_changed *ret_changed,
    char changed_name[static DIRECTORY_NAME_MAX + 1], struct err *e);

#endif
