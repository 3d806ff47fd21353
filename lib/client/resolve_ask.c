/* The command line's questions about addresses; see resolve_ask.h. */
#include "lib/client/resolve_ask.h"

#include <errno.h>

#define ANSWER_MS 60000u

int
resolve_ask(struct control *authd, struct str address, struct str sender, struct arena *a,
    struct resolve_answer *ret, struct err *e)
{
	struct resolve_request q = { .address = address, .sender = sender };
	struct buf b = { 0 };
	struct frame f;
	int rc;

	resolve_request_put(&b, &q);
	rc = control_call(authd, MSG_AUTH_RESOLVE, &b, -1, ANSWER_MS, a, &f, e);
	buf_done(&b);
	if (rc)
		return rc;
	if (f.fd >= 0)
		return err_set(e, -EPROTO, "authd gave an answer that cannot be read");
	rc = resolve_answer_get(f.body, a, ret);
	return rc ? err_set(e, rc, "authd gave an answer that cannot be read") : 0;
}

const char *
resolve_word(enum resolve_kind kind)
{
	static const char *const words[] = {
		[RESOLVE_ACCOUNT] = "account", [RESOLVE_NO_USER] = "unknown user",
		[RESOLVE_NOT_LOCAL] = "remote", [RESOLVE_DISABLED] = "disabled",
		[RESOLVE_LIST] = "list", [RESOLVE_REJECT] = "refused",
	};

	return (size_t)kind < sizeof words / sizeof *words && words[kind] ? words[kind] : "unknown";
}

static struct str
domain_of(struct str address)
{
	ptrdiff_t at = str_rchr(address, '@');

	return at < 0 ? address : str_skip(address, (size_t)at + 1);
}

void
resolve_way_put(struct buf *b, const struct resolve_answer *r, size_t i)
{
	struct envelope_rcpt p = { 0 };

	resolve_rcpt(r, i, r->address, &p);
	if (p.route == ROUTE_LOCAL) {
		buf_printf(b, "mailbox %.*s", STR_ARG(p.address));
		if (p.detail.n)
			buf_printf(b, " (detail %.*s)", STR_ARG(p.detail));
	} else if (p.route == ROUTE_PIPE) {
		buf_printf(b, "pipe %.*s", STR_ARG(p.next_hop));
	} else if (p.next_hop.n) {
		buf_printf(b, "relay <%.*s> to %.*s", STR_ARG(p.address), STR_ARG(p.next_hop));
	} else {
		buf_printf(b, "relay <%.*s> to MX of %.*s", STR_ARG(p.address), STR_ARG(domain_of(p.address)));
	}
}
