/* The codecs of filterd's messages; see filter.h. */
#include "lib/client/filter.h"

#include <errno.h>

enum {
	Q_HOOK = 1, Q_SESSION, Q_TXN, Q_TIMEOUT, Q_FLAGS, Q_CLIENT_IP, Q_CLIENT_NAME, Q_HELO,
	Q_USER, Q_LISTENER, Q_TLS, Q_SESSION_ID, Q_TRACE, Q_SENDER, Q_ENVID, Q_SIZE,
	Q_RCPT_ADDRESS, /* the next one's */
	Q_RCPT_SAID,    /* the last one's, when it differs */
	Q_NOTE_KEY, Q_NOTE_VALUE, Q_CONTENT, Q_OUTCOME, Q_SPOOL_ID,
};
enum {
	A_ACTION = 1, A_SMTP, A_ENHANCED, A_TEXT, A_EDIT, A_NOTE_KEY, A_NOTE_VALUE,
	E_OP = 1, E_AT, E_NAME, E_VALUE,
};

/* ---- requests ---- */

/* Texts of a request, each with its tag. */
static const struct text_field {
	uint16_t tag;
	size_t at;
} texts[] = {
	{ Q_CLIENT_IP, offsetof(struct filter_ask, client_ip) },
	{ Q_CLIENT_NAME, offsetof(struct filter_ask, client_name) },
	{ Q_HELO, offsetof(struct filter_ask, helo) },
	{ Q_USER, offsetof(struct filter_ask, user) },
	{ Q_LISTENER, offsetof(struct filter_ask, listener) },
	{ Q_TLS, offsetof(struct filter_ask, tls) },
	{ Q_SESSION_ID, offsetof(struct filter_ask, session_id) },
	{ Q_TRACE, offsetof(struct filter_ask, trace) },
	{ Q_SENDER, offsetof(struct filter_ask, sender) },
	{ Q_ENVID, offsetof(struct filter_ask, envid) },
	{ Q_CONTENT, offsetof(struct filter_ask, content) },
};
#define N_TEXTS (sizeof texts / sizeof *texts)

void
filter_ask_put(struct buf *b, const struct filter_ask *q)
{
	wire_u64(b, Q_HOOK, q->hook);
	wire_u64(b, Q_SESSION, q->session);
	wire_opt_u64(b, Q_TXN, q->txn);
	wire_opt_u64(b, Q_TIMEOUT, q->timeout_ms);
	wire_opt_u64(b, Q_FLAGS, q->flags);
	wire_opt_u64(b, Q_SIZE, q->size);
	wire_opt_u64(b, Q_OUTCOME, q->outcome);
	wire_opt_u64(b, Q_SPOOL_ID, q->spool_id);
	for (size_t i = 0; i < q->n_rcpts; i++) {
		wire_str(b, Q_RCPT_ADDRESS, q->rcpts[i].address);
		if (!str_eq(q->rcpts[i].said, q->rcpts[i].address))
			wire_opt_str(b, Q_RCPT_SAID, q->rcpts[i].said);
	}
	for (size_t i = 0; i < q->n_notes; i++) {
		wire_str(b, Q_NOTE_KEY, q->notes[i].key);
		wire_opt_str(b, Q_NOTE_VALUE, q->notes[i].value);
	}
	for (size_t i = 0; i < N_TEXTS; i++)
		wire_opt_str(b, texts[i].tag, *(const struct str *)((const char *)q + texts[i].at));
}

static void
take_text(struct filter_ask *q, const struct wire_field *f)
{
	for (size_t i = 0; i < N_TEXTS; i++)
		if (texts[i].tag == f->tag)
			*(struct str *)((char *)q + texts[i].at) = f->v;
}

static void
take_number(struct filter_ask *q, const struct wire_field *f)
{
	uint64_t v = wire_int(f);

	switch (f->tag) {
	case Q_HOOK: q->hook = v < FILTER_HOOKS ? (enum filter_hook)v : 0; break;
	case Q_SESSION: q->session = v; break;
	case Q_TXN: q->txn = v; break;
	case Q_TIMEOUT: q->timeout_ms = v; break;
	case Q_FLAGS: q->flags = (uint32_t)v; break;
	case Q_SIZE: q->size = v; break;
	case Q_OUTCOME: q->outcome = (unsigned)v; break;
	case Q_SPOOL_ID: q->spool_id = v; break;
	}
}

/* Recipients and notes: the arrays have room for all of them. */
static void
take_element(struct filter_ask *q, const struct wire_field *f)
{
	if (f->tag == Q_RCPT_ADDRESS)
		q->rcpts[q->n_rcpts++] = (struct filter_rcpt){ f->v, f->v };
	else if (f->tag == Q_RCPT_SAID && q->n_rcpts)
		q->rcpts[q->n_rcpts - 1].said = f->v;
	else if (f->tag == Q_NOTE_KEY)
		q->notes[q->n_notes++].key = f->v;
	else if (f->tag == Q_NOTE_VALUE && q->n_notes)
		q->notes[q->n_notes - 1].value = f->v;
}

int
filter_ask_get(struct str body, struct arena *a, struct filter_ask *ret)
{
	struct filter_ask q = { 0 };
	struct wire_field f;
	size_t rcpts, notes;
	int rc;

	if (wire_count(body, Q_RCPT_ADDRESS, &rcpts) || wire_count(body, Q_NOTE_KEY, &notes))
		return -EPROTO;
	q.rcpts = ARENA_ARRAY(a, struct filter_rcpt, rcpts + 1);
	q.notes = ARENA_ARRAY(a, struct filter_note, notes + 1);
	if (!q.rcpts || !q.notes)
		return -ENOMEM;
	while ((rc = wire_next(&body, &f)) > 0) {
		take_number(&q, &f);
		take_element(&q, &f);
		take_text(&q, &f);
	}
	if (rc < 0 || !q.hook)
		return -EPROTO;
	*ret = q;
	return 0;
}

/* ---- answers ---- */

void
filter_answer_put(struct buf *b, const struct filter_answer *r)
{
	wire_u64(b, A_ACTION, r->action);
	wire_opt_u64(b, A_SMTP, r->smtp);
	wire_opt_str(b, A_ENHANCED, r->enhanced);
	wire_opt_str(b, A_TEXT, r->text);
	for (size_t i = 0; i < r->n_edits; i++) {
		size_t at = wire_begin(b, A_EDIT);

		wire_u64(b, E_OP, r->edits[i].op);
		wire_opt_u64(b, E_AT, r->edits[i].at);
		wire_opt_str(b, E_NAME, r->edits[i].name);
		wire_opt_str(b, E_VALUE, r->edits[i].value);
		wire_end(b, at);
	}
	for (size_t i = 0; i < r->n_notes; i++) {
		wire_str(b, A_NOTE_KEY, r->notes[i].key);
		wire_opt_str(b, A_NOTE_VALUE, r->notes[i].value);
	}
}

static int
edit_get(struct str body, struct filter_edit *ret)
{
	struct filter_edit e = { 0 };
	struct wire_field f;
	uint64_t op = 0;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag == E_OP)
			op = wire_int(&f);
		else if (f.tag == E_AT)
			e.at = (uint32_t)wire_int(&f);
		else if (f.tag == E_NAME)
			e.name = f.v;
		else if (f.tag == E_VALUE)
			e.value = f.v;
	}
	if (rc < 0 || !op || op >= FILTER_OPS)
		return -EPROTO;
	e.op = (enum filter_op)op;
	*ret = e;
	return 0;
}

static int
answer_field(struct filter_answer *r, const struct wire_field *f)
{
	uint64_t v;

	switch (f->tag) {
	case A_ACTION:
		v = wire_int(f);
		if (v >= FILTER_ACTIONS)
			return -EPROTO;
		r->action = (enum filter_action)v;
		break;
	case A_SMTP: r->smtp = (unsigned)wire_int(f); break;
	case A_ENHANCED: r->enhanced = f->v; break;
	case A_TEXT: r->text = f->v; break;
	case A_EDIT: return edit_get(f->v, &r->edits[r->n_edits++]);
	case A_NOTE_KEY: r->notes[r->n_notes++].key = f->v; break;
	case A_NOTE_VALUE:
		if (r->n_notes)
			r->notes[r->n_notes - 1].value = f->v;
		break;
	}
	return 0;
}

int
filter_answer_get(struct str body, struct arena *a, struct filter_answer *ret)
{
	struct filter_answer r = { 0 };
	struct wire_field f;
	size_t edits, notes;
	int rc;

	if (wire_count(body, A_EDIT, &edits) || wire_count(body, A_NOTE_KEY, &notes) ||
	    edits > FILTER_EDITS_MAX || notes > FILTER_NOTES_MAX)
		return -EPROTO;
	r.edits = ARENA_ARRAY(a, struct filter_edit, edits + 1);
	r.notes = ARENA_ARRAY(a, struct filter_note, notes + 1);
	if (!r.edits || !r.notes)
		return -ENOMEM;
	while ((rc = wire_next(&body, &f)) > 0)
		if (answer_field(&r, &f))
			return -EPROTO;
	if (rc < 0)
		return -EPROTO;
	*ret = r;
	return 0;
}
