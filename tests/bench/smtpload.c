/*
 * smtpload - drives an SMTP server with many sessions from one thread.
 *
 *   smtpload [options] HOST PORT
 *
 *   -s N    sessions at once                 (20)
 *   -m N    messages in all                  (1000)
 *   -d S    begins no message after S seconds (60)
 *   -k N    messages a connection, 0: all    (0)
 *   -l N    bytes of a message               (10240)
 *   -r N    recipients of a message          (1)
 *   -u N    recipients are spread over users 1..N of -t        (100)
 *   -t FMT  a recipient, one %d for the user (user%d@example.test)
 *   -f ADDR the sender                       (sender@example.org)
 *   -P      MAIL, RCPT and DATA in one write
 *   -T S    give up after S seconds          (120)
 *
 * Only loopback addresses are taken. A session walks through the states of enum
 * state; each complete reply moves it one on (step). The result is one line of
 * JSON: what was accepted in which time, and how long the reply to the final dot
 * took (from the write of the dot to the reply, p50 and p99).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINE_WIDTH 74
#define FAILURES_MAX 1000

enum state { GREETING, HELLO, MAIL, RCPT, DATA, CONTENT, RESET, QUIT };

struct session {
	int fd;
	enum state state;
	long id;                /* of the message under way */
	int messages;           /* of this connection */
	int rcpts;              /* named so far */
	int pipelined;          /* replies due before that of DATA */
	bool refused;
	bool writable;          /* EPOLLOUT is asked for */
	double dot;             /* when the final dot was written */
	char in[4096];
	size_t in_len;
	char *out;
	size_t out_len, out_pos, out_cap;
};

static struct {
	int sessions, per_connection, size, rcpts, users;
	bool pipeline;
	const char *pattern, *sender;
	double limit, duration;
	struct sockaddr_in to;
} opt = { 20, 0, 10240, 1, 100, false, "user%d@example.test", "sender@example.org", 120, 60, { 0 } };

static struct {
	int epoll, live;
	long total, begun, accepted, refused, failures;
	double start, last, end; /* end: no message begins later */
	char *body;
	double *dot_times;
} run = { .total = 1000 };

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
put(struct session *s, const char *p, size_t n)
{
	if (s->out_len + n > s->out_cap) {
		s->out_cap = (s->out_len + n) * 2;
		s->out = realloc(s->out, s->out_cap);
		if (!s->out)
			abort();
	}
	memcpy(s->out + s->out_len, p, n);
	s->out_len += n;
}

static void
put_text(struct session *s, const char *text)
{
	put(s, text, strlen(text));
}

static void
put_address(struct session *s, const char *verb, const char *address)
{
	char line[600];

	snprintf(line, sizeof line, "%s:<%s>\r\n", verb, address);
	put_text(s, line);
}

static void
put_rcpt(struct session *s)
{
	char address[512];
	int user = (int)((s->id * opt.rcpts + s->rcpts++) % opt.users) + 1;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(address, sizeof address, opt.pattern, user);
#pragma GCC diagnostic pop
	put_address(s, "RCPT TO", address);
}

/* The content: a header that no other message has, then as much text as fits. */
static void
put_content(struct session *s)
{
	char head[1024];
	int n = snprintf(head, sizeof head,
	    "From: Sender <%s>\r\nTo: user@example.test\r\nSubject: load test message %ld\r\n"
	    "Date: Tue, 24 Nov 2026 07:00:00 +0000\r\nMessage-ID: <%ld.%ld@load.test>\r\n\r\n",
	    opt.sender, s->id, s->id, (long)(run.start * 1e6));

	put(s, head, (size_t)n);
	if (opt.size > n)
		put(s, run.body + n, (size_t)(opt.size - n));
	put_text(s, "\r\n.\r\n");
	s->dot = now();
}

static int
want_write(struct session *s, bool on)
{
	struct epoll_event e = { .events = EPOLLIN | (on ? EPOLLOUT : 0u), .data.ptr = s };

	if (s->writable == on)
		return 0;
	s->writable = on;
	return epoll_ctl(run.epoll, EPOLL_CTL_MOD, s->fd, &e);
}

static int
flush(struct session *s)
{
	while (s->out_pos < s->out_len) {
		ssize_t n = write(s->fd, s->out + s->out_pos, s->out_len - s->out_pos);

		if (n < 0)
			return errno == EAGAIN ? want_write(s, true) : -1;
		s->out_pos += (size_t)n;
	}
	s->out_pos = s->out_len = 0;
	return want_write(s, false);
}

static int
connect_session(struct session *s)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };
	int one = 1;

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -1;
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	s->in_len = s->out_len = s->out_pos = 0;
	s->messages = 0;
	s->writable = false;
	s->state = GREETING;
	if ((connect(s->fd, (struct sockaddr *)&opt.to, sizeof opt.to) < 0 && errno != EINPROGRESS) ||
	    epoll_ctl(run.epoll, EPOLL_CTL_ADD, s->fd, &e) < 0) {
		close(s->fd);
		s->fd = -1;
		return -1;
	}
	run.live++;
	return 0;
}

static bool
more_to_send(void)
{
	return run.begun < run.total && now() < run.end;
}

/* Begins the next message, or says goodbye when none is left for this connection. */
static void
next_message(struct session *s)
{
	if (!more_to_send() ||
	    (opt.per_connection > 0 && s->messages >= opt.per_connection)) {
		put_text(s, "QUIT\r\n");
		s->state = QUIT;
		return;
	}
	s->id = run.begun++;
	s->messages++;
	s->rcpts = s->pipelined = 0;
	s->refused = false;
	put_address(s, "MAIL FROM", opt.sender);
	s->state = MAIL;
	if (!opt.pipeline)
		return;
	while (s->rcpts < opt.rcpts)
		put_rcpt(s);
	put_text(s, "DATA\r\n");
	s->pipelined = 1 + opt.rcpts;
}

static void
give_up_message(struct session *s)
{
	put_text(s, "RSET\r\n");
	s->state = RESET;
}

static void
mail_or_rcpt(struct session *s, bool ok)
{
	if (!ok)
		s->refused = true;
	if (opt.pipeline) {
		if (--s->pipelined == 0)
			s->state = DATA;
	} else if (!ok) {
		give_up_message(s);
	} else if (s->rcpts < opt.rcpts) {
		put_rcpt(s);
		s->state = RCPT;
	} else {
		put_text(s, "DATA\r\n");
		s->state = DATA;
	}
}

static void
content_done(struct session *s, bool ok)
{
	if (ok) {
		run.last = now();
		run.dot_times[run.accepted++] = run.last - s->dot;
	} else {
		run.refused++;
	}
	next_message(s);
}

/* A complete reply: the session goes on to what comes next. False: it is over. */
static bool
step(struct session *s, const char *line)
{
	bool ok = line[0] == '2' || line[0] == '3';

	if (!ok && getenv("SMTPLOAD_DEBUG"))
		fprintf(stderr, "state %d: %s\n", s->state, line);
	switch (s->state) {
	case GREETING:
		put_text(s, "EHLO load.test\r\n");
		s->state = HELLO;
		return ok;
	case HELLO:
		next_message(s);
		return ok;
	case MAIL:
	case RCPT:
		mail_or_rcpt(s, ok);
		return true;
	case DATA:
		if (ok) {
			put_content(s);
			s->state = CONTENT;
		} else {
			give_up_message(s);
		}
		return true;
	case CONTENT:
		content_done(s, ok);
		return true;
	case RESET:
		run.refused++;
		next_message(s);
		return true;
	case QUIT:
		break;
	}
	return false;
}

static void
close_session(struct session *s)
{
	if (s->state != QUIT)
		run.failures++;
	if (s->state >= MAIL && s->state <= CONTENT)
		run.refused++;
	close(s->fd);
	s->fd = -1;
	run.live--;
	if (more_to_send() && run.failures < FAILURES_MAX && connect_session(s) < 0)
		run.failures++;
}

/* Takes the complete lines of what has arrived. False: the session is over. */
static bool
take_lines(struct session *s)
{
	char *p = s->in, *end = s->in + s->in_len, *nl;

	while ((nl = memchr(p, '\n', (size_t)(end - p)))) {
		*nl = '\0';
		if (nl - p >= 4 && p[3] != '-' && !step(s, p))
			return false;
		p = nl + 1;
	}
	s->in_len = (size_t)(end - p);
	memmove(s->in, p, s->in_len);
	return s->in_len < sizeof s->in;
}

static void
on_event(struct session *s, unsigned events)
{
	ssize_t n;

	if ((events & EPOLLOUT) && flush(s) < 0) {
		close_session(s);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = read(s->fd, s->in + s->in_len, sizeof s->in - s->in_len);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0)
		s->in_len += (size_t)n;
	if (n <= 0 || !take_lines(s) || flush(s) < 0)
		close_session(s);
}

static void
drive(void)
{
	struct session *all = calloc((size_t)opt.sessions, sizeof *all);
	struct epoll_event events[256];

	if (!all)
		abort();
	for (int i = 0; i < opt.sessions; i++)
		if (connect_session(&all[i]) < 0)
			run.failures++;
	while (run.live > 0 && (run.accepted + run.refused < run.begun || more_to_send()) &&
	    now() - run.start < opt.limit) {
		int n = epoll_wait(run.epoll, events, 256, 1000);

		for (int i = 0; i < n; i++) {
			struct session *s = events[i].data.ptr;

			if (s->fd >= 0)
				on_event(s, events[i].events);
		}
	}
	for (int i = 0; i < opt.sessions; i++)
		free(all[i].out);
	free(all);
}

static void
make_body(void)
{
	unsigned x = 12345;

	run.body = malloc((size_t)opt.size + 1);
	if (!run.body)
		abort();
	for (int i = 0; i < opt.size; i++) {
		int column = i % LINE_WIDTH;

		x = x * 1103515245 + 12345;
		if (column == LINE_WIDTH - 2)
			run.body[i] = '\r';
		else if (column == LINE_WIDTH - 1)
			run.body[i] = '\n';
		else
			run.body[i] = (char)((x >> 16) % 6 == 0 && column ? ' ' : 'a' + (x >> 16) % 26);
	}
	if (opt.size > 0 && run.body[opt.size - 1] == '\r')
		run.body[opt.size - 1] = 'x';
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
percentile(int p)
{
	return run.accepted > 0 ? run.dot_times[run.accepted * p / 100] * 1e3 : 0;
}

static void
print_result(void)
{
	double seconds = run.accepted > 0 ? run.last - run.start : 0;
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	qsort(run.dot_times, (size_t)run.accepted, sizeof *run.dot_times, compare);
	printf("{\"accepted\": %ld, \"refused\": %ld, \"failures\": %ld, \"seconds\": %.4f, "
	       "\"per_second\": %.1f, \"dot_p50_ms\": %.3f, \"dot_p99_ms\": %.3f, \"cpu\": %.3f}\n",
	    run.accepted, run.refused, run.failures, seconds,
	    seconds > 0 ? (double)run.accepted / seconds : 0, percentile(50), percentile(99),
	    (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	        (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

static int
usage(void)
{
	fprintf(stderr, "usage: smtpload [options] HOST PORT (see the head of smtpload.c)\n");
	return 2;
}

static bool
read_options(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "s:m:d:k:l:r:u:t:f:PT:")) != -1) {
		switch (o) {
		case 's': opt.sessions = atoi(optarg); break;
		case 'm': run.total = atol(optarg); break;
		case 'd': opt.duration = atof(optarg); break;
		case 'k': opt.per_connection = atoi(optarg); break;
		case 'l': opt.size = atoi(optarg); break;
		case 'r': opt.rcpts = atoi(optarg); break;
		case 'u': opt.users = atoi(optarg); break;
		case 't': opt.pattern = optarg; break;
		case 'f': opt.sender = optarg; break;
		case 'P': opt.pipeline = true; break;
		case 'T': opt.limit = atof(optarg); break;
		default: return false;
		}
	}
	if (argc - optind != 2 || opt.sessions < 1 || opt.users < 1 || opt.size < 0 || run.total < 1)
		return false;
	opt.to.sin_family = AF_INET;
	opt.to.sin_port = htons((unsigned short)atoi(argv[optind + 1]));
	return inet_pton(AF_INET, argv[optind], &opt.to.sin_addr) == 1 &&
	    ntohl(opt.to.sin_addr.s_addr) >> 24 == 127;
}

int
main(int argc, char **argv)
{
	if (!read_options(argc, argv))
		return usage();
	signal(SIGPIPE, SIG_IGN);
	make_body();
	run.dot_times = calloc((size_t)run.total + 1, sizeof *run.dot_times);
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!run.dot_times || run.epoll < 0)
		abort();
	run.start = now();
	run.end = run.start + opt.duration;
	drive();
	print_result();
	return run.accepted && run.accepted == run.begun ? 0 : 1;
}
