/*
 * The values of transports tables: next hops in the house's words ("[host]:587",
 * "lmtp:[host]:24", "|command") and as transport(5) writes them, TRANSPORT:NEXTHOP.
 */
#include <errno.h>

#include "mta/route.h"

/* A next hop of the transports that speak SMTP or LMTP: without "inet:", and a bare
 * HOST:PORT of LMTP in brackets, since LMTP has no MX. */
static int
hop(struct str prefix, struct str next, struct arena *a, struct transport *ret)
{
	if (str_istarts(next, STR("inet:")))
		next = str_skip(next, 5);
	if (str_istarts(next, STR("unix:")) || (prefix.n && !next.n))
		return -EINVAL;
	ret->kind = TRANSPORT_HOP;
	if (prefix.n && next.p[0] != '[') {
		struct str host = next, port = STR_NULL;
		ptrdiff_t colon = str_rchr(next, ':');

		if (colon >= 0) {
			host = str_head(next, (size_t)colon);
			port = str_skip(next, (size_t)colon);
		}
		ret->next_hop = arena_printf(a, "%.*s[%.*s]%.*s", STR_ARG(prefix), STR_ARG(host),
		    STR_ARG(port));
	} else {
		ret->next_hop = arena_printf(a, "%.*s%.*s", STR_ARG(prefix), STR_ARG(next));
	}
	return ret->next_hop.p ? 0 : -ENOMEM;
}

static int
smtp(struct str next, struct arena *a, struct transport *ret)
{
	return hop(STR_NULL, next, a, ret);
}

static int
lmtp(struct str next, struct arena *a, struct transport *ret)
{
	return hop(STR("lmtp:"), next, a, ret);
}

static int
ours(struct str next, struct arena *a, struct transport *ret)
{
	ret->kind = TRANSPORT_DEFAULT;
	return 0;
}

static int
discard(struct str next, struct arena *a, struct transport *ret)
{
	ret->kind = TRANSPORT_DISCARD;
	return 0;
}

/* Whether s is "5.1.1" or the like. */
static bool
is_enhanced(struct str s)
{
	struct str rest = s;
	uint64_t class, subject, detail;

	return str_u64(str_cut(&rest, '.'), 5, &class) && (class == 4 || class == 5) &&
	    str_u64(str_cut(&rest, '.'), 999, &subject) && str_u64(rest, 999, &detail);
}

static int
refuse(struct str next, struct transport *ret, unsigned smtp_code, struct str enhanced)
{
	struct str rest = next, word = str_word(&rest);

	*ret = (struct transport){ .kind = TRANSPORT_REFUSE, .smtp = smtp_code, .enhanced = enhanced,
		.text = str_trim(next) };
	if (is_enhanced(word)) {
		ret->enhanced = word;
		ret->smtp = word.p[0] == '4' ? 450 : 550;
		ret->text = str_trim(rest);
	}
	if (!ret->text.n)
		ret->text = STR("Mail for this address is not taken");
	return 0;
}

static int
error(struct str next, struct arena *a, struct transport *ret)
{
	return refuse(next, ret, 550, STR("5.0.0"));
}

static int
retry(struct str next, struct arena *a, struct transport *ret)
{
	return refuse(next, ret, 450, STR("4.0.0"));
}

static const struct {
	struct str name;
	int (*take)(struct str next, struct arena *a, struct transport *ret);
} transports[] = {
	{ STR_INIT(""), smtp },
	{ STR_INIT("smtp"), smtp },
	{ STR_INIT("relay"), smtp },
	{ STR_INIT("lmtp"), lmtp },
	{ STR_INIT("local"), ours },
	{ STR_INIT("virtual"), ours },
	{ STR_INIT("discard"), discard },
	{ STR_INIT("error"), error },
	{ STR_INIT("retry"), retry },
};

int
transport_parse(struct str value, struct arena *a, struct transport *ret)
{
	struct str next = value, name;
	uint64_t port;

	*ret = (struct transport){ .kind = TRANSPORT_DEFAULT };
	if (!value.n || str_eq(value, STR(":")))
		return 0;
	if (value.p[0] == '|') {
		*ret = (struct transport){ .kind = TRANSPORT_PIPE, .next_hop = value };
		return 0;
	}
	if (value.p[0] == '[' || str_chr(value, ':') < 0)
		return smtp(value, a, ret);
	name = str_cut(&next, ':');
	for (size_t i = 0; i < sizeof transports / sizeof *transports; i++)
		if (str_ieq(name, transports[i].name))
			return transports[i].take(next, a, ret);
	if (str_u64(next, 65535, &port) && str_chr(name, '.') >= 0)
		return smtp(value, a, ret); /* HOST:PORT */
	return -EINVAL;
}
