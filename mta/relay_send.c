/*
 * A message over a connection. The verbs of a transaction leave together where the server
 * has PIPELINING (RFC 2920):
 *
 *	MAIL RCPT ... RCPT DATA      and the text when DATA has been answered
 *	MAIL RCPT ... BDAT n LAST    with the text, when that is short and CHUNKING is there
 *
 * A server that refuses every recipient and yet says 354 gets an empty message, as RFC
 * 2920 section 3.1 wants. Recipients answered by 452 (or 552) behind one that was
 * accepted are sent in a transaction of their own (RFC 5321 section 4.5.3.1.10).
 *
 * What can be said of a host's answer before the text has gone to it is no loss: another
 * host may be tried. Behind that an answer that is lost leaves the recipients deferred,
 * and the message may come twice (RFC 1047).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/text.h"
#include "lib/mail/edits.h"
#include "lib/mail/esmtp.h"
#include "mta/relayd.h"

#define RCPT_GROUP 100u     /* recipients between two looks at the answers */
#define PIECE 16384u
#define BDAT_AT_ONCE (64u << 10)

struct tx {
	struct relay_conn *c;
	const struct relay_request *q;
	struct arena *a;
	struct relay_result *results;
	struct fault *f;
	struct str head;      /* what stands before content: a header section made for the next hop */
	struct str content;
	unsigned *index;      /* of the recipients of this transaction */
	unsigned n;
	unsigned accepted;
	bool *taken;          /* by RCPT, beside index */
	bool bdat, at_once;
	bool answered;        /* the server has answered something of this message */
	const char *body;     /* " BODY=8BITMIME" or "" */
	bool utf8;
	bool late;            /* the time of the delivery was over within the text */
};

/* ---- results ---- */

static void
result_reply(struct tx *t, struct relay_result *res, const struct reply *r)
{
	struct str enhanced = reply_enhanced(r);

	*res = (struct relay_result){
		.outcome = reply_class(r) == 2 ? RELAY_DONE : reply_class(r) == 5 ? RELAY_REJECT :
		    RELAY_TEMPFAIL,
		.smtp = r->code,
		.enhanced = enhanced.n ? arena_dup(t->a, enhanced) : reply_class(r) == 2 ? STR_NULL :
		    reply_class(r) == 5 ? STR("5.0.0") : STR("4.0.0"),
		.text = reply_text(r, t->a),
		.mta = str_c(t->c->host),
		.remote = true,
	};
	res->mta = arena_dup(t->a, res->mta);
	if (reply_class(r) == 3) { /* nothing that asks for more belongs here */
		res->smtp = 451;
		res->enhanced = STR("4.5.0");
	}
}

/* The open recipients of this transaction that RCPT took (or all) get one result. */
static void
result_all(struct tx *t, const struct relay_result *res, bool only_taken)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!t->results[t->index[i]].outcome && (!only_taken || t->taken[i]))
			t->results[t->index[i]] = *res;
}

static enum fault_kind
lost(struct tx *t, int code, const char *stage)
{
	t->c->dead = true;
	return relay_read_fault(t->f, t->c, code, stage, t->a);
}

/* 421: the server closes; whoever is open may be tried elsewhere. */
static bool
is_closing(struct tx *t, const struct reply *r)
{
	if (r->code != 421)
		return false;
	t->c->dead = true;
	fault_reply(t->f, FAULT_HOST, t->a, r, t->c->host);
	return true;
}

static enum fault_kind
read_reply(struct tx *t, uint64_t ms, const char *stage, struct reply *r)
{
	int rc = relay_read(t->c, ms, r);

	if (rc)
		return lost(t, rc, stage);
	t->answered = true;
	return is_closing(t, r) ? t->f->kind : FAULT_NONE;
}

/* ---- what the server can take ---- */

static bool
is_ascii_envelope(const struct relay_request *q)
{
	bool ascii = ascii_only(q->sender);

	for (size_t i = 0; i < q->n_rcpts; i++)
		ascii = ascii && ascii_only(q->rcpts[i].address);
	return ascii;
}

/* The header up to the empty line. */
static struct str
header_of(struct str content)
{
	ptrdiff_t end = str_find(content, STR("\r\n\r\n"));

	return end < 0 ? content : str_head(content, (size_t)end);
}

static size_t
total(const struct tx *t)
{
	return t->head.n + t->content.n;
}

static enum fault_kind
check_utf8(struct tx *t)
{
	const struct relay_request *q = t->q;
	bool needed = q->flags & ENV_SMTPUTF8 &&
	    (!is_ascii_envelope(q) || !ascii_only(header_of(t->head.n ? t->head : t->content)));

	t->utf8 = needed || (q->flags & ENV_SMTPUTF8 && t->c->caps & CAP_SMTPUTF8);
	if (!needed || t->c->caps & CAP_SMTPUTF8)
		return FAULT_NONE;
	return fault_set(t->f, FAULT_MESSAGE, t->a, 550, "5.6.7",
	    "%s cannot take internationalized addresses or headers (no SMTPUTF8)", t->c->host);
}

static enum fault_kind
check_body(struct tx *t)
{
	unsigned caps = t->c->caps;

	t->body = "";
	if (t->q->body == 2) {
		t->body = " BODY=BINARYMIME";
		if (caps & CAP_BINARYMIME && caps & CAP_CHUNKING)
			return FAULT_NONE;
	} else if (t->q->body == 1 || t->utf8) {
		t->body = caps & CAP_8BITMIME ? " BODY=8BITMIME" : "";
		if (caps & CAP_8BITMIME || (ascii_only(t->head) && ascii_only(t->content)))
			return FAULT_NONE;
	} else {
		return FAULT_NONE;
	}
	return fault_set(t->f, FAULT_MESSAGE, t->a, 554, "5.6.3",
	    "%s cannot take %s, and the message is not converted", t->c->host,
	    t->q->body == 2 ? "binary data (no BINARYMIME)" : "8-bit text (no 8BITMIME)");
}

static enum fault_kind
check_message(struct tx *t)
{
	const struct relay_conn *c = t->c;

	if (c->caps & CAP_SIZE && c->size_limit && total(t) > c->size_limit)
		return fault_set(t->f, FAULT_MESSAGE, t->a, 552, "5.3.4",
		    "the message has %zu bytes, and %s takes no more than %llu", total(t), c->host,
		    (unsigned long long)c->size_limit);
	if (t->q->flags & ENV_REQUIRETLS && !(c->caps & CAP_REQUIRETLS && c->verified))
		return fault_set(t->f, FAULT_HOST, t->a, 550, "5.7.30",
		    "%s does not support REQUIRETLS, which the message asks for", c->host);
	if (check_utf8(t) || check_body(t))
		return t->f->kind;
	t->bdat = c->caps & CAP_CHUNKING;
	t->at_once = t->bdat && c->caps & CAP_PIPELINING && total(t) <= BDAT_AT_ONCE;
	return FAULT_NONE;
}

/* ---- the envelope ---- */

/* " BY=seconds;mode" (RFC 2852). What is late in mode R has been returned by queued; here
 * the least that may be said is a second. */
static void
put_by(struct tx *t, struct buf *b)
{
	int64_t left = ((int64_t)t->q->deliver_by_ms - (int64_t)clock_real_us() / 1000) / 1000;
	struct esmtp_by by = { .seconds = left > 999999999 ? 999999999 :
		left < -999999999 ? -999999999 : (int32_t)left };

	by.notify = t->q->flags & ENV_BY_NOTIFY;
	by.trace = t->q->flags & ENV_BY_TRACE;
	if (!by.notify && by.seconds < 1)
		by.seconds = 1;
	buf_puts(b, " BY=");
	esmtp_by_put(b, &by);
}

/* What the server's extensions let be said behind MAIL. */
static void
put_mail_parameters(struct tx *t, struct buf *b)
{
	const struct relay_request *q = t->q;
	unsigned caps = t->c->caps;

	if (caps & CAP_SIZE)
		buf_printf(b, " SIZE=%zu", total(t));
	buf_puts(b, t->body);
	if (t->utf8)
		buf_puts(b, " SMTPUTF8");
	if (q->flags & ENV_REQUIRETLS)
		buf_puts(b, " REQUIRETLS");
	if (caps & CAP_DSN && q->ret)
		buf_puts(b, q->ret == 1 ? " RET=FULL" : " RET=HDRS");
	if (caps & CAP_DSN && q->envid.n) {
		buf_puts(b, " ENVID=");
		xtext_put(b, q->envid);
	}
	if (caps & CAP_PRIORITY && q->priority)
		buf_printf(b, " MT-PRIORITY=%d", q->priority);
	if (caps & CAP_DELIVERBY && q->deliver_by_ms)
		put_by(t, b);
}

static void
put_mail(struct tx *t)
{
	struct buf b = { 0 };

	buf_puts(&b, "MAIL FROM:<");
	buf_str(&b, t->q->sender);
	buf_puts(&b, ">");
	put_mail_parameters(t, &b);
	buf_puts(&b, "\r\n");
	stream_str(t->c->s, buf_view(&b));
	buf_done(&b);
}

static void
put_rcpt(struct tx *t, const struct relay_rcpt *r)
{
	struct buf b = { 0 };

	buf_puts(&b, "RCPT TO:<");
	buf_str(&b, r->address);
	buf_puts(&b, ">");
	if (t->c->caps & CAP_DSN && r->notify) {
		buf_puts(&b, " NOTIFY=");
		esmtp_notify_put(&b, r->notify);
	}
	if (t->c->caps & CAP_DSN && r->orcpt.n) {
		buf_puts(&b, " ORCPT=");
		esmtp_orcpt_put(&b, r->orcpt, t->utf8);
	}
	buf_puts(&b, "\r\n");
	stream_str(t->c->s, buf_view(&b));
	buf_done(&b);
}

static enum fault_kind
read_mail(struct tx *t, bool *ret_ok)
{
	struct relay_result res;
	struct reply r;

	if (read_reply(t, relayd.s->relay_mail_timeout_ms, "MAIL", &r))
		return t->f->kind;
	*ret_ok = reply_class(&r) == 2;
	if (*ret_ok)
		return FAULT_NONE;
	result_reply(t, &res, &r);
	result_all(t, &res, false);
	return FAULT_NONE;
}

/* Whether the server has only had enough recipients for one transaction. */
static bool
is_too_many(const struct tx *t, const struct reply *r)
{
	struct str e = reply_enhanced(r);

	if (!t->accepted || (r->code != 452 && r->code != 552))
		return false;
	return !e.n || str_ends(e, STR(".5.3")) || str_starts(e, STR("4.3.1")) ||
	    str_starts(e, STR("4.5.3"));
}

/* mail_ok: MAIL was accepted; else the answer is only taken. */
static enum fault_kind
read_rcpt(struct tx *t, unsigned i, bool mail_ok)
{
	struct relay_result *res = &t->results[t->index[i]];
	struct reply r;

	if (read_reply(t, relayd.s->relay_recipient_timeout_ms, "RCPT", &r))
		return t->f->kind;
	if (!mail_ok)
		return FAULT_NONE;
	t->taken[i] = reply_class(&r) == 2;
	t->accepted += t->taken[i];
	if (t->taken[i] || is_too_many(t, &r))
		return FAULT_NONE;
	result_reply(t, res, &r);
	/* 552 for a recipient may mean that there were too many (RFC 5321 section 4.5.3.1.10) */
	if (r.code == 552 && !reply_enhanced(&r).n) {
		res->outcome = RELAY_TEMPFAIL;
		res->smtp = 452;
		res->enhanced = STR("4.5.3");
	}
	return FAULT_NONE;
}

/* ---- the text ---- */

/* Text up to the next line that begins with a dot. */
static size_t
to_dot(struct str s)
{
	const char *p = s.n > 2 ? memmem(s.p, s.n, "\n.", 2) : NULL;

	return p ? (size_t)(p - s.p) + 1 : s.n;
}

/* A piece of the text, so that it flows; nothing when the time of the delivery is over. */
static void
put_piece(struct tx *t, const char *p, size_t n)
{
	if (clock_ms() >= t->c->deadline_ms)
		t->late = true;
	if (!t->late)
		stream_put(t->c->s, p, n);
}

static void
put_pieces(struct tx *t, struct str s)
{
	for (size_t at = 0, k; at < s.n; at += k) {
		k = s.n - at < PIECE ? s.n - at : PIECE;
		put_piece(t, s.p + at, k);
	}
}

/* A text that begins with a line, with its dots doubled (RFC 5321 section 4.5.2). */
static void
put_stuffed(struct tx *t, struct str rest)
{
	struct stream *s = t->c->s;

	if (rest.n && rest.p[0] == '.')
		stream_put(s, ".", 1);
	while (rest.n) {
		size_t n = to_dot(rest);

		put_pieces(t, str_head(rest, n));
		rest = str_skip(rest, n);
		if (rest.n)
			stream_put(s, ".", 1);
	}
}

/* The message and the final dot. */
static void
put_dotted(struct tx *t)
{
	put_stuffed(t, t->head);
	put_stuffed(t, t->content);
	stream_puts(t->c->s, str_ends(t->content, STR("\r\n")) || !t->content.n ? ".\r\n" : "\r\n.\r\n");
}

static void
put_bdat(struct tx *t)
{
	stream_printf(t->c->s, "BDAT %zu LAST\r\n", total(t));
	put_pieces(t, t->head);
	put_pieces(t, t->content);
}

/* One answer; of LMTP one for each recipient that RCPT took (RFC 2033 section 4.2). */
static enum fault_kind
read_final(struct tx *t)
{
	uint64_t ms = relayd.s->relay_dot_timeout_ms;
	struct relay_result res;
	struct reply r;

	for (unsigned i = 0; i < t->n; i++) {
		if (!t->taken[i])
			continue;
		if (read_reply(t, ms, "end of the message", &r)) {
			/* it may have been taken: no other host */
			result_all(t, &t->f->result, true);
			return t->f->kind = FAULT_MESSAGE;
		}
		result_reply(t, &res, &r);
		res.dsn = t->c->caps & CAP_DSN && !t->c->lmtp;
		if (!t->c->lmtp) {
			result_all(t, &res, true);
			break;
		}
		t->results[t->index[i]] = res;
	}
	return FAULT_NONE;
}

/* Sends what is gathered, each piece within the time of a block. */
static enum fault_kind
flush(struct tx *t, const char *stage)
{
	int rc;

	stream_timeout(t->c->s, relayd.s->relay_block_timeout_ms);
	rc = t->late ? -ETIMEDOUT : stream_flush(t->c->s);
	return rc ? lost(t, rc, stage) : FAULT_NONE;
}

static enum fault_kind
send_text(struct tx *t)
{
	stream_timeout(t->c->s, relayd.s->relay_block_timeout_ms);
	if (t->bdat)
		put_bdat(t);
	else
		put_dotted(t);
	if (flush(t, "message")) {
		/* a server that refuses the text may say why before it closes */
		t->f->kind = FAULT_MESSAGE;
		result_all(t, &t->f->result, true);
		return t->f->kind;
	}
	return read_final(t);
}

/* The answer to DATA: 354, or a refusal of all that RCPT took. */
static enum fault_kind
read_data(struct tx *t, bool *ret_go)
{
	struct relay_result res;
	struct reply r;

	*ret_go = false;
	if (read_reply(t, relayd.s->relay_data_timeout_ms, "DATA", &r))
		return t->f->kind;
	if (r.code == 354) {
		*ret_go = true;
		return FAULT_NONE;
	}
	t->c->dirty = true;
	if (reply_class(&r) == 2) {
		t->c->dead = true;
		return fault_set(t->f, FAULT_HOST, t->a, 451, "4.5.0", "%s sent %u in answer to DATA",
		    t->c->host, r.code);
	}
	result_reply(t, &res, &r);
	result_all(t, &res, true);
	return FAULT_NONE;
}

/* Nobody was accepted and the server waits for a message nevertheless. */
static enum fault_kind
send_nothing(struct tx *t)
{
	struct reply r;

	stream_puts(t->c->s, ".\r\n");
	return read_reply(t, relayd.s->relay_dot_timeout_ms, "end of the message", &r) ? t->f->kind :
	    FAULT_NONE;
}

/* ---- a transaction ---- */

/* An open transaction of the message before. */
static void
put_rset(struct tx *t)
{
	if (t->c->dirty)
		stream_puts(t->c->s, "RSET\r\n");
}

static enum fault_kind
read_rset(struct tx *t)
{
	struct reply r;

	if (!t->c->dirty)
		return FAULT_NONE;
	if (read_reply(t, relayd.s->relay_mail_timeout_ms, "RSET", &r))
		return t->f->kind;
	t->c->dirty = false;
	return FAULT_NONE;
}

/* MAIL, the recipients and DATA or BDAT, in groups whose answers fit the buffers. */
static enum fault_kind
pipelined(struct tx *t)
{
	bool mail_ok = false, go = false;
	unsigned sent = 0, read = 0;
	enum fault_kind k;

	put_rset(t);
	put_mail(t);
	while (read < t->n) {
		stream_timeout(t->c->s, relayd.s->relay_block_timeout_ms);
		for (; sent < t->n && sent - read < RCPT_GROUP; sent++)
			put_rcpt(t, &t->q->rcpts[t->index[sent]]);
		if (sent == t->n && t->at_once)
			put_bdat(t);
		else if (sent == t->n && !t->bdat)
			stream_puts(t->c->s, "DATA\r\n");
		if (flush(t, "MAIL"))
			return t->f->kind;
		if (read == 0 && (read_rset(t) || read_mail(t, &mail_ok)))
			return t->f->kind;
		for (; read < sent; read++)
			if (read_rcpt(t, read, mail_ok))
				return t->f->kind;
		if (!mail_ok && sent < t->n) { /* nothing more is asked of it */
			t->c->dirty = true;
			return FAULT_NONE;
		}
	}
	t->c->dirty = mail_ok && !t->accepted;
	if (t->bdat && !t->at_once)
		return t->accepted ? send_text(t) : FAULT_NONE;
	if (t->at_once && t->accepted)
		return read_final(t);
	if (t->at_once) { /* refused, its octets read (RFC 3030 section 2) */
		struct reply r;

		return read_reply(t, relayd.s->relay_dot_timeout_ms, "BDAT", &r) ? t->f->kind :
		    FAULT_NONE;
	}
	k = read_data(t, &go);
	if (k || !go)
		return k;
	return t->accepted ? send_text(t) : send_nothing(t);
}

/* One verb after the other. */
static enum fault_kind
step_by_step(struct tx *t)
{
	bool ok = false;

	put_rset(t);
	if (read_rset(t))
		return t->f->kind;
	put_mail(t);
	if (read_mail(t, &ok) || !ok)
		return t->f->kind;
	for (unsigned i = 0; i < t->n; i++) {
		put_rcpt(t, &t->q->rcpts[t->index[i]]);
		if (read_rcpt(t, i, true))
			return t->f->kind;
	}
	t->c->dirty = !t->accepted;
	if (!t->accepted)
		return FAULT_NONE;
	if (!t->bdat) {
		stream_puts(t->c->s, "DATA\r\n");
		if (read_data(t, &ok) || !ok)
			return t->f->kind;
	}
	return send_text(t);
}

/* The recipients that are open, as many as the server wants at a time. */
static void
collect(struct tx *t)
{
	t->n = t->accepted = 0;
	for (unsigned i = 0; i < t->q->n_rcpts; i++) {
		if (t->results[i].outcome || (t->c->rcpt_limit && t->n == t->c->rcpt_limit))
			continue;
		t->taken[t->n] = false;
		t->index[t->n++] = i;
	}
}

static unsigned
count_open(const struct tx *t)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->q->n_rcpts; i++)
		n += !t->results[i].outcome;
	return n;
}

static enum fault_kind
transactions(struct tx *t)
{
	unsigned open = count_open(t), before;

	while (open && !t->c->dead) {
		before = open;
		collect(t);
		t->c->messages++;
		if (t->c->caps & CAP_PIPELINING ? pipelined(t) : step_by_step(t))
			return t->f->kind;
		open = count_open(t);
		if (open == before)
			return fault_set(t->f, FAULT_MESSAGE, t->a, 451, "4.5.0",
			    "%s left recipients without an answer", t->c->host);
	}
	return FAULT_NONE;
}

static int
map_content(struct tx *t, int fd)
{
	struct stat st;
	void *p;

	t->content = t->q->content;
	if (fd < 0 || !t->q->size)
		return 0;
	if (fstat(fd, &st) || (uint64_t)st.st_size < t->q->size)
		return -ENODATA;
	p = mmap(NULL, t->q->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	t->content = str_from(p, t->q->size);
	return 0;
}

/* Takes the header section off the content and makes it what the next hop gets. */
static int
edit_header(struct tx *t)
{
	ptrdiff_t end = str_find(t->content, STR("\r\n\r\n"));
	size_t n = end < 0 ? t->content.n : (size_t)end + 2;
	struct buf b = { 0 };
	struct edits e;
	int r = edits_get(t->q->edits, t->a, &e);

	if (!r && edits_end(&e) > n)
		r = -EINVAL;
	if (!r)
		r = edits_apply(&e, str_head(t->content, n), &b);
	if (!r) {
		t->head = arena_dup(t->a, buf_view(&b));
		t->content = str_skip(t->content, n);
		r = t->head.p ? 0 : -ENOMEM;
	}
	buf_done(&b);
	return r;
}

enum fault_kind
relay_send(struct relay_conn *c, const struct relay_request *q, int fd, struct arena *a,
    struct relay_result *results, struct fault *f, bool *ret_untouched)
{
	struct tx t = { .c = c, .q = q, .a = a, .results = results, .f = f };
	struct str mapped;
	enum fault_kind k;

	t.index = ARENA_ARRAY(a, unsigned, q->n_rcpts);
	t.taken = ARENA_ARRAY(a, bool, q->n_rcpts);
	if (!t.index || !t.taken || map_content(&t, fd))
		return fault_set(f, FAULT_MESSAGE, a, 451, "4.3.0", "the message cannot be read");
	mapped = t.content;
	if (q->edits.n && edit_header(&t))
		k = fault_set(f, FAULT_MESSAGE, a, 451, "4.3.0", "the header of the message is another one");
	else
		k = check_message(&t);
	if (!k)
		k = transactions(&t);
	if (fd >= 0 && mapped.n)
		munmap((void *)(uintptr_t)mapped.p, mapped.n);
	*ret_untouched = !t.answered;
	return k;
}
