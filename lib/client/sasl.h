/*
 * A log-in by SASL (RFC 4422) as a front end sees it: the mechanism's dialogue between
 * its client and authd. SMTP AUTH and IMAP AUTHENTICATE share it; how a challenge is
 * said and an answer read is theirs.
 */
#ifndef LIB_CLIENT_SASL_H
#define LIB_CLIENT_SASL_H

#include "lib/client/auth.h"
#include "lib/conf/settings.h"
#include "lib/io/stream.h"

#define SASL_MESSAGE_MAX 9216 /* bytes of an answer, decoded */

struct sasl_client {
	struct str service;    /* "smtp", "imap" */
	struct str client_ip;
	const struct settings *settings; /* for what is offered */
	const struct stream *stream; /* for TLS and its channel bindings */
	/* Says a challenge and reads the answer, decoded, in the arena. 0, or negative: the
	 * client cancelled, broke the protocol or went away, and was told so. */
	int (*ask)(void *arg, struct str challenge, struct arena *a, struct str *ret);
	void *arg;
};

enum sasl_end {
	SASL_ENDED,            /* ask has answered */
	SASL_UNKNOWN,          /* no such mechanism, or not without TLS */
	SASL_MALFORMED,
	SASL_ANSWERED,         /* *ret is authd's answer */
};

/* initial: the initial response, decoded; p NULL: none was given. On a coroutine; takes
 * as long as auth_login. *ret_user: the name for the log, or empty. */
enum sasl_end sasl_log_in(struct str mech, struct str initial, const struct sasl_client *c,
    struct arena *a, struct login_answer *ret, struct str *ret_user);

/* Appends the mechanisms that this connection may use, each behind before: " " and
 * " AUTH=". */
void sasl_names_put(struct buf *b, const struct settings *set, const struct stream *s,
    const char *before);

#endif
