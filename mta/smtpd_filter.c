/*
 * What plugins are told of a session, and what their answers mean to its client. Without a
 * plugin for the listener none of this does more than look at a count.
 */
#include "mta/smtpd.h"

#define ASK_ARENA (1u << 20)

static const char *const listeners[] = {
	[CONF_SMTP] = "smtp", [CONF_SUBMISSION] = "submission", [CONF_LMTP] = "lmtp",
};

/* The client as it is known now; without its TLS, which needs memory. */
static void
describe(struct smtp *s)
{
	struct filter_session *f = &s->filters;

	f->client_ip = str_c(session_peer_text(s->session));
	f->client_name = str_c(s->host);
	f->helo = str_c(s->helo);
	f->user = str_c(s->user);
	f->id = str_c(s->id);
	f->listener = str_c(listeners[s->listen->proto]);
	f->plugins = s->listen->plugins;
	f->n_plugins = s->listen->n_plugins;
	f->flags = (s->esmtp ? FILTER_F_ESMTP : 0u) | (s->user ? FILTER_F_SUBMITTED : 0u);
	f->tls = STR_NULL;
}

struct filter_session *
smtp_filters(struct smtp *s, struct arena *a)
{
	const struct tls_info *tls;

	if (!smtp_settings()->n_plugins)
		return NULL;
	describe(s);
	tls = stream_tls(s->io);
	if (tls)
		s->filters.tls = arena_printf(a, "%s with cipher %s (%u bits)", tls->version,
		    tls->cipher, tls->bits);
	return filter_wanted(smtp_settings(), &s->filters) ? &s->filters : NULL;
}

static void
refuse(struct smtp *s, const struct filter_verdict *v, struct str address)
{
	smtp_refuse(s, v->smtp, v->enhanced, address, v->text);
}

bool
smtp_filter(struct smtp *s, enum filter_hook hook, struct str address)
{
	struct filter_verdict v = { 0 };
	struct filter_txn *t = s->txn ? &s->txn->filters : NULL;
	struct arena *a = smtp_settings()->n_plugins ? arena_new(ASK_ARENA) : NULL;

	if (!a)
		return true; /* of plugins there are none, or no memory: the message hook is still to come */
	if (t) {
		t->env = &s->txn->env;
		t->arena = s->txn->arena;
	}
	if (smtp_filters(s, a)) {
		filter_ask_all(smtp_settings(), &s->filters, t, hook, a, &v);
		s->filters.tls = STR_NULL; /* it was the arena's */
		if (v.action != FILTER_CONTINUE)
			refuse(s, &v, address);
	}
	arena_free(&a);
	return v.action == FILTER_CONTINUE;
}

void
smtp_filter_txn_over(struct smtp *s)
{
	struct smtp_txn *t = s->txn;

	if (!t->filters.asked)
		return;
	describe(s);
	t->filters.env = &t->env;
	t->filters.arena = t->arena;
	filter_txn_over(&s->filters, &t->filters, t->outcome, t->spool_id);
}

void
smtp_filter_over(struct smtp *s)
{
	describe(s);
	filter_session_over(&s->filters);
	s->filters = (struct filter_session){ 0 };
}
