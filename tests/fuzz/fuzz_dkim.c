/*
 * A message and the key record that the DNS would give: what stands before the first NUL is the
 * record, the rest is the message.
 */
#include <stdlib.h>

#include "plugins/dkim/author.h"
#include "plugins/dkim/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum verify_key
look_up(void *arg, const char *name, char *buf, size_t n)
{
	const struct ph_str *key = arg;

	if (strlen(name) > 600 || record_pick(key, 1) || key->n >= n)
		return VERIFY_KEY_MISSING;
	memcpy(buf, key->p, key->n);
	buf[key->n] = '\0';
	return VERIFY_KEY_FOUND;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct verify_rules rules = { .signatures = 10, .min_bits = 1024, .length = 1, .drift = 300 };
	static struct verify_signature s[VERIFY_SIGNATURES_MAX];
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	size_t n = nul ? (size_t)(nul - data) : 0;
	struct ph_str key = ph_bytes(data, n), mail = ph_bytes(data + n + (nul != NULL), size - n - (nul != NULL));
	struct verifier *v = verifier_new(&rules);
	struct author a;
	int found = v ? verify_message(v, mail, look_up, &key, s) : 0;

	for (int i = 0; i < found; i++)
		if (!s[i].reason || (s[i].result == VERIFY_PASS) != !s[i].reason[0])
			abort();
	author_parse(mail, &a);
	verifier_free(&v);
	return 0;
}
