/* Making the three fields of a set (RFC 8617 section 5.1). */
#ifndef PLUGINS_ARC_SEAL_H
#define PLUGINS_ARC_SEAL_H

#include "plugins/arc/chain.h"
#include "plugins/dkim/keys.h"
#include "plugins/dkim/sign.h"

#define SEAL_FIELD_MAX CHAIN_FIELD_MAX

/* Values of the fields, folded, NUL-terminated. */
struct seal {
	char results[SEAL_FIELD_MAX], message[SEAL_FIELD_MAX], seal[SEAL_FIELD_MAX];
};

/* The next set of a chain that passes, or the first. `results` is what stands behind "i=N; " of
 * ARC-Authentication-Results. 0, or -1: too long, too many sets, or the key cannot sign. */
int seal_make(const struct canon_message *m, const struct chain *c, const struct sign_rules *rules,
    const struct keys_one *key, const char *results, uint64_t now, struct seal *ret);

#endif
