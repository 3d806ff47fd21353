/* What dnsbl makes of names, addresses, answers and texts of others. */
#include <stdlib.h>

#include "plugins/common/net.h"
#include "plugins/common/text.h"
#include "plugins/dnsbl/zone.h"

const struct ph_api *ph_host; /* no host is here */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ph_str all = ph_bytes(data, size);
	struct zone z = { .name = "list.example.org" }, made;
	struct net net;
	char asked[ZONE_NAME_MAX], text[64];
	const char *why;

	if (!zone_ask_domain(&z, all, asked) && strlen(asked) != size + 17 - (data[size - 1] == '.'))
		abort();
	if (!zone_ask_address(&z, all, asked) && zone_ask_domain(&z, ph_c("a.b"), asked))
		abort();
	if (!zone_parse(all, 1, &made, &why))
		zone_judge(&made, all);
	if (!net_parse(all, &net) && net.bits > 128)
		abort();
	net_is_private(all);
	if (text_clean(all, text, sizeof text) != strlen(text))
		abort();
	return 0;
}
