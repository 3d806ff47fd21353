/*
 * What authd and maild said lately of recipients, so that most messages cost no
 * question. Only good news is kept: an unknown address, an account without room and
 * a temporary failure are asked about anew each time. All of it goes when authd
 * tells of a change, or when authd is another process than before.
 */
#ifndef MTA_SMTPD_CACHE_H
#define MTA_SMTPD_CACHE_H

#include "lib/client/auth.h"

void cache_init(void);
/* After a new config (domains, delimiter). */
void cache_clear(void);

/* As auth_resolve. */
int cache_resolve(struct str address, struct str sender, struct arena *a,
    struct resolve_answer *ret);
/* Whether that account takes so many bytes: 0, or as store_room. */
int cache_room(const struct resolve_answer *who, uint64_t size, struct wire_error *we);

#endif
