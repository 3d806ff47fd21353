/*
 * relayd as queued sees it: one frame is one message for one next hop (or one domain
 * whose mail exchangers are to be found) and some of its recipients. The answer has an
 * outcome for each of them, and names the site, so that queued can queue by it.
 *
 * relayd keeps nothing: it decides nothing about when to try again, and an answer that
 * never comes means that the message may or may not have been taken (RFC 1047).
 *
 * A next hop as text:
 *	""                    the MX hosts of `domain`
 *	"host" "host:port"    the MX hosts of host
 *	"[host]:port"         host itself, by its addresses; port may be left out
 *	"[192.0.2.1]:port"    an address; "[IPv6:2001:db8::1]" and "[2001:db8::1]" too
 *	"lmtp:[host]:port"    LMTP (RFC 2033); port must be named
 */
#ifndef LIB_CLIENT_RELAY_H
#define LIB_CLIENT_RELAY_H

#include "lib/mail/envelope.h"
#include "lib/proc/chan.h"

enum {
	MSG_RELAY_DELIVER = MSG_TYPE(ROLE_RELAYD, 1),
};

enum {
	RELAY_RCPTS_MAX = 1000,     /* recipients in a frame */
	RELAY_TEXT_MAX = 1024,      /* bytes of a reply's text in an answer */
	RELAY_SITE_MAX = 1024,      /* bytes of a site's text */
	/* relayd ends a delivery after the setting relay-time-limit; a caller waits this
	 * much longer before it takes the answer for lost. */
	RELAY_GRACE_MS = 60 * 1000,
};

struct relay_rcpt {
	struct str address;
	struct str orcpt;           /* decoded "rfc822;user@example.test", or empty */
	uint32_t notify;            /* NOTIFY_* of envelope.h; 0: not given */
};

/* A name and a password for the next hop (settings, block next-hop); empty: none. */
struct relay_credential {
	struct str mech;            /* "PLAIN", "LOGIN", "SCRAM-SHA-256", "XOAUTH2"; "": the best offered */
	struct str user, secret;
};

struct relay_request {
	uint64_t spool_id;
	uint64_t arrived_us;
	struct str sender;          /* empty: the null sender */
	struct str trace;           /* for the log */
	struct str envid;           /* decoded; empty: none */
	uint32_t ret;               /* DSN RET: 0, 1 FULL, 2 HDRS */
	uint32_t body;              /* 0 7BIT, 1 8BITMIME, 2 BINARYMIME */
	uint32_t flags;             /* of envelope.h, all of them */
	int32_t priority;           /* MT-PRIORITY */
	uint64_t deliver_by_ms;     /* real time; 0: none */
	struct str next_hop;
	struct str domain;          /* of the recipients, lower case; also with a next hop */
	struct relay_credential credential;
	struct relay_rcpt *rcpts;   /* 1 to RELAY_RCPTS_MAX */
	size_t n_rcpts;
	struct str edits;           /* of the content's header (lib/mail/edits.h): what is sent; or empty */
	uint64_t size;
	struct str content;         /* inline up to WIRE_INLINE, or empty with a descriptor */
};

enum relay_outcome { RELAY_DONE = 1, RELAY_TEMPFAIL, RELAY_REJECT };

struct relay_result {
	enum relay_outcome outcome;
	unsigned smtp;              /* the server's reply code, or what relayd gives for it */
	struct str enhanced;        /* "5.1.1"; never empty unless done */
	struct str text;            /* the reply's text, one line, at most RELAY_TEXT_MAX bytes */
	struct str mta;             /* host name of the server that answered, or empty */
	bool dsn;                   /* the next hop takes NOTIFY on (RFC 3461 section 5.2.1) */
	bool remote;                /* the reply is the server's own, not relayd's */
};

struct relay_answer {
	struct relay_result *rcpts; /* in the request's order */
	size_t n_rcpts;
	/* The set of MX hosts as "host,host" (lower case, sorted, without final dots), or
	 * the next hop's text when it is one host; empty when DNS gave no answer. */
	struct str site;
	uint64_t site_ttl_ms;       /* how long that holds */
	bool unreachable;           /* no server of the site could be talked to */
	bool throttled;             /* 421, 4.7.x or words that ask us to slow down */
	unsigned sessions;          /* connections that this relayd has open to the site */
	bool reused;                /* an open connection was used */
};

/* Strings of what the getters return point into body; arrays are in the arena. */
void relay_request_put(struct buf *b, const struct relay_request *r);
int relay_request_get(struct str body, struct arena *a, struct relay_request *ret);
void relay_answer_put(struct buf *b, const struct relay_answer *r);
int relay_answer_get(struct str body, struct arena *a, struct relay_answer *ret);

#endif
