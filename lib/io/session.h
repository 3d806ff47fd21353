/*
 * Parked sessions. A connection is parked until it speaks; then `run` is called
 * on a coroutine and reads from top to bottom until it has nothing more to say;
 * then it is parked again, without stack or buffers.
 *
 *	accept -> open -> run -> SESSION_PARK ... input or poke ... run -> SESSION_CLOSE -> close
 *
 * Limits: connections in all, and active ones (with a coroutine): above them
 * the acceptor sends `busy_reply` and closes. A parked session has an idle
 * limit; run is then called with session_reason == SESSION_IDLE.
 */
#ifndef LIB_IO_SESSION_H
#define LIB_IO_SESSION_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/io/stream.h"

struct session;

/*
 * `run` serves the complete commands that are buffered and returns SESSION_PARK
 * when it needs more input at a command boundary (what is buffered stays). The
 * session layer then sends the gathered output, reads what there is without
 * waiting, and calls run again or parks. When the peer has gone, run is not
 * called again: close is. Within a command run may wait (stream_fill, calls).
 */
enum session_next { SESSION_PARK, SESSION_CLOSE };
enum session_reason {
	SESSION_NEW,    /* first call: greet (and shake hands on an implicit-TLS port) */
	SESSION_INPUT,  /* the peer spoke or hung up */
	SESSION_POKED,  /* session_poke was called */
	SESSION_IDLE,   /* parked for longer than the idle limit */
	SESSION_DRAIN,  /* the program is stopping: say goodbye and close */
};

struct session_kind {
	const char *name;           /* "smtp": for coroutines and metrics */
	unsigned max_sessions;      /* in all; 0: 20,000 */
	unsigned max_active;        /* with a coroutine; 0: 2,048 */
	const char *busy_reply;     /* such as "421 4.3.2 Too busy\r\n" */
	size_t in_max;              /* input buffer limit of the stream; 0: 64 KiB */
	/* A new connection: returns the protocol's state, or NULL to refuse. */
	void *(*open)(struct session *s);
	enum session_next (*run)(struct session *s, enum session_reason why);
	/* Frees the state; the stream is closed after. Never on a coroutine. */
	void (*close)(struct session *s);
};

/* Serves connections from the listening socket fd (taken) until
 * session_unlisten. `user` is for session_listener_user. */
struct listener;
struct listener *session_listen(struct loop *l, const struct session_kind *k, int fd, void *user,
    struct err *e);
void session_unlisten(struct listener **li); /* open sessions stay */
/* The same for the listener of this descriptor, if there is one. */
void session_unlisten_fd(struct loop *l, int fd);
/* Sends SESSION_DRAIN to every session of every listener of the loop. */
void session_drain_all(struct loop *l);
unsigned session_count(struct loop *l);

void *session_state(struct session *s);
struct stream *session_stream(struct session *s);
struct loop *session_loop(struct session *s);
void *session_listener_user(struct session *s);
uint64_t session_id(const struct session *s);        /* unique in this process */
const struct sockaddr_storage *session_peer(const struct session *s);
const struct sockaddr_storage *session_local(const struct session *s);
/* The address as text without port: "192.0.2.1", "2001:db8::1". */
const char *session_peer_text(const struct session *s);
/* After XCLIENT or PROXY: the client is somebody else, and spoke to this address. */
void session_set_peer(struct session *s, const struct sockaddr_storage *peer);
void session_set_local(struct session *s, const struct sockaddr_storage *local);

/* How long the session may be parked, in milliseconds, from its next park. */
void session_idle_limit(struct session *s, uint64_t ms);
/* Runs a parked session with SESSION_POKED; one that is running gets it right
 * after it parks (and its waiting stream_fill, if it waits in one with
 * stream_poke allowed, is not disturbed). On the loop's thread. */
void session_poke(struct session *s);
/* An accept loop's per-address and total limits live with the program: it asks
 * for the counts in `open`. */

#endif
