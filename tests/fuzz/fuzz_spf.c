/*
 * SPF: records, macros and answers of the DNS. The input is cut at newlines: client address, HELO, sender,
 * then answers, given one after the other whatever is asked.
 */
#include "plugins/spf/eval.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	struct ph_str all, rest, answer;
	unsigned asked;
};

static struct ph_str
line(struct ph_str *rest)
{
	const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
	size_t n = end ? (size_t)(end - rest->p) : rest->n;
	struct ph_str l = ph_bytes(rest->p, n);

	*rest = ph_bytes(rest->p + n + (end != NULL), rest->n - n - (end != NULL));
	return l;
}

static int
dns(void *arg, struct ph_str name, uint32_t type, struct ph_dns *ret)
{
	struct input *in = arg;
	/* One answer at a time is not enough: a record stays while what it includes is read. */
	static struct ph_str answers[256][2];
	struct ph_str *a = answers[in->asked % 256];

	if (!name.n || name.n > SPF_DOMAIN_MAX || ++in->asked > 250)
		abort();
	if (!in->rest.n)
		in->rest = in->all;
	a[0] = line(&in->rest);
	a[1] = type == 16 ? ph_c("") : a[0];
	*ret = (struct ph_dns){ .status = PH_DNS_OK, .n = 2, .rdata = a };
	if (!a[0].n)
		*ret = (struct ph_dns){ .status = PH_DNS_NXDOMAIN };
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .rest = ph_bytes(data, size) };
	struct spf_query q = { .host = ph_c("host.test"), .now = 1, .dns = dns, .arg = &in };
	struct spf_verdict v;

	q.ip = line(&in.rest);
	q.helo = line(&in.rest);
	q.sender = line(&in.rest);
	in.all = in.rest;
	if (spf_check(&q, &v) == 0 && (v.result >= SPF_RESULTS || strlen(v.domain) > SPF_DOMAIN_MAX ||
	    v.lookups > 11 || v.voids > 3))
		abort();
	return 0;
}
