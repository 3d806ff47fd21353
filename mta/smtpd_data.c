/*
 * DATA (RFC 5321 section 4.1.1.4) and BDAT (RFC 3030), and the answers to them. The
 * text itself is smtpd_text's.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "mta/smtpd_text.h"

static struct metric accepted = METRIC_COUNTER("smtp_messages_total", "result=\"accepted\"",
    "Messages by what became of them");
static struct metric deferred = METRIC_COUNTER("smtp_messages_total", "result=\"deferred\"",
    "Messages by what became of them");
static struct metric rejected = METRIC_COUNTER("smtp_messages_total", "result=\"rejected\"",
    "Messages by what became of them");
static struct metric accepted_bytes = METRIC_COUNTER("smtp_message_bytes_total", NULL,
    "Bytes of accepted messages");
static struct metric accept_time = METRIC_HISTOGRAM("smtp_accept_seconds", NULL,
    "Time from the end of a message to its answer");

#define DISCARDED 250 /* a verdict: taken and thrown away */

/* ---- answers ---- */

static bool
is_ok(enum queue_outcome o)
{
	return o == QUEUE_ACCEPTED || o == QUEUE_DELIVERED;
}

static void
say_queued(struct smtp *s, const struct queue_answer *q, unsigned smtp, struct str enhanced,
    struct str text, enum queue_outcome outcome)
{
	char code[16];

	if (is_ok(outcome)) {
		smtp_reply(s, 250, "2.0.0", "Ok: queued as %016llx", (unsigned long long)q->spool_id);
		return;
	}
	snprintf(code, sizeof code, "%.*s", STR_ARG(enhanced));
	smtp_reply(s, smtp ? smtp : 451, *code ? code : "4.3.0", "%.*s", STR_ARG(text));
}

/* The deliveries that came of one RCPT stand side by side: where the next begins. */
static size_t
next_said(const struct envelope *e, size_t i)
{
	const char *said = e->rcpts[i].original.p;

	while (i < e->n_rcpts && e->rcpts[i].original.p == said)
		i++;
	return i;
}

/* RFC 2033 section 4.2: a reply for each RCPT; of a list, what went wrong first. */
static void
say_result(struct smtp *s, const struct queue_answer *q)
{
	const struct envelope *e = &s->txn->env;
	size_t end;

	if (!smtp_is_lmtp(s)) {
		say_queued(s, q, q->smtp, q->enhanced, q->text, q->outcome);
		return;
	}
	for (size_t i = 0; i < e->n_rcpts; i = end) {
		const struct queue_rcpt_result *r = i < q->n_rcpts ? &q->rcpts[i] : NULL;

		end = next_said(e, i);
		for (size_t k = i; k < end && k < q->n_rcpts && r && is_ok(r->outcome); k++)
			r = &q->rcpts[k];
		say_queued(s, q, r ? r->smtp : q->smtp, r ? r->enhanced : q->enhanced,
		    r ? r->text : q->text, r ? r->outcome : q->outcome);
	}
}

/* The same refusal for all; LMTP has a reply for each recipient (RFC 2033
 * section 4.2). */
static void
say_refusal(struct smtp *s, const struct accept_verdict *v)
{
	const struct envelope *e = &s->txn->env;
	size_t i = 0;

	s->txn->outcome = v->smtp;
	if (v->smtp != DISCARDED) {
		metric_add(v->smtp < 500 ? &deferred : &rejected, 1);
		smtp_refused(s, v->smtp, v->enhanced, s->txn->env.sender, v->text);
	}
	do {
		smtp_reply(s, v->smtp, v->enhanced, "%s", v->text);
		i = smtp_is_lmtp(s) ? next_said(e, i) : e->n_rcpts;
	} while (i < e->n_rcpts);
}

static void
report(struct smtp *s, const struct queue_answer *q, uint64_t size, uint64_t us)
{
	const struct envelope *e = &s->txn->env;
	bool taken = is_ok(q->outcome);

	metric_add(taken ? &accepted : q->outcome == QUEUE_REJECTED ? &rejected : &deferred, 1);
	metric_observe_us(&accept_time, us);
	if (taken)
		metric_add(&accepted_bytes, size);
	LOG_INFO(taken ? "smtp.accepted" : "smtp.deferred", L_STR("txn", e->trace),
	    L_HEX("qid", q->spool_id), L_C("ip", session_peer_text(s->session)),
	    L_STR("from", e->sender), L_STR("to", e->rcpts[0].address), L_U64("rcpts", e->n_rcpts),
	    L_U64("size", size), L_STR("user", e->user), L_STR("ident", s->txn->ident),
	    L_U64("us", us));
}

static void
hand_over(struct smtp *s, struct smtp_text *t)
{
	struct accept_verdict verdict = { 0 };
	struct queue_answer q = { 0 };
	uint64_t start = clock_us(), size;
	int code = text_finish(t, &verdict, &q);

	size = text_size(t);
	if (code < 0)
		verdict = (struct accept_verdict){ 451, "4.3.0", "Queue gave no answer, try later" };
	if (verdict.smtp) {
		say_refusal(s, &verdict);
		return;
	}
	s->txn->outcome = is_ok(q.outcome) ? 250 : q.smtp ? q.smtp : 451;
	s->txn->spool_id = q.spool_id;
	say_result(s, &q);
	report(s, &q, size, clock_us() - start);
}

/* The text broke off. */
static void
broken(struct smtp *s, struct smtp_text *t, int code)
{
	if (code == -ENOBUFS)
		say_refusal(s, &t->refused);
	else if (code == -ETIMEDOUT)
		smtp_reply(s, 421, "4.4.2", "Timeout");
	LOG_INFO("smtp.broken", L_STR("txn", s->txn->env.trace),
	    L_C("ip", session_peer_text(s->session)), L_U64("size", text_size(t)),
	    L_C("why", code == -ENOBUFS ? t->refused.text : stream_why(s->io)));
	s->closing = true;
}

/* ---- DATA ---- */

static bool
data_in_order(struct smtp *s, struct str arg)
{
	if (!s->txn)
		smtp_reply(s, 503, "5.5.1", "Need MAIL");
	else if (s->txn->text || s->txn->bdat_failed)
		smtp_reply(s, 503, "5.5.1", "The message was begun by BDAT");
	else if (s->txn->env.body == ENV_BINARYMIME) /* RFC 3030 section 3 */
		smtp_reply(s, 503, "5.5.1", "A binary message comes by BDAT");
	else if (!s->txn->env.n_rcpts) /* RFC 2033 section 4.2 */
		smtp_reply(s, smtp_is_lmtp(s) ? 503 : 554, "5.5.1", "No valid recipients");
	else if (arg.n)
		smtp_reply(s, 501, "5.5.4", "DATA takes no arguments");
	else
		return true;
	return false;
}

void
cmd_data(struct smtp *s, struct str arg)
{
	struct smtp_text *t;
	int code;

	if (!data_in_order(s, arg))
		return;
	if (!smtp_filter(s, FILTER_DATA, s->txn->env.sender)) {
		smtp_txn_end(s);
		return;
	}
	t = text_new(s, false);
	if (!t) {
		smtp_refuse(s, 452, "4.3.1", s->txn->env.sender, "Out of memory, try later");
		return;
	}
	stream_puts(s->io, "354 End data with <CR><LF>.<CR><LF>\r\n");
	code = stream_flush(s->io);
	stream_timeout(s->io, smtp_settings()->smtp_data_timeout_ms);
	if (code == 0)
		code = text_read_dots(t);
	stream_timeout(s->io, smtp_settings()->smtp_timeout_ms);
	if (code < 0)
		broken(s, t, code);
	else
		hand_over(s, t);
	text_free(&t);
	smtp_txn_end(s);
}

/* ---- BDAT ---- */

/* Reads the octets of a chunk that is refused before its first; the client sends
 * them without waiting for an answer. */
static void
skip_octets(struct smtp *s, uint64_t n)
{
	if (n > 4 * smtp_settings()->message_size_limit) {
		s->closing = true;
		return;
	}
	stream_timeout(s->io, smtp_settings()->smtp_data_timeout_ms);
	while (n) {
		size_t have = stream_peek(s->io).n;

		if (!have) {
			ssize_t r = stream_fill(s->io);

			if (r <= 0) {
				s->closing = true;
				return;
			}
			continue;
		}
		have = have < n ? have : (size_t)n;
		stream_consume(s->io, have);
		n -= have;
	}
	stream_timeout(s->io, smtp_settings()->smtp_timeout_ms);
}

static bool
bdat_args(struct str arg, uint64_t *ret_size, bool *ret_last)
{
	struct str size = str_word(&arg), last = str_word(&arg);

	*ret_last = last.n > 0;
	return str_u64(size, INT64_MAX, ret_size) && (!last.n || str_ieq(last, STR("LAST"))) &&
	    !str_trim(arg).n;
}

static bool
bdat_in_order(struct smtp *s)
{
	struct smtp_txn *txn = s->txn;

	if (!smtp_in_order(s))
		return false;
	if (!txn)
		smtp_reply(s, 503, "5.5.1", "Need MAIL");
	else if (!txn->env.n_rcpts)
		smtp_reply(s, 554, "5.5.1", "No valid recipients");
	else if (txn->bdat_failed)
		smtp_reply(s, 503, "5.5.1", "The message is refused already: say RSET");
	else if (txn->text)
		return true;
	else if (!smtp_filter(s, FILTER_DATA, txn->env.sender))
		txn->bdat_failed = true; /* it has its answer */
	else if ((txn->text = text_new(s, true)))
		return true;
	else
		smtp_refuse(s, 452, "4.3.1", txn->env.sender, "Out of memory, try later");
	if (txn)
		txn->bdat_failed = true;
	return false;
}

/* A chunk that is not the last was taken, or made the message one to refuse. */
static void
say_chunk(struct smtp *s, uint64_t size)
{
	struct smtp_txn *txn = s->txn;
	const struct accept_verdict v = txn->text->refused;

	if (!v.smtp || v.smtp == DISCARDED) {
		smtp_reply(s, 250, "2.0.0", "%llu octets received", (unsigned long long)size);
		return;
	}
	metric_add(v.smtp < 500 ? &deferred : &rejected, 1);
	smtp_refuse(s, v.smtp, v.enhanced, txn->env.sender, v.text);
	txn->bdat_failed = true;
	text_free(&txn->text);
}

void
cmd_bdat(struct smtp *s, struct str arg)
{
	uint64_t size;
	bool last;
	int code;

	if (!bdat_args(arg, &size, &last)) {
		/* Where the chunk ends is unknown, so nothing behind it may be obeyed. */
		smtp_reply(s, 501, "5.5.4", "Syntax: BDAT size [LAST]");
		s->closing = true;
		return;
	}
	if (!bdat_in_order(s)) {
		skip_octets(s, size);
		if (last)
			smtp_txn_end(s);
		return;
	}
	stream_timeout(s->io, smtp_settings()->smtp_data_timeout_ms);
	code = text_read_octets(s->txn->text, size);
	stream_timeout(s->io, smtp_settings()->smtp_timeout_ms);
	if (code < 0)
		broken(s, s->txn->text, code);
	else if (last)
		hand_over(s, s->txn->text);
	else
		say_chunk(s, size);
	if (code < 0 || last)
		smtp_txn_end(s);
}
