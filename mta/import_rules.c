/*
 * What each parameter of Postfix becomes; see import.h. The tables name every parameter that has
 * a meaning of its own here; what stands in main.cf and in no table is told as not known.
 *
 * Parameters whose value is Postfix's default count like any other: where they say what this
 * system does anyway the report says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/conf/settings.h"
#include "lib/conf/value.h"
#include "mta/import.h"

/* ---- the report ---- */

void
import_say(struct import *m, const char *name, enum import_fate fate, const char *fmt, ...)
{
	static const char *const words[] = {
		[IMPORT_CARRIED] = "carried", [IMPORT_SAME] = "same", [IMPORT_NEEDLESS] = "needless",
		[IMPORT_LOST] = "NOT CARRIED",
	};
	struct import_param *p = import_param(m, str_c(name));
	va_list ap;

	if (p && (int)fate > p->fate)
		p->fate = fate;
	if (fate == IMPORT_LOST)
		m->lost++;
	buf_printf(&m->report, "%-12s %s: ", words[fate], name);
	va_start(ap, fmt);
	buf_vprintf(&m->report, fmt, ap);
	va_end(ap);
	buf_putc(&m->report, '\n');
}

/* ---- files that are made ---- */

static int
write_file(struct import *m, const char *name, struct str text, mode_t mode, struct err *e)
{
	char path[4096];
	int fd, rc = 0;

	snprintf(path, sizeof path, "%s/%s", m->out, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(e, -errno, "cannot make %s", path);
	while (text.n && !rc) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		text = str_skip(text, n > 0 ? (size_t)n : 0);
	}
	if (close(fd) && !rc)
		rc = -errno;
	return rc ? err_sys(e, rc, "cannot write %s", path) : 0;
}

int
import_table(struct import *m, const char *name, struct str text, struct err *e)
{
	return write_file(m, arena_printf(m->arena, "tables/%s", name).p, text, 0644, e);
}

/* ---- lists of domains ---- */

struct names {
	struct import *m;
	struct str *v;
	size_t n, cap;
};

static void
add_name(struct names *l, struct str name)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_ieq(l->v[i], name))
			return;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct str *v = ARENA_ARRAY(l->m->arena, struct str, cap);

		if (!v)
			return;
		if (l->n)
			memcpy(v, l->v, l->n * sizeof *v);
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = name;
}

static bool
has_name(const struct names *l, struct str name)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_ieq(l->v[i], name))
			return true;
	return false;
}

/* A list as match_list has it: names, tables (whose keys count), /files of names. */
static void
add_names(struct names *l, const char *param)
{
	struct str list = import_get(l->m, NULL, param), w, text;
	struct import_map map;
	struct err e;

	while (import_word(&list, &w)) {
		if (w.p[0] == '!') {
			import_say(l->m, param, IMPORT_LOST, "the exception %.*s", STR_ARG(w));
		} else if (w.p[0] == '/') {
			struct str x;

			if (import_file(l->m, arena_cstr(l->m->arena, w), &text, &e))
				import_say(l->m, param, IMPORT_LOST, "%s", e.text);
			else
				while (import_word(&text, &x))
					add_name(l, x);
		} else if (str_chr(w, ':') >= 0 && w.p[0] != '[') {
			if (import_map(l->m, w, false, &map) || map.kind != IMPORT_MAP_TEXT)
				import_say(l->m, param, IMPORT_LOST, "%.*s: %.*s", STR_ARG(w), STR_ARG(map.why));
			for (size_t i = 0; map.kind == IMPORT_MAP_TEXT && i < map.n; i++)
				add_name(l, map.rows[i].key);
		} else {
			add_name(l, w);
		}
	}
}

static void
put_names(struct buf *b, const char *key, const struct names *l)
{
	if (!l->n)
		return;
	buf_printf(b, "%s ", key);
	for (size_t i = 0; i < l->n; i++)
		buf_printf(b, "%s%.*s", i ? ", " : "", STR_ARG(l->v[i]));
	buf_putc(b, '\n');
}

/* ---- tables ---- */

/* Whether the file stays where it is: what other programs edit too, such as /etc/aliases. */
static bool
stays(struct import *m, struct str path)
{
	return !str_starts(path, str_c(m->dir));
}

static const char *
base_name(struct import *m, struct str path)
{
	ptrdiff_t slash = str_rchr(path, '/');
	struct buf b = { 0 };
	const char *out;

	path = str_skip(path, slash < 0 ? 0 : (size_t)slash + 1);
	for (size_t i = 0; i < path.n; i++)
		buf_putc(&b, ascii_isalnum(path.p[i]) || path.p[i] == '-' ? ascii_lower(path.p[i]) : '-');
	buf_printf(&b, "-%u", ++m->n_tables);
	out = arena_cstr(m->arena, buf_view(&b));
	buf_done(&b);
	return out;
}

static void
rows_text(struct buf *b, const struct import_map *map)
{
	for (size_t i = 0; i < map->n; i++)
		buf_printf(b, "%.*s\t%.*s\n", STR_ARG(map->rows[i].key), STR_ARG(map->rows[i].value));
}

/* Lists that an aliases file includes are copied beside it, where authd may read them, and
 * named there. */
static void
copy_includes(struct import *m, const char *param, struct str text, struct buf *out)
{
	static const struct str word = STR_INIT(":include:");
	struct err e = { 0 };
	ptrdiff_t at;

	while ((at = str_ifind(text, word)) >= 0) {
		struct str path = str_skip(text, (size_t)at + word.n), list;
		const char *name;
		size_t n = 0;

		while (n < path.n && !ascii_isspace(path.p[n]) && path.p[n] != ',' && path.p[n] != '"')
			n++;
		path.n = n;
		buf_str(out, str_head(text, (size_t)at + word.n));
		text = str_skip(text, (size_t)at + word.n + n);
		name = base_name(m, path);
		if (import_file(m, arena_cstr(m->arena, path), &list, &e) || import_table(m, name, list, &e)) {
			import_say(m, param, IMPORT_LOST, "the included list %.*s: %s", STR_ARG(path), e.text);
			buf_str(out, path);
		} else {
			buf_printf(out, "%s/tables/%s", m->out, name);
		}
	}
	buf_str(out, text);
}

static bool
has_includes(struct import *m, const struct import_map *map)
{
	for (size_t i = 0; map->kind == IMPORT_MAP_ALIASES && i < map->n; i++)
		if (str_ifind(map->rows[i].value, STR(":include:")) >= 0)
			return true;
	return false;
}

/* A table block for the map; its name, or NULL when it cannot be had (told already). */
static const char *
put_table(struct import *m, const char *param, struct str spec, const struct import_map *map,
    struct err *e)
{
	const char *name = base_name(m, str_eq(map->type, STR("inline")) ? str_c(param) : map->name);
	const char *type = map->kind == IMPORT_MAP_PATTERNS ? "regexp" :
	    map->kind == IMPORT_MAP_ALIASES ? "aliases" : "file";
	struct str text;
	struct buf b = { 0 };

	if (map->kind == IMPORT_MAP_STATIC) {
		buf_printf(&m->conf, "table %s { type static value ", name);
		conf_quote(&m->conf, map->name);
		buf_puts(&m->conf, " }\n");
		return name;
	}
	if (!str_eq(map->type, STR("inline")) && stays(m, map->name) && !has_includes(m, map)) {
		buf_printf(&m->conf, "table %s { type %s path ", name, type);
		conf_quote(&m->conf, map->name);
		buf_puts(&m->conf, " }\n");
		return name;
	}
	if (str_eq(map->type, STR("inline")))
		rows_text(&b, map);
	else if (!import_file(m, arena_cstr(m->arena, map->name), &text, e))
		copy_includes(m, param, text, &b);
	if (import_table(m, name, buf_view(&b), e)) {
		import_say(m, param, IMPORT_LOST, "%.*s: %s", STR_ARG(spec), e->text);
		name = NULL;
	} else {
		buf_printf(&m->conf, "table %s { type %s path \"tables/%s\" }\n", name, type, name);
	}
	buf_done(&b);
	return name;
}

void
import_maps(struct import *m, const char *param, const char *setting, struct buf *route, bool aliases,
    const char *more)
{
	const char *key = strchr(setting, '.') + 1;
	struct str list = import_get(m, NULL, param), w;
	struct import_map map;
	struct err e = { 0 };
	const char *name;
	size_t n = 0;

	while (import_word(&list, &w)) {
		if (import_map(m, w, aliases, &map) || map.kind == IMPORT_MAP_OTHER ||
		    map.kind == IMPORT_MAP_CIDR) {
			import_say(m, param, IMPORT_LOST, "%.*s: %.*s", STR_ARG(w), STR_ARG(map.why));
			continue;
		}
		if (!(name = put_table(m, param, w, &map, &e)))
			continue;
		buf_printf(route, "%s%s", n++ ? ", " : arena_printf(m->arena, "\t%s ", key).p, name);
		import_say(m, param, IMPORT_CARRIED, "%.*s is table %s (%zu rows), %s", STR_ARG(w), name, map.n,
		    setting);
	}
	if (more)
		buf_printf(route, "%s%s", n++ ? ", " : arena_printf(m->arena, "\t%s ", key).p, more);
	if (n)
		buf_putc(route, '\n');
}

/* ---- domains and accounts ---- */

static struct names local, virtuals, alias_domains, relays;
static struct str primary;

/* virtual_alias_domains without a value of its own: keys of virtual_alias_maps that are domains
 * (virtual(5)). */
static void
domains_of_aliases(struct import *m)
{
	struct str list = import_get(m, NULL, "virtual_alias_maps"), w;
	struct import_map map;

	if (import_is_set(m, "virtual_alias_domains")) {
		add_names(&alias_domains, "virtual_alias_domains");
		return;
	}
	while (import_word(&list, &w)) {
		if (import_map(m, w, false, &map) || map.kind != IMPORT_MAP_TEXT)
			continue;
		for (size_t i = 0; i < map.n; i++)
			if (str_chr(map.rows[i].key, '@') < 0 && str_chr(map.rows[i].key, '.') > 0)
				add_name(&alias_domains, map.rows[i].key);
	}
}

static void
choose_primary(struct import *m)
{
	struct str origin = import_get(m, NULL, "myorigin");

	if (origin.n && origin.p[0] == '/') { /* a file with the name in its first line */
		struct str text = STR_NULL;
		struct err e;

		if (!import_file(m, arena_cstr(m->arena, origin), &text, &e))
			origin = str_trim(str_cut(&text, '\n'));
	}
	primary = has_name(&local, origin) ? origin : local.n ? local.v[0] : origin;
}

static void
put_domains(struct import *m)
{
	struct names all = { .m = m };

	for (size_t i = 0; i < local.n; i++)
		add_name(&all, local.v[i]);
	for (size_t i = 0; i < virtuals.n; i++)
		add_name(&all, virtuals.v[i]);
	for (size_t i = 0; i < alias_domains.n; i++)
		add_name(&all, alias_domains.v[i]);
	put_names(&m->conf, "domain", &all);
	if (local.n)
		import_say(m, "mydestination", IMPORT_CARRIED, "%zu domains; accounts are those of %.*s, to "
		    "which the others are aliases", local.n, STR_ARG(primary));
	if (virtuals.n)
		import_say(m, "virtual_mailbox_domains", IMPORT_CARRIED, "%zu domains", virtuals.n);
	if (alias_domains.n)
		import_say(m, "virtual_alias_domains", IMPORT_CARRIED, "%zu domains", alias_domains.n);
}

/* The other names of mydestination: user@other is user@primary. */
static const char *
put_local_names(struct import *m, struct err *e)
{
	struct buf b = { 0 };
	const char *name = NULL;

	for (size_t i = 0; i < local.n; i++)
		if (!str_ieq(local.v[i], primary))
			buf_printf(&b, "@%.*s\t@%.*s\n", STR_ARG(local.v[i]), STR_ARG(primary));
	if (b.n && !import_table(m, "local-names", buf_view(&b), e)) {
		name = "local-names";
		buf_puts(&m->conf, "table local-names { type file path \"tables/local-names\" }\n");
	}
	buf_done(&b);
	return name;
}

/* A script that makes the accounts of virtual_mailbox_maps; each asks for a password. */
static void
put_accounts(struct import *m, struct err *e)
{
	struct str list = import_get(m, NULL, "virtual_mailbox_maps"), w;
	struct import_map map;
	struct buf b = { 0 };
	size_t n = 0;

	buf_puts(&b, "#!/bin/sh\n# The accounts of virtual_mailbox_maps. Each command reads a password.\nset -e\n");
	while (import_word(&list, &w)) {
		if (import_map(m, w, false, &map) || map.kind != IMPORT_MAP_TEXT) {
			import_say(m, "virtual_mailbox_maps", IMPORT_LOST, "%.*s: %.*s", STR_ARG(w),
			    STR_ARG(map.why.n ? map.why : STR("its addresses are not listed")));
			continue;
		}
		for (size_t i = 0; i < map.n; i++, n++)
			if (str_chr(map.rows[i].key, '@') > 0)
				buf_printf(&b, "posthorn \"$@\" user add '%.*s'\n", STR_ARG(map.rows[i].key));
	}
	if (n && !write_file(m, "accounts", buf_view(&b), 0755, e))
		import_say(m, "virtual_mailbox_maps", IMPORT_CARRIED, "%zu addresses: run the script 'accounts' "
		    "once the instance runs", n);
	buf_done(&b);
}

/* ---- routing ---- */

static void
put_transport_rows(struct buf *b, const struct names *l, struct str value)
{
	for (size_t i = 0; i < l->n; i++)
		buf_printf(b, "%.*s\t%.*s\n", STR_ARG(l->v[i]), STR_ARG(value));
}

/* Transports of whole address classes, as rows of a table behind those of transport_maps. */
static const char *
put_class_transports(struct import *m, struct err *e)
{
	struct str v = import_get(m, NULL, "virtual_transport"), r = import_get(m, NULL, "relay_transport"),
	    d = import_get(m, NULL, "default_transport");
	struct buf b = { 0 };
	const char *name = NULL;

	if (str_starts(v, STR("lmtp:unix:")) || str_starts(v, STR("dovecot")) || str_eq(v, STR("virtual"))) {
		import_say(m, "virtual_transport", IMPORT_SAME, "mail of virtual domains goes into the store here "
		    "(it was %.*s)", STR_ARG(v));
	} else if (v.n) {
		put_transport_rows(&b, &virtuals, v);
		import_say(m, "virtual_transport", IMPORT_CARRIED, "rows of the table class-transports");
	}
	if (r.n && !str_eq(r, STR("relay")) && !str_eq(r, STR("smtp"))) {
		put_transport_rows(&b, &relays, r);
		import_say(m, "relay_transport", IMPORT_CARRIED, "rows of the table class-transports");
	}
	if (d.n && !str_eq(d, STR("smtp"))) {
		buf_printf(&b, "*\t%.*s\n", STR_ARG(d));
		import_say(m, "default_transport", IMPORT_CARRIED, "a row of the table class-transports");
	}
	if (b.n && !import_table(m, "class-transports", buf_view(&b), e)) {
		name = "class-transports";
		buf_puts(&m->conf, "table class-transports { type file path \"tables/class-transports\" }\n");
	}
	buf_done(&b);
	return name;
}

/* "[host]:service" with the service's number. */
static struct str
next_hop(struct import *m, struct str hop)
{
	static const struct {
		const char *name;
		unsigned port;
	} services[] = { { "submission", 587 }, { "submissions", 465 }, { "smtps", 465 }, { "smtp", 25 } };
	ptrdiff_t colon = str_rchr(hop, ':');

	if (colon < 0)
		return hop;
	for (size_t i = 0; i < sizeof services / sizeof *services; i++)
		if (str_ieq(str_skip(hop, (size_t)colon + 1), str_c(services[i].name)))
			return arena_printf(m->arena, "%.*s:%u", (int)colon, hop.p, services[i].port);
	return hop;
}

static void
put_relay_host(struct import *m, struct buf *route)
{
	struct str hop = import_get(m, NULL, "relayhost");

	if (!hop.n)
		return;
	buf_puts(route, "\trelay-host ");
	conf_quote(route, next_hop(m, hop));
	buf_putc(route, '\n');
	import_say(m, "relayhost", IMPORT_CARRIED, "route.relay-host");
}

/* Domains that are relayed for, and below them (parent_domain_matches_subdomains). */
static void
put_relay_domains(struct import *m, struct buf *route)
{
	struct names l = { .m = m };

	add_names(&relays, "relay_domains");
	for (size_t i = 0; i < relays.n; i++) {
		if (has_name(&local, relays.v[i]) || has_name(&virtuals, relays.v[i]))
			continue;
		add_name(&l, relays.v[i]);
		if (relays.v[i].p[0] != '.')
			add_name(&l, arena_printf(m->arena, ".%.*s", STR_ARG(relays.v[i])));
	}
	if (!l.n)
		return;
	put_names(route, "\trelay-domains", &l);
	import_say(m, "relay_domains", IMPORT_CARRIED, "%zu domains and those below them", relays.n);
}

static void
put_always_bcc(struct import *m, struct buf *route)
{
	struct str to = import_get(m, NULL, "always_bcc"), origin = import_get(m, NULL, "myorigin");

	if (!to.n)
		return;
	buf_printf(route, "\talways-bcc %.*s%s%.*s\n", STR_ARG(to), str_chr(to, '@') < 0 ? "@" : "",
	    STR_ARG(str_chr(to, '@') < 0 ? origin : STR("")));
	import_say(m, "always_bcc", IMPORT_CARRIED, "route.always-bcc");
}

static int
put_routes(struct import *m, struct err *e)
{
	struct buf route = { 0 };
	const char *names, *classes;

	if (!import_is_set(m, "relay_domains") && import_get(m, NULL, "relay_domains").n)
		return err_set(e, -EINVAL, "relay_domains has no value");
	put_relay_domains(m, &route);
	names = put_local_names(m, e);
	classes = put_class_transports(m, e);
	put_relay_host(m, &route);
	put_names(&route, "\talias-domains", &local);
	import_maps(m, "alias_maps", "route.aliases", &route, true, NULL);
	import_maps(m, "virtual_alias_maps", "route.virtual-aliases", &route, false, names);
	import_maps(m, "transport_maps", "route.transports", &route, false, classes);
	import_maps(m, "relay_recipient_maps", "route.relay-recipients", &route, false, NULL);
	import_maps(m, "sender_dependent_relayhost_maps", "route.sender-relays", &route, false, NULL);
	import_maps(m, "sender_bcc_maps", "route.sender-bcc", &route, false, NULL);
	import_maps(m, "recipient_bcc_maps", "route.recipient-bcc", &route, false, NULL);
	put_always_bcc(m, &route);
	if (route.n)
		buf_printf(&m->conf, "route {\n%.*s}\n", STR_ARG(buf_view(&route)));
	buf_done(&route);
	return 0;
}

/* ---- who may relay ---- */

static void
put_networks(struct import *m)
{
	struct str list = import_get(m, NULL, "mynetworks"), w;
	struct conf_net net;
	struct buf b = { 0 };
	size_t n = 0;

	while (import_word(&list, &w)) {
		struct str addr = w;
		ptrdiff_t close = str_chr(w, ']');

		if (w.p[0] == '[' && close > 0) /* [::1]/128 */
			addr = arena_printf(m->arena, "%.*s%.*s", (int)close - 1, w.p + 1,
			    STR_ARG(str_skip(w, (size_t)close + 1)));
		if (conf_net_parse(addr, &net))
			import_say(m, "mynetworks", IMPORT_LOST, "'%.*s' is no address or network", STR_ARG(w));
		else
			buf_printf(&b, "%s%.*s", n++ ? ", " : "relay-from ", STR_ARG(addr));
	}
	if (n) {
		buf_printf(&m->conf, "%.*s\n", STR_ARG(buf_view(&b)));
		import_say(m, "mynetworks", IMPORT_CARRIED, "relay-from, %zu networks", n);
	}
	buf_done(&b);
}

/* Words of restriction lists that say what is always done here. */
static const char *const always[] = {
	"permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination",
	"defer_unauth_destination", "permit_auth_destination", "reject_unauth_pipelining", "permit",
	"reject_sender_login_mismatch", "reject_authenticated_sender_login_mismatch",
	"reject_known_sender_login_mismatch", "reject_unlisted_recipient", "reject_non_fqdn_recipient",
	"reject_non_fqdn_sender", "reject_unlisted_sender", "reject", "defer_if_permit", "warn_if_reject",
};

static const char *const restriction_lists[] = {
	"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions",
	"smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_data_restrictions",
	"smtpd_end_of_data_restrictions", "smtpd_etrn_restrictions",
};

static bool
is_always(struct str w)
{
	for (size_t i = 0; i < sizeof always / sizeof *always; i++)
		if (str_eq(w, str_c(always[i])))
			return true;
	return false;
}

static void
restrictions(struct import *m, const struct import_service *svc, const char *param)
{
	struct str list = import_get(m, svc, param), w, arg;
	bool lost = false;

	while (import_word(&list, &w)) {
		if (is_always(w))
			continue;
		arg = STR_NULL;
		if (str_starts(w, STR("check_")) || str_starts(w, STR("reject_rbl")) ||
		    str_starts(w, STR("reject_rhsbl")) || str_starts(w, STR("permit_dnswl")))
			import_word(&list, &arg);
		import_say(m, param, IMPORT_LOST, "%.*s%s%.*s", STR_ARG(w), arg.n ? " " : "", STR_ARG(arg));
		lost = true;
	}
	if (!lost && import_is_set(m, param))
		import_say(m, param, IMPORT_SAME, "who may relay is decided by relay-from and log-ins alone");
}

static bool
names_login_mismatch(struct import *m)
{
	for (size_t i = 0; i < sizeof restriction_lists / sizeof *restriction_lists; i++)
		for (size_t k = 0; k <= m->n_services; k++)
			if (str_find(import_get(m, k ? &m->services[k - 1] : NULL, restriction_lists[i]),
			    STR("sender_login_mismatch")) >= 0)
				return true;
	return false;
}

/* ---- values that are carried as they are ---- */

enum unit { U_BYTES, U_TIME, U_NUMBER };
static const struct value_rule {
	const char *param;
	const char *block, *key;
	enum unit unit;
	const char *zero;         /* what 0 becomes */
} values[] = {
	{ "message_size_limit", "smtp", "message-size-limit", U_BYTES, "2147483647" },
	{ "smtpd_recipient_limit", "smtp", "recipient-limit", U_NUMBER, NULL },
	{ "smtpd_client_connection_count_limit", "smtp", "sessions-per-address", U_NUMBER, "unlimited" },
	{ "smtpd_hard_error_limit", "smtp", "error-limit", U_NUMBER, NULL },
	{ "hopcount_limit", "smtp", "hop-limit", U_NUMBER, NULL },
	{ "smtpd_timeout", "smtp", "timeout", U_TIME, NULL },
	{ "header_size_limit", "smtp", "header-size-limit", U_BYTES, NULL },
	{ "body_checks_size_limit", "checks", "body-limit", U_BYTES, "unlimited" },
	{ "maximal_queue_lifetime", "spool", "queue-lifetime", U_TIME, NULL },
	{ "minimal_backoff_time", "spool", "retry-min", U_TIME, NULL },
	{ "maximal_backoff_time", "spool", "retry-max", U_TIME, NULL },
	{ "queue_minfree", "spool", "min-free", U_BYTES, "none" },
};

/* Postfix's times: a number, and s m h d w (seconds without). */
static struct str
value_text(struct import *m, const struct value_rule *r, struct str v)
{
	uint64_t n;

	if (str_u64(v, UINT64_MAX, &n) && !n)
		return str_c(r->zero);
	if (r->unit == U_TIME && v.n && ascii_isdigit(v.p[v.n - 1]))
		return arena_printf(m->arena, "%.*ss", STR_ARG(v));
	return v;
}

static void
put_values(struct import *m)
{
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		const struct value_rule *r = &values[i];
		struct str v;

		if (!import_is_set(m, r->param))
			continue;
		v = value_text(m, r, import_get(m, NULL, r->param));
		if (!v.n) {
			import_say(m, r->param, IMPORT_LOST, "a value of 0 cannot be had");
			continue;
		}
		buf_printf(&m->conf, "%s { %s %.*s }\n", r->block, r->key, STR_ARG(v));
		import_say(m, r->param, IMPORT_CARRIED, "%s.%s %.*s", r->block, r->key, STR_ARG(v));
	}
}

static void
put_identity(struct import *m)
{
	struct str host = import_get(m, NULL, "myhostname"), d = import_get(m, NULL, "recipient_delimiter");

	buf_printf(&m->conf, "hostname %.*s\n", STR_ARG(host));
	import_say(m, "myhostname", IMPORT_CARRIED, "hostname %.*s", STR_ARG(host));
	if (primary.n)
		buf_printf(&m->conf, "origin %.*s\n", STR_ARG(primary));
	if (import_is_set(m, "myorigin"))
		import_say(m, "myorigin", IMPORT_CARRIED, "origin %.*s", STR_ARG(primary));
	if (import_is_set(m, "mydomain"))
		import_say(m, "mydomain", IMPORT_CARRIED, "where other parameters name it");
	if (d.n > 1)
		import_say(m, "recipient_delimiter", IMPORT_LOST, "all but the first of '%.*s'", STR_ARG(d));
	else if (import_is_set(m, "recipient_delimiter"))
		import_say(m, "recipient_delimiter", IMPORT_CARRIED, "smtp.recipient-delimiter");
	if (d.n)
		buf_printf(&m->conf, "smtp { recipient-delimiter %.*s }\n", 1, d.p);
	else
		buf_puts(&m->conf, "smtp { recipient-delimiter none }\n");
	if (!names_login_mismatch(m))
		buf_puts(&m->conf, "smtp { submission-sender any }\n");
}

/* ---- TLS ---- */

static void
put_certificates(struct import *m)
{
	struct str cert = import_get(m, NULL, "smtpd_tls_cert_file"), key = import_get(m, NULL,
	    "smtpd_tls_key_file"), chain = import_get(m, NULL, "smtpd_tls_chain_files"), w;

	if (cert.n) {
		buf_puts(&m->conf, "tls { certificate ");
		conf_quote(&m->conf, cert);
		if (key.n && !str_eq(key, STR("$smtpd_tls_cert_file"))) {
			buf_puts(&m->conf, " key ");
			conf_quote(&m->conf, key);
		}
		buf_puts(&m->conf, " }\n");
		import_say(m, "smtpd_tls_cert_file", IMPORT_CARRIED, "a tls block");
		if (key.n)
			import_say(m, "smtpd_tls_key_file", IMPORT_CARRIED, "in it");
	}
	while (import_word(&chain, &w)) {
		buf_puts(&m->conf, "tls { certificate ");
		conf_quote(&m->conf, w);
		buf_puts(&m->conf, " }\n");
		import_say(m, "smtpd_tls_chain_files", IMPORT_CARRIED, "a tls block for %.*s", STR_ARG(w));
	}
}

static const char *
relay_tls(struct str level)
{
	static const struct {
		const char *level, *word;
	} words[] = {
		{ "none", "off" }, { "may", "optional" }, { "encrypt", "required" }, { "dane", "dane" },
		{ "dane-only", "dane" }, { "verify", "verify" }, { "secure", "verify" },
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_eq(level, str_c(words[i].level)))
			return words[i].word;
	return NULL;
}

static void
put_tls_policies(struct import *m)
{
	struct str list = import_get(m, NULL, "smtp_tls_policy_maps"), w;
	struct import_map map;

	while (import_word(&list, &w)) {
		if (import_map(m, w, false, &map) || map.kind != IMPORT_MAP_TEXT) {
			import_say(m, "smtp_tls_policy_maps", IMPORT_LOST, "%.*s: %.*s", STR_ARG(w), STR_ARG(map.why));
			continue;
		}
		for (size_t i = 0; i < map.n; i++) {
			struct str v = map.rows[i].value, level = str_word(&v);
			const char *word = relay_tls(level);

			if (!word) {
				import_say(m, "smtp_tls_policy_maps", IMPORT_LOST, "%.*s %.*s",
				    STR_ARG(map.rows[i].key), STR_ARG(map.rows[i].value));
				continue;
			}
			buf_puts(&m->conf, "tls-policy ");
			conf_quote(&m->conf, map.rows[i].key);
			buf_printf(&m->conf, " { tls %s }\n", word);
			if (str_trim(v).n)
				import_say(m, "smtp_tls_policy_maps", IMPORT_LOST, "of %.*s: %.*s",
				    STR_ARG(map.rows[i].key), STR_ARG(str_trim(v)));
		}
		import_say(m, "smtp_tls_policy_maps", IMPORT_CARRIED, "%.*s: %zu tls-policy blocks", STR_ARG(w), map.n);
	}
}

static void
put_relay_tls(struct import *m)
{
	struct str level = import_get(m, NULL, "smtp_tls_security_level");
	const char *word = relay_tls(level);

	if (word) {
		buf_printf(&m->conf, "relay { tls %s }\n", word);
		import_say(m, "smtp_tls_security_level", str_eq(level, STR("dane-only")) ? IMPORT_LOST :
		    IMPORT_CARRIED, "relay.tls %s", word);
	} else if (level.n) {
		import_say(m, "smtp_tls_security_level", IMPORT_LOST, "%.*s", STR_ARG(level));
	}
	put_tls_policies(m);
}

/* Passwords for other servers, each in a file of its own that only its owner reads. */
static void
put_passwords(struct import *m, struct err *e)
{
	struct str list = import_get(m, NULL, "smtp_sasl_password_maps"), w;
	struct import_map map;
	unsigned n = 0;

	if (!import_yes(import_get(m, NULL, "smtp_sasl_auth_enable")))
		return;
	while (import_word(&list, &w)) {
		if (import_map(m, w, false, &map) || (map.kind != IMPORT_MAP_TEXT && map.kind != IMPORT_MAP_STATIC)) {
			import_say(m, "smtp_sasl_password_maps", IMPORT_LOST, "%.*s: %.*s", STR_ARG(w), STR_ARG(map.why));
			continue;
		}
		for (size_t i = 0; i < map.n; i++) {
			struct str pass = map.rows[i].value, user = str_cut(&pass, ':');
			struct str hop = map.kind == IMPORT_MAP_STATIC ? import_get(m, NULL, "relayhost") : map.rows[i].key;
			const char *file = arena_printf(m->arena, "secrets/%u", ++n).p;

			if (str_chr(hop, '@') >= 0) {
				import_say(m, "smtp_sasl_password_maps", IMPORT_LOST, "the log-in of the sender %.*s",
				    STR_ARG(hop));
				continue;
			}
			if (write_file(m, file, pass, 0600, e)) {
				import_say(m, "smtp_sasl_password_maps", IMPORT_LOST, "%s", e->text);
				continue;
			}
			buf_puts(&m->conf, "next-hop ");
			conf_quote(&m->conf, next_hop(m, hop));
			buf_puts(&m->conf, " { user ");
			conf_quote(&m->conf, user);
			buf_printf(&m->conf, " password file \"%s\" }\n", file);
			import_say(m, "smtp_sasl_password_maps", IMPORT_CARRIED, "next-hop \"%.*s\"", STR_ARG(hop));
		}
	}
}

/* ---- listeners ---- */

static void
put_addresses(struct import *m, struct buf *b, struct str host)
{
	struct str list = host.n ? host : import_get(m, NULL, "inet_interfaces"), w;
	struct str protocols = import_get(m, NULL, "inet_protocols");
	bool v4 = !str_eq(protocols, STR("ipv6")), v6 = !str_eq(protocols, STR("ipv4"));
	struct conf_net net;
	size_t n = 0;

	buf_puts(b, "address ");
	while (import_word(&list, &w)) {
		if (w.p[0] == '[')
			w = str_from(w.p + 1, w.n - 2);
		if (str_eq(w, STR("all")))
			buf_printf(b, "%s%s%s%s", n ? ", " : "", v4 ? "0.0.0.0" : "", v4 && v6 ? ", " : "", v6 ? "::" : "");
		else if (str_eq(w, STR("loopback-only")) || str_eq(w, STR("localhost")))
			buf_printf(b, "%s%s%s%s", n ? ", " : "", v4 ? "127.0.0.1" : "", v4 && v6 ? ", " : "", v6 ? "::1" : "");
		else if (!conf_net_parse(w, &net))
			buf_printf(b, "%s%.*s", n ? ", " : "", STR_ARG(w));
		else
			continue;
		n++;
	}
	if (!n)
		buf_puts(b, "127.0.0.1");
}

static unsigned
service_port(struct str service)
{
	static const struct {
		const char *name;
		unsigned port;
	} names[] = { { "smtp", 25 }, { "submission", 587 }, { "submissions", 465 }, { "smtps", 465 }, { "smtpd", 25 } };
	uint32_t n = 0;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(service, str_c(names[i].name)))
			return names[i].port;
	return str_u32(service, 65535, &n) ? n : 0;
}

static const char *const quiet_options[] = {
	"syslog_name", "smtpd_sasl_auth_enable", "smtpd_tls_wrappermode", "smtpd_tls_security_level",
	"smtpd_tls_auth_only", "milter_macro_daemon_name", "smtpd_reject_unlisted_recipient",
	"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions",
	"smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_data_restrictions",
};

static void
service_options(struct import *m, const struct import_service *s)
{
	for (size_t i = 0; i < s->n_opts; i++) {
		struct str o = s->opts[i].name;
		bool known = false;

		for (size_t k = 0; k < sizeof quiet_options / sizeof *quiet_options; k++)
			known = known || str_eq(o, str_c(quiet_options[k]));
		if (!known)
			import_say(m, arena_printf(m->arena, "master.cf %.*s -o %.*s", STR_ARG(s->name), STR_ARG(o)).p,
			    IMPORT_LOST, "%.*s", STR_ARG(s->opts[i].value));
	}
	for (size_t i = 0; i < sizeof restriction_lists / sizeof *restriction_lists; i++)
		for (size_t k = 0; k < s->n_opts; k++)
			if (str_eq(s->opts[k].name, str_c(restriction_lists[i])))
				restrictions(m, s, restriction_lists[i]);
}

static void
put_listener(struct import *m, const struct import_service *s)
{
	struct str service = s->name, host = STR_NULL, level = import_get(m, s, "smtpd_tls_security_level");
	ptrdiff_t colon = str_rchr(service, ':');
	bool wrapped = import_yes(import_get(m, s, "smtpd_tls_wrappermode")), auth = import_yes(import_get(m, s,
	    "smtpd_sasl_auth_enable"));
	const char *kind;
	unsigned port;

	if (colon >= 0) {
		host = str_head(service, (size_t)colon);
		service = str_skip(service, (size_t)colon + 1);
	}
	port = service_port(service);
	if (!port) {
		import_say(m, arena_printf(m->arena, "master.cf %.*s", STR_ARG(s->name)).p, IMPORT_LOST,
		    "a listener whose port is not known");
		return;
	}
	kind = wrapped ? "submissions" : auth && port != 25 ? "submission" : "smtp";
	buf_printf(&m->conf, "listen %s port-%u { ", kind, port);
	put_addresses(m, &m->conf, host);
	buf_printf(&m->conf, " port %u", port);
	if (!wrapped && str_eq(level, STR("encrypt")))
		buf_puts(&m->conf, " tls required");
	else if (!wrapped && str_eq(level, STR("none")))
		buf_puts(&m->conf, " tls off");
	if (!strcmp(kind, "smtp") && auth)
		buf_puts(&m->conf, " auth on");
	buf_puts(&m->conf, " }\n");
	import_say(m, arena_printf(m->arena, "master.cf %.*s", STR_ARG(s->name)).p, IMPORT_CARRIED,
	    "listen %s, port %u", kind, port);
	service_options(m, s);
}

static const char *const own_services[] = {
	"pickup", "cleanup", "qmgr", "tlsmgr", "rewrite", "bounce", "defer", "trace", "verify", "flush",
	"proxymap", "proxywrite", "smtp", "relay", "showq", "error", "retry", "discard", "local", "virtual",
	"lmtp", "anvil", "scache", "postlog", "tlsproxy", "dnsblog", "smtpd",
};

static void
put_services(struct import *m)
{
	for (size_t i = 0; i < m->n_services; i++) {
		const struct import_service *s = &m->services[i];
		bool known = false;

		if (str_eq(s->type, STR("inet")) && (str_eq(s->command, STR("smtpd")) ||
		    str_eq(s->command, STR("postscreen")))) {
			put_listener(m, s);
			if (str_eq(s->command, STR("postscreen")))
				import_say(m, "master.cf postscreen", IMPORT_LOST, "tests before the greeting");
			continue;
		}
		for (size_t k = 0; k < sizeof own_services / sizeof *own_services; k++)
			known = known || str_eq(s->name, str_c(own_services[k]));
		if (!known)
			import_say(m, arena_printf(m->arena, "master.cf %.*s", STR_ARG(s->name)).p, IMPORT_LOST,
			    "a service that runs %.*s %.*s", STR_ARG(s->command), STR_ARG(s->args));
	}
}

/* ---- parameters without a setting ---- */

static const struct word_rule {
	const char *param;
	enum import_fate fate;
	const char *note;
} words[] = {
	{ "inet_interfaces", IMPORT_CARRIED, "the listeners' addresses" },
	{ "inet_protocols", IMPORT_CARRIED, "the listeners' addresses" },
	{ "alias_database", IMPORT_NEEDLESS, "files of aliases are watched" },
	{ "biff", IMPORT_NEEDLESS, "no such notices are made" },
	{ "compatibility_level", IMPORT_NEEDLESS, "" },
	{ "readme_directory", IMPORT_NEEDLESS, "" }, { "html_directory", IMPORT_NEEDLESS, "" },
	{ "sample_directory", IMPORT_NEEDLESS, "" }, { "manpage_directory", IMPORT_NEEDLESS, "" },
	{ "data_directory", IMPORT_NEEDLESS, "" }, { "daemon_directory", IMPORT_NEEDLESS, "" },
	{ "queue_directory", IMPORT_NEEDLESS, "mail that is queued there stays: flush it before" },
	{ "command_directory", IMPORT_NEEDLESS, "" }, { "sendmail_path", IMPORT_NEEDLESS, "" },
	{ "newaliases_path", IMPORT_NEEDLESS, "" }, { "mailq_path", IMPORT_NEEDLESS, "" },
	{ "meta_directory", IMPORT_NEEDLESS, "" }, { "shlib_directory", IMPORT_NEEDLESS, "" },
	{ "setgid_group", IMPORT_NEEDLESS, "no program needs a privilege" },
	{ "mail_owner", IMPORT_NEEDLESS, "system users of their own" },
	{ "debug_peer_level", IMPORT_NEEDLESS, "" }, { "debugger_command", IMPORT_NEEDLESS, "" },
	{ "unknown_local_recipient_reject_code", IMPORT_SAME, "550" },
	{ "smtpd_banner", IMPORT_NEEDLESS, "the greeting names the host" },
	{ "smtpd_use_tls", IMPORT_SAME, "TLS is offered where there is a certificate" },
	{ "smtpd_tls_loglevel", IMPORT_NEEDLESS, "" }, { "smtp_tls_loglevel", IMPORT_NEEDLESS, "" },
	{ "smtpd_tls_received_header", IMPORT_SAME, "" },
	{ "smtpd_tls_session_cache_database", IMPORT_SAME, "sessions are resumed" },
	{ "smtp_tls_session_cache_database", IMPORT_SAME, "sessions are resumed" },
	{ "smtpd_tls_session_cache_timeout", IMPORT_NEEDLESS, "" },
	{ "smtpd_tls_auth_only", IMPORT_SAME, "AUTH without TLS is for plaintext-auth-from alone" },
	{ "smtpd_tls_security_level", IMPORT_CARRIED, "the listeners" },
	{ "smtpd_sasl_auth_enable", IMPORT_CARRIED, "the listeners" },
	{ "smtp_sasl_auth_enable", IMPORT_CARRIED, "next-hop" },
	{ "smtp_sasl_security_options", IMPORT_NEEDLESS, "the best mechanism that both know" },
	{ "smtp_sasl_tls_security_options", IMPORT_NEEDLESS, "" },
	{ "smtp_sasl_mechanism_filter", IMPORT_LOST, "set the mechanism of the next-hop" },
	{ "smtpd_sasl_type", IMPORT_NEEDLESS, "log-ins are those of this system's accounts" },
	{ "smtpd_sasl_path", IMPORT_NEEDLESS, "log-ins are those of this system's accounts" },
	{ "smtpd_sasl_security_options", IMPORT_SAME, "" },
	{ "smtpd_sasl_tls_security_options", IMPORT_SAME, "" },
	{ "smtpd_sasl_local_domain", IMPORT_NEEDLESS, "accounts log in by their address" },
	{ "smtpd_sasl_authenticated_header", IMPORT_NEEDLESS, "" },
	{ "broken_sasl_auth_clients", IMPORT_NEEDLESS, "" },
	{ "smtpd_sender_login_maps", IMPORT_SAME, "an account sends from its own addresses (smtp.submission-sender)" },
	{ "smtpd_helo_required", IMPORT_SAME, "" }, { "disable_vrfy_command", IMPORT_SAME, "" },
	{ "strict_rfc821_envelopes", IMPORT_SAME, "" }, { "smtpd_delay_reject", IMPORT_SAME, "" },
	{ "smtputf8_enable", IMPORT_SAME, "" }, { "append_dot_mydomain", IMPORT_NEEDLESS, "" },
	{ "append_at_myorigin", IMPORT_SAME, "" }, { "smtpd_forbid_bare_newline", IMPORT_SAME, "smtp.bare-newlines" },
	{ "smtpd_forbid_unauth_pipelining", IMPORT_SAME, "" },
	{ "smtpd_reject_unlisted_recipient", IMPORT_SAME, "" },
	{ "local_recipient_maps", IMPORT_NEEDLESS, "accounts are those of `posthorn user list`" },
	{ "virtual_mailbox_base", IMPORT_NEEDLESS, "mail lies in the store: see `posthorn store`" },
	{ "virtual_uid_maps", IMPORT_NEEDLESS, "" }, { "virtual_gid_maps", IMPORT_NEEDLESS, "" },
	{ "virtual_minimum_uid", IMPORT_NEEDLESS, "" },
	{ "home_mailbox", IMPORT_NEEDLESS, "mail lies in the store" },
	{ "mailbox_transport", IMPORT_NEEDLESS, "mail lies in the store" },
	{ "mailbox_size_limit", IMPORT_NEEDLESS, "see store.default-quota and `posthorn user quota`" },
	{ "virtual_mailbox_limit", IMPORT_NEEDLESS, "see store.default-quota and `posthorn user quota`" },
	{ "dovecot_destination_recipient_limit", IMPORT_NEEDLESS, "" },
	{ "default_process_limit", IMPORT_NEEDLESS, "" }, { "maillog_file", IMPORT_NEEDLESS, "see log.file, log.style" },
	{ "smtp_dns_support_level", IMPORT_SAME, "answers are validated" },
	{ "smtp_tls_CAfile", IMPORT_SAME, "the system's authorities" }, { "smtp_tls_CApath", IMPORT_SAME, "" },
	{ "smtpd_tls_CAfile", IMPORT_NEEDLESS, "" }, { "smtpd_tls_CApath", IMPORT_NEEDLESS, "" },
	{ "smtp_use_tls", IMPORT_SAME, "" }, { "smtpd_tls_ask_ccert", IMPORT_NEEDLESS, "" },
	{ "parent_domain_matches_subdomains", IMPORT_NEEDLESS, "told with relay_domains" },
	{ "allow_mail_to_commands", IMPORT_NEEDLESS, "" }, { "milter_default_action", IMPORT_NEEDLESS, "" },
	{ "milter_protocol", IMPORT_NEEDLESS, "" }, { "milter_mail_macros", IMPORT_NEEDLESS, "" },
	{ "tls_preempt_cipherlist", IMPORT_NEEDLESS, "" }, { "tls_random_source", IMPORT_NEEDLESS, "" },
	{ "smtpd_tls_mandatory_ciphers", IMPORT_NEEDLESS, "TLS 1.2 and newer, strong ciphers" },
	{ "smtp_tls_mandatory_ciphers", IMPORT_NEEDLESS, "TLS 1.2 and newer, strong ciphers" },
	{ "smtpd_tls_mandatory_protocols", IMPORT_NEEDLESS, "TLS 1.2 and newer" },
	{ "smtp_tls_mandatory_protocols", IMPORT_NEEDLESS, "TLS 1.2 and newer" },
	{ "smtpd_tls_protocols", IMPORT_NEEDLESS, "TLS 1.2 and newer" },
	{ "smtp_tls_protocols", IMPORT_NEEDLESS, "TLS 1.2 and newer" },
	{ "smtpd_tls_exclude_ciphers", IMPORT_NEEDLESS, "" }, { "smtpd_tls_ciphers", IMPORT_NEEDLESS, "" },
	{ "smtpd_tls_dh1024_param_file", IMPORT_NEEDLESS, "" }, { "smtpd_tls_eecdh_grade", IMPORT_NEEDLESS, "" },
	{ "virtual_maps", IMPORT_CARRIED, "virtual_alias_maps" },
	{ "mynetworks_style", IMPORT_LOST, "networks must be named: see relay-from" },
	{ "bounce_queue_lifetime", IMPORT_NEEDLESS, "see posthorn.conf(5)" },
};

static void
put_words(struct import *m)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (import_is_set(m, words[i].param))
			import_say(m, words[i].param, words[i].fate, "%s", words[i].note);
	for (size_t i = 0; i < sizeof restriction_lists / sizeof *restriction_lists; i++)
		if (import_is_set(m, restriction_lists[i]))
			restrictions(m, NULL, restriction_lists[i]);
}

/* What no rule spoke of: macros of the site's own that others name, and the rest. */
static void
put_rest(struct import *m)
{
	for (size_t i = 0; i < m->n_params; i++) {
		struct import_param *p = &m->params[i];
		const char *name = arena_cstr(m->arena, p->name);

		if (p->fate != IMPORT_OPEN)
			continue;
		if (!import_expand(m, NULL, p->value, 0).n)
			import_say(m, name, IMPORT_NEEDLESS, "it is empty");
		else if (p->used)
			import_say(m, name, IMPORT_CARRIED, "where other parameters name it");
		else
			import_say(m, name, IMPORT_LOST, "%.*s", STR_ARG(str_head(p->value, 200)));
	}
}

int
import_rules(struct import *m, struct err *e)
{
	int rc;

	local = virtuals = alias_domains = relays = (struct names){ .m = m };
	add_names(&local, "mydestination");
	add_names(&virtuals, "virtual_mailbox_domains");
	domains_of_aliases(m);
	choose_primary(m);
	buf_puts(&m->conf, "config 1\n");
	put_identity(m);
	put_domains(m);
	put_networks(m);
	put_certificates(m);
	put_services(m);
	put_values(m);
	put_relay_tls(m);
	put_passwords(m, e);
	rc = put_routes(m, e);
	if (rc)
		return rc;
	import_rewriting(m, e);
	put_accounts(m, e);
	put_words(m);
	put_rest(m);
	return write_file(m, "posthorn.conf", buf_view(&m->conf), 0644, e);
}
