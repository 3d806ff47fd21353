/*
 * What trusted proxies say: XCLIENT makes the session another client's, XFORWARD says whose
 * the next message is. XFORWARD is undone by the end of its transaction, RSET or EHLO; it
 * never decides what a client may do.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/io/ip.h"
#include "mta/smtpd.h"
#include "mta/smtpd_cache.h"

/* ---- XCLIENT ---- */

static void
set_address(struct sockaddr_storage *ss, struct str addr, struct str port)
{
	uint32_t number = 0;

	memset(ss, 0, sizeof *ss);
	if (!ip_parse(addr, ss))
		return;
	str_u32(port, 65535, &number);
	if (ss->ss_family == AF_INET)
		((struct sockaddr_in *)ss)->sin_port = htons((uint16_t)number);
	else
		((struct sockaddr_in6 *)ss)->sin6_port = htons((uint16_t)number);
}

static void
take_addresses(struct smtp *s, const struct xclient *x)
{
	struct sockaddr_storage ss;

	if (x->given[XCLIENT_ADDR]) {
		set_address(&ss, x->v[XCLIENT_ADDR], x->v[XCLIENT_PORT]);
		session_set_peer(s->session, &ss);
	}
	if (x->v[XCLIENT_DESTADDR].n) {
		set_address(&ss, x->v[XCLIENT_DESTADDR], x->v[XCLIENT_DESTPORT]);
		session_set_local(s->session, &ss);
	}
}

static char *
copy(struct str v)
{
	return v.n ? strndup(v.p, v.n) : NULL;
}

/* The proxy has logged this one in. False: it is none of ours, or nobody can say. */
static bool
take_login(struct smtp *s, struct str login, struct arena *a)
{
	struct resolve_answer who = { 0 };

	if (!login.n)
		return true;
	if (cache_resolve(login, STR_NULL, a, &who) < 0)
		smtp_reply(s, 451, "4.3.0", "The login name cannot be looked up now");
	else if (who.kind != RESOLVE_ACCOUNT)
		smtp_reply(s, 501, "5.5.4", "Bad LOGIN: no such account");
	else if (!(s->user = copy(who.address)))
		smtp_reply(s, 451, "4.3.0", "Out of memory");
	else
		s->account = who.account;
	return s->user != NULL;
}

/* A new session, as if the client that is named had connected. */
static void
begin_anew(struct smtp *s, const struct xclient *x, struct arena *a)
{
	const struct settings *set = smtp_settings();

	smtp_forget(s);
	smtp_filter_over(s);
	s->errors = s->commands = 0;
	take_addresses(s, x);
	free(s->host);
	s->host = copy(x->v[XCLIENT_NAME]);
	s->helo = copy(x->v[XCLIENT_HELO]);
	s->esmtp = str_eq(x->v[XCLIENT_PROTO], STR("ESMTP"));
	LOG_INFO("smtp.xclient", L_C("session", s->id), L_C("ip", session_peer_text(s->session)),
	    L_STR("name", x->v[XCLIENT_NAME]), L_STR("user", x->v[XCLIENT_LOGIN]));
	if (take_login(s, x->v[XCLIENT_LOGIN], a) &&
	    smtp_within_limits(s, front_move(&s->front, s->session, set->smtp_sessions,
	        set->smtp_sessions_per_address)))
		smtp_welcome(s);
}

static bool
from_proxy(struct smtp *s, const char *verb)
{
	if (!s->trusted)
		smtp_reply(s, 550, "5.7.0", "%s is for trusted proxies", verb);
	else if (s->txn)
		smtp_reply(s, 503, "5.5.1", "Not in a transaction");
	else
		return true;
	return false;
}

void
cmd_xclient(struct smtp *s, struct str arg)
{
	struct arena *a;
	struct xclient x = { 0 };
	struct str wrong;

	if (!from_proxy(s, "XCLIENT"))
		return;
	a = arena_new(64 << 10);
	if (!a)
		smtp_reply(s, 451, "4.3.0", "Out of memory");
	else if (xclient_parse(XCLIENT_COMMAND, arg, a, &x, &wrong) < 0)
		smtp_reply(s, 501, "5.5.4", "Bad XCLIENT attribute %.*s", STR_ARG(wrong));
	else
		begin_anew(s, &x, a);
	arena_free(&a);
}

/* ---- XFORWARD ---- */

#define FORWARD_MAX (64u << 10) /* bytes of all that is said for one message */

static struct metric forwarded = METRIC_COUNTER("smtp_forwarded_total", NULL,
    "Messages whose client a proxy named by XFORWARD");

void
smtp_forward_free(struct smtp_forward **f)
{
	if (*f)
		arena_free(&(*f)->arena);
	*f = NULL;
}

static struct smtp_forward *
forward_new(void)
{
	struct arena *a = arena_new(FORWARD_MAX);
	struct smtp_forward *f = a ? ARENA_NEW(a, struct smtp_forward) : NULL;

	if (f)
		f->arena = a;
	else
		arena_free(&a);
	return f;
}

void
cmd_xforward(struct smtp *s, struct str arg)
{
	struct str wrong;

	if (!from_proxy(s, "XFORWARD"))
		return;
	if (!s->forward && !(s->forward = forward_new()))
		smtp_reply(s, 451, "4.3.0", "Out of memory");
	else if (xclient_parse(XFORWARD_COMMAND, arg, s->forward->arena, &s->forward->said, &wrong) < 0)
		smtp_reply(s, 501, "5.5.4", "Bad XFORWARD attribute %.*s", STR_ARG(wrong));
	else
		smtp_reply(s, 250, "2.0.0", "Ok");
}

void
smtp_forward_note(const struct smtp *s, struct smtp_txn *t)
{
	const struct str *v;

	if (!s->forward)
		return;
	v = s->forward->said.v;
	t->ident = arena_dup(t->arena, v[XCLIENT_IDENT]);
	if (v[XCLIENT_HELO].n)
		t->env.client_name = arena_dup(t->arena, v[XCLIENT_HELO]);
	if (v[XCLIENT_ADDR].n) {
		t->env.client_ip = arena_dup(t->arena, v[XCLIENT_ADDR]);
		if (!s->user)
			t->env.tenant = t->env.client_ip;
	}
	metric_add(&forwarded, 1);
	LOG_INFO("smtp.xforward", L_STR("txn", t->env.trace), L_STR("ident", v[XCLIENT_IDENT]),
	    L_STR("name", v[XCLIENT_NAME]), L_STR("client", v[XCLIENT_ADDR]),
	    L_STR("port", v[XCLIENT_PORT]), L_STR("proto", v[XCLIENT_PROTO]),
	    L_STR("helo", v[XCLIENT_HELO]), L_STR("source", v[XCLIENT_SOURCE]));
}
