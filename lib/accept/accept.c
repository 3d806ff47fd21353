/*
 * The one door into the spool; see accept.h. The message is never copied: what
 * is added stands in a piece of its own, what is left out is stepped over.
 */
#include "lib/accept/accept.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/mail/header.h"

static void
note_field(struct str content, const struct header_field *f, struct accept_header *h)
{
	if (str_ieq(f->name, STR("Received")))
		h->received++;
	else if (str_ieq(f->name, STR("Date")))
		h->date = true;
	else if (str_ieq(f->name, STR("Message-ID")))
		h->message_id = true;
	else if (str_ieq(f->name, STR("Return-Path")) && !h->return_path_n) {
		h->return_path_at = (size_t)(f->whole.p - content.p);
		h->return_path_n = f->whole.n;
	}
}

struct accept_verdict
accept_check(const struct settings *s, struct str content, struct accept_header *ret)
{
	struct str rest = content;
	struct header_field f;
	struct accept_header h = { 0 };
	size_t fields = 0;

	while (header_next(&rest, &f)) {
		if (!fields++ && !f.name.n)
			h.no_header = true;
		if (!f.name.n)
			break;
		note_field(content, &f, &h);
		if ((size_t)(f.whole.p - content.p) + f.whole.n > s->header_size_limit)
			return (struct accept_verdict){ 552, "5.3.4", "Message header too large" };
		if (fields > s->header_count_limit)
			return (struct accept_verdict){ 554, "5.6.0", "Too many header fields" };
	}
	if (h.received > s->hop_limit)
		return (struct accept_verdict){ 554, "5.4.6", "Too many hops: mail loop" };
	*ret = h;
	return (struct accept_verdict){ 0 };
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
		buf_printf(b, "Received: from %.*s ([%s%.*s])\r\n", STR_ARG(env->client_name),
		    str_chr(env->client_ip, ':') >= 0 ? "IPv6:" : "", STR_ARG(env->client_ip));
		if (r->tls.n)
			buf_printf(b, "\t(using %.*s)\r\n", STR_ARG(r->tls));
		buf_printf(b, "\tby %.*s (Posthorn) with %s id %.*s",
		    STR_ARG(r->settings->hostname), r->with, STR_ARG(env->trace));
	}
	if (env->n_rcpts == 1)
		buf_printf(b, "\r\n\tfor <%.*s>", STR_ARG(env->rcpts[0].address));
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

int
accept_message(const struct accept_request *r, struct arena *a,
    struct accept_verdict *ret_verdict, struct queue_answer *ret)
{
	struct accept_header h = { 0 };
	struct envelope env = *r->env;
	struct buf head;
	size_t after;
	int code;

	*ret_verdict = accept_check(r->settings, r->content, &h);
	if (ret_verdict->smtp)
		return 0;
	buf_init(&head, 16384);
	put_trace(&head, r);
	put_missing(&head, r, &h);
	after = h.return_path_at + h.return_path_n;
	struct iovec pieces[] = {
		{ head.p, head.n },
		{ (char *)r->content.p, h.return_path_at },
		{ (char *)r->content.p + after, r->content.n - after },
	};
	env.size = head.n + r->content.n - h.return_path_n;
	env.arrived_us = clock_real_us();
	code = head.over ? -ENOMEM : queue_accept(&env, pieces, 3, a, ret);
	buf_done(&head);
	return code;
}
