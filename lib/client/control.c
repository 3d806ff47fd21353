/* The command line's end of the control sockets; see control.h. One request at a
 * time is under way, so an answer is told from nothing else but by its id. */
#include "lib/client/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/clock.h"

struct control {
	int fd;
	uint64_t id;
	const char *role;
	struct buf in;
	int passed;          /* a descriptor that came, not yet given to its frame; -1 */
};

bool
control_numbered(enum role r)
{
	switch (r) {
	case ROLE_SMTPD:
	case ROLE_MAILD:
	case ROLE_MIMED:
	case ROLE_IMAPD:
	case ROLE_POP3D:
	case ROLE_SIEVED:
	case ROLE_JMAPD:
		return true;
	default:
		return false;
	}
}

const char *
control_path(const struct settings *s, enum role r, unsigned n, struct arena *a)
{
	if (control_numbered(r))
		return arena_printf(a, "%.*s/%s.%u.ctl", STR_ARG(s->run_dir), role_name(r), n).p;
	return arena_printf(a, "%.*s/%s.ctl", STR_ARG(s->run_dir), role_name(r)).p;
}

/* What a failed connect means to people. */
static int
connect_failed(int code, const char *role, const char *path, struct err *e)
{
	if (code == -ENOENT || code == -ECONNREFUSED)
		return err_set(e, -ENOTCONN, "%s is not running (nobody listens on %s)", role, path);
	if (code == -EACCES || code == -EPERM)
		return err_set(e, -EACCES, "this user may not control the instance (%s)", path);
	return err_sys(e, code, "cannot connect to %s", path);
}

static int
connect_to(const char *path, const char *role, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlen(path) >= sizeof sa.sun_path)
		return err_set(e, -ENAMETOOLONG, "the path %s is too long for a socket", path);
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, -errno, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
		return fd;
	r = -errno;
	close(fd);
	return connect_failed(r, role, path, e);
}

int
control_open(const struct settings *s, enum role r, unsigned n, struct control **ret, struct err *e)
{
	struct arena *a = arena_new(0);
	const char *path = a ? control_path(s, r, n, a) : NULL;
	struct control *c = path ? calloc(1, sizeof *c) : NULL;
	int fd = -ENOMEM;

	if (c)
		fd = connect_to(path, r == ROLE_MASTER ? "posthorn" : role_name(r), e);
	else
		err_set(e, -ENOMEM, "out of memory");
	arena_free(&a);
	if (fd < 0) {
		free(c);
		return fd;
	}
	*c = (struct control){ .fd = fd, .role = role_name(r), .passed = -1 };
	buf_init(&c->in, 2 * WIRE_MAX);
	*ret = c;
	return 0;
}

void
control_close(struct control **cp)
{
	struct control *c = *cp;

	if (!c)
		return;
	close(c->fd);
	if (c->passed >= 0)
		close(c->passed);
	buf_done(&c->in);
	free(c);
	*cp = NULL;
}

static int
went_away(struct control *c, struct err *e)
{
	return err_set(e, -EPIPE, "%s ended before it answered", c->role);
}

/* Sends all of b; a descriptor goes with the first byte. */
static int
send_all(struct control *c, struct str b, int fd, struct err *e)
{
	union {
		char mem[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u = { 0 };

	while (b.n) {
		struct iovec iov = { (void *)(uintptr_t)b.p, b.n };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (fd >= 0) {
			struct cmsghdr *h;

			m.msg_control = u.mem;
			m.msg_controllen = sizeof u.mem;
			h = CMSG_FIRSTHDR(&m);
			h->cmsg_level = SOL_SOCKET;
			h->cmsg_type = SCM_RIGHTS;
			h->cmsg_len = CMSG_LEN(sizeof fd);
			memcpy(CMSG_DATA(h), &fd, sizeof fd);
		}
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return went_away(c, e);
		b = str_skip(b, n > 0 ? (size_t)n : 0);
		fd = n > 0 ? -1 : fd;
	}
	return 0;
}

static void
take_descriptors(struct control *c, struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			if (c->passed >= 0)
				close(c->passed);
			memcpy(&c->passed, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
		}
	}
}

/* Waits for more bytes until the deadline. 0, or negative. */
static int
receive(struct control *c, uint64_t deadline, struct err *e)
{
	union {
		char mem[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct pollfd p = { c->fd, POLLIN, 0 };
	uint64_t now = clock_ms();
	struct iovec iov;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.mem,
		.msg_controllen = sizeof u.mem };
	ssize_t n;
	int r = poll(&p, 1, deadline > now ? (int)(deadline - now) : 0);

	if (r < 0 && errno == EINTR)
		return 0;
	if (r == 0)
		return err_set(e, -ETIMEDOUT, "%s did not answer in time", c->role);
	iov.iov_len = 65536;
	iov.iov_base = buf_room(&c->in, iov.iov_len);
	if (!iov.iov_base)
		return err_set(e, -EPROTO, "%s sent too much", c->role);
	n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n < 0 && errno == EINTR ? 0 : went_away(c, e);
	buf_grown(&c->in, (size_t)n);
	take_descriptors(c, &m);
	return 0;
}

/* The next answer frame to the request under way; others are passed over. Its
 * body stands in c->in: *ret_len bytes of it are to be consumed after. */
static int
next_answer(struct control *c, uint64_t timeout_ms, struct frame *ret, size_t *ret_len,
    struct err *e)
{
	uint64_t deadline = clock_ms() + timeout_ms;

	for (;;) {
		struct frame f = { .fd = -1 };
		ssize_t n = wire_parse(buf_view(&c->in), &f);
		int r;

		if (n < 0)
			return err_set(e, -EPROTO, "%s sent a damaged frame", c->role);
		if (n == 0) {
			r = receive(c, deadline, e);
			if (r)
				return r;
			continue;
		}
		f.fd = -1;
		if (f.flags & WIRE_FD) {
			f.fd = c->passed;
			c->passed = -1;
		}
		if (f.id == c->id && f.flags & WIRE_ANSWER) {
			*ret = f;
			*ret_len = (size_t)n;
			return 0;
		}
		if (f.fd >= 0)
			close(f.fd);
		buf_consume(&c->in, (size_t)n);
	}
}

static int
request(struct control *c, uint16_t type, const struct buf *fields, int fd, struct err *e)
{
	struct str body = fields ? buf_view(fields) : STR_NULL;
	char head[WIRE_HEAD];
	int r;

	if (body.n > WIRE_MAX - WIRE_HEAD)
		return err_set(e, -EMSGSIZE, "the request is too large");
	wire_head(head, type, fd >= 0 ? WIRE_FD : 0, ++c->id, body.n);
	r = send_all(c, str_from(head, sizeof head), fd, e);
	return r ? r : send_all(c, body, -1, e);
}

/* The daemon's refusal as an err. */
static int
refused(struct control *c, struct str body, struct err *e)
{
	struct wire_error we = { 0 };

	if (wire_error_get(body, &we) || we.code >= 0)
		return err_set(e, -EPROTO, "%s sent a damaged error", c->role);
	if (we.text.n)
		return err_set(e, we.code, "%.*s", STR_ARG(we.text));
	return err_sys(e, we.code, "%s refused", c->role);
}

int
control_call(struct control *c, uint16_t type, const struct buf *fields, int fd,
    uint64_t timeout_ms, struct arena *a, struct frame *ret, struct err *e)
{
	struct frame f;
	size_t len;
	int r = request(c, type, fields, fd, e);

	if (r == 0)
		r = next_answer(c, timeout_ms, &f, &len, e);
	if (r)
		return r;
	if (f.flags & WIRE_ERROR) {
		r = refused(c, f.body, e);
	} else if (f.body.n) {
		f.body = arena_dup(a, f.body);
		if (!f.body.p)
			r = err_set(e, -ENOMEM, "out of memory");
	}
	if (r && f.fd >= 0)
		close(f.fd);
	buf_consume(&c->in, len);
	if (r == 0)
		*ret = f;
	return r;
}

static bool
has_more(struct str body)
{
	struct wire_field f;

	while (wire_next(&body, &f) > 0)
		if (f.tag == CONTROL_MORE)
			return true;
	return false;
}

int
control_stream(struct control *c, uint16_t type, const struct buf *fields, uint64_t timeout_ms,
    int (*part)(void *arg, struct frame *f), void *arg, struct err *e)
{
	int r = request(c, type, fields, -1, e);

	for (bool more = true; r == 0 && more;) {
		struct frame f;
		size_t len;

		r = next_answer(c, timeout_ms, &f, &len, e);
		if (r)
			return r;
		if (f.flags & WIRE_ERROR) {
			if (f.fd >= 0)
				close(f.fd);
			return refused(c, f.body, e);
		}
		more = has_more(f.body);
		r = part(arg, &f);
		if (r)
			err_sys(e, r, "%s: the answer could not be used", c->role);
		buf_consume(&c->in, len);
	}
	return r;
}

int
control_ask(const struct settings *s, enum role r, unsigned n, uint16_t type,
    const struct buf *fields, struct arena *a, struct frame *ret, struct err *e)
{
	struct control *c = NULL;
	int code = control_open(s, r, n, &c, e);

	if (code == 0)
		code = control_call(c, type, fields, -1, 60000, a, ret, e);
	control_close(&c);
	return code;
}
