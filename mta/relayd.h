/*
 * relayd inside: one delivery (struct delivery) is a coroutine that finds the servers of
 * a next hop, takes a connection that is open already or makes one, and sends the
 * message over it.
 *
 *	relayd.c        the program: settings, requests, answers
 *	relay_route.c   the hosts of a next hop, and what must not be contacted
 *	relay_policy.c  what TLS a host needs: settings, DANE, MTA-STS
 *	relay_sts.c     the MTA-STS policy of a domain
 *	relay_report.c  how TLS went, told to reportd
 *	relay_conn.c    connections: made, greeted, secured, kept for reuse, ended
 *	relay_auth.c    log-in
 *	relay_send.c    a message over a connection
 *	relay_reply.c   replies; relay_hop.c next hops as text
 *
 * Strings of a delivery live in its arena.
 */
#ifndef MTA_RELAYD_H
#define MTA_RELAYD_H

#include "lib/base/list.h"
#include "lib/client/dns.h"
#include "lib/client/relay.h"
#include "lib/client/sts.h"
#include "lib/client/tls_seen.h"
#include "lib/conf/settings.h"
#include "lib/io/stream.h"
#include "mta/relay_hop.h"
#include "mta/relay_reply.h"

struct relayd {
	struct loop *loop;
	const struct settings *s;
	struct tls_client *tls;      /* NULL: without a CA bundle nothing can be verified */
	bool has_authorities;
	struct sockaddr_storage *own; /* addresses of this machine */
	size_t n_own;
	unsigned deliveries;         /* going on */
	unsigned farewells;          /* connections that say QUIT */
	bool stopping;
};
extern struct relayd relayd;
/* A delivery or a farewell is over: a stop may have waited for it. */
void relayd_done(void);

/* How something went that concerns a host, or all recipients of a message. */
enum fault_kind {
	FAULT_NONE,
	FAULT_HOST,      /* this host is of no use now: the next one is tried */
	FAULT_MESSAGE,   /* no other host would do better */
};
struct fault {
	enum fault_kind kind;
	struct relay_result result;
	bool reached;    /* the server has said something */
	bool tls;        /* TLS was not to be had as it should be */
	enum tls_result seen; /* of that: what reports call it */
	char local[RELAY_ADDRESS_TEXT]; /* our end of the connection */
};
/* Fills f and returns kind. smtp 4xx or 5xx decides about the outcome. */
__attribute__((format(printf, 6, 7)))
enum fault_kind fault_set(struct fault *f, enum fault_kind kind, struct arena *a, unsigned smtp,
    const char *enhanced, const char *fmt, ...);
/* The same from a server's reply. */
enum fault_kind fault_reply(struct fault *f, enum fault_kind kind, struct arena *a,
    const struct reply *r, const char *mta);

/* ---- hosts ---- */

struct relay_host {
	struct str name;             /* lower case; an address as text for a literal */
	unsigned preference;
};
struct relay_route {
	struct relay_hop hop;
	struct relay_host *hosts;    /* best first */
	size_t n;
	bool secure;                 /* the MX records, or the name in the settings, are */
	bool by_mx;                  /* the hosts come from MX records */
	struct str site;
	uint64_t ttl_ms;
	struct sts_answer sts;       /* of relay_sts */
};
/* The hosts of the request's next hop. FAULT_MESSAGE when there are none to try. */
enum fault_kind relay_route(const struct relay_request *q, struct arena *a, struct relay_route *ret,
    struct fault *f);

struct relay_addresses {
	struct sockaddr_storage *v;  /* with port, in the order of trying */
	size_t n;
	bool secure;
	struct str canonical;
};
/* FAULT_HOST when the host has none; FAULT_MESSAGE (*ret_loop) when one is this machine's. */
enum fault_kind relay_addresses(const struct relay_route *r, const struct relay_host *h,
    struct arena *a, struct relay_addresses *ret, bool *ret_loop, struct fault *f);

/* ---- TLS ---- */

/* What the settings and the message ask for. */
struct conf_tls_choice relay_tls_choice(const struct relay_request *q, const struct relay_route *r);

/* Finds the MTA-STS policy that holds for the route, if any does. FAULT_MESSAGE: that cannot be
 * known now. */
enum fault_kind relay_sts(const struct relay_request *q, struct arena *a, struct relay_route *r,
    struct fault *f);
bool relay_sts_enforced(const struct relay_route *r);
bool relay_sts_tested(const struct relay_route *r);

struct relay_policy {
	enum conf_relay_tls level;   /* never CONF_RELAY_TLS_DANE_ONLY */
	const char *name;            /* SNI */
	const char **names;          /* verify: of the certificate */
	size_t n_names;
	struct tls_tlsa *tlsa;       /* dane */
	size_t n_tlsa;
	bool tls13;
	bool sts;                    /* verify: as MTA-STS asks */
	bool sts_tested;             /* a policy that is only tried: failures are reported */
	bool sts_stranger;           /* the host is not among its hosts */
	bool implicit;               /* TLS begins with the connection */
	bool cleartext_auth;         /* the settings say that there is no TLS here */
	struct str digest;           /* connections of one host with equal digests may be shared */
	struct str source;           /* for the log: "dane", "tls-policy", ... */
};
enum fault_kind relay_policy(const struct relay_request *q, const struct relay_route *r,
    const struct relay_host *h, const struct relay_addresses *ad, struct arena *a,
    struct relay_policy *ret, struct fault *f);
/* Tells reportd, if reports are wanted, how TLS with a host went, or why it could not be
 * tried: f->seen, and the text of its result. addr, p: or NULL. */
void relay_report(const struct relay_route *r, const struct relay_host *h,
    const struct sockaddr_storage *addr, const struct relay_policy *p, const struct fault *f);

/* What is known of it before any host is looked up: deliveries with equal texts share
 * open connections to a site. */
struct str relay_policy_key(const struct relay_request *q, const struct relay_route *r,
    struct arena *a);

/* ---- connections ---- */

enum {
	CAP_PIPELINING = 1, CAP_SIZE = 2, CAP_8BITMIME = 4, CAP_SMTPUTF8 = 8, CAP_DSN = 16,
	CAP_CHUNKING = 32, CAP_BINARYMIME = 64, CAP_STARTTLS = 128, CAP_REQUIRETLS = 256,
	CAP_DELIVERBY = 512, CAP_PRIORITY = 1024, CAP_ENHANCED = 2048, CAP_AUTH = 4096,
};
enum { AUTH_PLAIN = 1, AUTH_LOGIN = 2, AUTH_SCRAM_SHA_256 = 4, AUTH_XOAUTH2 = 8 };

struct relay_conn {
	struct list link;            /* idle */
	struct stream *s;
	char *key;                   /* what may share it */
	char *host;                  /* the server's name */
	char *session_key;           /* of the TLS session to be kept; or NULL */
	struct sockaddr_storage addr;
	unsigned caps, auth;         /* CAP_*, AUTH_* */
	uint64_t size_limit;         /* of SIZE; 0: none */
	unsigned rcpt_limit, mail_limit; /* of LIMITS (RFC 9422); 0: none */
	unsigned messages;
	uint64_t born_ms;
	uint64_t deadline_ms;        /* of the delivery that it serves */
	bool lmtp;
	bool verified;               /* TLS with a certificate as asked for */
	bool dirty;                  /* a transaction was left open: RSET first */
	bool dead;
	struct timer idle;
};

/* A connection, greeted, secured and logged in. FAULT_HOST or FAULT_MESSAGE else. */
enum fault_kind relay_connect(const struct relay_request *q, const struct relay_route *r,
    const struct relay_host *h, const struct sockaddr_storage *addr, const struct relay_policy *p,
    struct arena *a, struct relay_conn **ret, struct fault *f);
/* An idle connection of this key that is fit for another message, or NULL. */
struct relay_conn *relay_conn_take(struct str key);
/* Keeps it for the next message, or ends it. */
void relay_conn_done(struct relay_conn **c, struct str key);
void relay_conn_close(struct relay_conn **c); /* with QUIT when the server still listens */
unsigned relay_conn_open(struct str key);     /* idle ones of this key */
void relay_conn_close_all(void);

/* Reads a reply within ms; the text stays until the next read. 0 or negative; -EPROTO: what
 * came is no reply. */
int relay_read(struct relay_conn *c, uint64_t ms, struct reply *ret);
/* The fault of a relay_read that failed. stage: "MAIL". */
enum fault_kind relay_read_fault(struct fault *f, struct relay_conn *c, int code, const char *stage,
    struct arena *a);

enum fault_kind relay_login(struct relay_conn *c, const struct relay_credential *cred,
    bool cleartext_ok, struct arena *a, struct fault *f);

/* ---- sending ---- */

/* Sends the message to the recipients whose results are open (outcome 0), and fills these.
 * Some may stay open when the fault is FAULT_HOST: they may be tried elsewhere. fd: of the
 * content, or -1. *ret_fresh: nothing of this message was answered. */
enum fault_kind relay_send(struct relay_conn *c, const struct relay_request *q, int fd,
    struct arena *a, struct relay_result *results, struct fault *f, bool *ret_untouched);

#endif
