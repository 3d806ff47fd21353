/*
 * The end of parsing: values that derive from others, contradictions between
 * settings, and warnings about what is legal but risky. Nothing here looks at the
 * machine beyond its name: `posthorn check` does that, since the daemons parse the
 * same text where they cannot see any file.
 */
#include <unistd.h>

#include "lib/conf/parse_private.h"

#define RUN_DIR_MAX 80 /* sun_path has 108 bytes; "/submitd.ctl" and the like go behind */

static const struct conf_origin *
origin_of(const struct parser *p, const char *key)
{
	return &p->s->origin[conf_row_by_key(str_c(key)) - conf_rows];
}

/* base-dir/name, where the setting was not given. */
static void
derive_dir(struct parser *p, struct str *dir, const char *name)
{
	if (!dir->p)
		*dir = arena_printf(p->s->arena, "%.*s/%s", STR_ARG(p->s->base_dir), name);
}

static void
derive_hostname(struct settings *s)
{
	char name[254];

	if (s->hostname.p)
		return;
	if (gethostname(name, sizeof name) || !memchr(name, 0, sizeof name) ||
	    !conf_is_name(str_c(name)))
		s->hostname = STR("localhost");
	else
		s->hostname = arena_dup(s->arena, str_c(name));
}

static void
derive(struct parser *p)
{
	struct settings *s = p->s;

	derive_hostname(s);
	if (!s->relay_hello.p)
		s->relay_hello = s->hostname;
	derive_dir(p, &s->run_dir, "run");
	derive_dir(p, &s->spool_dir, "spool");
	derive_dir(p, &s->store_dir, "store");
	derive_dir(p, &s->dir_dir, "directory");
	derive_dir(p, &s->maildrop_dir, "maildrop");
	derive_dir(p, &s->cache_dir, "cache");
	derive_dir(p, &s->reports_dir, "reports");
	if (!s->origin_domain.p)
		s->origin_domain = s->n_domains ? s->domains[0] : s->hostname;
	if (!origin_of(p, "imap.append-limit")->file.p)
		s->imap_append_limit = s->message_size_limit;
	for (size_t i = 0; i < p->n_listen; i++)
		if (!p->listen_at[i].tls_given)
			p->listen[i].tls = p->n_tls && p->listen[i].proto != CONF_LMTP ?
			    CONF_TLS_OPTIONAL : CONF_TLS_OFF;
}

static bool
net_within(const struct conf_net *net, const char *const *ranges)
{
	for (; *ranges; ranges++) {
		struct conf_net range;
		struct conf_nets one = { &range, 1 };

		if (conf_net_parse(str_c(*ranges), &range) == 0 && range.prefix <= net->prefix &&
		    conf_nets_has(&one, net->addr))
			return true;
	}
	return false;
}

static const char *const loopback[] = { "127.0.0.0/8", "::1", NULL };
static const char *const private[] = { "127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12",
	"192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10", NULL };

static bool
nets_within(const struct conf_nets *nets, const char *const *ranges)
{
	for (size_t i = 0; i < nets->n; i++)
		if (!net_within(&nets->v[i], ranges))
			return false;
	return true;
}

static bool
on_loopback(struct str address)
{
	struct conf_net net;

	return conf_net_parse(address, &net) == 0 && net_within(&net, loopback);
}

static void
check_nets(struct parser *p)
{
	const struct settings *s = p->s;

	for (size_t i = 0; i < s->relay_from.n; i++)
		if (s->relay_from.v[i].prefix == 0 ||
		    (s->relay_from.v[i].prefix == 96 && !net_within(&s->relay_from.v[i], private)))
			conf_mistake(p, origin_of(p, "relay-from"), true,
			    "relay-from has every address: this is an open relay");
	if (!nets_within(&s->trust_proxy, private))
		conf_mistake(p, origin_of(p, "trust-proxy"), true,
		    "trust-proxy has public addresses: whoever has one may claim to be any client");
	if (!nets_within(&s->plaintext_auth_from, loopback))
		conf_mistake(p, origin_of(p, "plaintext-auth-from"), true,
		    "passwords may cross the network in plain text");
}

static void
check_tokens(struct parser *p)
{
	const struct settings *s = p->s;

	if (s->auth_token_keys.n && (!s->auth_token_issuer.n || !s->n_auth_token_audiences))
		conf_mistake(p, origin_of(p, "auth.token-keys"), false,
		    "token-keys needs token-issuer and token-audience, or tokens for others would do");
}

static void
check_listener(struct parser *p, size_t i)
{
	const struct conf_listen *ls = &p->listen[i];
	const struct conf_origin *at = &p->listen_at[i].at;
	bool local = on_loopback(ls->address);

	for (size_t k = 0; k < i; k++)
		if (p->listen[k].port == ls->port && str_eq(p->listen[k].address, ls->address))
			conf_mistake(p, at, false, "%.*s port %u is listened on twice (first at line %u)",
			    STR_ARG(ls->address), ls->port, p->listen_at[k].at.line);
	if (ls->tls != CONF_TLS_OFF && p->n_tls == 0)
		conf_mistake(p, at, false, "'%.*s' offers TLS, but there is no tls block with a certificate",
		    STR_ARG(ls->name));
	if (local)
		return;
	if (p->s->sandbox)
		conf_mistake(p, at, true, "a sandbox listens on %.*s, beyond this machine",
		    STR_ARG(ls->address));
	if (ls->auth && ls->plaintext_auth && ls->tls != CONF_TLS_IMPLICIT)
		conf_mistake(p, at, true, "'%.*s' lets passwords cross the network in plain text",
		    STR_ARG(ls->name));
	if (ls->proto == CONF_LMTP)
		conf_mistake(p, at, true,
		    "lmtp on %.*s takes mail for every account from whoever reaches it",
		    STR_ARG(ls->address));
	if ((ls->proto == CONF_IMAP || ls->proto == CONF_SUBMISSION) && ls->tls == CONF_TLS_OFF &&
	    !ls->plaintext_auth)
		conf_mistake(p, at, true, "nobody can log in to '%.*s' from elsewhere: it has no TLS",
		    STR_ARG(ls->name));
}

static void
check_listeners(struct parser *p)
{
	for (size_t i = 0; i < p->n_listen && !p->stop; i++)
		check_listener(p, i);
	for (size_t i = 0; i < p->n_listen; i++)
		if (p->listen[i].proxy && p->s->trust_proxy.n == 0)
			conf_mistake(p, &p->listen_at[i].at, false,
			    "'%.*s' expects the PROXY protocol, but trust-proxy is empty",
			    STR_ARG(p->listen[i].name));
}

static void
check_rest(struct parser *p)
{
	const struct settings *s = p->s;
	const struct conf_origin start = { p->file, 1, 1, STR_NULL };
	const struct conf_origin *run = origin_of(p, "run-dir");
	const struct conf_origin *base = origin_of(p, "base-dir");

	if (s->retry_min_ms > s->retry_max_ms)
		conf_mistake(p, origin_of(p, origin_of(p, "spool.retry-min")->file.p ?
		    "spool.retry-min" : "spool.retry-max"), false,
		    "retry-min is longer than retry-max");
	if (s->spool_segment_size % 4096)
		conf_mistake(p, origin_of(p, "spool.segment-size"), false,
		    "segment-size must be a multiple of 4096");
	if (s->run_dir.n > RUN_DIR_MAX)
		conf_mistake(p, run->file.p ? run : base->file.p ? base : &start, false,
		    "run-dir is too long for UNIX sockets (%zu bytes, at most %d)", s->run_dir.n,
		    RUN_DIR_MAX);
	if (p->n_listen == 0)
		conf_mistake(p, &start, true, "nothing is listened on: there is no listen block");
}

static const struct conf_table *
find_table(const struct settings *s, struct str name)
{
	for (size_t i = 0; i < s->n_tables; i++)
		if (str_ieq(s->tables[i].name, name))
			return &s->tables[i];
	return NULL;
}

bool
conf_table_built(enum conf_table_type type)
{
	switch (type) {
#ifndef HAVE_PGSQL
	case CONF_TABLE_PGSQL: return false;
#endif
#ifndef HAVE_MYSQL
	case CONF_TABLE_MYSQL: return false;
#endif
#ifndef HAVE_LDAP
	case CONF_TABLE_LDAP: return false;
#endif
	default: return true;
	}
}

bool
conf_wants_tabled(const struct settings *s)
{
	for (size_t i = 0; i < s->n_tables; i++)
		if (conf_table_is_foreign(&s->tables[i]))
			return true;
	return false;
}

/* Whether a table has what its type needs, and nothing that it has no use for. */
static void
check_table(struct parser *p, const struct conf_table *t)
{
	static const char *const words[] = { "inline", "file", "aliases", "regexp", "sqlite", "static",
		"pgsql", "mysql", "ldap" };
	bool foreign = conf_table_is_foreign(t), ldap = t->type == CONF_TABLE_LDAP;
	const struct { bool wants, has; const char *what; } fields[] = {
		{ t->type == CONF_TABLE_FILE || t->type == CONF_TABLE_ALIASES ||
		    t->type == CONF_TABLE_REGEXP || t->type == CONF_TABLE_SQLITE, t->path.n > 0, "path" },
		{ t->type == CONF_TABLE_SQLITE || foreign, t->query.n > 0, "query" },
		{ foreign, t->n_servers > 0, "server" },
		{ ldap, t->n_attributes > 0, "attribute" },
	};
	struct conf_origin at = { .file = p->file, .line = 1, .col = 1 };

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (fields[i].wants != fields[i].has)
			conf_mistake(p, &at, false, "table '%.*s' %s %s", STR_ARG(t->name),
			    fields[i].wants ? "needs a" : "takes no", fields[i].what);
	if (!conf_table_built(t->type))
		conf_mistake(p, &at, false, "table '%.*s': this posthorn was built without %s",
		    STR_ARG(t->name), words[t->type]);
}

static void
check_tables(struct parser *p)
{
	const struct settings *s = p->s;
	const struct { const char *key; const struct conf_names *names; } lists[] = {
		{ "route.relay-recipients", &s->relay_recipients }, { "route.aliases", &s->aliases },
		{ "route.virtual-aliases", &s->virtual_aliases }, { "route.transports", &s->transports },
		{ "route.sender-relays", &s->sender_relays }, { "route.sender-bcc", &s->sender_bcc },
		{ "route.recipient-bcc", &s->recipient_bcc }, { "rewrite.canonical", &s->canonical },
		{ "rewrite.sender-canonical", &s->sender_canonical },
		{ "rewrite.recipient-canonical", &s->recipient_canonical },
		{ "rewrite.generic", &s->generic },
	};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		for (size_t k = 0; k < lists[i].names->n; k++)
			if (!find_table(s, lists[i].names->v[k]))
				conf_mistake(p, origin_of(p, lists[i].key), false, "there is no table '%.*s'",
				    STR_ARG(lists[i].names->v[k]));
	for (size_t i = 0; i < s->n_tables; i++)
		check_table(p, &s->tables[i]);
}

static void
check_rules(struct parser *p)
{
	const struct settings *s = p->s;
	const struct { const char *key; const struct conf_rules *rules; } lists[] = {
		{ "checks.header", &s->check_header }, { "checks.mime-header", &s->check_mime_header },
		{ "checks.nested-header", &s->check_nested_header }, { "checks.body", &s->check_body },
	};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (lists[i].rules->open)
			conf_mistake(p, origin_of(p, lists[i].key), false, "an if has no endif");
}

static void
keep_blocks(struct parser *p)
{
	struct settings *s = p->s;

	s->listen = ARENA_ARRAY(s->arena, struct conf_listen, p->n_listen + 1);
	s->tls = ARENA_ARRAY(s->arena, struct conf_tls_pair, p->n_tls + 1);
	if (!s->listen || !s->tls) {
		p->failed = true;
		return;
	}
	memcpy(s->listen, p->listen, p->n_listen * sizeof *s->listen);
	memcpy(s->tls, p->tls, p->n_tls * sizeof *s->tls);
	s->n_listen = p->n_listen;
	s->n_tls = p->n_tls;
}

void
conf_finish(struct parser *p)
{
	conf_defaults(p, "", p->s, p->s->origin);
	for (size_t i = 0; i < conf_n_blocks; i++)
		if (conf_blocks[i].kind == CONF_B_PLAIN)
			conf_defaults(p, conf_blocks[i].name, p->s, p->s->origin);
	derive(p);
	check_nets(p);
	check_tokens(p);
	check_listeners(p);
	check_rest(p);
	check_tables(p);
	check_rules(p);
	keep_blocks(p);
}
