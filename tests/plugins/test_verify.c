/*
 * Verifying DKIM signatures: the example of RFC 8463, what is wrong with each kind of wrong
 * signature or key, and mail that is made to cost time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "plugins/dkim/author.h"
#include "plugins/dkim/tags.h"
#include "plugins/dkim/verify.h"
#include "tests/plugins/rfc8463.h"

#define SIGNED RFC8463_ED25519_SIGNATURE RFC8463_RSA_SIGNATURE RFC8463_MESSAGE

/* What the DNS says. */
struct zone {
	const char *rsa, *ed25519; /* NULL: nothing */
	enum verify_key otherwise;
	unsigned asked;
};

static enum verify_key
look_up(void *arg, const char *name, char *buf, size_t n)
{
	struct zone *z = arg;
	const char *txt = !strcmp(name, "test._domainkey.football.example.com") ? z->rsa :
	    !strcmp(name, "brisbane._domainkey.football.example.com") ? z->ed25519 : NULL;

	z->asked++;
	if (!txt)
		return z->otherwise;
	assert_true(strlen(txt) < n);
	memcpy(buf, txt, strlen(txt) + 1);
	return VERIFY_KEY_FOUND;
}

static const struct verify_rules usual = { .signatures = 10, .min_bits = 1024, .drift = 300 };

static int
run(const struct verify_rules *rules, const char *mail, struct zone *z, struct verify_signature *ret)
{
	struct verifier *v = verifier_new(rules);
	int n;

	assert_non_null(v);
	n = verify_message(v, ph_c(mail), look_up, z, ret);
	verifier_free(&v);
	return n;
}

static void
test_example(void **state)
{
	static struct verify_signature s[VERIFY_SIGNATURES_MAX];
	struct zone z = { RFC8463_RSA, RFC8463_ED25519, VERIFY_KEY_MISSING, 0 };

	(void)state;
	assert_int_equal(run(&usual, SIGNED, &z, s), 2);
	assert_int_equal(s[0].result, VERIFY_PASS);
	assert_string_equal(s[0].algorithm, "ed25519-sha256");
	assert_string_equal(s[0].selector, "brisbane");
	assert_string_equal(s[0].identity, "@football.example.com");
	assert_int_equal(s[1].result, VERIFY_PASS);
	assert_string_equal(s[1].domain, "football.example.com");
	assert_string_equal(s[1].b, "F45dVWDf");
	assert_int_equal(s[1].bits, 1024);
	assert_int_equal(run(&usual, RFC8463_MESSAGE, &z, s), 0);
	assert_int_equal(run(&usual, "", &z, s), 0);
}

/* The RSA signature of the message, with one thing changed. */
static const struct wrong {
	const char *name, *from, *to; /* the first `from` in the signed mail becomes `to` */
	const char *key;              /* NULL: the right one */
	enum verify_key otherwise;    /* with the key "": what is said */
	enum verify_result want;
	const char *reason;
} wrongs[] = {
	{ "body", "hungry", "angry", NULL, 0, VERIFY_FAIL, "body hash did not verify" },
	{ "subject", "dinner", "supper", NULL, 0, VERIFY_FAIL, "signature did not verify" },
	{ "second From", "To:", "From: x@example.test\r\nTo:", NULL, 0, VERIFY_FAIL, "signature did not verify" },
	{ "b", "F45d", "F45e", NULL, 0, VERIFY_FAIL, "signature did not verify" },
	{ "bh", "bh=2j", "bh=3j", NULL, 0, VERIFY_FAIL, "signature did not verify" },
	{ "spaces at line ends", "Hi.\r\n", "Hi.   \r\n", NULL, 0, VERIFY_PASS, "" },
	{ "empty lines at the end", "Joe.\r\n", "Joe.\r\n\r\n\r\n", NULL, 0, VERIFY_PASS, "" },
	{ "folding", "Subject: Is", "subject:\r\n Is", NULL, 0, VERIFY_PASS, "" },
	{ "expired", "t=1528637909;", "t=1528637909; x=1528637910;", NULL, 0, VERIFY_PERMERROR,
	    "signature has expired" },
	{ "from the future", "t=1528637909;", "t=99999999999;", NULL, 0, VERIFY_PERMERROR,
	    "signature is from the future" },
	{ "l", "q=dns/txt;", "q=dns/txt; l=10;", NULL, 0, VERIFY_POLICY, "only a part of the body is signed" },
	{ "sha1", "rsa-sha256", "rsa-sha1", NULL, 0, VERIFY_PERMERROR, "rsa-sha1 is no longer valid" },
	{ "another algorithm", "rsa-sha256", "dsa-sha256", NULL, 0, VERIFY_NEUTRAL, "the signature is malformed" },
	{ "From not signed", "h=from : to : subject :\r\n date : message-id : from",
	    "h=to : to : subject :\r\n date : message-id : to", NULL, 0, VERIFY_PERMERROR, "From is not signed" },
	{ "version", "v=1", "v=2", NULL, 0, VERIFY_NEUTRAL, "unknown version" },
	{ "i outside of d", "i=@football", "i=@baseball", NULL, 0, VERIFY_PERMERROR, "i= is not within d=" },
	{ "no list", "v=1; a=", "v=1; a", NULL, 0, VERIFY_NEUTRAL, "the signature is malformed" },
	{ "a tag twice", "v=1;", "v=1; v=1;", NULL, 0, VERIFY_NEUTRAL, "the signature is malformed" },
	{ "no domain", "d=football.example.com;", "d=;", NULL, 0, VERIFY_NEUTRAL, "the signature is malformed" },
	{ "a domain that is none", "d=football.example.com;", "d=\"a;b\";", NULL, 0, VERIFY_NEUTRAL,
	    "the signature is malformed" },
	{ "no key", "", "", "", VERIFY_KEY_MISSING, VERIFY_PERMERROR, "no key" },
	{ "no answer", "", "", "", VERIFY_KEY_LATER, VERIFY_TEMPERROR, "the key cannot be asked for" },
	{ "several keys", "", "", "", VERIFY_KEY_TWO, VERIFY_PERMERROR, "several keys" },
	{ "revoked", "", "", "v=DKIM1; p=", 0, VERIFY_PERMERROR, "the key is revoked" },
	{ "broken base64", "", "", "v=DKIM1; p=MIGf!!", 0, VERIFY_PERMERROR, NULL },
	{ "not a key", "", "", "v=DKIM1; p=AAAA", 0, VERIFY_PERMERROR, "the key is broken" },
	{ "another version", "", "", "v=DKIM9; p=AAAA", 0, VERIFY_PERMERROR,
	    "the key record is of another version" },
	{ "another type", "", "", "v=DKIM1; k=dsa; p=AAAA", 0, VERIFY_PERMERROR, "unknown type of key" },
	{ "another hash", "", "", "v=DKIM1; h=sha1; p=AAAA", 0, VERIFY_PERMERROR,
	    "the key is not for this algorithm" },
	{ "another service", "", "", "v=DKIM1; s=tlsrpt; p=AAAA", 0, VERIFY_PERMERROR, "the key is not for mail" },
	{ "no record", "", "", "this is a text of another kind", 0, VERIFY_PERMERROR, NULL },
	{ "Ed25519 for RSA", "", "", RFC8463_ED25519, 0, VERIFY_PERMERROR, "the key is broken" },
};

static char *
changed(const char *mail, const char *from, const char *to)
{
	const char *at = strstr(mail, from);
	size_t n = strlen(mail) + strlen(to) + 1;
	char *r = malloc(n);

	assert_non_null(r);
	assert_non_null(at);
	snprintf(r, n, "%.*s%s%s", (int)(at - mail), mail, to, at + strlen(from));
	return r;
}

static void
test_wrong(void **state)
{
	static struct verify_signature s[VERIFY_SIGNATURES_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
		const struct wrong *w = &wrongs[i];
		struct zone z = { w->key ? *w->key ? w->key : NULL : RFC8463_RSA, NULL, w->otherwise, 0 };
		char *mail = changed(RFC8463_RSA_SIGNATURE RFC8463_MESSAGE, w->from, w->to);

		if (run(&usual, mail, &z, s) != 1 || s[0].result != w->want ||
		    (w->reason && strcmp(s[0].reason, w->reason)))
			fail_msg("%s: %s (%s)", w->name, verify_result_name(s[0].result), s[0].reason);
		free(mail);
	}
}

static void
test_rules(void **state)
{
	static struct verify_signature s[VERIFY_SIGNATURES_MAX];
	struct verify_rules strict = { .signatures = 1, .min_bits = 2048, .drift = 300 };
	struct zone z = { RFC8463_RSA, RFC8463_ED25519, VERIFY_KEY_MISSING, 0 };

	(void)state;
	assert_int_equal(run(&strict, SIGNED, &z, s), 2);
	assert_int_equal(s[0].result, VERIFY_PASS);
	assert_int_equal(s[1].result, VERIFY_POLICY);
	assert_string_equal(s[1].reason, "too many signatures");
	assert_int_equal(z.asked, 1);
	assert_int_equal(run(&strict, RFC8463_RSA_SIGNATURE RFC8463_MESSAGE, &z, s), 1);
	assert_int_equal(s[0].result, VERIFY_POLICY);
	assert_string_equal(s[0].reason, "the key is too short");
}

/* What stands before the mail, n times. */
static char *
repeated(const char *what, size_t n, const char *mail)
{
	size_t k = strlen(what);
	char *r = malloc(k * n + strlen(mail) + 1);

	assert_non_null(r);
	for (size_t i = 0; i < n; i++)
		memcpy(r + i * k, what, k);
	strcpy(r + n * k, mail);
	return r;
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The most that a message may hold against us. */
static void
test_costly(void **state)
{
	static struct verify_signature s[VERIFY_SIGNATURES_MAX];
	struct zone z = { RFC8463_RSA, NULL, VERIFY_KEY_MISSING, 0 };
	char *mail = repeated(RFC8463_RSA_SIGNATURE, 500, RFC8463_MESSAGE), *names, *one;
	double start = seconds();

	(void)state;
	assert_int_equal(run(&usual, mail, &z, s), VERIFY_SIGNATURES_MAX);
	assert_int_equal(s[0].result, VERIFY_POLICY); /* its header is too long to be looked at */
	free(mail);
	mail = repeated(RFC8463_RSA_SIGNATURE, 50, RFC8463_MESSAGE);
	assert_int_equal(run(&usual, mail, &z, s), 50);
	for (int i = 0; i < 50; i++)
		assert_int_equal(s[i].result, i < 10 ? VERIFY_PASS : VERIFY_POLICY);
	assert_true(z.asked <= 10);
	free(mail);

	/* thousands of names, each looked for in all fields */
	names = repeated("a:", 3500, "from");
	one = malloc(9000);
	snprintf(one, 9000, "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; h=%s; bh=YQ==; b=YQ==\r\n",
	    names);
	mail = repeated("b: 1\r\n", 900, RFC8463_MESSAGE);
	free(names);
	names = repeated(one, 10, mail);
	assert_int_equal(run(&usual, names, &z, s), 10);
	free(names);
	free(mail);
	free(one);
	assert_true(seconds() - start < 10);
}

static void
test_pick(void **state)
{
	const struct ph_str txt[] = { ph_c("v=spf1 -all"), ph_c("v=DKIM1; p=AAAA"), ph_c("p=BBBB"), ph_c("p") };

	(void)state;
	assert_int_equal(record_pick(txt, 1), -1);
	assert_int_equal(record_pick(txt, 2), 1);
	assert_int_equal(record_pick(txt, 3), -2);
	assert_int_equal(record_pick(txt + 3, 1), -1);
}

static void
test_tags(void **state)
{
	struct tags t;
	char out[8];
	uint64_t n;

	(void)state;
	assert_int_equal(tags_parse(ph_c(" v = 1 ;\r\n a=b c;x="), &t), 0);
	assert_int_equal(t.n, 3);
	assert_true(ph_eq(tags_get(&t, "a"), ph_c("b c")));
	assert_non_null(tags_get(&t, "x").p);
	assert_null(tags_get(&t, "A").p);
	assert_int_equal(tags_parse(ph_c("a=1;;b=2"), &t), -1);
	assert_int_equal(tags_parse(ph_c(";"), &t), -1);
	assert_int_equal(tags_parse(ph_c(""), &t), -1);
	assert_int_equal(tags_parse(ph_c("a=1;a=1"), &t), -1);
	assert_int_equal(tags_parse(ph_c("1a=1"), &t), -1);
	assert_int_equal(tags_squeeze(ph_c(" a\r\n b"), out, sizeof out), 2);
	assert_string_equal(out, "ab");
	assert_int_equal(tags_squeeze(ph_c("12345678"), out, sizeof out), -1);
	assert_int_equal(tags_number(ph_c("42"), &n), 0);
	assert_int_equal(n, 42);
	assert_int_equal(tags_number(ph_c("4x"), &n), -1);
}

static void
test_author(void **state)
{
	static const struct {
		const char *from, *want; /* the domains, each behind a blank */
		int more;
	} v[] = {
		{ "user1@example.test", " example.test", 0 },
		{ "\"a@b.test\" <user1@Example.TEST>", " example.test", 0 },
		{ "a (x@y.test (z) \\) @w.test) <a@ example.test.>", " example.test", 0 },
		{ "a@one.test, b@two.test, c@ONE.test", " one.test two.test", 0 },
		{ "\"unfinished @x.test", "", 0 },
		{ "a@[192.0.2.1]", "", 1 },
		{ "", "", 0 },
	};
	struct author a;
	char got[500];

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		author_parse(ph_c(v[i].from), &a);
		got[0] = '\0';
		for (unsigned k = 0; k < a.n; k++)
			snprintf(got + strlen(got), sizeof got - strlen(got), " %s", a.domain[k]);
		assert_string_equal(got, v[i].want);
		assert_int_equal(a.more, v[i].more);
	}
	assert_true(author_below("mail.Example.test", "example.test"));
	assert_true(author_below("example.test", "example.test"));
	assert_false(author_below("badexample.test", "example.test"));
	assert_false(author_below("test", "example.test"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_costly),
		cmocka_unit_test(test_pick),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_author),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
