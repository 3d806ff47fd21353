/* Facts from a process that may be hijacked: a blob that passes can be shown. */
#include "lib/mail/facts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct buf out = { 0 };
	struct facts f;
	struct facts_envelope env;
	struct facts_part *parts;
	struct mime m;
	struct str refs, id;

	if (facts_get(str_from(data, size), &f) == 0) {
		for (refs = f.references; facts_ref_next(&refs, &id);)
			if (id.n > FACTS_MAX_ID)
				abort();
		facts_envelope_imap(f.envelope, &out);
		facts_structure_imap(f.structure, &out, true);
		if (facts_envelope_get(f.envelope, a, &env) < 0 ||
		    facts_structure_get(f.structure, a, &m, &parts) < 0)
			abort();
	}
	buf_done(&out);
	arena_free(&a);
	return 0;
}
