/* What addresses become; the rules are in rewrite.h. */
#include "mta/rewrite.h"

#include <errno.h>
#include <stdio.h>

#include "lib/mail/path.h"
#include "mta/address_list.h"

#define KEY_MAX (MAILNAME_LOCAL_MAX + MAILNAME_DOMAIN_MAX + 2)

struct rewriting {
	struct router *r;
	struct arena *a;
};

/* An address as it is looked up. */
struct subject {
	struct path path;
	struct mailname name;
	size_t base;          /* bytes of name's local part before the delimiter; 0: no detail */
	struct str detail;    /* from the delimiter on, as it was written */
	bool by_local;        /* keys without a domain count */
};

static int
fail(struct rewriting *w, int code, const char *what, struct str about)
{
	return err_set(&w->r->why, code, "%s: %.*s", what, STR_ARG(str_head(about, 200)));
}

static struct str
detail_of(const struct settings *s, struct str local)
{
	for (size_t i = 1; i < local.n; i++)
		if (str_chr(s->recipient_delimiter, local.p[i]) >= 0)
			return str_skip(local, i);
	return STR("");
}

/* 0; 1: not an address; negative. */
static int
read_subject(struct rewriting *w, struct str address, struct subject *ret)
{
	const struct settings *s = w->r->settings;
	int r;

	*ret = (struct subject){ 0 };
	r = path_parse_address(address, PATH_UTF8, w->a, &ret->path);
	if (r)
		return r == -ENOMEM ? r : 1;
	if (mailname_parse(ret->path.text, &ret->name))
		return 1;
	ret->base = route_base_length(s, ret->name.local);
	ret->detail = detail_of(s, ret->path.local);
	r = route_has_aliases(w->r, ret->name.domain);
	if (r < 0)
		return fail(w, r, "the directory cannot answer about", address);
	ret->by_local = r > 0 || str_ieq(ret->path.domain, s->origin_domain);
	return 0;
}

/* ---- tables ---- */

/* The keys of an address, best first: key i into out; false behind the last. *ret_base:
 * it leaves the detail out. An empty key is none. */
static bool
nth_key(const struct subject *s, unsigned i, char out[static KEY_MAX], bool *ret_base)
{
	const char *local = s->name.local, *domain = s->name.domain;
	int base = (int)s->base;

	*out = '\0';
	*ret_base = i == 1 || i == 3;
	switch (i) {
	case 0: snprintf(out, KEY_MAX, "%s@%s", local, domain); return true;
	case 1:
		if (base)
			snprintf(out, KEY_MAX, "%.*s@%s", base, local, domain);
		return true;
	case 2: snprintf(out, KEY_MAX, "%s", s->by_local ? local : ""); return true;
	case 3: snprintf(out, KEY_MAX, "%.*s", s->by_local ? base : 0, local); return true;
	case 4: snprintf(out, KEY_MAX, "@%s", domain); return true;
	}
	return false;
}

static int
find(struct rewriting *w, const struct conf_names *names, const struct subject *s, struct str *ret,
    bool *ret_base)
{
	char key[KEY_MAX];
	int r = 0;

	for (unsigned i = 0; !r && nth_key(s, i, key, ret_base); i++)
		if (*key)
			r = route_look(w->r, names, str_c(key), i == 0, w->a, ret);
	return r;
}

/* Adds the detail to a local part as addresses are written, behind what its quotes hold. */
static struct str
with_detail(struct rewriting *w, struct str local, struct str detail)
{
	struct buf b = { .max = 8192 };
	bool quoted = local.n > 1 && local.p[0] == '"' && local.p[local.n - 1] == '"';
	struct str text;

	if (!detail.n)
		return local;
	buf_putc(&b, '"');
	buf_str(&b, quoted ? str_from(local.p + 1, local.n - 2) : local);
	for (size_t i = 0; i < detail.n; i++) {
		if (detail.p[i] == '"' || detail.p[i] == '\\')
			buf_putc(&b, '\\');
		buf_putc(&b, detail.p[i]);
	}
	buf_putc(&b, '"');
	text = b.over ? STR_NULL : arena_dup(w->a, buf_view(&b));
	buf_done(&b);
	return text;
}

/* The value as an address in full. */
static int
complete(struct rewriting *w, const struct subject *s, struct str value, bool detail, struct str *ret)
{
	ptrdiff_t at = str_rchr(value, '@'), own = str_rchr(s->path.text, '@');
	struct str local = at < 0 ? value : str_head(value, (size_t)at);
	struct str domain = at < 0 ? w->r->settings->origin_domain : str_skip(value, (size_t)at + 1);
	struct str text;
	struct path p;

	local = at ? with_detail(w, local, detail ? s->detail : STR("")) :
	    str_head(s->path.text, (size_t)own);
	if (!local.p)
		return -ENOMEM;
	text = arena_printf(w->a, "%.*s@%.*s", STR_ARG(local), STR_ARG(domain));
	if (!text.p)
		return -ENOMEM;
	if (path_parse_address(text, PATH_UTF8, w->a, &p))
		return fail(w, -EBADMSG, "an address is rewritten to what is no address", value);
	*ret = p.text;
	return 0;
}

/* Through these tables until nothing changes: 1 and *address, 0, negative. */
static int
map(struct rewriting *w, const struct conf_names *names, bool propagate, struct str *address)
{
	bool changed = false, base;
	struct subject s;
	struct str value, next;

	if (!names->n)
		return 0;
	for (unsigned i = 0; i < REWRITE_ROUNDS; i++) {
		int r = read_subject(w, *address, &s);

		if (!r)
			r = find(w, names, &s, &value, &base);
		else if (r > 0)
			r = 0;
		if (r <= 0)
			return r ? r : changed;
		r = complete(w, &s, value, base && propagate, &next);
		if (r)
			return r;
		if (str_ieq(next, *address)) {
			changed |= !str_eq(next, *address);
			*address = next;
			return changed;
		}
		*address = next;
		changed = true;
	}
	return fail(w, -ELOOP, "an address is rewritten in a circle", *address);
}

/* ---- masquerading ---- */

static bool
is_exception(const struct settings *s, struct str local)
{
	for (size_t i = 0; i < s->masquerade_exceptions.n; i++)
		if (str_ieq(local, s->masquerade_exceptions.v[i]))
			return true;
	return false;
}

/* The domain that stands for this one: the first that fits; p NULL: none. */
static struct str
mask_of(const struct settings *s, struct str domain)
{
	for (size_t i = 0; i < s->masquerade_domains.n; i++) {
		struct str m = s->masquerade_domains.v[i];
		bool keep = m.n && m.p[0] == '!';
		size_t n = keep ? m.n - 1 : m.n;

		m = str_skip(m, keep);
		if (str_ieq(domain, m))
			return STR_NULL;
		if (domain.n > n + 1 && domain.p[domain.n - n - 1] == '.' && str_iends(domain, m))
			return keep ? STR_NULL : m;
	}
	return STR_NULL;
}

static int
masquerade(struct rewriting *w, struct str *address)
{
	const struct settings *s = w->r->settings;
	struct path p;
	struct str m;
	int r = path_parse_address(*address, PATH_UTF8, w->a, &p);

	if (r)
		return r == -ENOMEM ? r : 0;
	m = is_exception(s, p.local) ? STR_NULL : mask_of(s, p.domain);
	if (!m.p)
		return 0;
	*address = arena_printf(w->a, "%.*s@%.*s", (int)str_rchr(p.text, '@'), p.text.p, STR_ARG(m));
	return address->p ? 1 : -ENOMEM;
}

/* ---- kinds ---- */

static int
canonical(struct rewriting *w, unsigned class, struct str *address)
{
	const struct settings *s = w->r->settings;
	bool sender = class & (CONF_CLASS_SENDER | CONF_CLASS_HEADER_SENDER);
	const struct conf_names *own = sender ? &s->sender_canonical : &s->recipient_canonical;
	unsigned classes = sender ? s->sender_canonical_classes : s->recipient_canonical_classes;
	int changed = 0, r = 0;

	if (classes & class)
		r = map(w, own, s->propagate_extensions, address);
	changed |= r > 0;
	if (r >= 0 && s->canonical_classes & class)
		r = map(w, &s->canonical, s->propagate_extensions, address);
	changed |= r > 0;
	if (r >= 0 && s->masquerade_classes & class)
		r = masquerade(w, address);
	changed |= r > 0;
	return r < 0 ? r : changed;
}

/* Who gets a copy: a list of addresses in full. */
static int
copies(struct rewriting *w, const struct conf_names *names, struct str *address)
{
	struct address_item item;
	struct subject s;
	struct str list, one;
	struct buf b = { .max = TABLE_VALUE_MAX };
	bool base;
	int r = read_subject(w, *address, &s);

	if (!r)
		r = find(w, names, &s, &list, &base);
	else if (r > 0)
		return 0;
	if (r <= 0)
		return r;
	while ((r = address_list_next(&list, w->a, &item)) > 0) {
		r = item.kind == ADDRESS_MAIL ? complete(w, &s, item.text, false, &one) : -EINVAL;
		if (r)
			break;
		buf_puts(&b, b.n ? ", " : "");
		buf_str(&b, one);
	}
	*address = arena_dup(w->a, buf_view(&b));
	if (r == -EINVAL)
		r = fail(w, -EBADMSG, "copies go to what is no address", item.text);
	else if (!r)
		r = b.over || !address->p ? -ENOMEM : b.n > 0;
	buf_done(&b);
	return r;
}

int
rewrite_address(struct router *r, const struct rewrite_ask *ask, struct arena *a, struct str *ret)
{
	struct rewriting w = { r, a };
	struct str address = ask->address;
	int code = 0;

	switch (ask->kind) {
	case REWRITE_SENDER: code = canonical(&w, CONF_CLASS_SENDER, &address); break;
	case REWRITE_RCPT: code = canonical(&w, CONF_CLASS_RCPT, &address); break;
	case REWRITE_HEADER_SENDER: code = canonical(&w, CONF_CLASS_HEADER_SENDER, &address); break;
	case REWRITE_HEADER_RCPT: code = canonical(&w, CONF_CLASS_HEADER_RCPT, &address); break;
	case REWRITE_GENERIC: code = map(&w, &r->settings->generic, false, &address); break;
	case REWRITE_COPY_SENDER: code = copies(&w, &r->settings->sender_bcc, &address); break;
	case REWRITE_COPY_RCPT:
		code = canonical(&w, CONF_CLASS_RCPT, &address);
		if (code >= 0)
			code = copies(&w, &r->settings->recipient_bcc, &address);
		break;
	}
	if (code > 0)
		*ret = address;
	return code;
}
