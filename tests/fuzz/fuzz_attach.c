/* Names and archives of attachments: entries lie in the data, and there are not more than fit. */
#include <stdlib.h>

#include "plugins/attach/policy.h"
#include "plugins/attach/zip.h"

const struct ph_api *ph_host; /* no host is here */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_archive(struct ph_str all)
{
	struct zip_entry e;
	struct zip z;
	size_t n = 0;

	if (zip_open(all, &z))
		return;
	while (zip_next(&z, &e) > 0) {
		if (++n * 46 > all.n)
			abort();
		if (e.name.n && (e.name.p < all.p || e.name.p + e.name.n > all.p + all.n))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct policy p = { .hidden = 1, .archives = 1, .encrypted = 1, .broken = 1, .sniff = 1,
		.entries_max = 100 };
	struct ph_str all = ph_bytes(data, size), inside;

	p.extensions.v[0] = ph_c("exe");
	p.names.v[0] = ph_c("a*b?c*");
	p.extensions.n = p.names.n = 1;
	policy_name(&p, all);
	policy_type(&p, all);
	policy_content(&p, all, &inside);
	read_archive(all);
	return 0;
}
