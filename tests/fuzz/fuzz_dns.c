/*
 * The data of DNS records: the first two bytes are the type. A name that is
 * understood is written back so that it reads the same.
 */
#include <stdlib.h>

#include "lib/client/dns_rdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_name(struct str rest, struct arena *a)
{
	struct buf b = { 0 };
	struct str name, again;
	size_t before = rest.n;

	if (dns_name_get(&rest, a, &name))
		return;
	if (dns_name_put(&b, name) || b.n != before - rest.n)
		abort();
	rest = buf_view(&b);
	if (dns_name_get(&rest, a, &again) || rest.n || !str_eq(name, again))
		abort();
	buf_done(&b);
}

static void
check_data(uint16_t type, struct str rdata, struct arena *a)
{
	struct sockaddr_storage address;
	struct dns_host host;
	struct dns_tlsa tlsa;
	struct str text;
	struct buf b = { 0 };

	dns_mx_get(rdata, a, &host);
	dns_address_get(rdata, DNS_A, &address);
	dns_address_get(rdata, DNS_AAAA, &address);
	dns_txt_get(rdata, a, &text);
	dns_tlsa_get(rdata, &tlsa);
	dns_rdata_text(&b, type, rdata);
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] < ' ' || b.p[i] > '~')
			abort();
	buf_done(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str all = str_from(data, size);
	struct dns_question q[DNS_QUESTIONS_MAX];
	struct dns_answer v[2];
	struct buf b = { 0 };
	size_t n;

	check_name(all, a);
	if (size >= 2)
		check_data((uint16_t)(data[0] << 8 | data[1]), str_skip(all, 2), a);
	dns_name_put(&b, all);
	buf_done(&b);
	dns_questions_get(all, q, &n);
	dns_answers_get(all, a, v, 2);
	arena_free(&a);
	return 0;
}
