/*
 * imapd: IMAP for native clients. It reads what the network sends and what
 * messages contain, so it holds neither files nor passwords: log-ins are authd's,
 * mail is maild's, by the ticket that authd gave. The session itself is in
 * session.c, its commands in cmd_*.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "imapd/imap.h"
#include "lib/client/auth.h"
#include "lib/mail/word.h"
#include "lib/proc/service.h"

/* Old settings live as long as the process. */
static void
take_settings(struct service *s, const struct settings *st)
{
	imap_settings = st;
}

static void
on_changed(void *arg, struct chan *c, const struct frame *f)
{
	struct auth_changed ch;

	if (auth_changed_get(f->body, &ch) == 0 && ch.account)
		account_changed(ch.account);
}

/* What authd said while it was away is lost: every session asks for itself. */
static void
on_authd(void *arg, struct chan *c, bool up)
{
	if (up)
		account_changed(0);
}

static int
init(struct service *s, struct err *e)
{
	charset_preload(); /* SEARCH and APPEND convert; what lacks is read as it is */
	take_settings(s, service_settings(s));
	return 0;
}

static int
start(struct service *s, struct err *e)
{
	static const char *const alpn[] = { "imap" };

	chan_on_event(ROLE_AUTHD, MSG_AUTH_EV_CHANGED, on_changed, NULL);
	chan_on_state(ROLE_AUTHD, on_authd, NULL);
	return service_tls(s) ? tls_server_alpn(service_tls(s), alpn, 1) : 0;
}

/* Sessions outlive their listener, so what they may do is never freed. */
static int
on_listen(struct service *s, const struct conf_listen *ls, int fd, struct err *e)
{
	static struct imap_listener *all;
	struct imap_listener *on = malloc(sizeof *on);

	if (!on)
		return err_set(e, -ENOMEM, "out of memory");
	*on = (struct imap_listener){
		.next = all,
		.conf = ls,
		.tls = service_tls(s),
		.implicit_tls = ls->tls == CONF_TLS_IMPLICIT,
		.starttls = ls->tls == CONF_TLS_OPTIONAL || ls->tls == CONF_TLS_REQUIRED,
		.tls_required = ls->tls == CONF_TLS_REQUIRED,
		.plaintext_auth = ls->plaintext_auth,
	};
	on->starttls = on->starttls && on->tls;
	all = on;
	return session_listen(service_loop(s), &imap_session_kind, fd, on, e) ? 0 : e->code;
}

int
main(int argc, char **argv)
{
	static const struct confine_spec confinement = { .kind = CONFINE_FRONT };
	static const struct service_spec spec = {
		.role = ROLE_IMAPD,
		.init = init,
		.start = start,
		.listen = on_listen,
		.config = take_settings,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
