/* Built without libspf2: there is nothing to compare with. */
#include "plugins/spf/cross.h"

int
spf_cross_built(void)
{
	return 0;
}

int
spf_cross_check(const struct spf_query *q, const struct spf_verdict *v, enum spf_result *ret)
{
	(void)q;
	(void)v;
	(void)ret;
	return 0;
}
