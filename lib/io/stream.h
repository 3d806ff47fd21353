/*
 * A byte stream over a connected socket, with or without TLS: input buffer,
 * gathered output, deadlines. Protocol code sees this, never a socket.
 *
 * On a coroutine the waiting calls yield; elsewhere they block. All of them
 * return a negative errno value on failure: -ETIMEDOUT when the peer made no
 * progress within the timeout, -EPIPE/-ECONNRESET when it is gone, -EPROTO for
 * a TLS failure (stream_why has the text). After a failure every later call
 * fails likewise.
 *
 * Input: stream_fill reads more behind what is buffered; stream_peek shows it;
 * stream_consume takes it. Output gathers until stream_flush or 32 KiB.
 */
#ifndef LIB_IO_STREAM_H
#define LIB_IO_STREAM_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/io/loop.h"
#include "lib/io/tls.h"

struct stream;

/* Takes the descriptor (made non-blocking when on a loop). l may be NULL:
 * blocking. in_max bounds the input buffer (0: 64 KiB). */
struct stream *stream_new(struct loop *l, int fd, size_t in_max, struct err *e);
void stream_free(struct stream **s); /* closes */
int stream_fd(const struct stream *s);
/* Makes a TCP connection to `to`, from `source` (NULL: as the kernel chooses), within ms.
 * NULL and e says why; e->code is -ETIMEDOUT, -ECONNREFUSED ... */
struct stream *stream_connect(struct loop *l, const struct sockaddr_storage *to,
    const struct sockaddr_storage *source, uint64_t ms, size_t in_max, struct err *e);

/* How long any one wait may take, in milliseconds (default 300,000). */
void stream_timeout(struct stream *s, uint64_t ms);

/* What is buffered, valid until the next fill or consume. */
struct str stream_peek(const struct stream *s);
void stream_consume(struct stream *s, size_t n);
/* Puts n bytes back in front of the input: what a stream_read took too much. */
void stream_unread(struct stream *s, const void *p, size_t n);
/* Reads at least one more byte: its count, 0 at end of input, -ENOBUFS when
 * in_max bytes are buffered already. Flushes output first when it must wait. */
ssize_t stream_fill(struct stream *s);
/* The same without waiting: -EAGAIN when nothing is there. */
ssize_t stream_try_fill(struct stream *s);
/* Reads straight into p (buffered bytes first): count, 0 at end of input. */
ssize_t stream_read(struct stream *s, void *p, size_t n);
/* Exactly n bytes or a failure (-EPIPE when the input ends before). */
int stream_read_full(struct stream *s, void *p, size_t n);
/* Whether a read would not wait: bytes are buffered here or in TLS, or the
 * socket has shown readiness. */
bool stream_pending(const struct stream *s);

/* Whether the peer has sent something that was not read yet; asks the socket. */
bool stream_spoke(const struct stream *s);

void stream_put(struct stream *s, const void *p, size_t n);
void stream_puts(struct stream *s, const char *c);
void stream_str(struct stream *s, struct str v);
__attribute__((format(printf, 2, 3)))
void stream_printf(struct stream *s, const char *fmt, ...);
/* Sends what is gathered: 0 or negative. A failed stream_put shows up here. */
int stream_flush(struct stream *s);
/* To a peer that made no progress in time: sends this if it can be sent at once, and
 * what was gathered never. */
void stream_last_words(struct stream *s, const char *text);
/* Bytes gathered and not sent yet. */
size_t stream_unsent(const struct stream *s);
/* Copies n bytes of file descriptor fd from offset off to the output. */
int stream_put_fd(struct stream *s, int fd, off_t off, size_t n);

/* Discards buffered input (what a client sent before the TLS handshake must
 * not count after it) and shakes hands. 0 or negative. */
int stream_tls_accept(struct stream *s, struct tls_server *t);
int stream_tls_connect(struct stream *s, struct tls_client *t, const char *name);
/* With what is asked of the peer; -EKEYREJECTED: its certificate is not as asked for. */
int stream_tls_connect_as(struct stream *s, struct tls_client *t, const struct tls_peer *p);
/* Which kind of refusal that was. */
enum tls_refusal stream_tls_refusal(const struct stream *s);
/* What a later connection may resume; NULL when the server gave nothing. TLS 1.3 gives it
 * some time after the handshake. */
struct tls_session *stream_tls_session(const struct stream *s);
/* NULL when in plaintext. */
const struct tls_info *stream_tls(const struct stream *s);
/* Channel binding data of the TLS connection, of type "tls-exporter" (RFC 9266; where it
 * is safe: TLS 1.3, or the extended master secret) or "tls-server-end-point" (RFC 5929
 * section 4; of an accepted connection): its length, 0 when there is none. */
#define STREAM_BINDING_MAX 64
size_t stream_tls_binding(const struct stream *s, const char *type,
    unsigned char out[static STREAM_BINDING_MAX]);

/* Why the stream failed, for the log; "" while it has not. */
const char *stream_why(const struct stream *s);

/* Gives back the buffers when they are empty (a session about to park). */
void stream_trim(struct stream *s);

/* Tells a waiting stream_fill of another event than input: it returns -EINTR.
 * On the loop's thread only. */
void stream_poke(struct stream *s);

#endif
