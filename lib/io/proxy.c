/*
 * The PROXY protocol; see proxy.h.
 *
 *	version 1   PROXY TCP4|TCP6 client server port port CRLF, PROXY UNKNOWN ... CRLF
 *	version 2   12 bytes of signature | 2x: x 0 LOCAL, 1 PROXY | family, transport |
 *	            length (2 bytes) | addresses | TLVs, which are skipped
 */
#include "lib/io/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "lib/base/clock.h"

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static void
set_v4(struct sockaddr_storage *ss, const void *addr, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof *ss);
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	memcpy(&v4->sin_addr, addr, 4);
}

static void
set_v6(struct sockaddr_storage *ss, const void *addr, uint16_t port)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof *ss);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	memcpy(&v6->sin6_addr, addr, 16);
}

/* ---- version 1 ---- */

static bool
text_address(struct str addr, struct str port, int family, struct sockaddr_storage *ret)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	uint32_t number;

	if (addr.n >= sizeof text || !str_u32(port, 65535, &number))
		return false;
	memcpy(text, addr.p, addr.n);
	text[addr.n] = '\0';
	if (inet_pton(family, text, bytes) != 1)
		return false;
	if (family == AF_INET)
		set_v4(ret, bytes, (uint16_t)number);
	else
		set_v6(ret, bytes, (uint16_t)number);
	return true;
}

/* The line without "PROXY " and CRLF. */
static int
parse_line(struct str line, struct proxy_header *h)
{
	struct str kind = str_cut(&line, ' '), client, server, port;
	int family = str_eq(kind, STR("TCP6")) ? AF_INET6 : AF_INET;

	h->local = str_eq(kind, STR("UNKNOWN"));
	if (h->local)
		return 0;
	if (!str_eq(kind, STR("TCP4")) && family == AF_INET)
		return -EPROTO;
	client = str_cut(&line, ' ');
	server = str_cut(&line, ' ');
	port = str_cut(&line, ' ');
	return text_address(client, port, family, &h->client) &&
	    text_address(server, line, family, &h->server) ? 0 : -EPROTO;
}

static ssize_t
parse_v1(struct str in, struct proxy_header *h, size_t *ret_more)
{
	ptrdiff_t lf = str_chr(str_head(in, PROXY_V1_MAX), '\n');

	if (lf < 0) {
		/* "\r\n" is missing, or its LF alone */
		*ret_more = in.n && in.p[in.n - 1] == '\r' ? 1 : 2;
		return in.n < PROXY_V1_MAX ? 0 : -EPROTO;
	}
	if (lf < 7 || in.p[lf - 1] != '\r' || parse_line(str_from(in.p + 6, (size_t)lf - 7), h))
		return -EPROTO;
	return lf + 1;
}

/* ---- version 2 ---- */

static uint16_t
be16(const char *p)
{
	return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static bool
tlvs_valid(struct str rest)
{
	while (rest.n) {
		if (rest.n < 3 || rest.n - 3 < be16(rest.p + 1))
			return false;
		rest = str_skip(rest, 3u + be16(rest.p + 1));
	}
	return true;
}

static int
parse_addresses(unsigned char family, struct str body, struct proxy_header *h)
{
	size_t n = family == 0x11 ? 4 : family == 0x21 ? 16 : 0;

	if (family == 0x00 || family == 0x31) { /* none; UNIX sockets, which name nobody */
		h->local = true;
		return 0;
	}
	if (!n || body.n < 2 * n + 4 || !tlvs_valid(str_skip(body, 2 * n + 4)))
		return -EPROTO;
	if (n == 4) {
		set_v4(&h->client, body.p, be16(body.p + 2 * n));
		set_v4(&h->server, body.p + n, be16(body.p + 2 * n + 2));
	} else {
		set_v6(&h->client, body.p, be16(body.p + 2 * n));
		set_v6(&h->server, body.p + n, be16(body.p + 2 * n + 2));
	}
	return 0;
}

static ssize_t
parse_v2(struct str in, struct proxy_header *h, size_t *ret_more)
{
	unsigned char what;
	size_t len;

	if (in.n < PROXY_V2_HEAD) {
		*ret_more = PROXY_V2_HEAD - in.n;
		return 0;
	}
	what = (unsigned char)in.p[12];
	len = be16(in.p + 14);
	if ((what != 0x20 && what != 0x21) || len > PROXY_MAX - PROXY_V2_HEAD)
		return -EPROTO;
	if (in.n < PROXY_V2_HEAD + len) {
		*ret_more = PROXY_V2_HEAD + len - in.n;
		return 0;
	}
	h->local = what == 0x20;
	if (!h->local && parse_addresses((unsigned char)in.p[13], str_from(in.p + PROXY_V2_HEAD, len), h))
		return -EPROTO;
	return (ssize_t)(PROXY_V2_HEAD + len);
}

ssize_t
proxy_parse(struct str in, struct proxy_header *ret, size_t *ret_more)
{
	struct proxy_header h = { 0 };
	const struct str v1 = STR_INIT("PROXY "), v2 = str_from(signature, sizeof signature);
	ssize_t n = -EPROTO;

	if (in.n < v1.n) { /* too short to tell; the shortest header of all has 15 bytes */
		*ret_more = 15 - in.n;
		return str_starts(v1, in) || str_starts(v2, in) ? 0 : -EPROTO;
	}
	if (str_starts(in, v1))
		n = parse_v1(in, &h, ret_more);
	else if (in.n < v2.n ? str_starts(v2, in) : str_starts(in, v2))
		n = parse_v2(in, &h, ret_more);
	if (n > 0)
		*ret = h;
	return n;
}

int
proxy_read(struct stream *s, uint64_t within_ms, struct proxy_header *ret)
{
	uint64_t until = clock_ms() + within_ms, now;
	char in[PROXY_MAX];
	size_t n = 0, more = 0;
	ssize_t r;

	while ((r = proxy_parse(str_from(in, n), ret, &more)) == 0) {
		now = clock_ms();
		if (now >= until)
			return -ETIMEDOUT;
		stream_timeout(s, until - now);
		r = stream_read(s, in + n, more);
		if (r <= 0)
			return r < 0 ? (int)r : -EPIPE;
		n += (size_t)r;
	}
	return r < 0 ? (int)r : 0;
}
