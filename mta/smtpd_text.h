/*
 * The text of one message on its way in: read from the network into one buffer,
 * undone in place, handed to queued at its end. A message larger than the buffer
 * goes ahead to queued in parts, so that a session's memory is bounded whatever the
 * size; all sessions together are bounded by smtp.memory-limit.
 *
 * What is refused is remembered, and the rest of the text read and forgotten.
 */
#ifndef MTA_SMTPD_TEXT_H
#define MTA_SMTPD_TEXT_H

#include "mta/dotscan.h"
#include "mta/smtpd.h"

struct smtp_text {
	struct smtp *smtp;
	char *p;
	size_t len, cap;
	struct dotscan scan;         /* octets only: its faults and line_max */
	bool binary;                 /* BINARYMIME: octets that are no lines, kept as they are */
	bool whole;                  /* plugins want to see it: nothing goes ahead */
	bool octets;                 /* BDAT: neither dots nor an end */
	bool cr;                     /* BDAT: what was looked at ended in CR */
	size_t line_len;             /* BDAT: length of the unfinished line */
	uint64_t ahead;              /* bytes of content that queued has already */
	uint64_t begun_ms, came;     /* when reading began, bytes read since */
	uint64_t dropped;            /* bytes read after a refusal */
	struct accept_stream *stream;
	struct accept_verdict refused;
};

/* NULL: no memory within the limits (452 4.3.1). */
struct smtp_text *text_new(struct smtp *s, bool octets);
/* Stops what went ahead, gives the buffer back. */
void text_free(struct smtp_text **t);

/* Reads to CRLF.CRLF, or n octets. 0, or negative: the peer is gone or went on too
 * long after a refusal. */
int text_read_dots(struct smtp_text *t);
int text_read_octets(struct smtp_text *t, uint64_t n);

/* Bytes of content so far. */
uint64_t text_size(const struct smtp_text *t);
/* The end: hands the message over. 0 and *ret_verdict (smtp 0: *ret counts);
 * negative: no answer. */
int text_finish(struct smtp_text *t, struct accept_verdict *ret_verdict, struct queue_answer *ret);

#endif
