/* The server's half of SCRAM; see scram.h. */
#include "lib/sasl/scram.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "lib/base/text.h"

/* Cuts "k=value" up to the next comma off *s. */
static int
attribute(struct str *s, char key, struct str *ret)
{
	struct str field = str_cut(s, ',');

	if (field.n < 2 || field.p[0] != key || field.p[1] != '=')
		return -EINVAL;
	*ret = str_skip(field, 2);
	return 0;
}

/* saslname: "=2C" and "=3D" stand for ',' and '=' (RFC 5802 section 5.1). */
static int
sasl_name(struct str s, struct arena *a, struct str *ret)
{
	struct buf b = { .max = SCRAM_MESSAGE_MAX };
	int r = 0;

	while (!r && s.n) {
		bool quoted = s.p[0] == '=';

		if (s.p[0] == '\0' || (quoted && !str_starts(s, STR("=2C")) && !str_starts(s, STR("=3D"))))
			r = -EINVAL;
		else
			buf_putc(&b, !quoted ? s.p[0] : s.p[1] == '2' ? ',' : '=');
		s = str_skip(s, quoted ? 3 : 1);
	}
	if (!r)
		*ret = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return r;
}

/* RFC 5802 section 7: printable but the comma. */
static bool
is_nonce(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '!' || s.p[i] > '~')
			return false;
	return s.n > 0;
}

static int
gs2_header(struct str *s, struct arena *a, struct scram_first *f)
{
	struct str flag = str_cut(s, ','), authzid;

	if (str_starts(flag, STR("p=")) && flag.n > 2)
		f->binding = str_skip(flag, 2);
	else if (str_eq(flag, STR("y")))
		f->could_bind = true;
	else if (!str_eq(flag, STR("n")))
		return -EINVAL;
	authzid = str_cut(s, ',');
	if (!s->p || (authzid.n && !str_starts(authzid, STR("a="))))
		return -EINVAL;
	return sasl_name(str_skip(authzid, 2), a, &f->authzid);
}

int
scram_first(struct str message, struct arena *a, struct scram_first *ret)
{
	struct scram_first f = { 0 };
	struct str rest = message, user;

	if (message.n > SCRAM_MESSAGE_MAX || gs2_header(&rest, a, &f) < 0)
		return -EINVAL;
	f.gs2 = str_head(message, message.n - rest.n);
	f.bare = rest;
	if (attribute(&rest, 'n', &user) < 0 || sasl_name(user, a, &f.user) < 0 || !f.user.n ||
	    attribute(&rest, 'r', &f.nonce) < 0 || !is_nonce(f.nonce))
		return -EINVAL;
	*ret = f;
	return 0;
}

static int
decode(struct str s, struct arena *a, struct str *ret)
{
	struct buf b = { .max = SCRAM_MESSAGE_MAX };
	int r = base64_get(&b, s);

	if (!r)
		*ret = arena_dup(a, buf_view(&b));
	buf_done(&b);
	return r;
}

int
scram_final(struct str message, struct arena *a, struct scram_final *ret)
{
	struct scram_final f = { 0 };
	struct str rest = message, binding, proof;
	ptrdiff_t comma = str_rchr(message, ',');

	if (message.n > SCRAM_MESSAGE_MAX || comma < 0)
		return -EINVAL;
	f.without_proof = str_head(message, (size_t)comma);
	proof = str_skip(message, (size_t)comma + 1);
	if (attribute(&rest, 'c', &binding) < 0 || attribute(&rest, 'r', &f.nonce) < 0 ||
	    !is_nonce(f.nonce) || !str_starts(proof, STR("p=")) ||
	    decode(binding, a, &f.binding) < 0 || decode(str_skip(proof, 2), a, &f.proof) < 0 ||
	    f.proof.n != SCRAM_KEY)
		return -EINVAL;
	*ret = f;
	return 0;
}

static bool
hmac(const unsigned char key[static SCRAM_KEY], struct str s, unsigned char out[static SCRAM_KEY])
{
	unsigned n = 0;

	return HMAC(EVP_sha256(), key, SCRAM_KEY, (const unsigned char *)s.p, s.n, out, &n) && n == SCRAM_KEY;
}

int
scram_verify(const unsigned char stored[static SCRAM_KEY], const unsigned char server[static SCRAM_KEY],
    struct str auth_message, struct str proof, unsigned char ret_signature[static SCRAM_KEY])
{
	unsigned char key[SCRAM_KEY], again[SCRAM_KEY];
	int fits;

	if (!hmac(stored, auth_message, key) || !hmac(server, auth_message, ret_signature))
		return -EIO;
	for (size_t i = 0; i < SCRAM_KEY; i++) /* ClientKey = ClientProof XOR ClientSignature */
		key[i] ^= (unsigned char)proof.p[i];
	fits = EVP_Digest(key, sizeof key, again, NULL, EVP_sha256(), NULL) == 1 ?
	    !CRYPTO_memcmp(again, stored, SCRAM_KEY) : -EIO;
	OPENSSL_cleanse(key, sizeof key);
	return fits;
}
