/* Next hops and addresses as text. */
#include "mta/relay_hop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "lib/io/ip.h"
#include "lib/mail/path.h"

#define HOST_MAX 255

void
relay_set_port(struct sockaddr_storage *a, unsigned port)
{
	if (a->ss_family == AF_INET6)
		((struct sockaddr_in6 *)a)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)a)->sin_port = htons((uint16_t)port);
}

unsigned
relay_get_port(const struct sockaddr_storage *a)
{
	return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port :
	    ((const struct sockaddr_in *)a)->sin_port);
}

void
relay_address_text(const struct sockaddr_storage *a, char out[static RELAY_ADDRESS_TEXT])
{
	const void *p = a->ss_family == AF_INET6 ?
	    (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr :
	    (const void *)&((const struct sockaddr_in *)a)->sin_addr;

	if (!inet_ntop(a->ss_family, p, out, RELAY_ADDRESS_TEXT))
		snprintf(out, RELAY_ADDRESS_TEXT, "unknown");
}

bool
relay_address_parse(struct str text, struct sockaddr_storage *ret)
{
	if (str_istarts(text, STR("ipv6:")))
		text = str_skip(text, 5);
	return ip_parse(text, ret);
}

/* Cuts ":port" off the end of *text. False when what is there is no port. */
static bool
take_port(struct str *text, unsigned *ret)
{
	ptrdiff_t colon = str_rchr(*text, ':');
	uint32_t port;

	if (colon < 0)
		return true;
	if (!str_u32(str_skip(*text, (size_t)colon + 1), 65535, &port) || !port)
		return false;
	*ret = port;
	text->n = (size_t)colon;
	return true;
}

/* "[host]" or "[host]:port", the first bracket taken. */
static int
bracketed(struct str text, struct relay_hop *h)
{
	ptrdiff_t end = str_chr(text, ']');
	struct str rest;

	if (end < 0)
		return -EINVAL;
	rest = str_skip(text, (size_t)end + 1);
	if (rest.n && (rest.p[0] != ':' || !take_port(&rest, &h->port) || rest.n))
		return -EINVAL;
	h->host = str_head(text, (size_t)end);
	h->literal = relay_address_parse(h->host, &h->addr);
	return 0;
}

int
relay_hop_parse(struct str text, struct str domain, struct relay_hop *ret)
{
	struct relay_hop h = { 0 };

	if (!text.n)
		text = domain;
	if (str_istarts(text, STR("lmtp:"))) {
		h.lmtp = true;
		text = str_skip(text, 5);
	}
	if (text.n && text.p[0] == '[') {
		if (bracketed(str_skip(text, 1), &h))
			return -EINVAL;
	} else {
		if (!take_port(&text, &h.port))
			return -EINVAL;
		h.host = text;
		h.mx = !h.lmtp;
	}
	if (h.host.n && h.host.p[h.host.n - 1] == '.')
		h.host.n--;
	if (!h.host.n || h.host.n > HOST_MAX || (h.lmtp && !h.port) ||
	    (!h.literal && !path_is_host(h.host)))
		return -EINVAL;
	*ret = h;
	return 0;
}
