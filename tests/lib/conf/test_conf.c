/* The configuration language: mistakes with their exact messages, values, round
 * trips, includes and secrets. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/conf/table.h"

#define BASE "config 1\nhostname mx.example.test\nbase-dir /var/lib/posthorn\n"
#define LOCAL "listen smtp { address 127.0.0.1 }\n"

/* All errors of a text, one "LINE:COL: TEXT" per line. */
static char *
errors_of(const char *text, bool warnings)
{
	struct arena *a = arena_new(0);
	struct conf_errors errors;
	struct settings *s = settings_parse(str_c(text), "t.conf", a, &errors);
	struct buf out = { 0 };

	for (size_t i = 0; i < errors.n; i++) {
		const struct conf_error *e = &errors.v[i];

		if (e->warning && !warnings)
			continue;
		buf_printf(&out, "%u:%u: %s%.*s\n", e->line, e->col, e->warning ? "warning: " : "",
		    STR_ARG(e->text));
	}
	assert_int_equal(s == NULL, out.n > 0 && !(warnings && s));
	settings_free(&s);
	arena_free(&a);
	buf_putc(&out, 0);
	return buf_detach(&out, NULL);
}

static const struct {
	const char *name, *text, *want;
} bad[] = {
	{ "empty", "", "0:0: the first statement must be 'config 1'\n" },
	{ "no version", "hostname a.example.test\n", "1:1: the first statement must be 'config 1'\n" },
	{ "other version", "config 2\nrubbish\n",
	    "1:8: this posthorn reads the language 'config 1', not 'config 2'\n" },
	{ "version without number", "config\n",
	    "1:1: 'config' needs the version of the language: write 'config 1'\n" },
	{ "version twice", BASE "config 1\n", "4:1: 'config' is said twice\n" },
	{ "unknown key", BASE "hostnme x\n", "4:1: unknown key 'hostnme' (did you mean 'hostname'?)\n" },
	{ "unknown key in block", BASE "listen smtp { prot 25 }\n",
	    "4:15: unknown key 'prot' in 'listen smtp' (did you mean 'port'?)\n" },
	{ "key of another block", BASE "recipient-delimiter +\n",
	    "4:1: unknown key 'recipient-delimiter' (it belongs in the block 'smtp')\n" },
	{ "key of no block", BASE "smtp { hostname x }\n",
	    "4:8: unknown key 'hostname' in 'smtp' (it belongs outside of the block)\n" },
	{ "nothing like it", BASE "zzzzzzzz 1\n", "4:1: unknown key 'zzzzzzzz'\n" },
	{ "unknown block", BASE "spol { retry-min 5m }\n" LOCAL,
	    "4:1: unknown key 'spol' (did you mean 'spool'?)\n" },
	{ "unknown protocol", BASE "listen smpt { }\n",
	    "4:8: unknown protocol 'smpt' (did you mean 'smtp'?)\n" },
	{ "list without name", BASE "tls-policy { tls off }\n" LOCAL, "4:1: 'tls-policy' needs DOMAIN\n" },
	{ "list twice", BASE "tls-policy a.example { tls off }\ntls-policy A.example { tls off }\n" LOCAL,
	    "5:12: 'tls-policy A.example' is there twice\n" },
	{ "list lacks", BASE "tls-policy a.example { min-version TLSv1.3 }\n" LOCAL,
	    "4:1: 'tls-policy a.example' needs 'tls'\n" },
	{ "list unknown", BASE "next-hop \"[a]:1\" { usr x }\n" LOCAL,
	    "4:20: unknown key 'usr' in 'next-hop [a]:1' (did you mean 'user'?)\n" },
	{ "listen alone", BASE "listen\n", "4:1: 'listen' needs a protocol, such as 'listen smtp'\n" },
	{ "no value", BASE "smtp {\n\ttimeout\n\thop-limit 20\n}\n", "5:2: 'timeout' needs a value\n" },
	{ "two values", BASE "user-prefix a, b\n", "4:14: 'user-prefix' takes one value\n" },
	{ "twice", BASE "hostname b.example.test\n", "4:1: 'hostname' is set twice (first at t.conf:2)\n" },
	{ "size", BASE "smtp { message-size-limit 25X }\n",
	    "4:27: '25X' is not a size (write 25M, 64K or a number of bytes)\n" },
	{ "size too small", BASE "smtp { message-size-limit 1K }\n",
	    "4:27: '1K' is out of range (64K to 2147483647)\n" },
	{ "size overflows", BASE "spool { size-limit 99999999999T }\n",
	    "4:20: '99999999999T' is too small or too large\n" },
	{ "time without unit", BASE "smtp { timeout 5 }\n",
	    "4:16: '5' is not a time (write 30s, 5m, 4h or 2d)\n" },
	{ "time out of range", BASE "smtp { timeout 2d }\n", "4:16: '2d' is out of range (1s to 1d)\n" },
	{ "number", BASE "smtp { hop-limit many }\n", "4:18: 'many' is not a number\n" },
	{ "number with zero word", BASE "processes { smtpd 999 }\n",
	    "4:19: '999' is out of range (auto to 256, or auto)\n" },
	{ "switch", BASE "sandbox yes\n", "4:9: 'yes' is none of on, off\n" },
	{ "word", BASE "log { level wran }\n",
	    "4:13: 'wran' is none of debug, info, warn, error (did you mean 'warn'?)\n" },
	{ "net", BASE "trust-proxy 10.0.0.0/33\n",
	    "4:13: '10.0.0.0/33' is not an address range (write 192.0.2.0/24, 2001:db8::/32 or an address)\n" },
	{ "net with bits behind", BASE "trust-proxy 10.0.0.1/8\n",
	    "4:13: '10.0.0.1/8' is not an address range (write 192.0.2.0/24, 2001:db8::/32 or an address)\n" },
	{ "none among others", BASE "trust-proxy 10.0.0.0/8, none\n", "4:25: 'none' must stand alone\n" },
	{ "address", BASE "listen smtp { address localhost }\n", "4:23: 'localhost' is not an IP address\n" },
	{ "port", BASE "listen smtp { port 70000 }\n", "4:20: '70000' is out of range (1 to 65535)\n" },
	{ "host name", BASE "domain -x.test\n", "4:8: '-x.test' is not a domain name\n" },
	{ "domain twice", BASE "domain a.test\ndomain A.test\n", "5:8: 'a.test' is named twice\n" },
	{ "relative path", BASE "store-dir mail\n", "4:11: the path 'mail' must begin with '/'\n" },
	{ "delimiter", BASE "smtp { recipient-delimiter ++ }\n",
	    "4:28: '++' is not a delimiter (one of + - _ = ! # % & ~ ^ /, or 'none')\n" },
	{ "endpoint", BASE "metrics { address localhost:9090 }\n",
	    "4:19: 'localhost:9090' is not ADDRESS:PORT, the path of a socket, or 'none'\n" },
	{ "open string", BASE "user-prefix \"abc\nsandbox on\n", "4:13: the string has no closing quote\n" },
	{ "escape", BASE "user-prefix \"a\\x\"\n",
	    "4:13: unknown escape in the string (known are \\\" \\\\ \\n \\t)\n" },
	{ "control character", BASE "\001\n", "4:1: control character\n" },
	{ "string for a key", BASE "\"hostname\" x\n", "4:1: expected a setting, not \"hostname\"\n" },
	{ "stray brace", BASE "}\n", "4:1: expected a setting, not '}'\n" },
	{ "open block", BASE "smtp {\n\ttimeout 1m\n", "4:1: the block 'smtp' is not closed\n" },
	{ "no brace", BASE "smtp timeout 1m\n", "4:1: expected '{' after 'smtp'\n" },
	{ "same port twice", BASE LOCAL LOCAL, "5:1: 127.0.0.1 port 25 is listened on twice (first at line 4)\n" },
	{ "tls without certificate", BASE "listen imaps { address ::1 }\n",
	    "4:1: 'imaps' offers TLS, but there is no tls block with a certificate\n" },
	{ "certificate missing", BASE "tls { key /x }\n", "4:1: 'tls' needs 'certificate'\n" },
	{ "proxy of nobody", BASE "listen smtp { address ::1 proxy on }\n",
	    "4:1: 'smtp' expects the PROXY protocol, but trust-proxy is empty\n" },
	{ "retry", BASE "spool { retry-min 5h }\n", "4:9: retry-min is longer than retry-max\n" },
	{ "segment", BASE "spool { segment-size 2000001 }\n",
	    "4:9: segment-size must be a multiple of 4096\n" },
	{ "include in a text", BASE "include \"/etc/passwd\"\n", "4:1: 'include' is not allowed here\n" },
	{ "env in a text", BASE "user-prefix env HOME\n", "4:13: 'env' is not allowed here\n" },
	{ "columns are characters", BASE "domain \"m\xc3\xbcnchen.test\", -\n", "4:24: '-' is not a domain name\n" },
	{ "all of them", BASE "hostnme x\nsmtp { timout 5m; hop-limit 1 }\nlisten smtp {\n\tport x\n\tsize 3\n}\n",
	    "4:1: unknown key 'hostnme' (did you mean 'hostname'?)\n"
	    "5:8: unknown key 'timout' in 'smtp' (did you mean 'timeout'?)\n"
	    "5:29: '1' is out of range (10 to 1000)\n"
	    "7:7: 'x' is not a number\n"
	    "8:2: unknown key 'size' in 'listen smtp'\n" },
};

static void
test_bad(void **state)
{
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char *got = errors_of(bad[i].text, false);

		if (strcmp(got, bad[i].want))
			fail_msg("%s:\n got: %swant: %s", bad[i].name, got, bad[i].want);
		free(got);
	}
}

static const struct {
	const char *text, *want;
} risky[] = {
	{ BASE LOCAL, "" },
	{ BASE, "1:1: warning: nothing is listened on: there is no listen block\n" },
	{ BASE LOCAL "relay-from 0.0.0.0/0, ::/0\n",
	    "5:1: warning: relay-from has every address: this is an open relay\n"
	    "5:1: warning: relay-from has every address: this is an open relay\n" },
	{ BASE LOCAL "relay-from 10.0.0.0/8\n", "" },
	{ BASE LOCAL "trust-proxy 10.0.0.0/8, 8.8.8.8\n",
	    "5:1: warning: trust-proxy has public addresses: whoever has one may claim to be any client\n" },
	{ BASE LOCAL "plaintext-auth-from 10.0.0.0/8\n",
	    "5:1: warning: passwords may cross the network in plain text\n" },
	{ BASE "listen lmtp { address 192.0.2.1 }\n",
	    "4:1: warning: lmtp on 192.0.2.1 takes mail for every account from whoever reaches it\n" },
	{ BASE "listen imap { address 192.0.2.1 }\n",
	    "4:1: warning: nobody can log in to 'imap' from elsewhere: it has no TLS\n" },
	{ BASE "listen imap { address 192.0.2.1 plaintext-auth on }\n",
	    "4:1: warning: 'imap' lets passwords cross the network in plain text\n" },
	{ BASE "sandbox on\nlisten smtp { address 192.0.2.1 }\n",
	    "5:1: warning: a sandbox listens on 192.0.2.1, beyond this machine\n" },
};

static void
test_warnings(void **state)
{
	for (size_t i = 0; i < sizeof risky / sizeof *risky; i++) {
		char *got = errors_of(risky[i].text, true);

		assert_string_equal(got, risky[i].want);
		free(got);
	}
}

static struct settings *
parse_good(const char *text)
{
	struct arena *a = arena_new(0);
	struct conf_errors errors;
	struct settings *s = settings_parse(str_c(text), "t.conf", a, &errors);

	if (!s)
		fail_msg("%.*s", STR_ARG(errors.v[0].text));
	arena_free(&a);
	return s;
}

#define FULL                                                                                       \
	BASE "# a comment\ndomain Example.test, example.org\ndomain b\xc3\xbc" "cher.test\n"         \
	"trust-proxy 127.0.0.1, ::1, 10.0.0.0/8\nrelay-from none\nuser-prefix \"ph\"; sandbox on\n"  \
	"tls main { certificate \"/c\\\"x.pem\" key /k.pem }\ntls { certificate /both.pem }\n"       \
	"listen smtp { address 127.0.0.1, ::1 port 10025 }\nlisten smtp inner { port 2525 tls off }\n" \
	"listen submissions\nlisten imap { port 10143 tls required proxy on }\n"                     \
	"smtp { message-size-limit 25M timeout 90s sessions-per-address unlimited\n"                 \
	"  recipient-delimiter \"-\" }\nspool { size-limit none retry-min 90s }\n"                   \
	"metrics { address [::1]:9090 }\nlog { file /var/log/x level debug }\n"

static void
test_values(void **state)
{
	struct settings *s = parse_good(FULL);

	assert_true(str_eq(s->hostname, STR("mx.example.test")));
	assert_int_equal(s->n_domains, 3);
	assert_true(str_eq(s->domains[0], STR("example.test")));
	assert_true(str_eq(s->run_dir, STR("/var/lib/posthorn/run")));
	assert_int_equal(s->trust_proxy.n, 3);
	assert_int_equal(s->trust_proxy.v[2].prefix, 104);
	assert_int_equal(s->relay_from.n, 0);
	assert_int_equal(s->plaintext_auth_from.n, 2);
	assert_true(s->sandbox);
	assert_int_equal(s->n_tls, 2);
	assert_true(str_eq(s->tls[0].cert_file, STR("/c\"x.pem")));
	assert_true(str_eq(s->tls[1].key_file, STR("/both.pem")));
	assert_int_equal(s->n_listen, 8);
	assert_true(str_eq(s->listen[1].address, STR("::1")));
	assert_int_equal(s->listen[1].port, 10025);
	assert_int_equal(s->listen[1].tls, CONF_TLS_OPTIONAL);
	assert_false(s->listen[1].auth);
	assert_true(str_eq(s->listen[2].name, STR("inner")));
	assert_int_equal(s->listen[2].tls, CONF_TLS_OFF);
	assert_int_equal(s->listen[4].port, 465);
	assert_int_equal(s->listen[4].proto, CONF_SUBMISSION);
	assert_int_equal(s->listen[4].tls, CONF_TLS_IMPLICIT);
	assert_true(s->listen[4].auth);
	assert_int_equal(s->listen[6].tls, CONF_TLS_REQUIRED);
	assert_true(s->listen[6].proxy);
	assert_int_equal(s->message_size_limit, 25 << 20);
	assert_int_equal(s->imap_append_limit, 25 << 20);
	assert_int_equal(s->smtp_timeout_ms, 90000);
	assert_int_equal(s->smtp_sessions_per_address, 0);
	assert_int_equal(s->imap_sessions_per_user, 50);
	assert_true(str_eq(s->recipient_delimiter, STR("-")));
	assert_int_equal(s->password_cost, 5);
	assert_int_equal(s->queue_lifetime_ms, 432000000);
	settings_free(&s);
	assert_null(s);
}

static void
test_lists(void **state)
{
	struct settings *s = parse_good(BASE LOCAL "next-hop \"[a.example]:587\" { user u1 password geheim tls verify }\n"
	    "next-hop b { }\nnext-hop c { mechanism plain }\n"
	    "tls-policy .example.org { tls verify match x.example.org, y.example.org }\n");
	struct buf all = { 0 }, hidden = { 0 };

	assert_int_equal(s->n_next_hops, 3);
	assert_true(str_eq(s->next_hops[0].name, STR("[a.example]:587")));
	assert_true(str_eq(s->next_hops[0].password, STR("geheim")));
	assert_int_equal(s->next_hops[0].tls, 1 + CONF_RELAY_TLS_VERIFY);
	assert_int_equal(s->next_hops[1].tls, 0);
	assert_true(str_eq(s->next_hops[2].mechanism, STR("plain")));
	assert_int_equal(s->n_tls_policies, 1);
	assert_int_equal(s->tls_policies[0].n_match, 2);
	settings_text(s, CONF_FOR_ALL, &all);
	settings_text(s, 0, &hidden);
	assert_true(str_find(buf_view(&all), STR("password \"geheim\"")) > 0);
	assert_true(str_find(buf_view(&hidden), STR("geheim")) < 0);
	buf_done(&all);
	buf_done(&hidden);
	settings_free(&s);
}

/* Which block decides about TLS towards a server. */
static void
test_tls_choice(void **state)
{
	static const struct {
		const char *next_hop, *host, *source;
		enum conf_relay_tls level;
	} v[] = {
		{ "", "other.test", "settings", CONF_RELAY_TLS_DANE },
		{ "", "A.test", "tls-policy", CONF_RELAY_TLS_REQUIRED },
		{ "", "x.a.test", "tls-policy", CONF_RELAY_TLS_OFF },
		{ "", "x.y.a.test", "tls-policy", CONF_RELAY_TLS_OPTIONAL },
		{ "[out]:587", "out", "next-hop", CONF_RELAY_TLS_VERIFY },
		{ "[out]:25", "out", "settings", CONF_RELAY_TLS_DANE },
		{ "[own]:25", "a.test", "next-hop", CONF_RELAY_TLS_DANE_ONLY },
		{ "[pol]:587", "pol", "tls-policy", CONF_RELAY_TLS_OPTIONAL },
	};
	struct settings *s = parse_good(BASE LOCAL
	    "next-hop \"[out]:587\" { user u password p }\n"
	    "next-hop \"[own]:25\" { user u password p tls dane-only }\n"
	    "next-hop \"[pol]:587\" { user u password p }\n"
	    "tls-policy a.test { tls required }\ntls-policy .a.test { tls off }\n"
	    "tls-policy .y.a.test { tls optional }\ntls-policy \"[pol]:587\" { tls optional }\n");

	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		struct conf_tls_choice c = conf_tls_choose(s, str_c(v[i].next_hop), str_c(v[i].host));

		assert_string_equal(c.source, v[i].source);
		assert_int_equal(c.level, v[i].level);
	}
	settings_free(&s);
}

static void
test_shares(void **state)
{
	static const struct {
		const char *site;
		unsigned concurrency;
	} v[] = {
		{ "mx1.a.test,mx2.b.test", 2 }, { "MX2.B.test", 2 }, { "mx1.a.test", 3 },
		{ "x.y.a.test", 4 }, { "a.test", 0 }, { "mx.other.test", 0 }, { "", 0 },
		{ "[192.0.2.1]:25", 5 },
	};
	static const struct {
		const char *name;
		unsigned weight;
	} t[] = {
		{ "user1@example.test", 7 }, { "User1@example.test", 7 }, { "user2@example.test", 3 },
		{ "user1@sub.example.test", 0 }, { "192.0.2.1", 9 }, { "", 0 },
	};
	struct settings *s = parse_good(BASE LOCAL
	    "site .a.test { concurrency 3 }\nsite .y.a.test { concurrency 4 }\n"
	    "site mx2.b.test { concurrency 2 }\nsite \"[192.0.2.1]:25\" { concurrency 5 rate 60 }\n"
	    "tenant \"@example.test\" { weight 3 }\ntenant user1@example.test { weight 7 rate 10 }\n"
	    "tenant 192.0.2.1 { weight 9 }\n");

	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		const struct conf_site *c = conf_site_of(s, str_c(v[i].site));

		assert_int_equal(c ? c->concurrency : 0, v[i].concurrency);
	}
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		const struct conf_tenant *c = conf_tenant_of(s, str_c(t[i].name));

		assert_int_equal(c ? c->weight : 0, t[i].weight);
	}
	settings_free(&s);
}

static void
test_round_trip(void **state)
{
	static const char *const texts[] = { FULL, BASE, BASE LOCAL
	    "next-hop a { user u password p }\ntls-policy b { tls verify match c, d }\n", "config 1\nbase-dir /x\n" LOCAL };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct settings *s = parse_good(texts[i]), *again;
		struct buf one = { 0 }, two = { 0 };

		settings_text(s, CONF_FOR_ALL, &one);
		again = parse_good(buf_cstr(&one));
		settings_text(again, CONF_FOR_ALL, &two);
		assert_string_equal(buf_cstr(&one), buf_cstr(&two));
		assert_int_equal(s->n_listen, again->n_listen);
		assert_int_equal(s->listen[0].port, again->listen[0].port);
		settings_free(&s);
		settings_free(&again);
		buf_done(&one);
		buf_done(&two);
	}
}

static void
test_defaults_parse(void **state)
{
	for (size_t i = 0; i < conf_n_rows; i++) {
		const struct conf_row *row = &conf_rows[i];
		struct buf key = { 0 };

		assert_true(row->def || row->def_text);
		assert_true(row->help && row->since);
		conf_row_key(&key, row);
		assert_ptr_equal(conf_row_by_key(buf_view(&key)), row);
		assert_non_null(*row->block ? conf_block_find(str_c(row->block)) : (void *)row);
		buf_done(&key);
	}
}

static void
write_file(const char *dir, const char *name, const char *text, unsigned mode)
{
	char path[200];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
test_files(void **state)
{
	char dir[] = "/tmp/posthorn-conf-XXXXXX", path[200], cmd[200];
	struct arena *a = arena_new(0);
	struct conf_errors errors;
	struct settings *s;
	struct buf out = { 0 };

	assert_non_null(mkdtemp(dir));
	setenv("TEST_CONF_LEVEL", "debug", 1);
	write_file(dir, "posthorn.conf",
	    "config 1\nbase-dir .\ninclude \"conf.d/*.conf\"\ninclude more\n"
	    "log { level env TEST_CONF_LEVEL }\n" LOCAL, 0644);
	write_file(dir, "more", "hostname file \"name\"\ntls { certificate c.pem }\n", 0644);
	write_file(dir, "name", "a.example.test\n", 0640);
	snprintf(path, sizeof path, "%s/posthorn.conf", dir);
	s = settings_load(path, a, &errors);
	assert_non_null(s);
	assert_int_equal(errors.n, 0);
	assert_true(str_eq(s->base_dir, str_c(dir)));
	assert_true(str_eq(s->hostname, STR("a.example.test")));
	assert_true(str_eq(s->log_level, STR("debug")));
	snprintf(cmd, sizeof cmd, "%s/c.pem", dir);
	assert_true(str_eq(s->tls[0].cert_file, str_c(cmd)));
	settings_free(&s);

	write_file(dir, "name", "not a name\n", 0644);
	write_file(dir, "more", "include more\nhostname file \"name\"\n", 0644);
	s = settings_load(path, a, &errors);
	assert_null(s);
	assert_int_equal(errors.n, 10);
	assert_true(str_starts(errors.v[0].text, STR("files include each other too deeply")));
	conf_error_put(&out, &errors.v[2]);
	snprintf(path, sizeof path, "%s/more:2:10: error: 'not a name' is not a host name\n"
	    "    hostname file \"name\"\n             ^\n", dir);
	assert_string_equal(buf_cstr(&out), path);
	buf_done(&out);
	snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
	s = settings_load("/nonexistent/posthorn.conf", a, &errors);
	assert_null(s);
	assert_true(str_starts(errors.v[0].text, STR("cannot open '/nonexistent/posthorn.conf'")));
	arena_free(&a);
}

static void
test_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t want;
		const char *put;
	} sizes[] = { { "0", 0, "0" }, { "1", 1, "1" }, { "25M", 26214400, "25M" },
		{ "1024", 1024, "1K" }, { "1025B", 1025, "1025" }, { "3G", 3ull << 30, "3G" } },
	  times[] = { { "90s", 90000, "90s" }, { "60s", 60000, "1m" }, { "24h", 86400000, "1d" },
		  { "7d", 604800000, "1w" }, { "1500ms", 1500, "1500ms" } };
	struct buf b = { 0 };
	uint64_t v;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		assert_int_equal(conf_size_parse(str_c(sizes[i].text), &v), 0);
		assert_int_equal(v, sizes[i].want);
		buf_clear(&b);
		conf_size_put(&b, v);
		assert_string_equal(buf_cstr(&b), sizes[i].put);
	}
	for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
		assert_int_equal(conf_time_parse(str_c(times[i].text), &v), 0);
		assert_int_equal(v, times[i].want);
		buf_clear(&b);
		conf_time_put(&b, v);
		assert_string_equal(buf_cstr(&b), times[i].put);
	}
	assert_int_not_equal(conf_size_parse(STR("M"), &v), 0);
	assert_int_not_equal(conf_size_parse(STR("-1"), &v), 0);
	assert_int_not_equal(conf_time_parse(STR("1y"), &v), 0);
	buf_done(&b);
}

static void
test_nets(void **state)
{
	static const struct {
		const char *net, *addr;
		bool has;
	} t[] = { { "10.0.0.0/8", "10.255.0.1", true }, { "10.0.0.0/8", "11.0.0.0", false },
		{ "10.1.2.3", "10.1.2.3", true }, { "10.1.2.3", "10.1.2.2", false },
		{ "0.0.0.0/0", "8.8.8.8", true }, { "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "8.8.8.8", true }, { "2001:db8::/33", "2001:db8:7fff::", true },
		{ "2001:db8::/33", "2001:db8:8000::", false } };
	static const char *const wrong[] = { "", "/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "::/129",
		"x", "10.0.0.0/8/8", "10.0.0.1/31" };
	struct conf_net net, addr;
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct conf_nets nets = { &net, 1 };

		assert_int_equal(conf_net_parse(str_c(t[i].net), &net), 0);
		assert_int_equal(conf_net_parse(str_c(t[i].addr), &addr), 0);
		assert_int_equal(conf_nets_has(&nets, addr.addr), t[i].has);
		buf_clear(&b);
		conf_net_put(&b, &net);
		assert_string_equal(buf_cstr(&b), t[i].net);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_int_not_equal(conf_net_parse(str_c(wrong[i]), &net), 0);
	buf_done(&b);
}

/* Every cut of a good text and every byte of it replaced: an answer, never a crash. */
static void
test_cuts(void **state)
{
	struct buf b = { 0 };

	for (size_t n = 0; n <= strlen(FULL); n++) {
		struct arena *a = arena_new(0);
		struct conf_errors errors;
		struct settings *s = settings_parse(str_from(FULL, n), "t.conf", a, &errors);

		assert_true(s || errors.n);
		settings_free(&s);
		buf_clear(&b);
		buf_puts(&b, FULL);
		if (n < b.n)
			b.p[n] = "\"{}\n"[n % 4];
		s = settings_parse(buf_view(&b), "t.conf", a, &errors);
		assert_true(s || errors.n);
		settings_free(&s);
		arena_free(&a);
	}
	buf_done(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad), cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_values), cmocka_unit_test(test_lists),
		cmocka_unit_test(test_tls_choice),
		cmocka_unit_test(test_shares), cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_defaults_parse), cmocka_unit_test(test_files),
		cmocka_unit_test(test_units), cmocka_unit_test(test_nets), cmocka_unit_test(test_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
