/* Tokens against public keys; see jwt.h. */
#include "lib/sasl/jwt.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/text.h"

#define RSA_BITS_MIN 2048
#define ES256_SIZE 64 /* r and s, 32 bytes each */
#define ED25519_SIZE 32
#define KEYS_MEMORY (1u << 20)

struct key {
	const char *alg;
	EVP_PKEY *pkey;
	char *kid;             /* NULL: fits any token */
};

struct jwt_keys {
	struct key v[JWT_KEYS_MAX];
	size_t n;
};

/* ---- base64url (RFC 7515 section 2) ---- */

/* Into the arena; p NULL when it is none. */
static struct str
base64url(struct str s, struct arena *a)
{
	struct buf in = { 0 }, out = { 0 };
	struct str ret = STR_NULL;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i] == '-' ? '+' : s.p[i] == '_' ? '/' : s.p[i];

		if (s.p[i] == '+' || s.p[i] == '/' || s.p[i] == '=')
			goto out;
		buf_put(&in, &c, 1);
	}
	for (size_t n = s.n; n % 4; n++)
		buf_puts(&in, "=");
	if (s.n && !base64_get(&out, buf_view(&in)) && !out.over)
		ret = arena_dup(a, buf_view(&out));
out:
	buf_done(&in);
	buf_done(&out);
	return ret;
}

/* ---- keys ---- */

/* The algorithm that a key is for; NULL: none of ours. */
static const char *
alg_of(EVP_PKEY *k)
{
	char group[32] = "";

	switch (EVP_PKEY_get_base_id(k)) {
	case EVP_PKEY_RSA:
		return EVP_PKEY_get_bits(k) >= RSA_BITS_MIN ? "RS256" : NULL;
	case EVP_PKEY_EC:
		EVP_PKEY_get_utf8_string_param(k, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, NULL);
		return !strcmp(group, "prime256v1") ? "ES256" : NULL;
	case EVP_PKEY_ED25519:
		return "EdDSA";
	default:
		return NULL;
	}
}

/* Takes pkey over. */
static void
add(struct jwt_keys *k, EVP_PKEY *pkey, struct str kid)
{
	const char *alg = pkey ? alg_of(pkey) : NULL;

	if (!alg || k->n == JWT_KEYS_MAX) {
		EVP_PKEY_free(pkey);
		return;
	}
	k->v[k->n++] = (struct key){ alg, pkey, kid.p ? strndup(kid.p, kid.n) : NULL };
}

static EVP_PKEY *
from_params(const char *type, OSSL_PARAM_BLD *b)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *k = NULL;

	if (!params || !c || EVP_PKEY_fromdata_init(c) != 1 ||
	    EVP_PKEY_fromdata(c, &k, EVP_PKEY_PUBLIC_KEY, params) != 1)
		k = NULL;
	EVP_PKEY_CTX_free(c);
	OSSL_PARAM_free(params);
	return k;
}

static EVP_PKEY *
rsa_key(const struct json_node *j, struct arena *a)
{
	struct str n = base64url(json_member_str(j, STR("n")), a);
	struct str e = base64url(json_member_str(j, STR("e")), a);
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	BIGNUM *bn = NULL, *be = NULL;
	EVP_PKEY *k = NULL;

	if (n.p && e.p && n.n <= 2048 && e.n <= 8 && b) {
		bn = BN_bin2bn((const unsigned char *)n.p, (int)n.n, NULL);
		be = BN_bin2bn((const unsigned char *)e.p, (int)e.n, NULL);
		if (bn && be && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, bn) == 1 &&
		    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, be) == 1)
			k = from_params("RSA", b);
	}
	BN_free(bn);
	BN_free(be);
	OSSL_PARAM_BLD_free(b);
	return k;
}

static EVP_PKEY *
ec_key(const struct json_node *j, struct arena *a)
{
	struct str x = base64url(json_member_str(j, STR("x")), a);
	struct str y = base64url(json_member_str(j, STR("y")), a);
	unsigned char point[1 + ES256_SIZE] = { POINT_CONVERSION_UNCOMPRESSED };
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	EVP_PKEY *k = NULL;

	if (x.n == 32 && y.n == 32 && str_eq(json_member_str(j, STR("crv")), STR("P-256")) && b) {
		memcpy(point + 1, x.p, 32);
		memcpy(point + 33, y.p, 32);
		if (OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
		    OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
			k = from_params("EC", b);
	}
	OSSL_PARAM_BLD_free(b);
	return k;
}

static EVP_PKEY *
ed_key(const struct json_node *j, struct arena *a)
{
	struct str x = base64url(json_member_str(j, STR("x")), a);

	if (x.n != ED25519_SIZE || !str_eq(json_member_str(j, STR("crv")), STR("Ed25519")))
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)x.p, x.n);
}

/* A key for signatures, of an algorithm that fits its kind; others are passed over. */
static void
add_jwk(struct jwt_keys *k, const struct json_node *j, struct arena *a)
{
	struct str type = json_member_str(j, STR("kty")), use = json_member_str(j, STR("use"));
	struct str alg = json_member_str(j, STR("alg"));
	EVP_PKEY *pkey = NULL;
	const char *own;

	if (use.p && !str_eq(use, STR("sig")))
		return;
	if (str_eq(type, STR("RSA")))
		pkey = rsa_key(j, a);
	else if (str_eq(type, STR("EC")))
		pkey = ec_key(j, a);
	else if (str_eq(type, STR("OKP")))
		pkey = ed_key(j, a);
	own = pkey ? alg_of(pkey) : NULL;
	if (own && (!alg.p || str_eq(alg, str_c(own))))
		add(k, pkey, json_member_str(j, STR("kid")));
	else
		EVP_PKEY_free(pkey);
}

static void
read_jwks(struct jwt_keys *k, struct str text)
{
	struct arena *a = arena_new(KEYS_MEMORY);
	const struct json_node *root, *keys;

	if (a && !json_read(text, a, &root)) {
		keys = json_member(root, STR("keys"));
		if (!keys)
			add_jwk(k, root, a);
		else if (keys->type == JSON_ARRAY)
			for (const struct json_node *j = keys->first; j; j = j->next)
				add_jwk(k, j, a);
	}
	arena_free(&a);
}

static void
read_pem(struct jwt_keys *k, struct str text)
{
	BIO *b = text.n <= INT_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
	EVP_PKEY *pkey;

	while (b && k->n < JWT_KEYS_MAX && (pkey = PEM_read_bio_PUBKEY(b, NULL, NULL, NULL)))
		add(k, pkey, STR_NULL);
	BIO_free(b);
}

int
jwt_keys_new(struct str text, struct jwt_keys **ret, struct err *e)
{
	struct jwt_keys *k = calloc(1, sizeof *k);

	if (!k)
		return err_set(e, -ENOMEM, "no memory");
	if (str_find(text, STR("-----BEGIN")) >= 0)
		read_pem(k, text);
	else
		read_jwks(k, text);
	ERR_clear_error();
	if (!k->n) {
		jwt_keys_free(&k);
		return err_set(e, -EINVAL, "no public key for RS256 (2048 bits), ES256 or EdDSA (Ed25519)");
	}
	*ret = k;
	return 0;
}

void
jwt_keys_free(struct jwt_keys **kp)
{
	struct jwt_keys *k = *kp;

	*kp = NULL;
	for (size_t i = 0; k && i < k->n; i++) {
		EVP_PKEY_free(k->v[i].pkey);
		free(k->v[i].kid);
	}
	free(k);
}

/* ---- signatures ---- */

/* ES256: r and s as OpenSSL wants them (RFC 7518 section 3.4). False: not 64 bytes. */
static bool
ecdsa_der(struct str raw, struct buf *out)
{
	ECDSA_SIG *s = ECDSA_SIG_new();
	BIGNUM *r = NULL, *v = NULL;
	unsigned char *der = NULL;
	int n = -1;

	if (s && raw.n == ES256_SIZE) {
		r = BN_bin2bn((const unsigned char *)raw.p, 32, NULL);
		v = BN_bin2bn((const unsigned char *)raw.p + 32, 32, NULL);
		if (r && v && ECDSA_SIG_set0(s, r, v) == 1) {
			r = v = NULL; /* the signature's now */
			n = i2d_ECDSA_SIG(s, &der);
		}
	}
	if (n > 0)
		buf_put(out, der, (size_t)n);
	OPENSSL_free(der);
	BN_free(r);
	BN_free(v);
	ECDSA_SIG_free(s);
	return n > 0 && !out->over;
}

static bool
fits(const struct key *k, struct str input, struct str signature)
{
	bool ed = !strcmp(k->alg, "EdDSA"), ok = true;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	struct buf der = { 0 };

	if (!strcmp(k->alg, "ES256")) {
		ok = ecdsa_der(signature, &der);
		signature = buf_view(&der);
	}
	ok = ok && c && EVP_DigestVerifyInit(c, NULL, ed ? NULL : EVP_sha256(), NULL, k->pkey) == 1 &&
	    EVP_DigestVerify(c, (const unsigned char *)signature.p, signature.n,
	        (const unsigned char *)input.p, input.n) == 1;
	EVP_MD_CTX_free(c);
	buf_done(&der);
	ERR_clear_error();
	return ok;
}

static bool
signed_by_any(const struct jwt_keys *keys, const struct json_node *header, struct str input,
    struct str signature)
{
	struct str alg = json_member_str(header, STR("alg")), kid = json_member_str(header, STR("kid"));

	for (size_t i = 0; i < keys->n; i++) {
		const struct key *k = &keys->v[i];

		if (str_eq(alg, str_c(k->alg)) && (!kid.p || !k->kid || str_eq(kid, str_c(k->kid))) &&
		    fits(k, input, signature))
			return true;
	}
	return false;
}

/* ---- claims ---- */

/* "aud" is a string or an array of them (RFC 7519 section 4.1.3). */
static bool
is_for(const struct json_node *claims, const struct jwt_policy *p)
{
	const struct json_node *aud = json_member(claims, STR("aud"));
	const struct json_node *one = aud && aud->type == JSON_ARRAY ? aud->first : aud;

	for (; one; one = one == aud ? NULL : one->next)
		for (size_t i = 0; one->type == JSON_STRING && i < p->n_audiences; i++)
			if (str_eq(one->text, p->audiences[i]))
				return true;
	return false;
}

static const char *
judge_time(const struct json_node *claims, uint64_t now)
{
	uint64_t t;

	if (!json_member_u64(claims, STR("exp"), &t))
		return "the token has no end";
	if (now >= JWT_LEEWAY_S && now - JWT_LEEWAY_S >= t)
		return "the token has expired";
	if (json_member(claims, STR("nbf")) &&
	    (!json_member_u64(claims, STR("nbf"), &t) || t > now + JWT_LEEWAY_S))
		return "the token is not valid yet";
	return NULL;
}

static const char *
judge_claims(const struct json_node *claims, const struct jwt_policy *p, struct str *ret_name)
{
	const struct json_node *verified = json_member(claims, STR("email_verified"));
	const char *why = judge_time(claims, p->now_s);
	struct str name = json_member_str(claims, p->claim);

	if (why)
		return why;
	if (!p->issuer.n || !str_eq(json_member_str(claims, STR("iss")), p->issuer))
		return "the token is of another issuer";
	if (!is_for(claims, p))
		return "the token is for another audience";
	if (!name.n)
		return "the token names nobody";
	if (str_eq(p->claim, STR("email")) && verified && verified->type != JSON_TRUE)
		return "the token's address is not verified";
	*ret_name = name;
	return NULL;
}

static const struct json_node *
part(struct str text, struct arena *a)
{
	const struct json_node *n;
	struct str json = base64url(text, a);

	return json.p && !json_read(json, a, &n) && n->type == JSON_OBJECT ? n : NULL;
}

const char *
jwt_judge(const struct jwt_keys *k, struct str token, const struct jwt_policy *p, struct arena *a,
    struct str *ret_name)
{
	struct str rest = token, head = str_cut(&rest, '.'), body = str_cut(&rest, '.'), signature;
	const struct json_node *header, *claims;

	if (token.n > JWT_MAX || !rest.n || !(header = part(head, a)) || !(claims = part(body, a)) ||
	    !(signature = base64url(rest, a)).p)
		return "not a token";
	if (json_member(header, STR("crit")))
		return "the token asks for what is not understood";
	if (!signed_by_any(k, header, str_head(token, head.n + 1 + body.n), signature))
		return "no key fits the token";
	return judge_claims(claims, p, ret_name);
}
