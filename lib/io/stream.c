/*
 * Byte streams over sockets; see stream.h.
 *
 * On a loop the socket is registered once, edge-triggered; `readable` and
 * `writable` remember what the kernel said until a call runs into EAGAIN. A
 * short read clears `readable` unless the peer has hung up, which saves the read
 * that would only say EAGAIN. Under TLS reading goes on until WANT_READ, since
 * OpenSSL may hold decrypted bytes.
 */
#include "lib/io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/io/co.h"
#include "lib/io/stream_private.h"
#include "lib/io/tls_private.h"

#define OUT_MAX (32u << 10)
#define OUT_LIMIT (64u << 20)
#define IN_FIRST 4096

static void
on_event(struct watch *w, uint32_t events)
{
	struct stream *s = (struct stream *)((char *)w - offsetof(struct stream, watch));

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->readable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->hup = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		s->writable = true;
	if (s->waiter) {
		if ((s->wants_read && s->readable) || (s->wants_write && s->writable))
			co_wake(s->waiter);
	} else if (s->readable && s->idle_fn) {
		s->idle_fn(s->idle_arg);
	}
}

struct stream *
stream_new(struct loop *l, int fd, size_t in_max, struct err *e)
{
	struct stream *s = calloc(1, sizeof *s);

	if (!s) {
		err_set(e, -ENOMEM, "out of memory for a stream");
		return NULL;
	}
	s->loop = l;
	s->fd = fd;
	s->watch.fd = fd;
	s->watch.fn = on_event;
	s->in.max = in_max ? in_max : 64u << 10;
	s->out.max = OUT_LIMIT;
	s->timeout_ms = 300000;
	if (!l)
		return s;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
		err_sys(e, -errno, "cannot make a socket non-blocking");
		goto fail;
	}
	if (loop_watch(l, &s->watch, e))
		goto fail;
	return s;
fail:
	free(s);
	return NULL;
}

static void
release(void *arg)
{
	struct stream *s = arg;

	free(s);
}

void
stream_free(struct stream **sp)
{
	struct stream *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	if (s->loop)
		loop_unwatch(s->loop, &s->watch);
	if (s->tls) {
		ERR_clear_error();
		if (!s->failed)
			SSL_shutdown(s->tls->ssl); /* our close_notify; the peer's is not waited for */
		tls_conn_free(&s->tls);
	}
	close(s->fd);
	buf_done(&s->in);
	buf_done(&s->out);
	free(s->why);
	if (s->loop)
		loop_defer(s->loop, release, s); /* later events of this turn may name it */
	else
		free(s);
}

int
stream_fd(const struct stream *s)
{
	return s->fd;
}

void
stream_timeout(struct stream *s, uint64_t ms)
{
	s->timeout_ms = ms;
}

const char *
stream_why(const struct stream *s)
{
	return s->why ? s->why : "";
}

const struct tls_info *
stream_tls(const struct stream *s)
{
	return s->tls ? &s->tls->info : NULL;
}

size_t
stream_tls_binding(const struct stream *s, const char *type,
    unsigned char out[static STREAM_BINDING_MAX])
{
	return s->tls ? tls_conn_binding(s->tls, type, out, STREAM_BINDING_MAX) : 0;
}

static int
fail(struct stream *s, int code, const char *what)
{
	char text[256];

	if (s->failed)
		return s->failed;
	s->failed = code;
	snprintf(text, sizeof text, "%s", what);
	s->why = strdup(text);
	return code;
}

static int
fail_errno(struct stream *s, int e, const char *doing)
{
	char text[256], why[128];

	snprintf(text, sizeof text, "%s: %s", doing, strerror_r(e, why, sizeof why));
	return fail(s, e == ECONNRESET ? -ECONNRESET : -EPIPE, text);
}

/* ---- waiting ---- */

enum want { WANT_IN, WANT_OUT };

static int
wait_blocking(struct stream *s, enum want w)
{
	struct pollfd p = { s->fd, w == WANT_IN ? POLLIN : POLLOUT, 0 };
	int r;

	do
		r = poll(&p, 1, s->timeout_ms > 3600000 ? 3600000 : (int)s->timeout_ms);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return fail(s, -ETIMEDOUT, "timed out");
	s->readable = s->writable = true;
	return 0;
}

/* Until the socket may be read or written, the time is over, or a poke. */
static int
wait_for(struct stream *s, enum want w)
{
	uint64_t until;
	int r = 0;

	if (!s->loop || !co_self())
		return wait_blocking(s, w);
	until = clock_ms() + s->timeout_ms;
	s->waiter = co_self();
	s->wants_read = w == WANT_IN;
	s->wants_write = w == WANT_OUT;
	while (!(w == WANT_IN ? s->readable : s->writable)) {
		uint64_t now = clock_ms();

		if (s->poked && w == WANT_IN) {
			r = -EINTR;
			break;
		}
		if (now >= until || co_wait((int64_t)(until - now)) == -ETIMEDOUT) {
			if (!(w == WANT_IN ? s->readable : s->writable)) {
				r = fail(s, -ETIMEDOUT, "timed out");
				break;
			}
		}
	}
	s->poked = false;
	s->waiter = NULL;
	s->wants_read = s->wants_write = false;
	return r;
}

void
stream_poke(struct stream *s)
{
	s->poked = true;
	if (s->waiter && s->wants_read)
		co_wake(s->waiter);
}

/* ---- connecting ---- */

static socklen_t
address_length(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static int
connect_begin(const struct sockaddr_storage *to, const struct sockaddr_storage *source,
    struct err *e)
{
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return err_sys(e, -errno, "socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (source && bind(fd, (const struct sockaddr *)source, address_length(source))) {
		err_sys(e, -errno, "cannot connect from the source address");
	} else if (connect(fd, (const struct sockaddr *)to, address_length(to)) &&
	    errno != EINPROGRESS) {
		err_sys(e, -errno, "connect");
	} else {
		return fd;
	}
	close(fd);
	return e->code;
}

struct stream *
stream_connect(struct loop *l, const struct sockaddr_storage *to,
    const struct sockaddr_storage *source, uint64_t ms, size_t in_max, struct err *e)
{
	int fd = connect_begin(to, source, e), so = 0, r;
	socklen_t n = sizeof so;
	struct stream *s;

	if (fd < 0)
		return NULL;
	s = stream_new(l, fd, in_max, e);
	if (!s) {
		close(fd);
		return NULL;
	}
	s->timeout_ms = ms;
	r = wait_for(s, WANT_OUT);
	if (!r && getsockopt(fd, SOL_SOCKET, SO_ERROR, &so, &n))
		so = errno;
	if (!r && !so)
		return s;
	err_sys(e, r ? r : -so, "connect");
	s->failed = e->code;
	stream_free(&s);
	return NULL;
}

/* ---- raw input and output: count, 0 end of input, -EAGAIN, failure ---- */

static ssize_t
tls_result(struct stream *s, int r, const char *doing)
{
	char text[256];
	unsigned long e;

	switch (SSL_get_error(s->tls->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		s->readable = false;
		s->tls->want_write = false;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		s->writable = false;
		s->tls->want_write = true;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		if (errno == 0 || ERR_peek_error() == 0)
			return errno ? fail_errno(s, errno, doing) : 0;
		/* fall through */
	default:
		e = ERR_get_error();
		if (ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return 0; /* many clients just close */
		ERR_error_string_n(e, text, sizeof text);
		ERR_clear_error();
		return fail(s, -EPROTO, text);
	}
}

static ssize_t
raw_read(struct stream *s, void *p, size_t n)
{
	ssize_t r;

	if (n > INT_MAX)
		n = INT_MAX;
	if (s->tls) {
		ERR_clear_error();
		errno = 0;
		r = SSL_read(s->tls->ssl, p, (int)n);
		return r > 0 ? r : tls_result(s, (int)r, "reading");
	}
	do
		r = recv(s->fd, p, n, s->loop ? 0 : MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r >= 0) {
		if (r > 0 && (size_t)r < n && !s->hup)
			s->readable = false;
		return r;
	}
	if (errno == EAGAIN) {
		s->readable = false;
		return -EAGAIN;
	}
	return fail_errno(s, errno, "reading");
}

static ssize_t
raw_write(struct stream *s, const void *p, size_t n)
{
	ssize_t r;

	if (n > INT_MAX)
		n = INT_MAX;
	if (s->tls) {
		ERR_clear_error();
		errno = 0;
		r = SSL_write(s->tls->ssl, p, (int)n);
		if (r > 0)
			return r;
		r = tls_result(s, (int)r, "writing");
		return r == 0 ? fail(s, -EPIPE, "the peer closed the connection") : r;
	}
	do
		r = send(s->fd, p, n, MSG_NOSIGNAL | (s->loop ? 0 : MSG_DONTWAIT));
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	if (errno == EAGAIN) {
		s->writable = false;
		return -EAGAIN;
	}
	return fail_errno(s, errno, "writing");
}

/* ---- output ---- */

int
stream_flush(struct stream *s)
{
	size_t off = 0;

	if (s->failed)
		return s->failed;
	if (s->out.over)
		return fail(s, -ENOBUFS, "too much output gathered");
	while (off < s->out.n) {
		ssize_t w = raw_write(s, s->out.p + off, s->out.n - off);

		if (w == -EAGAIN) {
			w = wait_for(s, s->tls && !s->tls->want_write ? WANT_IN : WANT_OUT);
			if (w == -EINTR)
				w = 0; /* a poke waits until the output is out */
		} else if (w > 0) {
			off += (size_t)w;
			w = 0;
		}
		if (w < 0) {
			buf_clear(&s->out);
			return (int)w;
		}
	}
	buf_clear(&s->out);
	if (s->out.cap > OUT_MAX * 2)
		buf_done(&s->out);
	return 0;
}

void
stream_last_words(struct stream *s, const char *text)
{
	if (s->failed != -ETIMEDOUT)
		return;
	s->failed = 0;
	if (raw_write(s, text, strlen(text)) == -EAGAIN || !s->failed)
		s->failed = -ETIMEDOUT;
}

size_t
stream_unsent(const struct stream *s)
{
	return s->out.n;
}

void
stream_put(struct stream *s, const void *p, size_t n)
{
	if (s->failed)
		return;
	if (s->out.n + n > OUT_MAX && s->out.n && (co_self() || !s->loop))
		if (stream_flush(s))
			return;
	buf_put(&s->out, p, n);
	if (s->out.n > OUT_MAX && (co_self() || !s->loop))
		stream_flush(s);
}

void
stream_str(struct stream *s, struct str v)
{
	stream_put(s, v.p, v.n);
}

void
stream_puts(struct stream *s, const char *c)
{
	stream_put(s, c, strlen(c));
}

void
stream_printf(struct stream *s, const char *fmt, ...)
{
	struct buf b = { .max = OUT_MAX };
	char small[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof small, fmt, ap);
	va_end(ap);
	if (n >= 0 && n < (int)sizeof small) {
		stream_put(s, small, (size_t)n);
		return;
	}
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	stream_str(s, buf_view(&b));
	buf_done(&b);
}

int
stream_put_fd(struct stream *s, int fd, off_t off, size_t n)
{
	char *t = malloc(OUT_MAX);
	int r = 0;

	if (!t)
		return fail(s, -ENOMEM, "out of memory");
	while (n && !s->failed) {
		ssize_t k = pread(fd, t, n < OUT_MAX ? n : OUT_MAX, off);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			r = k < 0 ? -errno : -ENODATA;
			break;
		}
		stream_put(s, t, (size_t)k);
		off += k;
		n -= (size_t)k;
	}
	free(t);
	return r ? r : s->failed;
}

/* ---- input ---- */

struct str
stream_peek(const struct stream *s)
{
	return str_from(s->in.p ? s->in.p + s->in_off : NULL, s->in.n - s->in_off);
}

void
stream_consume(struct stream *s, size_t n)
{
	s->in_off += n;
	if (s->in_off >= s->in.n) {
		buf_clear(&s->in);
		s->in_off = 0;
	}
}

void
stream_unread(struct stream *s, const void *p, size_t n)
{
	struct buf b;

	if (s->in_off >= n) {
		s->in_off -= n;
		memcpy(s->in.p + s->in_off, p, n);
		return;
	}
	buf_init(&b, s->in.max + n);
	buf_put(&b, p, n);
	buf_str(&b, stream_peek(s));
	if (b.over) {
		fail(s, -ENOMEM, "out of memory");
		buf_done(&b);
		return;
	}
	b.max = s->in.max;
	buf_done(&s->in);
	s->in = b;
	s->in_off = 0;
}

bool
stream_pending(const struct stream *s)
{
	return s->in.n > s->in_off || s->readable || (s->tls && SSL_has_pending(s->tls->ssl));
}

bool
stream_spoke(const struct stream *s)
{
	char c;

	return s->in.n > s->in_off || recv(s->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Where to read to and how much. A full buffer is moved down, then doubled. */
static char *
in_room(struct stream *s, size_t *ret_n)
{
	size_t want;
	char *p;

	if (s->in_off && s->in.cap - s->in.n < IN_FIRST / 2) {
		buf_consume(&s->in, s->in_off);
		s->in_off = 0;
	}
	want = s->in.cap - s->in.n;
	if (want < IN_FIRST / 2)
		want = s->in.cap < IN_FIRST ? IN_FIRST : s->in.cap;
	if (s->in.n >= s->in.max)
		return NULL;
	if (want > s->in.max - s->in.n)
		want = s->in.max - s->in.n;
	p = buf_room(&s->in, want);
	*ret_n = want;
	return p;
}

ssize_t
stream_try_fill(struct stream *s)
{
	size_t n;
	char *p;
	ssize_t r;

	if (s->failed)
		return s->failed;
	if (s->loop && !s->readable && !(s->tls && SSL_has_pending(s->tls->ssl)))
		return -EAGAIN;
	p = in_room(s, &n);
	if (!p)
		return s->in.over ? fail(s, -ENOMEM, "out of memory") : -ENOBUFS;
	r = raw_read(s, p, n);
	if (r > 0)
		buf_grown(&s->in, (size_t)r);
	return r;
}

/* Nothing is there: what is gathered leaves first, since the peer may wait for it. */
static ssize_t
wait_input(struct stream *s)
{
	ssize_t r = s->out.n ? stream_flush(s) : 0;

	return r ? r : wait_for(s, s->tls && s->tls->want_write ? WANT_OUT : WANT_IN);
}

ssize_t
stream_fill(struct stream *s)
{
	for (;;) {
		ssize_t r = stream_try_fill(s);

		if (r != -EAGAIN || (r = wait_input(s)))
			return r;
	}
}

ssize_t
stream_read(struct stream *s, void *p, size_t n)
{
	struct str have = stream_peek(s);
	ssize_t r;

	if (have.n) {
		if (n > have.n)
			n = have.n;
		memcpy(p, have.p, n);
		stream_consume(s, n);
		return (ssize_t)n;
	}
	for (;;) {
		if (s->failed)
			return s->failed;
		r = -EAGAIN;
		if (!s->loop || s->readable || (s->tls && SSL_has_pending(s->tls->ssl)))
			r = raw_read(s, p, n);
		if (r != -EAGAIN || (r = wait_input(s)))
			return r;
	}
}

int
stream_read_full(struct stream *s, void *p, size_t n)
{
	while (n) {
		ssize_t r = stream_read(s, p, n);

		if (r == -EINTR)
			continue;
		if (r == 0)
			return fail(s, -EPIPE, "the peer closed the connection");
		if (r < 0)
			return (int)r;
		p = (char *)p + r;
		n -= (size_t)r;
	}
	return 0;
}

void
stream_trim(struct stream *s)
{
	if (s->in.n == s->in_off) {
		buf_done(&s->in);
		s->in_off = 0;
	}
	if (!s->out.n)
		buf_done(&s->out);
}

void
stream_on_idle_input(struct stream *s, void (*fn)(void *), void *arg)
{
	s->idle_fn = fn;
	s->idle_arg = arg;
}

/* ---- TLS ---- */

static int
refused(struct stream *s)
{
	char text[256];

	snprintf(text, sizeof text, "the certificate was refused: %s", tls_conn_refused(s->tls));
	free(s->why);
	s->why = strdup(text);
	return s->failed = -EKEYREJECTED;
}

enum tls_refusal
stream_tls_refusal(const struct stream *s)
{
	return s->tls ? tls_conn_refusal(s->tls) : TLS_NOT_REFUSED;
}

static int
handshake(struct stream *s, int (*step)(SSL *))
{
	for (;;) {
		int r;
		ssize_t k;

		ERR_clear_error();
		errno = 0;
		r = step(s->tls->ssl);
		if (r == 1)
			break;
		k = tls_result(s, r, "TLS handshake");
		if (k == 0)
			return fail(s, -EPIPE, "the peer closed during the TLS handshake");
		if (k == -EAGAIN) {
			k = wait_for(s, s->tls->want_write ? WANT_OUT : WANT_IN);
			if (k == -EINTR)
				k = 0;
		}
		if (k == -EPROTO && tls_conn_refused(s->tls))
			return refused(s);
		if (k < 0)
			return (int)k;
	}
	s->readable = true; /* records may have come with the handshake */
	tls_conn_describe(s->tls);
	return 0;
}

static int
tls_begin(struct stream *s, struct tls_conn *c)
{
	int r = stream_flush(s);

	if (r)
		return r;
	if (!c)
		return fail(s, -ENOMEM, "out of memory for TLS");
	buf_clear(&s->in);
	s->in_off = 0;
	s->tls = c;
	if (!s->loop)
		fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
	if (!SSL_set_fd(c->ssl, s->fd))
		return fail(s, -ENOMEM, "out of memory for TLS");
	return 0;
}

int
stream_tls_accept(struct stream *s, struct tls_server *t)
{
	int r;

	if (s->failed)
		return s->failed;
	r = tls_begin(s, tls_conn_accept(t));
	return r ? r : handshake(s, SSL_accept);
}

int
stream_tls_connect(struct stream *s, struct tls_client *t, const char *name)
{
	int r;

	if (s->failed)
		return s->failed;
	r = tls_begin(s, tls_conn_connect(t, name));
	return r ? r : handshake(s, SSL_connect);
}

int
stream_tls_connect_as(struct stream *s, struct tls_client *t, const struct tls_peer *p)
{
	int r;

	if (s->failed)
		return s->failed;
	r = tls_begin(s, tls_conn_connect_as(t, p));
	return r ? r : handshake(s, SSL_connect);
}

struct tls_session *
stream_tls_session(const struct stream *s)
{
	SSL_SESSION *x = s->tls ? SSL_get1_session(s->tls->ssl) : NULL;

	if (x && !SSL_SESSION_is_resumable(x)) {
		SSL_SESSION_free(x);
		x = NULL;
	}
	return (struct tls_session *)x;
}
