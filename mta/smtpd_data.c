/*
 * DATA: RFC 5321 section 4.1.1.4. The text is read straight into its buffer and
 * undone in place; the buffer goes to queued as it is. What is refused already
 * is read to its end and forgotten as it comes.
 */
#include "mta/smtpd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "mta/dotscan.h"

#define FIRST_SIZE (32u << 10)

struct text {
	char *p;
	size_t len, cap;
	struct dotscan scan;
	bool too_big, no_memory;
};

/* Room behind what is there, within the message limit and the memory of all
 * messages; false: refused, from here on nothing is kept. */
static bool
text_grow(struct text *t)
{
	const struct settings *set = smtp_settings();
	size_t cap = t->cap ? t->cap * 2 : FIRST_SIZE;
	char *p;

	if (t->len < t->cap)
		return true;
	if (smtpd.content_bytes + cap - t->cap > set->smtp_memory_limit ||
	    !(p = realloc(t->p, cap))) {
		t->no_memory = true;
		return false;
	}
	smtpd.content_bytes += cap - t->cap;
	t->p = p;
	t->cap = cap;
	return true;
}

static void
text_done(struct text *t)
{
	smtpd.content_bytes -= t->cap;
	free(t->p);
	*t = (struct text){ 0 };
}

/* Reads to the end of the data. 0, or negative when the peer is gone. */
static int
text_read(struct smtp *s, struct text *t)
{
	/* Numbers, not the settings: a reload may free those while this waits. */
	const uint64_t limit = smtp_settings()->message_size_limit;
	uint64_t drained = 0;
	ssize_t n;

	for (;;) {
		if (!text_grow(t) || t->too_big || t->scan.faults) {
			if (!t->p || drained > 4 * limit)
				return -ENOBUFS;
			t->len = dotscan_discard(&t->scan, t->p, t->len);
		}
		n = stream_read(s->io, t->p + t->len, t->cap - t->len);
		if (n <= 0)
			return n < 0 ? (int)n : -EPIPE;
		drained += (size_t)n;
		t->len += (size_t)n;
		if (dotscan(&t->scan, t->p, t->len))
			break;
		t->too_big |= t->scan.out > limit;
	}
	t->too_big |= t->scan.out > limit;
	stream_unread(s->io, t->p + t->scan.line, t->len - t->scan.line);
	return 0;
}

static struct accept_verdict
text_verdict(const struct text *t)
{
	if (t->too_big)
		return (struct accept_verdict){ 552, "5.3.4", "Message too big" };
	if (t->no_memory)
		return (struct accept_verdict){ 452, "4.3.1", "Out of memory, try later" };
	if (t->scan.faults & (DOT_BARE_CR | DOT_BARE_LF))
		return (struct accept_verdict){ 550, "5.6.11", "Lone CR or LF in the message" };
	if (t->scan.faults)
		return (struct accept_verdict){ 554, "5.6.0", "Line too long" };
	return (struct accept_verdict){ 0 };
}

/* RFC 3848 and RFC 6531 section 4.3. */
static void
with_protocol(const struct smtp *s, char out[static 16])
{
	bool utf8 = s->txn->env.flags & ENV_SMTPUTF8;

	if (s->listen->proto != CONF_LMTP && !s->esmtp)
		snprintf(out, 16, "SMTP");
	else
		snprintf(out, 16, "%s%s%s%s", utf8 ? "UTF8" : s->listen->proto == CONF_LMTP ? "" : "E",
		    s->listen->proto == CONF_LMTP ? "LMTP" : "SMTP", stream_tls(s->io) ? "S" : "",
		    s->user ? "A" : "");
}

static void
say_queued(struct smtp *s, const struct queue_answer *q, unsigned smtp, struct str enhanced,
    struct str text, enum queue_outcome outcome)
{
	char code[16];

	if (outcome == QUEUE_ACCEPTED || outcome == QUEUE_DELIVERED) {
		smtp_reply(s, 250, "2.0.0", "Ok: queued as %016llx", (unsigned long long)q->spool_id);
		return;
	}
	snprintf(code, sizeof code, "%.*s", STR_ARG(enhanced));
	smtp_reply(s, smtp ? smtp : 451, *code ? code : "4.3.0", "%.*s", STR_ARG(text));
}

static void
say_result(struct smtp *s, const struct queue_answer *q)
{
	const struct envelope *e = &s->txn->env;

	if (s->listen->proto != CONF_LMTP) {
		say_queued(s, q, q->smtp, q->enhanced, q->text, q->outcome);
		return;
	}
	for (size_t i = 0; i < e->n_rcpts; i++) {
		const struct queue_rcpt_result *r = i < q->n_rcpts ? &q->rcpts[i] : NULL;

		say_queued(s, q, r ? r->smtp : q->smtp, r ? r->enhanced : q->enhanced,
		    r ? r->text : q->text, r ? r->outcome : q->outcome);
	}
}

/* The same refusal for all; LMTP has a reply for each recipient (RFC 2033
 * section 4.2). */
static void
say_refusal(struct smtp *s, const struct accept_verdict *v)
{
	size_t n = s->listen->proto == CONF_LMTP ? s->txn->env.n_rcpts : 1;

	LOG_INFO("smtp.rejected", L_STR("txn", s->txn->env.trace),
	    L_C("ip", session_peer_text(s->session)), L_U64("code", v->smtp),
	    L_C("enhanced", v->enhanced), L_C("reason", v->text));
	while (n--)
		smtp_reply(s, v->smtp, v->enhanced, "%s", v->text);
}

static void
hand_over(struct smtp *s, const struct text *t)
{
	const struct tls_info *tls = stream_tls(s->io);
	struct smtp_txn *txn = s->txn;
	struct accept_verdict verdict = text_verdict(t);
	struct queue_answer q = { 0 };
	uint64_t start = clock_us();
	char with[16];
	int code = 0;

	with_protocol(s, with);
	if (!verdict.smtp) {
		struct accept_request r = { .settings = smtp_settings(), .env = &txn->env,
			.content = str_from(t->p, t->scan.out), .with = with,
			.submitted = s->listen->proto == CONF_SUBMISSION };

		if (tls)
			r.tls = arena_printf(txn->arena, "%s with cipher %s (%u bits)", tls->version,
			    tls->cipher, tls->bits);
		code = accept_message(&r, txn->arena, &verdict, &q);
	}
	if (code < 0)
		verdict = (struct accept_verdict){ 451, "4.3.0", "Queue gave no answer, try later" };
	if (verdict.smtp) {
		say_refusal(s, &verdict);
		return;
	}
	say_result(s, &q);
	LOG_INFO(q.outcome == QUEUE_ACCEPTED || q.outcome == QUEUE_DELIVERED ? "smtp.accepted" :
	    "smtp.deferred", L_STR("txn", txn->env.trace), L_HEX("qid", q.spool_id),
	    L_C("ip", session_peer_text(s->session)), L_STR("from", txn->env.sender),
	    L_STR("to", txn->env.rcpts[0].address), L_U64("rcpts", txn->env.n_rcpts),
	    L_U64("size", t->scan.out), L_STR("user", txn->env.user), L_U64("us", clock_us() - start));
}

void
cmd_data(struct smtp *s, struct str arg)
{
	struct text t = { .scan.line_max = smtp_settings()->smtp_line_limit };
	int code;

	if (!s->txn || !s->txn->env.n_rcpts) {
		smtp_reply(s, s->txn ? 554 : 503, "5.5.1", s->txn ? "No valid recipients" : "Need MAIL");
		return;
	}
	if (arg.n) {
		smtp_reply(s, 501, "5.5.4", "DATA takes no arguments");
		return;
	}
	stream_puts(s->io, "354 End data with <CR><LF>.<CR><LF>\r\n");
	code = stream_flush(s->io);
	stream_timeout(s->io, smtp_settings()->smtp_data_timeout_ms);
	if (code == 0)
		code = text_read(s, &t);
	stream_timeout(s->io, smtp_settings()->smtp_timeout_ms);
	if (code < 0) {
		if (code == -ETIMEDOUT)
			smtp_reply(s, 421, "4.4.2", "Timeout");
		s->closing = true;
	} else {
		hand_over(s, &t);
	}
	text_done(&t);
	smtp_txn_end(s);
}
