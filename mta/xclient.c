/* The arguments of XCLIENT; see xclient.h. */
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
is_login(struct str *v)
{
	for (size_t i = 0; i < v->n; i++)
		if ((unsigned char)v->p[i] < 32 || v->p[i] == 127)
			return false;
	return v->n > 0;
}

static const struct {
	struct str name;
	bool (*check)(struct str *v);
} attrs[XCLIENT_ATTRS] = {
	[XCLIENT_NAME] = { STR_INIT("NAME"), is_host },
	[XCLIENT_ADDR] = { STR_INIT("ADDR"), is_address },
	[XCLIENT_PORT] = { STR_INIT("PORT"), is_port },
	[XCLIENT_PROTO] = { STR_INIT("PROTO"), is_proto },
	[XCLIENT_HELO] = { STR_INIT("HELO"), is_host },
	[XCLIENT_LOGIN] = { STR_INIT("LOGIN"), is_login },
	[XCLIENT_DESTADDR] = { STR_INIT("DESTADDR"), is_address },
	[XCLIENT_DESTPORT] = { STR_INIT("DESTPORT"), is_port },
};

static int
parse_value(size_t attr, struct str text, struct arena *a, struct xclient *x)
{
	struct buf b;
	struct str v;
	int r = -EINVAL;

	x->given[attr] = true;
	x->v[attr] = STR_NULL;
	if (str_ieq(text, STR("[UNAVAILABLE]")) || str_ieq(text, STR("[TEMPUNAVAIL]")))
		return 0;
	buf_init(&b, VALUE_MAX);
	if (xtext_get(&b, text) == 0 && !b.over) {
		v = buf_view(&b);
		if (attrs[attr].check(&v))
			r = 0;
	}
	if (r == 0) {
		x->v[attr] = arena_dup(a, v);
		r = x->v[attr].p ? 0 : -EINVAL;
	}
	buf_done(&b);
	return r;
}

int
xclient_parse(struct str args, struct arena *a, struct xclient *ret, struct str *ret_attr)
{
	struct xclient x = { 0 };
	struct str word = str_word(&args);

	*ret_attr = word;
	if (!word.n)
		return -EINVAL;
	for (; word.n; word = str_word(&args)) {
		struct str value = word, name = str_cut(&value, '=');
		size_t attr = 0;

		while (attr < XCLIENT_ATTRS && !str_ieq(name, attrs[attr].name))
			attr++;
		*ret_attr = name;
		if (attr == XCLIENT_ATTRS || !value.p || parse_value(attr, value, a, &x) < 0)
			return -EINVAL;
	}
	*ret = x;
	return 0;
}
