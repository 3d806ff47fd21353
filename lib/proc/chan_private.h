/* What service.c tells the channels. */
#ifndef LIB_PROC_CHAN_PRIVATE_H
#define LIB_PROC_CHAN_PRIVATE_H

#include "lib/proc/chan.h"
#include "lib/proc/service.h"

#define CHAN_INSTANCES 64 /* of one role, at most */

void chan_set_up(struct loop *l, const struct service_spec *spec, struct service *s);
/* How many instances a callee's role has: makes the (dead) channels. */
void chan_expect(enum role callee, unsigned instances);
/* The master sent a new channel to a callee. Takes fd. */
void chan_connect(enum role callee, unsigned n, int fd);
/* The master sent a caller's channel, or the admin came. Takes fd. */
void chan_peer_connect(enum role from, unsigned instance, uint64_t number, int fd);

#endif
