/*
 * How the client speaks: the start of a connection, EHLO, HELO, LHLO, STARTTLS
 * (RFC 3207). Who it is by the word of a proxy is smtpd_proxy's.
 */
#include <stdlib.h>

#include "lib/base/log.h"
#include "mta/smtpd.h"

bool
smtp_welcome(struct smtp *s)
{
	if (!smtp_filter(s, FILTER_CONNECT, STR_NULL)) {
		s->closing = true;
		return false;
	}
	stream_printf(s->io, "220 %.*s %s Posthorn\r\n", STR_ARG(smtp_settings()->hostname),
	    smtp_is_lmtp(s) ? "LMTP" : "ESMTP");
	return true;
}

bool
smtp_within_limits(struct smtp *s, enum front_answer a)
{
	if (a == FRONT_OK)
		return true;
	LOG_INFO("smtp.too_many_sessions", L_C("ip", session_peer_text(s->session)),
	    L_C("limit", a == FRONT_FULL ? "all" : "address"));
	if (s->listen->tls != CONF_TLS_IMPLICIT || stream_tls(s->io))
		smtp_reply(s, 421, a == FRONT_FULL ? "4.3.2" : "4.7.0", a == FRONT_FULL ?
		    "Too many sessions, try later" : "Too many sessions from your address");
	return false;
}

bool
smtp_greet(struct smtp *s)
{
	const struct settings *set = smtp_settings();
	enum front_answer a = front_arrive(&s->front, s->session, set, s->listen, set->smtp_sessions,
	    set->smtp_sessions_per_address);

	stream_timeout(s->io, set->smtp_timeout_ms);
	session_idle_limit(s->session, set->smtp_timeout_ms);
	if (a == FRONT_BAD_PROXY || !smtp_within_limits(s, a))
		return false;
	LOG_POSTFIX("smtp.connected", L_C("session", s->id), L_C("ip", session_peer_text(s->session)));
	s->trusted = front_client_in(s->session, &set->trust_proxy);
	if (s->listen->tls == CONF_TLS_IMPLICIT) {
		if (!service_tls(smtpd.service) ||
		    stream_tls_accept(s->io, service_tls(smtpd.service)) < 0)
			return false;
	} else if (stream_spoke(s->io)) {
		smtp_reply(s, 554, "5.5.0", "The server speaks first");
		return false;
	}
	return smtp_welcome(s);
}

/* ---- EHLO and its like ---- */

static bool
hello_name(struct smtp *s, struct str arg, bool esmtp)
{
	char *name;

	if (!path_is_host(arg)) {
		smtp_reply(s, 501, "5.5.4", arg.n ? "Bad host name" : "A host name is missing");
		return false;
	}
	smtp_txn_end(s);
	name = strndup(arg.p, arg.n);
	if (!name) {
		smtp_reply(s, 451, "4.3.0", "Out of memory");
		return false;
	}
	free(s->helo);
	s->helo = name;
	s->esmtp = esmtp;
	if (smtp_filter(s, FILTER_HELO, STR_NULL))
		return true;
	free(s->helo);
	s->helo = NULL;
	return false;
}

bool
smtp_auth_offered(struct smtp *s)
{
	return s->listen->auth && (stream_tls(s->io) || s->listen->plaintext_auth ||
	    front_client_in(s->session, &smtp_settings()->plaintext_auth_from));
}

bool
smtp_tls_offered(struct smtp *s)
{
	return s->listen->tls != CONF_TLS_OFF && !stream_tls(s->io) && service_tls(smtpd.service);
}

/* Lines of a reply, each with its "250-": the last one gets a blank instead. */
static void
end_reply(struct buf *b)
{
	ptrdiff_t lf = b->n > 2 ? str_rchr(str_head(buf_view(b), b->n - 2), '\n') : -1;

	if (!b->over && b->n > 6)
		b->p[lf + 4] = ' ';
}

void
cmd_ehlo(struct smtp *s, struct str arg)
{
	struct buf b;

	if (!hello_name(s, arg, true))
		return;
	buf_init(&b, 4096);
	buf_printf(&b, "250-%.*s\r\n", STR_ARG(smtp_settings()->hostname));
	smtp_extensions_put(s, &b);
	end_reply(&b);
	stream_put(s->io, b.p, b.n);
	buf_done(&b);
}

void
cmd_helo(struct smtp *s, struct str arg)
{
	if (!hello_name(s, arg, false))
		return;
	stream_printf(s->io, "250 %.*s\r\n", STR_ARG(smtp_settings()->hostname));
}

void
smtp_forget(struct smtp *s)
{
	smtp_txn_end(s);
	free(s->helo);
	free(s->user);
	s->helo = s->user = NULL;
	s->account = 0;
	s->esmtp = false;
}

void
cmd_starttls(struct smtp *s, struct str arg)
{
	if (arg.n) {
		smtp_reply(s, 501, "5.5.4", "STARTTLS takes no arguments");
		return;
	}
	if (!smtp_tls_offered(s)) {
		smtp_reply(s, stream_tls(s->io) ? 503 : 502, "5.5.1",
		    stream_tls(s->io) ? "TLS is on already" : "TLS is not offered here");
		return;
	}
	smtp_reply(s, 220, "2.0.0", "Ready to start TLS");
	smtp_forget(s); /* RFC 3207 section 4.2: what was said in the clear */
	if (stream_flush(s->io) < 0 || stream_tls_accept(s->io, service_tls(smtpd.service)) < 0)
		s->closing = true;
}
