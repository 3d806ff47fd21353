/* smtpd: SMTP, submission and LMTP from the network into the spool. */
#include "mta/smtpd.h"
#include "mta/smtpd_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define SESSIONS_MAX 1000000 /* the settings say less, with a better answer */

struct smtpd smtpd;

static struct metric sessions = METRIC_GAUGE("smtp_sessions", NULL, "Sessions that are open");
static struct metric sessions_total = METRIC_COUNTER("smtp_sessions_total", NULL,
    "Sessions that were opened");

static void *
open_session(struct session *session)
{
	struct smtp *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	metric_add(&sessions_total, 1);
	metric_set(&sessions, ++smtpd.sessions);
	s->session = session;
	s->io = session_stream(session);
	s->listen = session_listener_user(session);
	snprintf(s->id, sizeof s->id, "%08x%02x%06x", (unsigned)(clock_real_us() / 1000000),
	    service_instance(smtpd.service) & 0xff, (unsigned)session_id(session) & 0xffffff);
	return s;
}

static void
close_session(struct session *session)
{
	struct smtp *s = session_state(session);

	if (!s)
		return;
	smtp_txn_end(s);
	smtp_filter_over(s);
	smtp_forget(s);
	LOG_POSTFIX("smtp.ended", L_C("session", s->id), L_C("ip", session_peer_text(s->session)));
	front_leave(&s->front);
	free(s->host);
	free(s);
	metric_set(&sessions, --smtpd.sessions);
}

static int
smtpd_init(struct service *s, struct err *e)
{
	smtpd.service = s;
	cache_init();
	filter_init();
	return 0;
}

static void
smtpd_config(struct service *s, const struct settings *set)
{
	cache_clear();
}

static int
smtpd_listen(struct service *s, const struct conf_listen *ls, int fd, struct err *e)
{
	static const struct session_kind kind = {
		.name = "smtp",
		.max_sessions = SESSIONS_MAX,
		.busy_reply = "421 4.3.2 Too busy, try later\r\n",
		.open = open_session,
		.run = smtp_run,
		.close = close_session,
	};

	static struct kept {
		struct conf_listen on;
		struct kept *next;
	} *all;
	struct kept *kept = malloc(sizeof *kept);

	if (!kept)
		return err_set(e, -ENOMEM, "out of memory");
	/* Sessions outlive the config that made their listener, so each listener
	 * has its own copy for the life of the process; its strings are not used. */
	*kept = (struct kept){ *ls, all };
	kept->on.name = kept->on.address = STR_NULL;
	all = kept;
	return session_listen(service_loop(s), &kind, fd, &kept->on, e) ? 0 : e->code;
}

int
main(int argc, char **argv)
{
	static const struct confine_spec confinement = { .kind = CONFINE_FRONT };
	static const struct service_spec spec = {
		.role = ROLE_SMTPD,
		.init = smtpd_init,
		.listen = smtpd_listen,
		.config = smtpd_config,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
