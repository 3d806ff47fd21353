/*
 * milter: asks a milter (opendkim, rspamd's proxy, clamav-milter and their like) about mail, as
 * Sendmail and Postfix do.
 *
 *	plugin opendkim {
 *		file "milter.so"
 *		grant network, headers
 *		sandbox net
 *		socket "inet:8891@127.0.0.1"
 *	}
 *
 * A block is one milter; several blocks are asked in their order, each about what the one before
 * it has made of the message.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "plugins/milter/session.h"

#define MACROS_MAX 64

struct milter {
	struct milter_options o;
	struct milter_macro macros[MACROS_MAX];
};

/* The connection's, made when it is first needed; NULL without memory. */
static struct milter_session *
session_of(struct ph_call *c)
{
	const struct milter *m = ph_self(c);
	struct milter_session *s = ph_data(c, PH_OF_SESSION);

	if (s)
		return s;
	s = milter_session_new(&m->o);
	if (s && ph_data_set(c, PH_OF_SESSION, s, milter_session_free)) {
		milter_session_free(s);
		s = NULL;
	}
	return s;
}

static enum ph_action
hook(struct ph_call *c, enum milter_place place, bool rcpt)
{
	struct milter_session *s = session_of(c);

	return s ? milter_session_hook(s, c, place, rcpt) : PH_TEMPFAIL;
}

static enum ph_action
on_connect(struct ph_call *c)
{
	return hook(c, MILTER_CONNECTED, false);
}

static enum ph_action
on_helo(struct ph_call *c)
{
	return hook(c, MILTER_GREETED, false);
}

static enum ph_action
on_mail(struct ph_call *c)
{
	return hook(c, MILTER_MAIL, false);
}

static enum ph_action
on_rcpt(struct ph_call *c)
{
	return hook(c, MILTER_MAIL, true);
}

static enum ph_action
on_data(struct ph_call *c)
{
	return hook(c, MILTER_DATA, false);
}

static enum ph_action
on_message(struct ph_call *c)
{
	return hook(c, MILTER_MESSAGE, false);
}

static void
on_end(struct ph_call *c)
{
	struct milter_session *s = ph_data(c, PH_OF_SESSION);

	if (s)
		milter_session_txn_over(s);
}

/* The connection's data goes with it; this makes the host tell of the end. */
static void
on_close(struct ph_call *c)
{
	(void)c;
}

/* ---- options ---- */

static void
read_socket(struct ph_conf *conf, struct milter *m)
{
	struct ph_str s = ph_option_text(conf, "socket");
	int r = milter_address_parse(str_from(s.p, s.n), &m->o.address);

	if (r)
		ph_conf_error(conf, "socket", r == -EHOSTUNREACH ? "that host has no address" :
		    "write unix:/path, inet:port@host or inet:host:port");
}

/* "{name} value", or "name value". */
static void
read_macros(struct ph_conf *conf, struct milter *m)
{
	struct ph_str item;

	for (uint32_t i = 0; (item = ph_option_item(conf, "macro", i)).p; i++) {
		struct str rest = str_from(item.p, item.n), name = str_word(&rest);

		rest = str_trim(rest);
		if (!name.n || !rest.n || m->o.n_macros == MACROS_MAX) {
			ph_conf_error(conf, "macro", "write \"{name} value\", at most 64 of them");
			return;
		}
		m->macros[m->o.n_macros++] = (struct milter_macro){ { name.p, name.n }, { rest.p, rest.n } };
	}
}

static int
init(struct ph_conf *conf, void **self)
{
	struct milter *m = calloc(1, sizeof *m);

	if (!m)
		return -ENOMEM;
	m->o = (struct milter_options){
		.name = ph_conf_text(conf, PH_NAME), .hostname = ph_conf_text(conf, PH_HOSTNAME),
		.daemon = ph_option_text(conf, "daemon-name"),
		.version = (uint32_t)ph_option_number(conf, "protocol"),
		.connect_ms = (uint64_t)ph_option_number(conf, "connect-timeout"),
		.command_ms = (uint64_t)ph_option_number(conf, "command-timeout"),
		.content_ms = (uint64_t)ph_option_number(conf, "content-timeout"),
		.macros = m->macros,
	};
	switch (ph_option_number(conf, "default-action")) {
	case 1: m->o.fallback = MILTER_REJECT; break;
	case 2: m->o.fallback = MILTER_ACCEPT; break;
	case 3: m->o.fallback = MILTER_QUARANTINE; break;
	default: m->o.fallback = MILTER_TEMPFAIL; break;
	}
	read_socket(conf, m);
	read_macros(conf, m);
	*self = m;
	return 0;
}

static const struct ph_option options[] = {
	{ .name = "socket", .type = PH_OPT_TEXT,
	  .help = "Where the milter listens: unix:/path, inet:port@host, inet6:port@host, inet:host:port." },
	{ .name = "protocol", .type = PH_OPT_NUMBER, .preset = "6", .min = 2, .max = 6,
	  .help = "The version of the protocol that is offered; lower for milters that are old." },
	{ .name = "default-action", .type = PH_OPT_CHOICE, .preset = "tempfail",
	  .words = "tempfail|reject|accept|quarantine",
	  .help = "What becomes of mail when the milter cannot be reached, takes too long or sends nonsense." },
	{ .name = "connect-timeout", .type = PH_OPT_TIME, .preset = "5s",
	  .help = "How long connecting and negotiating may take." },
	{ .name = "command-timeout", .type = PH_OPT_TIME, .preset = "8s",
	  .help = "How long an answer before the message may take." },
	{ .name = "content-timeout", .type = PH_OPT_TIME, .preset = "50s",
	  .help = "How long an answer about the message may take, from the last sign of progress on." },
	{ .name = "daemon-name", .type = PH_OPT_TEXT, .preset = "",
	  .help = "The macro {daemon_name}; without it, the listener's protocol." },
	{ .name = "macro", .type = PH_OPT_LIST, .preset = "",
	  .help = "A macro with a value of the site's, such as \"{site} example\"." },
	{ .name = NULL },
};

static const struct ph_plugin plugin = {
	PH_PLUGIN_HEAD("milter", "1.0"),
	.flags = PH_THREADSAFE,
	.wants = PH_CAP_NET,
	.may_use = PH_CAP_HEADERS | PH_CAP_RCPTS | PH_CAP_SENDER | PH_CAP_BODY,
	.options = options,
	.init = init,
	.fini = free,
	.connect = on_connect,
	.helo = on_helo,
	.mail = on_mail,
	.rcpt = on_rcpt,
	.data = on_data,
	.message = on_message,
	.end = on_end,
	.close = on_close,
};
PH_PLUGIN(plugin)
