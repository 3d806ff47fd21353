/*
 * Tickets: after a log-in, authd gives the front end a ticket, an HMAC-SHA256
 * over account, rights, expiry and the number of the channel between the front
 * end and the callee's house. maild and submitd do nothing for a front end
 * without one.
 *
 * The channel number: the master gives each *front-end process* one random
 * 64-bit number for its life and tells it to that process's callees with each
 * channel (chan_peer_number); so one ticket serves at maild and submitd, and
 * another process that steals it cannot use it.
 */
#ifndef LIB_PROC_TICKET_H
#define LIB_PROC_TICKET_H

#include "lib/base/buf.h"

#define TICKET_LIFE_MS (15 * 60 * 1000)

struct ticket {
	uint64_t account;      /* account id */
	uint64_t generation;   /* of the account's credentials; a revocation raises it */
	uint64_t channel;      /* number of the front end it was given to */
	uint64_t expires_ms;   /* real time, ms since 1970 */
	uint32_t volume, slot; /* where the account lives */
	uint32_t rights;       /* TICKET_* */
	struct str user;       /* the account's address, for logs and Received lines */
};
enum { TICKET_MAIL = 1, TICKET_SUBMIT = 2 };

/* Appends the sealed ticket (opaque bytes) made with the 32-byte key. */
void ticket_seal(struct buf *b, const unsigned char key[static 32], const struct ticket *t);
/* 0; -EBADMSG forged or damaged, -EACCES another channel's, -ETIME expired. The
 * strings of *ret point into sealed. */
int ticket_open(struct str sealed, const unsigned char key[static 32], uint64_t channel,
    struct ticket *ret);

#endif
