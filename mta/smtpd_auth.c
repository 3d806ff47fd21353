/* AUTH: RFC 4954. The mechanisms are lib/client/sasl's. */
#include <errno.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/client/sasl.h"
#include "mta/smtpd.h"

/* Decodes into the arena; "=" is the empty initial response. False: answered. */
static bool
decode(struct smtp *s, struct str text, struct arena *a, struct str *ret)
{
	struct buf b = { .max = SASL_MESSAGE_MAX };
	bool ok = base64_get(&b, text) == 0 && !b.over;

	*ret = ok ? arena_dup(a, buf_view(&b)) : STR_NULL;
	if (b.p)
		explicit_bzero(b.p, b.n);
	buf_done(&b);
	if (!ret->p)
		smtp_reply(s, 501, "5.5.2", "Bad base64");
	return ret->p != NULL;
}

/* 334 with the challenge, and what the client says to it. */
static int
ask(void *arg, struct str challenge, struct arena *a, struct str *ret)
{
	struct smtp *s = arg;
	struct buf b = { 0 };
	struct str line;
	int code;

	base64_put(&b, challenge);
	stream_printf(s->io, "334 %.*s\r\n", STR_ARG(buf_view(&b)));
	buf_done(&b);
	code = stream_flush(s->io);
	if (code == 0)
		code = smtp_line(s, true, SMTP_LINE_MAX, &line);
	if (code != 1) {
		s->closing |= code != -EBADMSG;
		return -EPIPE;
	}
	if (str_eq(line, STR("*"))) {
		smtp_reply(s, 501, "5.7.0", "Authentication cancelled");
		return -ECANCELED;
	}
	return decode(s, line, a, ret) ? 0 : -EINVAL;
}

static void
answered(struct smtp *s, struct str mech, struct str user, const struct login_answer *l)
{
	if (l->temporary) {
		smtp_reply(s, 454, "4.7.0", "Temporary authentication failure");
	} else if (!l->ok) {
		LOG_INFO("smtp.auth_failed", L_C("session", s->id),
		    L_C("ip", session_peer_text(s->session)), L_STR("user", user), L_STR("mech", mech),
		    L_STR("reason", l->text));
		smtp_reply(s, 535, "5.7.8", "Authentication failed");
	} else if (!(s->user = strndup(l->user.p, l->user.n))) {
		smtp_reply(s, 454, "4.7.0", "Temporary authentication failure");
	} else {
		s->account = l->account;
		if (smtp_filter(s, FILTER_AUTH, l->user))
			smtp_reply(s, 235, "2.7.0", "Authentication successful");
	}
}

static void
authenticate(struct smtp *s, struct str line_mech, struct str first, struct arena *a)
{
	const struct sasl_client c = { .service = STR("smtp"),
		.settings = smtp_settings(), .stream = s->io, .ask = ask, .arg = s,
		.client_ip = str_c(session_peer_text(s->session)) };
	struct str mech = arena_dup(a, line_mech), initial = STR_NULL, user; /* the line goes */
	struct login_answer l = { 0 };

	if (str_eq(first, STR("=")))
		initial = STR("");
	else if (first.n && !decode(s, first, a, &initial))
		return;
	switch (sasl_log_in(mech, initial, &c, a, &l, &user)) {
	case SASL_ENDED:
		break;
	case SASL_UNKNOWN:
		smtp_reply(s, 504, "5.5.4", "Mechanism not supported");
		break;
	case SASL_MALFORMED:
		smtp_reply(s, 501, "5.5.2", "Bad %.*s response", STR_ARG(mech));
		break;
	case SASL_ANSWERED:
		answered(s, mech, user, &l);
		break;
	}
}

void
cmd_auth(struct smtp *s, struct str arg)
{
	struct str mech = str_word(&arg), initial = str_trim(arg);
	struct arena *a;

	if (!s->listen->auth) {
		smtp_reply(s, 502, "5.5.1", "AUTH is not offered here");
	} else if (s->user || s->txn) {
		smtp_reply(s, 503, "5.5.1", s->user ? "Already authenticated" : "Not in a transaction");
	} else if (!mech.n) {
		smtp_reply(s, 501, "5.5.4", "Syntax: AUTH mechanism [initial-response]");
	} else if (!smtp_auth_offered(s)) {
		smtp_reply(s, 538, "5.7.11", "Encryption required for authentication");
	} else if (!(a = arena_new(1 << 20))) {
		smtp_reply(s, 454, "4.7.0", "Temporary authentication failure");
	} else {
		authenticate(s, mech, initial, a);
		arena_free(&a);
	}
}
