/*
 * Logging in at a next hop (RFC 4954): SCRAM-SHA-256 (RFC 7677), PLAIN (RFC 4616), LOGIN,
 * XOAUTH2. A log-in that fails defers the message, whatever the server says: the fault is
 * in the settings, which may be mended, and not in the mail.
 *
 * PLAIN, LOGIN and XOAUTH2 show the secret: under TLS only, unless the settings say that
 * this next hop has none.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "lib/base/text.h"
#include "mta/relayd.h"

#define NONCE_BYTES 18
#define ITERATIONS_MIN 4096u
#define ITERATIONS_MAX 300000u /* a tenth of a second: computed on the loop's thread */

struct login {
	struct relay_conn *c;
	const struct relay_credential *cred;
	struct arena *a;
	struct fault *f;
	struct reply r;
};

static enum fault_kind
read_reply(struct login *l)
{
	int rc = relay_read(l->c, relayd.s->relay_hello_timeout_ms, &l->r);

	return rc ? relay_read_fault(l->f, l->c, rc, "AUTH", l->a) : FAULT_NONE;
}

/* Sends before, the base64 of secret, and the line's end. */
static void
put_coded(struct login *l, const char *before, struct str secret)
{
	struct buf b = { 0 };

	base64_put(&b, secret);
	stream_puts(l->c->s, before);
	stream_str(l->c->s, buf_view(&b));
	stream_puts(l->c->s, "\r\n");
	if (b.p)
		OPENSSL_cleanse(b.p, b.n);
	buf_done(&b);
}

static enum fault_kind
refused(struct login *l, const char *mech)
{
	struct str text = reply_text(&l->r, l->a);

	return fault_set(l->f, FAULT_HOST, l->a, 451, "4.7.8", "%s refused the log-in (%s): %u %.*s",
	    l->c->host, mech, l->r.code, STR_ARG(text));
}

static enum fault_kind
finish(struct login *l, const char *mech)
{
	return l->r.code == 235 ? FAULT_NONE : refused(l, mech);
}

/* The challenge of a 334, decoded, in the arena. False when it is none. */
static bool
challenge(struct login *l, struct str *ret)
{
	struct str raw = l->r.raw, text;
	struct buf b = { 0 };
	bool good;

	good = l->r.code == 334 && reply_line(&raw, &text) && !base64_get(&b, str_trim(text));
	if (good)
		*ret = arena_dup(l->a, buf_view(&b));
	buf_done(&b);
	return good && ret->p;
}

/* ---- mechanisms ---- */

static enum fault_kind
login_plain(struct login *l)
{
	struct buf b = { 0 };

	buf_putc(&b, 0);
	buf_str(&b, l->cred->user);
	buf_putc(&b, 0);
	buf_str(&b, l->cred->secret);
	put_coded(l, "AUTH PLAIN ", buf_view(&b));
	OPENSSL_cleanse(b.p, b.n);
	buf_done(&b);
	return read_reply(l) ? l->f->kind : finish(l, "PLAIN");
}

static enum fault_kind
login_login(struct login *l)
{
	stream_puts(l->c->s, "AUTH LOGIN\r\n");
	if (read_reply(l))
		return l->f->kind;
	if (l->r.code == 334) {
		put_coded(l, "", l->cred->user);
		if (read_reply(l))
			return l->f->kind;
	}
	if (l->r.code == 334) {
		put_coded(l, "", l->cred->secret);
		if (read_reply(l))
			return l->f->kind;
	}
	return finish(l, "LOGIN");
}

static enum fault_kind
login_xoauth2(struct login *l)
{
	struct buf b = { 0 };

	buf_puts(&b, "user=");
	buf_str(&b, l->cred->user);
	buf_puts(&b, "\001auth=Bearer ");
	buf_str(&b, l->cred->secret);
	buf_puts(&b, "\001\001");
	put_coded(l, "AUTH XOAUTH2 ", buf_view(&b));
	OPENSSL_cleanse(b.p, b.n);
	buf_done(&b);
	if (read_reply(l))
		return l->f->kind;
	if (l->r.code == 334) { /* the reason, as JSON; the refusal comes behind an empty answer */
		stream_puts(l->c->s, "\r\n");
		if (read_reply(l))
			return l->f->kind;
	}
	return finish(l, "XOAUTH2");
}

/* ---- SCRAM-SHA-256 (RFC 5802 section 3) ---- */

#define KEY SHA256_DIGEST_LENGTH

struct scram {
	struct str nonce, salt;
	uint32_t iterations;
};

/* '=' and ',' of a name, escaped. */
static void
put_saslname(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == ',')
			buf_puts(b, "=2C");
		else if (s.p[i] == '=')
			buf_puts(b, "=3D");
		else
			buf_putc(b, s.p[i]);
}

/* "r=NONCE,s=SALT,i=COUNT". */
static bool
read_server_first(struct login *l, struct str first, struct str own_nonce, struct scram *ret)
{
	struct buf salt = { 0 };
	bool good = true;

	*ret = (struct scram){ .iterations = 0 };
	while (first.p && good) {
		struct str part = str_cut(&first, ','), value = str_skip(part, 2);

		if (str_starts(part, STR("r=")))
			ret->nonce = value;
		else if (str_starts(part, STR("s=")))
			good = !base64_get(&salt, value);
		else if (str_starts(part, STR("i=")))
			good = str_u32(value, ITERATIONS_MAX, &ret->iterations);
		else if (str_starts(part, STR("m=")))
			good = false; /* an extension that must be understood */
	}
	ret->salt = arena_dup(l->a, buf_view(&salt));
	good = good && salt.n && ret->salt.p && ret->iterations >= ITERATIONS_MIN &&
	    ret->nonce.n > own_nonce.n && str_starts(ret->nonce, own_nonce);
	buf_done(&salt);
	return good;
}

static void
hmac(const unsigned char key[KEY], struct str s, unsigned char out[KEY])
{
	unsigned n = KEY;

	HMAC(EVP_sha256(), key, KEY, (const unsigned char *)s.p, s.n, out, &n);
}

/* Appends the proof to *final, and the signature that the server must show to *expect. */
static bool
prove(struct login *l, const struct scram *sc, struct str auth_message, unsigned char proof[KEY],
    unsigned char expect[KEY])
{
	unsigned char salted[KEY], client[KEY], stored[KEY], server[KEY];

	if (!PKCS5_PBKDF2_HMAC(l->cred->secret.p, (int)l->cred->secret.n,
	    (const unsigned char *)sc->salt.p, (int)sc->salt.n, (int)sc->iterations, EVP_sha256(), KEY,
	    salted))
		return false;
	hmac(salted, STR("Client Key"), client);
	SHA256(client, KEY, stored);
	hmac(stored, auth_message, proof);
	for (size_t i = 0; i < KEY; i++)
		proof[i] ^= client[i];
	hmac(salted, STR("Server Key"), server);
	hmac(server, auth_message, expect);
	OPENSSL_cleanse(salted, KEY);
	OPENSSL_cleanse(client, KEY);
	return true;
}

/* "v=SIGNATURE" of the server. */
static bool
server_is_true(struct str last, const unsigned char expect[KEY])
{
	struct buf b = { 0 };
	bool good;

	good = str_starts(last, STR("v=")) && !base64_get(&b, str_skip(last, 2)) && b.n == KEY &&
	    !CRYPTO_memcmp(b.p, expect, KEY);
	buf_done(&b);
	return good;
}

static struct str
make_nonce(struct login *l)
{
	unsigned char raw[NONCE_BYTES];
	struct buf b = { 0 };
	struct str s = STR_NULL;

	if (RAND_bytes(raw, sizeof raw) == 1) {
		base64_put(&b, str_from(raw, sizeof raw));
		s = arena_dup(l->a, buf_view(&b));
	}
	buf_done(&b);
	return s;
}

static enum fault_kind
bad_scram(struct login *l, const char *what)
{
	l->c->dead = true;
	return fault_set(l->f, FAULT_HOST, l->a, 451, "4.7.8", "%s: SCRAM-SHA-256: %s", l->c->host,
	    what);
}

static enum fault_kind
scram_final(struct login *l, const struct scram *sc, struct str bare, struct str first)
{
	struct buf message = { 0 }, final = { 0 };
	unsigned char proof[KEY], expect[KEY];
	struct str last;
	bool made;

	buf_printf(&final, "c=biws,r=%.*s", STR_ARG(sc->nonce));
	buf_printf(&message, "%.*s,%.*s,", STR_ARG(bare), STR_ARG(first));
	buf_str(&message, buf_view(&final));
	made = prove(l, sc, buf_view(&message), proof, expect);
	buf_puts(&final, ",p=");
	base64_put(&final, str_from(proof, KEY));
	if (made)
		put_coded(l, "", buf_view(&final));
	buf_done(&message);
	buf_done(&final);
	if (!made)
		return bad_scram(l, "cannot compute the proof");
	if (read_reply(l))
		return l->f->kind;
	if (l->r.code != 334)
		return l->r.code == 235 ? bad_scram(l, "the server did not prove itself") :
		    refused(l, "SCRAM-SHA-256");
	if (!challenge(l, &last) || !server_is_true(last, expect))
		return bad_scram(l, "the server does not know the password");
	stream_puts(l->c->s, "\r\n");
	return read_reply(l) ? l->f->kind : finish(l, "SCRAM-SHA-256");
}

static enum fault_kind
login_scram(struct login *l)
{
	struct str nonce = make_nonce(l), bare, first;
	struct buf b = { 0 };
	struct scram sc;

	buf_puts(&b, "n,,n=");
	put_saslname(&b, l->cred->user);
	buf_printf(&b, ",r=%.*s", STR_ARG(nonce));
	put_coded(l, "AUTH SCRAM-SHA-256 ", buf_view(&b));
	bare = arena_dup(l->a, str_skip(buf_view(&b), 3));
	buf_done(&b);
	if (!nonce.n || !bare.p)
		return bad_scram(l, "out of memory");
	if (read_reply(l))
		return l->f->kind;
	if (l->r.code != 334)
		return refused(l, "SCRAM-SHA-256");
	if (!challenge(l, &first) || !read_server_first(l, first, nonce, &sc))
		return bad_scram(l, "the server's challenge is malformed");
	return scram_final(l, &sc, bare, first);
}

/* ---- which ---- */

static const struct mechanism {
	const char *name;
	unsigned bit;
	bool shows_secret, automatic;
	enum fault_kind (*run)(struct login *l);
} mechanisms[] = { /* the best first */
	{ "SCRAM-SHA-256", AUTH_SCRAM_SHA_256, false, true, login_scram },
	{ "PLAIN", AUTH_PLAIN, true, true, login_plain },
	{ "LOGIN", AUTH_LOGIN, true, true, login_login },
	{ "XOAUTH2", AUTH_XOAUTH2, true, false, login_xoauth2 },
};

enum fault_kind
relay_login(struct relay_conn *c, const struct relay_credential *cred, bool cleartext_ok,
    struct arena *a, struct fault *f)
{
	struct login l = { .c = c, .cred = cred, .a = a, .f = f };
	bool any = !cred->mech.n || str_ieq(cred->mech, STR("auto")), hidden = false;
	bool safe = stream_tls(c->s) || cleartext_ok;

	for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
		const struct mechanism *m = &mechanisms[i];

		if (!(c->auth & m->bit) || (any ? !m->automatic :
		    !str_ieq(cred->mech, str_c(m->name))))
			continue;
		hidden |= m->shows_secret && !safe;
		if (!m->shows_secret || safe)
			return m->run(&l);
	}
	return fault_set(f, FAULT_HOST, a, 451, "4.7.8", hidden ?
	    "%s offers no TLS, without which the password is not shown to it" :
	    "%s does not offer the log-in that the settings ask for", c->host);
}
