/* CAPABILITY, NOOP, LOGOUT (RFC 3501 section 6.1), ID (RFC 2971), CHECK, ENABLE (RFC
 * 5161), NAMESPACE (RFC 2342). */
#include "imapd/commands.h"

enum result
cmd_capability(struct imap *c, struct parse *p)
{
	struct buf b = { 0 };

	if (!parse_end(p))
		return bad_args(c, p);
	capabilities(c, &b);
	out_c(c, "* CAPABILITY ");
	out_str(c, buf_view(&b));
	out_c(c, "\r\n");
	buf_done(&b);
	return ok(c, "CAPABILITY completed");
}

enum result
cmd_noop(struct imap *c, struct parse *p)
{
	return parse_end(p) ? ok(c, "NOOP completed") : bad_args(c, p);
}

enum result
cmd_check(struct imap *c, struct parse *p)
{
	return parse_end(p) ? ok(c, "CHECK completed") : bad_args(c, p);
}

enum result
cmd_logout(struct imap *c, struct parse *p)
{
	if (!parse_end(p))
		return bad_args(c, p);
	close_mailbox(c);
	bye(c, "Logging out");
	return ok(c, "LOGOUT completed");
}

enum result
cmd_id(struct imap *c, struct parse *p)
{
	if (!parse_sp(p) || !(parse_word(p, "NIL") || parse_skip_value(p)) || !parse_end(p))
		return bad_args(c, p);
	out_c(c, "* ID (\"name\" \"Posthorn\")\r\n");
	return ok(c, "ID completed");
}

enum result
cmd_enable(struct imap *c, struct parse *p)
{
	bool condstore = false;
	struct str what;

	do {
		if (!parse_sp(p) || !parse_atom(p, &what))
			return bad_args(c, p);
		if (str_ieq(what, STR("CONDSTORE")))
			condstore = true;
	} while (p->in.n);
	if (condstore)
		enable_condstore(c);
	out_c(c, condstore ? "* ENABLED CONDSTORE\r\n" : "* ENABLED\r\n");
	return ok(c, "ENABLE completed");
}

enum result
cmd_namespace(struct imap *c, struct parse *p)
{
	if (!parse_end(p))
		return bad_args(c, p);
	out_c(c, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	return ok(c, "NAMESPACE completed");
}
