/*
 * Dates of messages (RFC 5322 section 3.3, obsolete forms of section 4.3) and of
 * IMAP (RFC 3501: date-time, date).
 */
#ifndef LIB_MAIL_DATE_H
#define LIB_MAIL_DATE_H

#include "lib/base/buf.h"

struct date {
	int64_t time;            /* seconds since 1970, UTC */
	int zone;                /* minutes east of UTC */
	int year, month, day;    /* as written; month 1 to 12 */
};

/* The Date field of a message, leniently: weekday and seconds may lack, comments may
 * stand anywhere, two-digit years, zone names ("EST", military letters count as
 * +0000). 0 or -EINVAL. */
int date_parse(struct str raw, struct date *ret);

/* date-time without its quotes: " 1-Nov-2026 08:49:51 +0100". */
int date_parse_imap(struct str s, struct date *ret);
/* date: "1-Nov-2026"; time is its midnight UTC. */
int date_parse_imap_day(struct str s, struct date *ret);

/* date-time of RFC 3339: "2026-11-24T08:49:51Z", "2026-11-24T08:49:51.25+01:00" (parts of
 * a second are left out). */
int date_parse_rfc3339(struct str s, struct date *ret);
/* Appends "2026-11-24T08:49:51Z". */
void date_put_rfc3339(struct buf *b, int64_t time);
/* Appends "24-Nov-2026 08:49:51 +0000" (26 bytes, day padded with a blank). */
void date_put_imap(struct buf *b, int64_t time, int zone);
/* Appends "Tue, 24 Nov 2026 08:49:51 +0000". */
void date_put_rfc5322(struct buf *b, int64_t time, int zone);

/* Days since 1970-01-01 of a date of the Gregorian calendar, and back. */
int64_t date_days(int year, int month, int day);
void date_civil(int64_t days, int *ret_year, int *ret_month, int *ret_day);

#endif
