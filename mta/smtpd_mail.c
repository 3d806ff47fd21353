/* MAIL and RCPT: RFC 5321 sections 4.1.1.2 and 4.1.1.3; their parameters are smtpd_param's. */
#include "mta/smtpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "lib/accept/rcpt.h"
#include "lib/base/text.h"
#include "lib/client/rewrite.h"
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

/* The path that arg begins with, and what stands behind it, parted by a blank. A
 * negative code was answered. */
static int
take_path(struct smtp *s, struct str arg, unsigned flags, struct path *ret, struct str *ret_rest)
{
	int code = path_parse(arg, flags, s->txn->arena, ret, ret_rest);

	if (code == 0 && ret_rest->n && ret_rest->p[0] != ' ' && ret_rest->p[0] != '\t')
		code = -EINVAL;
	if (code == -EILSEQ)
		smtp_refuse(s, 553, "5.6.7", arg, "Address needs SMTPUTF8, or is not UTF-8");
	else if (code < 0)
		smtp_refuse(s, 501, flags & PATH_NULL ? "5.1.7" : "5.1.3", arg, "Bad address syntax");
	return code;
}

static bool
sender_allowed(struct smtp *s, struct str sender, struct arena *a)
{
	struct resolve_answer who = { 0 };
	int code;

	if (s->listen->proto != CONF_SUBMISSION || !s->user || !sender.n ||
	    smtp_settings()->submission_sender == CONF_SENDER_ANY)
		return true;
	code = cache_resolve(sender, STR_NULL, a, &who);
	if (code < 0)
		smtp_refuse(s, 451, "4.3.0", sender, "Sender cannot be checked now");
	else if (who.kind != RESOLVE_ACCOUNT || who.account != s->account)
		smtp_refuse(s, 553, "5.7.1", sender, "Sender address is not yours");
	else
		return true;
	return false;
}

/* The sender as the house knows it. */
static bool
sender_rewritten(struct smtp *s, struct str *sender, struct arena *a)
{
	const struct rewrite_ask ask = { REWRITE_SENDER, *sender };
	struct str becomes;

	if (!sender->n || !rewrite_wanted(smtp_settings(), REWRITE_SENDER))
		return true;
	if (auth_rewrite(&ask, 1, a, &becomes)) {
		smtp_refuse(s, 451, "4.3.0", *sender, "Sender cannot be looked up now");
		return false;
	}
	if (becomes.p)
		*sender = becomes;
	return true;
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
	e->client_name = t->hello = arena_dup(a, str_c(s->helo));
	e->client_ip = t->client_ip = arena_dup(a, str_c(session_peer_text(s->session)));
	e->user = arena_dup(a, str_c(s->user));
	e->tenant = s->user ? e->user : e->client_ip;
	e->trace = arena_printf(a, "%s.%u", s->id, ++s->mails);
	smtp_forward_note(s, t);
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
	struct str rest;
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
	code = take_path(s, arg, PATH_NULL | PATH_UTF8, &from, &rest);
	if (code == 0 && !smtp_mail_params(s, rest))
		code = -EINVAL;
	if (code == 0 && !(t->env.flags & ENV_SMTPUTF8) && !ascii_only(str_head(arg, arg.n - rest.n))) {
		smtp_refuse(s, 553, "5.6.7", from.text, "Address needs SMTPUTF8");
		code = -EILSEQ;
	}
	if (code < 0 || !sender_allowed(s, from.text, t->arena) ||
	    !sender_rewritten(s, &from.text, t->arena)) {
		smtp_txn_end(s);
		return;
	}
	t->env.sender = from.text;
	/* The line is gone after this: another session may read one meanwhile. */
	if (queue_pressure(&delay) == 1)
		co_sleep(delay);
	if (!smtp_filter(s, FILTER_MAIL, t->env.sender)) {
		smtp_txn_end(s);
		return;
	}
	if (t->priority_lowered)
		smtp_reply(s, 250, "2.3.6", "0 is the new priority"); /* RFC 6710 section 4.2 */
	else
		smtp_reply(s, 250, "2.1.0", "Ok");
}

bool
smtp_may_relay(struct smtp *s)
{
	return s->user || front_client_in(s->session, &smtp_settings()->relay_from);
}

/* What is not taken. An address outside of our domains and of those that are relayed
 * for is refused alike to strangers, whatever it would become. */
static bool
rcpt_refused(struct smtp *s, struct str address, const struct resolve_answer *who)
{
	if (!who->open && !smtp_may_relay(s))
		smtp_refuse(s, 550, "5.7.1", address, "Relaying denied");
	else if (who->kind == RESOLVE_NO_USER)
		smtp_refuse(s, 550, "5.1.1", address, "User unknown");
	else if (who->kind == RESOLVE_DISABLED)
		smtp_refuse(s, 550, "5.2.1", address, "Mailbox disabled");
	else if (who->kind == RESOLVE_REJECT)
		smtp_refuse(s, who->smtp, arena_cstr(s->txn->arena, who->enhanced), address,
		    arena_cstr(s->txn->arena, who->text));
	else
		return false;
	return true;
}

static bool
rcpt_has_room(struct smtp *s, const struct resolve_answer *who, uint64_t size)
{
	struct wire_error we = { 0 };

	/* Advisory: without an answer the mail waits in the spool. A list is not refused for
	 * one of its members. */
	if (who->kind != RESOLVE_ACCOUNT || cache_room(who, size, &we) == 0 || !we.smtp)
		return true;
	smtp_refuse(s, we.smtp, we.enhanced.p, who->address, we.text.p);
	return false;
}

/* "[192.0.2.1]" as paths have it: whether the client has reached us under it. */
static bool
is_own_literal(struct smtp *s, struct str domain)
{
	const struct sockaddr_storage *ss = session_local(s->session);
	char text[INET6_ADDRSTRLEN], own[INET6_ADDRSTRLEN + 8];
	unsigned char addr[16];
	bool v4;

	if (!conf_addr_of(ss, addr))
		return false;
	v4 = !memcmp(addr, (const unsigned char[12]){ [10] = 0xff, 0xff }, 12);
	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + 12 : addr, text, sizeof text);
	snprintf(own, sizeof own, "[%s%s]", v4 ? "" : "ipv6:", text);
	return str_eq(domain, str_c(own));
}

/* What is looked up. Postmaster without a domain is the house's (RFC 5321 section
 * 4.5.1); under an address literal of ours are the names of the first domain. */
static struct str
rcpt_address(struct smtp *s, const struct path *to, struct arena *a)
{
	const struct settings *set = smtp_settings();
	bool own = to->literal && is_own_literal(s, to->domain);

	if (to->domain.n && !own)
		return to->text;
	if (str_ieq(to->local, STR("postmaster")))
		return arena_dup(a, STR("postmaster"));
	return arena_printf(a, "%.*s@%.*s", (int)(to->text.n - to->domain.n) - 1, to->text.p,
	    STR_ARG(set->n_domains ? set->domains[0] : set->hostname));
}

static bool
rcpt_in_order(struct smtp *s)
{
	struct smtp_txn *t = s->txn;

	if (!t || t->text || t->bdat_failed)
		smtp_reply(s, 503, "5.5.1", t ? "Not behind BDAT" : "Need MAIL");
	else if (t->env.n_rcpts >= smtp_settings()->recipient_limit)
		smtp_reply(s, 452, "4.5.3", "Too many recipients");
	else
		return true;
	return false;
}

void
cmd_rcpt(struct smtp *s, struct str arg)
{
	struct smtp_txn *t = s->txn;
	struct resolve_answer who = { 0 };
	struct envelope_rcpt said = { 0 };
	struct path to;
	struct str rest, address;
	size_t before;
	int code;

	if (!rcpt_in_order(s))
		return;
	if (!cut_keyword(&arg, STR("TO:"))) {
		smtp_reply(s, 501, "5.5.4", "Syntax: RCPT TO:<address>");
		return;
	}
	if (take_path(s, arg, PATH_POSTMASTER | (t->env.flags & ENV_SMTPUTF8 ? PATH_UTF8 : 0), &to,
	    &rest) < 0)
		return;
	if (!smtp_rcpt_params(s, &said, rest))
		return;
	address = rcpt_address(s, &to, t->arena);
	before = t->env.n_rcpts;
	code = cache_resolve(address, t->env.sender, t->arena, &who);
	if (code < 0)
		smtp_refuse(s, 451, "4.3.0", address, "Recipient cannot be looked up now");
	else if (rcpt_refused(s, address, &who) || !rcpt_has_room(s, &who, t->env.size))
		return;
	else if (accept_rcpt(&t->env, &t->rcpts_cap, &who, address, &said, t->arena) < 0)
		smtp_reply(s, 452, "4.5.3", "Too many recipients");
	else if (!smtp_filter(s, FILTER_RCPT, address))
		t->env.n_rcpts = before;
	else
		smtp_reply(s, 250, "2.1.5", "Ok");
}
