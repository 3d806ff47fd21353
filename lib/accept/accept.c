/*
 * The one door into the spool; see accept.h. The message is never copied: what
 * is added stands in a piece of its own, what is left out is stepped over.
 */
#include "lib/accept/accept.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/mail/header.h"

/* Fields that the house looks at or leaves out. */
static const struct field {
	struct str name;
	enum { F_RECEIVED, F_DATE, F_MESSAGE_ID, F_CUT, F_CUT_SUBMITTED,
		F_TLS_REQUIRED } kind;
} fields[] = {
	{ STR_INIT("Received"), F_RECEIVED },
	{ STR_INIT("Date"), F_DATE },
	{ STR_INIT("Message-ID"), F_MESSAGE_ID },
	{ STR_INIT("Return-Path"), F_CUT },
	{ STR_INIT("Bcc"), F_CUT_SUBMITTED },
	{ STR_INIT("Resent-Bcc"), F_CUT_SUBMITTED },
	{ STR_INIT("Content-Length"), F_CUT_SUBMITTED },
	{ STR_INIT("TLS-Required"), F_TLS_REQUIRED },
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
note_field(struct str content, const struct header_field *f, bool submitted,
    struct accept_header *h)
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
		return !submitted || cut_field(content, f, h);
	}
	return true;
}

struct accept_verdict
accept_check(const struct settings *s, struct str content, bool submitted,
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
		if (n > s->header_count_limit || !note_field(content, &f, submitted, &h))
			return (struct accept_verdict){ 554, "5.6.0", "Too many header fields" };
	}
	if (h.received > s->hop_limit)
		return (struct accept_verdict){ 554, "5.4.6", "Too many hops: mail loop" };
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

/* A message, or the beginning of one, as it goes out. */
struct outgoing {
	struct buf head;
	struct iovec pieces[ACCEPT_CUTS + 2];
	size_t n;
	uint64_t size;
	uint32_t flags; /* ENV_* that the header section asks for */
};

static void
add_piece(struct outgoing *o, const char *p, size_t n)
{
	if (n)
		o->pieces[o->n++] = (struct iovec){ (char *)(uintptr_t)p, n };
	o->size += n;
}

/* 0; a refusal in *ret_verdict; -ENOMEM. buf_done(&o->head) after. */
static int
compose(const struct accept_request *r, struct outgoing *o, struct accept_verdict *ret_verdict)
{
	struct accept_header h;
	size_t at = 0;

	o->n = 0;
	o->size = 0;
	o->flags = 0;
	buf_init(&o->head, 16384);
	*ret_verdict = accept_check(r->settings, r->content, r->submitted, &h);
	if (ret_verdict->smtp)
		return 0;
	/* RFC 8689 section 4.1: REQUIRETLS goes first. */
	if (h.tls_optional && !(r->env->flags & ENV_REQUIRETLS))
		o->flags |= ENV_TLS_OPTIONAL;
	put_trace(&o->head, r);
	put_missing(&o->head, r, &h);
	add_piece(o, o->head.p, o->head.n);
	for (size_t i = 0; i < h.n_cuts; i++) {
		add_piece(o, r->content.p + at, h.cuts[i].at - at);
		at = h.cuts[i].at + h.cuts[i].n;
	}
	add_piece(o, r->content.p + at, r->content.n - at);
	return o->head.over ? -ENOMEM : 0;
}

int
accept_message(const struct accept_request *r, struct arena *a,
    struct accept_verdict *ret_verdict, struct queue_answer *ret)
{
	struct envelope env = *r->env;
	struct outgoing o;
	int code = compose(r, &o, ret_verdict);

	if (!code && !ret_verdict->smtp) {
		env.size = o.size;
		env.flags |= o.flags;
		env.arrived_us = clock_real_us();
		code = queue_accept(&env, o.pieces, o.n, a, ret);
	}
	buf_done(&o.head);
	return code;
}

/* ---- in parts ---- */

struct accept_stream {
	struct queue_stream queue;
	const struct envelope *env;
	struct arena *arena;
	uint32_t flags; /* as in struct outgoing */
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
	int code = compose(r, &o, ret_verdict);

	if (!s)
		code = -ENOMEM;
	if (!code && !ret_verdict->smtp) {
		s->env = r->env;
		s->arena = a;
		s->flags = o.flags;
		code = put(&s, o.pieces, o.n, ret_verdict);
	} else {
		s = NULL;
	}
	buf_done(&o.head);
	*ret = s;
	return code;
}

int
accept_more(struct accept_stream **s, struct str part, struct accept_verdict *ret_verdict)
{
	struct iovec v = { (char *)(uintptr_t)part.p, part.n };

	return put(s, &v, 1, ret_verdict);
}

int
accept_close(struct accept_stream **sp, struct str part, struct accept_verdict *ret_verdict,
    struct queue_answer *ret)
{
	struct accept_stream *s = *sp;
	struct envelope env = *s->env;
	uint32_t flags = s->flags;
	int code = accept_more(sp, part, ret_verdict);

	if (code || ret_verdict->smtp)
		return code;
	*sp = NULL;
	env.size = s->queue.size;
	env.flags |= flags;
	env.arrived_us = clock_real_us();
	return queue_stream_accept(&env, &s->queue, s->arena, ret);
}

void
accept_abort(struct accept_stream **s)
{
	if (*s)
		queue_stream_abort(&(*s)->queue);
	*s = NULL;
}
