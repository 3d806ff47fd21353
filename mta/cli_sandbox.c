/*
 * `posthorn sandbox DIR`: a self-contained instance for tests and trials. All of
 * it stands under DIR; it runs without root, and any number may run side by side
 * with base ports of their own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/conf/table.h"
#include "mta/cli_private.h"
#include "mta/cli_tables.h"
#include "mta/plugin_file.h"
#include "mta/plugin_host.h"

#define CERT_DAYS 3650

struct sandbox {
	struct cli *c;
	char dir[PATH_MAX];
	unsigned base_port;
	const char *domain;
	bool proxy, ipv6;
	const char *dns; /* ADDRESS:PORT of a name server; NULL: the system's */
	bool plugins;    /* those that judge who sent a message */
};

static int
write_file(struct sandbox *sb, const char *name, struct str text, unsigned mode)
{
	const char *path = arena_printf(sb->c->arena, "%s/%s", sb->dir, name).p;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	ssize_t n = fd < 0 ? -1 : write(fd, text.p, text.n);
	int saved = errno;

	if (fd >= 0)
		close(fd);
	if (n == (ssize_t)text.n)
		return 0;
	return cli_fail(sb->c, CLI_FAILED, "cannot write %s: %s", path, strerror(saved));
}

/* ---- the certificate ---- */

static bool
add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = e && X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	return ok;
}

static X509 *
self_signed(EVP_PKEY *key, const char *sans)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_NAME_new();
	uint64_t serial = 0;
	bool ok = x && name && RAND_bytes((unsigned char *)&serial, sizeof serial) == 1;

	ok = ok && X509_set_version(x, 2) &&
	    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) &&
	    X509_gmtime_adj(X509_getm_notBefore(x), -3600) &&
	    X509_time_adj_ex(X509_getm_notAfter(x), CERT_DAYS, 0, NULL) &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
		-1, -1, 0) &&
	    X509_set_subject_name(x, name) && X509_set_issuer_name(x, name) &&
	    X509_set_pubkey(x, key) && add_extension(x, NID_basic_constraints, "critical,CA:TRUE") &&
	    add_extension(x, NID_key_usage, "digitalSignature,keyEncipherment,keyCertSign") &&
	    add_extension(x, NID_ext_key_usage, "serverAuth") &&
	    add_extension(x, NID_subject_key_identifier, "hash") &&
	    add_extension(x, NID_subject_alt_name, sans) && X509_sign(x, key, EVP_sha256());
	X509_NAME_free(name);
	if (ok)
		return x;
	X509_free(x);
	return NULL;
}

static struct str
bio_text(struct sandbox *sb, BIO *b)
{
	char *p = NULL;
	long n = BIO_get_mem_data(b, &p);
	struct str s = arena_dup(sb->c->arena, str_from(p, n > 0 ? (size_t)n : 0));

	BIO_free(b);
	return s;
}

static int
certificate(struct sandbox *sb)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	const char *sans = arena_printf(sb->c->arena,
	    "DNS:localhost,DNS:mail.%s,DNS:%s,IP:127.0.0.1,IP:::1", sb->domain, sb->domain).p;
	X509 *x = key && sans ? self_signed(key, sans) : NULL;
	BIO *cert = BIO_new(BIO_s_mem()), *pkey = BIO_new(BIO_s_mem());
	bool ok = x && cert && pkey && PEM_write_bio_X509(cert, x) &&
	    PEM_write_bio_PrivateKey(pkey, key, NULL, NULL, 0, NULL, NULL);
	struct str cert_pem = bio_text(sb, cert), key_pem = bio_text(sb, pkey);
	int r;

	X509_free(x);
	EVP_PKEY_free(key);
	if (!ok)
		return cli_fail(sb->c, CLI_FAILED, "cannot make a certificate");
	r = write_file(sb, "cert.pem", cert_pem, 0644);
	return r ? r : write_file(sb, "key.pem", key_pem, 0600);
}

/* ---- the configuration ---- */

/* Whether ::1 can be bound here. */
static bool
has_ipv6(void)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static void
config_text(struct sandbox *sb, struct buf *b)
{
	buf_printf(b,
	    "# A sandbox: everything of this instance stands in the folder of this file.\n"
	    "# Start it with: posthorn -C %s start\n"
	    "config 1\n"
	    "sandbox on\n"
	    "hostname mail.%s\n"
	    "domain %s\n"
	    "base-dir .\n"
	    "user-prefix \"\"\n"
	    "trust-proxy 127.0.0.0/8, ::1\n"
	    "relay-from none\n"
	    "plaintext-auth-from 127.0.0.0/8, ::1\n"
	    "log { file log/posthorn.log }\n"
	    "metrics { address ./run/metrics }\n"
	    "spool { segment-size 16M min-free 64M }\n"
	    "smtp { sessions unlimited sessions-per-address unlimited }\n"
	    "imap { sessions unlimited sessions-per-user unlimited }\n"
	    "tls { certificate cert.pem key key.pem }\n", sb->dir, sb->domain, sb->domain);
	if (sb->dns)
		buf_printf(b, "dns { server \"%s\" validate off }\n", sb->dns);
	for (size_t i = 0; i < conf_n_listen_kinds; i++) {
		const struct conf_listen_kind *k = &conf_listen_kinds[i];

		buf_printf(b, "listen %s { address 127.0.0.1%s port %u%s }\n", k->name,
		    sb->ipv6 ? ", ::1" : "", sb->base_port + k->port, sb->proxy ? " proxy on" : "");
	}
}

static bool
has_mark(const struct plugin *p)
{
	for (size_t i = 0; i < p->n_options; i++)
		if (!strcmp(p->options[i].name, "mode") && p->options[i].words &&
		    str_find(str_c(p->options[i].words), STR("mark")) >= 0)
			return true;
	return false;
}

/* A block with what the plugin asks for, but for making connections and files. */
static void
put_plugin(struct sandbox *sb, const char *name, struct buf *b)
{
	struct arena *a = sb->c->arena;
	struct str path = plugin_file_shipped(arena_printf(a, "%s.so", name), a);
	struct plugin *p;
	struct err e;

	if (!path.n || plugin_open(path.p, &p, &e))
		return;
	buf_printf(b, "plugin %s {\n\tfile \"%s\"\n", name, path.p);
	if ((p->d.wants | p->d.may_use) & (PH_CAP_DNS | PH_CAP_HEADERS)) {
		buf_puts(b, "\tgrant ");
		plugin_caps_put(b, (p->d.wants | p->d.may_use) & (PH_CAP_DNS | PH_CAP_HEADERS));
		buf_puts(b, "\n");
	}
	buf_printf(b, "%s}\n", has_mark(p) ? "\tmode mark\n" : "");
	plugin_close(&p);
}

static void
put_plugins(struct sandbox *sb, struct buf *b)
{
	static const char *const names[] = { "spf", "dkim", "arc", "dmarc" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		put_plugin(sb, names[i], b);
}

static int
make_dirs(struct sandbox *sb)
{
	static const char *const dirs[] = { "run", "spool", "store", "directory", "log" };

	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
		const char *path = arena_printf(sb->c->arena, "%s/%s", sb->dir, dirs[i]).p;

		if (mkdir(path, 0700) && errno != EEXIST)
			return cli_fail(sb->c, CLI_FAILED, "cannot make %s: %s", path, strerror(errno));
	}
	return 0;
}

static void
report(struct sandbox *sb)
{
	struct json *j;

	cli_say(sb->c, "a sandbox for %s is in %s; start it with", sb->domain, sb->dir);
	cli_say(sb->c, "    posthorn -C %s start", sb->dir);
	if (!sb->c->json)
		return;
	j = cli_json(sb->c);
	json_object(j);
	json_key(j, "directory");
	json_str(j, str_c(sb->dir));
	json_key(j, "domain");
	json_str(j, str_c(sb->domain));
	json_key(j, "ports");
	json_object(j);
	for (size_t i = 0; i < conf_n_listen_kinds; i++) {
		json_key(j, conf_listen_kinds[i].name);
		json_u64(j, sb->base_port + conf_listen_kinds[i].port);
	}
	json_end(j);
	json_end(j);
	cli_json_end(sb->c);
}

/* The absolute path of the directory, made if need be; it must not hold an
 * instance already. */
static int
open_dir(struct sandbox *sb)
{
	const char *given = sb->c->args[0];

	if (mkdir(given, 0700) && errno != EEXIST)
		return cli_fail(sb->c, CLI_FAILED, "cannot make %s: %s", given, strerror(errno));
	if (!realpath(given, sb->dir))
		return cli_fail(sb->c, CLI_FAILED, "cannot use %s: %s", given, strerror(errno));
	if (strlen(sb->dir) > 76)
		return cli_fail(sb->c, CLI_USAGE,
		    "the path %s is too long for UNIX sockets (at most 76 bytes)", sb->dir);
	return 0;
}

static int
sandbox(struct cli *c)
{
	struct sandbox sb = { .c = c, .ipv6 = has_ipv6(), .proxy = cli_flag(c, "proxy"),
		.dns = cli_opt(c, "dns"), .plugins = cli_opt(c, "dns") && !cli_flag(c, "no-plugins"),
		.domain = cli_opt(c, "domain") ? cli_opt(c, "domain") : "example.test" };
	uint64_t base = cli_opt_u64(c, "base-port", 10000);
	struct buf b = { 0 };
	int r;

	if (base < 1000 || base > 64000)
		return cli_fail(c, CLI_USAGE, "--base-port must be between 1000 and 64000");
	if (!conf_is_name(str_c(sb.domain)))
		return cli_fail(c, CLI_USAGE, "'%s' is not a domain name", sb.domain);
	if (sb.dns && !conf_is_server(str_c(sb.dns)))
		return cli_fail(c, CLI_USAGE, "--dns: '%s' is not ADDRESS:PORT", sb.dns);
	sb.base_port = (unsigned)base;
	r = open_dir(&sb);
	if (r)
		return r;
	if (access(arena_printf(c->arena, "%s/posthorn.conf", sb.dir).p, F_OK) == 0) {
		cli_say(c, "%s has an instance already; nothing was changed", sb.dir);
		if (c->json)
			report(&sb);
		return CLI_OK;
	}
	r = make_dirs(&sb);
	if (r == 0)
		r = certificate(&sb);
	config_text(&sb, &b);
	if (sb.plugins)
		put_plugins(&sb, &b);
	if (r == 0)
		r = write_file(&sb, "posthorn.conf", buf_view(&b), 0644);
	buf_done(&b);
	if (r == 0)
		report(&sb);
	return r;
}

static const struct cli_opt sandbox_opts[] = {
	{ "base-port", OPT_NUMBER, "N", "listen on N + the well-known ports (default 10000)" },
	{ "proxy", OPT_FLAG, NULL, "expect the PROXY protocol on every port" },
	{ "domain", OPT_STRING, "D", "the domain that is served (default example.test)" },
	{ "dns", OPT_STRING, "ADDRESS:PORT", "a name server of the sandbox's own, without DNSSEC" },
	{ "no-plugins", OPT_FLAG, NULL, "with --dns: without spf, dkim, arc and dmarc" },
	{ 0 },
};

const struct verb cli_sandbox[] = {
	{ "sandbox", NULL, "DIR", "make a self-contained instance for tests and trials", sandbox_opts,
	    sandbox, .flags = VERB_NO_CONFIG,
	    .more = "The instance listens on loopback addresses, needs no root, and has no accounts until\n"
		    "`posthorn -C DIR user add` adds some. Where DIR holds an instance, nothing is changed.",
	    .examples = "sandbox ./sandbox\nsandbox /tmp/two --base-port 20000\n" },
	{ 0 },
};
