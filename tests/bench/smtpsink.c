/*
 * smtpsink - an SMTP server that takes everything and keeps nothing, one thread.
 *
 *   smtpsink COUNTER PORT HOST...
 *
 * COUNTER is a file that gets the number of recipients taken so far, a native uint64 in
 * a shared mapping. Only loopback addresses are listened on. Ends by a signal.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct session {
	int fd;
	bool listens;           /* a listener, no session */
	bool text;              /* within a message */
	bool line_start;        /* of the text */
	unsigned rcpts;
	size_t n, out_n;
	char in[65536], out[8192];
};

static volatile uint64_t *taken;

static bool
say(struct session *s, const char *reply)
{
	size_t n = strlen(reply);

	if (s->out_n + n > sizeof s->out)
		return false;
	memcpy(s->out + s->out_n, reply, n);
	s->out_n += n;
	return true;
}

/* A command line: false ends the session. */
static bool
command(struct session *s, const char *line)
{
	if (!strncasecmp(line, "EHLO", 4))
		return say(s, "250-sink.example.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n");
	if (!strncasecmp(line, "QUIT", 4))
		return false;
	if (!strncasecmp(line, "DATA", 4)) {
		s->text = s->line_start = true;
		return say(s, "354 go\r\n");
	}
	if (!strncasecmp(line, "MAIL", 4) || !strncasecmp(line, "RSET", 4))
		s->rcpts = 0;
	else if (!strncasecmp(line, "RCPT", 4))
		s->rcpts++;
	return say(s, "250 2.0.0 ok\r\n");
}

static bool
end_of_text(struct session *s)
{
	*taken += s->rcpts;
	s->rcpts = 0;
	s->text = false;
	return say(s, "250 2.0.0 taken\r\n");
}

/* Takes the complete lines that are there. */
static bool
lines(struct session *s)
{
	char *p = s->in, *end = s->in + s->n, *lf;

	while ((lf = memchr(p, '\n', (size_t)(end - p)))) {
		if (!s->text) {
			if (!command(s, p))
				return false;
		} else if (s->line_start && p[0] == '.' && lf - p <= 2) {
			if (!end_of_text(s))
				return false;
		} else {
			s->line_start = true;
		}
		p = lf + 1;
	}
	s->n = (size_t)(end - p);
	memmove(s->in, p, s->n);
	if (s->n == sizeof s->in) { /* the middle of a long line */
		s->n = 0;
		s->line_start = false;
		return s->text;
	}
	return true;
}

static bool
serve(struct session *s)
{
	ssize_t n = read(s->fd, s->in + s->n, sizeof s->in - s->n);
	bool go;

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	s->n += (size_t)n;
	go = lines(s);
	if (s->out_n && write(s->fd, s->out, s->out_n) != (ssize_t)s->out_n)
		return false;
	s->out_n = 0;
	return go;
}

static void
take_connections(int epoll, int listener)
{
	static const char greeting[] = "220 sink.example.test ESMTP\r\n";
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct session *s = calloc(1, sizeof *s);
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };

		if (!s || write(fd, greeting, sizeof greeting - 1) < 0) {
			close(fd);
			free(s);
			continue;
		}
		s->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
	}
}

static int
make_counter(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	void *p;

	if (fd < 0 || ftruncate(fd, sizeof *taken))
		return -1;
	p = mmap(NULL, sizeof *taken, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	taken = p;
	return p == MAP_FAILED ? -1 : 0;
}

static int
make_listener(const char *host, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || ntohl(a.sin_addr.s_addr) >> 24 != 127) {
		fprintf(stderr, "smtpsink: %s is no loopback address\n", host);
		exit(2);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	return bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096) ? -1 : fd;
}

static int
listen_on(int epoll, const char *host, const char *port)
{
	struct session *s = calloc(1, sizeof *s);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };

	if (!s)
		return -1;
	s->listens = true;
	s->fd = make_listener(host, port);
	return s->fd < 0 ? -1 : epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &e);
}

int
main(int argc, char **argv)
{
	struct epoll_event ev[64];
	int epoll = epoll_create1(0);

	if (argc < 4) {
		fprintf(stderr, "usage: smtpsink COUNTER PORT HOST...\n");
		return 2;
	}
	for (int i = 3; i < argc; i++)
		if (listen_on(epoll, argv[i], argv[2])) {
			perror("smtpsink");
			return 1;
		}
	if (epoll < 0 || make_counter(argv[1])) {
		perror("smtpsink");
		return 1;
	}
	for (;;) {
		int n = epoll_wait(epoll, ev, 64, -1);

		for (int i = 0; i < n; i++) {
			struct session *s = ev[i].data.ptr;

			if (s->listens) {
				take_connections(epoll, s->fd);
			} else if (!serve(s)) {
				close(s->fd);
				free(s);
			}
		}
	}
}
