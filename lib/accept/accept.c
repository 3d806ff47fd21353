/*
 * The one door into the spool; see accept.h. The message is never copied: what
 * is added stands in a piece of its own, what is left out is stepped over.
 */
#include "lib/accept/accept.h"

#include <errno.h>

#include "lib/accept/authres.h"
#include "lib/accept/check.h"
#include "lib/accept/copies.h"
#include "lib/accept/fields.h"
#include "lib/accept/filtered.h"
#include "lib/base/clock.h"
#include "lib/client/rewrite.h"
#include "lib/mail/header.h"

#define SLICE ((size_t)256 << 10)

/* Fields that the house looks at or leaves out. */
static const struct field {
	struct str name;
	enum { F_RECEIVED, F_DATE, F_MESSAGE_ID, F_CUT, F_CUT_SUBMITTED,
		F_TLS_REQUIRED, F_RESULTS } kind;
} fields[] = {
	{ STR_INIT("Received"), F_RECEIVED },
	{ STR_INIT("Date"), F_DATE },
	{ STR_INIT("Message-ID"), F_MESSAGE_ID },
	{ STR_INIT("Return-Path"), F_CUT },
	{ STR_INIT("Bcc"), F_CUT_SUBMITTED },
	{ STR_INIT("Resent-Bcc"), F_CUT_SUBMITTED },
	{ STR_INIT("Content-Length"), F_CUT_SUBMITTED },
	{ STR_INIT("TLS-Required"), F_TLS_REQUIRED },
	{ STR_INIT("Authentication-Results"), F_RESULTS },
};

static const struct field *
field_find(struct str name)
{
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (str_ieq(name, fields[i].name))
			return &fields[i];
	return NULL;
}

/* False: more fields to leave out than are remembered. */
static bool
cut_field(struct str content, const struct header_field *f, struct accept_header *h)
{
	if (h->n_cuts == ACCEPT_CUTS)
		return false;
	h->cuts[h->n_cuts++] = (struct accept_cut){ (size_t)(f->whole.p - content.p), f->whole.n };
	return true;
}

static bool
note_field(const struct settings *s, struct str content, const struct header_field *f,
    unsigned flags, struct accept_header *h)
{
	const struct field *known = field_find(f->name);

	if (!known)
		return true;
	switch (known->kind) {
	case F_RECEIVED:
		h->received++;
		return true;
	case F_DATE:
		h->date = true;
		return true;
	case F_MESSAGE_ID:
		h->message_id = true;
		return true;
	case F_TLS_REQUIRED:
		h->tls_optional = str_ieq(str_trim(f->raw), STR("No"));
		return true;
	case F_CUT:
		return cut_field(content, f, h);
	case F_CUT_SUBMITTED:
		return !(flags & ACCEPT_SUBMITTED) || cut_field(content, f, h);
	case F_RESULTS:
		return flags & ACCEPT_RETURNS || !authres_names(f->raw, s->hostname) ||
		    cut_field(content, f, h);
	}
	return true;
}

struct accept_verdict
accept_check(const struct settings *s, struct str content, unsigned flags,
    struct accept_header *ret)
{
	struct str rest = content;
	struct header_field f;
	struct accept_header h = { 0 };
	size_t n = 0;

	while (header_next(&rest, &f)) {
		if (!n++ && !f.name.n) {
			h.no_header = true;
			break;
		}
		if ((size_t)(f.whole.p - content.p) + f.whole.n > s->header_size_limit)
			return (struct accept_verdict){ 552, "5.3.4", "Message header too large" };
		if (n > s->header_count_limit || !note_field(s, content, &f, flags, &h))
			return (struct accept_verdict){ 554, "5.6.0", "Too many header fields" };
	}
	if (h.received > s->hop_limit)
		return (struct accept_verdict){ 554, "5.4.6", "Too many hops: mail loop" };
	h.n = h.no_header ? 0 : content.n - rest.n + header_blank(rest);
	*ret = h;
	return (struct accept_verdict){ 0 };
}

bool
accept_header_whole(struct str content)
{
	struct str rest = content;
	struct header_field f;

	for (bool first = true; header_next(&rest, &f); first = false)
		if (first && !f.name.n && str_chr(f.whole, '\n') >= 0)
			return true;
	return header_blank(rest) > 0;
}

/* RFC 5321 section 4.4; what the house itself makes came from no host. */
static void
put_trace(struct buf *b, const struct accept_request *r)
{
	const struct envelope *env = r->env;

	if (env->flags & ENV_LOCAL) {
		buf_printf(b, "Received: by %.*s (Posthorn, from %.*s) id %.*s",
		    STR_ARG(r->settings->hostname), STR_ARG(env->client_name), STR_ARG(env->trace));
	} else {
		buf_printf(b, "Received: from %.*s (%.*s%s[%s%.*s])\r\n", STR_ARG(r->hello),
		    STR_ARG(r->host), r->host.n ? " " : "",
		    str_chr(r->client_ip, ':') >= 0 ? "IPv6:" : "", STR_ARG(r->client_ip));
		if (r->tls.n)
			buf_printf(b, "\t(using %.*s)\r\n", STR_ARG(r->tls));
		buf_printf(b, "\tby %.*s (Posthorn) with %s id %.*s",
		    STR_ARG(r->settings->hostname), r->with, STR_ARG(env->trace));
	}
	if (env->n_rcpts == 1)
		buf_printf(b, "\r\n\tfor <%.*s>", STR_ARG(env->rcpts[0].original.n ?
		    env->rcpts[0].original : env->rcpts[0].address));
	buf_printf(b, ";\r\n\t%s\r\n", clock_rfc5322());
}

static void
put_missing(struct buf *b, const struct accept_request *r, const struct accept_header *h)
{
	if (r->submitted && !h->message_id)
		buf_printf(b, "Message-ID: <%llx.%.*s@%.*s>\r\n",
		    (unsigned long long)clock_real_us(), STR_ARG(r->env->trace),
		    STR_ARG(r->settings->hostname));
	if (r->submitted && !h->date)
		buf_printf(b, "Date: %s\r\n", clock_rfc5322());
	if (h->no_header)
		buf_puts(b, "\r\n");
}

/* ---- a message, or the beginning of one, as it goes out ---- */

struct outgoing {
	struct str header, body;       /* the content, as rules and rewriting made it */
	struct buf checked, rewritten, text; /* what header and body point into */
	struct buf head;               /* what is added; all of the header section where other
	                                * servers may get another one */
	struct buf filtered;           /* the whole message, as plugins made it */
	struct iovec pieces[ACCEPT_CUTS + 3];
	size_t n;
	uint64_t size;
	uint32_t flags;                /* ENV_* that the header section asks for */
	struct check *check;           /* or NULL */
	struct str generic;            /* edits of the header section for other servers */
};

static void
outgoing_done(struct outgoing *o)
{
	buf_done(&o->checked);
	buf_done(&o->rewritten);
	buf_done(&o->text);
	buf_done(&o->head);
	buf_done(&o->filtered);
}

static void
add_piece(struct outgoing *o, const char *p, size_t n)
{
	if (n)
		o->pieces[o->n++] = (struct iovec){ (char *)(uintptr_t)p, n };
	o->size += n;
}

/* The header section with its empty line: nothing when the message begins without. */
static size_t
header_length(struct str content)
{
	struct str rest = content;
	struct header_field f;

	for (bool first = true; header_next(&rest, &f); first = false)
		if (first && !f.name.n)
			return 0;
	return content.n - rest.n + header_blank(rest);
}

/* The rules of checks. 0, with a verdict or not; negative. */
static int
run_checks(const struct accept_request *r, struct arena *a, bool last, struct outgoing *o,
    struct accept_verdict *ret_verdict)
{
	bool same;
	int code;

	if (!check_wanted(r))
		return 0;
	o->check = check_new(r, a);
	if (!o->check)
		return -ENOMEM;
	code = check_header(o->check, o->header, &o->checked, &same);
	if (!code && !same)
		o->header = buf_view(&o->checked);
	if (!code && check_has_body(o->check)) {
		code = check_body(o->check, o->body, last, &o->text);
		o->body = buf_view(&o->text);
	}
	*ret_verdict = check_result(o->check)->verdict;
	return code;
}

static bool
rewrites_header(const struct accept_request *r)
{
	const struct settings *s = r->settings;

	if (r->env->flags & ENV_EXEMPT || s->rewrite_headers == CONF_HEADERS_NONE ||
	    (s->rewrite_headers == CONF_HEADERS_OURS && !r->ours))
		return false;
	return rewrite_wanted(s, REWRITE_HEADER_SENDER) || rewrite_wanted(s, REWRITE_HEADER_RCPT);
}

static int
rewrite_header(const struct accept_request *r, struct arena *a, struct outgoing *o)
{
	struct edits e;
	int code;

	if (!rewrites_header(r))
		return 0;
	code = fields_rewrite(r->settings, o->header, false, a, &e);
	if (code || !e.n)
		return code;
	code = edits_apply(&e, o->header, &o->rewritten);
	o->header = buf_view(&o->rewritten);
	return code;
}

/* What other servers get in place of this header section. */
static int
find_generic(const struct accept_request *r, struct str header, struct arena *a, struct outgoing *o)
{
	struct buf b = { 0 };
	struct edits e;
	int code = fields_rewrite(r->settings, header, true, a, &e);

	if (code || !e.n)
		return code;
	edits_put(&b, &e);
	o->generic = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return o->generic.p ? 0 : -ENOMEM;
}

/* The header section without what is cut, behind what is added. */
static void
add_header(struct outgoing *o, const struct accept_header *h, bool flat)
{
	size_t at = 0;

	if (!flat)
		add_piece(o, o->head.p, o->head.n);
	for (size_t i = 0; i <= h->n_cuts; i++) {
		size_t end = i < h->n_cuts ? h->cuts[i].at : o->header.n;

		if (flat)
			buf_put(&o->head, o->header.p + at, end - at);
		else
			add_piece(o, o->header.p + at, end - at);
		at = i < h->n_cuts ? end + h->cuts[i].n : end;
	}
	if (flat)
		add_piece(o, o->head.p, o->head.n);
}

/* last: the content is all of the message. 0; a refusal in *ret_verdict; negative.
 * outgoing_done after. */
static int
compose(const struct accept_request *r, struct arena *a, bool last, struct outgoing *o,
    struct accept_verdict *ret_verdict)
{
	bool flat = rewrite_wanted(r->settings, REWRITE_GENERIC);
	unsigned flags = (r->submitted ? ACCEPT_SUBMITTED : 0u) |
	    (r->env->flags & ENV_EXEMPT ? ACCEPT_RETURNS : 0u);
	struct accept_header h;
	int code;

	*o = (struct outgoing){ .n = 0 };
	*ret_verdict = accept_check(r->settings, r->content, flags, &h);
	if (ret_verdict->smtp)
		return 0;
	o->header = str_head(r->content, h.n);
	o->body = str_skip(r->content, h.n);
	code = run_checks(r, a, last, o, ret_verdict);
	if (!code && !ret_verdict->smtp)
		code = rewrite_header(r, a, o);
	if (code || ret_verdict->smtp)
		return code;
	if (o->header.p != r->content.p && h.n) {
		*ret_verdict = accept_check(r->settings, o->header, flags, &h);
		if (ret_verdict->smtp)
			return 0;
	}
	/* RFC 8689 section 4.1: REQUIRETLS goes first. */
	if (h.tls_optional && !(r->env->flags & ENV_REQUIRETLS))
		o->flags |= ENV_TLS_OPTIONAL;
	put_trace(&o->head, r);
	put_missing(&o->head, r, &h);
	add_header(o, &h, flat);
	add_piece(o, o->body.p, o->body.n);
	if (flat && !r->filters)
		code = find_generic(r, buf_view(&o->head), a, o);
	return o->head.over ? -ENOMEM : code;
}

/* What plugins found out, above everything else. */
static void
add_results(const struct accept_request *r, struct buf *whole)
{
	struct buf field = { .max = 256u << 10 };

	authres_put(&field, r->settings->hostname, &r->filters->notes, &r->filter_txn->notes);
	if (field.n && !field.over && buf_room(whole, field.n)) {
		memmove(whole->p + field.n, whole->p, whole->n);
		memcpy(whole->p, field.p, field.n);
		buf_grown(whole, field.n);
	}
	buf_done(&field);
}

/* The plugins' turn: the message in one piece, then what they made of it and of *env. */
static int
run_filters(const struct accept_request *r, struct arena *a, struct outgoing *o,
    struct envelope *env, struct accept_verdict *ret_verdict)
{
	struct buf *whole = &o->filtered;
	struct filter_verdict v;

	whole->max = o->size + r->settings->message_size_limit + (1u << 20);
	for (size_t i = 0; i < o->n; i++)
		buf_put(whole, o->pieces[i].iov_base, o->pieces[i].iov_len);
	if (whole->over)
		return -ENOMEM;
	v = filtered_message(r->settings, r->filters, r->filter_txn, env, whole, a);
	if (v.smtp)
		*ret_verdict = (struct accept_verdict){ v.smtp, v.enhanced, v.text };
	else if (v.action == FILTER_DISCARD)
		*ret_verdict = (struct accept_verdict){ 250, "2.0.0", "Ok" };
	if (v.action == FILTER_QUARANTINE)
		env->flags |= ENV_HELD;
	add_results(r, whole);
	o->n = o->size = 0;
	add_piece(o, whole->p, whole->n);
	if (ret_verdict->smtp || !rewrite_wanted(r->settings, REWRITE_GENERIC))
		return 0;
	return find_generic(r, str_head(buf_view(whole), header_length(buf_view(whole))), a, o);
}

/* ---- the envelope as it goes out ---- */

static int
add_copy(const struct accept_request *r, struct envelope *e, size_t *cap, struct str address,
    struct arena *a)
{
	int n = accept_copies_rcpt(e, cap, address, a);

	if (!n && r->note)
		r->note(r, &(struct accept_note){ .kind = ACCEPT_NO_COPY, .what = address });
	return n < 0 ? n : 0;
}

/* Behind the recipients those that get copies. What was accepted once already has had its
 * copies then. A client of LMTP that waits would hear of copies too: it gets its answer
 * when the message is in the queue. */
static int
add_copies(const struct accept_request *r, struct envelope *e, struct accept_copies *c, struct arena *a)
{
	size_t cap = e->n_rcpts; /* so that the first append copies the caller's array */
	int code = e->flags & ENV_EXEMPT ? 0 : accept_copies_find(r->settings, e, a, c);

	for (size_t i = 0; !code && i < c->n; i++)
		code = add_copy(r, e, &cap, c->v[i], a);
	if (c->n)
		e->flags &= ~(uint32_t)ENV_LMTP;
	return code;
}

/* Sends the message to another address instead of its recipients. */
static int
redirect(struct envelope *e, struct str address, struct arena *a, struct accept_verdict *ret_verdict)
{
	size_t cap = 0;
	int n;

	e->rcpts = NULL;
	e->n_rcpts = 0;
	e->flags &= ~(uint32_t)ENV_LMTP;
	n = accept_copies_rcpt(e, &cap, address, a);
	if (!n)
		*ret_verdict = (struct accept_verdict){ 451, "4.3.5", "Message is redirected to nobody" };
	return n < 0 ? n : 0;
}

static bool
leaves(const struct envelope_rcpt *r)
{
	return r->route == ROUTE_REMOTE && !str_istarts(r->next_hop, STR("lmtp:"));
}

/* What other servers get in place of the envelope's addresses. */
static int
add_generic(const struct settings *s, struct envelope *e, struct str header, struct arena *a)
{
	struct rewrite_ask *asks;
	struct str *becomes;
	size_t n = 0, used = 0;
	int code;

	for (size_t i = 0; i < e->n_rcpts; i++)
		n += leaves(&e->rcpts[i]);
	if (!rewrite_wanted(s, REWRITE_GENERIC) || !n)
		return 0;
	asks = ARENA_ARRAY(a, struct rewrite_ask, n + 1);
	becomes = ARENA_ARRAY(a, struct str, n + 1);
	if (!asks || !becomes)
		return -ENOMEM;
	for (size_t i = 0; i < e->n_rcpts; i++)
		if (leaves(&e->rcpts[i]))
			asks[used++] = (struct rewrite_ask){ REWRITE_GENERIC, e->rcpts[i].address };
	if (e->sender.n)
		asks[used++] = (struct rewrite_ask){ REWRITE_GENERIC, e->sender };
	code = auth_rewrite(asks, used, a, becomes);
	if (code)
		return code;
	e->generic_header = header;
	e->generic_sender = e->sender.n ? becomes[used - 1] : STR_NULL;
	for (size_t i = 0, k = 0; i < e->n_rcpts; i++)
		if (leaves(&e->rcpts[i]))
			e->rcpts[i].generic = becomes[k++];
	return 0;
}

/* A message that is to be handed over, but for its content. */
struct ready {
	const struct accept_request *request;
	const struct envelope *env;    /* the request's, as plugins made it */
	const struct check *check;
	struct str generic;
	uint32_t flags;
	uint64_t size;
};

static int
complete(const struct ready *m, struct arena *a, struct envelope *ret,
    struct accept_verdict *ret_verdict)
{
	const struct accept_request *r = m->request;
	const struct check_result *found = m->check ? check_result(m->check) : NULL;
	struct accept_copies copies = { .n = 0 };
	int code = 0;

	*ret = *m->env;
	ret->size = m->size;
	ret->flags |= m->flags | (found && found->hold ? ENV_HELD : 0);
	ret->arrived_us = clock_real_us();
	if (found)
		copies = found->copies;
	if (found && found->redirect.n)
		code = redirect(ret, found->redirect, a, ret_verdict);
	if (!code && !ret_verdict->smtp)
		code = add_copies(r, ret, &copies, a);
	if (!code && !ret_verdict->smtp)
		code = add_generic(r->settings, ret, m->generic, a);
	return code;
}

static int
accept_whole(const struct accept_request *r, struct arena *a, struct accept_verdict *ret_verdict,
    struct queue_answer *ret)
{
	struct envelope env, filtered = *r->env;
	struct outgoing o;
	int code = compose(r, a, true, &o, ret_verdict);

	if (!code && !ret_verdict->smtp && r->filters)
		code = run_filters(r, a, &o, &filtered, ret_verdict);
	if (!code && !ret_verdict->smtp) {
		struct ready m = { r, &filtered, o.check, o.generic, o.flags, o.size };

		code = complete(&m, a, &env, ret_verdict);
	}
	if (!code && !ret_verdict->smtp)
		code = queue_accept(&env, o.pieces, o.n, a, ret);
	outgoing_done(&o);
	return code;
}

/* A large message whose lines are looked at goes in pieces, so that no second copy of it is
 * in memory. */
static int
accept_sliced(const struct accept_request *r, struct arena *a, struct accept_verdict *ret_verdict,
    struct queue_answer *ret)
{
	size_t n = header_length(r->content);
	struct accept_request first = *r;
	struct accept_stream *s;
	struct str rest;
	int code;

	first.content = str_head(r->content, n > SLICE ? n : SLICE);
	rest = str_skip(r->content, first.content.n);
	code = accept_open(&first, a, ret_verdict, &s);
	while (!code && !ret_verdict->smtp && rest.n > SLICE) {
		code = accept_more(&s, str_head(rest, SLICE), ret_verdict);
		rest = str_skip(rest, SLICE);
	}
	return code || ret_verdict->smtp ? code : accept_close(&s, rest, ret_verdict, ret);
}

int
accept_message(const struct accept_request *r, struct arena *a,
    struct accept_verdict *ret_verdict, struct queue_answer *ret)
{
	if (r->content.n > SLICE && check_wanted(r) && !r->filters)
		return accept_sliced(r, a, ret_verdict, ret);
	return accept_whole(r, a, ret_verdict, ret);
}

/* ---- in parts ---- */

struct accept_stream {
	struct queue_stream queue;
	struct accept_request request; /* without content and what belongs to it: those are gone */
	struct arena *arena;
	struct check *check;           /* when the body is looked at */
	const struct check *checked;   /* or NULL */
	struct str generic;
	uint32_t flags;                /* as in struct outgoing */
};

static int
put(struct accept_stream **sp, const struct iovec *v, size_t n, struct accept_verdict *ret_verdict)
{
	struct accept_stream *s = *sp;
	struct wire_error we;
	int code = queue_stream_put(&s->queue, v, n, s->arena, &we);

	*ret_verdict = (struct accept_verdict){ 0 };
	if (!code)
		return 0;
	accept_abort(sp);
	if (!we.smtp)
		return code;
	*ret_verdict = (struct accept_verdict){ we.smtp, arena_cstr(s->arena, we.enhanced),
		we.smtp == 452 ? "Insufficient system storage" : "Local error in processing" };
	return ret_verdict->enhanced ? 0 : -ENOMEM;
}

int
accept_open(const struct accept_request *r, struct arena *a,
    struct accept_verdict *ret_verdict, struct accept_stream **ret)
{
	struct accept_stream *s = ARENA_NEW(a, struct accept_stream);
	struct outgoing o;
	int code = compose(r, a, false, &o, ret_verdict);

	if (!s)
		code = -ENOMEM;
	if (!code && !ret_verdict->smtp) {
		s->request = *r;
		s->request.content = s->request.tls = STR_NULL;
		s->request.with = NULL;
		s->arena = a;
		s->flags = o.flags;
		s->generic = o.generic;
		s->checked = o.check;
		s->check = o.check && check_has_body(o.check) ? o.check : NULL;
		code = put(&s, o.pieces, o.n, ret_verdict);
	} else {
		s = NULL;
	}
	outgoing_done(&o);
	*ret = s;
	return code;
}

/* A piece of the body, past the rules. */
static int
more(struct accept_stream **sp, struct str part, bool last, struct accept_verdict *ret_verdict)
{
	struct check *check = (*sp)->check;
	struct buf out = { 0 };
	int code = check ? check_body(check, part, last, &out) : 0;
	struct str text = check ? buf_view(&out) : part;
	struct iovec v = { (char *)(uintptr_t)text.p, text.n };

	*ret_verdict = check ? check_result(check)->verdict : (struct accept_verdict){ 0 };
	if (code || ret_verdict->smtp)
		accept_abort(sp);
	else if (text.n)
		code = put(sp, &v, 1, ret_verdict);
	buf_done(&out);
	return code;
}

int
accept_more(struct accept_stream **s, struct str part, struct accept_verdict *ret_verdict)
{
	return more(s, part, false, ret_verdict);
}

int
accept_close(struct accept_stream **sp, struct str part, struct accept_verdict *ret_verdict,
    struct queue_answer *ret)
{
	struct accept_stream *s = *sp;
	struct envelope env;
	int code = more(sp, part, true, ret_verdict);

	if (!code && !ret_verdict->smtp) {
		struct ready m = { &s->request, s->request.env, s->checked, s->generic, s->flags, s->queue.size };

		code = complete(&m, s->arena, &env, ret_verdict);
		if (code || ret_verdict->smtp)
			accept_abort(sp);
	}
	if (code || ret_verdict->smtp)
		return code;
	*sp = NULL;
	return queue_stream_accept(&env, &s->queue, s->arena, ret);
}

void
accept_abort(struct accept_stream **s)
{
	if (*s)
		queue_stream_abort(&(*s)->queue);
	*s = NULL;
}
