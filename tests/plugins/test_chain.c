/* Chains of ARC: what is sealed here passes; each way of breaking one fails for its own reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "plugins/arc/chain.h"
#include "plugins/arc/seal.h"
#include "plugins/dkim/key.h"
#include "tests/plugins/rfc8463.h"

static struct canon_message m;
static struct chain chain;
static struct sign_rules rules = { .n_sign = 2, .header = CANON_RELAXED, .body = CANON_RELAXED };

struct zone {
	enum verify_key otherwise; /* what is said of the selector gone */
	unsigned asked;
};

static enum verify_key
look_up(void *arg, const char *name, char *buf, size_t n)
{
	struct zone *z = arg;
	const char *txt = strstr(name, "ed.") == name ? RFC8463_ED25519 : RFC8463_RSA;

	z->asked++;
	if (strstr(name, "gone.") == name)
		return z->otherwise;
	assert_true(strlen(txt) < n);
	strcpy(buf, txt);
	return VERIFY_KEY_FOUND;
}

/* The mail with one more set on top; frees what it gets. */
static char *
sealed(char *mail, const char *selector, const char *domain)
{
	static struct seal s;
	struct zone z = { VERIFY_KEY_MISSING, 0 };
	struct keys_one key = { .key = key_private(ph_c(strcmp(selector, "ed") ? RFC8463_RSA_PRIVATE :
	    RFC8463_ED25519_PRIVATE)) };
	size_t room = strlen(mail) + sizeof s + 200;
	char *all = malloc(room);

	assert_non_null(key.key);
	strcpy(key.selector, selector);
	strcpy(key.domain, domain);
	assert_int_equal(canon_split(ph_c(mail), &m), 0);
	chain_verify(&m, look_up, &z, &chain);
	assert_int_equal(seal_make(&m, &chain, &rules, &key, "mx.test; spf=pass;\r\n\tdmarc=pass", 1700000000, &s), 0);
	snprintf(all, room, "ARC-Seal: %s\r\nARC-Message-Signature: %s\r\nARC-Authentication-Results: %s\r\n%s",
	    s.seal, s.message, s.results, mail);
	EVP_PKEY_free(key.key);
	free(mail);
	return all;
}

static char *
chain_of(unsigned n)
{
	char *mail = strdup(RFC8463_MESSAGE), domain[20];

	rules.sign[0] = ph_c("Subject");
	rules.sign[1] = ph_c("To");
	for (unsigned i = 1; i <= n; i++) {
		snprintf(domain, sizeof domain, "hop%u.test", i);
		mail = sealed(mail, i % 2 ? "rsa" : "ed", domain);
	}
	return mail;
}

static void
verify(const char *mail, struct zone *z)
{
	assert_int_equal(canon_split(ph_c(mail), &m), 0);
	chain_verify(&m, look_up, z, &chain);
}

static void
test_whole(void **state)
{
	struct zone z = { VERIFY_KEY_MISSING, 0 };

	(void)state;
	verify(RFC8463_MESSAGE, &z);
	assert_int_equal(chain.state, CHAIN_NONE);
	assert_string_equal(chain_dmarc(&chain), "");
	for (unsigned n = 1; n <= 4; n++) {
		char *mail = chain_of(n);

		verify(mail, &z);
		if (chain.state != CHAIN_PASS)
			fail_msg("%u: %s at %u", n, chain.why, chain.set_wrong);
		assert_int_equal(chain.n, n);
		assert_string_equal(chain.set[1].domain, "hop1.test");
		assert_string_equal(chain_dmarc(&chain), "pass");
		free(mail);
	}
}

/* One thing changed in a chain of three. */
static const struct broken {
	const char *name, *from, *to;
	const char *why;
	unsigned set;
} brokens[] = {
	{ "body", "hungry", "angry", "the body was changed", 3 },
	{ "subject", "dinner", "supper", "the message signature does not verify", 3 },
	{ "newest results", "i=3; mx.test; spf=pass", "i=3; mx.test; spf=fail", "the seal does not verify", 3 },
	{ "older results", "i=1; mx.test; spf=pass", "i=1; mx.test; spf=fail", "the seal does not verify", 3 },
	{ "a field missing", "ARC-Message-Signature: i=2", "X-Message-Signature: i=2", "a field is missing", 2 },
	{ "a set missing", "ARC-Seal: i=2", "X: i=2", "a field is missing", 2 },
	{ "twice", "Subject: Is", "ARC-Seal: i=2; a=b;\r\nSubject: Is", "a field comes twice", 2 },
	{ "no number", "ARC-Seal: i=2", "ARC-Seal: i=x", "a field is malformed", 0 },
	{ "number 0", "ARC-Seal: i=2", "ARC-Seal: i=0", "a field is malformed", 0 },
	{ "too many", "ARC-Seal: i=2", "ARC-Seal: i=51", "too many sets", 0 },
	{ "cv of the first", "cv=none", "cv=pass", "the seal's cv= does not fit", 1 },
	{ "cv of the newest", "cv=pass", "cv=none", "the seal's cv= does not fit", 3 },
	{ "cv fails", "cv=pass", "cv=fail", "a sealer says that it fails", 3 },
	{ "h in the seal", "cv=pass;", "cv=pass; h=from;", "the seal has h=", 3 },
	{ "seal's time", "t=1700000000; cv=pass", "t=1700000001; cv=pass", "the seal does not verify", 3 },
	{ "algorithm", "ARC-Message-Signature: i=3; a=rsa-sha256", "ARC-Message-Signature: i=3; a=rsa-sha1",
	    "unknown algorithm", 3 },
	{ "seal signed", "h=from:from:Subject:To", "h=from:from:Arc-seal:To", "the message signature is malformed", 3 },
	{ "length", "ARC-Message-Signature: i=3;", "ARC-Message-Signature: i=3; l=5;",
	    "signs only a part of the body", 3 },
	{ "no key", "d=hop3.test; s=rsa;", "d=hop3.test; s=gone;", "the seal has no key", 3 },
	{ NULL, NULL, NULL, NULL, 0 },
};

static void
test_broken(void **state)
{
	struct zone z = { VERIFY_KEY_MISSING, 0 };

	(void)state;
	for (size_t i = 0; brokens[i].why; i++) {
		const struct broken *b = &brokens[i];
		char *mail = chain_of(3), *at = strstr(mail, b->from), *all = malloc(strlen(mail) + 100);

		assert_non_null(at);
		sprintf(all, "%.*s%s%s", (int)(at - mail), mail, b->to, at + strlen(b->from));
		verify(all, &z);
		if (chain.state != CHAIN_FAIL || strcmp(chain.why, b->why) || chain.set_wrong != b->set)
			fail_msg("%s: %s '%s' at %u", b->name, chain_state_name(chain.state), chain.why, chain.set_wrong);
		free(all);
		free(mail);
	}
}

/* The longest chain, and how many keys it costs. */
static void
test_long(void **state)
{
	struct zone z = { VERIFY_KEY_LATER, 0 };
	char *mail = chain_of(CHAIN_MAX);

	(void)state;
	verify(mail, &z);
	assert_int_equal(chain.state, CHAIN_PASS);
	assert_int_equal(z.asked, CHAIN_MAX + 1);
	free(mail);
	mail = sealed(strdup(RFC8463_MESSAGE), "gone", "hop.test");
	verify(mail, &z);
	assert_int_equal(chain.state, CHAIN_FAIL);
	assert_string_equal(chain.why, "the key cannot be asked for");
	free(mail);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
