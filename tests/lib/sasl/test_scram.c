/* lib/sasl/scram: the exchange of RFC 7677 section 3, and messages that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

#include "lib/base/text.h"
#include "lib/sasl/scram.h"
#include "mta/password.h"

#define FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define SERVER_FIRST "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define WITHOUT_PROOF "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SIGNATURE "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static struct scram_keys
keys(void)
{
	struct scram_keys k = { .iterations = 4096 };
	struct buf b = { 0 };

	assert_int_equal(base64_get(&b, STR("W22ZaJ0SNY7soEsUEjb6gQ==")), 0);
	assert_int_equal(b.n, sizeof k.salt);
	memcpy(k.salt, b.p, b.n);
	buf_done(&b);
	assert_int_equal(scram_derive("pencil", &k), 0);
	return k;
}

static void
test_exchange(void **st)
{
	struct arena *a = arena_new(0);
	struct scram_keys k = keys();
	unsigned char signature[SCRAM_KEY];
	struct scram_first first;
	struct scram_final final;
	struct buf b = { 0 };
	struct str auth;

	assert_int_equal(scram_first(STR(FIRST), a, &first), 0);
	assert_true(str_eq(first.user, STR("user")) && str_eq(first.gs2, STR("n,,")));
	assert_true(!first.binding.n && !first.could_bind && !first.authzid.n);
	assert_int_equal(scram_final(STR(WITHOUT_PROOF ",p=" PROOF), a, &final), 0);
	assert_true(str_eq(final.without_proof, STR(WITHOUT_PROOF)));
	assert_true(str_eq(final.binding, STR("n,,")));
	auth = arena_printf(a, "%.*s,%s,%.*s", STR_ARG(first.bare), SERVER_FIRST, STR_ARG(final.without_proof));
	assert_int_equal(scram_verify(k.stored, k.server, auth, final.proof, signature), 1);
	base64_put(&b, str_from(signature, sizeof signature));
	assert_true(str_eq(buf_view(&b), STR(SIGNATURE)));
	auth = arena_printf(a, "%.*sx", STR_ARG(auth));
	assert_int_equal(scram_verify(k.stored, k.server, auth, final.proof, signature), 0);
	buf_done(&b);
	arena_free(&a);
}

static void
test_first(void **st)
{
	static const struct {
		const char *in, *user; /* NULL: refused */
		const char *binding, *authzid;
	} t[] = {
		{ "n,,n=user,r=abc", "user", "", "" }, { "y,,n=user,r=abc", "user", "", "" },
		{ "p=tls-exporter,,n=user,r=abc", "user", "tls-exporter", "" },
		{ "n,a=other,n=user,r=abc", "user", "", "other" }, { "n,,n=a=2Cb=3Dc,r=abc", "a,b=c", "", "" },
		{ "n,,n=user,r=abc,x=ext", "user", "", "" }, { "n,,n=user,r=", NULL }, { "n,,n=,r=abc", NULL },
		{ "n,,m=x,n=user,r=abc", NULL }, { "n,n=user,r=abc", NULL }, { "p=,,n=user,r=abc", NULL },
		{ "x,,n=user,r=abc", NULL }, { "n,,n=us=er,r=abc", NULL }, { "n,,n=us=2,r=abc", NULL },
		{ "n,,n=user,r=a b", NULL }, { "n,,r=abc,n=user", NULL }, { "n", NULL }, { "", NULL }, { "n,,", NULL },
		{ "n,b=x,n=user,r=abc", NULL },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct arena *a = arena_new(0);
		struct scram_first f;
		int r = scram_first(str_c(t[i].in), a, &f);

		if ((r < 0) != !t[i].user || (!r && (!str_eq(f.user, str_c(t[i].user)) ||
		    !str_eq(f.binding, str_c(t[i].binding)) || !str_eq(f.authzid, str_c(t[i].authzid)))))
			fail_msg("'%s': %d", t[i].in, r);
		arena_free(&a);
	}
}

static void
test_final(void **st)
{
	static const char *const bad[] = { "", "c=biws,r=abc", "c=biws,r=abc,p=", "c=biws,r=abc,p=AAAA",
		"c=b!,r=abc,p=" PROOF, "r=abc,c=biws,p=" PROOF, "c=biws,p=" PROOF, "c=biws,r=abc,p=" PROOF ",x=y",
		"p=" PROOF };
	struct arena *a = arena_new(0);
	struct scram_final f;

	assert_int_equal(scram_final(STR("c=biws,r=abc,x=ext,p=" PROOF), a, &f), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!scram_final(str_c(bad[i]), a, &f))
			fail_msg("'%s' was taken", bad[i]);
	arena_free(&a);
}

static void
test_app_password(void **st)
{
	char p[PASSWORD_APP_SIZE + 1], hash[PASSWORD_HASH_MAX], again[PASSWORD_HASH_MAX];

	assert_int_equal(password_app_new(p), 0);
	assert_int_equal(strlen(p), PASSWORD_APP_SIZE);
	assert_true(password_app_hash(str_c(p), hash));
	assert_true(password_app_hash(str_c(p), again));
	assert_string_equal(hash, again);
	assert_false(password_app_hash(STR("secret"), hash));
	assert_false(password_app_hash(STR("abcde-fghij-klmno-pqrst-uvwx"), hash));
	assert_false(password_app_hash(STR("abcde-fghij-klmno-pqrst-uvwx1"), hash));
	assert_false(password_app_hash(STR("abcde-fghij-klmno-pqrstxuvwxy"), hash));
	assert_false(password_app_hash(STR("Abcde-fghij-klmno-pqrst-uvwxy"), hash));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_first),
		cmocka_unit_test(test_final),
		cmocka_unit_test(test_app_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
