/*
 * Addresses that become others, as authd tells it from its tables (posthorn-tables(5)):
 * canonical addresses and masquerading on the way in, generic addresses on the way out,
 * and who gets copies. Many questions go in one frame.
 */
#ifndef LIB_CLIENT_REWRITE_H
#define LIB_CLIENT_REWRITE_H

#include "lib/client/auth.h"
#include "lib/conf/settings.h"

#define REWRITE_ASKS_MAX 256 /* in one frame; auth_rewrite sends as many as it needs */

enum rewrite_kind {
	REWRITE_SENDER = 1,    /* the envelope's sender on its way in */
	REWRITE_RCPT,          /* a recipient; the router does it by itself */
	REWRITE_HEADER_SENDER, /* an address in From and the like */
	REWRITE_HEADER_RCPT,   /* an address in To and the like */
	REWRITE_GENERIC,       /* on its way to another server */
	REWRITE_COPY_SENDER,   /* the addresses, parted by commas, that get a copy of what this */
	REWRITE_COPY_RCPT,     /* sender sends, of what this recipient gets */
};

struct rewrite_ask {
	enum rewrite_kind kind;
	struct str address;    /* local@domain */
};

/* Whether the settings have a rule of this kind: without one there is nothing to ask. */
bool rewrite_wanted(const struct settings *s, enum rewrite_kind kind);

/* What each address becomes: ret[i] in the arena, p NULL where it stays. Negative: no
 * answer now. */
int auth_rewrite(const struct rewrite_ask *v, size_t n, struct arena *a, struct str *ret);

/* The codecs. What is read points into body; ret has room for REWRITE_ASKS_MAX. */
void rewrite_request_put(struct buf *b, const struct rewrite_ask *v, size_t n);
int rewrite_request_get(struct str body, struct rewrite_ask *ret, size_t *ret_n);
void rewrite_answer_put(struct buf *b, const struct str *v, size_t n);
/* n: how many were asked for. */
int rewrite_answer_get(struct str body, struct str *ret, size_t n);

#endif
