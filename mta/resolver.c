/*
 * libunbound behind an interface of the house; see resolver.h.
 *
 * The library is used with its own thread (ub_ctx_async with 1): ub_resolve_async hands a
 * question to it through a pipe, and what it found waits behind ub_fd until ub_process
 * calls back. Everything that needs a file is read before the first question, since by
 * then there are no files: the library opens its files when a context is made final,
 * which adding a record does.
 */
#include "mta/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>
#include <unistd.h>

#include "lib/base/map.h"
#include "lib/client/dns_rdata.h"

#define ROOT_KEYS "/usr/share/dns/root.ds" /* Debian's package dns-root-data */
#define CONF_MAX 65536
#define NEGATIVE_TTL_MAX 3600 /* as the library keeps them */

struct resolver {
	struct ub_ctx *ctx;
	struct strmap own;    /* names that have a record of the configuration */
	struct str *zones;    /* lower case, without final dots */
	size_t n_zones;
	struct arena *arena;
	unsigned waiting;
};

/* The keys that the root has been signed with since 2017 and 2024. */
static const char *const root_keys[] = {
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

static char system_keys[4096]; /* lines of ROOT_KEYS; empty: there is no such file */

/* Bounds, times, and what a library that serves a whole house needs changed. */
static const struct { const char *option, *value; } options[] = {
	{ "outgoing-range:", "256" },           /* sockets */
	{ "outgoing-num-tcp:", "32" },
	{ "num-queries-per-thread:", "4096" },
	{ "msg-cache-size:", "16m" }, { "rrset-cache-size:", "32m" }, { "key-cache-size:", "4m" },
	{ "cache-max-ttl:", "86400" }, { "cache-min-ttl:", "0" }, { "cache-max-negative-ttl:", "3600" }, /* NEGATIVE_TTL_MAX */
	{ "serve-expired:", "no" },
	{ "infra-host-ttl:", "30" },            /* a server that was down is tried again soon */
	{ "infra-keep-probing:", "yes" },
	{ "do-not-query-localhost:", "no" },    /* a server of this machine is a server */
	{ "unblock-lan-zones:", "yes" }, { "insecure-lan-zones:", "yes" },
	{ "rrset-roundrobin:", "no" },
	{ "val-clean-additional:", "yes" },
};

/* Names that the library would answer by itself and that are the servers' business. */
static const char *const forwarded[] = { "test.", "home.arpa.", "127.in-addr.arpa.",
	"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa." };

struct resolver_spec
resolver_spec_of(const struct settings *s, struct resolver_list servers)
{
	return (struct resolver_spec){
		.servers = s->n_dns_servers ? (struct resolver_list){ s->dns_servers, s->n_dns_servers } :
		    servers,
		.anchors = { s->dns_anchors, s->n_dns_anchors },
		.records = { s->dns_records, s->n_dns_records },
		.zones = { s->dns_zones, s->n_dns_zones },
		.validate = s->dns_validate != CONF_VALIDATE_OFF,
	};
}

/* ---- setting up ---- */

void
resolver_root_keys(void)
{
	int fd = open(ROOT_KEYS, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, system_keys, sizeof system_keys - 1);

	system_keys[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

static int
failed(struct err *e, int code, const char *what, struct str text)
{
	return err_set(e, code == UB_NOMEM ? -ENOMEM : -EINVAL, "%s '%.*s' cannot be used: %s", what,
	    STR_ARG(str_head(text, 120)), ub_strerror(code));
}

static int
set_options(struct resolver *r, struct err *e)
{
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		int code = ub_ctx_set_option(r->ctx, options[i].option, options[i].value);

		if (code)
			return failed(e, code, "option", str_c(options[i].option));
	}
	ub_ctx_debugout(r->ctx, NULL);
	ub_ctx_debuglevel(r->ctx, 0);
	return ub_ctx_async(r->ctx, 1) ? err_set(e, -EINVAL, "the resolver has no threads") : 0;
}

/* "192.0.2.53:53" as the library writes it, "192.0.2.53@53". */
static int
add_server(struct resolver *r, struct str server, struct err *e)
{
	ptrdiff_t colon = str_rchr(server, ':');
	struct str addr = str_head(server, colon > 0 ? (size_t)colon : 0);
	char text[96];
	int code;

	if (addr.n > 2 && addr.p[0] == '[')
		addr = str_from(addr.p + 1, addr.n - 2);
	snprintf(text, sizeof text, "%.*s@%.*s", STR_ARG(addr), STR_ARG(str_skip(server, (size_t)colon + 1)));
	code = ub_ctx_set_fwd(r->ctx, text);
	return code ? failed(e, code, "server", server) : 0;
}

static int
add_anchor(struct resolver *r, struct str anchor, struct err *e)
{
	const char *c = arena_cstr(r->arena, anchor);
	int code = c ? ub_ctx_add_ta(r->ctx, c) : UB_NOMEM;

	return code ? failed(e, code, "trust anchor", anchor) : 0;
}

static int
add_root(struct resolver *r, struct err *e)
{
	struct str rest = str_c(*system_keys ? system_keys : NULL);
	int code = 0;
	bool any = false;

	while (rest.p && !code) {
		struct str line = str_trim(str_cut(&rest, '\n'));

		if (!line.n || *line.p == ';')
			continue;
		code = add_anchor(r, line, e);
		any = true;
	}
	for (size_t i = 0; i < 2 && !any && !code; i++)
		code = add_anchor(r, str_c(root_keys[i]), e);
	return code;
}

/* Lower case, without a final dot. */
static struct str
plain(struct arena *a, struct str name)
{
	struct str copy = arena_dup(a, name.n > 1 && name.p[name.n - 1] == '.' ?
	    str_head(name, name.n - 1) : name);

	for (size_t i = 0; i < copy.n; i++)
		((char *)copy.p)[i] = ascii_lower(copy.p[i]);
	return copy;
}

static int
add_zone(struct resolver *r, struct str zone, struct err *e)
{
	struct str name = arena_printf(r->arena, "%.*s.", STR_ARG(zone));
	int code = name.p ? ub_ctx_zone_add(r->ctx, name.p, "static") : UB_NOMEM;

	if (code)
		return failed(e, code, "zone", zone);
	r->zones[r->n_zones] = plain(r->arena, zone);
	return r->zones[r->n_zones++].p ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int
add_record(struct resolver *r, struct str record, struct err *e)
{
	const char *c = arena_cstr(r->arena, record);
	struct str rest = record, name = plain(r->arena, str_word(&rest));
	int code = c && name.p ? ub_ctx_data_add(r->ctx, c) : UB_NOMEM;

	if (str_ifind(record, STR(" CNAME ")) >= 0)
		return err_set(e, -EINVAL, "record '%.*s' cannot be used: a CNAME would not be followed",
		    STR_ARG(str_head(record, 120)));
	if (!code && strmap_set(&r->own, name, r))
		code = UB_NOMEM;
	return code ? failed(e, code, "record", record) : 0;
}

static int
add_each(struct resolver *r, struct resolver_list list,
    int (*add)(struct resolver *, struct str, struct err *), struct err *e)
{
	int code = 0;

	for (size_t i = 0; i < list.n && !code; i++)
		code = add(r, list.v[i], e);
	return code;
}

static int
set_up(struct resolver *r, const struct resolver_spec *spec, struct err *e)
{
	int code = set_options(r, e);

	if (!code)
		code = add_each(r, spec->servers, add_server, e);
	if (!code && spec->validate)
		code = spec->anchors.n ? add_each(r, spec->anchors, add_anchor, e) : add_root(r, e);
	/* from here on the context is final */
	for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded && !code; i++)
		if (ub_ctx_zone_remove(r->ctx, forwarded[i]))
			code = err_set(e, -EINVAL, "the resolver cannot be set up");
	if (!code)
		code = add_each(r, spec->zones, add_zone, e);
	if (!code)
		code = add_each(r, spec->records, add_record, e);
	return code;
}

struct resolver *
resolver_new(const struct resolver_spec *spec, struct err *e)
{
	struct resolver *r = calloc(1, sizeof *r);

	if (r) {
		r->arena = arena_new(0);
		r->ctx = ub_ctx_create();
		r->zones = calloc(spec->zones.n + 1, sizeof *r->zones);
	}
	if (!r || !r->arena || !r->ctx || !r->zones) {
		err_set(e, -ENOMEM, "out of memory");
		resolver_free(&r);
	} else if (set_up(r, spec, e)) {
		resolver_free(&r);
	}
	return r;
}

void
resolver_free(struct resolver **r)
{
	if (!*r)
		return;
	if ((*r)->ctx)
		ub_ctx_delete((*r)->ctx);
	strmap_done(&(*r)->own);
	free((*r)->zones);
	arena_free(&(*r)->arena);
	free(*r);
	*r = NULL;
}

int
resolver_fd(const struct resolver *r)
{
	return ub_fd(r->ctx);
}

void
resolver_process(struct resolver *r)
{
	ub_process(r->ctx);
}

unsigned
resolver_waiting(const struct resolver *r)
{
	return r->waiting;
}

/* ---- questions ---- */

/* Whether the answer about this name is the configuration's alone. */
static bool
is_own(const struct resolver *r, struct str name)
{
	if (strmap_get(&r->own, name))
		return true;
	for (size_t i = 0; i < r->n_zones; i++) {
		struct str z = r->zones[i];

		if (str_eq(name, z) || (name.n > z.n && str_ends(name, z) &&
		    name.p[name.n - z.n - 1] == '.'))
			return true;
	}
	return false;
}

static enum dns_status
status_of(const struct ub_result *u)
{
	if (u->bogus)
		return DNS_BOGUS;
	if (u->rcode == 3)
		return DNS_NXDOMAIN;
	if (u->rcode != 0)
		return DNS_FAILED;
	return u->havedata ? DNS_OK : DNS_NODATA;
}

static const char *
why_of(const struct ub_result *u)
{
	static const char *const rcodes[] = { [1] = "FORMERR", [2] = "SERVFAIL", [4] = "NOTIMP",
		[5] = "REFUSED" };

	if (u->bogus)
		return u->why_bogus ? u->why_bogus : "the answer does not pass its DNSSEC check";
	if (u->rcode > 0 && u->rcode < 6 && rcodes[u->rcode])
		return rcodes[u->rcode];
	return u->rcode ? "an error answer" : "";
}

static void
records_of(const struct ub_result *u, struct arena *a, struct dns_answer *v)
{
	size_t n = 0;

	while (n < DNS_RECORDS_MAX && u->data[n])
		n++;
	v->rdata = ARENA_ARRAY(a, struct str, n + 1);
	for (; v->rdata && v->n < n; v->n++)
		v->rdata[v->n] = str_from(u->data[v->n], (size_t)u->len[v->n]);
}

static uint32_t
ttl_of(const struct ub_result *u, uint32_t max)
{
	return u->ttl <= 0 ? 0 : (uint32_t)u->ttl < max ? (uint32_t)u->ttl : max;
}

static struct dns_answer
answer_of(const struct resolver *r, const struct ub_result *u, struct arena *a)
{
	struct str name = plain(a, str_c(u->qname));
	struct dns_answer v = { .status = status_of(u), .secure = u->secure && !u->bogus };

	v.canonical = u->canonname && *u->canonname ? plain(a, str_c(u->canonname)) : name;
	if (v.status >= DNS_FAILED) {
		v.secure = false;
		v.why = str_c(why_of(u));
		return v;
	}
	v.secure |= is_own(r, name);
	v.ttl = ttl_of(u, v.status == DNS_OK ? DNS_TTL_MAX : NEGATIVE_TTL_MAX);
	if (v.status == DNS_OK)
		records_of(u, a, &v);
	if (v.status == DNS_OK && !v.n)
		v = (struct dns_answer){ .status = DNS_FAILED, .canonical = name, .why = STR("out of memory") };
	return v;
}

static void
ask_end(struct resolver_ask *k, const struct dns_answer *v)
{
	k->waiting = false;
	k->r->waiting--;
	k->fn(k->arg, v);
}

/* The library has found something out. */
static void
answered(void *arg, int code, struct ub_result *u)
{
	struct resolver_ask *k = arg;
	struct arena *a = arena_new(0);
	struct dns_answer v = { .status = DNS_FAILED, .why = STR("out of memory") };

	if (code || !u)
		v.why = str_c(ub_strerror(code));
	else if (a)
		v = answer_of(k->r, u, a);
	ask_end(k, &v);
	arena_free(&a);
	ub_resolve_free(u);
}

int
resolver_ask(struct resolver *r, struct resolver_ask *k, struct str name, uint16_t type)
{
	struct buf b = { .max = DNS_NAME_MAX + 2 };
	int code;

	if (dns_name_put(&b, name)) {
		buf_done(&b);
		return -EINVAL;
	}
	buf_clear(&b);
	buf_printf(&b, "%.*s%s", STR_ARG(name), str_ends(name, STR(".")) ? "" : ".");
	code = b.over ? UB_NOMEM : ub_resolve_async(r->ctx, buf_cstr(&b), type, 1, k, answered, &k->id);
	buf_done(&b);
	if (code)
		return code == UB_NOMEM ? -ENOMEM : -EINVAL;
	k->r = r;
	k->waiting = true;
	r->waiting++;
	return 0;
}

void
resolver_cancel(struct resolver_ask *k)
{
	if (!k->waiting)
		return;
	ub_cancel(k->r->ctx, k->id);
	k->waiting = false;
	k->r->waiting--;
}

/* ---- the servers of the system ---- */

static struct str
server_of(struct str address, struct arena *a)
{
	struct conf_net net;
	bool six = str_chr(address, ':') >= 0;

	if (str_chr(address, '/') >= 0 || conf_net_parse(address, &net))
		return STR_NULL; /* also an address with a scope, which names no server elsewhere */
	return arena_printf(a, "%s%.*s%s:53", six ? "[" : "", STR_ARG(address), six ? "]" : "");
}

size_t
resolver_conf_servers(struct str text, struct arena *a, struct str ret[static RESOLVER_SERVERS])
{
	size_t n = 0;

	while (text.p && n < RESOLVER_SERVERS) {
		struct str line = str_trim(str_cut(&text, '\n')), word = str_word(&line);

		if (!str_eq(word, STR("nameserver")))
			continue;
		ret[n] = server_of(str_word(&line), a);
		n += ret[n].p != NULL;
	}
	return n;
}

size_t
resolver_system_servers(const char *path, struct arena *a,
    struct str ret[static RESOLVER_SERVERS])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = malloc(CONF_MAX);
	ssize_t n = fd < 0 || !text ? 0 : read(fd, text, CONF_MAX);
	size_t servers = n > 0 ? resolver_conf_servers(str_from(text, (size_t)n), a, ret) : 0;

	if (fd >= 0)
		close(fd);
	free(text);
	return servers;
}
