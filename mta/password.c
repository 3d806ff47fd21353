/* Passwords; see password.h. */
#include "mta/password.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/text.h"

/* RFC 3454 table C.1.2, and B.1 (mapped to nothing). */
static bool
is_space(uint32_t cp)
{
	return cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200b) || cp == 0x202f ||
	    cp == 0x205f || cp == 0x3000;
}

static bool
is_nothing(uint32_t cp)
{
	return cp == 0xad || cp == 0x34f || cp == 0x1806 || (cp >= 0x180b && cp <= 0x180d) ||
	    cp == 0x200c || cp == 0x200d || cp == 0x2060 || (cp >= 0xfe00 && cp <= 0xfe0f) ||
	    cp == 0xfeff;
}

static bool
is_control(uint32_t cp)
{
	return cp < ' ' || (cp >= 0x7f && cp < 0xa0) || cp == 0x6dd || cp == 0x70f ||
	    cp == 0x180e || cp == 0x2028 || cp == 0x2029 || (cp >= 0xfff9 && cp <= 0xfffd);
}

int
password_prepare(struct str password, char out[static PASSWORD_MAX + 1])
{
	struct buf b = { .max = PASSWORD_MAX };
	uint32_t cp;
	int r = -EINVAL;
	size_t n;

	while (password.n && (n = utf8_next(password, &cp)) && !is_control(cp)) {
		if (is_space(cp))
			buf_putc(&b, ' ');
		else if (!is_nothing(cp))
			buf_put(&b, password.p, n);
		password = str_skip(password, n);
	}
	if (!password.n && b.n && !b.over) {
		memcpy(out, b.p, b.n);
		out[b.n] = '\0';
		r = 0;
	}
	if (b.p)
		password_wipe(b.p, b.n);
	buf_done(&b);
	return r;
}

int
password_hash(const char *prepared, unsigned cost, char out[static PASSWORD_HASH_MAX],
    struct err *e)
{
	struct crypt_data *d = calloc(1, sizeof *d);
	char setting[CRYPT_GENSALT_OUTPUT_SIZE], random[32];
	const char *hash;
	int r = 0;

	if (!d)
		return err_set(e, -ENOMEM, "hash: no memory");
	if (RAND_bytes((unsigned char *)random, sizeof random) != 1 ||
	    !crypt_gensalt_rn("$y$", cost, random, sizeof random, setting, sizeof setting))
		r = err_set(e, -EIO, "cannot make a salt");
	if (!r) {
		hash = crypt_r(prepared, setting, d);
		if (!hash || hash[0] == '*' || strlen(hash) >= PASSWORD_HASH_MAX)
			r = err_set(e, -EIO, "cannot hash");
		else
			memcpy(out, hash, strlen(hash) + 1);
	}
	password_wipe(d, sizeof *d);
	free(d);
	return r;
}

int
password_verify(const char *prepared, const char *hash)
{
	struct crypt_data *d = calloc(1, sizeof *d);
	const char *got;
	int r = -EINVAL;

	if (!d)
		return -ENOMEM;
	got = crypt_r(prepared, hash, d);
	if (got && got[0] != '*')
		r = strlen(got) == strlen(hash) && !CRYPTO_memcmp(got, hash, strlen(hash));
	password_wipe(d, sizeof *d);
	free(d);
	return r;
}

int
scram_derive(const char *prepared, struct scram_keys *k)
{
	unsigned char salted[32], client[32];
	unsigned n = 0;
	bool ok;

	ok = PKCS5_PBKDF2_HMAC(prepared, (int)strlen(prepared), k->salt, sizeof k->salt,
	         (int)k->iterations, EVP_sha256(), sizeof salted, salted) == 1 &&
	    HMAC(EVP_sha256(), salted, sizeof salted, (const unsigned char *)"Client Key", 10, client,
	        &n) &&
	    EVP_Digest(client, sizeof client, k->stored, &n, EVP_sha256(), NULL) == 1 &&
	    HMAC(EVP_sha256(), salted, sizeof salted, (const unsigned char *)"Server Key", 10,
	        k->server, &n);
	password_wipe(salted, sizeof salted);
	password_wipe(client, sizeof client);
	return ok ? 0 : -EIO;
}

unsigned
password_scram_iterations(unsigned cost)
{
	return 4096u << (cost < 5 ? (cost ? cost - 1 : 0) : 4);
}

int
password_scram(const char *prepared, unsigned cost, struct scram_keys *ret, struct err *e)
{
	struct scram_keys k = { .iterations = password_scram_iterations(cost) };

	if (RAND_bytes(k.salt, sizeof k.salt) != 1 || scram_derive(prepared, &k))
		return err_set(e, -EIO, "cannot derive SCRAM keys");
	*ret = k;
	return 0;
}

static const char app_letters[] = "abcdefghijklmnopqrstuvwxyz234567";

int
password_app_new(char out[static PASSWORD_APP_SIZE + 1])
{
	unsigned char random[PASSWORD_APP_SIZE];

	if (RAND_bytes(random, sizeof random) != 1)
		return -EIO;
	for (size_t i = 0; i < PASSWORD_APP_SIZE; i++)
		out[i] = i % 6 == 5 ? '-' : app_letters[random[i] & 31];
	out[PASSWORD_APP_SIZE] = '\0';
	password_wipe(random, sizeof random);
	return 0;
}

static bool
is_app_password(struct str s)
{
	for (size_t i = 0; i < s.n && s.n == PASSWORD_APP_SIZE; i++)
		if (i % 6 == 5 ? s.p[i] != '-' : !s.p[i] || !strchr(app_letters, s.p[i]))
			return false;
	return s.n == PASSWORD_APP_SIZE;
}

bool
password_app_hash(struct str password, char out[static PASSWORD_HASH_MAX])
{
	static const char head[] = "$app$";
	unsigned char md[32];
	struct buf b = { .max = PASSWORD_HASH_MAX };
	bool ok = is_app_password(password) &&
	    EVP_Digest(password.p, password.n, md, NULL, EVP_sha256(), NULL) == 1;

	if (ok) {
		buf_puts(&b, head);
		hex_put(&b, str_from(md, sizeof md));
		memcpy(out, b.p, b.n);
		out[b.n] = '\0';
	}
	buf_done(&b);
	return ok;
}

void
password_wipe(void *p, size_t n)
{
	OPENSSL_cleanse(p, n);
}
