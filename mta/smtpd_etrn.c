/*
 * ETRN (RFC 1985): a client that is reached now and then has what waits for it tried. It
 * goes to where mail for the domain always goes, never to the client, so nothing can be
 * fetched by it.
 */
#include <errno.h>

#include "lib/base/log.h"
#include "lib/client/queue_flush.h"
#include "mta/smtpd.h"

static bool
allowed(struct smtp *s)
{
	switch (smtp_settings()->smtp_etrn) {
	case CONF_ETRN_OFF:
		return false;
	case CONF_ETRN_RELAY_CLIENTS:
		return smtp_may_relay(s);
	case CONF_ETRN_ANYONE:
		return true;
	}
	return false;
}

bool
smtp_etrn_offered(struct smtp *s)
{
	return !smtp_is_lmtp(s) && s->listen->proto == CONF_SMTP && allowed(s);
}

/* RFC 1985 section 5.3. */
static void
say_result(struct smtp *s, struct str node, int code, uint64_t messages)
{
	if (code)
		smtp_reply(s, 458, "4.3.0", "Unable to queue messages for node %.*s", STR_ARG(node));
	else if (!messages)
		smtp_reply(s, 251, "2.0.0", "Ok, no messages waiting for node %.*s", STR_ARG(node));
	else
		smtp_reply(s, 253, "2.0.0", "Ok, %llu pending messages for node %.*s started",
		    (unsigned long long)messages, STR_ARG(node));
}

static void
flush(struct smtp *s, struct str arg, struct arena *a)
{
	struct str node = arena_dup(a, arg); /* the line goes during the call */
	struct queue_flush q = { .domain = node, .subdomains = node.n && node.p[0] == '@' };
	uint64_t messages = 0;
	int code;

	if (q.subdomains)
		q.domain = str_skip(node, 1);
	if (!path_is_host(q.domain) || q.domain.p[0] == '[') {
		smtp_reply(s, 501, "5.5.4", "Syntax: ETRN domain");
		return;
	}
	code = queue_flush(&q, a, &messages);
	LOG_INFO("smtp.etrn", L_C("session", s->id), L_C("ip", session_peer_text(s->session)),
	    L_STR("node", node), L_U64("messages", messages), L_I64("code", code));
	say_result(s, node, code, messages);
}

void
cmd_etrn(struct smtp *s, struct str arg)
{
	struct arena *a;

	if (!smtp_offers(s, EXT_ETRN))
		smtp_reply(s, smtp_settings()->smtp_etrn == CONF_ETRN_OFF ? 502 : 459,
		    smtp_settings()->smtp_etrn == CONF_ETRN_OFF ? "5.5.1" : "5.7.1",
		    "ETRN is not for this client");
	else if (s->txn)
		smtp_reply(s, 503, "5.5.1", "Not in a transaction");
	else if (arg.n && arg.p[0] == '#')
		smtp_reply(s, 459, "5.5.4", "No such queue");
	else if (!(a = arena_new(64 << 10)))
		smtp_reply(s, 458, "4.3.0", "Out of memory");
	else {
		flush(s, arg, a);
		arena_free(&a);
	}
}
