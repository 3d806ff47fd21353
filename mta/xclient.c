/* The arguments of XCLIENT and XFORWARD; see xclient.h. */
#include "mta/xclient.h"

#include <arpa/inet.h>
#include <errno.h>

#include "lib/base/text.h"
#include "lib/mail/path.h"

#define VALUE_MAX 255

static bool
is_address(struct str *v)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	int family = str_chr(*v, ':') >= 0 ? AF_INET6 : AF_INET;

	if (str_istarts(*v, STR("IPV6:")))
		*v = str_skip(*v, 5);
	if (!v->n || v->n >= sizeof text || memchr(v->p, 0, v->n))
		return false;
	memcpy(text, v->p, v->n);
	text[v->n] = '\0';
	return inet_pton(family, text, bytes) == 1;
}

static bool
is_port(struct str *v)
{
	uint32_t port;

	return str_u32(*v, 65535, &port);
}

static bool
is_proto(struct str *v)
{
	if (str_ieq(*v, STR("ESMTP")))
		*v = STR("ESMTP");
	else if (str_ieq(*v, STR("SMTP")))
		*v = STR("SMTP");
	else
		return false;
	return true;
}

static bool
is_host(struct str *v)
{
	return path_is_host(*v);
}

static bool
is_printable(struct str *v)
{
	for (size_t i = 0; i < v->n; i++)
		if ((unsigned char)v->p[i] < 32 || v->p[i] == 127)
			return false;
	return v->n > 0;
}

static bool
is_source(struct str *v)
{
	bool local = str_ieq(*v, STR("LOCAL"));

	if (!local && !str_ieq(*v, STR("REMOTE")))
		return false;
	*v = local ? STR("LOCAL") : STR("REMOTE");
	return true;
}

enum { BOTH = XCLIENT_COMMAND | XFORWARD_COMMAND };

static const struct attr {
	struct str name;
	unsigned commands;
	enum xclient_attr attr;
	bool (*check)(struct str *v);
} attrs[] = {
	{ STR_INIT("NAME"), BOTH, XCLIENT_NAME, is_host },
	{ STR_INIT("ADDR"), BOTH, XCLIENT_ADDR, is_address },
	{ STR_INIT("PORT"), BOTH, XCLIENT_PORT, is_port },
	{ STR_INIT("PROTO"), BOTH, XCLIENT_PROTO, is_proto },
	{ STR_INIT("HELO"), XCLIENT_COMMAND, XCLIENT_HELO, is_host },
	{ STR_INIT("HELO"), XFORWARD_COMMAND, XCLIENT_HELO, is_printable },
	{ STR_INIT("LOGIN"), XCLIENT_COMMAND, XCLIENT_LOGIN, is_printable },
	{ STR_INIT("DESTADDR"), XCLIENT_COMMAND, XCLIENT_DESTADDR, is_address },
	{ STR_INIT("DESTPORT"), XCLIENT_COMMAND, XCLIENT_DESTPORT, is_port },
	{ STR_INIT("IDENT"), XFORWARD_COMMAND, XCLIENT_IDENT, is_printable },
	{ STR_INIT("SOURCE"), XFORWARD_COMMAND, XCLIENT_SOURCE, is_source },
};

static const struct attr *
attr_find(enum xclient_command command, struct str name)
{
	for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++)
		if (attrs[i].commands & command && str_ieq(name, attrs[i].name))
			return &attrs[i];
	return NULL;
}

static int
parse_value(const struct attr *attr, struct str text, struct arena *a, struct xclient *x)
{
	struct buf b;
	struct str v;
	int r = -EINVAL;

	x->given[attr->attr] = true;
	x->v[attr->attr] = STR_NULL;
	if (str_ieq(text, STR("[UNAVAILABLE]")) || str_ieq(text, STR("[TEMPUNAVAIL]")))
		return 0;
	buf_init(&b, VALUE_MAX);
	if (xtext_get(&b, text) == 0 && !b.over) {
		v = buf_view(&b);
		if (attr->check(&v))
			r = 0;
	}
	if (r == 0) {
		x->v[attr->attr] = arena_dup(a, v);
		r = x->v[attr->attr].p ? 0 : -EINVAL;
	}
	buf_done(&b);
	return r;
}

int
xclient_parse(enum xclient_command command, struct str args, struct arena *a, struct xclient *x,
    struct str *ret_attr)
{
	struct xclient new = *x;
	struct str word = str_word(&args);

	*ret_attr = word;
	if (!word.n)
		return -EINVAL;
	for (; word.n; word = str_word(&args)) {
		struct str value = word, name = str_cut(&value, '=');
		const struct attr *attr = attr_find(command, name);

		*ret_attr = name;
		if (!attr || !value.p || parse_value(attr, value, a, &new) < 0)
			return -EINVAL;
	}
	*x = new;
	return 0;
}
