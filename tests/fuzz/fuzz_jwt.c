/* Tokens and sets of keys; nothing that a fuzzer makes is ever signed by the key here. */
#include <stdlib.h>

#include "lib/sasl/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct str key = STR_INIT("{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
	    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}");
	const struct jwt_policy p = { .issuer = STR("joe"), .audiences = &STR("mail"), .n_audiences = 1,
		.claim = STR("email"), .now_s = 1300819380 };
	struct arena *a = arena_new(1 << 20);
	struct jwt_keys *k, *theirs;
	struct str name;
	struct err e;

	if (jwt_keys_new(key, &k, &e) || !jwt_judge(k, str_from(data, size), &p, a, &name))
		abort();
	if (!jwt_keys_new(str_from(data, size), &theirs, &e))
		jwt_keys_free(&theirs);
	jwt_keys_free(&k);
	arena_free(&a);
	return 0;
}
