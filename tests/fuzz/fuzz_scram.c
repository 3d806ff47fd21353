/* A client's messages of SCRAM: what is taken can be put together again. */
#include <stdlib.h>

#include "lib/sasl/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str in = str_from(data, size);
	struct scram_first first;
	struct scram_final final;

	if (scram_first(in, a, &first) == 0 &&
	    (first.gs2.n + first.bare.n != in.n || !first.user.n || !first.nonce.n ||
	    (first.binding.n && first.could_bind)))
		abort();
	if (scram_final(in, a, &final) == 0 &&
	    (final.proof.n != SCRAM_KEY || !str_starts(in, final.without_proof)))
		abort();
	arena_free(&a);
	return 0;
}
