/* MAIL and RCPT: RFC 5321 sections 4.1.1.2 and 4.1.1.3, RFC 1870, 6152, 6531. */
#include "mta/smtpd.h"

#include <errno.h>

#include "lib/base/log.h"
#include "mta/smtpd_cache.h"

/* Cuts "FROM:" or "TO:" and the blanks that clients put behind it. */
static bool
cut_keyword(struct str *arg, struct str keyword)
{
	if (!str_istarts(*arg, keyword))
		return false;
	*arg = str_trim(str_skip(*arg, keyword.n));
	return true;
}

/* One MAIL parameter: false when it was answered with an error. */
static bool
mail_param(struct smtp *s, struct envelope *env, struct str word)
{
	struct str value = word, name = str_cut(&value, '=');

	if (str_ieq(name, STR("SIZE"))) {
		if (!str_u64(value, UINT64_MAX, &env->size))
			smtp_reply(s, 501, "5.5.4", "Bad SIZE");
		else if (env->size > smtp_settings()->message_size_limit)
			smtp_reply(s, 552, "5.3.4", "Message size exceeds the limit of %llu bytes",
			    (unsigned long long)smtp_settings()->message_size_limit);
		else
			return true;
		return false;
	}
	if (str_ieq(name, STR("BODY"))) {
		env->body = str_ieq(value, STR("8BITMIME"));
		if (env->body || str_ieq(value, STR("7BIT")))
			return true;
		smtp_reply(s, 501, "5.5.4", "Bad BODY");
		return false;
	}
	if (str_ieq(word, STR("SMTPUTF8"))) {
		env->flags |= ENV_SMTPUTF8;
		return true;
	}
	if (str_ieq(name, STR("AUTH")) && smtp_auth_offered(s))
		return true; /* RFC 4954 section 5: as if it said <> */
	smtp_reply(s, 555, "5.5.4", "Parameter not recognized");
	return false;
}

static const char *
path_enhanced(int code)
{
	return code == -EILSEQ ? "5.6.7" : "5.1.3";
}

static bool
sender_allowed(struct smtp *s, struct str sender, struct arena *a)
{
	struct resolve_answer who = { 0 };
	int code;

	if (s->listen->proto != CONF_SUBMISSION || !s->user || !sender.n ||
	    smtp_settings()->submission_sender == CONF_SENDER_ANY)
		return true;
	code = cache_resolve(sender, a, &who);
	if (code < 0)
		smtp_refuse(s, 451, "4.3.0", sender, "Sender cannot be checked now");
	else if (who.kind != RESOLVE_ACCOUNT || who.account != s->account)
		smtp_refuse(s, 553, "5.7.1", sender, "Sender address is not yours");
	else
		return true;
	return false;
}

/* The reasons that forbid a transaction before its address is looked at. */
static bool
mail_in_order(struct smtp *s)
{
	uint64_t delay;

	if (s->txn)
		smtp_reply(s, 503, "5.5.1", "Nested MAIL");
	else if (s->listen->proto == CONF_SUBMISSION && !s->user)
		smtp_reply(s, 530, "5.7.0", "Authentication required");
	else if (queue_pressure(&delay) == 2)
		smtp_reply(s, 452, "4.3.1", "Queue is full, try later");
	else
		return true;
	return false;
}

static struct smtp_txn *
txn_new(struct smtp *s)
{
	struct arena *a = arena_new(4u << 20);
	struct smtp_txn *t = a ? ARENA_NEW(a, struct smtp_txn) : NULL;
	struct envelope *e;

	if (!t) {
		arena_free(&a);
		return NULL;
	}
	t->arena = a;
	e = &t->env;
	e->client_name = arena_dup(a, str_c(s->helo));
	e->client_ip = arena_dup(a, str_c(session_peer_text(s->session)));
	e->user = arena_dup(a, str_c(s->user));
	e->tenant = s->user ? e->user : e->client_ip;
	e->trace = arena_printf(a, "%s.%u", s->id, ++s->mails);
	if (stream_tls(s->io))
		e->flags |= ENV_TLS;
	if (smtp_is_lmtp(s))
		e->flags |= ENV_LMTP;
	return t;
}

void
cmd_mail(struct smtp *s, struct str arg)
{
	struct smtp_txn *t;
	struct path from;
	struct str rest, word;
	uint64_t delay = 0;
	int code;

	if (!mail_in_order(s))
		return;
	if (!cut_keyword(&arg, STR("FROM:"))) {
		smtp_reply(s, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
		return;
	}
	t = s->txn = txn_new(s);
	if (!t) {
		smtp_reply(s, 451, "4.3.0", "Out of memory");
		return;
	}
	/* Parameters stand behind the path, so UTF-8 is judged after them. */
	code = path_parse(arg, PATH_NULL | PATH_UTF8, t->arena, &from, &rest);
	if (code < 0)
		smtp_refuse(s, 501, code == -EILSEQ ? "5.6.7" : "5.1.7", arg, "Bad sender address syntax");
	while (code == 0 && (word = str_word(&rest)).n)
		if (!mail_param(s, &t->env, word))
			code = -EINVAL;
	if (code == 0 && from.utf8 && !(t->env.flags & ENV_SMTPUTF8)) {
		smtp_refuse(s, 553, "5.6.7", from.text, "Address needs SMTPUTF8");
		code = -EILSEQ;
	}
	if (code < 0 || !sender_allowed(s, from.text, t->arena)) {
		smtp_txn_end(s);
		return;
	}
	t->env.sender = from.text;
	/* The line is gone after this: another session may read one meanwhile. */
	if (queue_pressure(&delay) == 1)
		co_sleep(delay);
	smtp_reply(s, 250, "2.1.0", "Ok");
}

static struct envelope_rcpt *
rcpt_add(struct smtp_txn *t)
{
	struct envelope *e = &t->env;
	struct envelope_rcpt *v;

	if (e->n_rcpts == t->rcpts_cap) {
		size_t cap = t->rcpts_cap ? t->rcpts_cap * 2 : 4;

		v = ARENA_ARRAY(t->arena, struct envelope_rcpt, cap);
		if (!v)
			return NULL;
		if (e->n_rcpts)
			memcpy(v, e->rcpts, e->n_rcpts * sizeof *v);
		e->rcpts = v;
		t->rcpts_cap = cap;
	}
	return &e->rcpts[e->n_rcpts];
}

static void
rcpt_unresolved(struct smtp *s, struct str address, enum resolve_kind kind)
{
	bool mine = s->user || front_client_in(s->session, &smtp_settings()->relay_from);

	if (kind == RESOLVE_NO_USER)
		smtp_refuse(s, 550, "5.1.1", address, "User unknown");
	else if (kind == RESOLVE_DISABLED)
		smtp_refuse(s, 550, "5.2.1", address, "Mailbox disabled");
	else if (mine)
		smtp_refuse(s, 550, "5.4.4", address, "No route to this domain");
	else
		smtp_refuse(s, 550, "5.7.1", address, "Relaying denied");
}

static bool
rcpt_has_room(struct smtp *s, const struct resolve_answer *who, uint64_t size)
{
	struct wire_error we = { 0 };

	/* Advisory: without an answer the mail waits in the spool. */
	if (cache_room(who, size, &we) == 0 || !we.smtp)
		return true;
	smtp_refuse(s, we.smtp, we.enhanced.p, who->address, we.text.p);
	return false;
}

/* Postmaster without a domain is ours (RFC 5321 section 4.5.1). */
static struct str
rcpt_address(struct smtp *s, const struct path *to, struct arena *a)
{
	const struct settings *set = smtp_settings();

	if (to->domain.n)
		return to->text;
	return arena_printf(a, "postmaster@%.*s",
	    STR_ARG(set->n_domains ? set->domains[0] : set->hostname));
}

void
cmd_rcpt(struct smtp *s, struct str arg)
{
	struct smtp_txn *t = s->txn;
	struct resolve_answer who = { 0 };
	struct envelope_rcpt *r;
	struct path to;
	struct str rest, address;
	int code;

	if (!t || t->text || t->bdat_failed) {
		smtp_reply(s, 503, "5.5.1", t ? "Not behind BDAT" : "Need MAIL");
		return;
	}
	if (!cut_keyword(&arg, STR("TO:"))) {
		smtp_reply(s, 501, "5.5.4", "Syntax: RCPT TO:<address>");
		return;
	}
	if (t->env.n_rcpts >= smtp_settings()->recipient_limit) {
		smtp_reply(s, 452, "4.5.3", "Too many recipients");
		return;
	}
	code = path_parse(arg, PATH_POSTMASTER | (t->env.flags & ENV_SMTPUTF8 ? PATH_UTF8 : 0),
	    t->arena, &to, &rest);
	if (code < 0) {
		smtp_refuse(s, code == -EILSEQ ? 553 : 501, path_enhanced(code), arg, "Bad recipient address");
		return;
	}
	if (str_trim(rest).n) {
		smtp_reply(s, 555, "5.5.4", "Parameter not recognized");
		return;
	}
	address = rcpt_address(s, &to, t->arena);
	code = cache_resolve(address, t->arena, &who);
	if (code < 0) {
		smtp_refuse(s, 451, "4.3.0", address, "Recipient cannot be looked up now");
	} else if (who.kind != RESOLVE_ACCOUNT) {
		rcpt_unresolved(s, address, who.kind);
	} else if (!(r = rcpt_add(t))) {
		smtp_reply(s, 452, "4.5.3", "Too many recipients");
	} else if (rcpt_has_room(s, &who, t->env.size)) {
		*r = (struct envelope_rcpt){ .address = who.address, .original = address,
			.route = ROUTE_LOCAL, .account = who.account, .volume = who.volume,
			.slot = who.slot, .quota = who.quota, .detail = who.detail };
		t->env.n_rcpts++;
		smtp_reply(s, 250, "2.1.5", "Ok");
	}
}
