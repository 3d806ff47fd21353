/* A daemon and its peers; see play.h. */
#include "tests/mta/play.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const struct timeval patience = { 20, 0 };

void
play_send(int to, uint16_t type, uint8_t flags, uint64_t id, const struct buf *b, int fd)
{
	char head[WIRE_HEAD], control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec iov[2] = { { head, sizeof head }, { b ? b->p : NULL, b ? b->n : 0 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	wire_head(head, type, (uint8_t)(flags | (fd >= 0 ? WIRE_FD : 0)), id, iov[1].iov_len);
	if (fd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof control;
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof fd);
	}
	assert_int_equal(sendmsg(to, &m, MSG_NOSIGNAL), sizeof head + iov[1].iov_len);
	if (fd >= 0)
		close(fd);
}

static void
read_full(int fd, char *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, p + got, n - got);

		assert_true(r > 0);
		got += (size_t)r;
	}
}

struct frame
play_read(struct play *p, int from)
{
	struct frame f = { .fd = -1 };
	char head[WIRE_HEAD], *whole;
	size_t n;

	read_full(from, head, sizeof head);
	n = le32_get(head) + 4;
	assert_true(n >= WIRE_HEAD && n <= WIRE_MAX);
	whole = arena_alloc(p->arena, n);
	assert_non_null(whole);
	memcpy(whole, head, sizeof head);
	read_full(from, whole + WIRE_HEAD, n - WIRE_HEAD);
	assert_int_equal(wire_parse(str_from(whole, n), &f), n);
	return f;
}

struct frame
play_call(struct play *p, int fd, uint16_t type, struct buf *b)
{
	static uint64_t id;
	struct frame f;

	play_send(fd, type, 0, ++id, b, -1);
	buf_done(b);
	do
		f = play_read(p, fd);
	while (f.id != id);
	return f;
}

/* ---- setting up ---- */

static void
pair(int sv[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

static void
send_self(struct play *p, const unsigned char *key, const enum role *roles)
{
	struct buf b = { 0 };

	wire_u64(&b, SU_INSTANCE, 0);
	wire_u64(&b, SU_NUMBER, 1);
	wire_str(&b, SU_KEY, str_from(key, SETUP_KEY));
	for (; *roles != ROLE_MAX; roles++) {
		size_t at = wire_begin(&b, SU_ROLES);

		wire_u64(&b, SU_ROLE, *roles);
		wire_u64(&b, SU_COUNT, 1);
		wire_end(&b, at);
	}
	play_send(p->master, SETUP_SELF, 0, 0, &b, -1);
	buf_done(&b);
}

void
play_start(struct play *p, const char *program, const unsigned char key[SETUP_KEY],
    const enum role *roles)
{
	int sv[2];

	p->arena = arena_new(0);
	assert_non_null(p->arena);
	pair(sv);
	p->pid = fork();
	if (!p->pid) {
		dup2(sv[1], SETUP_FD);
		execl(program, strrchr(program, '/') + 1, (char *)NULL);
		_exit(127);
	}
	assert_true(p->pid > 0);
	close(sv[1]);
	p->master = sv[0];
	send_self(p, key, roles);
}

void
play_config(struct play *p, const char *text)
{
	struct buf b = { 0 };

	wire_str(&b, SU_TEXT, str_c(text));
	play_send(p->master, SETUP_CONFIG, 0, 0, &b, -1);
	buf_done(&b);
}

int
play_channel(struct play *p, uint16_t type, enum role role, uint64_t number)
{
	struct buf b = { 0 };
	int sv[2];

	pair(sv);
	wire_u64(&b, SU_ROLE, role);
	wire_u64(&b, SU_INSTANCE, 0);
	wire_u64(&b, SU_NUMBER, number);
	play_send(p->master, type, 0, 0, &b, sv[1]);
	buf_done(&b);
	return sv[0];
}

bool
play_go(struct play *p)
{
	play_send(p->master, SETUP_GO, 0, 0, NULL, -1);
	return play_read(p, p->master).type == SETUP_READY;
}

int
play_stop(struct play *p)
{
	int status;

	play_send(p->master, SETUP_STOP, 0, 0, NULL, -1);
	waitpid(p->pid, &status, 0);
	close(p->master);
	arena_free(&p->arena);
	return status;
}
