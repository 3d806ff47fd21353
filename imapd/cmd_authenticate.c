/* AUTHENTICATE (RFC 3501 section 6.2.2, RFC 4959). The mechanisms are lib/client/sasl's. */
#include <errno.h>
#include <string.h>

#include "imapd/commands.h"
#include "lib/base/text.h"
#include "lib/client/sasl.h"

enum { SASL_LINE_MAX = 16384 };

struct asking {
	struct imap *c;
	const char *why; /* it ended */
};

static bool
decode(struct str text, struct arena *a, struct str *ret)
{
	struct buf b = { .max = SASL_MESSAGE_MAX };
	bool fine = base64_get(&b, text) == 0 && !b.over;

	*ret = fine ? arena_dup(a, buf_view(&b)) : STR_NULL;
	if (b.p)
		explicit_bzero(b.p, b.n);
	buf_done(&b);
	return ret->p != NULL;
}

/* A challenge, and one base64 answer of the client: "*" cancels. */
static int
ask(void *arg, struct str challenge, struct arena *a, struct str *ret)
{
	struct asking *k = arg;
	struct buf b = { 0 };
	struct str line;
	int r;

	base64_put(&b, challenge);
	r = continuation(k->c, b.n ? arena_cstr(a, buf_view(&b)) : "");
	buf_done(&b);
	if (r < 0 || read_line(k->c, SASL_LINE_MAX, &line) < 0) {
		k->c->bye = true;
		return -EPIPE;
	}
	k->why = "Authentication cancelled";
	if (str_eq(line, STR("*")))
		return -ECANCELED;
	k->why = "Invalid base64";
	return decode(line, a, ret) ? 0 : -EINVAL;
}

static enum result
authenticate(struct imap *c, struct str mech, struct str initial)
{
	struct asking k = { .c = c };
	const struct sasl_client client = { .service = STR("imap"),
		.settings = imap_settings, .stream = c->st, .ask = ask,
		.arg = &k, .client_ip = str_c(session_peer_text(c->s)) };
	struct login_answer a = { 0 };
	struct str user;

	switch (sasl_log_in(mech, initial, &client, c->ar, &a, &user)) {
	case SASL_ENDED:
		return c->bye ? IMAP_BYE : bad(c, k.why);
	case SASL_UNKNOWN:
		return no(c, "[CANNOT] Mechanism is not supported");
	case SASL_MALFORMED:
		return bad(c, "Invalid message of the mechanism");
	case SASL_ANSWERED:
		break;
	}
	return logged_in(c, user, &a);
}

enum result
cmd_authenticate(struct imap *c, struct parse *p)
{
	struct str mech, first = STR_NULL;

	if (!parse_sp(p) || !parse_atom(p, &mech))
		return bad_args(c, p);
	if (p->in.n > 0) {
		if (!parse_sp(p))
			return bad_args(c, p);
		/* SASL-IR: "=" is an empty initial response */
		if (!decode(str_eq(p->in, STR("=")) ? STR("") : p->in, c->ar, &first))
			return bad(c, "Invalid base64");
	}
	if (!login_allowed(c))
		return not_in_plaintext(c);
	return authenticate(c, mech, first);
}
