/*
 * The envelope of a message: who sent it to whom, how it came in, what the
 * sender asked for (RFC 5321, 3461, 8689, 4865, 6710). Plain data. On the wire
 * and in the spool it is the TLV of lib/io/wire.h, written by envelope_put;
 * unknown tags are carried (`extra`), so that an older queued keeps what a newer
 * smtpd said.
 */
#ifndef LIB_MAIL_ENVELOPE_H
#define LIB_MAIL_ENVELOPE_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"

enum rcpt_route {
	ROUTE_LOCAL = 1,   /* account, volume, slot are set */
	ROUTE_REMOTE = 2,  /* next_hop (empty: MX of the domain) */
	ROUTE_PIPE = 3,
};

struct envelope_rcpt {
	struct str address;      /* as resolved: what is delivered to */
	struct str original;     /* as the client said it in RCPT, when it differs */
	struct str orcpt;        /* DSN ORCPT parameter, decoded "rfc822;user@example.test" */
	uint32_t notify;         /* DSN NOTIFY bits; 0: not given */
	enum rcpt_route route;
	uint64_t account;
	uint32_t volume, slot;
	uint64_t quota;          /* of the account as resolved, bytes; 0: none */
	struct str next_hop;     /* remote: "" MX of address's domain, "host[:port]", "[host]:port",
	                          * "lmtp:[host]:port"; pipe: "|command" or "/file" */
	struct str detail;       /* the part after the delimiter of user+detail */
	struct str sender;       /* this copy's envelope sender (owner-, SRS); empty: the message's.
	                          * Never for the null sender */
	uint32_t expanded;       /* EXPANDED_*: nothing is delivered to it any more */
	struct str generic;      /* remote: what the next hop is told in place of address; or empty */
	struct str extra;        /* unknown fields, TLV */
};
/* The members of this list or alias have the message as recipients of their own; what is left
 * is to tell the sender, who asked for it (RFC 3461 section 5.2.7). The route is ROUTE_LOCAL,
 * without an account. */
enum { EXPANDED_LIST = 1 /* "delivered" */, EXPANDED_ALIAS = 2 /* "expanded" */ };
enum { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };

struct envelope {
	struct str sender;       /* without angle brackets; empty: the null sender */
	struct str client_name;  /* HELO name */
	struct str client_ip;    /* as text */
	struct str user;         /* authenticated account's address, or empty */
	struct str tenant;       /* authenticated user or client domain: fairness */
	struct str envid;        /* DSN ENVID, decoded */
	uint32_t ret;            /* DSN RET: 0, 1 FULL, 2 HDRS */
	uint32_t body;           /* 0 7BIT, 1 8BITMIME, 2 BINARYMIME */
	uint32_t flags;          /* ENV_* */
	int32_t priority;        /* MT-PRIORITY, -9..9 */
	uint64_t hold_until_ms;  /* FUTURERELEASE, real time; 0: none */
	uint64_t deliver_by_ms;  /* DELIVERBY, real time; 0: none */
	uint64_t arrived_us;     /* real time of acceptance */
	uint64_t size;           /* bytes of content, trace headers included */
	struct str trace;        /* session/transaction id for logs */
	struct str dedup_key;    /* submissions; empty: none */
	/* What other servers get in place of the sender and of pieces of the header (lib/mail/edits.h);
	 * empty: nothing else */
	struct str generic_sender, generic_header;
	struct envelope_rcpt *rcpts;
	size_t n_rcpts;
	struct str extra;        /* unknown fields, TLV */
};
enum { ENV_7BIT, ENV_8BITMIME, ENV_BINARYMIME }; /* body */
enum { ENV_SMTPUTF8 = 1, ENV_REQUIRETLS = 2, ENV_LMTP = 4 /* reply waits for the result */,
	ENV_TLS = 8, ENV_LOCAL = 16 /* made by the house: submitd */,
	ENV_EXEMPT = 32 /* from back-pressure: what was accepted once already */,
	ENV_NOTICE = 64 /* bounced's to the postmaster: nobody is told of its failure */,
	ENV_TLS_OPTIONAL = 128 /* "TLS-Required: No" (RFC 8689 section 3) */,
	ENV_BY_NOTIFY = 256 /* deliver_by_ms passed: tell the sender and go on; without it
	                     * the message is returned (RFC 2852 section 4.1) */,
	ENV_BY_TRACE = 512 /* of RFC 2852: each hop tells that it relayed */,
	ENV_HELD = 1024 /* waits in the queue until somebody releases it */ };

void envelope_put(struct buf *b, const struct envelope *e);
/* 0 or -EPROTO. Strings point into body; arrays are in the arena. */
int envelope_get(struct str body, struct arena *a, struct envelope *ret);

#endif
