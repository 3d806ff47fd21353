/*
 * What a client says of OAUTHBEARER (RFC 7628 section 3.1) and of XOAUTH2, which mail
 * providers had before it: a token, and whom it wants to be.
 */
#ifndef LIB_SASL_OAUTH_H
#define LIB_SASL_OAUTH_H

#include "lib/base/arena.h"

struct oauth_message {
	struct str user;       /* whom the client wants to be; empty: whom the token names */
	struct str token;      /* without "Bearer" */
};

/* Strings are in the arena or point into message. 0 or -EINVAL. */
int oauth_bearer(struct str message, struct arena *a, struct oauth_message *ret);
int oauth_x2(struct str message, struct oauth_message *ret);

#endif
