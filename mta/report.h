/*
 * Delivery status notifications: the multipart/report of RFC 6522 with the fields
 * of RFC 3464, and of RFC 6533 where the message asked for SMTPUTF8.
 *
 * Everything that is said about a delivery came from elsewhere: addresses, replies
 * of other servers, the message itself. In fields and text it is made safe: one
 * line, no control characters, well-formed UTF-8 or plain ASCII, bounded.
 */
#ifndef MTA_REPORT_H
#define MTA_REPORT_H

#include "lib/client/bounce.h"

enum {
	REPORT_TEXT_MAX = 2000,   /* bytes of one reply that are repeated */
	REPORT_LISTED_MAX = 100,  /* recipients in the part for people; fields have all */
	REPORT_HEADER_MAX = 64 << 10, /* bytes of a returned header section */
};

/* What the part for people may be told by the settings; each may be empty. */
struct report_words {
	struct str failed, delayed, success; /* instead of the first paragraph */
	struct str contact;                  /* "https://help.example.test": whom to ask */
};

struct report {
	const struct bounce_request *request;
	struct str message;       /* what request is about, header and body */
	struct str hostname;      /* of this system */
	struct str to;            /* the notification's recipient */
	struct str boundary;      /* of RFC 2046 characters, not in the message */
	uint64_t now_us;          /* real time */
	uint64_t return_limit;    /* a longer message is returned by its header alone */
	bool bare;                /* return nothing of the message */
	struct report_words words;
};

/* Appends the notification: CRLF lines of at most 998 bytes. Look at out->over. */
void report_put(struct buf *out, const struct report *r, struct arena *a);

/* Which action the notification is named for: the worst of its recipients'. */
enum bounce_action report_action(const struct bounce_request *r);

/* The status to report for a recipient: its own where that is one of RFC 3463 and
 * of a class that fits the action, else a general one. In a. */
struct str report_status(const struct bounce_rcpt *r, struct arena *a);

#endif
