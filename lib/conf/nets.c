/* Address ranges: all are IPv6, IPv4 being mapped into ::ffff:0:0/96, so that
 * one comparison serves both. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/conf/settings.h"

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool
is_mapped(const unsigned char addr[static 16])
{
	return memcmp(addr, mapped, sizeof mapped) == 0;
}

static int
parse_addr(struct str text, unsigned char addr[static 16], unsigned *ret_bits)
{
	char c[INET6_ADDRSTRLEN];

	if (text.n == 0 || text.n >= sizeof c || memchr(text.p, 0, text.n))
		return -EINVAL;
	memcpy(c, text.p, text.n);
	c[text.n] = 0;
	if (inet_pton(AF_INET, c, addr + 12) == 1) {
		memcpy(addr, mapped, sizeof mapped);
		*ret_bits = 32;
		return 0;
	}
	*ret_bits = 128;
	return inet_pton(AF_INET6, c, addr) == 1 ? 0 : -EINVAL;
}

/* Whether any bit after the first `prefix` ones is set. */
static bool
bits_behind(const struct conf_net *net)
{
	for (unsigned i = net->prefix; i < 128; i++)
		if (net->addr[i / 8] >> (7 - i % 8) & 1)
			return true;
	return false;
}

int
conf_net_parse(struct str text, struct conf_net *ret)
{
	struct str prefix = text, addr = str_cut(&prefix, '/');
	struct conf_net net;
	unsigned bits;
	uint32_t n;

	if (parse_addr(addr, net.addr, &bits))
		return -EINVAL;
	n = bits;
	if (prefix.p && !str_u32(prefix, bits, &n))
		return -EINVAL;
	net.prefix = 128 - bits + n;
	if (bits_behind(&net))
		return -EINVAL;
	*ret = net;
	return 0;
}

void
conf_net_put(struct buf *out, const struct conf_net *net)
{
	bool v4 = is_mapped(net->addr) && net->prefix >= 96;
	char c[INET6_ADDRSTRLEN] = "";

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? net->addr + 12 : net->addr, c, sizeof c);
	buf_puts(out, c);
	if (net->prefix < 128)
		buf_printf(out, "/%u", v4 ? net->prefix - 96 : net->prefix);
}

static bool
net_has(const struct conf_net *net, const unsigned char *addr)
{
	unsigned whole = net->prefix / 8, rest = net->prefix % 8;

	if (memcmp(net->addr, addr, whole))
		return false;
	return rest == 0 || (net->addr[whole] ^ addr[whole]) >> (8 - rest) == 0;
}

bool
conf_nets_has(const struct conf_nets *nets, const unsigned char addr[static 16])
{
	for (size_t i = 0; i < nets->n; i++)
		if (net_has(&nets->v[i], addr))
			return true;
	return false;
}

bool
conf_addr_of(const struct sockaddr_storage *sa, unsigned char ret[static 16])
{
	if (sa->ss_family == AF_INET6) {
		memcpy(ret, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
		return true;
	}
	if (sa->ss_family != AF_INET)
		return false;
	memcpy(ret, mapped, sizeof mapped);
	memcpy(ret + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
	return true;
}
