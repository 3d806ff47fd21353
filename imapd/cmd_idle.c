/* IDLE (RFC 2177). */
#include <string.h>

#include "imapd/commands.h"
#include "imapd/view.h"

enum result
cmd_idle(struct imap *c, struct parse *p)
{
	struct wire_error we = { 0 };
	int r = 0;

	if (!parse_end(p))
		return bad_args(c, p);
	if (c->view && (r = view_sync(c, true, &we)) < 0)
		return no_store(c, r, &we);
	if (!(c->idle_tag = strndup(c->tag.p, c->tag.n)))
		return no(c, "[UNAVAILABLE] Out of memory");
	out_c(c, "+ idling\r\n");
	if (c->view)
		view_announce(c, true, NULL);
	return IMAP_BYE; /* the tagged line comes behind DONE */
}
