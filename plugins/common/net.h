/*
 * Addresses of clients and networks of them, as the plugins that ship read them. IPv4 stands as
 * ::ffff:a.b.c.d everywhere, so that both ways of writing one are the same.
 */
#ifndef PLUGINS_COMMON_NET_H
#define PLUGINS_COMMON_NET_H

#include "plugins/plugin.h"

/* The address as 16 bytes. 0, or -1: it is none. */
int net_address(struct ph_str ip, unsigned char ret[16]);
int net_is_ip4(const unsigned char a[16]);

struct net {
	unsigned char address[16];
	unsigned bits;              /* of those 128 */
};
/* "192.0.2.0/24", "2001:db8::/32", or one address. 0 or -1. */
int net_parse(struct ph_str text, struct net *ret);
/* 0 too when ip is no address. */
int net_has(const struct net *net, struct ph_str ip);

/* Loopback, private, link-local: addresses of which no stranger can say anything. What is no
 * address is so too. */
int net_is_private(struct ph_str ip);

#define NETS_MAX 256
struct nets {
	struct net v[NETS_MAX];
	unsigned n;
};
/* Reads a list option; what is wrong is told as that option's. */
void nets_read(struct ph_conf *conf, const char *option, struct nets *ret);
int nets_have(const struct nets *n, struct ph_str ip);

#endif
