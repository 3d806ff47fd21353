/* Addresses and networks; see net.h. */
#include "plugins/common/net.h"

#include <arpa/inet.h>

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

int
net_address(struct ph_str ip, unsigned char ret[16])
{
	char text[INET6_ADDRSTRLEN];

	if (!ip.n || ip.n >= sizeof text || memchr(ip.p, 0, ip.n))
		return -1;
	memcpy(text, ip.p, ip.n);
	text[ip.n] = 0;
	if (inet_pton(AF_INET6, text, ret) == 1)
		return 0;
	memcpy(ret, mapped, sizeof mapped);
	return inet_pton(AF_INET, text, ret + sizeof mapped) == 1 ? 0 : -1;
}

int
net_is_ip4(const unsigned char a[16])
{
	return !memcmp(a, mapped, sizeof mapped);
}

/* "24": at most three digits. 0 or -1. */
static int
read_bits(struct ph_str s, unsigned max, unsigned *ret)
{
	unsigned bits = 0;

	if (!s.n || s.n > 3)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		bits = bits * 10 + (unsigned)(s.p[i] - '0');
	}
	*ret = bits;
	return bits <= max ? 0 : -1;
}

int
net_parse(struct ph_str text, struct net *ret)
{
	const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
	size_t n = slash ? (size_t)(slash - text.p) : text.n;
	struct net net = { .bits = 128 };
	unsigned offset;

	if (net_address(ph_bytes(text.p, n), net.address))
		return -1;
	offset = net_is_ip4(net.address) ? 96 : 0;
	if (slash && read_bits(ph_bytes(slash + 1, text.n - n - 1), 128 - offset, &net.bits))
		return -1;
	if (slash)
		net.bits += offset;
	*ret = net;
	return 0;
}

static int
has(const struct net *net, const unsigned char a[16])
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	if (memcmp(net->address, a, whole))
		return 0;
	return !rest || !((net->address[whole] ^ a[whole]) >> (8 - rest));
}

int
net_has(const struct net *net, struct ph_str ip)
{
	unsigned char a[16];

	return !net_address(ip, a) && has(net, a);
}

int
net_is_private(struct ph_str ip)
{
	static const char *const texts[] = {
		"0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.168.0.0/16", "::/127", "fc00::/7", "fe80::/10",
	};
	unsigned char a[16];
	struct net net;

	if (net_address(ip, a))
		return 1;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (!net_parse(ph_c(texts[i]), &net) && has(&net, a))
			return 1;
	return 0;
}

void
nets_read(struct ph_conf *conf, const char *option, struct nets *ret)
{
	struct ph_str text;

	for (ret->n = 0; (text = ph_option_item(conf, option, ret->n)).p; ret->n++)
		if (ret->n == NETS_MAX || net_parse(text, &ret->v[ret->n])) {
			ph_conf_error(conf, option, "networks such as 192.0.2.0/24 are needed (256 at most)");
			return;
		}
}

int
nets_have(const struct nets *n, struct ph_str ip)
{
	for (unsigned i = 0; i < n->n; i++)
		if (net_has(&n->v[i], ip))
			return 1;
	return 0;
}
