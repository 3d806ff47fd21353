/*
 * All that a milter sends in a connection: its bytes stand in a socket while a whole mail is told to
 * it, with a host that takes every change.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "plugins/milter/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAIL "Received: from x by mail.test\r\nX-A: 1\r\nSubject: s\r\n two\r\n\r\nbody\r\n"

static struct ph_str
host_text(struct ph_call *c, uint32_t what)
{
	(void)c;
	return ph_c(what == PH_CLIENT_IP ? "192.0.2.1" : what == PH_HOSTNAME ? "mail.test" :
	    what == PH_TLS ? "TLSv1.3 with cipher X (256 bits)" : "a@example.test");
}

static uint64_t
host_number(struct ph_call *c, uint32_t what)
{
	(void)c;
	return what == PH_RCPTS ? 2 : what == PH_DEADLINE_MS ? 2000 : 0;
}

static uint32_t
host_granted(void)
{
	return UINT32_MAX;
}

static int
host_rcpt(struct ph_call *c, uint32_t i, struct ph_rcpt *ret, size_t size)
{
	(void)c;
	(void)size;
	ret->address = ret->said = ph_c("user1@example.test");
	return i < 2 ? 0 : -2;
}

static struct ph_str
host_message(struct ph_call *c)
{
	(void)c;
	return ph_c(MAIL);
}

/* What the host is given must be readable, whatever it makes of it. */
static int
look(struct ph_str s)
{
	volatile char sum = 0;

	for (size_t i = 0; i < s.n; i++)
		sum = (char)(sum ^ s.p[i]);
	return 0;
}

static int
host_add(struct ph_call *c, uint32_t at, struct ph_str name, struct ph_str value)
{
	(void)c;
	(void)at;
	return look(name) | look(value);
}

static int
host_set(struct ph_call *c, uint32_t i, struct ph_str value)
{
	(void)c;
	if (i > 2)
		abort();
	return look(value);
}

static int
host_number_only(struct ph_call *c, uint32_t i)
{
	(void)c;
	(void)i;
	return 0;
}

static int
host_value(struct ph_call *c, struct ph_str value)
{
	(void)c;
	return look(value);
}

static void
host_reply(struct ph_call *c, uint32_t smtp, const char *enhanced, struct ph_str text)
{
	(void)c;
	if (smtp && (smtp < 400 || smtp > 599 || (enhanced && strlen(enhanced) > 11)))
		abort();
	look(text);
}

static void
host_log(uint32_t level, const char *text)
{
	(void)level;
	(void)text;
}

static void
host_count(const char *name, uint64_t n)
{
	(void)name;
	(void)n;
}

static const struct ph_api api = { .size = sizeof api, .abi = PH_ABI, .text = host_text,
	.number = host_number, .granted = host_granted, .rcpt = host_rcpt, .message = host_message,
	.header_add = host_add, .header_set = host_set, .header_remove = host_number_only,
	.rcpt_add = host_value, .rcpt_remove = host_number_only, .sender_set = host_value,
	.body_set = host_value, .reply = host_reply, .log = host_log, .count = host_count };
const struct ph_api *ph_host = &api;

/* The first half of the input is a dialogue from the offer on; nobody listens when it is over. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct milter_options o = { .version = 6, .connect_ms = 1000, .command_ms = 1000,
		.content_ms = 1000, .hostname = { "mail.test", 9 } };
	struct milter_session *s = milter_session_new(&o);
	int fds[2];

	if (!s || size > 60000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
		abort();
	s->wire = (struct milter_wire){ .fd = fds[0], .in = { .max = 2 * MILTER_PACKET_MAX } };
	if (send(fds[1], data, size, MSG_NOSIGNAL) == (ssize_t)size) {
		shutdown(fds[1], SHUT_WR);
		milter_session_hook(s, NULL, MILTER_MESSAGE, false);
	}
	close(fds[1]);
	milter_session_free(s);
	return 0;
}
