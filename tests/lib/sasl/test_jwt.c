/* lib/sasl/jwt: tokens that are good in each algorithm, and every way in which one is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include "lib/base/text.h"
#include "lib/sasl/jwt.h"

#define NOW 1000000u
#define CLAIMS "{\"iss\":\"https://id.example.test\",\"aud\":[\"other\",\"mail\"],\"exp\":1000100," \
	"\"nbf\":999990,\"email\":\"user1@example.test\"}"

static EVP_PKEY *rsa, *ec, *ed, *small;
static struct jwt_keys *all;

static void
put64(struct buf *b, const void *p, size_t n)
{
	size_t at = b->n;

	base64_put(b, str_from(p, n));
	while (b->n > at && b->p[b->n - 1] == '=')
		b->n--;
	for (size_t i = at; i < b->n; i++)
		b->p[i] = b->p[i] == '+' ? '-' : b->p[i] == '/' ? '_' : b->p[i];
}

static void
put_number(struct buf *b, EVP_PKEY *k, const char *param)
{
	unsigned char raw[512];
	BIGNUM *n = NULL;
	int len;

	assert_int_equal(EVP_PKEY_get_bn_param(k, param, &n), 1);
	len = k == ec ? 32 : BN_num_bytes(n);
	assert_int_equal(BN_bn2binpad(n, raw, len), len);
	put64(b, raw, (size_t)len);
	BN_free(n);
}

static void
put_ed(struct buf *b)
{
	unsigned char raw[32];
	size_t n = sizeof raw;

	assert_int_equal(EVP_PKEY_get_raw_public_key(ed, raw, &n), 1);
	put64(b, raw, n);
}

static void
put_pem(struct buf *b, EVP_PKEY *k)
{
	BIO *m = BIO_new(BIO_s_mem());
	char *p;
	long n;

	assert_int_equal(PEM_write_bio_PUBKEY(m, k), 1);
	n = BIO_get_mem_data(m, &p);
	buf_put(b, p, (size_t)n);
	BIO_free(m);
}

static void
put_signature(struct buf *b, EVP_PKEY *k, struct str input)
{
	unsigned char sig[1024], raw[64];
	const unsigned char *p = sig;
	size_t n = sizeof sig;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	ECDSA_SIG *s;

	assert_int_equal(EVP_DigestSignInit(c, NULL, k == ed ? NULL : EVP_sha256(), NULL, k), 1);
	assert_int_equal(EVP_DigestSign(c, sig, &n, (const unsigned char *)input.p, input.n), 1);
	EVP_MD_CTX_free(c);
	if (k == ec) {
		s = d2i_ECDSA_SIG(NULL, &p, (long)n);
		BN_bn2binpad(ECDSA_SIG_get0_r(s), raw, 32);
		BN_bn2binpad(ECDSA_SIG_get0_s(s), raw + 32, 32);
		ECDSA_SIG_free(s);
		put64(b, raw, sizeof raw);
	} else {
		put64(b, sig, n);
	}
}

static void
put_input(struct buf *b, const char *header, const char *claims)
{
	put64(b, header, strlen(header));
	buf_puts(b, ".");
	put64(b, claims, strlen(claims));
}

/* What jwt_judge says of the token that k signs; "": good, and it is user1's. */
static const char *
judged(const struct jwt_keys *keys, EVP_PKEY *k, const char *header, const char *claims)
{
	static const struct str audience[] = { STR_INIT("imap"), STR_INIT("mail") };
	const struct jwt_policy p = { .issuer = STR("https://id.example.test"), .audiences = audience,
		.n_audiences = 2, .claim = STR("email"), .now_s = NOW };
	struct arena *a = arena_new(0);
	struct buf b = { 0 };
	struct str name;
	const char *why;

	put_input(&b, header, claims);
	struct str input = arena_dup(a, buf_view(&b));
	buf_puts(&b, ".");
	put_signature(&b, k, input);
	why = jwt_judge(keys, buf_view(&b), &p, a, &name);
	if (!why)
		assert_true(str_eq(name, STR("user1@example.test")));
	buf_done(&b);
	arena_free(&a);
	return why ? why : "";
}

static int
setup(void **st)
{
	struct buf b = { 0 };
	struct err e;

	rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	small = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
	ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	buf_puts(&b, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"RSA\",\"kid\":\"r\",\"use\":\"sig\",\"n\":\"");
	put_number(&b, rsa, OSSL_PKEY_PARAM_RSA_N);
	buf_puts(&b, "\",\"e\":\"");
	put_number(&b, rsa, OSSL_PKEY_PARAM_RSA_E);
	buf_puts(&b, "\"},{\"kty\":\"EC\",\"kid\":\"e\",\"crv\":\"P-256\",\"x\":\"");
	put_number(&b, ec, OSSL_PKEY_PARAM_EC_PUB_X);
	buf_puts(&b, "\",\"y\":\"");
	put_number(&b, ec, OSSL_PKEY_PARAM_EC_PUB_Y);
	buf_puts(&b, "\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
	put_ed(&b);
	buf_puts(&b, "\"}]}");
	assert_int_equal(jwt_keys_new(buf_view(&b), &all, &e), 0);
	buf_done(&b);
	return 0;
}

static int
teardown(void **st)
{
	jwt_keys_free(&all);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(small);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(ed);
	return 0;
}

static void
test_good(void **st)
{
	assert_string_equal(judged(all, rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"}", CLAIMS), "");
	assert_string_equal(judged(all, rsa, "{\"alg\":\"RS256\"}", CLAIMS), "");
	assert_string_equal(judged(all, ec, "{\"alg\":\"ES256\",\"kid\":\"e\"}", CLAIMS), "");
	assert_string_equal(judged(all, ed, "{\"alg\":\"EdDSA\",\"kid\":\"any\"}", CLAIMS), "");
}

static void
test_signature(void **st)
{
	static const char no_key[] = "no key fits the token";
	EVP_PKEY *other = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

	assert_string_equal(judged(all, rsa, "{\"alg\":\"ES256\"}", CLAIMS), no_key);
	assert_string_equal(judged(all, rsa, "{\"alg\":\"RS256\",\"kid\":\"e\"}", CLAIMS), no_key);
	assert_string_equal(judged(all, rsa, "{\"alg\":\"none\"}", CLAIMS), no_key);
	assert_string_equal(judged(all, rsa, "{\"alg\":\"HS256\"}", CLAIMS), no_key);
	assert_string_equal(judged(all, rsa, "{\"alg\":\"RS512\"}", CLAIMS), no_key);
	assert_string_equal(judged(all, rsa, "{}", CLAIMS), no_key);
	assert_string_equal(judged(all, small, "{\"alg\":\"RS256\"}", CLAIMS), no_key);
	assert_string_equal(judged(all, other, "{\"alg\":\"ES256\"}", CLAIMS), no_key);
	assert_string_equal(judged(all, rsa, "{\"alg\":\"RS256\",\"crit\":[\"x\"]}", CLAIMS),
	    "the token asks for what is not understood");
	EVP_PKEY_free(other);
}

/* The public key as the secret of an HMAC (RFC 8725 section 2.1), no signature at all. */
static void
test_confusion(void **st)
{
	const struct jwt_policy p = { .issuer = STR("https://id.example.test"), .claim = STR("email"),
		.now_s = NOW, .audiences = &STR("mail"), .n_audiences = 1 };
	struct arena *a = arena_new(0);
	struct buf pem = { 0 }, b = { 0 }, none = { 0 };
	unsigned char md[32];
	unsigned n = sizeof md;
	struct jwt_keys *k;
	struct str name;
	struct err e;

	put_pem(&pem, rsa);
	assert_int_equal(jwt_keys_new(buf_view(&pem), &k, &e), 0);
	assert_string_equal(judged(k, rsa, "{\"alg\":\"RS256\"}", CLAIMS), "");
	put_input(&b, "{\"alg\":\"HS256\"}", CLAIMS);
	HMAC(EVP_sha256(), pem.p, (int)pem.n, (const unsigned char *)b.p, b.n, md, &n);
	buf_puts(&b, ".");
	put64(&b, md, n);
	assert_non_null(jwt_judge(k, buf_view(&b), &p, a, &name));
	put_input(&none, "{\"alg\":\"none\"}", CLAIMS);
	buf_puts(&none, ".");
	assert_non_null(jwt_judge(k, buf_view(&none), &p, a, &name));
	jwt_keys_free(&k);
	buf_done(&pem);
	buf_done(&b);
	buf_done(&none);
	arena_free(&a);
}

static void
test_claims(void **st)
{
	static const struct {
		const char *claims, *why;
	} t[] = {
		{ "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"exp\":999950.5,\"email\":\"user1@example.test\"}", "" },
		{ "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"exp\":999900,\"email\":\"user1@example.test\"}",
		    "the token has expired" },
		{ "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"email\":\"user1@example.test\"}",
		    "the token has no end" },
		{ "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"exp\":\"1000100\",\"email\":\"user1@example.test\"}",
		    "the token has no end" },
		{ "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"exp\":1000100,\"nbf\":1000090,\"email\":\"user1@example.test\"}",
		    "the token is not valid yet" },
		{ "{\"iss\":\"https://evil.example.test\",\"aud\":\"mail\",\"exp\":1000100,\"email\":\"user1@example.test\"}",
		    "the token is of another issuer" },
		{ "{\"aud\":\"mail\",\"exp\":1000100,\"email\":\"user1@example.test\"}", "the token is of another issuer" },
		{ "{\"iss\":\"https://id.example.test\",\"aud\":[\"web\"],\"exp\":1000100,\"email\":\"user1@example.test\"}",
		    "the token is for another audience" },
		{ "{\"iss\":\"https://id.example.test\",\"exp\":1000100,\"email\":\"user1@example.test\"}",
		    "the token is for another audience" },
		{ "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"exp\":1000100,\"sub\":\"user1@example.test\"}",
		    "the token names nobody" },
		{ "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"exp\":1000100,\"email\":\"user1@example.test\",\"email_verified\":false}",
		    "the token's address is not verified" },
		{ "{\"iss\":\"https://id.example.test\",\"aud\":\"mail\",\"exp\":1000100,\"email\":\"a@b.test\",\"email\":\"user1@example.test\"}",
		    "not a token" },
		{ "[]", "not a token" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		assert_string_equal(judged(all, ed, "{\"alg\":\"EdDSA\"}", t[i].claims), t[i].why);
}

static void
test_keys_that_are_none(void **st)
{
	static const char *const t[] = { "", "x", "{}", "{\"keys\":[]}", "{\"keys\":{}}",
		"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
		"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n" };
	struct buf b = { 0 };
	struct jwt_keys *k;
	struct err e;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		assert_int_equal(jwt_keys_new(str_c(t[i]), &k, &e), -EINVAL);
	put_pem(&b, small);
	assert_int_equal(jwt_keys_new(buf_view(&b), &k, &e), -EINVAL);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_signature),
		cmocka_unit_test(test_confusion), cmocka_unit_test(test_claims),
		cmocka_unit_test(test_keys_that_are_none) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
