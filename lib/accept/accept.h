/*
 * What everything that becomes mail passes, whoever brings it, in this order: limits on
 * the header section and loop detection; the rules of checks (check.h); canonical
 * addresses in the header (fields.h); trace header, fields that must not travel, what
 * submitted messages lack; plugins (filtered.h); copies (copies.h); what other servers get
 * in place of its addresses (generic), which travels beside it in the envelope. There is one
 * door into the spool: accept_message, or accept_open .. accept_close for a message that is not
 * in memory whole.
 */
#ifndef LIB_ACCEPT_ACCEPT_H
#define LIB_ACCEPT_ACCEPT_H

#include "lib/client/filter.h"
#include "lib/client/queue.h"
#include "lib/conf/rules.h"

#define ACCEPT_CUTS 24 /* fields left out of one message */

/* Something that a program is to log. */
struct accept_note {
	enum {
		ACCEPT_NO_COPY = 1,   /* a copy was to go to `what`, and nobody has that name */
		ACCEPT_CHECK,         /* a rule of checks fitted: `action`, its text `what`, `line` */
		ACCEPT_CHECK_COSTLY,  /* to find out whether a rule fits would take too long; `what`:
		                       * the rule's text */
	} kind;
	enum rule_action action;
	struct str what, line;
};

struct accept_request {
	const struct settings *settings;
	const struct envelope *env;   /* size, arrived_us are filled in here */
	struct str content;           /* the message: CRLF lines, no trace header of ours; for
	                               * accept_open its beginning */
	const char *with;             /* "ESMTPSA" (RFC 3848, RFC 6531 section 4.3); not for ENV_LOCAL */
	struct str tls;               /* "TLSv1.3 with cipher X (256 bits)", empty without */
	struct str hello, client_ip;  /* of the session, for the trace header; not for ENV_LOCAL */
	struct str host;              /* the client's name as a proxy knows it, or empty */
	void (*note)(const struct accept_request *r, const struct accept_note *n);
	bool ours;                    /* the client is one of ours: as rewrite.headers has it */
	bool submitted;               /* RFC 6409 section 8: Date and Message-ID are added,
	                               * Bcc, Resent-Bcc and Content-Length left out */
	struct filter_session *filters; /* whose plugins are asked about the whole message, which */
	struct filter_txn *filter_txn;  /* accept_message alone can do; NULL: none is */
};

/* A refusal as SMTP says it; smtp 0: none; 250: taken and thrown away. */
struct accept_verdict {
	unsigned smtp;
	const char *enhanced, *text;
};

/* What the header section says. */
struct accept_header {
	unsigned received;
	bool date, message_id;
	bool tls_optional;            /* TLS-Required: No (RFC 8689 section 3) */
	bool no_header;               /* the first line is not a field */
	size_t n;                     /* bytes of the header section with its empty line */
	struct accept_cut { size_t at, n; } cuts[ACCEPT_CUTS]; /* in order: left out */
	size_t n_cuts;
};

enum {
	ACCEPT_SUBMITTED = 1, /* as struct accept_request has it */
	ACCEPT_RETURNS = 2,   /* of the house's own programs: it passed this door before */
};
/* Reads the header section of content and judges its size, fields and hops.
 * Return-Path is cut always (the final delivery adds it, RFC 5321 section 4.4), and
 * Authentication-Results in our name, unless the message has passed here before (RFC 8601 section 5). */
struct accept_verdict accept_check(const struct settings *s, struct str content, unsigned flags,
    struct accept_header *ret);
/* Whether the header section of a message that begins so ends in it. */
bool accept_header_whole(struct str content);

/* Checks, rewrites, adds the trace header and what is missing, asks the plugins, and hands
 * the message to queued. 0 and *ret_verdict (refused here) or *ret (queued's answer); negative:
 * queued gave no answer. */
int accept_message(const struct accept_request *r, struct arena *a,
    struct accept_verdict *ret_verdict, struct queue_answer *ret);

/* The same in parts: the first one holds the whole header section. What is sent
 * ahead lies in queued until accept_close, whose part may be empty. Each call but
 * accept_abort returns as accept_message; after a refusal or a failure the stream
 * is gone (*s is NULL). The request's env and the arena must outlive the stream. */
struct accept_stream;
int accept_open(const struct accept_request *r, struct arena *a,
    struct accept_verdict *ret_verdict, struct accept_stream **ret);
int accept_more(struct accept_stream **s, struct str part, struct accept_verdict *ret_verdict);
int accept_close(struct accept_stream **s, struct str part, struct accept_verdict *ret_verdict,
    struct queue_answer *ret);
void accept_abort(struct accept_stream **s);

#endif
