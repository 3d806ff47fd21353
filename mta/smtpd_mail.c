/* MAIL and RCPT: RFC 5321 sections 4.1.1.2 and 4.1.1.3, RFC 1870, 6152, 6531. */
#include "mta/smtpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "lib/base/text.h"
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

static bool
size_param(struct smtp *s, struct envelope *env, struct str value)
{
	uint64_t limit = smtp_settings()->message_size_limit;
	size_t digits = 0;

	while (digits < value.n && ascii_isdigit(value.p[digits]))
		digits++;
	if (!value.n || digits < value.n || value.n > 20) /* RFC 1870 section 4 */
		smtp_reply(s, 501, "5.5.4", "Bad SIZE");
	else if (!str_u64(value, limit, &env->size))
		smtp_refuse(s, 552, "5.3.4", STR_NULL, "Message size exceeds the limit");
	else
		return true;
	return false;
}

static bool
body_param(struct smtp *s, struct envelope *env, struct str value)
{
	env->body = str_ieq(value, STR("8BITMIME"));
	if (env->body || str_ieq(value, STR("7BIT")))
		return true;
	smtp_reply(s, 501, "5.5.4", "Bad BODY");
	return false;
}

static bool
smtputf8_param(struct smtp *s, struct envelope *env, struct str value)
{
	env->flags |= ENV_SMTPUTF8;
	if (!value.p)
		return true;
	smtp_reply(s, 501, "5.5.4", "SMTPUTF8 takes no value");
	return false;
}

/* RFC 4954 section 5: looked at, then as if it said <>. */
static bool
auth_param(struct smtp *s, struct envelope *env, struct str value)
{
	struct buf b;
	bool ok;

	if (!smtp_auth_offered(s)) {
		smtp_reply(s, 555, "5.5.4", "Parameter not recognized");
		return false;
	}
	buf_init(&b, 1024);
	ok = value.n && xtext_get(&b, value) == 0 && !b.over;
	buf_done(&b);
	if (!ok)
		smtp_reply(s, 501, "5.5.4", "Bad AUTH");
	return ok;
}

static const struct {
	struct str name;
	bool (*take)(struct smtp *s, struct envelope *env, struct str value);
} mail_params[] = {
	{ STR_INIT("SIZE"), size_param },
	{ STR_INIT("BODY"), body_param },
	{ STR_INIT("SMTPUTF8"), smtputf8_param },
	{ STR_INIT("AUTH"), auth_param },
};

/* The parameters behind MAIL's path; false: one was answered with an error. */
static bool
take_params(struct smtp *s, struct envelope *env, struct str rest)
{
	struct str word;
	unsigned seen = 0;

	while ((word = str_word(&rest)).n) {
		struct str value = word, name = str_cut(&value, '=');
		size_t i = 0, n = sizeof mail_params / sizeof *mail_params;

		while (i < n && !str_ieq(name, mail_params[i].name))
			i++;
		if (i == n || seen & 1u << i) {
			smtp_reply(s, i == n ? 555 : 501, "5.5.4", i == n ? "Parameter not recognized" :
			    "Parameter given twice");
			return false;
		}
		seen |= 1u << i;
		if (!mail_params[i].take(s, env, value))
			return false;
	}
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
	if (code == 0 && !take_params(s, &t->env, rest))
		code = -EINVAL;
	if (code == 0 && !(t->env.flags & ENV_SMTPUTF8) && !ascii_only(str_head(arg, arg.n - rest.n))) {
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

/* Who may send to other domains: those that logged in, and relay-from. */
static bool
may_relay(struct smtp *s)
{
	return s->user || front_client_in(s->session, &smtp_settings()->relay_from);
}

static void
rcpt_unresolved(struct smtp *s, struct str address, enum resolve_kind kind)
{
	if (kind == RESOLVE_NO_USER)
		smtp_refuse(s, 550, "5.1.1", address, "User unknown");
	else if (kind == RESOLVE_DISABLED)
		smtp_refuse(s, 550, "5.2.1", address, "Mailbox disabled");
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
		return STR("postmaster");
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
	struct envelope_rcpt *r;
	struct path to;
	struct str rest, address;
	bool remote;
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
	if (str_trim(rest).n) {
		smtp_reply(s, 555, "5.5.4", "Parameter not recognized");
		return;
	}
	address = rcpt_address(s, &to, t->arena);
	code = cache_resolve(address, t->env.sender, t->arena, &who);
	remote = who.kind == RESOLVE_NOT_LOCAL && may_relay(s);
	if (code < 0) {
		smtp_refuse(s, 451, "4.3.0", address, "Recipient cannot be looked up now");
	} else if (who.kind != RESOLVE_ACCOUNT && !remote) {
		rcpt_unresolved(s, address, who.kind);
	} else if (!(r = rcpt_add(t))) {
		smtp_reply(s, 452, "4.5.3", "Too many recipients");
	} else if (remote || rcpt_has_room(s, &who, t->env.size)) {
		*r = remote ? (struct envelope_rcpt){ .address = address, .original = address,
			.route = ROUTE_REMOTE } :
		    (struct envelope_rcpt){ .address = who.address, .original = address,
			.route = ROUTE_LOCAL, .account = who.account, .volume = who.volume,
			.slot = who.slot, .quota = who.quota, .detail = who.detail };
		t->env.n_rcpts++;
		smtp_reply(s, 250, "2.1.5", "Ok");
	}
}
