/*
 * A session's account: log-in, the ticket and its renewal, the handle at the store
 * and how it is had again after maild died, and looking up mailboxes.
 */
#include <errno.h>
#include <stdlib.h>

#include "imapd/imap.h"
#include "imapd/tree.h"
#include "imapd/view.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/auth.h"

enum {
	RENEW_MS = 6 * 60 * 1000, /* before the ticket ends */
	FAILURES_MAX = 10,
};

bool
login_allowed(const struct imap *c)
{
	return c->tls || (c->on.plaintext_auth && !c->on.tls_required);
}

static void
on_event(void *arg, uint32_t mailbox, uint64_t modseq)
{
	struct imap *c = arg;

	if (mailbox == 0) {
		c->acct_void = true;
		box_lose(c->account);
	} else if (c->view && c->view->mailbox == mailbox) {
		c->view->news = true;
	} else {
		return;
	}
	if (c->idle_tag)
		session_poke(c->s);
}

static enum result
take_account(struct imap *c, const struct login_answer *a)
{
	unsigned handles = 0, most = imap_settings->imap_sessions_per_user;
	struct err e;
	int r;

	r = store_attach(a->ticket, a->slot, on_event, c, &c->acct, &handles, &e);
	if (r < 0) {
		LOG_WARN("imap.attach_failed", L_STR("user", a->user), L_C("why", e.text));
		return no(c, "[UNAVAILABLE] Mail store is not available, try again");
	}
	if (most && handles > most) {
		store_detach(&c->acct);
		return no(c, "[LIMIT] Too many connections of this user");
	}
	c->account = a->account;
	c->slot = a->slot;
	c->user = strndup(a->user.p, a->user.n);
	buf_clear(&c->ticket);
	buf_str(&c->ticket, a->ticket);
	c->ticket_expires_ms = a->ticket_expires_ms;
	c->state = IN_AUTH;
	c->cmd.max = IMAP_COMMAND_MAX;
	c->cmd.b.max = IMAP_COMMAND_MAX + 2;
	LOG_INFO("imap.login", L_STR("user", a->user), L_C("client", session_peer_text(c->s)),
	    L_U64("tls", c->tls));
	return IMAP_OK;
}

enum result
logged_in(struct imap *c, struct str user, const struct login_answer *a)
{
	struct buf b = { 0 };
	enum result r;

	if (!a->ok && a->temporary)
		return no(c, "[UNAVAILABLE] Log-in is not available, try again");
	if (!a->ok) {
		LOG_INFO("imap.login_failed", L_STR("user", user),
		    L_C("client", session_peer_text(c->s)), L_STR("why", a->text));
		if (++c->failures == FAILURES_MAX)
			bye(c, "Too many failed log-ins");
		return no(c, "[AUTHENTICATIONFAILED] Authentication failed");
	}
	if ((r = take_account(c, a)) != IMAP_OK)
		return r;
	buf_puts(&b, "[CAPABILITY ");
	capabilities(c, &b);
	buf_puts(&b, "] Logged in");
	c->text = arena_dup(c->ar, buf_view(&b));
	buf_done(&b);
	return IMAP_OK;
}

enum result
log_in(struct imap *c, struct str user, struct str password)
{
	struct login_request q = { .mech = STR("LOGIN"), .user = user, .password = password,
		.service = STR("imap"), .tls = c->tls, .client_ip = str_c(session_peer_text(c->s)) };
	struct login_answer a = { 0 };

	if (auth_login(&q, c->ar, &a) < 0)
		a = (struct login_answer){ .temporary = true };
	return logged_in(c, user, &a);
}

bool
account_renew(struct imap *c)
{
	uint64_t now = clock_real_us() / 1000;
	struct login_answer a = { 0 };
	struct wire_error we = { 0 };
	int r;

	if (!c->user || (!c->recheck && now + RENEW_MS < c->ticket_expires_ms))
		return true;
	r = auth_renew(buf_view(&c->ticket), c->ar, &a);
	if (r == -EACCES || (r == 0 && !a.ok && !a.temporary))
		return false;
	if (r < 0 || !a.ok)
		return true; /* authd is away: the old ticket still holds for a while */
	c->recheck = false;
	buf_clear(&c->ticket);
	buf_str(&c->ticket, a.ticket);
	c->ticket_expires_ms = a.ticket_expires_ms;
	if (c->acct && !c->acct_void && store_renew(c->acct, a.ticket, &we) == -ESTALE)
		c->acct_void = true;
	return true;
}

enum result
store_ready(struct imap *c)
{
	struct wire_error we = { 0 };
	struct err e;
	int r;

	if (!c->acct || c->acct_void) {
		if (c->view)
			view_freeze(c->view);
		store_detach(&c->acct);
		r = store_attach(buf_view(&c->ticket), c->slot, on_event, c, &c->acct, NULL, &e);
		if (r == -EACCES)
			return bye(c, "[UNAVAILABLE] Account is not available any more");
		if (r < 0)
			return no(c, "[UNAVAILABLE] Mail store is not available, try again");
		c->acct_void = false;
	}
	if (!c->view || c->view->box)
		return IMAP_OK;
	r = view_thaw(c, c->view, &we);
	if (r == -ENOENT)
		return bye(c, "Selected mailbox is gone");
	return r < 0 ? no_store(c, r, &we) : IMAP_OK;
}

int
mailbox_find(struct imap *c, struct str name, struct store_mailbox *ret, struct wire_error *we)
{
	struct store_mailbox *v;
	size_t n, i;
	int r = store_list(c->acct, c->ar, &v, &n, we);

	for (i = 0; r == 0 && i < n; i++)
		if (str_eq(v[i].name, name)) {
			*ret = v[i];
			return v[i].id ? 0 : -ENOENT;
		}
	return r < 0 ? r : -ENOENT;
}

enum result
mailbox_tree(struct imap *c, struct tree *ret)
{
	struct wire_error we = { 0 };
	struct store_mailbox *v;
	size_t n;
	int r = store_list(c->acct, c->ar, &v, &n, &we);

	if (r < 0)
		return no_store(c, r, &we);
	return tree_make(ret, v, n, c->ar) ? IMAP_OK : no(c, "[LIMIT] Too many mailboxes");
}
