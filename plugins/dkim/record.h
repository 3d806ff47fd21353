/* Key records of the DNS (RFC 6376 section 3.6.2), as DKIM and ARC ask for them. */
#ifndef PLUGINS_DKIM_RECORD_H
#define PLUGINS_DKIM_RECORD_H

#include "plugins/plugin.h"

#define RECORD_MAX 1024             /* bytes of a record that is believed, with a NUL */

enum verify_key { VERIFY_KEY_FOUND, VERIFY_KEY_MISSING, VERIFY_KEY_LATER, VERIFY_KEY_TWO };
/* The record at "selector._domainkey.domain" into buf of n bytes, NUL-terminated. */
typedef enum verify_key verify_key_fn(void *arg, const char *name, char *buf, size_t n);

/* Which of the n TXT strings is the key record: its index, -1: none, -2: several. */
int record_pick(const struct ph_str *txt, unsigned n);
/* A verify_key_fn that asks by ph_dns; arg is the struct ph_call. It gives up half a second
 * before the call's time is over. */
verify_key_fn record_fetch;

#endif
