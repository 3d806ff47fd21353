/*
 * The master's listening sockets: those of the config, kept open while programs
 * come and go, and the control sockets of run_dir.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/client/control.h"
#include "mta/master_private.h"

#define BACKLOG 1024

enum role
listen_role(enum conf_proto proto)
{
	switch (proto) {
	case CONF_SMTP:
	case CONF_SUBMISSION:
	case CONF_LMTP:
		return ROLE_SMTPD;
	case CONF_IMAP:
		return ROLE_IMAPD;
	case CONF_POP3:
		return ROLE_POP3D;
	case CONF_SIEVE:
		return ROLE_SIEVED;
	case CONF_HTTP:
		return ROLE_JMAPD;
	}
	return ROLE_MAX;
}

static socklen_t
socket_address(const char *address, unsigned port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof *ret);
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return sizeof *v4;
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		return sizeof *v6;
	}
	return 0;
}

static int
open_one(struct master_listener *l, struct err *e)
{
	struct sockaddr_storage a;
	socklen_t n = socket_address(l->address, l->port, &a);
	int one = 1;

	if (!n)
		return err_set(e, -EINVAL, "listen %s: '%s' is not an IP address", l->name, l->address);
	l->fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_sys(e, -errno, "listen %s: cannot make a socket for %s", l->name, l->address);
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (a.ss_family == AF_INET6) {
		/* "::" alone means both families; a listener for 0.0.0.0 beside it is its own */
		int v6only = strcmp(l->address, "::") != 0;

		setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
	}
	if (bind(l->fd, (struct sockaddr *)&a, n) < 0 || listen(l->fd, BACKLOG) < 0) {
		int code = -errno;

		close(l->fd);
		l->fd = -1;
		if (code == -EADDRINUSE)
			return err_set(e, code, "listen %s: port %u of %s is taken by another program",
			    l->name, l->port, l->address);
		return err_sys(e, code, "listen %s: cannot listen on %s port %u", l->name, l->address,
		    l->port);
	}
	return 0;
}

static struct master_listener *
find(const struct master_listener *n)
{
	for (size_t i = 0; i < master.n_listeners; i++) {
		struct master_listener *l = &master.listeners[i];

		if (!strcmp(l->name, n->name) && !strcmp(l->address, n->address) && l->port == n->port)
			return l;
	}
	return NULL;
}

static bool
same_options(const struct conf_listen *a, const struct conf_listen *b)
{
	return a->proto == b->proto && a->tls == b->tls && a->auth == b->auth &&
	    a->plaintext_auth == b->plaintext_auth && a->proxy == b->proxy;
}

/* Which plugins it names, in which order. */
static uint64_t
plugins_of(const struct conf_listen *c)
{
	uint64_t digest = c->n_plugins;

	for (size_t i = 0; i < c->n_plugins; i++)
		digest = digest * 31 + str_ihash(c->plugins[i]);
	return digest;
}

static struct master_listener
listener_of(const struct conf_listen *c)
{
	struct master_listener n = { .port = c->port, .fd = -1, .keep = true, .fresh = true,
		.options = *c, .role = listen_role(c->proto), .plugins = plugins_of(c) };

	snprintf(n.name, sizeof n.name, "%.*s", STR_ARG(c->name));
	snprintf(n.address, sizeof n.address, "%.*s", STR_ARG(c->address));
	return n;
}

/* Keeps the listener that is open already, or opens it. */
static int
listener_open(const struct conf_listen *c, struct err *e)
{
	struct master_listener n = listener_of(c), *l = find(&n);

	if (l) {
		l->keep = true;
		l->role = n.role;
		l->changed = !same_options(&l->options, c) || l->plugins != n.plugins;
		return 0;
	}
	if (master.n_listeners == MASTER_LISTENERS)
		return err_set(e, -E2BIG, "more than %d listeners", MASTER_LISTENERS);
	if (open_one(&n, e))
		return e->code;
	master.listeners[master.n_listeners++] = n;
	return 0;
}

/* A config that cannot be had: what it opened is closed, and all else stays. */
static void
take_back(void)
{
	for (size_t i = 0; i < master.n_listeners; i++) {
		struct master_listener *l = &master.listeners[i];

		l->keep = !l->fresh;
		l->changed = false;
	}
	listeners_close_unkept();
}

int
listeners_open(const struct settings *s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < master.n_listeners; i++) {
		struct master_listener *l = &master.listeners[i];

		l->keep = l->fresh = l->changed = false;
	}
	for (size_t i = 0; i < s->n_listen && !r; i++)
		r = listener_open(&s->listen[i], e);
	if (r) {
		take_back();
		return r;
	}
	for (size_t i = 0; i < s->n_listen; i++) {
		struct master_listener n = listener_of(&s->listen[i]);

		find(&n)->options = s->listen[i];
		find(&n)->plugins = n.plugins;
	}
	return 0;
}

void
listeners_close_unkept(void)
{
	size_t n = 0;

	for (size_t i = 0; i < master.n_listeners; i++) {
		if (master.listeners[i].keep)
			master.listeners[n++] = master.listeners[i];
		else
			close(master.listeners[i].fd);
	}
	master.n_listeners = n;
}

int
control_socket(const struct settings *s, enum role r, unsigned n, struct err *e)
{
	struct arena *a = arena_new(0);
	const char *path = control_path(s, r, n, a);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	mode_t old;
	int fd, code = 0;

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(path);
	old = umask(0177);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof un) < 0 || listen(fd, 64) < 0)
		code = err_sys(e, -errno, "cannot make the control socket %s", path);
	umask(old);
	arena_free(&a);
	if (!code)
		return fd;
	if (fd >= 0)
		close(fd);
	return code;
}
