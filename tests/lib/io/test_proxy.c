/* lib/io/proxy: each header whole, cut at each place, and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/io/proxy.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"

static const struct {
	struct str in;
	ssize_t want;          /* its length; -EPROTO */
	const char *client;    /* NULL: local */
	unsigned port;
} cases[] = {
	{ STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 1025 25\r\n"), 40, "192.0.2.1", 1025 },
	{ STR_INIT("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"), 36, "2001:db8::1", 65535 },
	{ STR_INIT("PROXY UNKNOWN\r\n"), 15, NULL, 0 },
	{ STR_INIT("PROXY UNKNOWN whatever it says\r\n"), 32, NULL, 0 },
	{ STR_INIT(SIG "\x20\x00\x00\x00"), 16, NULL, 0 },
	{ STR_INIT(SIG "\x21\x00\x00\x03\x04\x00\x00"), 19, NULL, 0 },
	{ STR_INIT(SIG "\x21\x31\x00\x00"), 16, NULL, 0 },
	{ STR_INIT(SIG "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\x01\x00\x19"), 28,
	    "192.0.2.1", 1025 },
	{ STR_INIT(SIG "\x21\x11\x00\x0f\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\x01\x00\x19\x04\x00\x00"),
	    31, "192.0.2.1", 1025 },
	{ STR_INIT(SIG "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
	    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x04\x01\x00\x19"), 52, "2001:db8::1", 1025 },
	/* What is none. */
	{ STR_INIT("EHLO client.test\r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 1025 25\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 1025\r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 1025 25 1\r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY TCP4 2001:db8::1 ::1 1 2\r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT("PROXY \r\n"), -EPROTO, NULL, 0 },
	{ STR_INIT(SIG "\x22\x11\x00\x00"), -EPROTO, NULL, 0 },
	{ STR_INIT(SIG "\x11\x11\x00\x00"), -EPROTO, NULL, 0 },
	{ STR_INIT(SIG "\x21\x12\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\x01\x00\x19"), -EPROTO, NULL,
	    0 },
	{ STR_INIT(SIG "\x21\x11\x00\x0b\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\x01\x00"), -EPROTO, NULL, 0 },
	{ STR_INIT(SIG "\x21\x11\x00\x0e\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\x01\x00\x19\x04\x00"),
	    -EPROTO, NULL, 0 },
	{ STR_INIT(SIG "\x21\x11\xff\xff"), -EPROTO, NULL, 0 },
};

static void
check_client(size_t i, const struct proxy_header *h)
{
	char text[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&h->client;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&h->client;
	bool four = h->client.ss_family == AF_INET;

	assert_int_equal(h->local, !cases[i].client);
	if (h->local)
		return;
	inet_ntop(h->client.ss_family, four ? (const void *)&v4->sin_addr : &v6->sin6_addr, text,
	    sizeof text);
	assert_string_equal(text, cases[i].client);
	assert_int_equal(ntohs(four ? v4->sin_port : v6->sin6_port), cases[i].port);
}

/* Whole, and each beginning: unfinished ones ask for no more than there is. */
static void
test_parse(void **st)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t n = 0; n <= cases[i].in.n; n++) {
			struct proxy_header h;
			size_t more = 0;
			ssize_t r = proxy_parse(str_head(cases[i].in, n), &h, &more);

			if (n == cases[i].in.n || r < 0)
				assert_int_equal(r, cases[i].want);
			else if (r == 0)
				assert_true(more > 0 && (cases[i].want < 0 || n + more <= cases[i].in.n));
			else
				fail_msg("case %zu is a header after %zu bytes", i, n);
			if (r > 0)
				check_client(i, &h);
		}
}

static void
test_too_long(void **st)
{
	char in[PROXY_V1_MAX + 1] = "PROXY UNKNOWN ";
	struct proxy_header h;
	size_t more;

	memset(in + 14, 'x', sizeof in - 14);
	assert_int_equal(proxy_parse(str_from(in, PROXY_V1_MAX - 1), &h, &more), 0);
	assert_int_equal(proxy_parse(str_from(in, PROXY_V1_MAX), &h, &more), -EPROTO);
	in[PROXY_V1_MAX - 2] = '\r', in[PROXY_V1_MAX - 1] = '\n';
	assert_int_equal(proxy_parse(str_from(in, PROXY_V1_MAX), &h, &more), PROXY_V1_MAX);
}

/* From a stream not one byte more than the header is read. */
static void
test_read(void **st)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct proxy_header h;
		struct stream *s;
		char rest[8];
		int sv[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
		assert_int_equal(write(sv[1], cases[i].in.p, cases[i].in.n), (ssize_t)cases[i].in.n);
		assert_int_equal(write(sv[1], "behind", 6), 6);
		s = stream_new(NULL, sv[0], 0, NULL);
		assert_int_equal(proxy_read(s, 1000, &h), cases[i].want < 0 ? -EPROTO : 0);
		if (cases[i].want > 0) {
			check_client(i, &h);
			assert_int_equal(recv(sv[0], rest, sizeof rest, 0), 6);
			assert_memory_equal(rest, "behind", 6);
		}
		stream_free(&s);
		close(sv[1]);
	}
}

static void
test_deadline(void **st)
{
	struct proxy_header h;
	struct stream *s;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(write(sv[1], "PROXY TCP4 ", 11), 11);
	s = stream_new(NULL, sv[0], 0, NULL);
	assert_int_equal(proxy_read(s, 30, &h), -ETIMEDOUT);
	stream_free(&s);
	close(sv[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_read), cmocka_unit_test(test_deadline) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
