/*
 * Return paths of forwarded mail (the Sender Rewriting Scheme): what comes from
 * user1@example.net and is forwarded by a domain of ours goes on as
 *
 *	SRS0=HASH=TT=example.net=user1@OURS
 *
 * and what was rewritten by another forwarder already, SRS0=REST@other, as
 * SRS1=HASH=other==REST@OURS. HASH proves that we made it, so that nobody can
 * relay through such addresses; TT is the day, so that it does not hold for ever. All of
 * it is read without regard to case, since some servers fold it.
 */
#ifndef MTA_SRS_H
#define MTA_SRS_H

#include "lib/base/buf.h"

#define SRS_KEY_BYTES 32

/* Whether a local part looks like one of these. */
bool srs_is(struct str local);
/* Appends the local part that stands for sender ("local@domain"). day: days since
 * 1970. 0; -EINVAL: sender has no domain; -ENAMETOOLONG: over 64 octets (RFC 5321
 * section 4.5.3.1.1), so that others might refuse it. */
int srs_forward(const unsigned char key[static SRS_KEY_BYTES], struct str sender, uint64_t day,
    struct buf *out);
/* Appends the address that a local part of ours stands for. 0; -EINVAL: malformed or
 * not made by us; -ETIME: older than so many days. */
int srs_reverse(const unsigned char key[static SRS_KEY_BYTES], struct str local, uint64_t day,
    uint64_t days_max, struct buf *out);

#endif
