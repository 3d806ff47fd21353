/* What directory.c and directory_admin.c share. */
#ifndef MTA_DIRECTORY_PRIVATE_H
#define MTA_DIRECTORY_PRIVATE_H

#include <sqlite3.h>

#include "mta/directory.h"

enum directory_stmt {
	DS_FIND, DS_FIND_LOGIN, DS_BY_ID, DS_IS_LOCAL, DS_POSTMASTER, DS_ANY_POSTMASTER,
	DS_ONLY_DOMAIN,
	DS_BEGIN, DS_COMMIT, DS_ROLLBACK,
	DS_DOMAIN_ADD, DS_DOMAIN_CONFIGURED, DS_DOMAIN_UNCONFIGURE, DS_DOMAIN_DELETE,
	DS_DOMAIN_SWEEP, DS_DOMAIN_LIST, DS_DOMAIN_COUNT, DS_DOMAIN_POSTMASTER,
	DS_USER_ADD, DS_USER_LIST, DS_USER_SHOW, DS_USER_QUOTA, DS_USER_STATE, DS_USER_RAISE,
	DS_USER_DELETE, DS_USER_BURY, DS_BURIED, DS_PURGED, DS_PASSWORD_SET,
	DS_ALIAS_FIND, DS_ALIAS_ADD, DS_ALIAS_DELETE, DS_ALIAS_LIST,
	DS_FORWARD_FIND, DS_FORWARD_ADD, DS_FORWARD_CLEAR, DS_FORWARD_MODE,
	DS_SCRAM, DS_APP_FIND, DS_APP_ADD, DS_APP_LIST, DS_APP_DELETE, DS_APP_COUNT,
	DS_MAX
};

struct directory {
	sqlite3 *db;
	sqlite3_stmt *stmt[DS_MAX];
};

/* The statement, reset and ready to bind: NULL when it cannot be prepared. */
sqlite3_stmt *directory_stmt(struct directory *d, enum directory_stmt which);
/* Steps a statement that returns nothing: 0, -EEXIST for a constraint, or a
 * failure. */
int directory_run(struct directory *d, sqlite3_stmt *s);
/* A failure of SQLite's as a code and text. */
int directory_fail(struct directory *d, struct err *e);
void directory_bind_str(sqlite3_stmt *s, int i, struct str v);

/* The changes of aliases and forwards, within a transaction (directory_alias.c). local
 * empty: the domain's catch-all. 0, -ENOENT, or a failure with e. */
int directory_alias_add(struct directory *d, const struct mailname *m, struct str targets,
    struct err *e);
int directory_alias_delete(struct directory *d, const struct mailname *m, struct str targets,
    struct err *e);
int directory_alias_list(struct directory *d, struct str part, directory_row_fn *fn, void *arg,
    struct err *e);
int directory_forward(struct directory *d, uint64_t account, struct str targets, bool keep,
    struct err *e);

#endif
