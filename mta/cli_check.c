/*
 * `posthorn check`: whether this machine is fit for the configuration. Nothing is
 * changed. A finding is an error (the instance would not start or could lose its
 * promises) or a warning.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/client/control.h"
#include "mta/cli_private.h"
#include "mta/cli_tables.h"
#include "mta/master.h"
#include "mta/plugin_file.h"
#include "mta/resolver.h"

#define DAYS_LEFT 14
#define DNS_WAIT_MS 5000

struct check {
	struct cli *c;
	struct cli_table *table;
	unsigned errors, warnings;
};

static const struct cli_col cols[] = { { "result" }, { "what" }, { "text" } };

static void
row(struct check *k, const char *result, const char *what, struct str text)
{
	cli_cell(k->table, str_c(result));
	cli_cell(k->table, str_c(what));
	cli_cell(k->table, text);
}

static void
good(struct check *k, const char *what, struct str text)
{
	if (!k->c->quiet)
		row(k, "ok", what, text);
}

static void
warn(struct check *k, const char *what, struct str text)
{
	k->warnings++;
	row(k, "warning", what, text);
}

static void
wrong(struct check *k, const char *what, struct str text)
{
	k->errors++;
	row(k, "error", what, text);
}

/* Linux 5.8: the first whose syncfs reports every error. */
static void
check_kernel(struct check *k)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		warn(k, "kernel", STR("its version cannot be read"));
	else if (major < 5 || (major == 5 && minor < 8))
		wrong(k, "kernel", arena_printf(k->c->arena,
		    "%s is older than 5.8, whose syncfs reports all errors", u.release));
	else
		good(k, "kernel", str_c(arena_cstr(k->c->arena, str_c(u.release))));
}

/* A directory that exists must be writable and private; one that does not must be
 * possible to make. */
static void
check_dir(struct check *k, const char *what, struct str dir, bool private)
{
	const char *path = dir.p;
	char *parent = arena_cstr(k->c->arena, dir);
	struct stat st;

	if (stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			wrong(k, what, arena_printf(k->c->arena, "%s is not a directory", path));
		else if (access(path, R_OK | W_OK | X_OK))
			wrong(k, what, arena_printf(k->c->arena, "%s: %s", path, strerror(errno)));
		else if (private && st.st_mode & 007)
			warn(k, what, arena_printf(k->c->arena,
			    "every user of this machine may look into %s (chmod o= it)", path));
		else
			good(k, what, dir);
		return;
	}
	while (parent && stat(parent, &st) && strrchr(parent, '/') != parent)
		*strrchr(parent, '/') = 0;
	if (!parent || access(parent, W_OK | X_OK))
		wrong(k, what, arena_printf(k->c->arena, "%s does not exist and cannot be made", path));
	else
		good(k, what, arena_printf(k->c->arena, "%s will be made", path));
}

/* Started as root, each program becomes a system user of its own. */
static void
check_users(struct check *k)
{
	const struct settings *s = k->c->settings;
	unsigned missing = 0;
	enum role role;

	if (geteuid() || !s->user_prefix.n)
		return;
	for (size_t i = 0; (role = master_role(i)) != ROLE_MAX; i++) {
		const char *name = arena_printf(k->c->arena, "%.*s-%s", STR_ARG(s->user_prefix),
		    role_name(role)).p;

		if (getpwnam(name))
			continue;
		missing++;
		wrong(k, "system user", arena_printf(k->c->arena, "%s is missing: useradd --system "
		    "--user-group --no-create-home --home-dir / --shell /usr/sbin/nologin %s", name, name));
	}
	if (!missing)
		good(k, "system users", arena_printf(k->c->arena, "%.*s-*", STR_ARG(s->user_prefix)));
}

static void
check_file_systems(struct check *k)
{
	const struct settings *s = k->c->settings;
	struct stat root, spool, store;

	if (s->sandbox || stat("/", &root) || stat(s->spool_dir.p, &spool) ||
	    stat(s->store_dir.p, &store))
		return;
	if (spool.st_dev == root.st_dev)
		warn(k, "spool-dir", STR("shares the file system of /: others can fill it"));
	if (store.st_dev == root.st_dev)
		warn(k, "store-dir", STR("shares the file system of /: each sync writes what others wrote"));
	if (spool.st_dev == store.st_dev)
		warn(k, "store-dir", STR("shares a file system with the spool: their syncs wait for each other"));
}

static X509 *
read_certificate(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (f)
		fclose(f);
	return x;
}

static void
check_certificate(struct check *k, const struct conf_tls_pair *pair)
{
	const char *path = pair->cert_file.p;
	X509 *x = read_certificate(path);
	int days = 0, seconds = 0;

	if (!x) {
		wrong(k, "certificate", arena_printf(k->c->arena, "%s cannot be read: %s", path,
		    errno ? strerror(errno) : "it has no PEM certificate"));
		return;
	}
	ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x));
	X509_free(x);
	if (access(pair->key_file.p, R_OK))
		wrong(k, "key", arena_printf(k->c->arena, "%s: %s", pair->key_file.p, strerror(errno)));
	if (days < 0 || seconds < 0)
		wrong(k, "certificate", arena_printf(k->c->arena, "%s has expired", path));
	else if (days < DAYS_LEFT)
		warn(k, "certificate", arena_printf(k->c->arena, "%s expires in %d days", path, days));
	else
		good(k, "certificate", arena_printf(k->c->arena, "%s: %d days left", path, days));
}

/* Binds a listener's address: 0 or a negative errno value. */
static int
try_bind(const struct conf_listen *ls)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)ls->port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((uint16_t)ls->port) };
	bool v6 = inet_pton(AF_INET, ls->address.p, &four.sin_addr) != 1;
	int one = 1, r = 0, fd;

	if (v6 && inet_pton(AF_INET6, ls->address.p, &six.sin6_addr) != 1)
		return -EINVAL;
	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (v6 ? bind(fd, (struct sockaddr *)&six, sizeof six) :
	    bind(fd, (struct sockaddr *)&four, sizeof four))
		r = -errno;
	if (r == 0 && listen(fd, 1))
		r = -errno;
	close(fd);
	return r;
}

static void
check_ports(struct check *k)
{
	const struct settings *s = k->c->settings;
	struct control *c = NULL;
	struct err e;

	if (control_open(s, ROLE_MASTER, 0, &c, &e) == 0) {
		control_close(&c);
		good(k, "ports", STR("the instance is running and has them"));
		return;
	}
	for (size_t i = 0; i < s->n_listen; i++) {
		const struct conf_listen *ls = &s->listen[i];
		struct str where = arena_printf(k->c->arena, "%.*s port %u", STR_ARG(ls->address),
		    ls->port);
		int r = try_bind(ls);

		if (r)
			wrong(k, ls->name.p, arena_printf(k->c->arena, "%s: %s", where.p, strerror(-r)));
		else
			good(k, ls->name.p, where);
	}
}

/* ---- plugins ---- */

static void
check_plugins(struct check *k)
{
	for (size_t i = 0; i < k->c->settings->n_plugins; i++) {
		const struct conf_plugin *p = &k->c->settings->plugins[i];
		struct str path = plugin_file(p, k->c->arena);

		if (path.n && access(path.p, R_OK) == 0)
			good(k, "plugin", path);
		else
			wrong(k, "plugin", arena_printf(k->c->arena, "%.*s: %.*s: %s", STR_ARG(p->name),
			    STR_ARG(path), strerror(errno)));
	}
}

/* ---- the DNS ---- */

struct dns_found {
	bool come;
	struct dns_answer v; /* status and secure alone */
};

static void
dns_came(void *arg, const struct dns_answer *v)
{
	struct dns_found *f = arg;

	f->come = true;
	f->v.status = v->status;
	f->v.secure = v->secure;
}

/* Asks about the root, for a few seconds. */
static struct dns_found
ask_root(struct resolver *r, uint16_t type)
{
	struct dns_found f = { 0 };
	struct resolver_ask k = { .fn = dns_came, .arg = &f };
	struct pollfd p = { .fd = resolver_fd(r), .events = POLLIN };
	uint64_t end = clock_ms() + DNS_WAIT_MS, now;

	if (resolver_ask(r, &k, STR("."), type))
		return f;
	while (!f.come && (now = clock_ms()) < end)
		if (poll(&p, 1, (int)(end - now)) > 0)
			resolver_process(r);
	resolver_cancel(&k);
	return f;
}

static void
check_dns(struct check *k)
{
	struct str system[RESOLVER_SERVERS];
	struct resolver_list list = { system, 0 };
	struct resolver_spec spec;
	struct resolver *r;
	struct dns_found f = { 0 };
	struct err e;

	list.n = resolver_system_servers("/etc/resolv.conf", k->c->arena, system);
	resolver_root_keys();
	spec = resolver_spec_of(k->c->settings, list);
	spec.validate = false;
	r = resolver_new(&spec, &e);
	if (r)
		f = ask_root(r, DNS_NS);
	if (!r)
		wrong(k, "dns", str_c(arena_cstr(k->c->arena, str_c(e.text))));
	else if (!f.come || f.v.status == DNS_FAILED)
		warn(k, "dns", STR("no name server answers: mail for other domains waits"));
	else
		good(k, "dns", STR("name servers answer"));
	resolver_free(&r);
	if (!f.come || f.v.status == DNS_FAILED || spec.anchors.n ||
	    k->c->settings->dns_validate == CONF_VALIDATE_OFF)
		return;
	spec.validate = true;
	r = resolver_new(&spec, &e);
	if (r && !ask_root(r, DNS_DNSKEY).v.secure)
		warn(k, "dnssec", STR("the name servers do not hand on what validation takes: DANE is off"));
	resolver_free(&r);
}

static int
check(struct cli *c)
{
	struct check k = { .c = c };
	const struct settings *s;
	int r = cli_load_settings(c);

	if (r)
		return r;
	s = c->settings;
	k.table = cli_table_new(c, cols, 3);
	good(&k, "configuration", str_c(c->config_path));
	check_kernel(&k);
	check_dir(&k, "run-dir", s->run_dir, false);
	check_dir(&k, "spool-dir", s->spool_dir, true);
	check_dir(&k, "store-dir", s->store_dir, true);
	check_dir(&k, "directory-dir", s->dir_dir, true);
	check_users(&k);
	check_file_systems(&k);
	for (size_t i = 0; i < s->n_tls; i++)
		check_certificate(&k, &s->tls[i]);
	check_ports(&k);
	check_plugins(&k);
	check_dns(&k);
	cli_table_end(&k.table);
	cli_say(c, "%u errors, %u warnings", k.errors, k.warnings);
	return k.errors ? CLI_FAILED : CLI_OK;
}

const struct verb cli_check[] = {
	{ "check", NULL, "", "check the configuration and whether this machine is fit for it", NULL, check,
	    .flags = VERB_OPT_CONFIG,
	    .more = "Mistakes in the configuration end with status 2. Then follow directories and their\n"
		    "permissions, ports, certificates, the kernel and the file systems.",
	    .examples = "check\n-C ./sandbox check --json\n" },
	{ 0 },
};
