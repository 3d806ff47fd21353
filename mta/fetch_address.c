/*
 * Which addresses are nobody's business from outside: those of this machine, of private
 * networks, and of no host at all (the registries of special addresses, RFC 6890). An IPv6
 * address that carries an IPv4 one is looked at as that.
 */
#include <netinet/in.h>
#include <string.h>

#include "mta/fetchd.h"

static const char *const special[] = {
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/96", "100::/64", "2001::/23", "2001:db8::/32", "fc00::/7", "fe80::/10", "fec0::/10",
	"ff00::/8",
};

/* Where the IPv4 address stands in those that carry one: translated (RFC 6052), 6to4. */
static const struct {
	const char *net;
	size_t at;
} carriers[] = { { "64:ff9b::/96", 12 }, { "2002::/16", 2 } };

static bool
in(const char *net, const unsigned char addr[static 16])
{
	struct conf_net n;
	struct conf_nets one = { &n, 1 };

	return !conf_net_parse(str_c(net), &n) && conf_nets_has(&one, addr);
}

static bool
is_special(const unsigned char addr[static 16])
{
	unsigned char v4[16] = { [10] = 0xff, [11] = 0xff };

	for (size_t i = 0; i < sizeof special / sizeof *special; i++)
		if (in(special[i], addr))
			return true;
	for (size_t i = 0; i < sizeof carriers / sizeof *carriers; i++) {
		if (!in(carriers[i].net, addr))
			continue;
		memcpy(v4 + 12, addr + carriers[i].at, 4);
		return is_special(v4);
	}
	return false;
}

bool
fetch_address_public(const struct sockaddr *addr, const struct conf_nets *excepted)
{
	struct sockaddr_storage ss = { 0 };
	unsigned char plain[16];

	memcpy(&ss, addr, addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
	    sizeof(struct sockaddr_in));
	if (!conf_addr_of(&ss, plain))
		return false;
	return conf_nets_has(excepted, plain) || !is_special(plain);
}
