/*
 * One end of a channel: frames in and out of a UNIX stream socket, descriptors
 * beside them. The innards of chan.c, service.c and the master; nobody else
 * includes this.
 *
 * Reading and closing happen on the loop's thread; sending from any. A
 * descriptor belongs to the next frame with WIRE_FD in the order of the stream.
 */
#ifndef LIB_PROC_CONN_H
#define LIB_PROC_CONN_H

#include <pthread.h>
#include <sys/uio.h>

#include "lib/io/loop.h"
#include "lib/io/wire.h"

#define CONN_FDS 64 /* descriptors received and not claimed yet, at most */

struct conn_fd {
	uint64_t pos; /* place in the output stream where its frame begins */
	int fd;
};

struct conn {
	struct watch watch;
	struct loop *loop;
	struct turn_hook hook;
	struct buf in;
	size_t in_off;
	int fds[CONN_FDS];
	unsigned n_fds;
	bool hup;                /* the peer has closed: read to the end */

	pthread_mutex_t lock;    /* what follows */
	pthread_cond_t drained;
	struct buf out;
	size_t out_off;
	uint64_t sent;           /* bytes of the stream that have left */
	struct conn_fd *out_fds;
	size_t n_out_fds, cap_out_fds;
	bool open;

	/* The frame's body is valid during the call; its fd belongs to the callee. */
	void (*on_frame)(struct conn *c, struct frame *f);
	/* Once, when the peer has gone or sent rubbish (why != NULL). */
	void (*on_close)(struct conn *c, const char *why);
};

/* Takes fd. 0 or negative (fd is closed). */
int conn_open(struct conn *c, struct loop *l, int fd, struct err *e);
/* Closes without calling on_close; the memory may go at the end of the turn. */
void conn_close(struct conn *c);
void conn_done(struct conn *c); /* after conn_close, when nobody can send any more */

/* Gathers a frame; fd (-1: none) is taken. False when closed or out of memory.
 * On the loop's thread it leaves at the end of the turn; from other threads
 * when conn_flush is called (or soon). */
bool conn_send(struct conn *c, uint16_t type, uint8_t flags, uint64_t id, const struct iovec *iov,
    size_t n, int fd);
void conn_flush(struct conn *c);
size_t conn_unsent(struct conn *c);

#endif
