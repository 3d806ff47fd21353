/*
 * posthorn tls: what our own domains should publish, so that other servers can rely on
 * encryption (MTA-STS, RFC 8461; DANE, RFC 7672; TLSRPT, RFC 8460), and what is known of others.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "lib/base/text.h"
#include "lib/client/control.h"
#include "lib/client/sts.h"
#include "lib/client/tls_seen.h"
#include "mta/cli_tables.h"

#define ANSWER_MS (180 * 1000u)
#define ID_HEX 20
#define MX_MAX 16
#define CHAIN_MAX 10
#define DAY_MS (24ull * 3600 * 1000)

/* ---- tls print ---- */

/* What is printed for one domain. */
struct advice {
	struct cli *c;
	struct str domain;
	struct str mx[MX_MAX];
	size_t n_mx;
	struct sts_policy policy;
	struct json *json;      /* or NULL */
};

static void
record(struct advice *v, struct str name, const char *type, struct str data)
{
	struct json *j = v->json;

	if (!j) {
		cli_say(v->c, "%.*s. IN %s %.*s", STR_ARG(name), type, STR_ARG(data));
		return;
	}
	json_object(j);
	json_key(j, "name");
	json_str(j, name);
	json_key(j, "type");
	json_str(j, str_c(type));
	json_key(j, "data");
	json_str(j, data);
	json_end(j);
}

/* The id changes with the policy, and with nothing else. */
static void
sts_record(struct advice *v, struct str text)
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	struct buf id = { 0 };

	SHA256((const unsigned char *)text.p, text.n, sum);
	hex_put(&id, str_from(sum, ID_HEX / 2));
	record(v, arena_printf(v->c->arena, "_mta-sts.%.*s", STR_ARG(v->domain)), "TXT",
	    arena_printf(v->c->arena, "\"v=STSv1; id=%.*s;\"", STR_ARG(buf_view(&id))));
	buf_done(&id);
}

static void
report_record(struct advice *v)
{
	const char *to = cli_opt(v->c, "report-to");
	struct str uri = to ? str_c(to) :
	    arena_printf(v->c->arena, "mailto:postmaster@%.*s", STR_ARG(v->domain));

	record(v, arena_printf(v->c->arena, "_smtp._tls.%.*s", STR_ARG(v->domain)), "TXT",
	    arena_printf(v->c->arena, "\"v=TLSRPTv1; rua=%.*s\"", STR_ARG(uri)));
}

/* "3 1 1 HEX" or "2 1 1 HEX": the SHA-256 of the certificate's public key. */
static void
tlsa_record(struct advice *v, struct str host, unsigned usage, X509 *x)
{
	unsigned char *der = NULL, sum[SHA256_DIGEST_LENGTH];
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	struct buf b = { 0 };

	if (n <= 0)
		return;
	SHA256(der, (size_t)n, sum);
	OPENSSL_free(der);
	buf_printf(&b, "%u 1 1 ", usage);
	hex_put(&b, str_from(sum, sizeof sum));
	record(v, arena_printf(v->c->arena, "_25._tcp.%.*s", STR_ARG(host)), "TLSA", buf_view(&b));
	buf_done(&b);
}

/* The certificates of a PEM file, the server's own first; they are the caller's. */
static size_t
read_chain(const char *path, X509 *ret[static CHAIN_MAX])
{
	FILE *f = fopen(path, "re");
	size_t n = 0;

	while (f && n < CHAIN_MAX && (ret[n] = PEM_read_X509(f, NULL, NULL, NULL)))
		n++;
	if (f)
		fclose(f);
	return n;
}

/* 3 1 1 of the server's certificate, 2 1 1 of the authorities that stand behind it in the file.
 * Whether the certificate is for this host. */
static bool
tlsa_of_file(struct advice *v, struct str host, const char *path)
{
	X509 *chain[CHAIN_MAX];
	size_t n = read_chain(path, chain);
	bool fits = n && X509_check_host(chain[0], host.p, host.n, 0, NULL) == 1;

	if (fits)
		tlsa_record(v, host, 3, chain[0]);
	for (size_t i = 1; fits && i < n; i++)
		if (X509_check_ca(chain[i]) > 0)
			tlsa_record(v, host, 2, chain[i]);
	for (size_t i = 0; i < n; i++)
		X509_free(chain[i]);
	return fits;
}

static void
tlsa_records(struct advice *v)
{
	const struct settings *s = v->c->settings;

	for (size_t i = 0; i < v->n_mx; i++) {
		bool any = false;

		for (size_t k = 0; k < s->n_tls; k++)
			any |= tlsa_of_file(v, v->mx[i], arena_cstr(v->c->arena, s->tls[k].cert_file));
		if (!any)
			fprintf(stderr, "posthorn: no certificate of the configuration is for %.*s\n",
			    STR_ARG(v->mx[i]));
	}
}

static void
show_policy(struct advice *v, struct str text)
{
	struct json *j = v->json;
	struct str url = arena_printf(v->c->arena, "https://mta-sts.%.*s/.well-known/mta-sts.txt",
	    STR_ARG(v->domain));

	if (!j) {
		cli_say(v->c, "; %.*s", STR_ARG(url));
		while (text.n) {
			struct str line = str_cut(&text, '\n');

			cli_say(v->c, "%.*s", STR_ARG(line));
		}
		return;
	}
	json_key(j, "url");
	json_str(j, url);
	json_key(j, "policy");
	json_str(j, text);
}

static void
print_domain(struct advice *v)
{
	struct json *j = v->json;
	struct buf text = { 0 };

	sts_policy_put(&text, &v->policy, "\n");
	if (j) {
		json_object(j);
		json_key(j, "domain");
		json_str(j, v->domain);
		json_key(j, "records");
		json_array(j);
	}
	sts_record(v, buf_view(&text));
	report_record(v);
	tlsa_records(v);
	if (j)
		json_end(j);
	show_policy(v, buf_view(&text));
	if (j)
		json_end(j);
	buf_done(&text);
}

static void
fill(struct advice *v)
{
	const char *host, *mode = cli_opt(v->c, "mode");

	while (v->n_mx < MX_MAX && (host = cli_opt_nth(v->c, "mx", v->n_mx)))
		v->mx[v->n_mx++] = arena_lower(v->c->arena, str_c(host));
	if (!v->n_mx)
		v->mx[v->n_mx++] = arena_lower(v->c->arena, v->c->settings->hostname);
	v->policy = (struct sts_policy){ .mode = STS_MODE_TESTING, .mx = v->mx, .n_mx = v->n_mx };
	for (enum sts_mode m = STS_MODE_NONE; mode && m <= STS_MODE_ENFORCE; m++)
		if (!strcmp(mode, sts_mode_name(m)))
			v->policy.mode = m;
	v->policy.max_age = (uint32_t)(cli_opt_u64(v->c, "max-age", 7 * DAY_MS) / 1000);
	if (v->policy.max_age > STS_MAX_AGE)
		v->policy.max_age = STS_MAX_AGE;
}

static int
tls_print(struct cli *c)
{
	const struct settings *s = c->settings;
	struct advice v = { .c = c };

	if (!c->n_args && !s->n_domains)
		return cli_fail(c, CLI_USAGE, "the configuration names no domain: name one");
	fill(&v);
	v.json = c->json ? cli_json(c) : NULL;
	if (v.json)
		json_array(v.json);
	for (size_t i = 0; i < (c->n_args ? c->n_args : s->n_domains); i++) {
		v.domain = arena_lower(c->arena, c->n_args ? str_c(c->args[i]) : s->domains[i]);
		print_domain(&v);
	}
	if (v.json) {
		json_end(v.json);
		cli_json_end(c);
	}
	return CLI_OK;
}

/* ---- what the instance knows ---- */

static int
call(struct cli *c, enum role role, uint16_t type, const struct buf *b, struct frame *ret)
{
	struct control *ctl = NULL;
	struct err e = { 0 };
	int r = control_open(c->settings, role, 0, &ctl, &e);

	if (!r)
		r = control_call(ctl, type, b, -1, ANSWER_MS, c->arena, ret, &e);
	control_close(&ctl);
	return r ? cli_fail_err(c, r, &e) : CLI_OK;
}

static void
policy_json(struct cli *c, const struct sts_answer *v)
{
	struct json *j = cli_json(c);

	json_object(j);
	json_key(j, "mode");
	if (v->found)
		json_str(j, str_c(sts_mode_name(v->policy.mode)));
	else
		json_null(j);
	json_key(j, "id");
	json_str(j, v->id);
	json_key(j, "max_age");
	json_u64(j, v->policy.max_age);
	json_key(j, "mx");
	json_array(j);
	for (size_t i = 0; i < v->policy.n_mx; i++)
		json_str(j, v->policy.mx[i]);
	json_end(j);
	json_key(j, "fault");
	json_str(j, v->why);
	json_end(j);
	cli_json_end(c);
}

static int
tls_policy(struct cli *c)
{
	struct str domain = arena_lower(c->arena, str_c(c->args[0]));
	struct sts_answer v;
	struct buf b = { 0 }, text = { 0 };
	struct frame f;
	int r;

	sts_question_put(&b, domain);
	r = call(c, ROLE_FETCHD, MSG_FETCH_STS, &b, &f);
	buf_done(&b);
	if (r)
		return r;
	if (sts_answer_get(f.body, c->arena, &v))
		return cli_fail(c, CLI_FAILED, "fetchd's answer cannot be read");
	if (c->json) {
		policy_json(c, &v);
		return CLI_OK;
	}
	if (v.fault)
		cli_say(c, "no policy could be fetched: %.*s", STR_ARG(v.why));
	if (v.found) {
		sts_policy_put(&text, &v.policy, "\n");
		cli_say(c, "id: %.*s\n%.*s", STR_ARG(v.id), (int)text.n - 1, text.p);
	} else if (!v.fault) {
		cli_say(c, "%.*s has no MTA-STS policy", STR_ARG(domain));
	}
	buf_done(&text);
	return CLI_OK;
}

static int
tls_report(struct cli *c)
{
	struct buf none = { 0 };
	struct frame f;
	int r;

	if (!c->settings->tls_report)
		return cli_fail(c, CLI_FAILED, "tls-report.send is off: nothing is counted");
	r = call(c, ROLE_REPORTD, MSG_TLS_REPORT_NOW, &none, &f);
	if (!r)
		cli_say(c, "the reports are on their way; the log tells (tlsrpt.report)");
	return r;
}

static const struct cli_opt print_opts[] = {
	{ "mode", OPT_CHOICE, "testing|enforce|none", "of the policy; testing" },
	{ "mx", OPT_STRING, "HOST", "a mail server of the domains, may be given several times; hostname" },
	{ "max-age", OPT_TIME, "TIME", "how long others keep the policy; 7d" },
	{ "report-to", OPT_STRING, "URI", "where reports shall go; mailto:postmaster@DOMAIN" },
	{ 0 },
};

const struct verb cli_tls[] = {
	{ "tls", "print", "[DOMAIN...]", "print the DNS records and the policy that our domains should publish",
	    print_opts, tls_print,
	    .more = "Without DOMAIN for those of the configuration. The policy is to be served under the URL\n"
		    "shown, by a web server with a certificate for that name. TLSA records are those of the\n"
		    "certificates of the configuration (3 1 1), and of the authorities in their files (2 1 1);\n"
		    "publish them only in a zone that is signed.",
	    .examples = "tls print example.test --mode enforce --mx mx1.example.test\n" },
	{ "tls", "policy", "DOMAIN", "show the MTA-STS policy of another domain, as the instance knows it", NULL,
	    tls_policy, .examples = "tls policy example.test\n" },
	{ "tls", "report", "", "send the TLS reports at once, of today so far too", NULL, tls_report,
	    .examples = "tls report\n" },
	{ 0 },
};
