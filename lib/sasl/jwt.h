/*
 * JSON Web Tokens (RFC 7519) that somebody else signed, held against public keys: a JWKS
 * (RFC 7517) or PEM. RS256, ES256 and EdDSA with Ed25519 (RFC 7518, RFC 8037).
 *
 * The key alone decides by which algorithm a signature is judged, and the token must name
 * that one: neither "none" nor a public key taken for the secret of an HMAC is possible
 * (RFC 8725 sections 3.1, 3.2). A token that says what must be understood ("crit") is refused.
 */
#ifndef LIB_SASL_JWT_H
#define LIB_SASL_JWT_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/base/json_read.h"

#define JWT_MAX 8192           /* bytes of a token */
#define JWT_KEYS_MAX 64
#define JWT_LEEWAY_S 60        /* that clocks may differ */

struct jwt_keys;
/* text: a JWKS, or PEM of one or more public keys. Of a JWKS, keys of other kinds or for
 * other use are passed over; none that is left is an error. RSA keys have 2048 bits at least. */
int jwt_keys_new(struct str text, struct jwt_keys **ret, struct err *e);
void jwt_keys_free(struct jwt_keys **k);

struct jwt_policy {
	struct str issuer;             /* "iss" must be it */
	const struct str *audiences;   /* "aud" must have one of them */
	size_t n_audiences;
	struct str claim;              /* that names the account */
	uint64_t now_s;                /* real time */
};

/* NULL and *ret_name: the token is whole, of this issuer, for this audience, in its time
 * ("exp" it must have), and names somebody by its claim; strings are in the arena. Else why
 * not, for the log. An "email" of which the token says that it is not verified names nobody. */
const char *jwt_judge(const struct jwt_keys *k, struct str token, const struct jwt_policy *p,
    struct arena *a, struct str *ret_name);

#endif
