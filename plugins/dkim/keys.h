/*
 * The private keys of a folder: DOMAIN/SELECTOR.pem below it. In front of the PEM may stand lines
 * "from SECONDS" and "until SECONDS" (since 1970; 0: no end): the time in which the key signs. So
 * rotation is a matter of files (posthorn-dkim(7)).
 */
#ifndef PLUGINS_DKIM_KEYS_H
#define PLUGINS_DKIM_KEYS_H

#include <openssl/evp.h>

#include "plugins/plugin.h"

#define KEYS_MAX 100000
#define KEYS_OF_DOMAIN_MAX 8        /* that sign at a time */

struct keys_one {
	char domain[254], selector[64];
	EVP_PKEY *key;
	uint64_t from, until;
};

struct keys {
	struct keys_one *v;
	unsigned n;
	unsigned broken;            /* files that hold no key */
	char first_broken[400];
};

/* Reads all keys: 0 or a negative errno value. A folder that is not there has none. */
int keys_load(const char *folder, struct keys **ret);
void keys_free(struct keys **k);
/* Changes when files of the folder do, and is cheap to ask for. */
uint64_t keys_stamp(const char *folder);

/* The keys that sign for a domain at that time (seconds): how many, at most KEYS_OF_DOMAIN_MAX. */
unsigned keys_of(const struct keys *k, const char *domain, uint64_t now, const struct keys_one **ret);

/* Reads one file's text: 0, or -1 when it holds no key. */
int keys_parse(struct ph_str text, struct keys_one *ret);

#endif
