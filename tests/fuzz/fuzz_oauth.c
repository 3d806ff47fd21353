/* The clients' messages of OAUTHBEARER and XOAUTH2. */
#include <stdlib.h>

#include "lib/base/text.h"
#include "lib/sasl/oauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 20);
	struct oauth_message m;

	if (!oauth_bearer(str_from(data, size), a, &m) && (!m.token.n || ascii_has_control(m.user)))
		abort();
	if (!oauth_x2(str_from(data, size), &m) && (!m.token.n || ascii_has_control(m.user)))
		abort();
	arena_free(&a);
	return 0;
}
