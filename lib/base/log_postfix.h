/*
 * The log in the form that Postfix writes and that fail2ban, pflogsumm and exporters
 * read: an event that has a counterpart there becomes a line such as
 *
 *	Nov 24 15:30:01 mail postfix/smtp[123]: 0006...: to=<a@b>, relay=..., delay=0.3,
 *	    delays=0/0/0/0.3, dsn=2.0.0, status=sent (250 Ok)
 *
 * Which events, and from which of their fields: the table in log_postfix.c.
 */
#ifndef LIB_BASE_LOG_POSTFIX_H
#define LIB_BASE_LOG_POSTFIX_H

#include "lib/base/buf.h"
#include "lib/base/log.h"

/* The line of an event, with its newline; false (and nothing appended) for events
 * that Postfix does not have. */
bool log_postfix_put(struct buf *b, const char *hostname, const char *ev, size_t n,
    const struct log_field *f);

/* "Nov 24 15:30:01 mail NAME[123]: ", as syslog has it. */
void log_postfix_head(struct buf *b, const char *hostname, const char *name);

#endif
