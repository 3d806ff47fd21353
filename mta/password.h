/*
 * Passwords: yescrypt hashes (crypt(5), "$y$") and, beside them from the start,
 * the keys of SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677), since they can only
 * be made while the password is at hand. Every function here may burn
 * milliseconds: never on an event loop.
 */
#ifndef MTA_PASSWORD_H
#define MTA_PASSWORD_H

#include "lib/base/err.h"
#include "lib/base/str.h"

#define PASSWORD_MAX 500
#define PASSWORD_HASH_MAX 384

struct scram_keys {
	unsigned iterations;
	unsigned char salt[16], stored[32], server[32];
};

/* A password as hashing takes it, NUL-terminated: non-ASCII spaces as spaces, no
 * control characters, valid UTF-8 (the mapping and prohibition steps of SASLprep,
 * RFC 4013 section 2; normalisation is the client's). -EINVAL otherwise. */
int password_prepare(struct str password, char out[static PASSWORD_MAX + 1]);

/* Hashes a prepared password with a fresh salt; cost 1 (about 1 ms) to 11. */
int password_hash(const char *prepared, unsigned cost, char out[static PASSWORD_HASH_MAX],
    struct err *e);
/* 1 when it fits, 0 when not, -EINVAL for a hash that crypt(5) does not know. */
int password_verify(const char *prepared, const char *hash);

unsigned password_scram_iterations(unsigned cost);
/* Fresh salt; iterations grow with the cost. */
int password_scram(const char *prepared, unsigned cost, struct scram_keys *ret, struct err *e);
/* The keys for a salt and iterations given. */
int scram_derive(const char *prepared, struct scram_keys *k);

/*
 * App passwords are made by the house: PASSWORD_APP_SIZE characters, 125 random bits in
 * five groups ("abcde-fghij-klmno-pqrst-uvwxy"), so that a plain hash keeps them.
 */
#define PASSWORD_APP_SIZE 29
int password_app_new(char out[static PASSWORD_APP_SIZE + 1]);
/* The hash of what has the form of one; false: it has not. */
bool password_app_hash(struct str password, char out[static PASSWORD_HASH_MAX]);

/* Overwrites what must not stay in memory. */
void password_wipe(void *p, size_t n);

#endif
