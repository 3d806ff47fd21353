/* What greylisting makes of addresses of others: keys of bounded length without '|' and NUL. */
#include <stdlib.h>

#include "plugins/greylist/triplets.h"

const struct ph_api *ph_host; /* no host is here */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(size_t n, const char *text)
{
	if (n >= TRIPLETS_ADDRESS_MAX || strlen(text) != n || strchr(text, '|'))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TRIPLETS_ADDRESS_MAX], net[TRIPLETS_NET_MAX];
	struct ph_str all = ph_bytes(data, size);

	check(triplets_sender(all, text), text);
	check(triplets_rcpt(all, text), text);
	if (!triplets_net(all, 24, 64, net) && !strchr(net, '/'))
		abort();
	return 0;
}
