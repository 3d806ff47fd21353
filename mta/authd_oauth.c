/*
 * OAUTHBEARER (RFC 7628) and XOAUTH2: log-ins by a token that somebody else signed.
 *
 *	message -> token -> keys of the settings -> claim -> account -> as any log-in: delays,
 *	then the answer
 *
 * Who has no account and whose token is no good are answered alike, after the same delays.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/sasl/jwt.h"
#include "lib/sasl/oauth.h"
#include "mta/authd.h"

#define MEMORY_MAX (256u << 10)

static struct jwt_keys *keys; /* NULL: none, or none that are any good */

void
authd_oauth_config(const struct settings *st)
{
	struct err e;

	jwt_keys_free(&keys);
	if (st->auth_token_keys.n && jwt_keys_new(st->auth_token_keys, &keys, &e))
		LOG_ERROR("auth.token_keys", L_C("text", e.text));
}

static const char *
judge(const struct oauth_message *m, struct arena *a, struct str *ret_name)
{
	const struct settings *st = service_settings(authd.service);
	struct jwt_policy p = { .issuer = st->auth_token_issuer, .audiences = st->auth_token_audiences,
		.n_audiences = st->n_auth_token_audiences, .claim = st->auth_token_claim,
		.now_s = clock_real_us() / 1000000 };

	if (!keys)
		return "no key to judge tokens by";
	return jwt_judge(keys, m->token, &p, a, ret_name);
}

/* As the account that the token names, if the client may be it. */
static void
log_in(struct peer *p, uint64_t id, const struct login_request *q, const struct oauth_message *m,
    struct arena *a)
{
	struct login_request named = { .user = m->user, .service = q->service,
		.client_ip = q->client_ip };
	struct directory_account account = { 0 };
	struct str name = STR_NULL;
	const char *why = judge(m, a, &name);
	int r = why ? -ENOENT : directory_login(authd.questions, name, &account);

	if (r && r != -ENOENT) {
		authd_login_no(p, id, true, "directory failed");
		return;
	}
	if (r)
		account = (struct directory_account){ 0 };
	if (why)
		LOG_INFO("auth.token_refused", L_STR("user", m->user), L_STR("ip", q->client_ip),
		    L_C("why", why));
	if (!why) {
		named.user = name;
		named.authzid = m->user;
	}
	authd_login_proven(p, id, &named, &account, !why && !r, STR_NULL);
}

void
authd_oauth(struct peer *p, uint64_t id, const struct login_request *q)
{
	struct arena *a = arena_new(MEMORY_MAX);
	struct oauth_message m;
	int r;

	if (!a) {
		authd_login_no(p, id, true, "no memory");
		return;
	}
	r = str_ieq(q->mech, STR("XOAUTH2")) ? oauth_x2(q->message, &m)
	                                    : oauth_bearer(q->message, a, &m);
	if (r || m.user.n > DIRECTORY_NAME_MAX)
		authd_login_no(p, id, false, "malformed message");
	else
		log_in(p, id, q, &m, a);
	arena_free(&a);
}
