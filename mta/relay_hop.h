/* Next hops as text (lib/client/relay.h), read. */
#ifndef MTA_RELAY_HOP_H
#define MTA_RELAY_HOP_H

#include <sys/socket.h>

#include "lib/base/str.h"

struct relay_hop {
	bool lmtp;
	bool mx;                /* host is a domain whose MX hosts are meant */
	bool literal;           /* an address: host is its text, addr is set */
	struct str host;        /* points into the text or the domain */
	unsigned port;          /* 0: the default */
	struct sockaddr_storage addr; /* without port */
};

/* 0, or -EINVAL. An empty text means the domain, which may be an address literal. */
int relay_hop_parse(struct str text, struct str domain, struct relay_hop *ret);

/* The port of an address, in host order. */
void relay_set_port(struct sockaddr_storage *a, unsigned port);
unsigned relay_get_port(const struct sockaddr_storage *a);
#define RELAY_ADDRESS_TEXT 64
/* The address as text, without port. */
void relay_address_text(const struct sockaddr_storage *a, char out[static RELAY_ADDRESS_TEXT]);
/* Reads an IPv4 or IPv6 address, with or without "IPv6:" before the latter. */
bool relay_address_parse(struct str text, struct sockaddr_storage *ret);

#endif
