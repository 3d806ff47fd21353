/* STARTTLS (RFC 3501 section 6.2.1). */
#include "imapd/commands.h"

enum result
cmd_starttls(struct imap *c, struct parse *p)
{
	if (!parse_end(p))
		return bad_args(c, p);
	if (c->tls)
		return bad(c, "TLS is active already");
	if (!c->on.starttls)
		return bad(c, "TLS is not offered here");
	out_str(c, c->tag);
	out_c(c, " OK Begin TLS negotiation now\r\n");
	out_flush(c);
	/* what was sent ahead of the handshake is dropped (RFC 3501 section 6.2.1) */
	if (stream_flush(c->st) < 0 || stream_tls_accept(c->st, c->on.tls) < 0) {
		c->bye = true;
		return IMAP_BYE;
	}
	c->tls = true;
	return IMAP_BYE; /* the tagged line is out */
}
