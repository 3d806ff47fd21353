/*
 * Patterns of LIST and LSUB (RFC 3501 section 6.3.8): `*` is any run of characters,
 * `%` one without the hierarchy separator. Both sides are in modified UTF-7; the
 * name INBOX, alone or as the first level, matches in any case.
 */
#ifndef IMAPD_PATTERN_H
#define IMAPD_PATTERN_H

#include "lib/base/arena.h"

/* Names longer than this match nothing; the store's longest are shorter. */
enum { PATTERN_NAME_MAX = 3000 };

struct pattern {
	struct str text;      /* without repeated wildcards */
	bool percent;         /* has a % */
};

/* Reference and pattern as one (the reference is put in front). False: out of memory. */
bool pattern_make(struct pattern *p, struct str reference, struct str text, struct arena *ar);
bool pattern_match(const struct pattern *p, struct str name);

#endif
