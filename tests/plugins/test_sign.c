/*
 * Canonical forms (the examples of RFC 6376 section 3.4.5), keys, and signatures: what is made here
 * passes libopendkim, in every form, with both algorithms.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "plugins/dkim/key.h"
#include "plugins/dkim/sign.h"
#include "plugins/dkim/verify.h"
#include "tests/plugins/rfc8463.h"

static struct canon_message m;

/* ---- canonical forms ---- */

static void
hash(const char *text, unsigned char *ret)
{
	assert_int_equal(EVP_Digest(text, strlen(text), ret, NULL, EVP_sha256(), NULL), 1);
}

static void
check_header(const char *field, enum canon_form form, const char *want)
{
	unsigned char got[CANON_HASH], right[CANON_HASH];
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	canon_header(md, ph_c(field), form, 1);
	EVP_DigestFinal_ex(md, got, NULL);
	EVP_MD_CTX_free(md);
	hash(want, right);
	if (memcmp(got, right, sizeof got))
		fail_msg("not '%s'", want);
}

static void
test_header(void **state)
{
	(void)state;
	check_header("A: X", CANON_RELAXED, "a:X\r\n");
	check_header("B : Y\t\r\n\tZ  ", CANON_RELAXED, "b:Y Z\r\n");
	check_header("B : Y\t\r\n\tZ  ", CANON_SIMPLE, "B : Y\t\r\n\tZ  \r\n");
	check_header("Empty:", CANON_RELAXED, "empty:\r\n");
	check_header("Empty: \r\n ", CANON_RELAXED, "empty:\r\n");
}

static void
test_body(void **state)
{
	static const struct {
		const char *body, *simple, *relaxed;
	} v[] = {
		{ " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n" },
		{ "", "\r\n", "" },
		{ "\r\n\r\n", "\r\n", "" },
		{ "x", "x\r\n", "x\r\n" },
		{ "x\r\n \r\n", "x\r\n \r\n", "x\r\n" },
		{ "\r\n\r\nx\r\n", "\r\n\r\nx\r\n", "\r\n\r\nx\r\n" },
		{ "a\r\n\t\r\nb  c\t\r\n", "a\r\n\t\r\nb  c\t\r\n", "a\r\n\r\nb c\r\n" },
	};
	unsigned char got[CANON_HASH], right[CANON_HASH];

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		assert_int_equal(canon_body(ph_c(v[i].body), CANON_SIMPLE, got), 0);
		hash(v[i].simple, right);
		assert_memory_equal(got, right, sizeof got);
		assert_int_equal(canon_body(ph_c(v[i].body), CANON_RELAXED, got), 0);
		hash(v[i].relaxed, right);
		assert_memory_equal(got, right, sizeof got);
	}
}

static void
test_split(void **state)
{
	char *many = malloc(7 * 1100 + 1);

	(void)state;
	assert_int_equal(canon_split(ph_c("A : 1\r\n 2\r\nno field\r\nB:\r\n\r\nbody\r\n"), &m), 0);
	assert_int_equal(m.n, 2);
	assert_true(ph_eq(m.fields[0].name, ph_c("A")));
	assert_true(ph_eq(m.fields[0].value, ph_c(" 1\r\n 2")));
	assert_true(ph_eq(m.fields[1].whole, ph_c("B:")));
	assert_true(ph_eq(m.body, ph_c("body\r\n")));
	assert_int_equal(canon_split(ph_c("A: 1"), &m), 0);
	assert_int_equal(m.n, 1);
	assert_int_equal(m.body.n, 0);
	assert_int_equal(canon_split(ph_c("\r\nx"), &m), 0);
	assert_true(ph_eq(m.body, ph_c("x")));
	for (int i = 0; i < 1100; i++)
		memcpy(many + 7 * i, "aa: b\r\n", 8);
	assert_int_equal(canon_split(ph_c(many), &m), -1);
	free(many);
}

/* ---- keys ---- */

static void
test_keys(void **state)
{
	unsigned char h[CANON_HASH] = { 1, 2, 3 };
	char sig[KEY_SIGNATURE_MAX];
	static const char *const privates[] = { RFC8463_RSA_PRIVATE, RFC8463_ED25519_PRIVATE };
	static const char *const records[] = { RFC8463_RSA, RFC8463_ED25519 };
	static const char *const algorithms[] = { "rsa-sha256", "ed25519-sha256" };
	const char *why;

	(void)state;
	for (int i = 0; i < 2; i++) {
		EVP_PKEY *key = key_private(ph_c(privates[i])), *pub = key_public(ph_c(records[i]), algorithms[i], &why);

		assert_non_null(key);
		assert_non_null(pub);
		assert_string_equal(key_algorithm(key), algorithms[i]);
		assert_true(key_sign(key, h, sig, sizeof sig) > 0);
		assert_true(key_verify(pub, h, ph_c(sig)));
		h[0] ^= 1;
		assert_false(key_verify(pub, h, ph_c(sig)));
		assert_false(key_verify(pub, h, ph_c("!!!!")));
		assert_int_equal(key_sign(key, h, sig, 10), -1);
		EVP_PKEY_free(key);
		EVP_PKEY_free(pub);
		assert_null(key_public(ph_c(records[i]), algorithms[!i], &why));
	}
	assert_null(key_private(ph_c("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")));
}

static void
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
test_folder(void **state)
{
	char dir[] = "/tmp/keysXXXXXX", path[100];
	const struct keys_one *v[KEYS_OF_DOMAIN_MAX];
	struct keys *k = NULL;
	uint64_t stamp;

	(void)state;
	assert_non_null(mkdtemp(dir));
	stamp = keys_stamp(dir);
	assert_int_equal(keys_load(dir, &k), 0);
	assert_int_equal(k->n, 0);
	keys_free(&k);
	snprintf(path, sizeof path, "%s/example.test", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/example.test/old.pem", dir);
	write_text(path, "from 100\nuntil 200\n" RFC8463_RSA_PRIVATE);
	snprintf(path, sizeof path, "%s/example.test/new.pem", dir);
	write_text(path, "from 200\nuntil 0\n" RFC8463_ED25519_PRIVATE);
	snprintf(path, sizeof path, "%s/example.test/bad.pem", dir);
	write_text(path, "nothing");
	assert_true(keys_stamp(dir) != stamp);
	assert_int_equal(keys_load(dir, &k), 0);
	assert_int_equal(k->n, 2);
	assert_int_equal(k->broken, 1);
	assert_string_equal(k->first_broken, "example.test/bad.pem");
	assert_int_equal(keys_of(k, "example.test", 99, v), 0);
	assert_int_equal(keys_of(k, "example.test", 199, v), 1);
	assert_string_equal(v[0]->selector, "old");
	assert_int_equal(keys_of(k, "example.test", 200, v), 1);
	assert_string_equal(v[0]->selector, "new");
	assert_int_equal(keys_of(k, "other.test", 150, v), 0);
	keys_free(&k);
	snprintf(path, sizeof path, "rm -r %s", dir);
	assert_int_equal(system(path), 0);
	assert_int_equal(keys_load(dir, &k), 0);
	keys_free(&k);
}

/* ---- signatures ---- */

static enum verify_key
look_up(void *arg, const char *name, char *buf, size_t n)
{
	const char *txt = strstr(name, "ed.") == name ? RFC8463_ED25519 : RFC8463_RSA;

	(void)arg;
	assert_true(strlen(txt) < n);
	strcpy(buf, txt);
	return VERIFY_KEY_FOUND;
}

static const char mail[] = "Received: by here\r\nSubject:  a  b \r\n\t c\r\nFrom: user1@example.test\r\nTo: x@example.test\r\n"
	"To: y@example.test\r\nX-Other: 1\r\n\r\nHello  \r\n\r\n dot\r\n\r\n";

static enum verify_result
signed_and(const struct keys_one *key, const struct sign_rules *r, const char *from, const char *to)
{
	static const struct verify_rules rules = { .signatures = 10, .min_bits = 1024, .drift = 300 };
	static struct verify_signature s[VERIFY_SIGNATURES_MAX];
	struct verifier *v = verifier_new(&rules);
	unsigned char body[CANON_HASH];
	static char field[SIGN_FIELD_MAX], all[16384];
	char *at;

	assert_int_equal(canon_split(ph_c(mail), &m), 0);
	assert_int_equal(canon_body(m.body, r->body, body), 0);
	assert_true(sign_field(&m, r, key, body, (uint64_t)time(NULL), field, sizeof field) > 0);
	for (char *line = field; line; line = strstr(line, "\r\n") ? strstr(line, "\r\n") + 2 : NULL)
		assert_true(strcspn(line, "\r") <= 78);
	snprintf(all, sizeof all, "DKIM-Signature: %s\r\n%s", field, mail);
	at = strstr(all, from);
	assert_non_null(at);
	memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
	memcpy(at, to, strlen(to));
	assert_int_equal(verify_message(v, ph_c(all), look_up, NULL, s), 1);
	verifier_free(&v);
	return s[0].result;
}

static void
test_signatures(void **state)
{
	struct sign_rules r = { .n_sign = 4, .n_over = 2, .lifetime = 3600 };
	struct keys_one key = { .domain = "example.test" };

	(void)state;
	r.sign[0] = ph_c("Subject"), r.sign[1] = ph_c("To"), r.sign[2] = ph_c("From"), r.sign[3] = ph_c("Missing");
	r.over[0] = ph_c("Subject"), r.over[1] = ph_c("Reply-To");
	for (int i = 0; i < 8; i++) {
		r.header = i & 1 ? CANON_RELAXED : CANON_SIMPLE;
		r.body = i & 2 ? CANON_RELAXED : CANON_SIMPLE;
		key.key = key_private(ph_c(i & 4 ? RFC8463_ED25519_PRIVATE : RFC8463_RSA_PRIVATE));
		strcpy(key.selector, i & 4 ? "ed" : "rsa");
		assert_int_equal(signed_and(&key, &r, "X-Other: 1", "X-Other: 2"), VERIFY_PASS);
		assert_int_equal(signed_and(&key, &r, "X-Other: 1", "Subject: another"), VERIFY_FAIL);
		assert_int_equal(signed_and(&key, &r, "X-Other: 1", "Reply-To: z@example.test"), VERIFY_FAIL);
		assert_int_equal(signed_and(&key, &r, "X-Other: 1", "From: z@example.test"), VERIFY_FAIL);
		assert_int_equal(signed_and(&key, &r, "y@example", "z@example"), VERIFY_FAIL);
		assert_int_equal(signed_and(&key, &r, "dot", "dat"), VERIFY_FAIL);
		assert_int_equal(signed_and(&key, &r, "  a  b", " a b"), r.header ? VERIFY_PASS : VERIFY_FAIL);
		assert_int_equal(signed_and(&key, &r, "Hello  ", "Hello"), r.body ? VERIFY_PASS : VERIFY_FAIL);
		EVP_PKEY_free(key.key);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_folder),
		cmocka_unit_test(test_signatures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
