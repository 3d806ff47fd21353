/*
 * authd as its callers see it: who an address belongs to, log-ins, and the
 * admin's verbs. Message structs with their put and get.
 */
#ifndef LIB_CLIENT_AUTH_H
#define LIB_CLIENT_AUTH_H

#include "lib/proc/chan.h"
#include "lib/proc/ticket.h"

enum {
	MSG_AUTH_RESOLVE = MSG_TYPE(ROLE_AUTHD, 1),
	MSG_AUTH_LOGIN = MSG_TYPE(ROLE_AUTHD, 2),
	MSG_AUTH_RENEW = MSG_TYPE(ROLE_AUTHD, 3),
	MSG_AUTH_ACCOUNT = MSG_TYPE(ROLE_AUTHD, 4),   /* maild: account id -> record */
	MSG_AUTH_ADMIN = MSG_TYPE(ROLE_AUTHD, 16),    /* CLI: user and domain verbs */
	MSG_AUTH_EV_CHANGED = MSG_TYPE(ROLE_AUTHD, 32), /* event: account changed or revoked */
};

/* Accounts hash to this many slots; slot % maild_processes is the maild. */
#define ACCOUNT_SLOTS 4096

/* The slot of an account id: for ever the same. */
static inline uint32_t
account_slot(uint64_t account)
{
	account ^= account >> 31;
	account *= UINT64_C(0x7fb5d329728ea185);
	account ^= account >> 27;
	return (uint32_t)(account % ACCOUNT_SLOTS);
}

enum resolve_kind {
	RESOLVE_ACCOUNT = 1,
	RESOLVE_NO_USER,      /* our domain, nobody of that name: 550 5.1.1 */
	RESOLVE_NOT_LOCAL,    /* not our domain */
	RESOLVE_DISABLED,     /* 550 5.2.1 */
};
struct resolve_answer {
	enum resolve_kind kind;
	uint64_t account;
	uint32_t volume, slot;
	uint64_t quota;        /* bytes, 0: none */
	struct str address;    /* canonical: "user1@example.test" */
	struct str detail;     /* what stood behind the delimiter */
};
/* Front end's call: fills *ret (strings in arena). Negative: no answer now
 * (4xx 4.3.0 to the client, never 'no such user'). */
int auth_resolve(struct str address, struct arena *a, struct resolve_answer *ret);

struct login_request {
	struct str mech;       /* "PLAIN", "LOGIN"; a SCRAM step later */
	struct str user, password, authzid;
	struct str service;    /* "imap", "smtp" */
	struct str client_ip;
	bool tls;
};
struct login_answer {
	bool ok;
	bool temporary;        /* not ok because authd could not say */
	uint64_t account;
	uint32_t volume, slot;
	struct str user;       /* canonical address */
	struct str ticket;     /* sealed */
	uint64_t ticket_expires_ms;
	struct str text;       /* reason for the log, never for the client */
};
/* Takes as long as the growing delay on failures demands (up to 30 s). */
int auth_login(const struct login_request *r, struct arena *a, struct login_answer *ret);
/* A fresh ticket for a live session. -EACCES: revoked. */
int auth_renew(struct str ticket, struct arena *a, struct login_answer *ret);

struct account_record {
	uint64_t account;
	uint64_t generation;   /* tickets of an older one are void */
	uint32_t volume, slot;
	uint64_t quota;
	bool enabled;
	struct str address;
};
/* maild's call. 0, -ENOENT, or no answer now. */
int auth_account(uint64_t account, struct arena *a, struct account_record *ret);

/* The body of MSG_AUTH_EV_CHANGED, sent to every caller of authd as soon as the
 * change is durable. Tickets of an older generation are void; when the account
 * is not enabled, or gone, so are all. Whoever remembers answers of authd
 * forgets them. account 0: the domains changed. */
struct auth_changed {
	uint64_t account;
	uint64_t generation;
	uint32_t volume, slot;
	bool enabled;          /* false: suspended or deleted */
	bool deleted;
	bool purge;            /* deleted, and its mail may go */
	struct str address;
};

/* The codecs, for authd and the tests. */
void resolve_answer_put(struct buf *b, const struct resolve_answer *r);
int resolve_answer_get(struct str body, struct resolve_answer *ret);
void login_request_put(struct buf *b, const struct login_request *r);
int login_request_get(struct str body, struct login_request *ret);
void login_answer_put(struct buf *b, const struct login_answer *r);
int login_answer_get(struct str body, struct login_answer *ret);
void account_record_put(struct buf *b, const struct account_record *r);
int account_record_get(struct str body, struct account_record *ret);
void auth_changed_put(struct buf *b, const struct auth_changed *c);
int auth_changed_get(struct str body, struct auth_changed *ret);
/* Requests of one field: the address, the ticket, the account id. */
void auth_ask_put(struct buf *b, struct str what);
int auth_ask_get(struct str body, struct str *ret);
void auth_ask_id_put(struct buf *b, uint64_t account);
int auth_ask_id_get(struct str body, uint64_t *ret);

#endif
