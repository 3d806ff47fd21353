/*
 * posthorn dkim: the keys with which the plugin dkim signs. They are files of the plugin's own
 * folder (dkim_key.h), which it looks at again within seconds; the instance need not run.
 */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/proc/peers.h"
#include "mta/cli_tables.h"
#include "mta/dkim_key.h"

#define TTL 3600
#define AFTER_CREATE_MS (UINT64_C(3600) * 1000)
#define AFTER_ROTATE_MS (UINT64_C(86400) * 1000)

/* Where the keys are, and whose. */
struct place {
	const char *folder;
	uid_t owner;
	gid_t group;
};

/* ---- the plugin ---- */

static const struct conf_plugin *
find_plugin(struct cli *c)
{
	const struct settings *s = c->settings;
	const char *name = cli_opt(c, "plugin");

	for (size_t i = 0; i < s->n_plugins; i++) {
		const struct conf_plugin *p = &s->plugins[i];

		if (name ? str_eq(p->name, str_c(name)) : str_ends(p->file, STR("dkim.so")))
			return p;
	}
	return NULL;
}

static int
find_owner(struct cli *c, struct place *p)
{
	const struct passwd *pw;
	struct str name;

	p->owner = (uid_t)-1;
	p->group = (gid_t)-1;
	if (geteuid() || !c->settings->user_prefix.n)
		return CLI_OK;
	name = arena_printf(c->arena, "%.*s-%s", STR_ARG(c->settings->user_prefix), role_name(ROLE_FILTERD));
	pw = name.p ? getpwnam(name.p) : NULL;
	if (!pw)
		return cli_fail(c, CLI_FAILED, "no system user %s", name.p);
	p->owner = pw->pw_uid;
	p->group = pw->pw_gid;
	return CLI_OK;
}

/* The folder of the plugin's own files, as filterd makes it. */
static int
find_place(struct cli *c, struct place *ret)
{
	const struct conf_plugin *p = find_plugin(c);
	struct str base = c->settings->base_dir, dir;

	if (!p)
		return cli_fail(c, CLI_FAILED, "no plugin of the configuration has the file dkim.so: see posthorn-dkim(7)");
	if (find_owner(c, ret))
		return CLI_FAILED;
	dir = arena_printf(c->arena, "%.*s/plugins", STR_ARG(base));
	if (mkdir(dir.p, 0711) < 0 && errno != EEXIST)
		return cli_fail(c, CLI_FAILED, "cannot make %s: %s", dir.p, strerror(errno));
	dir = arena_printf(c->arena, "%s/%.*s", dir.p, STR_ARG(p->name));
	if (mkdir(dir.p, 0700) < 0 && errno != EEXIST)
		return cli_fail(c, CLI_FAILED, "cannot make %s: %s", dir.p, strerror(errno));
	if (ret->owner != (uid_t)-1 && chown(dir.p, ret->owner, ret->group) < 0)
		return cli_fail(c, CLI_FAILED, "cannot give %s to its user: %s", dir.p, strerror(errno));
	ret->folder = arena_printf(c->arena, "%s/keys", dir.p).p;
	return CLI_OK;
}

/* ---- names ---- */

/* Labels of letters, digits, - and _, joined by dots. */
static bool
is_name(struct str s)
{
	char before = '.';

	for (size_t i = 0; i < s.n; i++) {
		if (!(ascii_isalnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '_' || (s.p[i] == '.' && before != '.')))
			return false;
		before = s.p[i];
	}
	return s.n && before != '.';
}

/* The domain that was given, in lower case. */
static int
get_domain(struct cli *c, struct str *ret)
{
	struct str d = arena_lower(c->arena, str_c(c->args[0]));

	if (!is_name(d) || d.n > 253)
		return cli_fail(c, CLI_USAGE, "'%s' is not a domain name", c->args[0]);
	*ret = d;
	return CLI_OK;
}

/* ---- telling ---- */

static struct str
time_text(struct cli *c, uint64_t at)
{
	time_t t = (time_t)at;
	char text[32] = "";
	struct tm tm;

	if (at && gmtime_r(&t, &tm))
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return arena_dup(c->arena, str_c(text));
}

/* The record as a zone file has it: strings of at most 255 bytes (RFC 1035 section 3.3). */
static void
say_record(struct cli *c, const struct dkim_key *k, struct str record)
{
	cli_say(c, "%.*s._domainkey.%.*s. %d IN TXT (", STR_ARG(k->selector), STR_ARG(k->domain), TTL);
	for (; record.n; record = str_skip(record, 200))
		cli_say(c, "\t\"%.*s\"%s", STR_ARG(str_head(record, 200)), record.n <= 200 ? " )" : "");
}

static void
show_keys(struct cli *c, const struct dkim_key *v, size_t n)
{
	static const struct cli_col cols[] = { { "name" }, { "type" }, { "value" } };
	struct cli_table *t = c->json ? cli_table_new(c, cols, 3) : NULL;
	struct buf record = { 0 };

	for (size_t i = 0; i < n; i++) {
		buf_clear(&record);
		dkim_key_record(&record, &v[i]);
		if (!t) {
			say_record(c, &v[i], buf_view(&record));
			continue;
		}
		cli_cell(t, arena_printf(c->arena, "%.*s._domainkey.%.*s", STR_ARG(v[i].selector),
		    STR_ARG(v[i].domain)));
		cli_cell(t, STR("TXT"));
		cli_cell(t, arena_dup(c->arena, buf_view(&record)));
	}
	if (t)
		cli_table_end(&t);
	buf_done(&record);
}

/* ---- making keys ---- */

static const struct cli_opt make_opts[] = {
	{ "selector", OPT_STRING, "NAME", "the name of the key; today's date unless said otherwise" },
	{ "algorithm", OPT_CHOICE, "both|rsa|ed25519", "which keys are made: one for each algorithm" },
	{ "bits", OPT_NUMBER, "N", "length of an RSA key, 2048 unless said otherwise" },
	{ "after", OPT_TIME, "TIME", "when it begins to sign: the DNS must have the record by then" },
	{ "plugin", OPT_STRING, "NAME", "the plugin's block, where several sign" },
	{ 0 },
};

static bool
has_selector(const struct dkim_key *v, size_t n, struct str selector)
{
	for (size_t i = 0; i < n; i++)
		if (str_ieq(v[i].selector, selector))
			return true;
	return false;
}

/* A selector that is free: NAME-TYPE, where both are made; a date gets a letter if it must. */
static int
choose_selector(struct cli *c, const struct dkim_key *old, size_t n_old, const char *suffix, struct str *ret)
{
	const char *said = cli_opt(c, "selector");
	char date[16] = "";
	time_t now = time(NULL);
	struct tm tm;

	if (gmtime_r(&now, &tm))
		strftime(date, sizeof date, "%Y%m%d", &tm);
	*ret = arena_printf(c->arena, "%s%s", said ? said : date, suffix);
	for (char x = 'b'; !said && has_selector(old, n_old, *ret) && x <= 'z'; x++)
		*ret = arena_printf(c->arena, "%s%c%s", date, x, suffix);
	if (!is_name(*ret) || ret->n > 63)
		return cli_fail(c, CLI_USAGE, "'%.*s' is not a selector", STR_ARG(*ret));
	if (has_selector(old, n_old, *ret))
		return cli_fail(c, CLI_FAILED, "there is a key '%.*s' already", STR_ARG(*ret));
	return CLI_OK;
}

/* Makes and keeps one. */
static int
make_key(struct cli *c, const struct place *p, const struct dkim_key *old, size_t n_old, bool rsa,
    struct dkim_key *k)
{
	const char *algorithm = cli_opt(c, "algorithm");
	bool both = !algorithm || !strcmp(algorithm, "both");
	uint64_t bits = cli_opt_u64(c, "bits", 2048);
	struct err e = { 0 };

	if (bits < 1024 || bits > 4096)
		return cli_fail(c, CLI_USAGE, "an RSA key has from 1024 to 4096 bits");
	if (choose_selector(c, old, n_old, !both ? "" : rsa ? "-rsa" : "-ed", &k->selector))
		return CLI_FAILED;
	k->key = dkim_key_make(rsa, (unsigned)bits);
	if (!k->key || arena_defer(c->arena, (void (*)(void *))EVP_PKEY_free, k->key))
		return cli_fail(c, CLI_FAILED, "the key cannot be made");
	if (dkim_key_write(p->folder, k, p->owner, p->group, &e))
		return cli_fail(c, CLI_FAILED, "%s", e.text);
	return CLI_OK;
}

/* New keys that sign from `from` on, and what is to be published of them. */
static int
make_keys(struct cli *c, const struct place *p, struct str domain, const struct dkim_key *old, size_t n_old,
    uint64_t from)
{
	const char *algorithm = cli_opt(c, "algorithm");
	struct dkim_key v[2] = { { .domain = domain, .from = from }, { .domain = domain, .from = from } };
	size_t n = 0;
	int r = CLI_OK;

	if (!algorithm || strcmp(algorithm, "ed25519"))
		r = make_key(c, p, old, n_old, true, &v[n++]);
	if (!r && (!algorithm || strcmp(algorithm, "rsa")))
		r = make_key(c, p, old, n_old, false, &v[n++]);
	if (r)
		return r;
	show_keys(c, v, n);
	cli_say(c, "Publish this. Mail of %.*s is signed with it from %.*s on.", STR_ARG(domain),
	    STR_ARG(time_text(c, from)));
	return CLI_OK;
}

static int
read_keys(struct cli *c, const struct place *p, struct str domain, struct dkim_key **ret, size_t *n)
{
	struct err e = { 0 };

	if (dkim_keys_read(p->folder, domain, c->arena, ret, n, &e))
		return cli_fail(c, CLI_FAILED, "%s", e.text);
	return CLI_OK;
}

/* The keys of the domain that was given, and where they lie. */
static int
open_keys(struct cli *c, struct place *p, struct str *domain, struct dkim_key **v, size_t *n)
{
	int r = get_domain(c, domain);

	if (!r)
		r = find_place(c, p);
	return r ? r : read_keys(c, p, *domain, v, n);
}

static int
dkim_create(struct cli *c)
{
	uint64_t now = (uint64_t)time(NULL), after = cli_opt_u64(c, "after", AFTER_CREATE_MS) / 1000;
	struct dkim_key *old;
	struct place p;
	struct str domain;
	size_t n;
	int r = open_keys(c, &p, &domain, &old, &n);

	for (size_t i = 0; !r && i < n; i++)
		if (!old[i].until || now < old[i].until)
			return cli_fail(c, CLI_FAILED, "%.*s has a key '%.*s' that signs: dkim rotate",
			    STR_ARG(domain), STR_ARG(old[i].selector));
	return r ? r : make_keys(c, &p, domain, old, n, now + after);
}

static int
end_keys(struct cli *c, const struct place *p, struct dkim_key *v, size_t n, uint64_t at)
{
	struct err e = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (v[i].until && v[i].until <= at)
			continue;
		v[i].until = at;
		if (dkim_key_write(p->folder, &v[i], p->owner, p->group, &e))
			return cli_fail(c, CLI_FAILED, "%s", e.text);
		cli_say(c, "Key %.*s signs until then; its record must stay until %.*s.", STR_ARG(v[i].selector),
		    STR_ARG(time_text(c, at + DKIM_OVERLAP_S)));
	}
	return CLI_OK;
}

static int
dkim_rotate(struct cli *c)
{
	uint64_t now = (uint64_t)time(NULL), at = now + cli_opt_u64(c, "after", AFTER_ROTATE_MS) / 1000;
	struct dkim_key *old;
	struct place p;
	struct str domain;
	size_t n;
	int r = open_keys(c, &p, &domain, &old, &n);

	if (r)
		return r;
	if (!n)
		return cli_fail(c, CLI_FAILED, "%.*s has no keys: dkim create", STR_ARG(domain));
	for (size_t i = 0; i < n; i++)
		if (old[i].from > now)
			return cli_fail(c, CLI_FAILED, "key '%.*s' still waits: the rotation before is not over",
			    STR_ARG(old[i].selector));
	r = make_keys(c, &p, domain, old, n, at);
	return r ? r : end_keys(c, &p, old, n, at);
}

/* ---- the others ---- */

static const struct cli_opt plugin_opts[] = {
	{ "plugin", OPT_STRING, "NAME", "the plugin's block, where several sign" },
	{ 0 },
};

static int
dkim_list(struct cli *c)
{
	static const struct cli_col cols[] = { { "domain" }, { "selector" }, { "type" }, { "bits", true },
		{ "state" }, { "from" }, { "until" } };
	uint64_t now = (uint64_t)time(NULL);
	struct str domain = STR("");
	struct cli_table *t;
	struct dkim_key *v;
	struct place p;
	size_t n;

	if (c->n_args && get_domain(c, &domain))
		return CLI_USAGE;
	if (find_place(c, &p) || read_keys(c, &p, domain, &v, &n))
		return CLI_FAILED;
	t = cli_table_new(c, cols, sizeof cols / sizeof *cols);
	for (size_t i = 0; i < n; i++) {
		cli_cell(t, v[i].domain);
		cli_cell(t, v[i].selector);
		cli_cell(t, str_c(dkim_key_type(&v[i])));
		cli_cell_u64(t, dkim_key_bits(&v[i]));
		cli_cell(t, str_c(dkim_key_state(&v[i], now)));
		cli_cell(t, time_text(c, v[i].from));
		cli_cell(t, time_text(c, v[i].until));
	}
	cli_table_end(&t);
	return CLI_OK;
}

/* The records that must be in the DNS now. */
static int
dkim_show(struct cli *c)
{
	uint64_t now = (uint64_t)time(NULL);
	struct dkim_key *v;
	struct place p;
	struct str domain;
	size_t n, k = 0;
	int r = open_keys(c, &p, &domain, &v, &n);

	if (r)
		return r;
	for (size_t i = 0; i < n; i++)
		if (strcmp(dkim_key_state(&v[i], now), "over") &&
		    (c->n_args < 2 || str_ieq(v[i].selector, str_c(c->args[1]))))
			v[k++] = v[i];
	if (!k)
		return cli_fail(c, CLI_FAILED, "there is no such key");
	show_keys(c, v, k);
	return CLI_OK;
}

static const struct cli_opt delete_opts[] = {
	{ "force", OPT_FLAG, NULL, "even if the key signs, or mail that it has signed is still on its way" },
	{ "plugin", OPT_STRING, "NAME", "the plugin's block, where several sign" },
	{ 0 },
};

static int
dkim_delete(struct cli *c)
{
	uint64_t now = (uint64_t)time(NULL);
	struct err e = { 0 };
	struct dkim_key *v;
	struct place p;
	struct str domain;
	size_t n, i = 0;
	int r = open_keys(c, &p, &domain, &v, &n);

	if (r)
		return r;
	while (i < n && !str_ieq(v[i].selector, str_c(c->args[1])))
		i++;
	if (i == n)
		return cli_fail(c, CLI_FAILED, "there is no such key");
	if (!cli_flag(c, "force") && strcmp(dkim_key_state(&v[i], now), "over"))
		return cli_fail(c, CLI_FAILED, "the key is still needed (%s): --force deletes it", dkim_key_state(&v[i], now));
	if (dkim_key_delete(p.folder, &v[i], &e))
		return cli_fail(c, CLI_FAILED, "%s", e.text);
	cli_say(c, "deleted; its record is to be taken out of the DNS");
	return CLI_OK;
}

const struct verb cli_dkim[] = {
	{ "dkim", "create", "DOMAIN", "make the first keys of a domain", make_opts, dkim_create,
	    .more = "An RSA and an Ed25519 key, readable by the plugin's system user alone. They sign an hour later,\n"
		    "so that there is time to publish the records that are printed.",
	    .examples = "dkim create example.test\ndkim create example.test --algorithm rsa --selector s1 --after 0s\n" },
	{ "dkim", "list", "[DOMAIN]", "show the keys, and which of them sign", plugin_opts, dkim_list,
	    .more = "States: waiting (for its time), signing, published (signs no more, but its record must stay for\n"
		    "a week, for mail on its way), over (to be deleted)." },
	{ "dkim", "show", "DOMAIN [SELECTOR]", "print the records that the DNS must have", plugin_opts, dkim_show,
	    .examples = "dkim show example.test\n" },
	{ "dkim", "rotate", "DOMAIN", "make new keys that take the place of the old ones", make_opts, dkim_rotate,
	    .more = "A day later the new ones sign, and the old ones no more; the records of both must be in the DNS\n"
		    "until a week after that.",
	    .examples = "dkim rotate example.test\n" },
	{ "dkim", "delete", "DOMAIN SELECTOR", "delete a key that is over", delete_opts, dkim_delete },
	{ 0 },
};
