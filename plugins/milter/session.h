/*
 * A connection with a milter for one connection of a client, and what is told to it.
 *
 *	negotiate - CONNECT - HELO - { MAIL - RCPT ... - DATA - headers - EOH - body - END }
 *
 * Each hook brings the milter as far as the hook is. What was not told yet (the hook before was not
 * asked, the connection was lost, the process was started anew) is told first, from the facts that
 * every call has. The message itself goes in one hook, when all of it is here.
 */
#ifndef PLUGINS_MILTER_SESSION_H
#define PLUGINS_MILTER_SESSION_H

#include "plugins/milter/edits.h"

/* What the block says. */
struct milter_options {
	struct milter_address address;
	struct ph_str name;          /* of the block */
	struct ph_str hostname;
	struct ph_str daemon;        /* {daemon_name}; empty: the listener's protocol */
	uint32_t version;
	uint64_t connect_ms, command_ms, content_ms;
	enum { MILTER_TEMPFAIL, MILTER_REJECT, MILTER_ACCEPT, MILTER_QUARANTINE } fallback;
	const struct milter_macro {
		struct ph_str name, value;
	} *macros;                   /* of the block's own */
	size_t n_macros;
};

/* How far the milter is. */
enum milter_place { MILTER_NONE, MILTER_NEGOTIATED, MILTER_CONNECTED, MILTER_GREETED, MILTER_MAIL,
	MILTER_DATA, MILTER_MESSAGE };

struct milter_session {
	const struct milter_options *o;
	struct milter_wire wire;
	struct milter_terms terms;
	enum milter_place at;
	bool passed;                 /* it has accepted the connection */
	struct milter_txn {
		uint32_t rcpts;      /* how many were told */
		bool passed;         /* it has accepted the message */
		bool discard;        /* nobody is to get it */
		bool failed;         /* it gave no answer that could be used */
		char id[64];         /* the host's */
	} txn;
};
struct milter_session *milter_session_new(const struct milter_options *o);
/* Takes leave and closes. */
void milter_session_free(void *s);

/* The hook that comes at this place; the host's answer. RCPT: told is the place MILTER_MAIL, rcpt set. */
enum ph_action milter_session_hook(struct milter_session *s, struct ph_call *c,
    enum milter_place place, bool rcpt);
/* The transaction is over. */
void milter_session_txn_over(struct milter_session *s);

#endif
