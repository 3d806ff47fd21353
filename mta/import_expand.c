/*
 * Values of parameters: $name, ${name}, $(name), ${name?text}, ${name:text},
 * ${name?{text}:{text}}, $$ (postconf(5)); built-in defaults of the parameters that others
 * are made of.
 */
#include <stdio.h>
#include <unistd.h>

#include "mta/import.h"

#define DEPTH_MAX 20u
#define EXPANSIONS_MAX 10000u /* within one value */

static const struct {
	const char *name, *value;
} defaults[] = {
	{ "mydomain", "" }, /* by function: myhostname behind its first dot */
	{ "myhostname", "" },
	{ "myorigin", "$myhostname" },
	{ "mydestination", "$myhostname, localhost.$mydomain, localhost" },
	{ "mynetworks", "127.0.0.0/8, [::1]/128" },
	{ "inet_interfaces", "all" },
	{ "inet_protocols", "all" },
	{ "relay_domains", "" },
	{ "virtual_alias_maps", "$virtual_maps" },
	{ "virtual_alias_domains", "$virtual_alias_maps" },
	{ "virtual_mailbox_domains", "$virtual_mailbox_maps" },
	{ "virtual_transport", "virtual" },
	{ "local_transport", "local:$myhostname" },
	{ "relay_transport", "relay" },
	{ "default_transport", "smtp" },
	{ "mail_name", "Postfix" },
	{ "config_directory", "/etc/postfix" },
	{ "queue_directory", "/var/spool/postfix" },
	{ "data_directory", "/var/lib/postfix" },
	{ "alias_maps", "hash:/etc/aliases" },
	{ "recipient_delimiter", "" },
	{ "message_size_limit", "10240000" },
	{ "maximal_queue_lifetime", "5d" },
	{ "bounce_queue_lifetime", "5d" },
	{ "local_recipient_maps", "proxy:unix:passwd.byname $alias_maps" },
	{ "smtpd_recipient_restrictions", "" },
	{ "smtpd_relay_restrictions", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination" },
	{ "smtpd_sasl_auth_enable", "no" },
	{ "append_dot_mydomain", "yes" },
	{ "append_at_myorigin", "yes" },
};

struct import_param *
import_param(struct import *m, struct str name)
{
	return strmap_get(&m->by_name, name);
}

bool
import_is_set(struct import *m, const char *name)
{
	return import_param(m, str_c(name)) != NULL;
}

bool
import_yes(struct str value)
{
	return str_ieq(value, STR("yes"));
}

/* The host's own name, as Postfix takes it. */
static struct str
host_name(struct import *m)
{
	char name[256];

	if (gethostname(name, sizeof name) || !memchr(name, 0, sizeof name))
		return STR("localhost.localdomain");
	if (strchr(name, '.'))
		return arena_dup(m->arena, str_c(name));
	return arena_printf(m->arena, "%s.localdomain", name);
}

static struct str
domain_of(struct str host)
{
	ptrdiff_t dot = str_chr(host, '.');

	return dot < 0 ? STR("localdomain") : str_skip(host, (size_t)dot + 1);
}

/* What the parameter's text is, unexpanded. False: unknown. */
static bool
raw(struct import *m, const struct import_service *svc, struct str name, struct str *ret)
{
	struct import_param *p;

	for (size_t i = 0; svc && i < svc->n_opts; i++)
		if (str_eq(svc->opts[i].name, name)) {
			*ret = svc->opts[i].value;
			return true;
		}
	p = import_param(m, name);
	if (p) {
		p->used = true;
		*ret = p->value;
		return true;
	}
	if (str_eq(name, STR("myhostname"))) {
		*ret = host_name(m);
		return true;
	}
	if (str_eq(name, STR("mydomain"))) {
		*ret = domain_of(import_get(m, svc, "myhostname"));
		return true;
	}
	for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
		if (str_eq(name, str_c(defaults[i].name))) {
			*ret = str_c(defaults[i].value);
			return true;
		}
	return false;
}

/* Up to the bracket that closes the one that *s begins behind; *s is left behind it. */
static struct str
bracketed(struct str *s, char open, char close)
{
	size_t depth = 1, i;
	struct str in;

	for (i = 0; i < s->n && depth; i++)
		depth += s->p[i] == open ? 1 : s->p[i] == close ? (size_t)-1 : 0;
	in = str_head(*s, depth ? i : i - 1);
	*s = str_skip(*s, i);
	return in;
}

/* {text} without its braces, blanks around it trimmed (postconf(5)); else as it is. */
static struct str
without_braces(struct str s)
{
	struct str t = str_trim(s);

	if (t.n >= 2 && t.p[0] == '{' && t.p[t.n - 1] == '}')
		return str_trim(str_from(t.p + 1, t.n - 2));
	return s;
}

/* name?yes:no, with each part optional; text in braces may hold colons. */
static void
conditional(struct import *m, const struct import_service *svc, struct str in, unsigned depth,
    struct buf *out)
{
	size_t n = 0;
	struct str name, rest, yes = STR_NULL, no = STR_NULL, value = STR_NULL;
	bool has_yes = false, has_no = false, set;

	while (n < in.n && in.p[n] != '?' && in.p[n] != ':')
		n++;
	name = str_trim(str_head(in, n));
	rest = str_skip(in, n);
	if (rest.n && rest.p[0] == '?') {
		rest = str_skip(rest, 1);
		has_yes = true;
		if (rest.n && rest.p[0] == '{') {
			rest = str_skip(rest, 1);
			yes = str_trim(bracketed(&rest, '{', '}'));
		} else {
			yes = rest;
			rest = STR_NULL;
		}
	}
	if (rest.n && rest.p[0] == ':') {
		has_no = true;
		no = without_braces(str_skip(rest, 1));
	}
	set = raw(m, svc, name, &value) && import_expand(m, svc, value, depth + 1).n;
	if (!has_yes && !has_no)
		buf_str(out, import_expand(m, svc, value, depth + 1));
	else if (set)
		buf_str(out, import_expand(m, svc, has_yes ? yes : value, depth + 1));
	else if (has_no)
		buf_str(out, import_expand(m, svc, no, depth + 1));
}

static bool
is_name_char(char c)
{
	return ascii_isalnum(c) || c == '_';
}

/* What stands behind a '$'. */
static void
expand_one(struct import *m, const struct import_service *svc, struct str *s, unsigned depth,
    struct buf *out)
{
	size_t n = 0;
	char c = s->n ? s->p[0] : '\0';

	if (c == '$') {
		buf_putc(out, '$');
		*s = str_skip(*s, 1);
	} else if (c == '{' || c == '(') {
		*s = str_skip(*s, 1);
		conditional(m, svc, bracketed(s, c, c == '{' ? '}' : ')'), depth, out);
	} else {
		while (n < s->n && is_name_char(s->p[n]))
			n++;
		conditional(m, svc, str_head(*s, n), depth, out);
		*s = str_skip(*s, n);
	}
}

struct str
import_expand(struct import *m, const struct import_service *svc, struct str text, unsigned depth)
{
	struct buf b = { .max = 1 << 20 };
	struct str out;

	if (!depth)
		m->expansions = 0;
	/* a circle of names ends here: it may branch at each level */
	if (str_chr(text, '$') < 0 || depth > DEPTH_MAX || ++m->expansions > EXPANSIONS_MAX)
		return text;
	while (text.n) {
		if (text.p[0] == '$') {
			text = str_skip(text, 1);
			expand_one(m, svc, &text, depth, &b);
		} else {
			buf_putc(&b, text.p[0]);
			text = str_skip(text, 1);
		}
	}
	out = arena_dup(m->arena, buf_view(&b));
	buf_done(&b);
	return out;
}

struct str
import_get(struct import *m, const struct import_service *svc, const char *name)
{
	struct str value;

	if (!raw(m, svc, str_c(name), &value))
		return STR_NULL;
	return str_trim(import_expand(m, svc, value, 0));
}

bool
import_word(struct str *list, struct str *ret)
{
	size_t n = 0;

	while (list->n && (ascii_isspace(list->p[0]) || list->p[0] == ','))
		*list = str_skip(*list, 1);
	if (!list->n)
		return false;
	if (list->p[0] == '{') {
		*list = str_skip(*list, 1);
		*ret = str_trim(bracketed(list, '{', '}'));
		return true;
	}
	while (n < list->n && !ascii_isspace(list->p[n]) && list->p[n] != ',') {
		if (list->p[n] == '{') { /* inline:{a=b, c=d} is one word */
			struct str rest = str_skip(*list, n + 1);

			bracketed(&rest, '{', '}');
			n = list->n - rest.n;
		} else {
			n++;
		}
	}
	*ret = str_head(*list, n);
	*list = str_skip(*list, n);
	return true;
}
