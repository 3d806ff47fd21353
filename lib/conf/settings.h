/*
 * The settings of an instance, as plain data. lib/conf/table.c has one row per
 * setting ({block, name, type, offset, default, range, help}) from which come
 * the parser, the defaults, `config show|explain`, posthorn.conf(5) and shell
 * completion: to add a setting, add a field here and a row there.
 *
 * A struct settings is immutable once parsed and owned by whoever parsed it;
 * its strings live in its arena. Sizes are bytes, times milliseconds.
 */
#ifndef LIB_CONF_SETTINGS_H
#define LIB_CONF_SETTINGS_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

enum conf_tls { CONF_TLS_OFF, CONF_TLS_OPTIONAL, CONF_TLS_REQUIRED, CONF_TLS_IMPLICIT };
enum conf_proto { CONF_SMTP, CONF_SUBMISSION, CONF_LMTP, CONF_IMAP, CONF_POP3, CONF_SIEVE, CONF_HTTP };
enum conf_bare_newlines { CONF_BARE_REFUSE, CONF_BARE_CONVERT };
enum conf_relay_tls { CONF_RELAY_TLS_OFF, CONF_RELAY_TLS_OPTIONAL, CONF_RELAY_TLS_REQUIRED,
	CONF_RELAY_TLS_VERIFY, CONF_RELAY_TLS_DANE, CONF_RELAY_TLS_DANE_ONLY };
enum conf_relay_protocols { CONF_RELAY_ANY, CONF_RELAY_PREFER_IPV6, CONF_RELAY_PREFER_IPV4,
	CONF_RELAY_IPV6, CONF_RELAY_IPV4 };
enum conf_dns_validate { CONF_VALIDATE_AUTO, CONF_VALIDATE_ON, CONF_VALIDATE_OFF };
enum conf_etrn { CONF_ETRN_OFF, CONF_ETRN_RELAY_CLIENTS, CONF_ETRN_ANYONE };
/* Who is told of passwords: bits, for settings_text. */
enum { CONF_FOR_QUEUED = 1, CONF_FOR_TABLED = 2, CONF_FOR_AUTHD = 4, CONF_FOR_ALL = 7 };
/* Where an address stands: bits of the classes below. */
enum { CONF_CLASS_SENDER = 1, CONF_CLASS_RCPT = 2, CONF_CLASS_HEADER_SENDER = 4, CONF_CLASS_HEADER_RCPT = 8 };
enum conf_rewrite_headers { CONF_HEADERS_OURS, CONF_HEADERS_ALL, CONF_HEADERS_NONE };
enum conf_submission_sender { CONF_SENDER_OWN, CONF_SENDER_ANY };

/* An address range: 16 bytes (IPv4 mapped into ::ffff:0:0/96) and a prefix length. */
struct conf_net {
	unsigned char addr[16];
	unsigned prefix;
};
struct conf_nets {
	struct conf_net *v;
	size_t n;
};

/* One `listen PROTO { ... }` block; PROTO smtp, submission, submissions, lmtp,
 * imap, imaps, ... (the s-forms have tls implicit). */
struct conf_listen {
	struct str name;        /* "submissions"; a second of the kind: as named by the block */
	enum conf_proto proto;
	struct str address;     /* "127.0.0.1", "::", "0.0.0.0" */
	unsigned port;
	enum conf_tls tls;
	bool auth;              /* AUTH offered */
	bool plaintext_auth;    /* AUTH allowed without TLS (settings.plaintext_auth_nets too) */
	bool proxy;             /* PROXY v1/v2 header expected from trust_proxy addresses */
	struct str *plugins;    /* those that are asked, in this order; none: all; "none": none is */
	size_t n_plugins;
};

struct conf_tls_pair {
	struct str cert_file, key_file; /* the master reads them and hands the bytes on */
};

/* `next-hop "[smtp.example.net]:587" { ... }`: what is said to one next hop. name: as
 * routing gives it. */
struct conf_next_hop {
	struct str name;
	struct str user, password;  /* empty: no AUTH; the password is for queued only */
	struct str mechanism;       /* "auto", "plain", "login", "scram-sha-256", "xoauth2" */
	unsigned tls;               /* 0: as tls-policy and relay.tls say; else 1 + enum conf_relay_tls */
	bool implicit_tls;          /* TLS begins with the connection (port 465) */
};

/* `site "mx.example.org" { ... }`. name: a server of the site, or the next hop's or domain's
 * text; ".example.org": every name below it. */
struct conf_site {
	struct str name;
	unsigned concurrency, rate; /* 0: as spool.site-* say */
};

/* `tenant "user1@example.org" { ... }`. name: an account's address or a client's IP address;
 * "@example.org": every account of the domain. */
struct conf_tenant {
	struct str name;
	unsigned weight;            /* 1 .. 100 */
	unsigned rate;              /* a minute; 0: as spool.tenant-rate says */
};

/* `tls-policy "example.org" { ... }`. name: a domain or next hop; ".example.org": every
 * domain below it. */
struct conf_tls_policy {
	struct str name;
	unsigned tls;               /* enum conf_relay_tls */
	struct str *match;          /* verify: names that a certificate may be for; none: the */
	size_t n_match;             /* MX host's, or the domain's */
	unsigned min_version;       /* 0 TLS 1.2, 1 TLS 1.3 */
};

/* One `table NAME { ... }`: what an address, a domain or a name is looked up in. */
enum conf_table_type { CONF_TABLE_INLINE, CONF_TABLE_FILE, CONF_TABLE_ALIASES, CONF_TABLE_REGEXP,
	CONF_TABLE_SQLITE, CONF_TABLE_STATIC, CONF_TABLE_PGSQL, CONF_TABLE_MYSQL, CONF_TABLE_LDAP };
enum conf_table_tls { CONF_TABLE_TLS_AUTO, CONF_TABLE_TLS_OFF, CONF_TABLE_TLS_REQUIRED,
	CONF_TABLE_TLS_VERIFY };
enum conf_table_scope { CONF_SCOPE_SUB, CONF_SCOPE_ONE, CONF_SCOPE_BASE };
struct conf_table {
	struct str name;               /* lower case in references to it */
	enum conf_table_type type;
	struct str path;               /* of a file or database; or empty */
	struct str query;              /* of SQL; the filter of LDAP */
	struct str value;              /* of static */
	struct str *entries;           /* of inline: "KEY VALUE" */
	size_t n_entries;

	/* of those that tabled asks: PostgreSQL, MySQL, LDAP */
	struct str *servers;           /* tried in turn */
	size_t n_servers;
	struct str database, user, password;
	unsigned tls;                  /* enum conf_table_tls */
	struct str ca_file;
	struct str base;               /* of LDAP */
	unsigned scope;                /* enum conf_table_scope */
	struct str *attributes;
	size_t n_attributes;
	unsigned connections;
	uint64_t timeout_ms;           /* of one question */
	unsigned result_limit;         /* values of one answer */
	uint64_t cache_ms, cache_missing_ms;
};

/* Whether tabled answers for it. */
static inline bool
conf_table_is_foreign(const struct conf_table *t)
{
	return t->type >= CONF_TABLE_PGSQL;
}
/* Whether the programs were built with what this type takes. */
bool conf_table_built(enum conf_table_type type);

/* An option of a plugin: what its block says that is no setting of ours. */
struct conf_option {
	struct str name;
	struct str *v;                 /* its values, in their order */
	size_t n;
	struct str file;               /* where it was said */
	unsigned line, col;
};

/* `plugin NAME { ... }`: a shared object that is asked about mail (posthorn-plugin(7)). */
enum conf_plugin_sandbox { CONF_PLUGIN_STRICT, CONF_PLUGIN_NET, CONF_PLUGIN_NONE };
enum conf_plugin_error { CONF_PLUGIN_TEMPFAIL, CONF_PLUGIN_ACCEPT, CONF_PLUGIN_REJECT };
struct conf_plugin {
	struct str name;
	struct str file;
	struct str *grants;            /* names of capabilities */
	size_t n_grants;
	unsigned sandbox;              /* enum conf_plugin_sandbox */
	unsigned on_error;             /* enum conf_plugin_error: when it gives no answer */
	uint64_t timeout_ms;           /* of a hook */
	unsigned threads;              /* calls at a time; 0: 16 */
	uint64_t memory_limit;         /* of the process's address space; 0: none */
	bool local;                    /* mail that the house makes passes it too */
	struct conf_option *options;
	size_t n_options;
	unsigned slot;                 /* of its process, given by the master: 1 + instance; 0: none */
};
#define CONF_PLUGINS_MAX 24

/* A list of names: domains, or tables. */
struct conf_names {
	struct str *v;
	size_t n;
};

/* Rules of checks (lib/conf/rules.h): its lines as texts, and what they mean. */
struct rule;
struct conf_rules {
	struct str *v;            /* "none" alone: nothing is checked */
	size_t n;
	struct rule *rules;       /* n of them, but for "none" */
	unsigned open;            /* ifs without their endif */
};

struct settings {
	struct arena *arena;
	struct conf_origin *origin;    /* one per row of lib/conf/table.h */

	/* instance */
	struct str hostname;           /* in greetings and trace headers */
	struct str base_dir;           /* root of the instance's files */
	struct str run_dir, spool_dir, store_dir, dir_dir; /* default: base_dir/{run,spool,store,directory} */
	struct str maildrop_dir;       /* default: base_dir/maildrop */
	struct str cache_dir;          /* default: base_dir/cache */
	struct str reports_dir;        /* default: base_dir/reports */
	struct str origin_domain;           /* domain of local users' addresses: a domain, or hostname */
	struct str user_prefix;        /* system users: "posthorn" -> posthorn-smtpd ... */
	bool sandbox;                  /* made by `posthorn sandbox` */
	struct str log_level;          /* debug, info, warn, error */
	struct str log_file;           /* empty: standard error */
	unsigned log_style;            /* enum log_style */
	struct str metrics_address;    /* "127.0.0.1:9090"; or a UNIX socket path; empty: off */

	struct conf_listen *listen;
	size_t n_listen;
	struct conf_tls_pair *tls;
	size_t n_tls;
	struct conf_nets trust_proxy;      /* who may say XCLIENT and PROXY */
	struct conf_nets relay_from;       /* who may relay without AUTH */
	struct conf_nets plaintext_auth_from; /* where AUTH is allowed without TLS: loopback */
	struct str *domains;               /* local domains named in the config (more in the directory) */
	size_t n_domains;

	/* process counts; 0: from the number of cores */
	unsigned smtpd_processes, imapd_processes, maild_processes, mimed_processes;
	unsigned relayd_processes;

	/* SMTP limits */
	uint64_t message_size_limit;       /* 50M */
	unsigned recipient_limit;          /* 1000 a message */
	unsigned hop_limit;                /* 50 Received lines */
	unsigned error_limit;              /* 20 errors, then 421 */
	unsigned command_limit;            /* 10,000 commands outside transactions a session */
	uint64_t header_size_limit;        /* 256K in all */
	uint64_t smtp_timeout_ms;          /* 5m */
	uint64_t smtp_data_timeout_ms;     /* 3m without progress */
	unsigned smtp_sessions, smtp_sessions_per_address; /* 0: no limit */
	struct str recipient_delimiter;    /* "+" */
	uint64_t smtp_line_limit;          /* 1M: text lines */
	unsigned header_count_limit;       /* 1000 */
	enum conf_bare_newlines smtp_bare_newlines;
	enum conf_submission_sender submission_sender;
	enum conf_etrn smtp_etrn;          /* who may say ETRN */
	struct str smtp_discard_extensions; /* EHLO keywords that are not offered, by blanks */
	uint64_t future_release_max_ms;    /* 30d; 0: not offered */
	uint64_t smtp_memory_limit;        /* 256M: message content in memory, a process */

	/* sending to other servers */
	unsigned relay_tls;                /* enum conf_relay_tls */
	unsigned relay_port;               /* 25 */
	unsigned relay_protocols;          /* enum conf_relay_protocols */
	struct str relay_source_ipv4, relay_source_ipv6; /* empty: the kernel chooses */
	struct str relay_hello;            /* the EHLO name; empty: hostname */
	struct str relay_ca_file;
	bool relay_mta_sts;
	unsigned relay_host_limit;         /* addresses tried for a message at a time */
	uint64_t relay_connect_timeout_ms, relay_greeting_timeout_ms, relay_hello_timeout_ms;
	uint64_t relay_mail_timeout_ms, relay_recipient_timeout_ms, relay_data_timeout_ms;
	uint64_t relay_block_timeout_ms, relay_dot_timeout_ms;
	uint64_t relay_time_limit_ms;      /* a delivery in all */
	uint64_t relay_idle_ms;            /* how long a connection is kept for reuse; 0: not */
	unsigned relay_idle_limit;         /* connections kept, a process */
	unsigned relay_reuse_limit;        /* messages over one connection; 0: no limit */
	uint64_t relay_reuse_age_ms;
	struct conf_next_hop *next_hops;
	size_t n_next_hops;
	struct conf_tls_policy *tls_policies;
	size_t n_tls_policies;

	/* spool */
	uint64_t spool_segment_size;       /* 64M */
	uint64_t spool_size_limit;         /* 0: what the disk has */
	uint64_t spool_min_free;           /* 452 below this many free bytes */
	uint64_t queue_lifetime_ms;        /* 5d */
	uint64_t bounce_lifetime_ms;       /* of mail from the null sender */
	uint64_t retry_min_ms, retry_max_ms; /* 1m, 4h */
	uint64_t delay_notice_after_ms;    /* 0: senders are not told of delays */
	unsigned site_concurrency;         /* deliveries to a site at a time, at most */
	unsigned site_rate, tenant_rate;   /* deliveries a minute; 0: no limit */
	struct conf_site *sites;
	size_t n_sites;
	struct conf_tenant *tenants;
	size_t n_tenants;
	uint64_t site_retry_max_ms;        /* the longest pause before a dead site is probed */
	unsigned queue_recipient_limit;    /* recipients in memory, 2,000,000 */
	uint64_t checkpoint_interval_ms;

	/* bounce: delivery reports */
	uint64_t bounce_size_limit;        /* 50K: longer messages are returned by their header */
	struct str double_bounce_address;  /* "postmaster"; empty: such mail is dropped */
	struct str bounce_contact;         /* whom reports name for help; empty: postmaster@hostname */
	struct str bounce_text_failed, bounce_text_delayed, bounce_text_success; /* empty: our own */

	/* pipe: commands and files */
	struct str pipe_user;              /* empty: the user of piped's role */
	bool pipe_new_privileges;          /* commands may gain some by a file's mode */
	uint64_t pipe_timeout_ms;          /* 5m */
	unsigned pipe_processes;           /* 20 at a time */
	uint64_t pipe_memory_limit;        /* address space of a command; 0: none */

	/* store */
	unsigned store_threads;            /* a maild's workers; 0: 16 */
	unsigned open_accounts;            /* LRU bound; 0: from the descriptor limit */
	uint64_t default_quota;            /* bytes; 0: none */
	bool flag_durability_now;          /* flags are synced before OK */
	unsigned take_in_files;            /* 100: sweep an account's new/ at that many */
	uint64_t take_in_after_ms;         /* 10m */

	/* IMAP */
	unsigned imap_sessions, imap_sessions_per_user; /* 0: no limit; 50 */
	uint64_t imap_idle_limit_ms;       /* 30m */
	uint64_t imap_login_timeout_ms;    /* 1m */
	uint64_t imap_keepalive_ms;        /* 2m: "* OK Still here" during IDLE */
	uint64_t imap_append_limit;        /* = message_size_limit */

	/* dnsd */
	struct str *dns_servers;           /* "192.0.2.53:53", "[::1]:53"; none: /etc/resolv.conf */
	size_t n_dns_servers;
	struct str *dns_records;           /* "mx.example.test 300 IN A 192.0.2.1" */
	size_t n_dns_records;
	struct str *dns_zones;             /* names under these exist only as dns_records */
	size_t n_dns_zones;
	struct str *dns_anchors;           /* DS or DNSKEY records; none: the root's */
	size_t n_dns_anchors;
	enum conf_dns_validate dns_validate;
	uint64_t dns_timeout_ms;           /* 20s: of a question */
	unsigned dns_questions;            /* 2000 waiting at a time */

	/* fetchd */
	struct str fetch_ca_file;
	unsigned fetch_https_port;         /* 443: of URLs that name none */
	struct conf_nets fetch_private_nets; /* not public, and may be connected to */
	uint64_t fetch_policy_timeout_ms, fetch_policy_retry_ms; /* of MTA-STS */

	/* reportd: reports to other domains about TLS (RFC 8460) */
	bool tls_report;
	struct str tls_report_organization;  /* empty: hostname */
	struct str tls_report_contact;       /* empty: postmaster@hostname */
	struct str tls_report_sender;        /* empty: the contact, or postmaster@hostname */
	uint64_t tls_report_spread_ms;       /* 4h: sent within this time after the day's end */

	/* routing: see posthorn-tables(5) */
	struct conf_table *tables;
	size_t n_tables;
	struct str relay_host;             /* a next hop; empty: the MX */
	struct conf_names relay_domains;   /* ".example.test": every domain below it */
	struct conf_names relay_recipients, alias_domains, aliases, virtual_aliases, transports,
	    sender_relays;
	struct str always_bcc;             /* empty: nobody */
	struct conf_names sender_bcc, recipient_bcc;
	unsigned alias_expansion_limit, alias_depth_limit; /* 1000 targets, 20 steps */
	bool propagate_extensions;
	bool srs;
	struct str srs_domain;             /* empty: that of the forwarding address */
	uint64_t srs_lifetime_ms;          /* 21d */

	/* rewriting of addresses */
	struct conf_names canonical, sender_canonical, recipient_canonical, generic; /* tables */
	unsigned canonical_classes, sender_canonical_classes, recipient_canonical_classes; /* CONF_CLASS_* */
	struct conf_names masquerade_domains, masquerade_exceptions; /* "!example.test": left as it is */
	unsigned masquerade_classes;
	unsigned rewrite_headers;          /* enum conf_rewrite_headers */

	/* checks of what comes in; mime and nested without any: those of header */
	struct conf_rules check_header, check_mime_header, check_nested_header, check_body;
	uint64_t check_body_limit;         /* 50K: of each part of a message; 0: all of it */
	uint64_t check_time_ms;            /* 1s: of a message */

	/* plugins, in the order in which they are asked */
	struct conf_plugin *plugins;
	size_t n_plugins;

	/* authd */
	unsigned auth_threads;             /* hashing threads; 0: cores */
	uint64_t auth_delay_max_ms;        /* growing delay on failures */
	struct str auth_token_keys;        /* JWKS or PEM: OAUTHBEARER, XOAUTH2; empty: not offered */
	struct str auth_token_issuer;
	struct str *auth_token_audiences;
	size_t n_auth_token_audiences;
	struct str auth_token_claim;       /* "email" */
	unsigned password_cost;            /* yescrypt cost, 1..11; 5 */
};

/* Where a setting of the table was given; file empty: nowhere, it has its default. */
struct conf_origin {
	struct str file;
	unsigned line, col;
	struct str source;
};

/* One mistake: where and what. text: "unknown key 'max-szie' in 'listen smtp'
 * (did you mean 'max-size'?)". */
struct conf_error {
	struct str file;
	unsigned line, col;
	bool warning;
	struct str text;
	struct str source;      /* the line of the file, without its newline */
};
struct conf_errors {
	struct conf_error *v;
	size_t n;
};

/* Parses a file (with its includes) or a text already flattened; all mistakes
 * in one run. The settings, or NULL when any is not a warning; the errors live
 * in errors_arena. */
struct settings *settings_load(const char *path, struct arena *errors_arena,
    struct conf_errors *ret_errors);
struct settings *settings_parse(struct str text, const char *name, struct arena *errors_arena,
    struct conf_errors *ret_errors);
void settings_free(struct settings **s);

/* The flattened text (includes, env and file resolved) that the master sends to its
 * children; settings_parse of it gives equal settings, except for secrets, which only
 * those see who need them (CONF_FOR_*; 0: nobody), and for options of plugins. */
void settings_text(const struct settings *s, unsigned secrets, struct buf *out);
/* The same without secrets for the process of one plugin, with its options and where they were
 * said. A slot of 0: those of all plugins. */
void settings_text_plugin(const struct settings *s, unsigned slot, struct buf *out);

/* Whether these settings take a tabled. */
bool conf_wants_tabled(const struct settings *s);

/* Appends "FILE:LINE:COL: error: TEXT", the source line and a caret under COL. */
void conf_error_put(struct buf *out, const struct conf_error *e);

/* The block of a next hop, by its text (case ignored). NULL: none, or no text. */
const struct conf_next_hop *conf_next_hop_of(const struct settings *s, struct str text);

/* The block of a site, which is named by its servers, joined by commas, or by the text of the
 * next hop or domain while they are not known; and of a tenant. Exact names come before
 * those that stand for many, among these the longest. NULL: none. */
const struct conf_site *conf_site_of(const struct settings *s, struct str site);
const struct conf_tenant *conf_tenant_of(const struct settings *s, struct str name);

/* What TLS the settings ask for towards a host that mail goes to by next_hop (empty: by
 * MX); host: the domain, or the host that the next hop names. */
struct conf_tls_choice {
	enum conf_relay_tls level;
	const struct conf_tls_policy *policy; /* or NULL */
	const struct conf_next_hop *hop;      /* or NULL */
	const char *source;                   /* "next-hop", "tls-policy", "settings" */
};
struct conf_tls_choice conf_tls_choose(const struct settings *s, struct str next_hop,
    struct str host);

bool conf_nets_has(const struct conf_nets *nets, const unsigned char addr[static 16]);
/* "192.0.2.0/24", "2001:db8::/32", or an address (prefix 128). 0 or -EINVAL: not
 * an address, a prefix out of range, or bits set behind it. */
int conf_net_parse(struct str text, struct conf_net *ret);
void conf_net_put(struct buf *out, const struct conf_net *net);
/* The address as conf_nets_has wants it; sa is an IPv4 or IPv6 address. False
 * for other families. */
struct sockaddr_storage;
bool conf_addr_of(const struct sockaddr_storage *sa, unsigned char ret[static 16]);

#endif
