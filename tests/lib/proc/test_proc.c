/* lib/proc: the table of peers, tickets, metrics. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/client/auth.h"
#include "lib/client/queue.h"
#include "lib/client/store.h"
#include "lib/client/submit.h"
#include "lib/proc/metrics.h"
#include "lib/proc/peers.h"
#include "lib/proc/ticket.h"

static void
test_peers(void **st)
{
	static const struct {
		enum role from;
		uint16_t type;
		bool want;
	} t[] = {
		{ ROLE_SMTPD, MSG_AUTH_RESOLVE, true },
		{ ROLE_SMTPD, MSG_AUTH_LOGIN, true },
		{ ROLE_SMTPD, MSG_AUTH_ACCOUNT, false },
		{ ROLE_SMTPD, MSG_AUTH_ADMIN, false },
		{ ROLE_SMTPD, MSG_QUEUE_ACCEPT, true },
		{ ROLE_SMTPD, MSG_QUEUE_ABORT, true },
		{ ROLE_SMTPD, MSG_QUEUE_ADMIN, false },
		{ ROLE_SMTPD, MSG_STORE_ROOM, true },
		{ ROLE_SMTPD, MSG_STORE_DELIVER, false },
		{ ROLE_SMTPD, MSG_STORE_ATTACH, false },
		{ ROLE_SUBMITD, MSG_AUTH_RESOLVE, true },
		{ ROLE_SUBMITD, MSG_AUTH_ACCOUNT, true },
		{ ROLE_SUBMITD, MSG_AUTH_LOGIN, false },
		{ ROLE_SUBMITD, MSG_QUEUE_ACCEPT, true },
		{ ROLE_IMAPD, MSG_AUTH_LOGIN, true },
		{ ROLE_IMAPD, MSG_AUTH_RENEW, true },
		{ ROLE_IMAPD, MSG_AUTH_RESOLVE, false },
		{ ROLE_IMAPD, MSG_STORE_ATTACH, true },
		{ ROLE_IMAPD, MSG_STORE_QUOTA, true },
		{ ROLE_IMAPD, MSG_STORE_DELIVER, false },
		{ ROLE_IMAPD, MSG_STORE_ROOM, false },
		{ ROLE_IMAPD, MSG_STORE_ADMIN, false },
		{ ROLE_IMAPD, MSG_QUEUE_ACCEPT, false },
		{ ROLE_IMAPD, MSG_SUBMIT, true },
		{ ROLE_QUEUED, MSG_STORE_DELIVER, true },
		{ ROLE_QUEUED, MSG_STORE_LOW_WATER, true },
		{ ROLE_QUEUED, MSG_STORE_ROOM, false },
		{ ROLE_QUEUED, MSG_STORE_ATTACH, false },
		{ ROLE_MAILD, MSG_AUTH_ACCOUNT, true },
		{ ROLE_MAILD, MSG_AUTH_LOGIN, false },
		{ ROLE_MAILD, MSG_SUBMIT, true },
		{ ROLE_MAILD, MSG_QUEUE_ACCEPT, false },
		{ ROLE_MIMED, MSG_STORE_DELIVER, false },
		{ ROLE_CLI, MSG_AUTH_ADMIN, true },
		{ ROLE_CLI, MSG_AUTH_LOGIN, false },
		{ ROLE_CLI, MSG_QUEUE_ADMIN, true },
		{ ROLE_CLI, MSG_STORE_ADMIN, true },
		{ ROLE_CLI, MSG_STORE_ATTACH, false },
		{ ROLE_MAX, MSG_AUTH_RESOLVE, false },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		if (peers_allow(t[i].from, t[i].type) != t[i].want)
			fail_msg("%s, type %04x", role_name(t[i].from), t[i].type);
}

static void
test_channels(void **st)
{
	assert_true(peers_channel(ROLE_SMTPD, ROLE_QUEUED));
	assert_true(peers_channel(ROLE_MAILD, ROLE_MIMED));
	assert_false(peers_channel(ROLE_IMAPD, ROLE_QUEUED));
	assert_false(peers_channel(ROLE_SMTPD, ROLE_SMTPD));
	for (enum role r = 0; r < ROLE_MAX; r++)
		assert_false(peers_channel(ROLE_MIMED, r));
}

static void
test_names(void **st)
{
	for (enum role r = 0; r < ROLE_MAX; r++)
		assert_int_equal(role_by_name(role_name(r)), r);
	assert_int_equal(role_by_name("nobody"), ROLE_MAX);
}

static const unsigned char key[32] = "0123456789abcdef0123456789abcde";

static struct ticket
some_ticket(void)
{
	return (struct ticket){ .account = 0x123456789abcdef, .generation = 7, .channel = 99,
		.expires_ms = clock_real_us() / 1000 + 60000, .volume = 3, .slot = 4095,
		.rights = TICKET_MAIL | TICKET_SUBMIT, .user = STR("user1@example.test") };
}

static void
test_ticket(void **st)
{
	struct ticket t = some_ticket(), got;
	struct buf b = { 0 };

	ticket_seal(&b, key, &t);
	assert_int_equal(ticket_open(buf_view(&b), key, 99, &got), 0);
	assert_true(got.account == t.account && got.generation == 7 && got.channel == 99);
	assert_true(got.expires_ms == t.expires_ms && got.volume == 3 && got.slot == 4095);
	assert_int_equal(got.rights, TICKET_MAIL | TICKET_SUBMIT);
	assert_true(str_eq(got.user, t.user));
	assert_int_equal(ticket_open(buf_view(&b), key, 98, &got), -EACCES);
	buf_done(&b);
}

static void
test_ticket_expired(void **st)
{
	struct ticket t = some_ticket(), got;
	struct buf b = { 0 };

	t.expires_ms = clock_real_us() / 1000 - 1;
	ticket_seal(&b, key, &t);
	assert_int_equal(ticket_open(buf_view(&b), key, 99, &got), -ETIME);
	buf_done(&b);
}

static void
test_ticket_damaged(void **st)
{
	static const unsigned char other[32] = "other";
	struct ticket t = some_ticket(), got;
	struct buf b = { 0 };

	ticket_seal(&b, key, &t);
	assert_int_equal(ticket_open(buf_view(&b), other, 99, &got), -EBADMSG);
	for (size_t i = 0; i < b.n; i++) { /* every bit counts */
		b.p[i] ^= 1;
		assert_int_equal(ticket_open(buf_view(&b), key, 99, &got), -EBADMSG);
		b.p[i] ^= 1;
		assert_int_equal(ticket_open(str_head(buf_view(&b), i), key, 99, &got), -EBADMSG);
	}
	buf_putc(&b, 'x');
	assert_int_equal(ticket_open(buf_view(&b), key, 99, &got), -EBADMSG);
	buf_done(&b);
}

static struct metric hits = METRIC_COUNTER("test_hits_total", "kind=\"a\"", "Hits");
static struct metric depth = METRIC_GAUGE("test_depth", NULL, "Depth");
static struct metric waits = METRIC_HISTOGRAM("test_wait_seconds", NULL, "Waits");

static void
has(const struct buf *b, const char *line)
{
	if (str_find(buf_view(b), str_c(line)) < 0)
		fail_msg("missing: %s\nin:\n%.*s", line, STR_ARG(buf_view(b)));
}

static void
test_metrics(void **st)
{
	struct metric *m = metric_labelled(METRIC_K_COUNTER, "test_hits_total", "kind=\"b\"", "Hits");
	struct buf b = { 0 };

	metric_add(&hits, 2);
	metric_add(&hits, 1);
	metric_add(m, 5);
	assert_ptr_equal(m,
	    metric_labelled(METRIC_K_COUNTER, "test_hits_total", "kind=\"b\"", "Hits"));
	metric_set(&depth, -4);
	metric_observe_us(&waits, 50);
	metric_observe_us(&waits, 101);
	metric_observe_us(&waits, UINT64_C(1) << 60);
	metrics_put(&b, "smtpd", 2);
	has(&b, "# HELP posthorn_test_hits_total Hits\n# TYPE posthorn_test_hits_total counter\n");
	has(&b, "posthorn_test_hits_total{proc=\"smtpd.2\",kind=\"a\"} 3\n");
	has(&b, "posthorn_test_hits_total{proc=\"smtpd.2\",kind=\"b\"} 5\n");
	has(&b, "posthorn_test_depth{proc=\"smtpd.2\"} -4\n");
	has(&b, "posthorn_test_wait_seconds_bucket{proc=\"smtpd.2\",le=\"0.0001\"} 1\n");
	has(&b, "posthorn_test_wait_seconds_bucket{proc=\"smtpd.2\",le=\"0.0004\"} 2\n");
	has(&b, "posthorn_test_wait_seconds_bucket{proc=\"smtpd.2\",le=\"+Inf\"} 3\n");
	has(&b, "posthorn_test_wait_seconds_count{proc=\"smtpd.2\"} 3\n");
	buf_done(&b);
}

static void
test_merge(void **st)
{
	static const struct str texts[] = {
		STR_INIT("# HELP a A\n# TYPE a counter\na{p=\"1\"} 1\n# HELP h H\n# TYPE h histogram\n"
		         "h_bucket{p=\"1\"} 1\nh_sum{p=\"1\"} 2\n"),
		STR_INIT("# HELP h H\n# TYPE h histogram\nh_bucket{p=\"2\"} 3\nh_sum{p=\"2\"} 4\n"
		         "# HELP a A\n# TYPE a counter\na{p=\"2\"} 5\n"),
	};
	struct buf b = { 0 };

	metrics_merge(&b, texts, 2);
	assert_string_equal(buf_cstr(&b),
	    "# HELP a A\n# TYPE a counter\na{p=\"1\"} 1\na{p=\"2\"} 5\n"
	    "# HELP h H\n# TYPE h histogram\nh_bucket{p=\"1\"} 1\nh_sum{p=\"1\"} 2\n"
	    "h_bucket{p=\"2\"} 3\nh_sum{p=\"2\"} 4\n");
	buf_done(&b);
}

static void *
hit(void *arg)
{
	for (int i = 0; i < 10000; i++)
		metric_add(arg, 1);
	return NULL;
}

static void
test_metrics_threads(void **st)
{
	static struct metric shared = METRIC_COUNTER("test_shared_total", NULL, "Shared");
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hit, &shared), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(shared.v, 40000);
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_channels),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_ticket),
		cmocka_unit_test(test_ticket_expired),
		cmocka_unit_test(test_ticket_damaged),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_metrics_threads),
	};

	return cmocka_run_group_tests_name("lib/proc", t, NULL, NULL);
}
