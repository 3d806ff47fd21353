/*
 * authd as its callers see it: who an address belongs to, log-ins, and the
 * admin's verbs. Message structs with their put and get.
 */
#ifndef LIB_CLIENT_AUTH_H
#define LIB_CLIENT_AUTH_H

#include "lib/mail/envelope.h"
#include "lib/proc/chan.h"
#include "lib/proc/ticket.h"

enum {
	MSG_AUTH_RESOLVE = MSG_TYPE(ROLE_AUTHD, 1),
	MSG_AUTH_LOGIN = MSG_TYPE(ROLE_AUTHD, 2),
	MSG_AUTH_RENEW = MSG_TYPE(ROLE_AUTHD, 3),
	MSG_AUTH_ACCOUNT = MSG_TYPE(ROLE_AUTHD, 4),   /* maild: account id -> record */
	MSG_AUTH_REWRITE = MSG_TYPE(ROLE_AUTHD, 5),   /* lib/client/rewrite.h */
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

/*
 * Where mail for an address goes. authd does all expansion (aliases, virtual
 * addresses, forwarding, catch-alls) and routing (transports, relay hosts) and
 * answers with what is left: at most RESOLVE_TARGETS_MAX deliveries.
 *
 * `open` is the relay decision's half that belongs to the address: mail for it is
 * taken from anyone, since it is in a domain of ours or in one that is relayed for.
 * Where it is false only clients that may relay get anything but 550 5.7.1,
 * whatever the kind (an alias may stand for an address of a foreign domain).
 */
#define RESOLVE_TARGETS_MAX 1000

enum resolve_kind {
	RESOLVE_ACCOUNT = 1,  /* one account, whose fields are in the answer */
	RESOLVE_NO_USER,      /* our domain, nobody of that name: 550 5.1.1 */
	RESOLVE_NOT_LOCAL,    /* another domain: next_hop */
	RESOLVE_DISABLED,     /* 550 5.2.1 */
	RESOLVE_LIST,         /* targets: one or more, none of which is simply the account */
	RESOLVE_REJECT,       /* smtp, enhanced, text (4xx or 5xx): a route that says so */
};

/* One delivery of a list; the names are those of struct envelope_rcpt. */
struct resolve_target {
	enum rcpt_route route;
	uint64_t account;
	uint32_t volume, slot;
	uint64_t quota;
	struct str address;    /* what is delivered to; of a pipe: the alias that names it */
	struct str detail;
	struct str next_hop;   /* remote: as struct envelope_rcpt; pipe: "|command", "/file" */
	struct str sender;     /* envelope sender of this copy (owner-, SRS); empty: as it came */
};

struct resolve_answer {
	enum resolve_kind kind;
	bool open;             /* see above */
	bool by_sender;        /* another sender may get another answer: not to be kept by address */
	uint64_t account;
	uint32_t volume, slot;
	uint64_t quota;        /* bytes, 0: none */
	struct str address;    /* canonical: "user1@example.test" */
	struct str detail;     /* what stood behind the delimiter */
	struct str next_hop;   /* of NOT_LOCAL; empty: MX of the domain */
	unsigned smtp;         /* of REJECT */
	struct str enhanced, text;
	const struct resolve_target *targets; /* of LIST */
	size_t n_targets;
};
/* Front end's call: fills *ret (strings in arena). sender: the envelope's, empty
 * for the null sender. Negative: no answer now (4xx 4.3.0 to the client, never 'no
 * such user'). */
int auth_resolve(struct str address, struct str sender, struct arena *a,
    struct resolve_answer *ret);
/* Whose mailbox this is, past all aliases and forwarding: ACCOUNT, NO_USER,
 * NOT_LOCAL or DISABLED. queued asks it when an account has moved. */
int auth_whose(struct str address, struct arena *a, struct resolve_answer *ret);

/* The deliveries of an answer: 1 for ACCOUNT and NOT_LOCAL, n_targets for LIST, else
 * 0. resolve_rcpt fills *ret (and nothing else of the recipient's fields) with
 * delivery i; original: the address as the client said it. */
size_t resolve_deliveries(const struct resolve_answer *r);
void resolve_rcpt(const struct resolve_answer *r, size_t i, struct str original,
    struct envelope_rcpt *ret);

struct login_request {
	struct str mech;       /* "PLAIN", "LOGIN": user, password, authzid; else by its name:
	                        * "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS": message, state;
	                        * "OAUTHBEARER", "XOAUTH2": message */
	struct str user, password, authzid;
	struct str message;    /* what the client said */
	struct str state;      /* of the answer before; empty at first */
	struct str bind_exporter, bind_end_point; /* channel bindings of the client's TLS (RFC 9266,
	                        * RFC 5929); empty: none, and then -PLUS is not offered */
	struct str service;    /* "imap", "smtp" */
	struct str client_ip;
	bool tls;
};
struct login_answer {
	bool ok;
	bool temporary;        /* not ok because authd could not say */
	bool more;             /* neither: message is a challenge, ask again with state */
	struct str message;    /* for the client; with ok its last word, or empty */
	struct str state;
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
struct resolve_request {
	struct str address, sender;
	bool whose;            /* see auth_whose */
};
void resolve_request_put(struct buf *b, const struct resolve_request *q);
int resolve_request_get(struct str body, struct resolve_request *ret);
void resolve_answer_put(struct buf *b, const struct resolve_answer *r);
/* Targets are in the arena. */
int resolve_answer_get(struct str body, struct arena *a, struct resolve_answer *ret);
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
