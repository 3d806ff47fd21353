/*
 * A session from greeting to goodbye: reads commands, holds them to their order
 * (RFC 5321 section 4.1.4) and parks when the client has nothing more to say.
 * A command that must end its group (RFC 2920 section 3.1) and has something
 * behind it ends the session: nothing sent ahead of its turn is ever obeyed.
 */
#include "mta/smtpd_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/log.h"

#define COMMAND_LINE_MAX 4096 /* but for AUTH, whose initial response may be longer */

static struct metric bad_input = METRIC_COUNTER("smtp_bad_input_total", "kind=\"command\"",
    "What broke the rules of the protocol");
static struct metric ahead = METRIC_COUNTER("smtp_bad_input_total", "kind=\"ahead\"",
    "What broke the rules of the protocol");

void
smtp_reply(struct smtp *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
	char text[512]; /* RFC 5321 section 4.5.3.1.5, CRLF included */
	int n = snprintf(text, sizeof text, "%u %s ", code, enhanced);
	va_list ap;

	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof text - 2 - (size_t)n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof text - 3)
		n = sizeof text - 3;
	for (char *c = text; *c; c++)
		if (*c < 32 || *c == 127) /* chars above ASCII are below 0 */
			*c = '?';
	memcpy(text + n, "\r\n", 2);
	stream_put(s->io, text, (size_t)n + 2);
	if (code >= 400)
		s->errors++;
	if (code == 500 || code == 501)
		metric_add(&bad_input, 1);
	if (code == 421)
		s->closing = true;
}

void
smtp_refused(struct smtp *s, unsigned code, const char *enhanced, struct str address,
    const char *text)
{
	char label[32];
	struct metric *m;

	snprintf(label, sizeof label, "code=\"%.15s\"", enhanced);
	m = metric_labelled(METRIC_K_COUNTER, "smtp_rejected_total", label,
	    "Refused senders, recipients and messages by enhanced status code");
	if (m)
		metric_add(m, 1);
	LOG_INFO("smtp.rejected", L_C("session", s->id), L_C("ip", session_peer_text(s->session)),
	    L_U64("code", code), L_C("enhanced", enhanced), L_STR("address", address),
	    L_C("reason", text), L_STR("from", s->txn ? s->txn->env.sender : STR_NULL),
	    L_C("helo", s->helo));
}

void
smtp_refuse(struct smtp *s, unsigned code, const char *enhanced, struct str address,
    const char *text)
{
	smtp_refused(s, code, enhanced, address, text);
	smtp_reply(s, code, enhanced, "%s", text);
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
			smtp_reply(s, 500, wait ? "5.5.6" : "5.5.2", "Line too long");
			if ((n = skip_long(s)) < 0)
				return (int)n;
			if (wait)
				return -EBADMSG;
			continue;
		}
		if (lf >= 0) {
			if (take_line(s, in, (size_t)lf, ret))
				return 1;
			if (wait)
				return -EBADMSG;
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
	struct arena *a;

	smtp_forward_free(&s->forward);
	if (!s->txn)
		return;
	text_free(&s->txn->text);
	smtp_filter_txn_over(s);
	a = s->txn->arena;
	s->txn = NULL;
	arena_free(&a);
}

static bool
no_argument(struct smtp *s, struct str arg, const char *verb)
{
	if (arg.n)
		smtp_reply(s, 501, "5.5.4", "%s takes no arguments", verb);
	return !arg.n;
}

static void
cmd_rset(struct smtp *s, struct str arg)
{
	if (!no_argument(s, arg, "RSET"))
		return;
	smtp_txn_end(s);
	smtp_reply(s, 250, "2.0.0", "Ok");
}

static void
cmd_noop(struct smtp *s, struct str arg)
{
	smtp_reply(s, 250, "2.0.0", "Ok");
}

/* RFC 5321 section 3.5.3: neither yes nor no, which helps nobody to guess. */
static void
cmd_vrfy(struct smtp *s, struct str arg)
{
	smtp_reply(s, arg.n ? 252 : 501, arg.n ? "2.0.0" : "5.5.4", "%s",
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
	if (!no_argument(s, arg, "QUIT"))
		return;
	smtp_reply(s, 221, "2.0.0", "Bye");
	s->closing = true;
}

static void
cmd_http(struct smtp *s, struct str arg)
{
	smtp_reply(s, 421, "4.7.0", "This is not a web server");
}

enum {
	V_HELLO = 1,  /* needs EHLO, HELO or LHLO, and TLS where the listener demands it */
	V_LAST = 2,   /* nothing may follow in its group (RFC 2920 section 3.1) */
	V_SMTP = 4,   /* not in LMTP */
	V_LMTP = 8,   /* only there */
	V_MAIL = 16,  /* moves mail: not counted against command-limit */
};

#define SEEN(verb) METRIC_COUNTER("smtp_commands_total", "verb=\"" verb "\"", "Commands by verb")

static struct verb {
	struct str name;
	unsigned flags;
	void (*run)(struct smtp *s, struct str arg);
	struct metric seen;
} verbs[] = {
	{ STR_INIT("MAIL"), V_HELLO | V_MAIL, cmd_mail, SEEN("mail") },
	{ STR_INIT("RCPT"), V_HELLO | V_MAIL, cmd_rcpt, SEEN("rcpt") },
	{ STR_INIT("DATA"), V_HELLO | V_LAST | V_MAIL, cmd_data, SEEN("data") },
	{ STR_INIT("BDAT"), V_MAIL, cmd_bdat, SEEN("bdat") }, /* reads its octets in any case */
	{ STR_INIT("EHLO"), V_LAST | V_SMTP, cmd_ehlo, SEEN("ehlo") },
	{ STR_INIT("HELO"), V_LAST | V_SMTP, cmd_helo, SEEN("helo") },
	{ STR_INIT("LHLO"), V_LAST | V_LMTP, cmd_ehlo, SEEN("lhlo") },
	{ STR_INIT("RSET"), 0, cmd_rset, SEEN("rset") },
	{ STR_INIT("NOOP"), 0, cmd_noop, SEEN("noop") },
	{ STR_INIT("QUIT"), 0, cmd_quit, SEEN("quit") },
	{ STR_INIT("AUTH"), V_HELLO | V_LAST, cmd_auth, SEEN("auth") },
	{ STR_INIT("STARTTLS"), V_LAST, cmd_starttls, SEEN("starttls") },
	{ STR_INIT("XCLIENT"), V_LAST, cmd_xclient, SEEN("xclient") },
	{ STR_INIT("XFORWARD"), V_HELLO | V_MAIL, cmd_xforward, SEEN("xforward") },
	{ STR_INIT("ETRN"), V_HELLO | V_SMTP, cmd_etrn, SEEN("etrn") },
	{ STR_INIT("VRFY"), 0, cmd_vrfy, SEEN("vrfy") },
	{ STR_INIT("EXPN"), 0, cmd_expn, SEEN("expn") },
	{ STR_INIT("HELP"), 0, cmd_help, SEEN("help") },
	{ STR_INIT("GET"), 0, cmd_http, SEEN("http") },
	{ STR_INIT("POST"), 0, cmd_http, SEEN("http") },
	{ STR_INIT("CONNECT"), 0, cmd_http, SEEN("http") },
};

static struct verb *
verb_find(struct smtp *s, struct str name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (str_ieq(verbs[i].name, name))
			return verbs[i].flags & (smtp_is_lmtp(s) ? V_SMTP : V_LMTP) ? NULL : &verbs[i];
	return NULL;
}

bool
smtp_in_order(struct smtp *s)
{
	if (!s->helo)
		smtp_reply(s, 503, "5.5.1", "Say %s first", smtp_is_lmtp(s) ? "LHLO" : "EHLO");
	else if (s->listen->tls == CONF_TLS_REQUIRED && !stream_tls(s->io))
		smtp_reply(s, 530, "5.7.0", "Say STARTTLS first");
	else
		return true;
	return false;
}

/* Whether the client went on without the answer that it had to wait for: behind a
 * command that ends its group, or without the EHLO that offers PIPELINING. */
static bool
too_early(struct smtp *s, const struct verb *v)
{
	return (v->flags & V_LAST || !s->esmtp) && v->run != cmd_quit && stream_peek(s->io).n;
}

static void
run_verb(struct smtp *s, struct verb *v, struct str arg)
{
	metric_add(&v->seen, 1);
	if (too_early(s, v)) {
		metric_add(&ahead, 1);
		smtp_reply(s, 554, "5.5.0", "Commands sent ahead of their turn");
		s->closing = true;
	} else if (!(v->flags & V_HELLO) || smtp_in_order(s)) {
		v->run(s, str_trim(arg));
	}
}

static void
command(struct smtp *s, struct str line)
{
	struct str arg = line, name = str_word(&arg);
	struct verb *v = verb_find(s, name);

	if (line.n > COMMAND_LINE_MAX && (!v || v->run != cmd_auth))
		smtp_reply(s, 500, "5.5.2", "Line too long");
	else if (v)
		run_verb(s, v, arg);
	else
		smtp_reply(s, 500, "5.5.2", "Command not recognized");
	if (!v || !(v->flags & V_MAIL))
		s->commands++;
	if (!s->closing && (s->errors > smtp_settings()->error_limit ||
	    s->commands > smtp_settings()->command_limit))
		smtp_reply(s, 421, "4.7.0", "Too many errors or commands");
}

static enum session_next
goodbye(struct smtp *s, const char *reply)
{
	stream_puts(s->io, reply);
	stream_flush(s->io);
	return SESSION_CLOSE;
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
	if (why == SESSION_NEW && !smtp_greet(s)) {
		stream_flush(s->io);
		return SESSION_CLOSE;
	}
	while (!s->closing && (got = smtp_line(s, false, SMTP_LINE_MAX, &line)) == 1)
		command(s, line);
	stream_last_words(s->io, "421 4.4.2 Timeout, closing connection\r\n");
	if (stream_flush(s->io) < 0 || s->closing || got < 0)
		return SESSION_CLOSE;
	stream_trim(s->io);
	return SESSION_PARK;
}
