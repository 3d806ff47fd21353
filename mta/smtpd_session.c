/*
 * A session from greeting to goodbye: reads commands, holds them to their order
 * (RFC 5321 section 4.1.4) and parks when the client has nothing more to say.
 * A command that must end its group (RFC 2920 section 3.1) and has something
 * behind it ends the session: nothing sent ahead of its turn is ever obeyed.
 */
#include "mta/smtpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/log.h"

#define COMMAND_LINE_MAX 4096

void
smtp_reply(struct smtp *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 32)
			*c = ' ';
	stream_printf(s->io, "%u %s %s\r\n", code, enhanced, text);
	if (code >= 400)
		s->errors++;
	if (code == 421)
		s->closing = true;
}

/* Skips a line that is longer than allowed, to its LF. */
static int
skip_long(struct smtp *s)
{
	ptrdiff_t lf;

	while ((lf = str_chr(stream_peek(s->io), '\n')) < 0) {
		stream_consume(s->io, stream_peek(s->io).n);
		ssize_t n = stream_fill(s->io);
		if (n <= 0)
			return n < 0 ? (int)n : -EPIPE;
	}
	stream_consume(s->io, (size_t)lf + 1);
	return 0;
}

/* Copies the line out of the stream, whose bytes do not outlive the next fill. */
static int
take_line(struct smtp *s, struct str in, size_t lf, struct str *ret)
{
	static _Thread_local char line[SMTP_LINE_MAX + 1];
	bool strict = lf && in.p[lf - 1] == '\r';
	size_t n = strict ? lf - 1 : lf;

	memcpy(line, in.p, n);
	stream_consume(s->io, lf + 1);
	if (strict && !memchr(line, '\r', n) && !memchr(line, 0, n)) {
		*ret = str_from(line, n);
		return 1;
	}
	smtp_reply(s, 500, "5.5.2", "Line must end in CRLF and hold neither CR nor NUL");
	return 0;
}

int
smtp_line(struct smtp *s, bool wait, size_t max, struct str *ret)
{
	for (;;) {
		struct str in = stream_peek(s->io);
		ptrdiff_t lf = str_chr(in, '\n');
		ssize_t n;

		if (lf > (ptrdiff_t)max || (lf < 0 && in.n > max)) {
			smtp_reply(s, 500, "5.5.2", "Line too long");
			if ((n = skip_long(s)) < 0)
				return (int)n;
			continue;
		}
		if (lf >= 0) {
			if (take_line(s, in, (size_t)lf, ret))
				return 1;
			continue;
		}
		if (!wait && !stream_pending(s->io))
			return 0;
		n = stream_fill(s->io);
		if (n <= 0)
			return n < 0 ? (int)n : -EPIPE;
	}
}

void
smtp_txn_end(struct smtp *s)
{
	struct arena *a = s->txn ? s->txn->arena : NULL;

	s->txn = NULL;
	arena_free(&a);
}

bool
smtp_client_in(struct smtp *s, const struct conf_nets *nets)
{
	const struct sockaddr_storage *ss = session_peer(s->session);
	unsigned char a[16] = { [10] = 0xff, [11] = 0xff };

	if (ss->ss_family == AF_INET)
		memcpy(a + 12, &((const struct sockaddr_in *)ss)->sin_addr, 4);
	else
		memcpy(a, &((const struct sockaddr_in6 *)ss)->sin6_addr, 16);
	return conf_nets_has(nets, a);
}

bool
smtp_auth_offered(struct smtp *s)
{
	return s->listen->auth && (stream_tls(s->io) || s->listen->plaintext_auth ||
	    smtp_client_in(s, &smtp_settings()->plaintext_auth_from));
}

bool
smtp_tls_offered(struct smtp *s)
{
	return s->listen->tls != CONF_TLS_OFF && !stream_tls(s->io) && service_tls(smtpd.service);
}

static bool
hello_name(struct smtp *s, struct str arg)
{
	arg = str_trim(arg);
	if (!arg.n || arg.n >= sizeof s->helo) {
		smtp_reply(s, 501, "5.5.4", "Syntax: EHLO name");
		return false;
	}
	for (size_t i = 0; i < arg.n; i++)
		if (!ascii_isalnum(arg.p[i]) && !strchr("-._:[]", arg.p[i])) {
			smtp_reply(s, 501, "5.5.4", "Bad host name");
			return false;
		}
	smtp_txn_end(s);
	memcpy(s->helo, arg.p, arg.n);
	s->helo[arg.n] = 0;
	return true;
}

static void
cmd_ehlo(struct smtp *s, struct str arg)
{
	const struct settings *set = smtp_settings();

	if (!hello_name(s, arg))
		return;
	s->esmtp = true;
	stream_printf(s->io, "250-%.*s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n", STR_ARG(set->hostname),
	    (unsigned long long)set->message_size_limit);
	if (smtp_tls_offered(s))
		stream_puts(s->io, "250-STARTTLS\r\n");
	if (smtp_auth_offered(s))
		stream_puts(s->io, "250-AUTH PLAIN LOGIN\r\n");
	stream_puts(s->io, "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
}

static void
cmd_helo(struct smtp *s, struct str arg)
{
	if (!hello_name(s, arg))
		return;
	s->esmtp = false;
	stream_printf(s->io, "250 %.*s\r\n", STR_ARG(smtp_settings()->hostname));
}

static void
cmd_starttls(struct smtp *s, struct str arg)
{
	if (arg.n || !smtp_tls_offered(s)) {
		smtp_reply(s, arg.n ? 501 : 502, "5.5.1", arg.n ? "No arguments" : "Not offered");
		return;
	}
	stream_puts(s->io, "220 2.0.0 Ready to start TLS\r\n");
	smtp_txn_end(s);
	s->helo[0] = 0; /* RFC 3207 section 4.2: forget what was said in the clear */
	s->esmtp = false;
	if (stream_flush(s->io) < 0 || stream_tls_accept(s->io, service_tls(smtpd.service)) < 0)
		s->closing = true;
}

static void
cmd_rset(struct smtp *s, struct str arg)
{
	smtp_txn_end(s);
	smtp_reply(s, 250, "2.0.0", "Ok");
}

static void
cmd_noop(struct smtp *s, struct str arg)
{
	smtp_reply(s, 250, "2.0.0", "Ok");
}

static void
cmd_vrfy(struct smtp *s, struct str arg)
{
	smtp_reply(s, arg.n ? 252 : 501, arg.n ? "2.5.2" : "5.5.4", "%s",
	    arg.n ? "Send some mail, it will be tried" : "Syntax: VRFY address");
}

static void
cmd_help(struct smtp *s, struct str arg)
{
	smtp_reply(s, 214, "2.0.0", "See RFC 5321");
}

static void
cmd_expn(struct smtp *s, struct str arg)
{
	smtp_reply(s, 502, "5.5.1", "EXPN is not implemented");
}

static void
cmd_quit(struct smtp *s, struct str arg)
{
	smtp_reply(s, 221, "2.0.0", "Bye");
	s->closing = true;
}

static void
cmd_http(struct smtp *s, struct str arg)
{
	smtp_reply(s, 421, "4.7.0", "This is not a web server");
}

enum { V_HELLO = 1 /* needs a greeting */, V_LAST = 2, V_SMTP = 4, V_LMTP = 8 };

static const struct verb {
	struct str name;
	unsigned flags;
	void (*run)(struct smtp *s, struct str arg);
} verbs[] = {
	{ STR_INIT("MAIL"), V_HELLO, cmd_mail },
	{ STR_INIT("RCPT"), V_HELLO, cmd_rcpt },
	{ STR_INIT("DATA"), V_HELLO | V_LAST, cmd_data },
	{ STR_INIT("EHLO"), V_LAST | V_SMTP, cmd_ehlo },
	{ STR_INIT("HELO"), V_LAST | V_SMTP, cmd_helo },
	{ STR_INIT("LHLO"), V_LAST | V_LMTP, cmd_ehlo },
	{ STR_INIT("RSET"), 0, cmd_rset },
	{ STR_INIT("NOOP"), 0, cmd_noop },
	{ STR_INIT("QUIT"), 0, cmd_quit },
	{ STR_INIT("AUTH"), V_HELLO | V_LAST, cmd_auth },
	{ STR_INIT("STARTTLS"), V_LAST, cmd_starttls },
	{ STR_INIT("VRFY"), 0, cmd_vrfy },
	{ STR_INIT("EXPN"), 0, cmd_expn },
	{ STR_INIT("HELP"), 0, cmd_help },
	{ STR_INIT("GET"), 0, cmd_http },
	{ STR_INIT("POST"), 0, cmd_http },
	{ STR_INIT("CONNECT"), 0, cmd_http },
};

static void
command(struct smtp *s, struct str line)
{
	struct str arg = line, name = str_word(&arg);
	bool lmtp = s->listen->proto == CONF_LMTP;
	const struct verb *v = NULL;

	for (size_t i = 0; i < sizeof verbs / sizeof *verbs && !v; i++)
		if (str_ieq(verbs[i].name, name) && !(verbs[i].flags & (lmtp ? V_SMTP : V_LMTP)))
			v = &verbs[i];
	if (!v)
		smtp_reply(s, 500, "5.5.2", "Command not recognized");
	else if ((v->flags & V_LAST || !s->esmtp) && v->run != cmd_quit && stream_pending(s->io) &&
	    stream_peek(s->io).n) {
		smtp_reply(s, 554, "5.5.0", "Commands sent ahead of their turn");
		s->closing = true;
	} else if (v->flags & V_HELLO && !s->helo[0])
		smtp_reply(s, 503, "5.5.1", "Say %s first", lmtp ? "LHLO" : "EHLO");
	else if (s->listen->tls == CONF_TLS_REQUIRED && v->flags & V_HELLO && !stream_tls(s->io))
		smtp_reply(s, 530, "5.7.0", "Say STARTTLS first");
	else
		v->run(s, str_trim(arg));
	if (!s->closing && (s->errors > smtp_settings()->error_limit ||
	    (!s->txn && ++s->commands > smtp_settings()->command_limit)))
		smtp_reply(s, 421, "4.7.0", "Too many errors or commands");
}

static enum session_next
goodbye(struct smtp *s, const char *reply)
{
	stream_puts(s->io, reply);
	stream_flush(s->io);
	return SESSION_CLOSE;
}

static bool
greet(struct smtp *s)
{
	const struct settings *set = smtp_settings();

	stream_timeout(s->io, set->smtp_timeout_ms);
	session_idle_limit(s->session, set->smtp_timeout_ms);
	if (s->listen->tls == CONF_TLS_IMPLICIT &&
	    stream_tls_accept(s->io, service_tls(smtpd.service)) < 0)
		return false;
	if (stream_peek(s->io).n) {
		goodbye(s, "554 5.5.0 The server speaks first\r\n");
		return false;
	}
	stream_printf(s->io, "220 %.*s %s Posthorn\r\n", STR_ARG(set->hostname),
	    s->listen->proto == CONF_LMTP ? "LMTP" : "ESMTP");
	return true;
}

enum session_next
smtp_run(struct session *session, enum session_reason why)
{
	struct smtp *s = session_state(session);
	struct str line;
	int got = 1;

	if (why == SESSION_IDLE)
		return goodbye(s, "421 4.4.2 Timeout, closing connection\r\n");
	if (why == SESSION_DRAIN)
		return goodbye(s, "421 4.3.2 Service shutting down\r\n");
	if (why == SESSION_NEW && !greet(s))
		return SESSION_CLOSE;
	while (!s->closing && (got = smtp_line(s, false, COMMAND_LINE_MAX, &line)) == 1)
		command(s, line);
	if (stream_flush(s->io) < 0 || s->closing || got < 0)
		return SESSION_CLOSE;
	stream_trim(s->io);
	return SESSION_PARK;
}
