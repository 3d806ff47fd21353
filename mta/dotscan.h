/*
 * The text of DATA (RFC 5321 sections 4.1.1.4 and 4.5.2), undone in place as it
 * arrives: the caller reads from the network behind what it has, calls
 * dotscan(), and finds the message without its dots in front of the buffer.
 *
 *	p         p+out      p+line            p+len
 *	| content | (dropped) | unfinished line |  room
 *
 * Only CRLF.CRLF ends the data. A CR or LF that stands alone ends neither the data
 * nor a line whose dot would count, and is remembered as a fault. Each byte is looked at once, however it is cut: the
 * scan resumes at `seen`.
 */
#ifndef MTA_DOTSCAN_H
#define MTA_DOTSCAN_H

#include <stdbool.h>
#include <stddef.h>

enum { DOT_BARE_LF = 1, DOT_BARE_CR = 2, DOT_LONG_LINE = 4 };

struct dotscan {        /* zeroed but for line_max at the start of a message */
	size_t out;     /* bytes of finished content */
	size_t line;    /* where the unfinished line begins */
	size_t seen;    /* bytes looked at */
	size_t line_max;/* longest line, CRLF included; 0: no limit */
	unsigned faults;
	size_t before;  /* bytes of the unfinished line that are gone already */
	bool cut;       /* some are, or it follows a bare LF: a dot is a dot here */
	bool cut_cr;    /* and what is gone ended in CR */
};

/* Looks at p[seen..len). True when the end was found: the content is p[0..out),
 * and p[line..len) came behind the end. */
bool dotscan(struct dotscan *d, char *p, size_t len);

/* Takes of the unfinished line what is certain to be content, so that a long line
 * need not be in memory whole: at most three bytes are left. After dotscan only. */
void dotscan_cut(struct dotscan *d, char *p, size_t len);
/* Forgets the finished content: moves the unfinished line to the front and
 * returns the new len. */
size_t dotscan_take(struct dotscan *d, char *p, size_t len);
/* Forgets the unfinished line too (the message is refused already; only its end
 * is waited for). Returns the new len, 0. */
size_t dotscan_discard(struct dotscan *d, char *p, size_t len);

/* For BDAT (RFC 3030), whose text has no dots and no end: faults of p[0..n).
 * *cr says whether the bytes before ended in CR, *line how long the unfinished
 * line is; both start as zero. */
unsigned dotscan_text(const char *p, size_t n, size_t line_max, bool *cr, size_t *line);

/* Writes p[0..n) with every lone CR and LF turned into CRLF to out, which has
 * room for 2 * n bytes; returns the length. */
size_t dotscan_normalize(const char *p, size_t n, char *out);

#endif
