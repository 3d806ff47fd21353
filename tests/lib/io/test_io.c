/* lib/io: the loop, coroutines, streams (plain and TLS), parked sessions, frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/io/co.h"
#include "lib/io/session.h"
#include "lib/io/wire.h"

static struct loop *loop;
static int step;

static void
stop_loop(void *arg)
{
	loop_stop(loop);
}

static void
run_for(uint64_t ms)
{
	struct timer t = { 0 };

	loop_timer(loop, &t, ms, stop_loop, NULL);
	loop_run(loop);
	loop_timer_clear(loop, &t);
}

static int
make_loop(void **st)
{
	struct err e;

	step = 0;
	loop = loop_new(&e);
	return loop ? 0 : -1;
}

static int
free_loop(void **st)
{
	loop_free(&loop);
	return 0;
}

/* ---- timers ---- */

static int order[64], n_order;

static void
note(void *arg)
{
	order[n_order++] = (int)(intptr_t)arg;
}

static void
test_timers_in_order(void **st)
{
	static const int due[] = { 30, 5, 20, 10, 25, 15 };
	struct timer t[6] = { 0 };

	n_order = 0;
	for (int i = 0; i < 6; i++)
		loop_timer(loop, &t[i], (uint64_t)due[i], note, (void *)(intptr_t)due[i]);
	loop_timer_clear(loop, &t[2]);
	run_for(60);
	assert_int_equal(n_order, 5);
	for (int i = 1; i < n_order; i++)
		assert_true(order[i - 1] < order[i]);
}

/* ---- coroutines ---- */

static struct co *sleeper;

static void
sleep_and_wake(void *arg)
{
	sleeper = co_self();
	assert_int_equal(co_wait(10000), 0);
	step = 1;
	assert_int_equal(co_wait(5), -ETIMEDOUT);
	step = 2;
	loop_stop(loop);
}

static void
wake_sleeper(void *arg)
{
	co_wake(sleeper);
}

static void *
post_from_thread(void *arg)
{
	usleep(10000);
	loop_post(loop, wake_sleeper, NULL);
	return NULL;
}

static void
test_wait_and_wake(void **st)
{
	pthread_t th;

	assert_int_equal(co_spawn(loop, "test", sleep_and_wake, NULL), 0);
	run_for(1); /* it begins in the first turn, and sleeps */
	assert_int_equal(step, 0);
	pthread_create(&th, NULL, post_from_thread, NULL);
	loop_run(loop);
	pthread_join(th, NULL);
	assert_int_equal(step, 2);
	assert_int_equal(co_count(loop), 0);
}

static void
nap(void *arg)
{
	co_sleep(1);
	step++;
}

static void
test_many_coroutines(void **st)
{
	co_limit(loop, 500);
	for (int i = 0; i < 500; i++)
		assert_int_equal(co_spawn(loop, "nap", nap, NULL), 0);
	assert_int_equal(co_spawn(loop, "nap", nap, NULL), -EAGAIN);
	run_for(100);
	assert_int_equal(step, 500);
	assert_int_equal(co_count(loop), 0);
}

/* ---- streams ---- */

static int pair[2];

static void
echo_lines(void *arg)
{
	struct stream *s = stream_new(loop, pair[0], 1024, NULL);
	ssize_t r;

	while ((r = stream_fill(s)) > 0) {
		struct str in = stream_peek(s);
		ptrdiff_t nl = str_chr(in, '\n');

		if (nl < 0)
			continue;
		stream_put(s, in.p, (size_t)nl + 1);
		stream_consume(s, (size_t)nl + 1);
	}
	step = (int)r;
	stream_free(&s);
	loop_stop(loop);
}

static void *
talk(void *arg)
{
	struct stream *s = stream_new(NULL, pair[1], 0, NULL);
	char in[6];

	for (int i = 0; i < 6; i++) {
		stream_put(s, &"hello\n"[i], 1);
		stream_flush(s);
	}
	assert_int_equal(stream_read_full(s, in, 6), 0);
	assert_memory_equal(in, "hello\n", 6);
	stream_unread(s, "lo\n", 3);
	assert_true(str_eq(stream_peek(s), STR("lo\n")));
	stream_free(&s);
	return NULL;
}

static void
test_stream_byte_by_byte(void **st)
{
	pthread_t th;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	step = 77;
	co_spawn(loop, "echo", echo_lines, NULL);
	pthread_create(&th, NULL, talk, NULL);
	loop_run(loop);
	pthread_join(th, NULL);
	assert_int_equal(step, 0);
}

static void
fill_limit(void *arg)
{
	struct stream *s = stream_new(loop, pair[0], 256, NULL);
	ssize_t r;

	while ((r = stream_fill(s)) > 0)
		;
	step = (int)r;
	stream_free(&s);
	loop_stop(loop);
}

static void
test_stream_limit(void **st)
{
	char junk[1000] = { 0 };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(write(pair[1], junk, sizeof junk), sizeof junk);
	co_spawn(loop, "limit", fill_limit, NULL);
	loop_run(loop);
	close(pair[1]);
	assert_int_equal(step, -ENOBUFS);
}

static void
wait_in_vain(void *arg)
{
	struct stream *s = stream_new(loop, pair[0], 0, NULL);

	stream_timeout(s, 20);
	step = (int)stream_fill(s);
	assert_string_equal(stream_why(s), "timed out");
	stream_free(&s);
	loop_stop(loop);
}

static void
test_stream_timeout(void **st)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	co_spawn(loop, "vain", wait_in_vain, NULL);
	loop_run(loop);
	close(pair[1]);
	assert_int_equal(step, -ETIMEDOUT);
}

/* ---- sessions ---- */

static int runs[8];

static void *
s_open(struct session *s)
{
	return s;
}

static enum session_next
s_run(struct session *s, enum session_reason why)
{
	struct stream *st = session_stream(s);
	struct str in;
	ptrdiff_t nl;

	runs[why]++;
	if (why == SESSION_NEW)
		stream_puts(st, "hi\n");
	if (why == SESSION_IDLE) {
		stream_puts(st, "idle\n");
		return SESSION_CLOSE;
	}
	while (in = stream_peek(st), (nl = str_chr(in, '\n')) >= 0) {
		bool quit = str_starts(in, STR("quit"));

		stream_put(st, in.p, (size_t)nl + 1);
		stream_consume(st, (size_t)nl + 1);
		if (quit)
			return SESSION_CLOSE;
	}
	session_idle_limit(s, 50);
	return SESSION_PARK;
}

static void
s_close(struct session *s)
{
	runs[7]++;
}

static const struct session_kind kind = {
	.name = "test", .max_sessions = 3, .busy_reply = "busy\n",
	.open = s_open, .run = s_run, .close = s_close,
};

static int
dial(const struct sockaddr_in *a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)a, sizeof *a), 0);
	return fd;
}

static void
want(int fd, const char *text)
{
	char got[64] = "";
	size_t n = 0, len = strlen(text);
	ssize_t r;

	while (n < len && (r = read(fd, got + n, len - n)) > 0)
		n += (size_t)r;
	assert_string_equal(got, text);
}

static void *
clients(void *arg)
{
	const struct sockaddr_in *a = arg;
	int fd[4];
	char c;

	for (int i = 0; i < 3; i++) {
		fd[i] = dial(a);
		want(fd[i], "hi\n");
	}
	fd[3] = dial(a);
	want(fd[3], "busy\n");
	for (int i = 0; i < 5; i++) { /* half a line parks, the rest wakes */
		assert_int_equal(write(fd[0], "one\ntw", 6), 6);
		want(fd[0], "one\n");
		assert_int_equal(write(fd[0], "o\n", 2), 2);
		want(fd[0], "two\n");
	}
	assert_int_equal(write(fd[0], "quit\n", 5), 5);
	want(fd[0], "quit\n");
	assert_int_equal(read(fd[0], &c, 1), 0);
	close(fd[1]);
	want(fd[2], "idle\n");
	assert_int_equal(read(fd[2], &c, 1), 0);
	for (int i = 0; i < 4; i++)
		if (i != 1)
			close(fd[i]);
	loop_stop(loop);
	return NULL;
}

static void
test_sessions(void **st)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct listener *li;
	struct err e;
	pthread_t th;

	memset(runs, 0, sizeof runs);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 8), 0);
	getsockname(fd, (struct sockaddr *)&a, &n);
	li = session_listen(loop, &kind, fd, NULL, &e);
	assert_non_null(li);
	pthread_create(&th, NULL, clients, &a);
	loop_run(loop);
	pthread_join(th, NULL);
	run_for(20);
	assert_int_equal(session_count(loop), 0);
	assert_int_equal(runs[SESSION_NEW], 3);
	assert_int_equal(runs[SESSION_IDLE], 1);
	assert_int_equal(runs[7], 3);
	session_unlisten(&li);
	run_for(1);
}

/* ---- TLS ---- */

static void
make_certificate(struct buf *cert, struct buf *key)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *b = BIO_new(BIO_s_mem());
	char *p;

	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, k);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)"mail.example.test", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_sign(x, k, EVP_sha256());
	PEM_write_bio_X509(b, x);
	buf_put(cert, p, (size_t)BIO_get_mem_data(b, &p));
	BIO_reset(b);
	PEM_write_bio_PrivateKey(b, k, NULL, NULL, 0, NULL, NULL);
	buf_put(key, p, (size_t)BIO_get_mem_data(b, &p));
	BIO_free(b);
	X509_free(x);
	EVP_PKEY_free(k);
}

static struct tls_server *tls;

static void
tls_echo(void *arg)
{
	struct stream *s = stream_new(loop, pair[0], 0, NULL);
	char in[5];

	/* what came before the handshake must not count after it */
	while (stream_peek(s).n < 6)
		assert_true(stream_fill(s) > 0);
	assert_int_equal(stream_tls_accept(s, tls), 0);
	assert_int_equal(stream_peek(s).n, 0);
	assert_string_equal(stream_tls(s)->version, "TLSv1.3");
	assert_int_equal(stream_read_full(s, in, 5), 0);
	stream_put(s, in, 5);
	assert_int_equal(stream_flush(s), 0);
	stream_free(&s);
	loop_stop(loop);
}

static void *
tls_talk(void *arg)
{
	struct stream *s = stream_new(NULL, pair[1], 0, NULL);
	struct tls_client *c = tls_client_new(STR_NULL, false, NULL);
	char in[5];

	stream_put(s, "inject", 6);
	stream_flush(s);
	usleep(20000);
	assert_int_equal(stream_tls_connect(s, c, "mail.example.test"), 0);
	stream_put(s, "hello", 5);
	stream_flush(s);
	assert_int_equal(stream_read_full(s, in, 5), 0);
	assert_memory_equal(in, "hello", 5);
	stream_free(&s);
	tls_client_free(&c);
	return NULL;
}

static void
test_tls(void **st)
{
	struct buf cert = { 0 }, key = { 0 };
	struct tls_pair p;
	struct err e;
	pthread_t th;

	make_certificate(&cert, &key);
	p = (struct tls_pair){ buf_view(&cert), buf_view(&key) };
	tls = tls_server_new(&p, 1, &e);
	assert_non_null(tls);
	assert_int_equal(tls_server_reload(tls, &p, 1, &e), 0);
	p.key_pem = STR("rubbish");
	assert_true(tls_server_reload(tls, &p, 1, &e) < 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	co_spawn(loop, "tls", tls_echo, NULL);
	pthread_create(&th, NULL, tls_talk, NULL);
	loop_run(loop);
	pthread_join(th, NULL);
	tls_server_free(&tls);
	buf_done(&cert);
	buf_done(&key);
}

/* ---- frames ---- */

static void
test_wire(void **st)
{
	struct buf b = { 0 };
	struct frame f;
	struct wire_field w;
	struct str body;
	size_t at, start;

	buf_grown(&b, (size_t)(buf_room(&b, WIRE_HEAD) ? WIRE_HEAD : 0));
	start = b.n;
	wire_u64(&b, 1, 200);
	wire_u64(&b, 2, 70000);
	wire_u64(&b, 3, UINT64_MAX);
	at = wire_begin(&b, 4);
	wire_str(&b, 1, STR("inner"));
	wire_end(&b, at);
	wire_head(b.p, 0x0301, WIRE_ANSWER, 99, b.n - start);
	for (size_t cut = 0; cut < b.n; cut++) {
		assert_int_equal(wire_parse(str_head(buf_view(&b), cut), &f), 0);
		if (cut >= WIRE_HEAD) {
			body = str_from(b.p + WIRE_HEAD, cut - WIRE_HEAD);
			while (wire_next(&body, &w) > 0)
				;
		}
	}
	assert_int_equal(wire_parse(buf_view(&b), &f), b.n);
	assert_int_equal(f.type, 0x0301);
	assert_int_equal(f.id, 99);
	body = f.body;
	assert_int_equal(wire_next(&body, &w), 1);
	assert_int_equal(wire_int(&w), 200);
	assert_int_equal(wire_next(&body, &w), 1);
	assert_int_equal(wire_int(&w), 70000);
	assert_int_equal(wire_next(&body, &w), 1);
	assert_true(wire_int(&w) == UINT64_MAX);
	assert_int_equal(wire_next(&body, &w), 1);
	assert_int_equal(w.tag, 4);
	body.n -= body.n ? 1 : 0;
	le32_put(b.p, WIRE_MAX + 1);
	assert_int_equal(wire_parse(buf_view(&b), &f), -EPROTO);
	le32_put(b.p, 3);
	assert_int_equal(wire_parse(buf_view(&b), &f), -EPROTO);
	buf_done(&b);
}

#define ON_LOOP(f) cmocka_unit_test_setup_teardown(f, make_loop, free_loop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(test_timers_in_order),
		ON_LOOP(test_wait_and_wake),
		ON_LOOP(test_many_coroutines),
		ON_LOOP(test_stream_byte_by_byte),
		ON_LOOP(test_stream_limit),
		ON_LOOP(test_stream_timeout),
		ON_LOOP(test_sessions),
		ON_LOOP(test_tls),
		cmocka_unit_test(test_wire),
	};

	signal(SIGPIPE, SIG_IGN); /* as service_run does: OpenSSL writes without MSG_NOSIGNAL */
	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
