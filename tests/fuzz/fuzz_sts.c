/* MTA-STS policies and records, TLSRPT records, what is kept of policies: what is taken can be written
 * and is the same when it is read again. */
#include <stdlib.h>

#include "lib/mail/sts.h"
#include "mta/sts_cache.h"
#include "mta/tlsrpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
policy(struct str in, struct arena *a)
{
	struct sts_policy p, again;
	struct buf b = { 0 }, c = { 0 };
	struct err e;

	if (!sts_policy_get(in, a, &p, &e)) {
		sts_policy_put(&b, &p, "\r\n");
		if (p.n_mx > STS_MX_MAX || p.max_age > STS_MAX_AGE ||
		    sts_policy_get(buf_view(&b), a, &again, &e))
			abort();
		sts_policy_put(&c, &again, "\r\n");
		if (!str_eq(buf_view(&b), buf_view(&c)))
			abort();
		for (size_t i = 0; i < p.n_mx; i++)
			if (p.mx[i].p[0] != '*' && !sts_policy_has(&p, p.mx[i]))
				abort();
	}
	buf_done(&b);
	buf_done(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sts_cache cache = { .fd = { -1, -1 } };
	struct str in = str_from(data, size), id, to, uri[TLSRPT_RUA_MAX];
	struct arena *a = arena_new(0);
	size_t n = 0;

	policy(in, a);
	if (!sts_record_get(in, &id) && (!id.n || id.n > STS_ID_MAX))
		abort();
	if (!tlsrpt_record_get(in, uri, &n) && (!n || n > TLSRPT_RUA_MAX))
		abort();
	for (size_t i = 0; i < n; i++)
		tlsrpt_mailto(uri[i], a, &to);
	tlsrpt_mailto(in, a, &to);
	sts_cache_read(&cache, in);
	sts_cache_close(&cache);
	arena_free(&a);
	return 0;
}
