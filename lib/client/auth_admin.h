/*
 * The admin's verbs on the directory: what `posthorn user` and `posthorn
 * domain` ask authd (MSG_AUTH_ADMIN, over its control socket), or do themselves
 * on the database while the instance is down. The same request and rows serve
 * both.
 */
#ifndef LIB_CLIENT_AUTH_ADMIN_H
#define LIB_CLIENT_AUTH_ADMIN_H

#include "lib/client/auth.h"

enum auth_op {
	AUTH_USER_ADD = 1,   /* name, password, quota */
	AUTH_USER_LIST,      /* name: empty, or part of an address */
	AUTH_USER_SHOW,
	AUTH_USER_PASSWD,    /* name, password */
	AUTH_USER_QUOTA,     /* name, quota */
	AUTH_USER_SUSPEND,
	AUTH_USER_RESUME,
	AUTH_USER_DELETE,    /* name, purge */
	AUTH_DOMAIN_ADD,     /* name, postmaster (may be empty) */
	AUTH_DOMAIN_LIST,
	AUTH_DOMAIN_DELETE,
	AUTH_ALIAS_ADD,      /* name: an address or @DOMAIN; targets: a list of addresses */
	AUTH_ALIAS_LIST,     /* name: empty, or part of an address */
	AUTH_ALIAS_DELETE,   /* name; targets: those alone, empty: all */
	AUTH_USER_FORWARD,   /* name; targets: empty: none any more; keep */
	AUTH_APP_ADD,        /* name, label, password: of the form of password_app_new */
	AUTH_APP_LIST,       /* name; rows: label in name, changed_ms */
	AUTH_APP_DELETE,     /* name, label */
	AUTH_OP_MAX
};

/* "No quota of its own: the configuration's default-quota." */
#define AUTH_QUOTA_DEFAULT UINT64_MAX

struct auth_admin {
	enum auth_op op;
	struct str name;       /* address or domain */
	struct str password;
	struct str postmaster; /* an account's address */
	struct str label;      /* of an app password */
	uint64_t quota;        /* bytes; 0: none; AUTH_QUOTA_DEFAULT */
	bool purge;
	struct str targets;    /* addresses, parted by commas */
	bool keep;             /* forwarded mail is stored too */
};

enum auth_state { AUTH_ACTIVE = 0, AUTH_SUSPENDED = 1 };

/* One line of an answer: an account, a domain or an alias (account 0). */
struct auth_row {
	struct str name;
	uint64_t account, generation;
	uint32_t volume, slot;
	enum auth_state state;
	uint64_t quota;        /* as stored: may be AUTH_QUOTA_DEFAULT */
	uint64_t created_ms, changed_ms; /* real time; changed: of the password */
	struct str postmaster; /* of a domain: the address, or empty */
	uint64_t accounts;     /* of a domain */
	bool configured;       /* the domain stands in the configuration */
	struct str targets;    /* of an alias, or what an account forwards to */
	bool keep;
};

void auth_admin_put(struct buf *b, const struct auth_admin *q);
int auth_admin_get(struct str body, struct auth_admin *ret);

/* Appends one row's field; an answer frame has any number of them. */
void auth_row_put(struct buf *b, const struct auth_row *r);
/* The next row of an answer: 1, 0 at the end, -EPROTO. */
int auth_row_next(struct str *body, struct auth_row *ret);

#endif
