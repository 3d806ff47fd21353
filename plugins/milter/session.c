/* A connection with a milter; see session.h. */
#include "plugins/milter/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "plugins/milter/macros.h"

#define LEAVE_MS 300 /* of a call's time for the answer */
#define OUT_MAX (80u << 20)

/* One hook's work. An answer that settles it stands in `action`. */
struct work {
	struct milter_session *s;
	struct ph_call *c;
	struct buf out;              /* to be sent with the next wait for an answer, or flush */
	struct milter_message *m;    /* while the message is sent */
	uint64_t end_ms;             /* of the call */
	enum ph_action action;
	struct err err;
};
enum { GO_ON = 0, SETTLED = 1, SKIP = 2 }; /* of a step; negative: the milter failed */

static struct str
in(struct ph_str s)
{
	return str_from(s.p, s.n);
}

struct milter_session *
milter_session_new(const struct milter_options *o)
{
	struct milter_session *s = calloc(1, sizeof *s);

	if (s) {
		s->o = o;
		s->wire.fd = -1;
	}
	return s;
}

static void
disconnect(struct milter_session *s)
{
	milter_wire_close(&s->wire);
	milter_terms_done(&s->terms);
	s->at = MILTER_NONE;
	s->txn.rcpts = 0;
}

/* A command without data, to a milter whose answer is not waited for. */
static void
tell(struct milter_session *s, char command)
{
	struct buf b = { .max = 64 };

	milter_end(&b, milter_begin(&b, command));
	if (milter_wire_send(&s->wire, buf_view(&b), 0))
		disconnect(s);
	buf_done(&b);
}

void
milter_session_free(void *p)
{
	struct milter_session *s = p;

	if (s->wire.fd >= 0)
		tell(s, MC_QUIT);
	disconnect(s);
	free(s);
}

void
milter_session_txn_over(struct milter_session *s)
{
	if (s->wire.fd >= 0 && (s->at == MILTER_MAIL || s->at == MILTER_DATA))
		tell(s, MC_ABORT);
	if (s->at > MILTER_GREETED)
		s->at = MILTER_GREETED;
	s->txn = (struct milter_txn){ 0 };
}

/* ---- sending, and waiting for answers ---- */

static uint64_t
until(const struct work *w, uint64_t ms)
{
	uint64_t t = clock_ms() + ms;

	return t < w->end_ms ? t : w->end_ms;
}

static int
fail(struct work *w, int code, const char *what)
{
	if (code == -ETIMEDOUT)
		return err_set(&w->err, code, "%s: it took too long", what);
	if (code == -EPIPE)
		return err_set(&w->err, code, "%s: it closed the connection", what);
	return err_sys(&w->err, code, "%s", what);
}

static int
flush(struct work *w, uint64_t until_ms, const char *what)
{
	int r = w->out.over ? -ENOMEM : milter_wire_send(&w->s->wire, buf_view(&w->out), until_ms);

	buf_clear(&w->out);
	return r ? fail(w, r, what) : 0;
}

static void
reply(struct work *w, const struct milter_reply *r)
{
	ph_reply(w->c, r->smtp, r->enhanced[0] ? r->enhanced : NULL, ph_bytes(r->text.p, r->text.n));
	w->action = r->smtp >= 500 ? PH_REJECT : PH_TEMPFAIL;
}

/* What an answer that ends the wait means. */
static int
settle(struct work *w, const struct milter_reply *r, bool may_skip)
{
	switch (r->what) {
	case MR_CONTINUE:
		return GO_ON;
	case MR_SKIP:
		return may_skip ? SKIP : err_set(&w->err, -EPROTO, "it answered skip where that cannot be");
	case MR_ACCEPT:
		if (w->s->at < MILTER_GREETED)
			w->s->passed = true;
		w->s->txn.passed = true;
		w->action = PH_ACCEPT;
		return SETTLED;
	case MR_DISCARD:
		w->s->txn.discard = true;
		w->action = w->m ? PH_DISCARD : PH_CONTINUE;
		return SETTLED;
	case MR_REPLY:
		reply(w, r);
		return SETTLED;
	default:
		w->action = r->what == MR_REJECT ? PH_REJECT : PH_TEMPFAIL;
		return SETTLED;
	}
}

/* An answer that changes the message: only at its end, and only what was agreed on. */
static int
change(struct work *w, const struct milter_reply *r, bool at_end)
{
	int code;

	if (!at_end)
		return err_set(&w->err, -EPROTO, "it changed the message before its end");
	if (!(w->s->terms.actions & r->needs))
		return err_set(&w->err, -EPROTO, "it changed what it had not said it would");
	code = milter_message_edit(w->m, r);
	return code ? err_sys(&w->err, code, "its changes cannot be kept") : 0;
}

/* Sends what is due and reads until an answer settles it. at_end: of the message. */
static int
wait_answer(struct work *w, uint64_t ms, const char *what, bool may_skip, bool at_end)
{
	uint64_t t = until(w, ms);
	int r = flush(w, t, what);

	while (!r) {
		struct milter_reply a;
		char command, *data;
		size_t n;

		r = milter_wire_recv(&w->s->wire, t, &command, &data, &n);
		if (r)
			return r == -EPROTO ? err_set(&w->err, r, "%s: it sent what is no packet", what) :
			    fail(w, r, what);
		r = milter_reply_read(command, data, n, &a, &w->err);
		if (!r && a.what <= MR_FINAL_LAST)
			return settle(w, &a, may_skip);
		if (!r && a.what == MR_PROGRESS)
			t = until(w, ms);
		else if (!r)
			r = change(w, &a, at_end);
	}
	return r;
}

/* Waits for a command's answer unless it was agreed that there is none. */
static int
answer(struct work *w, uint32_t none, const char *what)
{
	if (w->s->terms.protocol & none)
		return GO_ON;
	return wait_answer(w, w->m ? w->s->o->content_ms : w->s->o->command_ms, what, false, false);
}

/* ---- the steps ---- */

static uint32_t
wanted_actions(void)
{
	return MA_QUARANTINE | MA_MACROS |
	    (ph_granted(PH_CAP_HEADERS) ? MA_ADD_HEADERS | MA_CHANGE_HEADERS : 0) |
	    (ph_granted(PH_CAP_RCPTS) ? MA_ADD_RCPT | MA_DEL_RCPT | MA_ADD_RCPT_ARGS : 0) |
	    (ph_granted(PH_CAP_SENDER) ? MA_SENDER : 0) | (ph_granted(PH_CAP_BODY) ? MA_BODY : 0);
}

static int
negotiate(struct work *w)
{
	static const uint32_t protocol = MP_NO_CONNECT | MP_NO_HELO | MP_NO_MAIL | MP_NO_RCPT | MP_NO_BODY |
	    MP_NO_HEADERS | MP_NO_EOH | MP_NR_HEADER | MP_NO_UNKNOWN | MP_NO_DATA | MP_SKIP |
	    MP_NR_CONNECT | MP_NR_HELO | MP_NR_MAIL | MP_NR_RCPT | MP_NR_DATA | MP_NR_UNKNOWN |
	    MP_NR_EOH | MP_NR_BODY | MP_LEAD_SPACE;
	struct milter_terms offer = { .actions = wanted_actions(), .protocol = protocol };
	uint64_t t = until(w, w->s->o->connect_ms);
	char command, *data;
	size_t n;
	int r;

	milter_terms_limit(&offer, w->s->o->version);
	milter_put_offer(&w->out, &offer);
	r = flush(w, t, "negotiation");
	if (!r && (r = milter_wire_recv(&w->s->wire, t, &command, &data, &n)))
		return fail(w, r, "negotiation");
	if (!r && command != MC_NEGOTIATE)
		r = err_set(&w->err, -EPROTO, "it did not answer the offer");
	if (!r)
		r = milter_terms_read(str_from(data, n), &offer, &w->s->terms, &w->err);
	if (!r)
		w->s->at = MILTER_NEGOTIATED;
	return r;
}

static int
open_it(struct work *w)
{
	int r;

	if (w->s->wire.fd >= 0)
		return 0;
	r = milter_wire_connect(&w->s->o->address, until(w, w->s->o->connect_ms), &w->s->wire);
	if (r)
		return fail(w, r, "connecting");
	ph_count("connections", 1);
	return negotiate(w);
}

static void
put_macros(struct work *w, enum milter_stage stage, struct ph_str rcpt)
{
	milter_put_macros(&w->out, w->s, w->c, stage, rcpt);
}

static int
tell_connect(struct work *w)
{
	struct str ip = in(ph_text(w->c, PH_CLIENT_IP)), name = in(ph_text(w->c, PH_CLIENT_NAME));
	bool six = str_chr(ip, ':') >= 0;
	char host[80] = "localhost";
	size_t at;

	if (w->s->terms.protocol & MP_NO_CONNECT)
		return GO_ON;
	if (ip.n)
		snprintf(host, sizeof host, "[%.*s]", STR_ARG(str_head(ip, 64)));
	put_macros(w, MS_CONNECT, (struct ph_str){ NULL, 0 });
	at = milter_begin(&w->out, MC_CONNECT);
	milter_put_string(&w->out, name.n ? name : str_c(host));
	buf_putc(&w->out, six ? '6' : '4');
	buf_put(&w->out, "\0", 2); /* the port is not known */
	milter_put_string(&w->out, ip.n ? ip : STR("127.0.0.1"));
	milter_end(&w->out, at);
	return answer(w, MP_NR_CONNECT, "connect");
}

static int
tell_helo(struct work *w)
{
	struct str helo = in(ph_text(w->c, PH_HELO));
	size_t at;

	if (w->s->terms.protocol & MP_NO_HELO)
		return GO_ON;
	put_macros(w, MS_HELO, (struct ph_str){ NULL, 0 });
	at = milter_begin(&w->out, MC_HELO);
	milter_put_string(&w->out, helo.n ? helo : in(ph_text(w->c, PH_HOSTNAME)));
	milter_end(&w->out, at);
	return answer(w, MP_NR_HELO, "helo");
}

static void
put_path(struct buf *b, struct str address)
{
	struct buf p = { .max = 4096 };

	buf_printf(&p, "<%.*s>", STR_ARG(address));
	milter_put_string(b, buf_view(&p));
	buf_done(&p);
}

static void
put_mail_arguments(struct work *w)
{
	uint64_t size = ph_number(w->c, PH_SIZE), flags = ph_number(w->c, PH_FLAGS);
	char text[40];

	snprintf(text, sizeof text, "SIZE=%llu", (unsigned long long)size);
	if (size)
		milter_put_string(&w->out, str_c(text));
	if (flags & PH_F_8BIT)
		milter_put_string(&w->out, STR("BODY=8BITMIME"));
	if (flags & PH_F_SMTPUTF8)
		milter_put_string(&w->out, STR("SMTPUTF8"));
}

static int
tell_mail(struct work *w)
{
	size_t at;

	if (w->s->terms.protocol & MP_NO_MAIL)
		return GO_ON;
	put_macros(w, MS_MAIL, (struct ph_str){ NULL, 0 });
	at = milter_begin(&w->out, MC_MAIL);
	put_path(&w->out, in(ph_text(w->c, PH_SENDER)));
	put_mail_arguments(w);
	milter_end(&w->out, at);
	return answer(w, MP_NR_MAIL, "mail");
}

static int
tell_rcpt(struct work *w, const struct ph_rcpt *r)
{
	struct str said = in(r->said.n ? r->said : r->address);
	size_t at;

	w->s->txn.rcpts++;
	if (w->s->terms.protocol & MP_NO_RCPT)
		return GO_ON;
	put_macros(w, MS_RCPT, r->address);
	at = milter_begin(&w->out, MC_RCPT);
	put_path(&w->out, said);
	milter_end(&w->out, at);
	return answer(w, MP_NR_RCPT, "rcpt");
}

static int
tell_data(struct work *w)
{
	if (w->s->terms.protocol & MP_NO_DATA || w->s->terms.version < 4)
		return GO_ON;
	put_macros(w, MS_DATA, (struct ph_str){ NULL, 0 });
	milter_end(&w->out, milter_begin(&w->out, MC_DATA));
	return answer(w, MP_NR_DATA, "data");
}

/* ---- the message ---- */

static int
tell_headers(struct work *w)
{
	bool lead = w->s->terms.protocol & MP_LEAD_SPACE;
	int r = GO_ON;

	if (w->s->terms.protocol & MP_NO_HEADERS)
		return GO_ON;
	for (size_t i = 0; !r && i < w->m->n_fields; i++) {
		const struct milter_field *f = &w->m->fields[i];
		size_t at;

		if (f->hidden)
			continue;
		at = milter_begin(&w->out, MC_HEADER);
		milter_put_string(&w->out, f->name);
		milter_put_string(&w->out, milter_field_value(w->m, f, lead));
		milter_end(&w->out, at);
		r = answer(w, MP_NR_HEADER, "header");
	}
	return r;
}

static int
tell_eoh(struct work *w)
{
	if (w->s->terms.protocol & MP_NO_EOH)
		return GO_ON;
	put_macros(w, MS_EOH, (struct ph_str){ NULL, 0 });
	milter_end(&w->out, milter_begin(&w->out, MC_EOH));
	return answer(w, MP_NR_EOH, "end of header");
}

static int
tell_body(struct work *w)
{
	struct str rest = w->m->body;
	bool silent = w->s->terms.protocol & MP_NR_BODY;
	int r = GO_ON;

	if (w->s->terms.protocol & MP_NO_BODY)
		return GO_ON;
	while (!r && rest.n) {
		struct str chunk = str_head(rest, MILTER_CHUNK);
		size_t at = milter_begin(&w->out, MC_BODY);

		rest = str_skip(rest, chunk.n);
		buf_str(&w->out, chunk);
		milter_end(&w->out, at);
		r = silent ? flush(w, until(w, w->s->o->content_ms), "body") :
		    wait_answer(w, w->s->o->content_ms, "body", true, false);
	}
	return r == SKIP ? GO_ON : r;
}

static int
tell_end(struct work *w)
{
	int r;

	put_macros(w, MS_END, (struct ph_str){ NULL, 0 });
	milter_end(&w->out, milter_begin(&w->out, MC_END));
	r = wait_answer(w, w->s->o->content_ms, "end of message", false, true);
	if (r >= 0)
		w->s->at = MILTER_MESSAGE;
	return r;
}

/* The milter has let it through: its changes are made. */
static int
take_changes(struct work *w)
{
	int r = milter_message_apply(w->m, w->c);

	if (r)
		return err_sys(&w->err, r, "its changes cannot be made");
	if (!w->m->quarantine)
		return 0;
	ph_reply(w->c, 0, NULL, ph_c(w->m->quarantine));
	w->action = PH_QUARANTINE;
	return 0;
}

static int
tell_message(struct work *w)
{
	static int (*const steps[])(struct work *w) = { tell_headers, tell_eoh, tell_body, tell_end };
	struct milter_message m;
	int r = milter_message_init(&m, in(ph_message(w->c)), in(w->s->o->hostname));

	w->m = &m;
	for (size_t i = 0; !r && i < sizeof steps / sizeof *steps; i++)
		r = steps[i](w);
	if (r >= 0 && w->s->at == MILTER_MESSAGE && w->action <= PH_ACCEPT && take_changes(w))
		r = w->err.code;
	w->m = NULL;
	milter_message_done(&m);
	return r == -ENOMEM ? err_set(&w->err, r, "out of memory") : r;
}

/* ---- bringing the milter to where the hook is ---- */

/* A step that ends at `place` when nothing objects. */
static int
reach(struct work *w, enum milter_place place, int (*fn)(struct work *w))
{
	int r = GO_ON;

	if (w->s->at < place)
		r = fn(w);
	if (r == GO_ON && w->s->at < place)
		w->s->at = place;
	return r;
}

/* An objection to MAIL leaves the milter within no transaction. */
static int
reach_mail(struct work *w)
{
	int r;

	if (w->s->at >= MILTER_MAIL)
		return GO_ON;
	r = tell_mail(w);
	if (r >= 0)
		w->s->at = MILTER_MAIL;
	return r;
}

/* Those that were not told: all but what is known, in the rcpt hook the one it is about always. */
static int
reach_rcpts(struct work *w, bool rcpt)
{
	uint32_t n = (uint32_t)ph_number(w->c, PH_RCPTS), i = w->s->txn.rcpts ? n : 0;
	struct ph_rcpt r;
	int code = GO_ON;

	if (rcpt && n && i == n)
		i = n - 1;
	for (; code == GO_ON && i < n && !ph_rcpt(w->c, i, &r); i++)
		code = tell_rcpt(w, &r);
	return code;
}

static int
bring(struct work *w, enum milter_place place, bool rcpt)
{
	int r = open_it(w);

	if (!r)
		r = reach(w, MILTER_CONNECTED, tell_connect);
	if (!r && place == MILTER_GREETED && w->s->at == MILTER_GREETED)
		w->s->at = MILTER_CONNECTED; /* it greets again, behind STARTTLS */
	if (!r && place >= MILTER_GREETED)
		r = reach(w, MILTER_GREETED, tell_helo);
	if (!r && place >= MILTER_MAIL)
		r = reach_mail(w);
	if (!r && (rcpt || place >= MILTER_DATA))
		r = reach_rcpts(w, rcpt);
	if (!r && place >= MILTER_DATA)
		r = reach(w, MILTER_DATA, tell_data);
	return r || place < MILTER_MESSAGE ? r : tell_message(w);
}

/* A connection that the milter has closed since the last hook is made anew, once. */
static int
work(struct work *w, enum milter_place place, bool rcpt)
{
	bool old = w->s->wire.fd >= 0;
	int r = bring(w, place, rcpt);

	if (r == -EPIPE && old) {
		disconnect(w->s);
		w->err = (struct err){ 0 };
		r = bring(w, place, rcpt);
	}
	return r;
}

/* ---- hooks ---- */

/* What the block says of a milter that gave no answer. */
static enum ph_action
fallback(struct milter_session *s, struct ph_call *c, bool message)
{
	ph_count("default_actions", 1);
	switch (s->o->fallback) {
	case MILTER_REJECT:
		ph_reply(c, 550, "5.7.1", ph_c("A filter gave no answer"));
		return PH_REJECT;
	case MILTER_ACCEPT:
		return PH_CONTINUE;
	case MILTER_QUARANTINE:
		if (!message)
			return PH_CONTINUE;
		ph_reply(c, 0, NULL, ph_c("a milter gave no answer"));
		return PH_QUARANTINE;
	default:
		ph_reply(c, 451, "4.7.1", ph_c("A filter gave no answer, try later"));
		return PH_TEMPFAIL;
	}
}

static enum ph_action
failed(struct milter_session *s, struct ph_call *c, const struct err *e, bool message)
{
	ph_count("failures", 1);
	ph_log(PH_WARN, "%.*s: %s", PH_ARG(s->o->name), e->text);
	disconnect(s);
	s->txn.failed = true;
	return fallback(s, c, message);
}

/* A new transaction begins where the host says so; one that a milter was told of ends. */
static void
look_at_txn(struct milter_session *s, struct ph_call *c, enum milter_place place, bool rcpt)
{
	struct ph_str id = ph_text(c, PH_TRANSACTION);

	if (place < MILTER_MAIL || (place == MILTER_MAIL && !rcpt) ||
	    !str_eq(str_c(s->txn.id), str_head(in(id), sizeof s->txn.id - 1)))
		milter_session_txn_over(s);
	snprintf(s->txn.id, sizeof s->txn.id, "%.*s", PH_ARG(id));
}

enum ph_action
milter_session_hook(struct milter_session *s, struct ph_call *c, enum milter_place place, bool rcpt)
{
	struct work w = { .s = s, .c = c, .out = { .max = OUT_MAX } };
	uint64_t left = ph_number(c, PH_DEADLINE_MS);
	bool message = place == MILTER_MESSAGE;
	int r;

	look_at_txn(s, c, place, rcpt);
	if (s->passed || s->txn.passed)
		return message || s->passed ? PH_ACCEPT : PH_CONTINUE;
	if (s->txn.discard)
		return message ? PH_DISCARD : PH_CONTINUE;
	if (s->txn.failed)
		return fallback(s, c, message);
	w.end_ms = clock_ms() + (left > LEAVE_MS ? left - LEAVE_MS : 0);
	r = work(&w, place, rcpt);
	if (r >= 0 && w.out.n) /* what has no answer */
		r = flush(&w, until(&w, s->o->command_ms), "sending") ? w.err.code : r;
	buf_done(&w.out);
	if (r < 0)
		return failed(s, c, &w.err, message);
	if (message && s->txn.discard)
		w.action = PH_DISCARD; /* said of something that was told only now */
	if (w.action >= PH_REJECT)
		ph_count(w.action == PH_QUARANTINE ? "held" : w.action == PH_DISCARD ? "discarded" : "refused", 1);
	return w.action;
}
