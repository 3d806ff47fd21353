/*
 * Gathers one command: its lines and the literals between them, in one piece as
 * parse.h wants it (without the CRLF that ends it). Pure: bytes go in, a state
 * comes out; the session sends the continuations.
 *
 *	CMDBUF_MORE     everything was taken, more is needed
 *	CMDBUF_LITERAL  a line ended in {n} or {n+}: look at `literal` and `plus`,
 *	                then cmdbuf_accept and go on, or answer and cmdbuf_reset
 *	CMDBUF_DONE     the command is whole
 *	CMDBUF_REFUSED  too long, or a literal that cannot be; `why` says so. The
 *	                bad line is swallowed; `literal` more bytes must be too when
 *	                `plus` (the client sends them without asking)
 */
#ifndef IMAPD_CMDBUF_H
#define IMAPD_CMDBUF_H

#include "lib/base/buf.h"

enum cmdbuf_state { CMDBUF_MORE, CMDBUF_LITERAL, CMDBUF_DONE, CMDBUF_REFUSED };

struct cmdbuf {
	struct buf b;          /* the command so far */
	size_t max;            /* bytes of a whole command */
	uint64_t literal;      /* as announced; while one is read: bytes left */
	bool plus;             /* non-synchronizing */
	bool in_literal, skipping;
	size_t line;           /* where the current line begins in b */
	size_t head;           /* bytes in front of the last "{n}" */
	char tail[32];         /* last bytes of a line that is skipped */
	size_t n_tail;
	const char *why;
};

void cmdbuf_init(struct cmdbuf *c, size_t max);
void cmdbuf_done(struct cmdbuf *c);
/* Forgets the command, keeps the memory. */
void cmdbuf_reset(struct cmdbuf *c);
/* Takes bytes from the front of *in. */
enum cmdbuf_state cmdbuf_feed(struct cmdbuf *c, struct str *in);
/* Goes on with the announced literal. False when it does not fit: `why` is set. */
bool cmdbuf_accept(struct cmdbuf *c);

#endif
