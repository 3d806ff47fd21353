/*
 * Keys of the plugin dkim as `posthorn dkim` keeps them: FOLDER/DOMAIN/SELECTOR.pem, PKCS 8 in PEM
 * behind two lines, "from SECONDS" and "until SECONDS" (since 1970; until 0: no end): the time
 * in which the key signs. The plugin reads the same files.
 */
#ifndef MTA_DKIM_KEY_H
#define MTA_DKIM_KEY_H

#include <openssl/evp.h>
#include <sys/types.h>

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

#define DKIM_OVERLAP_S (7 * 86400) /* that a record stays in the DNS after its key has signed last */

struct dkim_key {
	struct str domain, selector;
	EVP_PKEY *key;
	uint64_t from, until;
};

/* "rsa", "ed25519" (RFC 6376 section 3.6.1, RFC 8463). */
const char *dkim_key_type(const struct dkim_key *k);
unsigned dkim_key_bits(const struct dkim_key *k);
/* "waiting", "signing", "published" (signs no more, its record is still needed), "over". */
const char *dkim_key_state(const struct dkim_key *k, uint64_t now);

/* A new pair of keys; bits of RSA. NULL: OpenSSL cannot. */
EVP_PKEY *dkim_key_make(bool rsa, unsigned bits);
/* What goes into the DNS: "v=DKIM1; k=rsa; p=...". */
void dkim_key_record(struct buf *out, const struct dkim_key *k);

/* The keys of a domain, or of all (domain empty), by domain and selector. The arena frees them. */
int dkim_keys_read(const char *folder, struct str domain, struct arena *a, struct dkim_key **ret,
    size_t *ret_n, struct err *e);
/* Writes a key's file, new or in the place of what was there; owner (uid_t)-1: the caller's. */
int dkim_key_write(const char *folder, const struct dkim_key *k, uid_t owner, gid_t group, struct err *e);
int dkim_key_delete(const char *folder, const struct dkim_key *k, struct err *e);

#endif
