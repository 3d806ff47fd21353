/* One end of a channel; see conn.h. */
#include "lib/proc/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_CHUNK (256u << 10)
#define OUT_MAX ((size_t)256 << 20)

/* ---- input ---- */

static void
broken(struct conn *c, const char *why)
{
	conn_close(c);
	if (c->on_close)
		c->on_close(c, why);
}

static bool
take_fds(struct conn *c, struct msghdr *m)
{
	bool ok = !(m->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (c->n_fds < CONN_FDS) {
				c->fds[c->n_fds++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

/* One read: 1 more may come, 0 nothing now, negative the end. A short read emptied
 * the socket, and what comes later makes an edge of its own; but a read also stops
 * short behind a descriptor. */
static int
read_some(struct conn *c)
{
	union {
		char b[CMSG_SPACE(sizeof(int) * 16)];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.b,
		.msg_controllen = sizeof control.b };
	char *p;
	ssize_t r;

	if (c->in_off) {
		buf_consume(&c->in, c->in_off);
		c->in_off = 0;
	}
	p = buf_room(&c->in, READ_CHUNK);
	if (!p)
		return -ENOMEM;
	iov = (struct iovec){ p, READ_CHUNK };
	r = recvmsg(c->watch.fd, &m, MSG_CMSG_CLOEXEC);
	if (r < 0)
		return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -errno;
	if (!take_fds(c, &m))
		return -EPROTO;
	if (r == 0)
		return -EPIPE;
	buf_grown(&c->in, (size_t)r);
	return r == READ_CHUNK || m.msg_controllen || c->hup;
}

static bool
claim_fd(struct conn *c, struct frame *f)
{
	if (!(f->flags & WIRE_FD))
		return true;
	if (!c->n_fds)
		return false;
	f->fd = c->fds[0];
	memmove(c->fds, c->fds + 1, --c->n_fds * sizeof *c->fds);
	return true;
}

static int
serve_frames(struct conn *c)
{
	while (c->open) {
		struct str in = str_from(c->in.p + c->in_off, c->in.n - c->in_off);
		struct frame f;
		ssize_t n = wire_parse(in, &f);

		if (n <= 0)
			return (int)n;
		if (!claim_fd(c, &f))
			return -EPROTO;
		c->in_off += (size_t)n;
		c->on_frame(c, &f);
	}
	return 0;
}

static void
on_event(struct watch *w, uint32_t events)
{
	struct conn *c = LIST_ENTRY(w, struct conn, watch);
	int r = 1;

	if (events & EPOLLOUT)
		conn_flush(c);
	if (!(events & ~(uint32_t)EPOLLOUT))
		return;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->hup = true;
	while (r > 0 && c->open) {
		int k;

		r = read_some(c);
		k = serve_frames(c);
		if (k < 0)
			r = k;
	}
	if (r < 0 && c->open)
		broken(c, r == -EPROTO ? "malformed frame" : r == -ENOMEM ? "out of memory" : NULL);
}

/* ---- output ---- */

static void
forget_output(struct conn *c)
{
	for (size_t i = 0; i < c->n_out_fds; i++)
		close(c->out_fds[i].fd);
	c->n_out_fds = 0;
	buf_done(&c->out);
	c->out_off = 0;
	pthread_cond_broadcast(&c->drained);
}

/* Sends bytes up to the next descriptor's frame, or that frame's first bytes
 * with it. With the lock. Bytes sent, or -errno. */
static ssize_t
send_piece(struct conn *c)
{
	union {
		char b[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	size_t n = c->out.n - c->out_off, next = 0;
	struct iovec iov = { c->out.p + c->out_off, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	bool with_fd = c->n_out_fds && c->out_fds[0].pos == c->sent;
	ssize_t r;

	if (c->n_out_fds > (with_fd ? 1u : 0u))
		next = (size_t)(c->out_fds[with_fd ? 1 : 0].pos - c->sent);
	if (next)
		iov.iov_len = next;
	if (with_fd) {
		struct cmsghdr *h;

		m.msg_control = control.b;
		m.msg_controllen = sizeof control.b;
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &c->out_fds[0].fd, sizeof(int));
	}
	r = sendmsg(c->watch.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (r < 0)
		return -errno;
	if (with_fd) {
		close(c->out_fds[0].fd);
		memmove(c->out_fds, c->out_fds + 1, --c->n_out_fds * sizeof *c->out_fds);
	}
	return r;
}

static void
flush_locked(struct conn *c)
{
	while (c->open && c->out_off < c->out.n) {
		ssize_t r = send_piece(c);

		if (r == -EINTR)
			continue;
		if (r == -EAGAIN)
			break; /* the loop's edge brings us back */
		if (r < 0) {
			forget_output(c); /* the reading side will see the end */
			return;
		}
		c->out_off += (size_t)r;
		c->sent += (uint64_t)r;
	}
	if (c->out_off == c->out.n) {
		buf_clear(&c->out);
		c->out_off = 0;
		if (c->out.cap > (1u << 20))
			buf_done(&c->out);
	} else if (c->out_off > (1u << 20)) {
		buf_consume(&c->out, c->out_off);
		c->out_off = 0;
	}
	pthread_cond_broadcast(&c->drained);
}

void
conn_flush(struct conn *c)
{
	pthread_mutex_lock(&c->lock);
	flush_locked(c);
	pthread_mutex_unlock(&c->lock);
}

size_t
conn_unsent(struct conn *c)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = c->out.n - c->out_off;
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void
turn_end(void *arg)
{
	conn_flush(arg);
}

static bool
queue_fd(struct conn *c, int fd)
{
	if (c->n_out_fds == c->cap_out_fds) {
		size_t cap = c->cap_out_fds ? c->cap_out_fds * 2 : 8;
		struct conn_fd *v = realloc(c->out_fds, cap * sizeof *v);

		if (!v)
			return false;
		c->out_fds = v;
		c->cap_out_fds = cap;
	}
	c->out_fds[c->n_out_fds++] = (struct conn_fd){ c->sent + c->out.n - c->out_off, fd };
	return true;
}

bool
conn_send(struct conn *c, uint16_t type, uint8_t flags, uint64_t id, const struct iovec *iov,
    size_t n, int fd)
{
	char head[WIRE_HEAD];
	size_t len = 0;
	bool ok;

	for (size_t i = 0; i < n; i++)
		len += iov[i].iov_len;
	wire_head(head, type, (uint8_t)(flags | (fd >= 0 ? WIRE_FD : 0)), id, len);
	pthread_mutex_lock(&c->lock);
	ok = c->open && len + WIRE_HEAD - 4 <= WIRE_MAX && buf_room(&c->out, len + WIRE_HEAD) &&
	    (fd < 0 || queue_fd(c, fd));
	if (ok) {
		buf_put(&c->out, head, WIRE_HEAD);
		for (size_t i = 0; i < n; i++)
			buf_put(&c->out, iov[i].iov_base, iov[i].iov_len);
	}
	c->out.over = false;
	pthread_mutex_unlock(&c->lock);
	if (!ok && fd >= 0)
		close(fd);
	if (ok && loop_current() == c->loop)
		loop_turn_hook(c->loop, &c->hook, turn_end, c);
	return ok;
}

/* ---- opening and closing ---- */

int
conn_open(struct conn *c, struct loop *l, int fd, struct err *e)
{
	int r;

	c->loop = l;
	c->watch = (struct watch){ .fd = fd, .fn = on_event };
	c->in.max = WIRE_MAX + READ_CHUNK + 64;
	c->out.max = OUT_MAX;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->drained, NULL);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	c->open = true;
	r = loop_watch(l, &c->watch, e);
	if (r) {
		c->open = false;
		close(fd);
	}
	return r;
}

void
conn_close(struct conn *c)
{
	if (!c->open)
		return;
	pthread_mutex_lock(&c->lock);
	c->open = false;
	forget_output(c);
	pthread_mutex_unlock(&c->lock);
	list_remove(&c->hook.link);
	loop_unwatch(c->loop, &c->watch);
	close(c->watch.fd);
	while (c->n_fds)
		close(c->fds[--c->n_fds]);
}

void
conn_done(struct conn *c)
{
	buf_done(&c->in);
	buf_done(&c->out);
	free(c->out_fds);
	pthread_cond_destroy(&c->drained);
	pthread_mutex_destroy(&c->lock);
}
