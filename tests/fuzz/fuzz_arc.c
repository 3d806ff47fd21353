/* A message with a chain of ARC, and the key record that the DNS would give for all of its keys: what
 * stands before the first NUL is the record, the rest is the message. */
#include <stdlib.h>

#include "plugins/arc/chain.h"

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
	static struct canon_message m;
	static struct chain chain;
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	size_t n = nul ? (size_t)(nul - data) : 0;
	struct ph_str key = ph_bytes(data, n), mail = ph_bytes(data + n + (nul != NULL), size - n - (nul != NULL));

	if (canon_split(mail, &m))
		return 0;
	chain_verify(&m, look_up, &key, &chain);
	if ((chain.state == CHAIN_FAIL) != (chain.why[0] != '\0') || (chain.state == CHAIN_PASS && !chain.n))
		abort();
	chain_dmarc(&chain);
	return 0;
}
