/*
 * What every front end does with a new connection before its protocol begins:
 * the PROXY header where the listener expects one, then the limits on sessions.
 *
 *	if (front_arrive(&front, session, settings, listen, limit, per_address)) ...
 *	...                                     (TLS, greeting, commands)
 *	front_leave(&front)                     (when the session closes)
 */
#ifndef LIB_PROC_FRONT_H
#define LIB_PROC_FRONT_H

#include "lib/conf/settings.h"
#include "lib/io/session.h"

struct front {              /* zeroed at birth; part of the session's state */
	unsigned char addr[16]; /* of the client, as counted */
	bool counted;
};

enum front_answer {
	FRONT_OK,
	FRONT_BAD_PROXY,    /* no PROXY header, or none in time: close without a word */
	FRONT_FULL,         /* sessions in all */
	FRONT_ADDRESS_FULL, /* sessions of this client */
};

/* On the session's coroutine, before TLS and greeting. A PROXY header is demanded
 * when the listener has `proxy` and the connection comes from a trust-proxy
 * address; from others none is read. Limits: 0 is none. */
enum front_answer front_arrive(struct front *f, struct session *s, const struct settings *set,
    const struct conf_listen *listen, unsigned limit, unsigned limit_per_address);
/* The client is somebody else from now on (XCLIENT): counted anew. */
enum front_answer front_move(struct front *f, struct session *s, unsigned limit,
    unsigned limit_per_address);
void front_leave(struct front *f);

/* Whether the client's address (as PROXY or XCLIENT have it) is in the ranges. */
bool front_client_in(const struct session *s, const struct conf_nets *nets);

#endif
