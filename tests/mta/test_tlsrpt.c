/* mta/tlsrpt and tlsrpt_store: records, counts that outlive a restart, the report that comes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mta/tlsrpt_store.h"

static const struct {
	const char *in, *want; /* the URIs by blanks; NULL: none */
} records[] = {
	{ "v=TLSRPTv1;rua=mailto:reports@example.test", "mailto:reports@example.test" },
	{ "v=TLSRPTv1; rua=mailto:a@example.test,https://b.test/x?y ; ", "mailto:a@example.test https://b.test/x?y" },
	{ "v=TLSRPTv1; x=y; rua=https://a.test/", "https://a.test/" },
	{ "v=TLSRPTv1; rua=http://a.test/", NULL },
	{ "v=TLSRPTv1; rua=", NULL },
	{ "v=TLSRPTv1; rua=mailto:a\001@b.test", NULL },
	{ "v=TLSRPTv1;", NULL },
	{ "v=TLSRPTv2; rua=mailto:a@b.test", NULL },
	{ "v=STSv1; id=1", NULL },
	{ "", NULL },
};

static void
test_records(void **st)
{
	(void)st;
	for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
		struct str uri[TLSRPT_RUA_MAX];
		struct buf b = { 0 };
		size_t n = 0;
		int r = tlsrpt_record_get(str_c(records[i].in), uri, &n);

		assert_int_equal(r, records[i].want ? 0 : -EINVAL);
		for (size_t k = 0; !r && k < n; k++)
			buf_printf(&b, "%s%.*s", k ? " " : "", STR_ARG(uri[k]));
		if (!r)
			assert_string_equal(buf_cstr(&b), records[i].want);
		buf_done(&b);
	}
}

static void
test_mailto(void **st)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "mailto:a@example.test", "a@example.test" },
		{ "MAILTO:a%2Bb@example.test?subject=x", "a+b@example.test" },
		{ "mailto:a%40example.test", "a@example.test" },
		{ "mailto:a%0d%0aX: y@example.test", NULL },
		{ "mailto:a%3e@example.test", NULL },
		{ "mailto:a%4", NULL },
		{ "mailto:a@b%", NULL },
		{ "mailto:a%zz@b.test", NULL },
		{ "mailto:nobody", NULL },
		{ "mailto:", NULL },
		{ "https://a.test", NULL },
	};

	(void)st;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new(0);
		struct str to;
		int r = tlsrpt_mailto(str_c(rows[i].in), a, &to);

		assert_int_equal(r, rows[i].want ? 0 : -EINVAL);
		if (!r)
			assert_string_equal(to.p, rows[i].want);
		arena_free(&a);
	}
}

/* ---- the store ---- */

static char dir[] = "/tmp/test_tlsrpt.XXXXXX";

static void
see(struct tlsrpt_store *s, int64_t day, const char *domain, enum tls_result result, unsigned host)
{
	char name[20];
	struct tls_seen v = { .domain = str_c(domain), .kind = TLS_POLICY_STS,
		.policy = STR("version: STSv1\nmode: enforce\n"), .mx = STR("a.test *.b.test"),
		.result = result, .sending_ip = STR("192.0.2.1"),
		.receiving_ip = STR("192.0.2.2"), .why = result ? STR("why \"not\"") : STR_NULL };

	snprintf(name, sizeof name, "mx%u.test", host);
	v.host = str_c(name);
	assert_int_equal(tlsrpt_store_add(s, day, &v), 0);
}

static struct tlsrpt_store *
open_store(void)
{
	struct tlsrpt_store *s = NULL;
	struct err e = { 0 };

	if (tlsrpt_store_open(dir, &s, &e))
		fail_msg("%s", e.text);
	return s;
}

static void
test_counts(void **st)
{
	struct tlsrpt_store *s = open_store();
	struct arena *a = arena_new(0);
	struct tlsrpt_report r = { .domain = STR("dest.test"), .organization = STR("Us"),
		.contact = STR("us@us.test"), .submitter = STR("us.test"), .id = STR("1@us.test"),
		.begin_s = 86400, .end_s = 172799 };
	struct tlsrpt_due d;
	struct buf b = { 0 };
	uint64_t n;

	(void)st;
	see(s, 1, "dest.test", TLS_SEEN_GOOD, 1);
	see(s, 1, "dest.test", TLS_SEEN_GOOD, 1);
	see(s, 1, "dest.test", TLS_SEEN_EXPIRED, 2);
	see(s, 1, "dest.test", TLS_SEEN_EXPIRED, 2);
	see(s, 2, "dest.test", TLS_SEEN_GOOD, 1);
	see(s, 1, "other.test", TLS_SEEN_GOOD, 1);
	tlsrpt_store_close(&s);
	s = open_store();
	assert_int_equal(tlsrpt_store_plan(s, 2, 5000, 1000), 0);
	assert_int_equal(tlsrpt_store_plan(s, 2, 9000, 0), 0); /* what is planned stays as it is */
	assert_int_equal(tlsrpt_store_planned(s, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(tlsrpt_store_due(s, 4999, a, &d), 0);
	assert_int_equal(tlsrpt_store_due(s, 6000, a, &d), 1);
	assert_true(d.due_s >= 5000 && d.due_s < 6000);
	d.day = 1;
	d.domain = STR("dest.test");
	assert_int_equal(tlsrpt_store_read(s, &d, a, &r), 0);
	tlsrpt_json(&b, &r);
	assert_string_equal(buf_cstr(&b),
	    "{\"organization-name\":\"Us\",\"date-range\":{\"start-datetime\":\"1970-01-02T00:00:00Z\","
	    "\"end-datetime\":\"1970-01-02T23:59:59Z\"},\"contact-info\":\"us@us.test\",\"report-id\":"
	    "\"1@us.test\",\"policies\":[{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":"
	    "[\"version: STSv1\",\"mode: enforce\"],\"policy-domain\":\"dest.test\",\"mx-host\":"
	    "[\"a.test\",\"*.b.test\"]},\"summary\":{\"total-successful-session-count\":2,"
	    "\"total-failure-session-count\":2},\"failure-details\":[{\"result-type\":"
	    "\"certificate-expired\",\"sending-mta-ip\":\"192.0.2.1\",\"receiving-mx-hostname\":"
	    "\"mx2.test\",\"receiving-ip\":\"192.0.2.2\",\"failed-session-count\":2,"
	    "\"failure-reason-code\":\"why \\\"not\\\"\"}]}]}");
	assert_int_equal(tlsrpt_store_later(s, &d, 7000), 0);
	assert_int_equal(tlsrpt_store_drop(s, &(struct tlsrpt_due){ .day = 1, .domain = STR("other.test") }), 0);
	assert_int_equal(tlsrpt_store_due(s, 6999, a, &d), 0);
	assert_int_equal(tlsrpt_store_due(s, 7000, a, &d), 1);
	assert_int_equal(d.tries, 1);
	assert_int_equal(tlsrpt_store_drop(s, &d), 0);
	assert_int_equal(tlsrpt_store_plan(s, 9, 1, 0), 0); /* the second day is still there */
	assert_int_equal(tlsrpt_store_due(s, 1, a, &d), 1);
	assert_int_equal(d.day, 2);
	assert_int_equal(tlsrpt_store_drop(s, &d), 0);
	buf_done(&b);
	arena_free(&a);
	tlsrpt_store_close(&s);
}

/* Many kinds of failure are summed up beyond the limit; none is lost. */
static void
test_many_failures(void **st)
{
	struct tlsrpt_store *s = open_store();
	struct tlsrpt_due d = { .day = 5, .domain = STR("many.test") };
	struct arena *a = arena_new(0);
	struct tlsrpt_report r = { 0 };
	uint64_t sum = 0;

	(void)st;
	for (unsigned i = 0; i < 3 * TLSRPT_FAILURES_MAX; i++)
		see(s, 5, "many.test", i % 2 ? TLS_SEEN_EXPIRED : TLS_SEEN_NO_STARTTLS, i);
	assert_int_equal(tlsrpt_store_read(s, &d, a, &r), 0);
	assert_int_equal(r.n_policies, 1);
	assert_int_equal(r.policies[0].bad, 3 * TLSRPT_FAILURES_MAX);
	assert_int_equal(r.policies[0].n_failures, TLSRPT_FAILURES_MAX + 2);
	for (size_t i = 0; i < r.policies[0].n_failures; i++)
		sum += r.policies[0].failures[i].n;
	assert_int_equal(sum, 3 * TLSRPT_FAILURES_MAX);
	arena_free(&a);
	tlsrpt_store_close(&s);
}

static int
set_up(void **st)
{
	(void)st;
	return mkdtemp(dir) ? 0 : -1;
}

static int
tear_down(void **st)
{
	static const char *const names[] = { "tls.db", "tls.db-wal", "tls.db-shm" };
	char path[200];

	(void)st;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_mailto),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_many_failures),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
