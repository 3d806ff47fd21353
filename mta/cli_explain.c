/*
 * posthorn explain: every decision that a hypothetical message would meet, in the order in
 * which it would meet them. Nothing is sent: authd is asked what it would answer to
 * smtpd, dnsd for the hosts of other domains, the rest is read from the configuration.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "lib/accept/accept.h"
#include "lib/client/dns.h"
#include "lib/client/dns_rdata.h"
#include "lib/client/resolve_ask.h"
#include "lib/mail/path.h"
#include "mta/cli_tables.h"
#include "mta/dotscan.h"
#include "mta/import.h"
#include "mta/relay_hop.h"

#define DNS_WAIT_MS 30000u

static const struct cli_opt opts[] = {
	{ "from", OPT_STRING, "ADDRESS", "the envelope's sender; <> for none" },
	{ "to", OPT_STRING, "ADDRESS", "a recipient; may be given several times" },
	{ "ip", OPT_STRING, "ADDRESS", "the client's address (default 192.0.2.1, a stranger)" },
	{ "user", OPT_STRING, "ADDRESS", "the account that the client logged in to" },
	{ "file", OPT_STRING, "FILE", "the message" },
	{ 0 },
};

struct explain {
	struct cli *c;
	struct cli_table *t;
	struct control *authd, *dnsd;
	bool may_relay;
	bool refused;            /* of somebody something was */
	struct str sender;
};

__attribute__((format(printf, 5, 6)))
static void
say(struct explain *x, const char *step, struct str about, const char *verdict, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	cli_cell(x->t, str_c(step));
	cli_cell(x->t, about);
	cli_cell(x->t, str_c(verdict));
	cli_cell(x->t, buf_view(&b));
	buf_done(&b);
}

/* ---- the client ---- */

static int
explain_client(struct explain *x)
{
	const struct settings *s = x->c->settings;
	const char *ip = cli_opt(x->c, "ip"), *user = cli_opt(x->c, "user");
	struct str about = str_c(ip ? ip : "192.0.2.1");
	struct conf_net net;

	if (conf_net_parse(about, &net) || str_chr(about, '/') >= 0)
		return cli_fail(x->c, CLI_USAGE, "'%.*s' is no IP address", STR_ARG(about));
	if (conf_nets_has(&s->trust_proxy, net.addr))
		say(x, "client", about, "trusted", "may name another client by XCLIENT or PROXY (trust-proxy)");
	if (user) {
		x->may_relay = true;
		say(x, "client", str_c(user), "may relay", "it logged in");
	} else if (conf_nets_has(&s->relay_from, net.addr)) {
		x->may_relay = true;
		say(x, "client", about, "may relay", "its address is in relay-from");
	} else {
		say(x, "client", about, "stranger", "may send to domains of this instance, and those it relays for");
	}
	if (s->smtp_sessions_per_address)
		say(x, "client", about, "limit", "at most %u sessions at a time (smtp.sessions-per-address)",
		    s->smtp_sessions_per_address);
	return 0;
}

/* ---- the sender ---- */

static int
explain_owner(struct explain *x, const char *user)
{
	struct resolve_answer a = { 0 }, b = { 0 };
	struct err e = { 0 };
	int rc = resolve_ask(x->authd, x->sender, STR_NULL, x->c->arena, &a, &e);

	if (!rc)
		rc = resolve_ask(x->authd, str_c(user), STR_NULL, x->c->arena, &b, &e);
	if (rc)
		return cli_fail_err(x->c, rc, &e);
	if (a.kind == RESOLVE_ACCOUNT && b.kind == RESOLVE_ACCOUNT && a.account == b.account) {
		say(x, "sender", x->sender, "ok", "an address of the account that logged in");
	} else {
		x->refused = true;
		say(x, "sender", x->sender, "553 5.7.1", "not an address of %s (smtp.submission-sender own)", user);
	}
	return 0;
}

static int
explain_sender(struct explain *x)
{
	const char *from = cli_opt(x->c, "from"), *user = cli_opt(x->c, "user");
	struct path p;

	if (!from || !strcmp(from, "<>") || !*from) {
		say(x, "sender", STR("<>"), "ok", "the null sender: a notification");
		return 0;
	}
	if (path_parse_address(str_c(from), PATH_UTF8, x->c->arena, &p)) {
		x->refused = true;
		say(x, "sender", str_c(from), "501 5.1.7", "not a valid address");
		return 0;
	}
	x->sender = p.text;
	if (user && x->c->settings->submission_sender == CONF_SENDER_OWN)
		return explain_owner(x, user);
	say(x, "sender", p.text, "ok", p.utf8 ? "needs SMTPUTF8 on the whole way" : "its syntax is right");
	return 0;
}

/* ---- a recipient ---- */

static const char *
tls_word(enum conf_relay_tls level)
{
	static const char *const words[] = { "off", "optional", "required", "verify", "dane", "dane-only" };

	return level < sizeof words / sizeof *words ? words[level] : "unknown";
}

static void
explain_tls(struct explain *x, struct str hop, struct str domain)
{
	struct relay_hop to = { .host = domain };
	struct str name = hop.n ? hop : domain;
	struct conf_tls_choice c;

	relay_hop_parse(hop, domain, &to);
	c = conf_tls_choose(x->c->settings, hop, to.host);
	if (c.hop && c.hop->user.n)
		say(x, "log-in", hop, "as", "%.*s (next-hop, mechanism %.*s)", STR_ARG(c.hop->user),
		    STR_ARG(c.hop->mechanism));
	if (!strcmp(c.source, "tls-policy"))
		say(x, "tls", name, tls_word(c.level), "says tls-policy \"%.*s\"", STR_ARG(c.policy->name));
	else
		say(x, "tls", name, tls_word(c.level), "%s",
		    strcmp(c.source, "next-hop") ? "says relay.tls" : "says next-hop");
}

static void
explain_mx(struct explain *x, struct str domain)
{
	struct dns_question q = { domain, DNS_MX };
	struct dns_answer a = { 0 };
	struct dns_host h;
	struct buf b = { 0 };
	struct frame f;
	struct err e = { 0 };
	int rc;

	if (!x->dnsd)
		return;
	dns_questions_put(&b, &q, 1);
	rc = control_call(x->dnsd, MSG_DNS_ASK, &b, -1, DNS_WAIT_MS, x->c->arena, &f, &e);
	buf_done(&b);
	if (rc || dns_answers_get(f.body, x->c->arena, &a, 1)) {
		say(x, "dns", domain, "no answer", "%s", rc ? e.text : "dnsd's answer cannot be read");
		return;
	}
	if (a.status != DNS_OK) {
		say(x, "dns", domain, dns_status_name(a.status), "%s%.*s", a.status == DNS_NODATA ?
		    "no MX: its own addresses are tried " : "", STR_ARG(a.why));
		return;
	}
	for (size_t i = 0; i < a.n; i++)
		if (!dns_mx_get(a.rdata[i], x->c->arena, &h))
			say(x, "dns", domain, a.secure ? "mx, secure" : "mx", "%u %.*s", h.preference,
			    h.name.n ? (int)h.name.n : 1, h.name.n ? h.name.p : ".");
}

static void
explain_way(struct explain *x, const struct resolve_answer *r, size_t i, struct str address)
{
	struct envelope_rcpt p = { 0 };
	struct buf b = { 0 };
	ptrdiff_t at;

	resolve_rcpt(r, i, address, &p);
	resolve_way_put(&b, r, i);
	say(x, "way", address, p.route == ROUTE_LOCAL ? "local" : p.route == ROUTE_PIPE ? "pipe" : "remote",
	    "%.*s", STR_ARG(buf_view(&b)));
	buf_done(&b);
	if (p.route != ROUTE_REMOTE)
		return;
	at = str_rchr(p.address, '@');
	explain_tls(x, p.next_hop, str_skip(p.address, at < 0 ? 0 : (size_t)at + 1));
	if (!p.next_hop.n)
		explain_mx(x, str_skip(p.address, at < 0 ? 0 : (size_t)at + 1));
}

static void
refuse_rcpt(struct explain *x, struct str address, const struct resolve_answer *r)
{
	x->refused = true;
	if (r->kind == RESOLVE_NO_USER)
		say(x, "recipient", address, "550 5.1.1", "nobody of that name in a domain of ours");
	else if (r->kind == RESOLVE_DISABLED)
		say(x, "recipient", address, "550 5.2.1", "the mailbox is suspended");
	else if (r->kind == RESOLVE_REJECT)
		say(x, "recipient", address, arena_printf(x->c->arena, "%u %.*s", r->smtp,
		    STR_ARG(r->enhanced)).p, "%.*s", STR_ARG(r->text));
	else
		say(x, "recipient", address, "550 5.7.1", "not a domain of ours, and the client may not relay");
}

static int
explain_rcpt(struct explain *x, const char *to)
{
	struct resolve_answer r = { 0 };
	struct path p;
	struct err e = { 0 };
	int rc;

	if (path_parse_address(str_c(to), PATH_UTF8, x->c->arena, &p)) {
		x->refused = true;
		say(x, "recipient", str_c(to), "501 5.1.3", "not a valid address");
		return 0;
	}
	rc = resolve_ask(x->authd, p.text, x->sender, x->c->arena, &r, &e);
	if (rc) {
		x->refused = true;
		say(x, "recipient", p.text, "451 4.3.0", "cannot be looked up now: %s", e.text);
		return 0;
	}
	if (!resolve_deliveries(&r) || (!r.open && !x->may_relay)) {
		refuse_rcpt(x, p.text, &r);
		return 0;
	}
	say(x, "recipient", p.text, "250 2.1.5", "%s, %zu deliver%s%s", resolve_word(r.kind),
	    resolve_deliveries(&r), resolve_deliveries(&r) == 1 ? "y" : "ies",
	    r.by_sender ? "; another sender may get another answer" : "");
	for (size_t i = 0; i < resolve_deliveries(&r); i++)
		explain_way(x, &r, i, p.text);
	return 0;
}

/* ---- the message ---- */

static struct str
crlf(struct cli *c, struct str in)
{
	char *p = arena_alloc(c->arena, 2 * in.n + 1);

	return p ? str_from(p, dotscan_normalize(in.p, in.n, p)) : STR_NULL;
}

static int
explain_message(struct explain *x)
{
	const char *path = cli_opt(x->c, "file");
	const struct settings *s = x->c->settings;
	struct import *m = ARENA_NEW(x->c->arena, struct import);
	struct accept_verdict v;
	struct accept_header h;
	struct str text;
	struct err e = { 0 };

	if (!path)
		return 0;
	if (!m)
		return cli_fail(x->c, CLI_TEMPORARY, "out of memory");
	m->arena = x->c->arena;
	if (import_file(m, path, &text, &e))
		return cli_fail(x->c, CLI_FAILED, "%s", e.text);
	text = crlf(x->c, text);
	if (text.n > s->message_size_limit) {
		x->refused = true;
		say(x, "message", str_c(path), "552 5.3.4", "%zu bytes, smtp.message-size-limit is %llu", text.n,
		    (unsigned long long)s->message_size_limit);
		return 0;
	}
	v = accept_check(s, text, cli_opt(x->c, "user") ? ACCEPT_SUBMITTED : 0, &h);
	if (v.smtp) {
		x->refused = true;
		say(x, "message", str_c(path), arena_printf(x->c->arena, "%u %s", v.smtp, v.enhanced).p, "%s",
		    v.text);
		return 0;
	}
	say(x, "message", str_c(path), "250 2.0.0", "%zu bytes, %u Received fields, %s%s%zu fields left out",
	    text.n, h.received, h.date ? "" : "no Date, ", h.message_id ? "" : "no Message-ID, ", h.n_cuts);
	return 0;
}

/* ---- the verb ---- */

static int
explain_all(struct explain *x)
{
	const char *to;
	int rc = explain_client(x);

	if (!rc)
		rc = explain_sender(x);
	for (size_t i = 0; !rc && (to = cli_opt_nth(x->c, "to", i)); i++)
		rc = explain_rcpt(x, to);
	return rc ? rc : explain_message(x);
}

static int
run_explain(struct cli *c)
{
	static const struct cli_col cols[] = {
		{ "step", false }, { "about", false }, { "verdict", false }, { "why", false },
	};
	struct explain x = { .c = c };
	struct err e = { 0 };
	int rc;

	if (!cli_opt(c, "to"))
		return cli_fail(c, CLI_USAGE, "to whom? Give --to ADDRESS");
	rc = control_open(c->settings, ROLE_AUTHD, 0, &x.authd, &e);
	if (rc)
		return cli_fail_err(c, rc, &e);
	if (control_open(c->settings, ROLE_DNSD, 0, &x.dnsd, &e))
		x.dnsd = NULL; /* an instance without: the hosts are not told */
	x.t = cli_table_new(c, cols, sizeof cols / sizeof *cols);
	rc = explain_all(&x);
	cli_table_end(&x.t);
	control_close(&x.authd);
	control_close(&x.dnsd);
	return rc ? rc : x.refused ? CLI_FAILED : CLI_OK;
}

const struct verb cli_explain[] = {
	{ "explain", NULL, "", "say what would become of a message; nothing is sent", opts, run_explain,
	    .more = "Each line is a decision: who the client is, whether the sender is taken, what each\n"
	            "recipient is and which way its mail would go, with TLS and the hosts of other domains.\n"
	            "The status is 1 when something would be refused.",
	    .examples = "explain --from user1@example.test --to someone@example.org --ip 192.0.2.7\n" },
	{ 0 },
};
