/*
 * Channels: requests and answers between two processes of the house over one
 * UNIX stream socket, many in flight, tied together by ids. The same channel
 * carries events (id 0) from callee to caller.
 *
 * Caller's side: chan_call sends a request and waits for its answer; on a
 * coroutine it yields, elsewhere it blocks. Frames gathered during a turn of
 * the loop leave in one writev. When the peer dies, every waiting call gets
 * -EPIPE; calls made while there is no peer wait up to 2 s for the master to
 * send a new one, then get -ENOTCONN. A caller turns both into its protocol's
 * temporary error.
 *
 * Callee's side: service.h hands requests to handlers; an answer may be given
 * at once, later, and from any thread, by chan_answer.
 */
#ifndef LIB_PROC_CHAN_H
#define LIB_PROC_CHAN_H

#include <sys/uio.h>

#include "lib/io/co.h"
#include "lib/io/wire.h"
#include "lib/proc/peers.h"

struct chan;

/* The channel to instance n of a peer (created by service_run; kept for the
 * life of the process, whatever happens to the peer). NULL when the table or
 * the config has none. With n = CHAN_ANY: some live instance, in turn. */
#define CHAN_ANY (~0u)
struct chan *chan_to(enum role callee, unsigned n);
unsigned chan_instances(enum role callee);
bool chan_alive(const struct chan *c);

/* Sends a request of this type whose fields stand in iov, and waits for the
 * answer. The iov'd memory must stay until the call returns. fd: -1, or a
 * descriptor to pass (stays the caller's). timeout in ms.
 *   0: *ret has the answer's fields (copied into arena) and fd;
 *   negative: -ETIMEDOUT, -EPIPE, -ENOTCONN, or the code of the callee's
 *   struct wire_error, which *ret_error has (strings in arena). */
int chan_call(struct chan *c, uint16_t type, const struct iovec *iov, size_t n, int fd,
    uint64_t timeout_ms, struct arena *arena, struct frame *ret, struct wire_error *ret_error);
/* The same with the fields in one buffer. */
int chan_call_buf(struct chan *c, uint16_t type, const struct buf *b, uint64_t timeout_ms,
    struct arena *arena, struct frame *ret, struct wire_error *ret_error);

/* Sends without waiting; the answer comes to fn on the loop's thread (code as
 * of chan_call; the frame is valid during fn only). */
int chan_send(struct chan *c, uint16_t type, const struct buf *b, int fd, uint64_t timeout_ms,
    void (*fn)(void *arg, int code, const struct frame *f), void *arg);

/* Events from the callee: fn for each frame with id 0 of this type that any
 * channel to that role brings. */
void chan_on_event(enum role callee, uint16_t type,
    void (*fn)(void *arg, struct chan *c, const struct frame *f), void *arg);
/* fn when a channel to the role (re)connects (up true) or dies. */
void chan_on_state(enum role callee, void (*fn)(void *arg, struct chan *c, bool up), void *arg);

/* ---- the callee's side ---- */

/* One connected caller. Valid while a handler runs; chan_peer_ref keeps it
 * longer (sending to one that has gone does nothing). */
struct peer;
struct peer *chan_peer_ref(struct peer *p);
void chan_peer_unref(struct peer **p);
enum role chan_peer_role(const struct peer *p);
unsigned chan_peer_instance(const struct peer *p);
/* The number that the master gave this channel; tickets are bound to it. */
uint64_t chan_peer_number(const struct peer *p);
void chan_peer_set_user(struct peer *p, void *user);
void *chan_peer_user(const struct peer *p);

/* Answers; callable from any thread, never blocks. Frames gather: those sent
 * on the loop's thread leave at the end of its turn; another thread ends its
 * batch of answers with chan_peer_flush (one send for all). fd: -1 or a
 * descriptor, which is taken. */
void chan_answer(struct peer *p, uint64_t id, uint16_t type, const struct buf *b, int fd);
void chan_answer_error(struct peer *p, uint64_t id, uint16_t type, const struct wire_error *e);
void chan_event(struct peer *p, uint16_t type, const struct buf *b, int fd);
void chan_peer_flush(struct peer *p);
/* Bytes waiting to be sent: a callee bounds what it streams by it. */
size_t chan_peer_unsent(struct peer *p);
/* Blocks a *worker thread* until fewer than n bytes wait, or the peer is gone
 * (-EPIPE), or ms have passed (-ETIMEDOUT). */
int chan_peer_drain(struct peer *p, size_t n, uint64_t ms);

#endif
