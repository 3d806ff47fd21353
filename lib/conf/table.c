/*
 * The table of settings; see table.h. Rows stand in the order in which `config
 * show` and posthorn.conf(5) list them. A new setting: a field in settings.h, a
 * row here, a paragraph in posthorn.conf(5) (a test compares the two).
 */
#include "lib/conf/table.h"

#include <stddef.h>

#define AT(field) offsetof(struct settings, field)
#define IN_LISTEN(field) offsetof(struct conf_listen, field)
#define IN_HOP(field) offsetof(struct conf_next_hop, field)
#define IN_POLICY(field) offsetof(struct conf_tls_policy, field)
#define IN_TABLE(field) offsetof(struct conf_table, field)
#define IN_TLS(field) offsetof(struct conf_tls_pair, field)
#define N_OF(a) (sizeof(a) / sizeof *(a))
#define KB 1024ull
#define MB (1024 * KB)
#define GB (1024 * MB)
#define SECOND 1000ull
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

const struct conf_block conf_blocks[] = {
	{ "listen", CONF_B_LISTEN, "PROTOCOL [NAME]", "A port that is served." },
	{ "tls", CONF_B_TLS, "[NAME]", "A certificate and its key; the first block answers where no name fits." },
	{ "log", CONF_B_PLAIN, "", "What is logged, and where." },
	{ "metrics", CONF_B_PLAIN, "", "Counters for Prometheus." },
	{ "processes", CONF_B_PLAIN, "", "How many processes of each kind run." },
	{ "smtp", CONF_B_PLAIN, "", "Limits of SMTP, submission and LMTP." },
	{ "relay", CONF_B_PLAIN, "", "Sending to other servers." },
	{ "next-hop", CONF_B_LIST, "HOST", "How to log in at a server that mail is relayed to.",
	    AT(next_hops), sizeof(struct conf_next_hop) },
	{ "tls-policy", CONF_B_LIST, "DOMAIN", "TLS towards one domain or next hop; .example.org stands for every domain below it.",
	    AT(tls_policies), sizeof(struct conf_tls_policy) },
	{ "route", CONF_B_PLAIN, "", "Where mail goes." },
	{ "table", CONF_B_LIST, "NAME", "Something to look addresses up in.",
	    AT(tables), sizeof(struct conf_table) },
	{ "spool", CONF_B_PLAIN, "", "The queue." },
	{ "bounce", CONF_B_PLAIN, "", "Delivery reports to senders." },
	{ "pipe", CONF_B_PLAIN, "", "Deliveries to commands and files." },
	{ "store", CONF_B_PLAIN, "", "The mail store." },
	{ "imap", CONF_B_PLAIN, "", "Limits of IMAP." },
	{ "auth", CONF_B_PLAIN, "", "Log-ins and passwords." },
	{ "dns", CONF_B_PLAIN, "", "How names are looked up." },
	{ "fetch", CONF_B_PLAIN, "", "What is asked of web servers." },
	{ "tls-report", CONF_B_PLAIN, "", "Reports to other domains about TLS." },
};
const size_t conf_n_blocks = N_OF(conf_blocks);

const struct conf_listen_kind conf_listen_kinds[] = {
	{ "smtp", CONF_SMTP, 25, false, false },
	{ "lmtp", CONF_LMTP, 24, false, false },
	{ "submission", CONF_SUBMISSION, 587, false, true },
	{ "submissions", CONF_SUBMISSION, 465, true, true },
	{ "imap", CONF_IMAP, 143, false, true },
	{ "imaps", CONF_IMAP, 993, true, true },
};
const size_t conf_n_listen_kinds = N_OF(conf_listen_kinds);

#define TLS_WORDS "off|optional|required|implicit"
#define RELAY_TLS_WORDS "off|optional|required|verify|dane|dane-only"

const struct conf_row conf_rows[] = {
	/* the instance */
	{ "", "hostname", CONF_T_NAME, AT(hostname), NULL, "the machine's name",
	    "The name in greetings and in the Received lines that are added.",
	    .since = "0.1", .reload = true },
	{ "", "domain", CONF_T_NAMES, AT(domains), NULL, "none",
	    "Domains whose mail is stored here, in addition to those made by `posthorn domain add`. May be given several times.",
	    .since = "0.1", .reload = true },
	{ "", "base-dir", CONF_T_PATH, AT(base_dir), LOCALSTATEDIR "/lib/posthorn", NULL,
	    "The directory that all other directories are in, unless said otherwise. A relative path starts at the folder of the configuration file.",
	    .since = "0.1" },
	{ "", "run-dir", CONF_T_PATH, AT(run_dir), NULL, "base-dir/run",
	    "Control sockets and the process id file. The path must be short (at most 80 bytes), since those of UNIX sockets are limited.",
	    .since = "0.1" },
	{ "", "spool-dir", CONF_T_PATH, AT(spool_dir), NULL, "base-dir/spool",
	    "The queue. Best on a file system of its own.", .since = "0.1" },
	{ "", "store-dir", CONF_T_PATH, AT(store_dir), NULL, "base-dir/store",
	    "The mail of the accounts. Best on a file system of its own.", .since = "0.1" },
	{ "", "directory-dir", CONF_T_PATH, AT(dir_dir), NULL, "base-dir/directory",
	    "The database of domains, accounts and passwords.", .since = "0.1" },
	{ "", "maildrop-dir", CONF_T_PATH, AT(maildrop_dir), NULL, "base-dir/maildrop",
	    "Where sendmail(1) leaves messages of local users. On a file system of its own or with a quota, no user can fill the queue's.",
	    .since = "0.2" },
	{ "", "cache-dir", CONF_T_PATH, AT(cache_dir), NULL, "base-dir/cache",
	    "What was fetched from other servers and outlives a restart: MTA-STS policies.", .since = "0.1" },
	{ "", "reports-dir", CONF_T_PATH, AT(reports_dir), NULL, "base-dir/reports",
	    "What was counted for reports that are not sent yet.", .since = "0.1" },
	{ "", "origin", CONF_T_NAME, AT(origin_domain), NULL, "the first domain, else hostname",
	    "The domain of addresses without one in mail of local users and programs: root is root@origin.",
	    .since = "0.2", .reload = true },
	{ "", "user-prefix", CONF_T_USER, AT(user_prefix), "posthorn", NULL,
	    "Each kind of process runs as the system user of this name, a hyphen and its own name, such as posthorn-smtpd. Of no effect when not started as root.",
	    .since = "0.1" },
	{ "", "sandbox", CONF_T_SWITCH, AT(sandbox), "off", NULL,
	    "Marks an instance for tests made by `posthorn sandbox`: passwords may be given on the command line.",
	    .since = "0.1", .reload = true },
	{ "", "trust-proxy", CONF_T_NETS, AT(trust_proxy), "none", NULL,
	    "Addresses of proxies that may say who the client is, by XCLIENT, XFORWARD or the PROXY protocol.",
	    .since = "0.1", .reload = true },
	{ "", "relay-from", CONF_T_NETS, AT(relay_from), "none", NULL,
	    "Addresses of clients that may send to other domains without a log-in.",
	    .since = "0.1", .reload = true },
	{ "", "plaintext-auth-from", CONF_T_NETS, AT(plaintext_auth_from), "127.0.0.0/8, ::1", NULL,
	    "Addresses of clients that may log in without TLS.", .since = "0.1", .reload = true },

	/* listen PROTOCOL [NAME] */
	{ "listen", "address", CONF_T_ADDRESS, IN_LISTEN(address), "0.0.0.0, ::", NULL,
	    "Where to listen: one address or several. 0.0.0.0 is every IPv4 address of the machine, :: every IPv6 one.",
	    .since = "0.1", .reload = true },
	{ "listen", "port", CONF_T_NUMBER, IN_LISTEN(port), NULL, "the protocol's",
	    "The TCP port: smtp 25, lmtp 24, submission 587, submissions 465, imap 143, imaps 993.",
	    .min = 1, .max = 65535, .since = "0.1", .reload = true },
	{ "listen", "tls", CONF_T_CHOICE, IN_LISTEN(tls), NULL,
	    "implicit for submissions and imaps; off for lmtp and where there is no tls block; else optional",
	    "Whether TLS is refused, offered (STARTTLS), demanded before mail or log-ins, or begins with the connection.",
	    .words = TLS_WORDS, .since = "0.1", .reload = true },
	{ "listen", "auth", CONF_T_SWITCH, IN_LISTEN(auth), NULL, "off for smtp and lmtp, else on",
	    "Whether clients may log in. Submission and IMAP are of no use without.",
	    .since = "0.1", .reload = true },
	{ "listen", "plaintext-auth", CONF_T_SWITCH, IN_LISTEN(plaintext_auth), "off", NULL,
	    "Lets every client of this listener log in without TLS, not only those of plaintext-auth-from.",
	    .since = "0.1", .reload = true },
	{ "listen", "proxy", CONF_T_SWITCH, IN_LISTEN(proxy), "off", NULL,
	    "Connections from trust-proxy addresses begin with a PROXY header, version 1 or 2.",
	    .since = "0.1", .reload = true },

	/* tls [NAME] */
	{ "tls", "certificate", CONF_T_PATH, IN_TLS(cert_file), NULL, "required",
	    "The certificate and the chain behind it, PEM. The names that it serves come from it.",
	    .since = "0.1", .reload = true },
	{ "tls", "key", CONF_T_PATH, IN_TLS(key_file), NULL, "the certificate's file",
	    "The private key, PEM. Only the master reads it.", .since = "0.1", .reload = true },

	/* log, metrics, processes */
	{ "log", "level", CONF_T_WORD, AT(log_level), "info", NULL,
	    "The least important events that are logged.", .words = "debug|info|warn|error",
	    .since = "0.1", .reload = true },
	{ "log", "style", CONF_T_CHOICE, AT(log_style), "logfmt", NULL,
	    "The form of the log: logfmt, one line per event; postfix, lines such as Postfix writes, for fail2ban, pflogsumm and exporters; or both, one behind the other.",
	    .words = "logfmt|postfix|both", .since = "0.2", .reload = true },
	{ "log", "file", CONF_T_FILE, AT(log_file), "none", NULL,
	    "Where to log; without it, to standard error.", .since = "0.1" },
	{ "metrics", "address", CONF_T_ENDPOINT, AT(metrics_address), "none", NULL,
	    "Where counters are served as Prometheus text over HTTP: ADDRESS:PORT, or the path of a UNIX socket.",
	    .since = "0.1" },
	{ "processes", "smtpd", CONF_T_NUMBER, AT(smtpd_processes), "auto", NULL,
	    "Processes for SMTP; auto: half the cores, at least two.",
	    .max = 256, .zero = "auto", .since = "0.1" },
	{ "processes", "imapd", CONF_T_NUMBER, AT(imapd_processes), "auto", NULL,
	    "Processes for IMAP; auto: half the cores, at least two.",
	    .max = 256, .zero = "auto", .since = "0.1" },
	{ "processes", "maild", CONF_T_NUMBER, AT(maild_processes), "auto", NULL,
	    "Processes for the store, each with its share of the accounts; auto: a quarter of the cores, at least one.",
	    .max = 64, .zero = "auto", .since = "0.1" },
	{ "processes", "mimed", CONF_T_NUMBER, AT(mimed_processes), "auto", NULL,
	    "Processes that read MIME; auto: two.", .max = 64, .zero = "auto", .since = "0.1" },
	{ "processes", "relayd", CONF_T_NUMBER, AT(relayd_processes), "auto", NULL,
	    "Processes that send to other servers, each with its share of the sites; auto: half the cores, at least two.",
	    .max = 64, .zero = "auto", .since = "0.1" },

	/* smtp */
	{ "smtp", "message-size-limit", CONF_T_SIZE, AT(message_size_limit), "50M", NULL,
	    "The largest message that is taken. A file of 25 MB is 35 MB in a message.",
	    .min = 64 * KB, .max = 2 * GB - 1, .since = "0.1", .reload = true },
	{ "smtp", "recipient-limit", CONF_T_NUMBER, AT(recipient_limit), "1000", NULL,
	    "Recipients of one message; RFC 5321 section 4.5.3.1.8 asks for 100 at least.",
	    .min = 100, .max = 100000, .since = "0.1", .reload = true },
	{ "smtp", "hop-limit", CONF_T_NUMBER, AT(hop_limit), "50", NULL,
	    "Received lines, above which a message goes round in circles and is refused.",
	    .min = 10, .max = 1000, .since = "0.1", .reload = true },
	{ "smtp", "error-limit", CONF_T_NUMBER, AT(error_limit), "20", NULL,
	    "Refused commands in a session, after which it is closed with 421.",
	    .min = 1, .max = 100000, .since = "0.1", .reload = true },
	{ "smtp", "command-limit", CONF_T_NUMBER, AT(command_limit), "10000", NULL,
	    "Commands outside of transactions in a session, after which it is closed with 421.",
	    .min = 100, .max = 100000000, .since = "0.1", .reload = true },
	{ "smtp", "header-size-limit", CONF_T_SIZE, AT(header_size_limit), "256K", NULL,
	    "All header lines of a message together.",
	    .min = 16 * KB, .max = 16 * MB, .since = "0.1", .reload = true },
	{ "smtp", "timeout", CONF_T_TIME, AT(smtp_timeout_ms), "5m", NULL,
	    "How long a client may be silent between commands.",
	    .min = SECOND, .max = DAY, .since = "0.1", .reload = true },
	{ "smtp", "data-timeout", CONF_T_TIME, AT(smtp_data_timeout_ms), "3m", NULL,
	    "How long a client may make no progress within a message.",
	    .min = SECOND, .max = DAY, .since = "0.1", .reload = true },
	{ "smtp", "sessions", CONF_T_NUMBER, AT(smtp_sessions), "20000", NULL,
	    "Connections in all.", .max = 1000000, .zero = "unlimited", .since = "0.1", .reload = true },
	{ "smtp", "sessions-per-address", CONF_T_NUMBER, AT(smtp_sessions_per_address), "50", NULL,
	    "Connections from one client address; of IPv6, from one network of 64 bits.",
	    .max = 1000000, .zero = "unlimited", .since = "0.1", .reload = true },
	{ "smtp", "recipient-delimiter", CONF_T_DELIMITER, AT(recipient_delimiter), "+", NULL,
	    "What separates an account's name from a detail: mail for user1+lists@example.test reaches user1@example.test.",
	    .since = "0.1", .reload = true },
	{ "smtp", "line-limit", CONF_T_SIZE, AT(smtp_line_limit), "1M", NULL,
	    "The longest line of a message's text.",
	    .min = 1000, .max = 64 * MB, .since = "0.1", .reload = true },
	{ "smtp", "header-count-limit", CONF_T_NUMBER, AT(header_count_limit), "1000", NULL,
	    "Header fields of a message.", .min = 100, .max = 100000, .since = "0.1", .reload = true },
	{ "smtp", "bare-newlines", CONF_T_CHOICE, AT(smtp_bare_newlines), "refuse", NULL,
	    "Whether a message with a CR or LF that is not part of a CRLF is refused, or each is made a CRLF. Neither ever ends a message.",
	    .words = "refuse|convert", .since = "0.1", .reload = true },
	{ "smtp", "submission-sender", CONF_T_CHOICE, AT(submission_sender), "own", NULL,
	    "Whether a logged-in client may send from its own address only, or from any.",
	    .words = "own|any", .since = "0.1", .reload = true },
	{ "smtp", "etrn", CONF_T_CHOICE, AT(smtp_etrn), "relay-clients", NULL,
	    "Who may have mail that waits for a domain tried at once, by ETRN: those who may send to other domains (relay-from, log-ins), anyone, or nobody.",
	    .words = "off|relay-clients|anyone", .since = "0.2", .reload = true },
	{ "smtp", "discard-extensions", CONF_T_TEXT, AT(smtp_discard_extensions), "", NULL,
	    "Words of the answer to EHLO, such as \"DSN ETRN\", that are left out of it; their parameters are then not recognized.",
	    .since = "0.1", .reload = true },
	{ "smtp", "future-release-max", CONF_T_TIME, AT(future_release_max_ms), "30d", NULL,
	    "How long a client of submission may have a message held before it is sent (FUTURERELEASE).",
	    .max = 366 * DAY, .zero = "off", .since = "0.1", .reload = true },
	{ "smtp", "memory-limit", CONF_T_SIZE, AT(smtp_memory_limit), "256M", NULL,
	    "Message content that each process keeps in memory, above which new messages get 452. Of a large message no more than 256K is kept at a time.",
	    .min = 4 * MB, .since = "0.1", .reload = true },

	/* relay */
	{ "relay", "tls", CONF_T_CHOICE, AT(relay_tls), "dane", NULL,
	    "TLS towards other servers. optional: where offered, unverified, plaintext when it fails; required: never plaintext; verify: with a certificate for the host's name from a known authority; dane: by the TLSA records of hosts that have them (RFC 7672), else optional; dane-only: only to hosts that have them.",
	    .words = RELAY_TLS_WORDS, .since = "0.1", .reload = true },
	{ "relay", "mta-sts", CONF_T_SWITCH, AT(relay_mta_sts), "on", NULL,
	    "Whether the policies that domains publish by MTA-STS (RFC 8461) are heeded, where DANE does not decide.",
	    .since = "0.1", .reload = true },
	{ "relay", "ca-file", CONF_T_FILE, AT(relay_ca_file), "/etc/ssl/certs/ca-certificates.crt", NULL,
	    "The authorities that certificates are verified by, PEM.", .since = "0.1" },
	{ "relay", "port", CONF_T_NUMBER, AT(relay_port), "25", NULL,
	    "The TCP port of other servers where the next hop names none.",
	    .min = 1, .max = 65535, .since = "0.1", .reload = true },
	{ "relay", "protocols", CONF_T_CHOICE, AT(relay_protocols), "any", NULL,
	    "Which addresses of a host are used, and in which order.",
	    .words = "any|prefer-ipv6|prefer-ipv4|ipv6|ipv4", .since = "0.1", .reload = true },
	{ "relay", "source-ipv4", CONF_T_IP, AT(relay_source_ipv4), "none", NULL,
	    "The address that IPv4 connections come from; none: as the system chooses.",
	    .since = "0.1", .reload = true },
	{ "relay", "source-ipv6", CONF_T_IP, AT(relay_source_ipv6), "none", NULL,
	    "The address that IPv6 connections come from; none: as the system chooses.",
	    .since = "0.1", .reload = true },
	{ "relay", "hello-name", CONF_T_NAME, AT(relay_hello), NULL, "hostname",
	    "The name in EHLO; best the one that the sending address resolves to.",
	    .since = "0.1", .reload = true },
	{ "relay", "host-limit", CONF_T_NUMBER, AT(relay_host_limit), "5", NULL,
	    "Addresses of a domain's servers that are tried for a message at a time.",
	    .min = 1, .max = 100, .since = "0.1", .reload = true },
	{ "relay", "connect-timeout", CONF_T_TIME, AT(relay_connect_timeout_ms), "30s", NULL,
	    "How long a connection may take to be made.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "relay", "greeting-timeout", CONF_T_TIME, AT(relay_greeting_timeout_ms), "5m", NULL,
	    "How long a server may take to greet.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "relay", "hello-timeout", CONF_T_TIME, AT(relay_hello_timeout_ms), "5m", NULL,
	    "How long the answers to EHLO, HELO, STARTTLS and AUTH, and a TLS handshake, may take, each.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "relay", "mail-timeout", CONF_T_TIME, AT(relay_mail_timeout_ms), "5m", NULL,
	    "How long the answer to MAIL may take (RFC 5321 section 4.5.3.2).",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "relay", "recipient-timeout", CONF_T_TIME, AT(relay_recipient_timeout_ms), "5m", NULL,
	    "How long the answer to RCPT may take.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "relay", "data-timeout", CONF_T_TIME, AT(relay_data_timeout_ms), "2m", NULL,
	    "How long the answer to DATA may take.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "relay", "block-timeout", CONF_T_TIME, AT(relay_block_timeout_ms), "3m", NULL,
	    "How long a server may take no byte of a message.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "relay", "dot-timeout", CONF_T_TIME, AT(relay_dot_timeout_ms), "10m", NULL,
	    "How long the answer to the end of a message may take. When it is too short, messages come twice.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "relay", "time-limit", CONF_T_TIME, AT(relay_time_limit_ms), "1h", NULL,
	    "How long one try of a message may take in all, over all servers of a domain.",
	    .min = SECOND, .max = DAY, .since = "0.1", .reload = true },
	{ "relay", "idle-time", CONF_T_TIME, AT(relay_idle_ms), "5s", NULL,
	    "How long a connection is kept for the next message to the same servers.",
	    .min = SECOND, .max = HOUR, .zero = "none", .since = "0.1", .reload = true },
	{ "relay", "idle-limit", CONF_T_NUMBER, AT(relay_idle_limit), "500", NULL,
	    "Connections that are kept so, a process.", .max = 10000, .since = "0.1", .reload = true },
	{ "relay", "reuse-limit", CONF_T_NUMBER, AT(relay_reuse_limit), "100", NULL,
	    "Messages over one connection.", .max = 1000000, .zero = "unlimited", .since = "0.1", .reload = true },
	{ "relay", "reuse-age", CONF_T_TIME, AT(relay_reuse_age_ms), "5m", NULL,
	    "How old a connection may be that takes another message.",
	    .min = SECOND, .max = DAY, .since = "0.1", .reload = true },

	/* next-hop HOST */
	{ "next-hop", "user", CONF_T_TEXT, IN_HOP(user), "", NULL,
	    "The name to log in with; without it there is no log-in.", .since = "0.1", .reload = true },
	{ "next-hop", "password", CONF_T_TEXT, IN_HOP(password), "", NULL,
	    "The password, or the token of xoauth2. Best given by file.",
	    .since = "0.1", .reload = true, .secret = CONF_FOR_QUEUED },
	{ "next-hop", "mechanism", CONF_T_WORD, IN_HOP(mechanism), "auto", NULL,
	    "How to log in; auto: scram-sha-256 where offered, else plain or login, these under TLS only.",
	    .words = "auto|plain|login|scram-sha-256|xoauth2", .since = "0.1", .reload = true },
	{ "next-hop", "tls", CONF_T_CHOICE, IN_HOP(tls), "default", NULL,
	    "TLS towards this next hop, with the words of relay.tls; default: verify where there is a user, else as tls-policy and relay.tls say.",
	    .words = "default|" RELAY_TLS_WORDS, .since = "0.1", .reload = true },
	{ "next-hop", "implicit-tls", CONF_T_SWITCH, IN_HOP(implicit_tls), "off", NULL,
	    "Whether TLS begins with the connection, as on port 465 (RFC 8314).",
	    .since = "0.1", .reload = true },

	/* tls-policy DOMAIN */
	{ "tls-policy", "tls", CONF_T_CHOICE, IN_POLICY(tls), NULL, "required",
	    "TLS towards this domain, with the words of relay.tls. MTA-STS does not change it.",
	    .words = RELAY_TLS_WORDS, .since = "0.1", .reload = true, .required = true },
	{ "tls-policy", "match", CONF_T_NAMES, IN_POLICY(match), NULL, "the MX host's name",
	    "For verify: names that the certificate may be for, instead of the MX host's.",
	    .since = "0.1", .reload = true },
	{ "tls-policy", "min-version", CONF_T_CHOICE, IN_POLICY(min_version), "TLSv1.2", NULL,
	    "The oldest version of TLS.", .words = "TLSv1.2|TLSv1.3", .since = "0.1", .reload = true },

	/* route */
	{ "route", "relay-host", CONF_T_TEXT, AT(relay_host), "", NULL,
	    "Where mail for other domains goes, instead of the servers of each domain: HOST, HOST:PORT (its MX), [HOST] or [HOST]:PORT (no MX).",
	    .since = "0.1", .reload = true },
	{ "route", "relay-domains", CONF_T_TEXTS, AT(relay_domains), NULL, "none",
	    "Domains whose mail is taken from anyone and sent on (backup MX). .example.org stands for every domain below it.",
	    .since = "0.1", .reload = true },
	{ "route", "relay-recipients", CONF_T_NAMES, AT(relay_recipients), NULL, "none",
	    "Tables of the recipients in relay-domains (ADDRESS, @DOMAIN); others are refused. Without a table all are taken.",
	    .since = "0.1", .reload = true },
	{ "route", "aliases", CONF_T_NAMES, AT(aliases), NULL, "none",
	    "Tables of aliases, looked up by local part; they may name commands, files and :include: lists.",
	    .since = "0.1", .reload = true },
	{ "route", "alias-domains", CONF_T_NAMES, AT(alias_domains), NULL, "all local domains",
	    "The domains to which aliases applies.", .since = "0.1", .reload = true },
	{ "route", "virtual-aliases", CONF_T_NAMES, AT(virtual_aliases), NULL, "none",
	    "Tables that give addresses other addresses: by ADDRESS, by local part in alias-domains, by @DOMAIN. They come before accounts.",
	    .since = "0.1", .reload = true },
	{ "route", "transports", CONF_T_NAMES, AT(transports), NULL, "none",
	    "Tables of next hops by ADDRESS, DOMAIN, .PARENT-DOMAIN and *.", .since = "0.1", .reload = true },
	{ "route", "sender-relays", CONF_T_NAMES, AT(sender_relays), NULL, "none",
	    "Tables of next hops by the sender's ADDRESS or @DOMAIN, in place of relay-host.",
	    .since = "0.1", .reload = true },
	{ "route", "always-bcc", CONF_T_MAILBOX, AT(always_bcc), "none", NULL,
	    "An address that gets a copy of every message.", .since = "0.1", .reload = true },
	{ "route", "alias-expansion-limit", CONF_T_NUMBER, AT(alias_expansion_limit), "1000", NULL,
	    "How many deliveries one recipient may become.", .min = 1, .max = 1000, .since = "0.1", .reload = true },
	{ "route", "alias-depth-limit", CONF_T_NUMBER, AT(alias_depth_limit), "20", NULL,
	    "How many aliases may stand behind one another.", .min = 1, .max = 50, .since = "0.1", .reload = true },
	{ "route", "propagate-extensions", CONF_T_SWITCH, AT(propagate_extensions), "on", NULL,
	    "Whether the detail of user+detail is carried to what a virtual alias stands for.",
	    .since = "0.1", .reload = true },
	{ "route", "srs", CONF_T_SWITCH, AT(srs), "on", NULL,
	    "Whether mail that is forwarded to other servers gets a return path of ours (SRS), so that SPF holds and bounces find back.",
	    .since = "0.1", .reload = true },
	{ "route", "srs-domain", CONF_T_TEXT, AT(srs_domain), "", NULL,
	    "The domain of such return paths, one of ours; without it, that of the address that forwards.",
	    .since = "0.1", .reload = true },
	{ "route", "srs-lifetime", CONF_T_TIME, AT(srs_lifetime_ms), "21d", NULL,
	    "How long such a return path can be used.",
	    .min = DAY, .max = 366 * DAY, .since = "0.1", .reload = true },

	/* table NAME */
	{ "table", "type", CONF_T_CHOICE, IN_TABLE(type), "inline", NULL,
	    "inline: the entries here; file: lines of KEY and VALUE; aliases: a file as aliases(5) has it; regexp: a file of /PATTERN/ VALUE; sqlite: a query; static: one value for every key; pgsql, mysql, ldap: what a server answers.",
	    .words = "inline|file|aliases|regexp|sqlite|static|pgsql|mysql|ldap", .since = "0.1", .reload = true },
	{ "table", "path", CONF_T_FILE, IN_TABLE(path), "none", NULL,
	    "The file, which is read anew when it changes, or the database.", .since = "0.1", .reload = true },
	{ "table", "query", CONF_T_TEXT, IN_TABLE(query), "", NULL,
	    "What an SQL database is asked, or the filter of LDAP; %s is the key, %u and %d its local part and domain.",
	    .since = "0.1", .reload = true },
	{ "table", "value", CONF_T_TEXT, IN_TABLE(value), "", NULL,
	    "The value of a static table.", .since = "0.1", .reload = true },
	{ "table", "entry", CONF_T_TEXTS, IN_TABLE(entries), NULL, "none",
	    "KEY and VALUE of an inline table, parted by blanks. May be given several times.",
	    .since = "0.1", .reload = true },
	{ "table", "server", CONF_T_TEXTS, IN_TABLE(servers), NULL, "none",
	    "pgsql, mysql, ldap: HOST, HOST:PORT, [ADDRESS]:PORT or the path of a socket; for ldap also ldaps://HOST. The next one is tried when one does not answer.",
	    .since = "0.1", .reload = true },
	{ "table", "database", CONF_T_TEXT, IN_TABLE(database), "", NULL,
	    "pgsql, mysql: the name of the database.", .since = "0.1", .reload = true },
	{ "table", "user", CONF_T_TEXT, IN_TABLE(user), "", NULL,
	    "pgsql, mysql, ldap: the name, or DN, to log in with.", .since = "0.1", .reload = true },
	{ "table", "password", CONF_T_TEXT, IN_TABLE(password), "", NULL,
	    "pgsql, mysql, ldap: its password. Best given by file.",
	    .since = "0.1", .reload = true, .secret = CONF_FOR_TABLED },
	{ "table", "tls", CONF_T_CHOICE, IN_TABLE(tls), "auto", NULL,
	    "pgsql, mysql, ldap: off; required: encrypted, whoever it is; verify: the certificate must be the server's; auto: off towards sockets and loopback addresses, else verify.",
	    .words = "auto|off|required|verify", .since = "0.1", .reload = true },
	{ "table", "ca-file", CONF_T_FILE, IN_TABLE(ca_file), "/etc/ssl/certs/ca-certificates.crt", NULL,
	    "pgsql, mysql, ldap: certificates of those whose word on other certificates is believed.",
	    .since = "0.1", .reload = true },
	{ "table", "base", CONF_T_TEXT, IN_TABLE(base), "", NULL,
	    "ldap: the DN below which entries are looked for.", .since = "0.1", .reload = true },
	{ "table", "scope", CONF_T_CHOICE, IN_TABLE(scope), "sub", NULL,
	    "ldap: sub: everything below base; one: one level; base: that entry.",
	    .words = "sub|one|base", .since = "0.1", .reload = true },
	{ "table", "attribute", CONF_T_TEXTS, IN_TABLE(attributes), NULL, "none",
	    "ldap: the attributes whose values are the answer.", .since = "0.1", .reload = true },
	{ "table", "connections", CONF_T_NUMBER, IN_TABLE(connections), "4", NULL,
	    "pgsql, mysql, ldap: connections at most.", .min = 1, .max = 64, .since = "0.1", .reload = true },
	{ "table", "timeout", CONF_T_TIME, IN_TABLE(timeout_ms), "5s", NULL,
	    "pgsql, mysql, ldap: how long one question may take, waiting and connecting included.",
	    .min = 100, .max = MINUTE, .since = "0.1", .reload = true },
	{ "table", "result-limit", CONF_T_NUMBER, IN_TABLE(result_limit), "1000", NULL,
	    "pgsql, mysql, ldap: values in one answer; with more, the table cannot say.",
	    .min = 1, .max = 10000, .since = "0.1", .reload = true },
	{ "table", "cache-time", CONF_T_TIME, IN_TABLE(cache_ms), "30s", NULL,
	    "pgsql, mysql, ldap: how long an answer is remembered.",
	    .max = DAY, .zero = "none", .since = "0.1", .reload = true },
	{ "table", "cache-missing-time", CONF_T_TIME, IN_TABLE(cache_missing_ms), "10s", NULL,
	    "pgsql, mysql, ldap: how long it is remembered that there is no such key.",
	    .max = DAY, .zero = "none", .since = "0.1", .reload = true },

	/* spool */
	{ "spool", "segment-size", CONF_T_SIZE, AT(spool_segment_size), "64M", NULL,
	    "Size of each file of the log; a multiple of 4096. Changes take effect as files are made anew.",
	    .min = MB, .max = GB, .since = "0.1" },
	{ "spool", "size-limit", CONF_T_SIZE, AT(spool_size_limit), "none", NULL,
	    "How large the spool may grow, above which new mail gets 452.",
	    .min = 8 * MB, .zero = "none", .since = "0.1", .reload = true },
	{ "spool", "min-free", CONF_T_SIZE, AT(spool_min_free), "256M", NULL,
	    "Free space on the spool's file system, below which new mail gets 452.",
	    .zero = "none", .since = "0.1", .reload = true },
	{ "spool", "queue-lifetime", CONF_T_TIME, AT(queue_lifetime_ms), "5d", NULL,
	    "How long delivery of a message is tried.",
	    .min = SECOND, .max = 366 * DAY, .since = "0.1", .reload = true },
	{ "spool", "retry-min", CONF_T_TIME, AT(retry_min_ms), "1m", NULL,
	    "The wait before the second try; it doubles from try to try.",
	    .min = SECOND, .max = DAY, .since = "0.1", .reload = true },
	{ "spool", "retry-max", CONF_T_TIME, AT(retry_max_ms), "4h", NULL,
	    "The longest wait between two tries.",
	    .min = SECOND, .max = 7 * DAY, .since = "0.1", .reload = true },
	{ "spool", "bounce-lifetime", CONF_T_TIME, AT(bounce_lifetime_ms), "5d", NULL,
	    "How long delivery of a message from the null sender, such as a bounce, is tried.",
	    .min = SECOND, .max = 366 * DAY, .since = "0.1", .reload = true },
	{ "spool", "delay-notice-after", CONF_T_TIME, AT(delay_notice_after_ms), "4h", NULL,
	    "When the sender of a message that cannot be delivered yet is told so, once.",
	    .zero = "none", .max = 366 * DAY, .since = "0.1", .reload = true },
	{ "spool", "site-concurrency", CONF_T_NUMBER, AT(site_concurrency), "20", NULL,
	    "Deliveries at a time to one site (the servers that take mail for a domain, or for several). It begins with 5, grows while the site answers and is halved when it cannot be reached or asks for less.",
	    .min = 1, .max = 1000, .since = "0.1" },
	{ "spool", "site-rate", CONF_T_NUMBER, AT(site_rate), "none", NULL,
	    "Deliveries to one site in a minute, at most.",
	    .max = 60000000, .zero = "none", .since = "0.1" },
	{ "spool", "site-retry-max", CONF_T_TIME, AT(site_retry_max_ms), "15m", NULL,
	    "The longest pause before a site that could not be reached is tried again, with one message; the first is retry-min, and it doubles.",
	    .min = SECOND, .max = DAY, .since = "0.1", .reload = true },
	{ "spool", "tenant-rate", CONF_T_NUMBER, AT(tenant_rate), "none", NULL,
	    "Deliveries to other servers in a minute for one tenant (an authenticated sender, or a client), at most.",
	    .max = 60000000, .zero = "none", .since = "0.1", .reload = true },
	{ "spool", "recipient-limit", CONF_T_NUMBER, AT(queue_recipient_limit), "2000000", NULL,
	    "Recipients that are kept in memory (under 400 bytes each), above which new mail gets 452.",
	    .min = 1000, .max = 100000000, .since = "0.1" },
	{ "spool", "checkpoint-interval", CONF_T_TIME, AT(checkpoint_interval_ms), "1m", NULL,
	    "How often the state of the queue is written down, which makes starts fast and frees space.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },

	/* bounce */
	{ "bounce", "size-limit", CONF_T_SIZE, AT(bounce_size_limit), "50K", NULL,
	    "The largest message that is returned whole with a report of its failure; of a longer one only the header is.",
	    .max = 16 * MB, .zero = "none", .since = "0.1", .reload = true },
	{ "bounce", "double-bounce-address", CONF_T_MAILBOX, AT(double_bounce_address), "postmaster", NULL,
	    "Who is told of mail that can neither be delivered nor returned. postmaster is this system's own; none: nobody is.",
	    .since = "0.1", .reload = true },
	{ "bounce", "contact", CONF_T_TEXT, AT(bounce_contact), NULL, "postmaster@hostname",
	    "Whom reports name for help: a telephone number, an address or a page.",
	    .since = "0.1", .reload = true },
	{ "bounce", "text-failed", CONF_T_TEXT, AT(bounce_text_failed), NULL, "a text in English",
	    "The first paragraph of reports about mail that could not be delivered. The reasons follow it.",
	    .since = "0.1", .reload = true },
	{ "bounce", "text-delayed", CONF_T_TEXT, AT(bounce_text_delayed), NULL, "a text in English",
	    "The first paragraph of reports about mail that is still being tried.",
	    .since = "0.1", .reload = true },
	{ "bounce", "text-success", CONF_T_TEXT, AT(bounce_text_success), NULL, "a text in English",
	    "The first paragraph of reports about mail that was delivered or handed on, for senders who asked for one.",
	    .since = "0.1", .reload = true },

	/* pipe */
	{ "pipe", "user", CONF_T_USER, AT(pipe_user), NULL, "the system user of piped",
	    "The system user that commands run as, and files are written as. Never root, nor the user of another of our programs.",
	    .since = "0.1" },
	{ "pipe", "new-privileges", CONF_T_SWITCH, AT(pipe_new_privileges), "off", NULL,
	    "Whether a command may gain privileges by the mode of a program's file (setuid, setgid, sudo), as some list managers need.",
	    .since = "0.1" },
	{ "pipe", "timeout", CONF_T_TIME, AT(pipe_timeout_ms), "5m", NULL,
	    "How long a command may run; then it is ended, and the delivery is tried again later.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "pipe", "processes", CONF_T_NUMBER, AT(pipe_processes), "20", NULL,
	    "Commands and file deliveries that run at a time.",
	    .min = 1, .max = 1000, .since = "0.1", .reload = true },
	{ "pipe", "memory-limit", CONF_T_SIZE, AT(pipe_memory_limit), "none", NULL,
	    "The address space that a command may have.",
	    .min = 16 * MB, .zero = "none", .since = "0.1", .reload = true },

	/* store */
	{ "store", "threads", CONF_T_NUMBER, AT(store_threads), "auto", NULL,
	    "Threads of each process of the store; auto: 16.",
	    .max = 512, .zero = "auto", .since = "0.1" },
	{ "store", "open-accounts", CONF_T_NUMBER, AT(open_accounts), "auto", NULL,
	    "Accounts that each process of the store keeps open; auto: as the limit of descriptors allows.",
	    .max = 1000000, .zero = "auto", .since = "0.1" },
	{ "store", "default-quota", CONF_T_SIZE, AT(default_quota), "none", NULL,
	    "Bytes that an account may hold when nothing else was set for it.",
	    .min = MB, .zero = "none", .since = "0.1", .reload = true },
	{ "store", "flag-durability-now", CONF_T_SWITCH, AT(flag_durability_now), "off", NULL,
	    "Whether a change of flags is on disk before the client is told, or within a second after.",
	    .since = "0.1", .reload = true },
	{ "store", "take-in-files", CONF_T_NUMBER, AT(take_in_files), "100", NULL,
	    "Messages that may wait in an account's new/ before they are indexed in the background.",
	    .min = 1, .max = 1000000, .since = "0.1", .reload = true },
	{ "store", "take-in-after", CONF_T_TIME, AT(take_in_after_ms), "10m", NULL,
	    "How long a message may wait in an account's new/ before it is indexed in the background.",
	    .min = SECOND, .max = 7 * DAY, .since = "0.1", .reload = true },

	/* imap */
	{ "imap", "sessions", CONF_T_NUMBER, AT(imap_sessions), "unlimited", NULL,
	    "Connections in all.", .max = 1000000, .zero = "unlimited", .since = "0.1", .reload = true },
	{ "imap", "sessions-per-user", CONF_T_NUMBER, AT(imap_sessions_per_user), "50", NULL,
	    "Logged-in sessions of one account.",
	    .max = 1000000, .zero = "unlimited", .since = "0.1", .reload = true },
	{ "imap", "idle-limit", CONF_T_TIME, AT(imap_idle_limit_ms), "30m", NULL,
	    "How long a logged-in client may be silent; RFC 3501 section 5.4 asks for 30 minutes at least.",
	    .min = SECOND, .max = 7 * DAY, .since = "0.1", .reload = true },
	{ "imap", "login-timeout", CONF_T_TIME, AT(imap_login_timeout_ms), "1m", NULL,
	    "How long a client may take to log in.",
	    .min = SECOND, .max = HOUR, .since = "0.1", .reload = true },
	{ "imap", "keepalive", CONF_T_TIME, AT(imap_keepalive_ms), "2m", NULL,
	    "How often something is said during IDLE, so that routers do not forget the connection.",
	    .min = SECOND, .max = DAY, .zero = "never", .since = "0.1", .reload = true },
	{ "imap", "append-limit", CONF_T_SIZE, AT(imap_append_limit), NULL, "smtp.message-size-limit",
	    "The largest message that a client may append.",
	    .min = 64 * KB, .max = 2 * GB - 1, .since = "0.1", .reload = true },

	/* auth */
	{ "auth", "threads", CONF_T_NUMBER, AT(auth_threads), "auto", NULL,
	    "Threads that check passwords; auto: one per core.",
	    .max = 256, .zero = "auto", .since = "0.1" },
	{ "auth", "delay-max", CONF_T_TIME, AT(auth_delay_max_ms), "30s", NULL,
	    "The longest delay of the answer to a log-in after many that failed.",
	    .max = 10 * MINUTE, .zero = "none", .since = "0.1", .reload = true },
	{ "auth", "password-cost", CONF_T_NUMBER, AT(password_cost), "5", NULL,
	    "The work factor of yescrypt for new passwords; each step doubles the time and, from 3 on, the memory of a log-in.",
	    .min = 1, .max = 11, .since = "0.1", .reload = true },

	/* dns */
	{ "dns", "server", CONF_T_SERVERS, AT(dns_servers), "none", NULL,
	    "Name servers that look names up for us, ADDRESS or ADDRESS:PORT; may be given several times. Without any, those of /etc/resolv.conf as it is when the instance starts.",
	    .since = "0.1", .reload = true },
	{ "dns", "validate", CONF_T_CHOICE, AT(dns_validate), "auto", NULL,
	    "Whether answers are validated by DNSSEC. With auto they are as soon as the servers are seen to hand on what that takes; DANE needs it.",
	    .words = "auto|on|off", .since = "0.1", .reload = true },
	{ "dns", "trust-anchor", CONF_T_TEXTS, AT(dns_anchors), NULL, "the keys of the root",
	    "A DS or DNSKEY record from which to validate, instead of the keys of the root; may be given several times.",
	    .since = "0.1", .reload = true },
	{ "dns", "record", CONF_T_TEXTS, AT(dns_records), NULL, "none",
	    "A record that is answered without asking a server, such as \"mx.example.test 300 IN A 192.0.2.1\"; may be given several times. It counts as validated. Other types of a name that has one do not exist.",
	    .since = "0.1", .reload = true },
	{ "dns", "zone", CONF_T_NAMES, AT(dns_zones), NULL, "none",
	    "A domain of which nothing exists but what record says; may be given several times.",
	    .since = "0.1", .reload = true },
	{ "dns", "timeout", CONF_T_TIME, AT(dns_timeout_ms), "20s", NULL,
	    "How long a question may take, after which it counts as failed.",
	    .min = SECOND, .max = 40 * SECOND, .since = "0.1", .reload = true },
	{ "dns", "questions", CONF_T_NUMBER, AT(dns_questions), "2000", NULL,
	    "Questions that wait for a server at a time, above which new ones count as failed.",
	    .min = 10, .max = 100000, .since = "0.1", .reload = true },

	/* fetch */
	{ "fetch", "ca-file", CONF_T_FILE, AT(fetch_ca_file), "/etc/ssl/certs/ca-certificates.crt", NULL,
	    "The authorities that web servers are verified by, PEM.", .since = "0.1" },
	{ "fetch", "https-port", CONF_T_NUMBER, AT(fetch_https_port), "443", NULL,
	    "The TCP port of https URLs that name none.",
	    .min = 1, .max = 65535, .since = "0.1", .reload = true },
	{ "fetch", "private-networks", CONF_T_NETS, AT(fetch_private_nets), "none", NULL,
	    "Addresses that are not public (loopback, private networks) and may be connected to all the same when the name of a web server has one.",
	    .since = "0.1", .reload = true },
	{ "fetch", "policy-timeout", CONF_T_TIME, AT(fetch_policy_timeout_ms), "30s", NULL,
	    "How long fetching an MTA-STS policy may take.",
	    .min = SECOND, .max = 2 * MINUTE, .since = "0.1", .reload = true },
	{ "fetch", "policy-retry", CONF_T_TIME, AT(fetch_policy_retry_ms), "5m", NULL,
	    "How long an MTA-STS policy that could not be fetched is not tried again.",
	    .min = SECOND, .max = DAY, .since = "0.1", .reload = true },

	/* tls-report */
	{ "tls-report", "send", CONF_T_SWITCH, AT(tls_report), "off", NULL,
	    "Whether domains that ask for it (a TXT record _smtp._tls) are told once a day how TLS towards their servers went (RFC 8460).",
	    .since = "0.1", .reload = true },
	{ "tls-report", "organization", CONF_T_TEXT, AT(tls_report_organization), NULL, "hostname",
	    "Who sends the reports, as they name it.", .since = "0.1", .reload = true },
	{ "tls-report", "contact", CONF_T_TEXT, AT(tls_report_contact), NULL, "postmaster@hostname",
	    "Whom reports name for questions: an address.", .since = "0.1", .reload = true },
	{ "tls-report", "sender", CONF_T_TEXT, AT(tls_report_sender), NULL, "postmaster@hostname",
	    "The address that reports are sent from. Its domain should sign its mail (DKIM), or reports may not be believed.",
	    .since = "0.1", .reload = true },
	{ "tls-report", "spread", CONF_T_TIME, AT(tls_report_spread_ms), "4h", NULL,
	    "Each report is sent at a random moment within this time after the end of the day (UTC) that it is about.",
	    .max = DAY, .zero = "none", .since = "0.1", .reload = true },
};
const size_t conf_n_rows = N_OF(conf_rows);

const struct conf_row *
conf_row_find(struct str block, struct str name)
{
	for (size_t i = 0; i < conf_n_rows; i++)
		if (str_eq(block, str_c(conf_rows[i].block)) &&
		    str_eq(name, str_c(conf_rows[i].name)))
			return &conf_rows[i];
	return NULL;
}

const struct conf_row *
conf_row_by_key(struct str key)
{
	struct str name = key, block = str_cut(&name, '.');

	if (!name.p)
		return conf_row_find(STR(""), key);
	return conf_row_find(block, name);
}

void
conf_row_key(struct buf *out, const struct conf_row *row)
{
	buf_printf(out, "%s%s%s", row->block, *row->block ? "." : "", row->name);
}

const struct conf_block *
conf_block_find(struct str name)
{
	for (size_t i = 0; i < conf_n_blocks; i++)
		if (str_eq(name, str_c(conf_blocks[i].name)))
			return &conf_blocks[i];
	return NULL;
}

const void *
conf_list_at(const struct settings *s, const struct conf_block *block, size_t i)
{
	const char *at = (const char *)s + block->list;

	if (i >= *(const size_t *)(at + sizeof(void *)))
		return NULL;
	return *(const char *const *)at + i * block->size;
}

const struct conf_listen_kind *
conf_listen_kind_find(struct str name)
{
	for (size_t i = 0; i < conf_n_listen_kinds; i++)
		if (str_eq(name, str_c(conf_listen_kinds[i].name)))
			return &conf_listen_kinds[i];
	return NULL;
}
