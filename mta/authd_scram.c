/*
 * SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677) for the front ends.
 *
 *	client-first -> keys of the account, or made-up ones -> server-first, state
 *	client-final, state -> proof -> as any log-in: delays, then the answer
 *
 * Nothing is kept between the two: what is needed goes to the front end and back under
 * a MAC whose key this process made at its start. A name that nobody has gets a salt
 * derived from the name and a secret in the directory's folder, always the same, so
 * that it looks like any other.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/text.h"
#include "lib/base/tlv.h"
#include "lib/sasl/scram.h"
#include "mta/authd.h"

#define STATE_LIFE_MS 120000u
#define MAC_SIZE 32
#define NONCE_SIZE 18
#define SECRET_FILE "scram-secret"

static struct {
	unsigned char state_key[MAC_SIZE]; /* of this process */
	unsigned char secret[32];          /* of the directory */
} scram;

/* One request, with what its first step found. */
struct exchange {
	struct peer *peer;
	uint64_t id;
	const struct login_request *q;
	struct arena *arena;
	struct scram_first first;
	struct directory_account account; /* id 0: nobody */
	struct scram_keys keys;
	struct str server_first;
};

static bool
mac(const unsigned char key[static MAC_SIZE], struct str s, unsigned char out[static MAC_SIZE])
{
	unsigned n = 0;

	return HMAC(EVP_sha256(), key, MAC_SIZE, (const unsigned char *)s.p, s.n, out, &n) && n == MAC_SIZE;
}

/* ---- answers ---- */

static void
say_no(const struct exchange *x, bool temporary, const char *why)
{
	authd_login_no(x->peer, x->id, temporary, why);
}

static void
say_challenge(const struct exchange *x, struct str state)
{
	struct login_answer ans = { .more = true, .message = x->server_first, .state = state };
	struct buf b = { 0 };

	login_answer_put(&b, &ans);
	chan_answer(x->peer, x->id, MSG_AUTH_LOGIN, &b, -1);
	buf_done(&b);
}

/* ---- the keys ---- */

/* A salt for a name that nobody has; whatever is proven, it does not fit. */
static bool
made_up(const char *name, struct scram_keys *k)
{
	unsigned char md[MAC_SIZE];

	if (!mac(scram.secret, str_c(name), md) || RAND_bytes(k->stored, sizeof k->stored) != 1)
		return false;
	memcpy(k->salt, md, sizeof k->salt);
	k->iterations = password_scram_iterations(service_settings(authd.service)->password_cost);
	memcpy(k->server, k->stored, sizeof k->server);
	return true;
}

/* 0, or negative when the directory cannot say. */
static int
find_keys(struct exchange *x)
{
	struct str user = x->first.user;
	int r = directory_login(authd.questions, user, &x->account);

	if (!r)
		r = directory_scram(authd.questions, x->account.id, &x->keys);
	if (r && r != -ENOENT)
		return r;
	if (r) {
		char name[DIRECTORY_NAME_MAX + 1];

		x->account.id = 0;
		directory_login_name(authd.questions, user, name);
		return made_up(name, &x->keys) ? 0 : -EIO;
	}
	return 0;
}

/* ---- channel binding ---- */

/* The data of the binding that the client named; empty: unknown here. */
static struct str
binding_data(const struct login_request *q, struct str name)
{
	if (str_eq(name, STR("tls-exporter")))
		return q->bind_exporter;
	if (str_eq(name, STR("tls-server-end-point")))
		return q->bind_end_point;
	return STR_NULL;
}

/* NULL, or why not (RFC 5802 section 6). */
static const char *
binding_fault(const struct exchange *x)
{
	const struct scram_first *f = &x->first;
	bool plus = str_iends(x->q->mech, STR("-PLUS"));

	if (plus != (f->binding.n > 0))
		return "channel binding and mechanism differ";
	if (plus && !binding_data(x->q, f->binding).n)
		return "channel binding of another kind";
	if (f->could_bind && (x->q->bind_exporter.n || x->q->bind_end_point.n))
		return "the offer of channel binding was taken out";
	return NULL;
}

/* ---- the state between the steps ---- */

enum { T_TIME = 1, T_FIRST, T_SERVER_FIRST, T_MECH };

static bool
seal(const struct exchange *x, struct str client_first, struct buf *out)
{
	unsigned char md[MAC_SIZE];
	struct buf b = { 0 };
	bool ok;

	tlv_u64(&b, T_TIME, clock_ms());
	tlv_str(&b, T_FIRST, client_first);
	tlv_str(&b, T_SERVER_FIRST, x->server_first);
	tlv_str(&b, T_MECH, x->q->mech);
	ok = mac(scram.state_key, buf_view(&b), md);
	buf_put(out, md, sizeof md);
	buf_str(out, buf_view(&b));
	ok = ok && !b.over && !out->over;
	buf_done(&b);
	return ok;
}

/* The first step again, out of the state. */
static bool
unseal(struct exchange *x)
{
	struct str state = x->q->state, body = str_skip(state, MAC_SIZE), first = STR_NULL, mech = STR_NULL;
	unsigned char md[MAC_SIZE];
	uint64_t time = 0;
	struct tlv f;

	if (state.n < MAC_SIZE || !mac(scram.state_key, body, md) || CRYPTO_memcmp(md, state.p, MAC_SIZE))
		return false;
	while (tlv_next(&body, &f) > 0) {
		switch (f.tag) {
		case T_TIME: time = tlv_int(f.v); break;
		case T_FIRST: first = f.v; break;
		case T_SERVER_FIRST: x->server_first = f.v; break;
		case T_MECH: mech = f.v; break;
		}
	}
	return clock_ms() - time < STATE_LIFE_MS && str_ieq(mech, x->q->mech) &&
	    scram_first(first, x->arena, &x->first) == 0;
}

/* ---- the steps ---- */

static void
begin(struct exchange *x)
{
	unsigned char nonce[NONCE_SIZE];
	struct buf b = { 0 }, state = { 0 };
	const char *why;
	int r = scram_first(x->q->message, x->arena, &x->first);

	why = r < 0 ? "malformed message" : binding_fault(x);
	if (why) {
		say_no(x, false, why);
		return;
	}
	r = find_keys(x);
	if (r < 0 || RAND_bytes(nonce, sizeof nonce) != 1) {
		say_no(x, true, "directory failed");
		return;
	}
	buf_printf(&b, "r=%.*s", STR_ARG(x->first.nonce));
	base64_put(&b, str_from(nonce, sizeof nonce));
	buf_puts(&b, ",s=");
	base64_put(&b, str_from(x->keys.salt, sizeof x->keys.salt));
	buf_printf(&b, ",i=%u", x->keys.iterations);
	x->server_first = buf_view(&b);
	if (!b.over && seal(x, x->q->message, &state))
		say_challenge(x, buf_view(&state));
	else
		say_no(x, true, "no memory");
	buf_done(&state);
	buf_done(&b);
}

/* Whether "c=" holds what the client's first header said, and this channel's data. */
static bool
bound(const struct exchange *x, const struct scram_final *f)
{
	struct str data = binding_data(x->q, x->first.binding);

	return f->binding.n == x->first.gs2.n + data.n && str_starts(f->binding, x->first.gs2) &&
	    str_ends(f->binding, data);
}

/* "r=NONCE," of the server's first message. */
static bool
same_nonce(const struct exchange *x, struct str nonce)
{
	struct str rest = str_skip(x->server_first, 2);

	return str_eq(str_cut(&rest, ','), nonce);
}

static void
finish(struct exchange *x)
{
	unsigned char signature[SCRAM_KEY];
	struct scram_final f;
	struct buf final = { 0 };
	struct str auth;
	int fits;

	if (!unseal(x) || scram_final(x->q->message, x->arena, &f) < 0 || !same_nonce(x, f.nonce)) {
		say_no(x, false, "malformed message");
		return;
	}
	auth = arena_printf(x->arena, "%.*s,%.*s,%.*s", STR_ARG(x->first.bare), STR_ARG(x->server_first),
	    STR_ARG(f.without_proof));
	if (find_keys(x) < 0 || !auth.p ||
	    (fits = scram_verify(x->keys.stored, x->keys.server, auth, f.proof, signature)) < 0) {
		say_no(x, true, "directory failed");
		return;
	}
	buf_puts(&final, "v=");
	base64_put(&final, str_from(signature, sizeof signature));
	authd_login_proven(x->peer, x->id,
	    &(struct login_request){ .user = x->first.user, .authzid = x->first.authzid,
	        .service = x->q->service, .client_ip = x->q->client_ip },
	    &x->account, fits == 1 && x->account.id && bound(x, &f), buf_view(&final));
	buf_done(&final);
}

void
authd_scram(struct peer *p, uint64_t id, const struct login_request *q)
{
	struct exchange x = { .peer = p, .id = id, .q = q, .arena = arena_new(256 << 10) };

	if (!x.arena)
		say_no(&x, true, "no memory");
	else if (q->state.n)
		finish(&x);
	else
		begin(&x);
	password_wipe(&x.keys, sizeof x.keys);
	arena_free(&x.arena);
}

/* ---- the secret ---- */

static int
read_secret(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, scram.secret, sizeof scram.secret);
	close(fd);
	return n == (ssize_t)sizeof scram.secret ? 0 : -EBADMSG;
}

static int
make_secret(const char *path)
{
	int fd, r = 0;

	if (RAND_bytes(scram.secret, sizeof scram.secret) != 1)
		return -EIO;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, scram.secret, sizeof scram.secret) != (ssize_t)sizeof scram.secret || fsync(fd))
		r = -EIO;
	close(fd);
	return r;
}

int
authd_scram_init(const char *dir, struct err *e)
{
	char path[4200];
	int r;

	snprintf(path, sizeof path, "%s/" SECRET_FILE, dir);
	r = read_secret(path);
	if (r == -ENOENT || r == -EBADMSG)
		r = make_secret(path);
	if (!r && RAND_bytes(scram.state_key, sizeof scram.state_key) != 1)
		r = -EIO;
	return r ? err_sys(e, r, "%s", path) : 0;
}
