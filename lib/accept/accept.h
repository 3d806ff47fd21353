/*
 * What everything that becomes mail passes, whoever brings it: limits on the
 * header section, loop detection, trace header, completion of submitted
 * messages. There is one door into the spool: accept_message.
 */
#ifndef LIB_ACCEPT_ACCEPT_H
#define LIB_ACCEPT_ACCEPT_H

#include "lib/client/queue.h"
#include "lib/conf/settings.h"

struct accept_request {
	const struct settings *settings;
	const struct envelope *env;   /* size, arrived_us are filled in here */
	struct str content;           /* the message: CRLF lines, no trace header of ours */
	const char *with;             /* "ESMTPSA" (RFC 3848, RFC 6531 section 4.3); not for ENV_LOCAL */
	struct str tls;               /* "TLSv1.3 with cipher X (256 bits)", empty without */
	bool submitted;               /* complete Date and Message-ID (RFC 6409 section 8) */
};

/* A refusal as SMTP says it; smtp 0: none. */
struct accept_verdict {
	unsigned smtp;
	const char *enhanced, *text;
};

/* What the header section says. */
struct accept_header {
	unsigned received;
	bool date, message_id;
	bool no_header;               /* the first line is not a field */
	size_t return_path_at, return_path_n; /* the first Return-Path: left out */
};

/* Reads the header section of content and judges its size, fields and hops. */
struct accept_verdict accept_check(const struct settings *s, struct str content,
    struct accept_header *ret);

/* Checks, adds the trace header and what is missing, and hands the message to
 * queued. 0 and *ret_verdict (refused here) or *ret (queued's answer); negative:
 * queued gave no answer. */
int accept_message(const struct accept_request *r, struct arena *a,
    struct accept_verdict *ret_verdict, struct queue_answer *ret);

#endif
