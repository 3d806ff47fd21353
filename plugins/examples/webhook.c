/*
 * Web hook: tells a web server of every message, and does what its answer says: 200 go on,
 * 403 refuse, anything else try later. Plain HTTP, to a machine that is trusted.
 *
 *	plugin webhook {
 *		file "webhook.so"
 *		grant network
 *		sandbox net
 *		host 127.0.0.1
 *		port 8080
 *		path /mail
 *	}
 */
#include <posthorn/plugin.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct webhook {
	struct sockaddr_in to;
	struct ph_str host, path;
};

/* Waits until fd is ready, not longer than the call may take. */
static int
wait_for(struct ph_call *c, int fd, short what)
{
	struct pollfd p = { fd, what, 0 };
	uint64_t left = ph_number(c, PH_DEADLINE_MS);

	return poll(&p, 1, left > 100 ? (int)(left - 100) : 0) == 1 ? 0 : -1;
}

static int
connected(struct ph_call *c, const struct webhook *w)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = 0;
	socklen_t n = sizeof error;

	if (fd < 0)
		return -1;
	if (!connect(fd, (const struct sockaddr *)&w->to, sizeof w->to))
		return fd;
	if (errno == EINPROGRESS && !wait_for(c, fd, POLLOUT) &&
	    !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) && !error)
		return fd;
	close(fd);
	return -1;
}

static int
send_all(struct ph_call *c, int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent > 0) {
			p += sent;
			n -= (size_t)sent;
		} else if (errno != EAGAIN || wait_for(c, fd, POLLOUT)) {
			return -1;
		}
	}
	return 0;
}

/* The status of the answer, or -1. */
static int
status(struct ph_call *c, int fd)
{
	char line[16] = "";
	size_t n = 0;

	while (n < 12 && !wait_for(c, fd, POLLIN)) {
		ssize_t got = recv(fd, line + n, 12 - n, 0);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	return n == 12 && !memcmp(line, "HTTP/1.", 7) ? atoi(line + 9) : -1;
}

static char *
request(struct ph_call *c, const struct webhook *w)
{
	struct ph_str from = ph_text(c, PH_SENDER), id = ph_text(c, PH_TRANSACTION);
	size_t room = w->host.n + w->path.n + 2 * from.n + id.n + 400;
	char *text = ph_alloc(c, room), body[64];

	snprintf(body, sizeof body, "%llu\n", (unsigned long long)ph_number(c, PH_SIZE));
	if (text)
		snprintf(text, room, "POST %.*s HTTP/1.0\r\nHost: %.*s\r\nX-Mail-From: %.*s\r\nX-Mail-Id: %.*s\r\n"
		    "X-Mail-Recipients: %u\r\nContent-Type: text/plain\r\nContent-Length: %u\r\n\r\n%s",
		    PH_ARG(w->path), PH_ARG(w->host), PH_ARG(from), PH_ARG(id),
		    (unsigned)ph_number(c, PH_RCPTS), (unsigned)strlen(body), body);
	return text;
}

static enum ph_action
message(struct ph_call *c)
{
	const struct webhook *w = ph_self(c);
	char *text = request(c, w);
	int fd = text ? connected(c, w) : -1, code = -1;

	if (fd >= 0 && !send_all(c, fd, text, strlen(text)))
		code = status(c, fd);
	if (fd >= 0)
		close(fd);
	if (code == 403)
		ph_reply(c, 550, "5.7.1", ph_c("Refused by the site's policy"));
	return code == 200 ? PH_CONTINUE : code == 403 ? PH_REJECT : PH_TEMPFAIL;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct webhook *w = calloc(1, sizeof *w);

	if (!w)
		return -1;
	w->host = ph_option_text(conf, "host");
	w->path = ph_option_text(conf, "path");
	w->to.sin_family = AF_INET;
	w->to.sin_port = htons((uint16_t)ph_option_number(conf, "port"));
	if (inet_pton(AF_INET, w->host.p, &w->to.sin_addr) != 1)
		ph_conf_error(conf, "host", "an IPv4 address is needed");
	*self = w;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "host", .type = PH_OPT_TEXT, .preset = "127.0.0.1", .help = "The server's address." },
	{ .name = "port", .type = PH_OPT_NUMBER, .preset = "80", .min = 1, .max = 65535, .help = "Its port." },
	{ .name = "path", .type = PH_OPT_TEXT, .preset = "/", .help = "The path that is asked for." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("webhook", "1.0"),
	.license = "MIT",
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_NET,
	.options = options,
	.init = init,
	.fini = free,
	.message = message,
};
PH_PLUGIN(plugin)
