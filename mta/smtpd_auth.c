/* AUTH PLAIN and LOGIN: RFC 4954, RFC 4616. */
#include "mta/smtpd.h"

#include <errno.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/client/auth.h"

#define AUTH_LINE_MAX SMTP_LINE_MAX

/* The client's next response, decoded into out; false: answered already. */
static bool
response(struct smtp *s, struct str given, const char *challenge, struct buf *out)
{
	struct str line = given;

	if (!given.p) {
		int code;

		stream_printf(s->io, "334 %s\r\n", challenge);
		code = stream_flush(s->io);
		if (code == 0)
			code = smtp_line(s, true, AUTH_LINE_MAX, &line);
		if (code != 1) {
			s->closing |= code != -EBADMSG;
			return false;
		}
		if (str_eq(line, STR("*"))) {
			smtp_reply(s, 501, "5.7.0", "Authentication cancelled");
			return false;
		}
	} else if (str_eq(given, STR("="))) {
		return true;
	}
	if (base64_get(out, line) == 0)
		return true;
	smtp_reply(s, 501, "5.5.2", "Bad base64");
	return false;
}

static void
log_in(struct smtp *s, struct login_request *r)
{
	struct arena *a = arena_new(1 << 20);
	struct login_answer l = { 0 };
	int code;

	r->service = STR("smtp");
	r->client_ip = str_c(session_peer_text(s->session));
	r->tls = stream_tls(s->io) != NULL;
	code = a ? auth_login(r, a, &l) : -1;
	if (code < 0 || l.temporary) {
		smtp_reply(s, 454, "4.7.0", "Temporary authentication failure");
	} else if (!l.ok) {
		LOG_INFO("smtp.auth_failed", L_C("session", s->id), L_STR("ip", r->client_ip),
		    L_STR("user", r->user), L_STR("mech", r->mech), L_STR("reason", l.text));
		smtp_reply(s, 535, "5.7.8", "Authentication failed");
	} else if (!(s->user = strndup(l.user.p, l.user.n))) {
		smtp_reply(s, 454, "4.7.0", "Temporary authentication failure");
	} else {
		s->account = l.account;
		smtp_reply(s, 235, "2.7.0", "Authentication successful");
	}
	arena_free(&a);
}

static void
auth_plain(struct smtp *s, struct str initial)
{
	struct login_request r = { .mech = STR("PLAIN") };
	struct buf b;
	struct str rest;

	buf_init(&b, AUTH_LINE_MAX);
	if (response(s, initial, "", &b)) {
		rest = buf_view(&b);
		r.authzid = str_cut(&rest, 0);
		r.user = str_cut(&rest, 0);
		r.password = rest;
		if (rest.p && r.user.n && str_chr(rest, 0) < 0)
			log_in(s, &r);
		else
			smtp_reply(s, 501, "5.5.2", "Bad PLAIN response");
	}
	if (b.p)
		explicit_bzero(b.p, b.n);
	buf_done(&b);
}

static void
auth_login_mech(struct smtp *s, struct str initial)
{
	struct login_request r = { .mech = STR("LOGIN") };
	struct buf user, pass;

	buf_init(&user, AUTH_LINE_MAX);
	buf_init(&pass, AUTH_LINE_MAX);
	if (response(s, initial, "VXNlcm5hbWU6", &user) &&
	    response(s, STR_NULL, "UGFzc3dvcmQ6", &pass)) {
		r.user = buf_view(&user);
		r.password = buf_view(&pass);
		log_in(s, &r);
	}
	if (pass.p)
		explicit_bzero(pass.p, pass.n);
	buf_done(&user);
	buf_done(&pass);
}

void
cmd_auth(struct smtp *s, struct str arg)
{
	struct str mech = str_word(&arg), initial = str_trim(arg);

	if (!s->listen->auth)
		smtp_reply(s, 502, "5.5.1", "AUTH is not offered here");
	else if (s->user || s->txn)
		smtp_reply(s, 503, "5.5.1", s->user ? "Already authenticated" : "Not in a transaction");
	else if (!mech.n)
		smtp_reply(s, 501, "5.5.4", "Syntax: AUTH mechanism [initial-response]");
	else if (!smtp_auth_offered(s))
		smtp_reply(s, 538, "5.7.11", "Encryption required for authentication");
	else if (str_ieq(mech, STR("PLAIN")))
		auth_plain(s, initial.n ? initial : STR_NULL);
	else if (str_ieq(mech, STR("LOGIN")))
		auth_login_mech(s, initial.n ? initial : STR_NULL);
	else
		smtp_reply(s, 504, "5.5.4", "Mechanism not supported");
}
