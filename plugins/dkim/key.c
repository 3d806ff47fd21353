/* Keys; see key.h. */
#include "plugins/dkim/key.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "plugins/dkim/tags.h"

#define KEY_MAX 4096
#define BITS_MIN 1024

const char *
key_algorithm(EVP_PKEY *key)
{
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA: return "rsa-sha256";
	case EVP_PKEY_ED25519: return "ed25519-sha256";
	default: return NULL;
	}
}

void
key_base64(const unsigned char *p, size_t n, char *out)
{
	EVP_EncodeBlock((unsigned char *)out, p, (int)n);
}

/* The bytes of base64 text: how many, or -1. */
static long
decode(struct ph_str b64, unsigned char *out, size_t room)
{
	char text[KEY_MAX + 1];
	long n = tags_squeeze(b64, text, sizeof text);
	int r, pad = 0;

	if (n <= 0 || n % 4 || (size_t)(n / 4 * 3) > room)
		return -1;
	while (pad < 2 && text[n - 1 - pad] == '=')
		pad++;
	r = EVP_DecodeBlock(out, (const unsigned char *)text, (int)n);
	return r < 0 ? -1 : r - pad;
}

int
key_is_hash(const unsigned char hash[CANON_HASH], struct ph_str b64)
{
	unsigned char got[64];

	return decode(b64, got, sizeof got) == CANON_HASH && !memcmp(got, hash, CANON_HASH);
}

/* ---- use ---- */

static int
set_rsa(EVP_PKEY_CTX *ctx)
{
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
	    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1;
}

static int
sign_rsa(EVP_PKEY *key, const unsigned char *hash, unsigned char *out, size_t *n)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	int ok = ctx && EVP_PKEY_sign_init(ctx) == 1 && set_rsa(ctx) &&
	    EVP_PKEY_sign(ctx, out, n, hash, CANON_HASH) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

/* RFC 8463 section 3: the hash is what is signed. */
static int
sign_ed25519(EVP_PKEY *key, const unsigned char *hash, unsigned char *out, size_t *n)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int ok = md && EVP_DigestSignInit(md, NULL, NULL, NULL, key) == 1 &&
	    EVP_DigestSign(md, out, n, hash, CANON_HASH) == 1;

	EVP_MD_CTX_free(md);
	return ok;
}

long
key_sign(EVP_PKEY *key, const unsigned char hash[CANON_HASH], char *out, size_t room)
{
	unsigned char sig[1024];
	size_t n = sizeof sig;
	int ok;

	if (EVP_PKEY_get_size(key) > (int)sizeof sig)
		return -1;
	ok = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? sign_rsa(key, hash, sig, &n) :
	    sign_ed25519(key, hash, sig, &n);
	if (!ok || (n + 2) / 3 * 4 + 1 > room) {
		ERR_clear_error();
		return -1;
	}
	key_base64(sig, n, out);
	return (long)((n + 2) / 3 * 4);
}

static int
verify_rsa(EVP_PKEY *key, const unsigned char *hash, const unsigned char *sig, size_t n)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	int ok = ctx && EVP_PKEY_verify_init(ctx) == 1 && set_rsa(ctx) &&
	    EVP_PKEY_verify(ctx, sig, n, hash, CANON_HASH) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static int
verify_ed25519(EVP_PKEY *key, const unsigned char *hash, const unsigned char *sig, size_t n)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int ok = md && EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1 &&
	    EVP_DigestVerify(md, sig, n, hash, CANON_HASH) == 1;

	EVP_MD_CTX_free(md);
	return ok;
}

int
key_verify(EVP_PKEY *key, const unsigned char hash[CANON_HASH], struct ph_str b64)
{
	unsigned char sig[1024];
	long n = decode(b64, sig, sizeof sig);
	int ok;

	if (n <= 0)
		return 0;
	ok = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? verify_rsa(key, hash, sig, (size_t)n) :
	    verify_ed25519(key, hash, sig, (size_t)n);
	ERR_clear_error();
	return ok;
}

/* ---- where they come from ---- */

/* Whether a list of words separated by colons has one of the two. */
static int
lists(struct ph_str list, const char *one, const char *other)
{
	while (list.n) {
		const char *colon = memchr(list.p, ':', list.n);
		size_t n = colon ? (size_t)(colon - list.p) : list.n;
		struct ph_str word = tags_trim(ph_bytes(list.p, n));

		if (ph_eq(word, ph_c(one)) || ph_eq(word, ph_c(other)))
			return 1;
		n += colon != NULL;
		list.p += n;
		list.n -= n;
	}
	return 0;
}

/* NULL, or what keeps the record from serving the algorithm. */
static const char *
judge(const struct tags *t, const char *algorithm)
{
	struct ph_str v = tags_get(t, "v"), k = tags_get(t, "k"), h = tags_get(t, "h"), s = tags_get(t, "s");
	int ed25519 = !strcmp(algorithm, "ed25519-sha256");

	if (v.p && (!ph_eq(v, ph_c("DKIM1")) || !ph_eq(t->v[0].name, ph_c("v"))))
		return "the key record is of another version";
	if (!ph_eq(k.p ? k : ph_c("rsa"), ph_c(ed25519 ? "ed25519" : "rsa")))
		return "the key is of another type";
	if (h.p && !lists(h, "sha256", "sha256"))
		return "the key is not for this algorithm";
	if (s.p && !lists(s, "*", "email"))
		return "the key is not for mail";
	if (!tags_get(t, "p").p)
		return "the key record is broken";
	return tags_get(t, "p").n ? NULL : "the key is revoked";
}

static EVP_PKEY *
rsa_of(const unsigned char *p, long n)
{
	const unsigned char *at = p;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, n);

	if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

EVP_PKEY *
key_public(struct ph_str record, const char *algorithm, const char **why)
{
	unsigned char der[KEY_MAX];
	struct tags t;
	EVP_PKEY *key;
	long n;

	*why = tags_parse(record, &t) ? "the key record is broken" : judge(&t, algorithm);
	if (*why)
		return NULL;
	n = decode(tags_get(&t, "p"), der, sizeof der);
	key = n <= 0 ? NULL : strcmp(algorithm, "ed25519-sha256") ? rsa_of(der, n) :
	    EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, der, (size_t)n);
	ERR_clear_error();
	if (!key) {
		*why = "the key is broken";
	} else if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) < BITS_MIN) {
		*why = "the key is too short";
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

EVP_PKEY *
key_private(struct ph_str pem)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)(uintptr_t)"") : NULL;

	BIO_free(b);
	ERR_clear_error();
	if (key && (!key_algorithm(key) || (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
	    EVP_PKEY_get_bits(key) < BITS_MIN))) {
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}
