/*
 * Values of the parameters of MAIL and RCPT: delivery status notifications (RFC 3461,
 * RFC 6533), delivery by a deadline (RFC 2852), future release (RFC 4865), priorities
 * (RFC 6710). Readers for what clients say, writers for what the house says to a next
 * hop. A reader gets what stands behind '='; 0, or -EINVAL for what breaks the grammar
 * or a limit of it.
 */
#ifndef LIB_MAIL_ESMTP_H
#define LIB_MAIL_ESMTP_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"

enum {
	ESMTP_ENVID_MAX = 100,  /* bytes as sent (RFC 3461 section 5.4) */
	ESMTP_ORCPT_MAX = 500,
};

/* NOTIFY: bits NOTIFY_* of lib/mail/envelope.h. */
int esmtp_notify(struct str v, uint32_t *ret);
/* Appends the value for those bits ("SUCCESS,FAILURE"); nothing for 0. */
void esmtp_notify_put(struct buf *b, uint32_t notify);

/* ORCPT, decoded: "rfc822;user1@example.test"; of type utf-8 it is UTF-8, whichever way
 * it was sent (raw 8-bit only with utf8, that is in a SMTPUTF8 transaction). It holds no
 * control characters. */
int esmtp_orcpt(struct str v, bool utf8, struct arena *a, struct str *ret);
/* Appends a decoded ORCPT as it is sent; utf8: to a server and in a transaction of SMTPUTF8. */
void esmtp_orcpt_put(struct buf *b, struct str orcpt, bool utf8);

/* ENVID, decoded: printable ASCII and blanks. */
int esmtp_envid(struct str v, struct arena *a, struct str *ret);

/* RET: 1 FULL, 2 HDRS. */
int esmtp_ret(struct str v, uint32_t *ret);

/* BY (RFC 2852 section 4): -999999999 to 999999999 seconds, never 0 or less in mode R. */
struct esmtp_by {
	int32_t seconds;
	bool notify;            /* mode N: tell the sender, go on; else return the message */
	bool trace;
};
int esmtp_by(struct str v, struct esmtp_by *ret);
void esmtp_by_put(struct buf *b, const struct esmtp_by *by);

/* HOLDFOR: seconds, 1 to 999999999. HOLDUNTIL: a date and time of RFC 3339, as seconds
 * since 1970. */
int esmtp_hold_for(struct str v, uint64_t *ret_seconds);
int esmtp_hold_until(struct str v, int64_t *ret_time);

/* MT-PRIORITY: -9 to 9. */
int esmtp_priority(struct str v, int32_t *ret);

#endif
