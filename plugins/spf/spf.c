/*
 * spf: checks by RFC 7208 who may send mail for the domains of HELO and MAIL FROM.
 *
 * All is done in the mail hook, where the sender is known and nothing has been sent yet. With
 * PH_ACCEPT the host is told not to ask about the rest of the message, unless a Received-SPF
 * field is wanted. Notes: `spf` ("RESULT DOMAIN mfrom|helo"), `auth.spf` (RFC 8601 resinfo).
 */
#include <errno.h>
#include <stdlib.h>

#include "plugins/spf/cross.h"

enum { NETS_MAX = 256, CODE_FORBIDDEN = 550, CODE_LATER = 451 };
enum { MODE_ENFORCE, MODE_MARK };

struct net {
	unsigned char ip[16];
	unsigned len, bits;
};

struct spf {
	int mark, helo, explain, received, compare;
	int refuse[SPF_RESULTS]; /* of a result: the code, or 0 */
	struct ph_str host;
	struct net skip[NETS_MAX];
	unsigned n_skip;
};

/* ---- one identity ---- */

struct check {
	struct spf_query q;
	struct spf_verdict v;
	const char *identity; /* mfrom, helo */
};

/* Names for the resolver are text in which a backslash begins an escape. */
static int
resolve(void *arg, struct ph_str name, uint32_t type, struct ph_dns *ret)
{
	struct ph_call *c = arg;
	char *p = NULL;
	size_t n = 0;

	if (!memchr(name.p, '\\', name.n))
		return ph_dns(c, name, type, ret);
	p = ph_alloc(c, 4 * name.n);
	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '\\') {
			memcpy(p + n, "\\092", 4);
			n += 4;
		} else {
			p[n++] = name.p[i];
		}
	}
	return ph_dns(c, ph_bytes(p, n), type, ret);
}

static void
compare(const struct check *k)
{
	enum spf_result other;

	if (!spf_cross_check(&k->q, &k->v, &other) || other == k->v.result)
		return;
	ph_count("differs", 1);
	ph_log(PH_WARN, "libspf2 differs: %s, we: %s; client %.*s, %s %s", spf_result_name(other),
	    spf_result_name(k->v.result), PH_ARG(k->q.ip), k->identity, k->v.domain);
}

/* Checks the sender, or at an empty one the HELO name. 0, or negative: nothing to check. */
static int
check(struct ph_call *c, const struct spf *s, struct ph_str sender, struct check *k)
{
	k->q = (struct spf_query){
		.ip = ph_text(c, PH_CLIENT_IP), .helo = ph_text(c, PH_HELO), .sender = sender, .host = s->host,
		.now = ph_number(c, PH_NOW_MS) / 1000, .dns = resolve, .arg = c,
	};
	k->identity = sender.n ? "mfrom" : "helo";
	if (spf_check(&k->q, &k->v) < 0)
		return -EINVAL;
	ph_count(spf_result_name(k->v.result), 1);
	if (s->compare)
		compare(k);
	return 0;
}

static void
tell(const struct check *k)
{
	enum spf_result r = k->v.result;

	if (r == SPF_FAIL || r == SPF_SOFTFAIL || r == SPF_TEMPERROR || r == SPF_PERMERROR)
		ph_log(PH_INFO, "%s: client %.*s, %s %s%s%s", spf_result_name(r), PH_ARG(k->q.ip), k->identity,
		    k->v.domain, k->v.why[0] ? ": " : "", k->v.why);
}

/* ---- notes ---- */

/* The domain as a property's value: as it is when nothing in it needs quotes, else left out. */
static int
is_plain(const char *s)
{
	for (; *s; s++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", *s))
			return 0;
	return 1;
}

static size_t
resinfo(char *buf, size_t size, const struct check *k)
{
	int n;

	if (k->v.domain[0] && is_plain(k->v.domain))
		n = snprintf(buf, size, "spf=%s smtp.%s=%s", spf_result_name(k->v.result),
		    k->identity[0] == 'm' ? "mailfrom" : "helo", k->v.domain);
	else
		n = snprintf(buf, size, "spf=%s", spf_result_name(k->v.result));
	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

/* `first` decides; the HELO identity is told beside it when it had a result. */
static void
note(struct ph_call *c, const struct check *first, const struct check *helo)
{
	char text[2 * SPF_DOMAIN_MAX + 100];
	size_t n;
	int len;

	len = snprintf(text, sizeof text, "%s %s %s", spf_result_name(first->v.result),
	    first->v.domain[0] && is_plain(first->v.domain) ? first->v.domain : "-", first->identity);
	ph_note_set(c, "spf", ph_bytes(text, (size_t)len));
	n = resinfo(text, sizeof text, first);
	if (helo && helo != first && helo->v.result != SPF_NONE) {
		memcpy(text + n, "; ", 2);
		n += 2 + resinfo(text + n + 2, sizeof text - n - 2, helo);
	}
	ph_note_set(c, "auth.spf", ph_bytes(text, n));
}

/* ---- answers ---- */

static enum ph_action
refuse(struct ph_call *c, const struct spf *s, const struct check *k, int code)
{
	const struct spf_verdict *v = &k->v;
	size_t room = SPF_EXPLANATION_MAX + 3 * SPF_DOMAIN_MAX;
	char *text = ph_alloc(c, room);
	int n;

	if (!text)
		return PH_TEMPFAIL;
	if (v->result == SPF_FAIL || v->result == SPF_SOFTFAIL)
		n = snprintf(text, room, "SPF: %.*s may not send mail for %s%s%.*s", PH_ARG(k->q.ip), v->domain,
		    s->explain && v->explanation[0] ? "; it explains: " : "", s->explain ? 300 : 0,
		    v->explanation);
	else
		n = snprintf(text, room, "SPF: the policy of %s cannot be evaluated: %s", v->domain, v->why);
	ph_reply(c, (uint32_t)code, code == CODE_LATER ? "4.7.24" : v->result == SPF_PERMERROR ? "5.7.24" :
	    "5.7.23", ph_bytes(text, n < 0 ? 0 : (size_t)n));
	ph_count("refused", 1);
	return code == CODE_LATER ? PH_TEMPFAIL : PH_REJECT;
}

static int
is_skipped(struct ph_call *c, const struct spf *s)
{
	unsigned char ip[16];
	int n;

	if ((ph_number(c, PH_FLAGS) & (PH_F_SUBMITTED | PH_F_LOCAL)) || ph_text(c, PH_USER).n)
		return 1;
	n = spf_ip_parse(ph_text(c, PH_CLIENT_IP), ip);
	for (unsigned i = 0; n > 0 && i < s->n_skip; i++)
		if ((int)s->skip[i].len == n && spf_ip_within(ip, s->skip[i].ip, s->skip[i].bits))
			return 1;
	return n < 0;
}

static enum ph_action
mail(struct ph_call *c)
{
	const struct spf *s = ph_self(c);
	const struct ph_str none = { "", 0 };
	struct ph_str sender = ph_text(c, PH_SENDER);
	struct check from, helo;
	const struct check *first = &from, *second = NULL;
	int code = 0;

	if (is_skipped(c, s) || check(c, s, sender, &from))
		return PH_ACCEPT;
	if (s->helo && sender.n && !check(c, s, none, &helo))
		second = &helo;
	note(c, first, second);
	tell(first);
	code = s->refuse[first->v.result];
	if (!code && second && second->v.result == SPF_FAIL) {
		code = s->refuse[SPF_FAIL];
		first = second;
		tell(second);
	}
	if (code && !s->mark)
		return refuse(c, s, first, code);
	return s->received ? PH_CONTINUE : PH_ACCEPT;
}

/* ---- Received-SPF (RFC 7208 section 9.1) ---- */

static size_t
quoted(char *buf, struct ph_str s)
{
	size_t n = 0;

	buf[n++] = '"';
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf[n++] = '\\';
		if ((unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f)
			buf[n++] = s.p[i];
	}
	buf[n++] = '"';
	return n;
}

static enum ph_action
message(struct ph_call *c)
{
	const struct spf *s = ph_self(c);
	struct ph_str said = ph_note(c, "spf"), ip = ph_text(c, PH_CLIENT_IP);
	struct ph_str sender = ph_text(c, PH_SENDER), helo = ph_text(c, PH_HELO);
	const char *blank = said.n ? memchr(said.p, ' ', said.n) : NULL;
	size_t room = 2 * (sender.n + helo.n + s->host.n) + 300, n;
	char *text = blank ? ph_alloc(c, room) : NULL;

	if (!text || !s->received)
		return PH_CONTINUE;
	n = (size_t)snprintf(text, room, "%.*s client-ip=%.*s;\r\n\tenvelope-from=", (int)(blank - said.p),
	    said.p, PH_ARG(ip));
	n += quoted(text + n, sender);
	n += (size_t)snprintf(text + n, room - n, "; helo=");
	n += quoted(text + n, helo);
	n += (size_t)snprintf(text + n, room - n, ";\r\n\treceiver=%.*s; identity=%s", PH_ARG(s->host),
	    sender.n ? "mailfrom" : "helo");
	if (ph_header_add(c, PH_TOP, ph_c("Received-SPF"), ph_bytes(text, n)) < 0)
		ph_log(PH_WARN, "Received-SPF cannot be added: 'grant headers' is missing");
	return PH_CONTINUE;
}

/* ---- options ---- */

/* "192.0.2.0/24", "2001:db8::1" */
static int
read_net(struct ph_str s, struct net *ret)
{
	const char *slash = memchr(s.p, '/', s.n);
	struct ph_str ip = ph_bytes(s.p, slash ? (size_t)(slash - s.p) : s.n);
	struct net net;
	int n = spf_ip_parse(ip, net.ip);
	unsigned bits = 0;

	if (n < 0)
		return n;
	net.len = (unsigned)n;
	net.bits = net.len * 8;
	if (slash) {
		if (slash + 1 == s.p + s.n || s.p + s.n - slash > 4)
			return -EINVAL;
		for (const char *p = slash + 1; p < s.p + s.n; p++) {
			if (*p < '0' || *p > '9')
				return -EINVAL;
			bits = bits * 10 + (unsigned)(*p - '0');
		}
		if (bits > net.bits)
			return -EINVAL;
		net.bits = bits;
	}
	*ret = net;
	return 0;
}

/* Networks of one text, divided by blanks or commas. */
static int
read_nets(struct spf *s, struct ph_str text)
{
	size_t at = 0, end;

	while (at < text.n) {
		for (end = at; end < text.n && !strchr(" ,\t", text.p[end]); end++)
			;
		if (end > at && (s->n_skip == NETS_MAX ||
		    read_net(ph_bytes(text.p + at, end - at), &s->skip[s->n_skip++])))
			return -EINVAL;
		at = end + 1;
	}
	return 0;
}

static int
init(struct ph_conf *conf, void **self)
{
	struct spf *s = calloc(1, sizeof *s);
	struct ph_str net;

	if (!s)
		return -1;
	s->mark = ph_option_number(conf, "mode") == MODE_MARK;
	s->helo = ph_option_number(conf, "helo") != 0;
	s->explain = ph_option_number(conf, "explain") != 0;
	s->received = ph_option_number(conf, "received-spf") != 0;
	s->compare = ph_option_number(conf, "compare") != 0;
	s->refuse[SPF_FAIL] = CODE_FORBIDDEN;
	s->refuse[SPF_SOFTFAIL] = ph_option_number(conf, "softfail") ? CODE_FORBIDDEN : 0;
	s->refuse[SPF_PERMERROR] = ph_option_number(conf, "permerror") ? CODE_FORBIDDEN : 0;
	s->refuse[SPF_TEMPERROR] = ph_option_number(conf, "temperror") ? CODE_LATER : 0;
	s->host = ph_conf_text(conf, PH_HOSTNAME);
	for (uint32_t i = 0; (net = ph_option_item(conf, "skip", i)).p; i++)
		if (read_nets(s, net))
			ph_conf_error(conf, "skip", "networks such as 192.0.2.0/24 are needed, 256 at most");
	if (s->received && !ph_granted(PH_CAP_HEADERS))
		ph_conf_error(conf, "received-spf", "this needs 'grant dns, headers'");
	if (s->compare && !spf_cross_built())
		ph_conf_error(conf, "compare", "this was built without libspf2");
	*self = s;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "mode", .type = PH_OPT_CHOICE, .preset = "enforce", .words = "enforce|mark",
	    .help = "Whether mail is refused, or results are only written." },
	{ .name = "helo", .type = PH_OPT_SWITCH, .preset = "on",
	    .help = "Check the HELO name too when there is a sender." },
	{ .name = "softfail", .type = PH_OPT_CHOICE, .preset = "accept", .words = "accept|reject",
	    .help = "What becomes of mail with the result softfail." },
	{ .name = "permerror", .type = PH_OPT_CHOICE, .preset = "accept", .words = "accept|reject",
	    .help = "What becomes of mail of a domain whose record is wrong." },
	{ .name = "temperror", .type = PH_OPT_CHOICE, .preset = "accept", .words = "accept|defer",
	    .help = "What becomes of mail when the DNS does not answer." },
	{ .name = "skip", .type = PH_OPT_LIST, .preset = "127.0.0.0/8 ::1",
	    .help = "Networks whose mail is not checked." },
	{ .name = "explain", .type = PH_OPT_SWITCH, .preset = "on",
	    .help = "Tell the client the domain's own explanation." },
	{ .name = "received-spf", .type = PH_OPT_SWITCH, .preset = "off",
	    .help = "Add a Received-SPF field." },
	{ .name = "compare", .type = PH_OPT_SWITCH, .preset = "off",
	    .help = "Ask libspf2 too and log when it differs." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("spf", "1.0"),
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_DNS,
	.may_use = PH_CAP_HEADERS,
	.options = options,
	.init = init,
	.fini = free,
	.mail = mail,
	.message = message,
};
PH_PLUGIN(plugin)
