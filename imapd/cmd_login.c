/* LOGIN (RFC 3501 section 6.2.3). */
#include "imapd/commands.h"

enum result
cmd_login(struct imap *c, struct parse *p)
{
	struct str user, password;

	if (!parse_sp(p) || !parse_astring(p, &user) || !parse_sp(p) ||
	    !parse_astring(p, &password) || !parse_end(p))
		return bad_args(c, p);
	if (!login_allowed(c))
		return not_in_plaintext(c);
	return log_in(c, user, password);
}
