/*
 * Recent successes: which password (as a keyed hash) fitted which account a
 * moment ago, so that a client that logs in again and again costs no slow hash;
 * and from which networks an account has logged in today. Entries are 64-bit keys
 * with an expiry; bounded, the oldest makes room. Nothing in it gives a password
 * back: keys are HMACs with a key of this process.
 */
#ifndef MTA_RECENT_H
#define MTA_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/str.h"

struct recent;

struct recent *recent_new(size_t max_entries, uint64_t life_ms);
void recent_free(struct recent **r);

/* The key of a set of parts (order counts): 128 bits, HMAC-SHA256 cut short. */
struct recent_key {
	uint64_t hi, lo;
};
struct recent_key recent_key(const struct recent *r, uint64_t account, uint64_t generation,
    struct str what);

bool recent_has(const struct recent *r, struct recent_key k, uint64_t now_ms);
void recent_add(struct recent *r, struct recent_key k, uint64_t now_ms);
void recent_clear(struct recent *r);

#endif
