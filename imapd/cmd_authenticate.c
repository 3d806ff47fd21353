/* AUTHENTICATE PLAIN and LOGIN (RFC 3501 section 6.2.2, RFC 4616, 4959). */
#include <string.h>

#include "imapd/commands.h"
#include "lib/base/text.h"

enum { SASL_LINE_MAX = 16384 };

/* One base64 answer of the client: "*" cancels. */
static bool
sasl_answer(struct imap *c, const char *challenge, struct str *ret, const char **ret_why)
{
	struct buf b = { .max = SASL_LINE_MAX };
	struct str line;
	bool fine;

	*ret_why = "Authentication cancelled";
	if (continuation(c, challenge) < 0 || read_line(c, SASL_LINE_MAX, &line) < 0) {
		c->bye = true;
		return false;
	}
	if (str_eq(line, STR("*")))
		return false;
	*ret_why = "Invalid base64";
	fine = base64_get(&b, line) == 0;
	if (fine)
		*ret = arena_dup(c->ar, buf_view(&b));
	buf_done(&b);
	return fine && ret->p;
}

/* authzid NUL authcid NUL password (RFC 4616). */
static enum result
plain(struct imap *c, struct str msg)
{
	struct str authzid = str_cut(&msg, '\0'), user;

	if (!msg.p)
		return bad(c, "Invalid PLAIN message");
	user = str_cut(&msg, '\0');
	if (!msg.p || user.n == 0 || str_chr(msg, '\0') >= 0)
		return bad(c, "Invalid PLAIN message");
	return log_in(c, STR("PLAIN"), user, msg, authzid);
}

/* SASL-IR: "=" is an empty initial response. */
static bool
initial(struct imap *c, struct parse *p, struct str *ret)
{
	struct buf b = { .max = SASL_LINE_MAX };
	bool fine = str_eq(p->in, STR("=")) || base64_get(&b, p->in) == 0;

	*ret = arena_dup(c->ar, buf_view(&b));
	buf_done(&b);
	return fine && ret->p;
}

enum result
cmd_authenticate(struct imap *c, struct parse *p)
{
	struct str mech, first = STR_NULL, password;
	bool is_plain, has_first;
	const char *why;

	if (!parse_sp(p) || !parse_atom(p, &mech))
		return bad_args(c, p);
	is_plain = str_ieq(mech, STR("PLAIN"));
	if (!is_plain && !str_ieq(mech, STR("LOGIN")))
		return no(c, "[CANNOT] Mechanism is not supported");
	has_first = p->in.n > 0;
	if (has_first && !parse_sp(p))
		return bad_args(c, p);
	if (!login_allowed(c))
		return not_in_plaintext(c);
	if (has_first && !initial(c, p, &first))
		return bad(c, "Invalid base64");
	if (!has_first && !sasl_answer(c, is_plain ? "" : "VXNlcm5hbWU6", &first, &why))
		return c->bye ? IMAP_BYE : bad(c, why);
	if (is_plain)
		return plain(c, first);
	if (!sasl_answer(c, "UGFzc3dvcmQ6", &password, &why))
		return c->bye ? IMAP_BYE : bad(c, why);
	return log_in(c, STR("LOGIN"), first, password, STR_NULL);
}
