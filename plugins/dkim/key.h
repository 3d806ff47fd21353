/*
 * Keys of DKIM and ARC (RFC 6376 section 3.6.1, RFC 8463): private ones from files, public ones from
 * records, and what is done with them.
 */
#ifndef PLUGINS_DKIM_KEY_H
#define PLUGINS_DKIM_KEY_H

#include <openssl/evp.h>

#include "plugins/dkim/canon.h"

#define KEY_SIGNATURE_MAX 2048      /* bytes of a signature in base64 */

/* "rsa-sha256", "ed25519-sha256"; NULL: a key of another kind. */
const char *key_algorithm(EVP_PKEY *key);
/* Signs a hash: base64 with a NUL behind it. Its length, or -1. */
long key_sign(EVP_PKEY *key, const unsigned char hash[CANON_HASH], char *out, size_t room);
/* Whether b64 (blanks in it are passed over) is the key's signature of the hash. */
int key_verify(EVP_PKEY *key, const unsigned char hash[CANON_HASH], struct ph_str b64);

/* The key of a record that fits an algorithm. NULL: *why (static text) says what is wrong. */
EVP_PKEY *key_public(struct ph_str record, const char *algorithm, const char **why);
/* A private key in PEM (RSA of 1024 bits and more, or Ed25519); NULL: it is none. */
EVP_PKEY *key_private(struct ph_str pem);

/* A hash, or any bytes, in base64: out has room for 4 * (n + 2) / 3 + 1. */
void key_base64(const unsigned char *p, size_t n, char *out);
/* Base64 of `want` bytes that is this hash. */
int key_is_hash(const unsigned char hash[CANON_HASH], struct ph_str b64);

#endif
