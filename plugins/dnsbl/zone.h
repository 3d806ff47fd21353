/*
 * A DNS list (RFC 5782): how an admin names one, which name is asked about an address or a
 * domain, and what its answer means. Pure: nothing here asks anybody.
 */
#ifndef PLUGINS_DNSBL_ZONE_H
#define PLUGINS_DNSBL_ZONE_H

#include "plugins/plugin.h"

#define ZONE_NAME_MAX 254   /* a name as text, with the NUL */
#define ZONE_PATTERNS_MAX 8
#define ZONE_WEIGHT_MAX 1000

/* Addresses of answers: each octet between low and high. */
struct zone_pattern {
	unsigned char low[4], high[4];
};

struct zone {
	char name[ZONE_NAME_MAX];     /* without a dot at its end, lower case */
	struct zone_pattern patterns[ZONE_PATTERNS_MAX]; /* none: any address */
	unsigned n_patterns;
	int weight;                   /* -ZONE_WEIGHT_MAX ... ZONE_WEIGHT_MAX */
};

/* "ZONE [ADDRESSES ...] [WEIGHT]". ADDRESSES: four octets, each a number, a range 2-11 or '*';
 * 0, or -1 with what is wrong in *why. */
int zone_parse(struct ph_str text, int weight, struct zone *ret, const char **why);

/* What is asked about a client's address (RFC 5782 sections 2.1 and 2.4), about a domain (section
 * 3). 0, or -1: nothing can be asked (no address, no name of a host, too long). */
int zone_ask_address(const struct zone *z, struct ph_str ip, char ret[ZONE_NAME_MAX]);
int zone_ask_domain(const struct zone *z, struct ph_str domain, char ret[ZONE_NAME_MAX]);

enum zone_answer {
	ZONE_OTHER,      /* an address that is not this entry's */
	ZONE_LISTED,
	ZONE_FOREIGN,    /* outside of 127.0.0.0/8, or not an address: whoever said it is no list */
	ZONE_REFUSED,    /* 127.255.255.0/24: large lists tell so that they do not serve us */
};
enum zone_answer zone_judge(const struct zone *z, struct ph_str rdata);

#endif
