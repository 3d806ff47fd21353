/* Packets, negotiation and answers of the milter protocol; see wire.h. */
#include "plugins/milter/wire.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"

#define MACROS_MAX 4096 /* bytes of names for one stage */

/* ---- packets ---- */

static uint32_t
be32(const char *p)
{
	const unsigned char *q = (const unsigned char *)p;

	return (uint32_t)q[0] << 24 | (uint32_t)q[1] << 16 | (uint32_t)q[2] << 8 | q[3];
}

static void
put_be32(char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (char)(v >> (24 - 8 * i));
}

static void
buf_be32(struct buf *b, uint32_t v)
{
	char p[4];

	put_be32(p, v);
	buf_put(b, p, sizeof p);
}

size_t
milter_begin(struct buf *b, char command)
{
	size_t at = b->n;

	buf_be32(b, 0);
	buf_putc(b, command);
	return at;
}

void
milter_end(struct buf *b, size_t at)
{
	if (!b->over)
		put_be32(b->p + at, (uint32_t)(b->n - at - 4));
}

void
milter_put_string(struct buf *b, struct str s)
{
	while (s.n) {
		ptrdiff_t i = str_chr(s, '\0');

		buf_str(b, i < 0 ? s : str_head(s, (size_t)i));
		if (i < 0)
			break;
		buf_putc(b, '?');
		s = str_skip(s, (size_t)i + 1);
	}
	buf_putc(b, '\0');
}

/* The next string of *data, without its NUL. False: there is none that ends. */
static bool
take_string(struct str *data, struct str *ret)
{
	ptrdiff_t i = str_chr(*data, '\0');

	if (i < 0)
		return false;
	*ret = str_head(*data, (size_t)i);
	*data = str_skip(*data, (size_t)i + 1);
	return true;
}

/* ---- negotiation ---- */

/* What older versions know. */
static const struct version {
	uint32_t version, actions, protocol;
} versions[] = {
	{ 2, 0x3f, 0x7f }, { 3, 0x3f, 0x17f }, { 4, 0x3f, 0x37f }, { 5, 0x3f, 0x37f },
};

void
milter_terms_limit(struct milter_terms *t, uint32_t version)
{
	t->version = version;
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
		if (versions[i].version == version) {
			t->actions &= versions[i].actions;
			t->protocol &= versions[i].protocol;
		}
}

void
milter_put_offer(struct buf *b, const struct milter_terms *t)
{
	size_t at = milter_begin(b, MC_NEGOTIATE);

	buf_be32(b, t->version);
	buf_be32(b, t->actions);
	buf_be32(b, t->protocol);
	milter_end(b, at);
}

static int
read_macros(struct str data, struct milter_terms *t, struct err *e)
{
	while (data.n) {
		struct str names;
		uint32_t stage;

		if (data.n < 5)
			return err_set(e, -EPROTO, "its list of macros is cut off");
		stage = be32(data.p);
		data = str_skip(data, 4);
		if (stage >= MILTER_STAGES || !take_string(&data, &names) || names.n > MACROS_MAX)
			return err_set(e, -EPROTO, "its list of macros cannot be");
		free(t->macros[stage]);
		t->macros[stage] = strndup(names.p, names.n);
		if (!t->macros[stage])
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

int
milter_terms_read(struct str data, const struct milter_terms *offer, struct milter_terms *ret,
    struct err *e)
{
	struct milter_terms t = { 0 };
	int r;

	if (data.n < 12)
		return err_set(e, -EPROTO, "its answer to the offer is cut off");
	t.version = be32(data.p);
	t.actions = be32(data.p + 4);
	t.protocol = be32(data.p + 8) & offer->protocol;
	if (t.version < 2 || t.version > MILTER_VERSION)
		return err_set(e, -EPROTO, "it speaks version %u of the protocol", (unsigned)t.version);
	if (t.actions & ~offer->actions)
		return err_set(e, -EPROTO, "it wants to do what the block's grants do not allow (0x%x)",
		    (unsigned)(t.actions & ~offer->actions));
	r = read_macros(str_skip(data, 12), &t, e);
	if (r)
		milter_terms_done(&t);
	else
		*ret = t;
	return r;
}

void
milter_terms_done(struct milter_terms *t)
{
	for (size_t i = 0; i < MILTER_STAGES; i++)
		free(t->macros[i]);
	*t = (struct milter_terms){ 0 };
}

/* ---- answers ---- */

enum shape { NOTHING, HEADER, INDEXED, ADDRESS, ADDRESS_ARGS, BYTES, TEXT, CODE };

static const struct kind {
	char command;
	enum milter_answer what;
	enum shape shape;
	uint32_t needs;
} kinds[] = {
	{ 'c', MR_CONTINUE, NOTHING, 0 },
	{ 'a', MR_ACCEPT, NOTHING, 0 },
	{ 'd', MR_DISCARD, NOTHING, 0 },
	{ 'r', MR_REJECT, NOTHING, 0 },
	{ 't', MR_TEMPFAIL, NOTHING, 0 },
	{ 's', MR_SKIP, NOTHING, 0 },
	{ 'p', MR_PROGRESS, NOTHING, 0 },
	{ 'y', MR_REPLY, CODE, 0 },
	{ 'h', MR_ADD_HEADER, HEADER, MA_ADD_HEADERS },
	{ 'i', MR_INSERT_HEADER, INDEXED, MA_ADD_HEADERS },
	{ 'm', MR_CHANGE_HEADER, INDEXED, MA_CHANGE_HEADERS },
	{ '+', MR_ADD_RCPT, ADDRESS, MA_ADD_RCPT },
	{ '2', MR_ADD_RCPT, ADDRESS_ARGS, MA_ADD_RCPT_ARGS },
	{ '-', MR_DEL_RCPT, ADDRESS, MA_DEL_RCPT },
	{ 'e', MR_SENDER, ADDRESS_ARGS, MA_SENDER },
	{ 'b', MR_BODY, BYTES, MA_BODY },
	{ 'q', MR_QUARANTINE, TEXT, MA_QUARANTINE },
};

static bool
read_header(struct str data, struct milter_reply *ret)
{
	return take_string(&data, &ret->name) && take_string(&data, &ret->value) && ret->name.n;
}

static bool
read_address(struct str data, bool args, struct milter_reply *ret)
{
	struct str s;

	if (!take_string(&data, &s))
		return false;
	s = str_trim(s);
	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		s = str_from(s.p + 1, s.n - 2);
	ret->value = s;
	return !args || !data.n || take_string(&data, &ret->args);
}

/* "5.7.1 " that fits the code, taken off *text. */
static void
take_enhanced(struct str *text, unsigned smtp, char ret[static 12])
{
	struct str rest = *text, word = str_word(&rest);
	unsigned class, subject, detail;
	char copy[12];
	int end = 0;

	if (!word.n || word.n >= sizeof copy)
		return;
	snprintf(copy, sizeof copy, "%.*s", STR_ARG(word));
	if (sscanf(copy, "%1u.%3u.%3u%n", &class, &subject, &detail, &end) != 3 ||
	    (size_t)end != word.n || class != smtp / 100)
		return;
	memcpy(ret, copy, sizeof copy);
	*text = str_trim(rest);
}

/* A percent sign is sent twice. Where it ends. */
static char *
undouble(char *p, const char *end)
{
	char *out = p;

	while (p < end) {
		if (*p == '%' && p + 1 < end && p[1] == '%')
			p++;
		*out++ = *p++;
	}
	return out;
}

/* "550", then a blank or '-', of each line. */
static bool
read_code(struct str line, unsigned *ret)
{
	uint32_t v;

	if (line.n < 3 || !str_u32(str_head(line, 3), 599, &v) || v < 400)
		return false;
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return false;
	*ret = v;
	return true;
}

/* Lines become one, where they stand: the code of the first, the text of all. */
static bool
read_reply(char *data, size_t n, struct milter_reply *ret)
{
	struct str rest = str_from(data, n), line;
	char enhanced[12], *out = data;
	unsigned code;

	if (!n || data[n - 1] || strlen(data) != n - 1)
		return false;
	rest.n--;
	while (rest.p) {
		line = str_trim(str_cut(&rest, '\n'));
		if (!line.n && out > data)
			continue;
		if (!read_code(line, &code) || (out > data && code != ret->smtp))
			return false;
		ret->smtp = code;
		line = str_trim(str_skip(line, 4));
		enhanced[0] = '\0';
		take_enhanced(&line, code, enhanced);
		if (!ret->enhanced[0])
			memcpy(ret->enhanced, enhanced, sizeof enhanced);
		if (line.n)
			memmove(out, line.p, line.n);
		out = undouble(out, out + line.n);
		*out++ = ' '; /* where code and blank, or code and line end, stood */
	}
	ret->text = str_trim(str_from(data, (size_t)(out - data)));
	return true;
}

static bool
read_shape(enum shape shape, char *p, size_t n, struct milter_reply *ret)
{
	struct str data = str_from(p, n);

	switch (shape) {
	case NOTHING:
		return true;
	case BYTES:
		ret->value = data;
		return true;
	case INDEXED:
		if (n < 4)
			return false;
		ret->index = be32(p);
		return read_header(str_skip(data, 4), ret);
	case HEADER:
		return read_header(data, ret);
	case ADDRESS:
	case ADDRESS_ARGS:
		return read_address(data, shape == ADDRESS_ARGS, ret);
	case TEXT:
		return take_string(&data, &ret->value);
	default:
		return read_reply(p, n, ret);
	}
}

int
milter_reply_read(char command, char *data, size_t n, struct milter_reply *ret, struct err *e)
{
	*ret = (struct milter_reply){ 0 };
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (kinds[i].command != command)
			continue;
		ret->what = kinds[i].what;
		ret->needs = kinds[i].needs;
		if (read_shape(kinds[i].shape, data, n, ret))
			return 0;
		return err_set(e, -EPROTO, "its answer '%c' cannot be read", command);
	}
	return err_set(e, -EPROTO, "it sent an answer of kind 0x%02x", (unsigned char)command);
}

/* ---- sockets ---- */

static int
parse_unix(struct str path, struct milter_address *ret)
{
	if (path.n < 2 || path.n >= sizeof ret->at.un.sun_path || path.p[0] != '/')
		return -EINVAL;
	*ret = (struct milter_address){ .n = sizeof ret->at.un };
	ret->at.un.sun_family = AF_UNIX;
	memcpy(ret->at.un.sun_path, path.p, path.n);
	return 0;
}

static int
parse_inet(struct str text, int family, struct milter_address *ret)
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM }, *found;
	ptrdiff_t at = str_chr(text, '@'), colon = str_rchr(text, ':');
	struct str host, port;
	char h[256], p[8];
	uint32_t number;

	if (at < 0 && colon < 0)
		return -EINVAL;
	port = at >= 0 ? str_head(text, (size_t)at) : str_skip(text, (size_t)colon + 1);
	host = at >= 0 ? str_skip(text, (size_t)at + 1) : str_head(text, (size_t)colon);
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = str_from(host.p + 1, host.n - 2);
	if (!str_u32(port, 65535, &number) || !number || !host.n || host.n >= sizeof h)
		return -EINVAL;
	snprintf(h, sizeof h, "%.*s", STR_ARG(host));
	snprintf(p, sizeof p, "%u", (unsigned)number);
	if (getaddrinfo(h, p, &hints, &found))
		return -EHOSTUNREACH;
	*ret = (struct milter_address){ .n = found->ai_addrlen };
	memcpy(&ret->at, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

int
milter_address_parse(struct str text, struct milter_address *ret)
{
	static const struct {
		struct str prefix;
		int family;
	} forms[] = {
		{ STR_INIT("unix:"), AF_UNIX }, { STR_INIT("local:"), AF_UNIX },
		{ STR_INIT("inet:"), AF_UNSPEC }, { STR_INIT("inet6:"), AF_INET6 },
	};

	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct str rest = str_skip(text, forms[i].prefix.n);

		if (str_starts(text, forms[i].prefix))
			return forms[i].family == AF_UNIX ? parse_unix(rest, ret) :
			    parse_inet(rest, forms[i].family, ret);
	}
	return parse_unix(text, ret);
}

static int
wait_for(int fd, short what, uint64_t until_ms)
{
	for (;;) {
		struct pollfd p = { fd, what, 0 };
		uint64_t now = clock_ms();
		int r = now < until_ms ? poll(&p, 1, (int)(until_ms - now)) : 0;

		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int
connect_to(int fd, const struct milter_address *a, uint64_t until_ms)
{
	socklen_t n = sizeof(int);
	int error = 0, r;

	if (!connect(fd, &a->at.any, a->n))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	r = wait_for(fd, POLLOUT, until_ms);
	if (!r && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	return r ? r : -error;
}

int
milter_wire_connect(const struct milter_address *a, uint64_t until_ms, struct milter_wire *ret)
{
	int fd = socket(a->at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r, one = 1;

	if (fd < 0)
		return -errno;
	r = connect_to(fd, a, until_ms);
	if (r) {
		close(fd);
		return r;
	}
	if (a->at.any.sa_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	*ret = (struct milter_wire){ .fd = fd, .in = { .max = 2 * MILTER_PACKET_MAX } };
	return 0;
}

void
milter_wire_close(struct milter_wire *w)
{
	if (w->fd >= 0)
		close(w->fd);
	buf_done(&w->in);
	*w = (struct milter_wire){ .fd = -1 };
}

int
milter_wire_send(struct milter_wire *w, struct str bytes, uint64_t until_ms)
{
	while (bytes.n) {
		ssize_t n = send(w->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
		int r = 0;

		if (n > 0)
			bytes = str_skip(bytes, (size_t)n);
		else if (errno == EAGAIN)
			r = wait_for(w->fd, POLLOUT, until_ms);
		else if (errno != EINTR)
			r = errno == ECONNRESET ? -EPIPE : -errno;
		if (r)
			return r;
	}
	return 0;
}

/* More bytes, at least one. */
static int
fill(struct milter_wire *w, uint64_t until_ms)
{
	for (;;) {
		char *room = buf_room(&w->in, 16384);
		ssize_t n = room ? recv(w->fd, room, 16384, 0) : 0;
		int r;

		if (!room)
			return -ENOMEM;
		if (n > 0) {
			buf_grown(&w->in, (size_t)n);
			return 0;
		}
		if (n == 0 || errno == ECONNRESET)
			return -EPIPE;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = wait_for(w->fd, POLLIN, until_ms);
		if (r)
			return r;
	}
}

int
milter_wire_recv(struct milter_wire *w, uint64_t until_ms, char *ret_command, char **ret_data,
    size_t *ret_n)
{
	size_t want = 4;
	int r = 0;

	buf_consume(&w->in, w->taken);
	w->taken = 0;
	while (!r && w->in.n < want)
		r = fill(w, until_ms);
	if (r)
		return r;
	want += be32(w->in.p);
	if (want < 5 || want > MILTER_PACKET_MAX)
		return -EPROTO;
	while (!r && w->in.n < want)
		r = fill(w, until_ms);
	if (r)
		return r;
	*ret_command = w->in.p[4];
	*ret_data = w->in.p + 5;
	*ret_n = want - 5;
	w->taken = want;
	return 0;
}
