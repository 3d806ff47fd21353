/*
 * What the master tells its children on descriptor 3, and they it. Frames of
 * lib/io/wire.h; both ends are of one build, so the fields are few and fixed.
 *
 *	master -> child   SELF, CONFIG, TLS, LISTEN+fd ..., CONTROL+fd, CENSUS+fd,
 *	                  CALLEE+fd ..., CALLER+fd ..., GO
 *	child  -> master  READY (or it exits with a text in the log)
 *	later             CALLEE, CALLER when a peer was restarted; CONFIG, TLS,
 *	                  LISTEN, UNLISTEN, RELOADED for a new config (answer: OK or
 *	                  WIRE_ERROR); METRICS (answer: text); DRAIN; STOP
 */
#ifndef LIB_PROC_SETUP_H
#define LIB_PROC_SETUP_H

#include "lib/io/wire.h"
#include "lib/proc/peers.h"

#define SETUP_FD 3
#define SETUP_KEY 32 /* bytes of the ticket key */

enum {
	SETUP_SELF = MSG_TYPE(ROLE_MASTER, 128),
	SETUP_CONFIG,
	SETUP_TLS,
	SETUP_LISTEN,
	SETUP_UNLISTEN,
	SETUP_CONTROL,
	SETUP_CALLEE,
	SETUP_CALLER,
	SETUP_GO,
	SETUP_READY,
	SETUP_RELOADED,
	SETUP_METRICS,
	SETUP_DRAIN, /* listeners close, sessions are asked to end; calls still served */
	SETUP_STOP,
	SETUP_CENSUS, /* the memory of session counts (census.h); front ends only */
};

/* Tags, shared by all of them. */
enum {
	SU_ROLE = 1,
	SU_INSTANCE,
	SU_COUNT,    /* instances of SU_ROLE, nested in SU_ROLES */
	SU_ROLES,
	SU_NUMBER,
	SU_KEY,      /* the ticket key */
	SU_USER,     /* system user to become; empty: stay */
	SU_TEXT,     /* config text; a listener's name */
	SU_PAIR,     /* of TLS: nested SU_CERT, SU_PRIVATE */
	SU_CERT,
	SU_PRIVATE,
	SU_ADDRESS,  /* of a listener */
	SU_PORT,
};

#endif
