/*
 * bounced as queued sees it: tells the sender of a message what became of some of
 * its recipients (RFC 3461, 3464). One frame is one event of one message; the
 * answer comes when the notification is durable in the spool, and only then may
 * queued record the recipients as final. The same (spool_id, event, kind, sender) asked again is
 * answered again and sent once, since it is the deduplication key at submitd.
 *
 * queued decides who is to be told of what (NOTIFY); bounced decides what is said.
 * A message with the null sender is never answered (RFC 5321 section 4.5.5): queued
 * asks for BOUNCE_POSTMASTER then, unless the message is such a notice itself
 * (ENV_NOTICE), of whose failure nobody is told.
 */
#ifndef LIB_CLIENT_BOUNCE_H
#define LIB_CLIENT_BOUNCE_H

#include "lib/mail/envelope.h"
#include "lib/proc/chan.h"

enum { MSG_BOUNCE_NOTIFY = MSG_TYPE(ROLE_BOUNCED, 1) };

#define BOUNCE_RCPTS_MAX 1000u /* of one frame: more are told in several events */

enum bounce_kind {
	BOUNCE_SENDER = 1,     /* to the sender; never of a message that has none */
	BOUNCE_POSTMASTER,     /* the message cannot be returned: to double-bounce-address */
};

/* RFC 3464 section 2.3.3. */
enum bounce_action {
	BOUNCE_FAILED = 1, BOUNCE_DELAYED, BOUNCE_DELIVERED, BOUNCE_RELAYED, BOUNCE_EXPANDED,
	BOUNCE_ACTION_MAX
};

struct bounce_rcpt {
	struct str address;         /* what was delivered to: Final-Recipient */
	struct str original;        /* as RCPT said it, when it differs */
	struct str orcpt;           /* "rfc822;user@example.test", decoded, or empty */
	enum bounce_action action;
	unsigned smtp;              /* the reply's code, or 0: it was not SMTP that failed */
	struct str enhanced;        /* "5.1.1"; empty: made of action and smtp */
	struct str text;            /* the reply's text; lines by LF; any bytes */
	struct str mta;             /* the remote host that said it, or empty */
	uint64_t last_attempt_ms;   /* real time; 0: not known */
	uint64_t will_retry_until_ms; /* of BOUNCE_DELAYED */
};

#define BOUNCE_RET_HDRS 2u

struct bounce_request {
	enum bounce_kind kind;
	uint64_t spool_id;
	uint64_t event;             /* of the message: the same number is the same notification */
	struct str sender;          /* empty: BOUNCE_POSTMASTER only */
	struct str envid;           /* decoded */
	uint32_t ret;               /* RET: 0, 1 FULL, BOUNCE_RET_HDRS */
	uint32_t flags;             /* ENV_* of the message */
	uint64_t arrived_us;
	struct str client_name, client_ip;
	struct str trace;           /* of the message, for the log */
	struct bounce_rcpt *rcpts;
	size_t n_rcpts;             /* 1 to BOUNCE_RCPTS_MAX */
	uint64_t size;              /* of the content */
	struct str content;         /* inline up to WIRE_INLINE, or empty with a descriptor: */
	                            /* a sealed memfd or a file that only its owner writes */
};

enum bounce_outcome {
	BOUNCE_SENT = 1,    /* durable: spool_id is the notification's */
	BOUNCE_TEMPFAIL,    /* ask again later */
	BOUNCE_REFUSED,     /* the sender cannot be told, ever: ask for BOUNCE_POSTMASTER */
	BOUNCE_DROPPED,     /* nobody is to be told: bounces of such mail are unwanted or lead nowhere */
};
struct bounce_answer {
	enum bounce_outcome outcome;
	uint64_t spool_id;
	unsigned smtp;              /* of a refusal */
	struct str enhanced, text;
};

/* Strings of what the getters return point into body; arrays are in the arena.
 * 0, -EPROTO (torn, or outside of the ranges above), -ENOMEM. */
void bounce_request_put(struct buf *b, const struct bounce_request *r);
int bounce_request_get(struct str body, struct arena *a, struct bounce_request *ret);
void bounce_answer_put(struct buf *b, const struct bounce_answer *r);
int bounce_answer_get(struct str body, struct bounce_answer *ret);

#endif
