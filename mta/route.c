/* The router: from an address to deliveries; the order of steps is in route.h. */
#include "mta/route.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "mta/address_list.h"
#include "mta/rewrite.h"

#define INCLUDE_MAX (1u << 20)
#define STEPS_MAX 20000   /* expansions for one recipient, whatever the limits say */

/* Steps that give other addresses. */
enum step { BY_NONE, BY_VIRTUAL, BY_ALIAS, BY_DIRECTORY, BY_FORWARD, BY_CATCH_ALL };

/* One address on the way. */
struct hop {
	const struct hop *up;
	struct str address;       /* "local@domain" as written */
	struct mailname name;
	bool known;               /* the names below are set */
	bool named;               /* name is set; else an address that only others know */
	char key[DIRECTORY_NAME_MAX + 1]; /* local@domain in lower case, unquoted */
	size_t base;              /* bytes of the local part before the delimiter; 0: no detail */
	bool ours;
	enum step step;           /* what its children come from */
	struct str owner;         /* envelope sender of what is below, or empty */
	struct str forwarder;     /* domain of ours that sends it on, or empty */
	unsigned depth;
};

struct routing {
	struct router *r;
	struct arena *a;
	struct str sender;
	struct resolve_target *v;
	size_t n, cap;
	unsigned steps;
	bool by_sender;
	bool pending;               /* something must be asked of tabled first */
	bool open;                  /* of the address as it was asked about */
	enum resolve_kind nobody;   /* why there is no target */
	struct transport refused;   /* kind TRANSPORT_REFUSE when one was met */
};

static int route_hop(struct routing *rt, struct hop *h);

static int
fail(struct routing *rt, int code, const char *what, struct str about)
{
	return err_set(&rt->r->why, code, "%s: %.*s", what, STR_ARG(str_head(about, 200)));
}

/* ---- names ---- */

size_t
route_base_length(const struct settings *s, const char *local)
{
	for (size_t i = 1; local[0] && local[i]; i++)
		if (str_chr(s->recipient_delimiter, local[i]) >= 0)
			return i;
	return 0;
}

static bool
in_names(const struct conf_names *names, const char *domain)
{
	for (size_t i = 0; i < names->n; i++) {
		struct str name = names->v[i], d = str_c(domain);

		if (str_ieq(name, d) || (name.n > 1 && name.p[0] == '.' && str_iends(d, name)))
			return true;
	}
	return false;
}

static bool
has_aliases(const struct routing *rt, const struct hop *h)
{
	const struct conf_names *d = &rt->r->settings->alias_domains;

	return h->ours && (!d->n || !h->name.domain[0] || in_names(d, h->name.domain));
}

int
route_has_aliases(const struct router *r, const char *domain)
{
	const struct conf_names *d = &r->settings->alias_domains;
	int code = directory_is_local(r->directory, domain);

	return code <= 0 ? code : !d->n || in_names(d, domain);
}

static bool
is_relayed(const struct routing *rt, const struct hop *h)
{
	return !h->ours && in_names(&rt->r->settings->relay_domains, h->name.domain);
}

/* Fills the hop's names. */
static int
hop_name(struct routing *rt, struct hop *h)
{
	int r;

	h->named = !mailname_parse(h->address, &h->name);
	h->known = true;
	if (!h->named)
		return 0;
	h->base = route_base_length(rt->r->settings, h->name.local);
	snprintf(h->key, sizeof h->key, "%s%s%s", h->name.local, h->name.domain[0] ? "@" : "",
	    h->name.domain);
	r = h->name.domain[0] ? directory_is_local(rt->r->directory, h->name.domain) : 1;
	if (r < 0)
		return fail(rt, r, "the directory cannot answer about", h->address);
	h->ours = r > 0;
	return 0;
}

/* Whether this step was taken with this address above already. */
static bool
taken(const struct hop *h, enum step step)
{
	for (const struct hop *up = h->up; up; up = up->up)
		if (up->step == step && up->named && !strcmp(up->key, h->key))
			return true;
	return false;
}

/* ---- tables ---- */

/* Asks the tables in turn. whole: the key is all of an address. 1 and *ret, *ret_from
 * (may be NULL); 0; negative. */
static int
ask_tables(struct router *r, const struct conf_names *names, struct str key, bool whole,
    struct arena *a, struct str *ret, struct table **ret_from)
{
	for (size_t i = 0; i < names->n; i++) {
		struct table *t = tables_get(r->tables, names->v[i]);
		int code;

		if (t && table_whole(t) && !whole)
			continue;
		r->lookups++;
		code = t ? table_find(t, key, a, ret) : -ENOENT;
		if (code == -EINPROGRESS)
			return code;
		if (code < 0)
			return err_set(&r->why, code == -ENOENT ? -EIO : code, "no answer from table: %.*s",
			    STR_ARG(str_head(names->v[i], 200)));
		if (code && ret_from)
			*ret_from = t;
		if (code)
			return 1;
	}
	return 0;
}

int
route_look(struct router *r, const struct conf_names *names, struct str key, bool whole,
    struct arena *a, struct str *ret)
{
	return ask_tables(r, names, key, whole, a, ret, NULL);
}

static int
look(struct routing *rt, const struct conf_names *names, struct str key, bool whole, struct str *ret,
    struct table **ret_from)
{
	return ask_tables(rt->r, names, key, whole, rt->a, ret, ret_from);
}

/* The address, then without its detail. *ret_base: found without. */
static int
look_address(struct routing *rt, const struct conf_names *names, const struct hop *h, struct str *ret,
    bool *ret_base)
{
	char key[DIRECTORY_NAME_MAX + 1];
	int r = look(rt, names, str_c(h->key), true, ret, NULL);

	*ret_base = false;
	if (r || !h->base)
		return r;
	snprintf(key, sizeof key, "%.*s@%s", (int)h->base, h->name.local, h->name.domain);
	*ret_base = true;
	return look(rt, names, str_c(key), false, ret, NULL);
}

static int
look_domain(struct routing *rt, const struct conf_names *names, const char *domain, struct str *ret)
{
	char key[MAILNAME_DOMAIN_MAX + 2];

	snprintf(key, sizeof key, "@%s", domain);
	return look(rt, names, str_c(key), false, ret, NULL);
}

/* ---- targets ---- */

static bool
same(const struct resolve_target *a, const struct resolve_target *b)
{
	return a->route == b->route && a->account == b->account && str_ieq(a->address, b->address) &&
	    str_eq(a->next_hop, b->next_hop);
}

static int
add(struct routing *rt, const struct resolve_target *t)
{
	for (size_t i = 0; i < rt->n; i++)
		if (same(&rt->v[i], t))
			return 1;
	if (rt->n >= rt->r->settings->alias_expansion_limit) {
		rt->refused = (struct transport){ TRANSPORT_REFUSE, .smtp = 451, .enhanced = STR("4.3.5"),
			.text = STR("The address stands for too many others") };
		return -E2BIG;
	}
	if (rt->n == rt->cap) {
		size_t cap = rt->cap ? rt->cap * 2 : 4;
		struct resolve_target *v = ARENA_ARRAY(rt->a, struct resolve_target, cap);

		if (!v)
			return -ENOMEM;
		if (rt->n)
			memcpy(v, rt->v, rt->n * sizeof *v);
		rt->v = v;
		rt->cap = cap;
	}
	rt->v[rt->n++] = *t;
	return 1;
}

/* The return path of mail that h sends to another server: the owner's, or SRS where the
 * sender is nobody of ours. */
static int
return_path(struct routing *rt, const struct hop *h, struct str *ret)
{
	const struct settings *s = rt->r->settings;
	struct buf b = { .max = 512 };
	struct mailname sender;
	int r;

	*ret = rt->sender.n ? h->owner : STR_NULL;
	if (ret->n || !h->forwarder.n || !s->srs)
		return 0;
	rt->by_sender = true;
	if (!rt->sender.n || mailname_parse(rt->sender, &sender) || !sender.domain[0])
		return 0;
	r = directory_is_local(rt->r->directory, sender.domain);
	if (r)
		return r < 0 ? r : 0;
	r = srs_forward(rt->r->srs_key, rt->sender, rt->r->day, &b);
	if (!r)
		*ret = arena_printf(rt->a, "%.*s@%.*s", STR_ARG(buf_view(&b)),
		    STR_ARG(s->srs_domain.n ? s->srs_domain : h->forwarder));
	buf_done(&b);
	return ret->n && !ret->p ? -ENOMEM : 0;
}

static int
add_remote(struct routing *rt, const struct hop *h, struct str next_hop)
{
	struct resolve_target t = { .route = ROUTE_REMOTE, .address = h->address, .next_hop = next_hop };
	int r = return_path(rt, h, &t.sender);

	return r ? r : add(rt, &t);
}

static int
add_pipe(struct routing *rt, const struct hop *h, struct str what)
{
	struct resolve_target t = { .route = ROUTE_PIPE, .address = h->address, .next_hop = what,
		.sender = rt->sender.n ? h->owner : STR_NULL };

	return add(rt, &t);
}

static int
add_account(struct routing *rt, const struct hop *h, const struct directory_account *a,
    struct str detail)
{
	struct resolve_target t = { .route = ROUTE_LOCAL, .account = a->id, .volume = a->volume,
		.slot = account_slot(a->id), .detail = detail,
		.quota = a->quota == AUTH_QUOTA_DEFAULT ? rt->r->settings->default_quota : a->quota,
		.sender = rt->sender.n ? h->owner : STR_NULL };

	t.address = arena_dup(rt->a, str_c(a->address));
	return t.address.p ? add(rt, &t) : -ENOMEM;
}

/* ---- going on with other addresses ---- */

/* The address of a list as one with a domain; extension: the detail to hang on, or
 * empty. "@domain" keeps the local part. */
static int
qualify(struct routing *rt, const struct hop *h, struct str item, struct str extension,
    struct str *ret)
{
	const struct settings *s = rt->r->settings;
	ptrdiff_t at = str_rchr(item, '@');
	struct str local = at < 0 ? item : str_head(item, (size_t)at);
	struct str domain = at < 0 ? str_c(h->name.domain) : str_skip(item, (size_t)at + 1);

	if (at == 0) {
		ptrdiff_t own = str_rchr(h->address, '@');

		local = own < 0 ? h->address : str_head(h->address, (size_t)own);
		extension = STR_NULL;
	}
	if (!domain.n)
		domain = s->n_domains ? s->domains[0] : s->hostname;
	if (local.n && local.p[local.n - 1] == '"')
		extension = STR_NULL;
	*ret = arena_printf(rt->a, "%.*s%.*s@%.*s", STR_ARG(local), STR_ARG(extension), STR_ARG(domain));
	return ret->p ? 0 : -ENOMEM;
}

/* Routes one address below h. */
static int
descend(struct routing *rt, const struct hop *h, struct str address, struct str owner)
{
	struct hop *child;
	int r;

	if (h->depth >= rt->r->settings->alias_depth_limit || ++rt->steps > STEPS_MAX) {
		rt->r->loop = true;
		return 0;
	}
	child = ARENA_NEW(rt->a, struct hop);
	if (!child)
		return -ENOMEM;
	*child = (struct hop){ .up = h, .address = address, .depth = h->depth + 1,
		.owner = owner.n ? owner : h->owner,
		.forwarder = h->ours && h->name.domain[0] ? str_c(h->name.domain) : h->forwarder };
	r = route_hop(rt, child);
	if (r == -EINPROGRESS) { /* the others are gone through: all is asked at once */
		rt->pending = true;
		return 0;
	}
	return r < 0 ? r : 0;
}

/* What a list of addresses says; programs: commands, files and includes count too. */
struct expansion {
	enum step step;
	struct str extension;
	struct str owner;
	bool programs;
};

static int expand_list(struct routing *rt, struct hop *h, struct str list, const struct expansion *x);

static int
expand_include(struct routing *rt, struct hop *h, struct str path, const struct expansion *x)
{
	struct expansion inner = *x;
	char *text = arena_alloc(rt->a, INCLUDE_MAX + 1);
	const char *name = arena_cstr(rt->a, path);
	struct str rest, list = STR_NULL;
	ssize_t n = 0, got = 1;
	struct buf b = { .max = INCLUDE_MAX };
	int fd = text && name ? open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1, r = 0;

	if (fd < 0)
		return fail(rt, -EIO, "cannot read the list", path);
	while (n <= (ssize_t)INCLUDE_MAX && got > 0) {
		got = read(fd, text + n, INCLUDE_MAX + 1 - (size_t)n);
		n += got > 0 ? got : 0;
	}
	close(fd);
	if (got < 0 || n > (ssize_t)INCLUDE_MAX)
		return fail(rt, -EIO, "cannot read the list", path);
	for (rest = str_from(text, (size_t)n); rest.p;) {
		struct str line = str_trim(str_cut(&rest, '\n'));

		if (line.n && line.p[0] != '#') {
			buf_str(&b, line);
			buf_putc(&b, '\n');
		}
	}
	list = arena_dup(rt->a, buf_view(&b));
	inner.programs = false; /* a list's owner names no programs */
	r = list.p ? expand_list(rt, h, list, &inner) : -ENOMEM;
	buf_done(&b);
	return r;
}

static int
expand_item(struct routing *rt, struct hop *h, const struct address_item *item,
    const struct expansion *x)
{
	struct str address, what;
	int r;

	if (item->kind == ADDRESS_MAIL) {
		r = qualify(rt, h, item->text, x->extension, &address);
		return r ? r : descend(rt, h, address, x->owner);
	}
	if (!x->programs)
		return fail(rt, -EACCES, "commands and files are for aliases tables alone", item->text);
	if (item->kind == ADDRESS_INCLUDE)
		return h->depth + 1 < rt->r->settings->alias_depth_limit ?
		    expand_include(rt, h, item->text, x) : 0;
	what = item->kind == ADDRESS_FILE ? item->text : arena_printf(rt->a, "|%.*s", STR_ARG(item->text));
	if (!what.p)
		return -ENOMEM;
	if (x->owner.n)
		h->owner = x->owner;
	r = add_pipe(rt, h, what);
	return r < 0 ? r : 0;
}

/* 0, or negative. */
static int
expand_list(struct routing *rt, struct hop *h, struct str list, const struct expansion *x)
{
	struct address_item item;
	int r;

	while ((r = address_list_next(&list, rt->a, &item)) > 0) {
		r = expand_item(rt, h, &item, x);
		if (r < 0)
			return r;
	}
	return r == -EINVAL ? fail(rt, -EBADMSG, "an alias goes to what is no address", item.text) : r;
}

/* Expands and says that the step took the address. */
static int
take_list(struct routing *rt, struct hop *h, struct str list, const struct expansion *x)
{
	int r;

	h->step = x->step;
	r = expand_list(rt, h, list, x);
	return r < 0 ? r : 1;
}

/* ---- the steps: 1 when the address is done, 0 when the next step follows ---- */

static int
step_return_path(struct routing *rt, struct hop *h)
{
	const struct settings *s = rt->r->settings;
	ptrdiff_t at = str_rchr(h->address, '@');
	struct buf b = { .max = 512 };
	struct str address;
	int r;

	if (!h->ours || at <= 0 || h->depth || !srs_is(str_head(h->address, (size_t)at)))
		return 0;
	r = srs_reverse(rt->r->srs_key, str_head(h->address, (size_t)at), rt->r->day,
	    s->srs_lifetime_ms / 86400000, &b);
	address = r ? STR_NULL : arena_dup(rt->a, buf_view(&b));
	buf_done(&b);
	if (r == -EINVAL)
		return 0; /* an ordinary name, as long as somebody has it */
	if (r) {
		rt->refused = (struct transport){ TRANSPORT_REFUSE, .smtp = 550, .enhanced = STR("5.1.6"),
			.text = STR("This return path has expired") };
		return 1;
	}
	r = address.p ? descend(rt, h, address, STR_NULL) : -ENOMEM;
	return r < 0 ? r : 1;
}

static int
step_virtual(struct routing *rt, struct hop *h)
{
	const struct conf_names *names = &rt->r->settings->virtual_aliases;
	struct expansion x = { .step = BY_VIRTUAL };
	struct str list;
	bool base;
	int r;

	if (!names->n || taken(h, BY_VIRTUAL) || !h->name.domain[0])
		return 0;
	r = look_address(rt, names, h, &list, &base);
	if (!r && has_aliases(rt, h)) {
		base = false;
		r = look(rt, names, str_c(h->name.local), false, &list, NULL);
		if (!r && h->base) {
			base = true;
			r = look(rt, names, str_from(h->name.local, h->base), false, &list, NULL);
		}
	}
	if (!r) {
		base = false;
		r = look_domain(rt, names, h->name.domain, &list);
	}
	if (r <= 0)
		return r;
	if (base && rt->r->settings->propagate_extensions)
		x.extension = str_c(h->name.local + h->base);
	return take_list(rt, h, list, &x);
}

/* Domain, its parents with a dot, and * for all. */
static int
look_transport(struct routing *rt, const struct hop *h, struct str *ret)
{
	const struct conf_names *names = &rt->r->settings->transports;
	bool base;
	int r = look_address(rt, names, h, ret, &base);
	const char *dot = h->name.domain;

	if (!r)
		r = look(rt, names, str_c(dot), false, ret, NULL);
	while (!r && (dot = strchr(dot + 1, '.')))
		r = look(rt, names, str_c(dot), false, ret, NULL);
	return r ? r : look(rt, names, STR("*"), false, ret, NULL);
}

static int
nobody(struct routing *rt, enum resolve_kind why)
{
	rt->nobody = why;
	return 1;
}

/* Of domains that are relayed: whether somebody has that name there. */
static int
recipient_known(struct routing *rt, const struct hop *h)
{
	const struct conf_names *names = &rt->r->settings->relay_recipients;
	struct str value;
	bool base;
	int r;

	if (!names->n)
		return 1;
	r = look_address(rt, names, h, &value, &base);
	return r ? r : look_domain(rt, names, h->name.domain, &value);
}

static int
step_transport(struct routing *rt, struct hop *h)
{
	struct transport t;
	struct str value;
	int r;

	if (!rt->r->settings->transports.n || !h->name.domain[0])
		return 0;
	r = look_transport(rt, h, &value);
	if (r <= 0)
		return r;
	if (transport_parse(value, rt->a, &t))
		return fail(rt, -EBADMSG, "unknown transport", value);
	if (t.kind == TRANSPORT_DEFAULT)
		return 0;
	if (t.kind == TRANSPORT_REFUSE) {
		rt->refused = t;
		return 1;
	}
	if (is_relayed(rt, h)) {
		r = recipient_known(rt, h);
		if (r <= 0)
			return r < 0 ? r : nobody(rt, RESOLVE_NO_USER);
	}
	if (t.kind == TRANSPORT_HOP)
		return add_remote(rt, h, t.next_hop);
	return add_pipe(rt, h, t.kind == TRANSPORT_PIPE ? t.next_hop : STR("/dev/null"));
}

/* owner-NAME of the table that has NAME: the envelope sender of its mail. */
static int
find_owner(struct routing *rt, struct table *t, const struct hop *h, struct str name, struct str *ret)
{
	struct str key = arena_printf(rt->a, "owner-%.*s", STR_ARG(name)), value;
	int r;

	if (str_starts(name, STR("owner-")) || !key.p)
		return 0;
	r = table_find(t, key, rt->a, &value);
	return r <= 0 ? r : qualify(rt, h, key, STR_NULL, ret);
}

static int
step_aliases(struct routing *rt, struct hop *h)
{
	const struct conf_names *names = &rt->r->settings->aliases;
	struct str name = str_c(h->name.local), list;
	struct expansion x = { .step = BY_ALIAS };
	struct table *from = NULL;
	int r;

	if (!names->n || !has_aliases(rt, h) || taken(h, BY_ALIAS))
		return 0;
	r = look(rt, names, name, true, &list, &from);
	if (!r && h->base) {
		name = str_head(name, h->base);
		r = look(rt, names, name, false, &list, &from);
	}
	if (r <= 0)
		return r;
	r = find_owner(rt, from, h, name, &x.owner);
	x.programs = table_is_aliases(from);
	return r < 0 ? r : take_list(rt, h, list, &x);
}

static int
step_directory_alias(struct routing *rt, struct hop *h)
{
	struct expansion x = { .step = BY_DIRECTORY };
	struct str list;
	int r;

	if (!h->ours || !h->name.domain[0] || taken(h, BY_DIRECTORY))
		return 0;
	r = directory_aliases(rt->r->directory, h->name.domain, str_c(h->name.local), rt->a, &list);
	if (!r && h->base)
		r = directory_aliases(rt->r->directory, h->name.domain, str_from(h->name.local, h->base),
		    rt->a, &list);
	return r <= 0 ? r : take_list(rt, h, list, &x);
}

static int
forward(struct routing *rt, struct hop *h, const struct directory_account *a, struct str detail)
{
	struct expansion x = { .step = BY_FORWARD };
	struct str list;
	int r = directory_forwards(rt->r->directory, a->id, rt->a, &list);

	if (r > 0 && a->forward == DIRECTORY_FORWARD_KEEP)
		r = add_account(rt, h, a, detail);
	return r <= 0 ? r : take_list(rt, h, list, &x);
}

static int
step_account(struct routing *rt, struct hop *h)
{
	struct directory_account a;
	struct str detail = STR_NULL;
	int r;

	if (!h->ours)
		return 0;
	r = directory_resolve(rt->r->directory, h->address, rt->r->settings->recipient_delimiter, &a,
	    &detail);
	if (r < 0)
		return fail(rt, r, "the directory cannot answer about", h->address);
	if (r != DIRECTORY_ACCOUNT)
		return 0;
	if (a.state != AUTH_ACTIVE)
		return nobody(rt, RESOLVE_DISABLED);
	if (a.forward && !taken(h, BY_FORWARD)) {
		r = forward(rt, h, &a, detail);
		if (r)
			return r;
	}
	return add_account(rt, h, &a, detail);
}

static int
step_catch_all(struct routing *rt, struct hop *h)
{
	struct expansion x = { .step = BY_CATCH_ALL };
	struct str list;
	int r;

	if (!h->ours || !h->name.domain[0])
		return 0;
	r = taken(h, BY_CATCH_ALL) ? 0 :
	    directory_aliases(rt->r->directory, h->name.domain, STR_NULL, rt->a, &list);
	if (r)
		return r < 0 ? r : take_list(rt, h, list, &x);
	return nobody(rt, RESOLVE_NO_USER);
}

/* relay-host, or what stands for it for this sender. */
static int
relay_of_sender(struct routing *rt, struct str *ret)
{
	const struct settings *s = rt->r->settings;
	struct hop sender = { .address = rt->sender };
	struct transport t;
	struct str value;
	bool base;
	int r;

	*ret = s->relay_host;
	if (!s->sender_relays.n)
		return 0;
	rt->by_sender = true;
	if (!rt->sender.n || hop_name(rt, &sender) || !sender.named)
		return 0;
	r = look_address(rt, &s->sender_relays, &sender, &value, &base);
	if (!r)
		r = look_domain(rt, &s->sender_relays, sender.name.domain, &value);
	if (r <= 0 || str_ieq(value, STR("DUNNO")))
		return r < 0 ? r : 0;
	if (transport_parse(value, rt->a, &t) || t.kind != TRANSPORT_HOP)
		return fail(rt, -EBADMSG, "not a next hop", value);
	*ret = t.next_hop;
	return 0;
}

static int
step_elsewhere(struct routing *rt, struct hop *h)
{
	struct str next_hop;
	int r;

	if (h->ours)
		return nobody(rt, RESOLVE_NO_USER);
	r = is_relayed(rt, h) ? recipient_known(rt, h) : 1;
	if (r <= 0)
		return r < 0 ? r : nobody(rt, RESOLVE_NO_USER);
	r = relay_of_sender(rt, &next_hop);
	return r < 0 ? r : add_remote(rt, h, next_hop);
}

static int (*const steps[])(struct routing *rt, struct hop *h) = {
	step_return_path, step_virtual, step_transport, step_aliases, step_directory_alias, step_account,
	step_catch_all, step_elsewhere,
};

static int
route_hop(struct routing *rt, struct hop *h)
{
	int r = h->known ? 0 : hop_name(rt, h);

	if (r)
		return r;
	if (!h->named)
		return step_elsewhere(rt, h);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		r = steps[i](rt, h);
		if (r)
			return r < 0 ? r : 0;
	}
	return 0;
}

/* ---- the answer ---- */

static void
refuse(struct resolve_answer *ret, unsigned smtp, struct str enhanced, struct str text)
{
	ret->kind = RESOLVE_REJECT;
	ret->smtp = smtp;
	ret->enhanced = enhanced;
	ret->text = text;
}

static void
no_targets(const struct routing *rt, struct resolve_answer *ret)
{
	if (rt->refused.kind)
		refuse(ret, rt->refused.smtp, rt->refused.enhanced, rt->refused.text);
	else if (rt->r->loop)
		refuse(ret, 554, STR("5.4.6"), STR("The address leads back to itself"));
	else
		ret->kind = rt->nobody ? rt->nobody : RESOLVE_NO_USER;
}

static void
one_target(const struct resolve_target *t, struct resolve_answer *ret)
{
	ret->kind = t->route == ROUTE_LOCAL ? RESOLVE_ACCOUNT : RESOLVE_NOT_LOCAL;
	ret->account = t->account;
	ret->volume = t->volume;
	ret->slot = t->slot;
	ret->quota = t->quota;
	ret->address = t->address;
	ret->detail = t->detail;
	ret->next_hop = t->next_hop;
}

static void
answer(const struct routing *rt, const struct hop *top, struct resolve_answer *ret)
{
	const struct resolve_target *t = rt->v;

	*ret = (struct resolve_answer){ .open = rt->open, .by_sender = rt->by_sender };
	if (!rt->n || rt->refused.smtp == 451) {
		no_targets(rt, ret);
	} else if (rt->n == 1 && !t->sender.n &&
	    (t->route == ROUTE_LOCAL || (t->route == ROUTE_REMOTE && !top->ours))) {
		one_target(t, ret);
	} else {
		ret->kind = RESOLVE_LIST;
		ret->targets = rt->v;
		ret->n_targets = rt->n;
	}
}

/* The address as it is known within the house. Who may send to it is decided by the
 * address that was said. A return path of ours names no user. */
static int
canonical(struct routing *rt, struct hop *top)
{
	const struct rewrite_ask ask = { REWRITE_RCPT, top->address };
	ptrdiff_t at = str_rchr(top->address, '@');
	struct str address;
	int r;

	rt->open = top->ours || (top->named && is_relayed(rt, top));
	if (!rewrite_wanted(rt->r->settings, REWRITE_RCPT) || !top->named || at < 0 ||
	    (top->ours && srs_is(str_head(top->address, (size_t)at))))
		return 0;
	r = rewrite_address(rt->r, &ask, rt->a, &address);
	if (r > 0)
		*top = (struct hop){ .address = address };
	return r < 0 ? r : 0;
}

/* Past all aliases: the account, or that there is none. */
static int
whose(struct routing *rt, struct hop *h, struct resolve_answer *ret)
{
	struct directory_account a;
	struct str detail = STR_NULL;
	int r = directory_resolve(rt->r->directory, h->address, rt->r->settings->recipient_delimiter, &a,
	    &detail);

	if (r < 0)
		return r;
	*ret = (struct resolve_answer){ .open = r != DIRECTORY_NOT_LOCAL,
		.kind = r == DIRECTORY_NOT_LOCAL ? RESOLVE_NOT_LOCAL : RESOLVE_NO_USER };
	if (r != DIRECTORY_ACCOUNT)
		return 0;
	r = add_account(rt, h, &a, detail);
	if (r < 0)
		return r;
	one_target(rt->v, ret);
	if (a.state != AUTH_ACTIVE)
		ret->kind = RESOLVE_DISABLED;
	return 0;
}

int
route_resolve(struct router *r, const struct resolve_request *q, struct arena *a,
    struct resolve_answer *ret)
{
	struct routing rt = { .r = r, .a = a, .sender = q->sender };
	struct hop top = { .address = q->address };
	int code;

	r->lookups = 0;
	r->loop = false;
	if (q->whose)
		return whose(&rt, &top, ret);
	code = hop_name(&rt, &top);
	if (!code)
		code = canonical(&rt, &top);
	if (!code)
		code = route_hop(&rt, &top);
	if (!code && rt.pending)
		code = -EINPROGRESS;
	if (code == -E2BIG && rt.refused.kind)
		code = 0;
	if (code < 0)
		return code;
	answer(&rt, &top, ret);
	return 0;
}
