/*
 * Deliveries. One frame of queued's brings a message for accounts of one volume;
 * each recipient goes one of two ways:
 *
 *   fast    the ledger knows the account, nobody is connected, nothing acts on
 *           arriving mail, its quota is far: a file in new/, whose name is a pure
 *           function of acceptance time, spool id and size. No index is opened.
 *   actor   all others, and every one that may have been delivered before: looked
 *           up, counted, given its row.
 *
 * All recipients share one file by hard links where they can. The frame is
 * answered when every recipient has its outcome, each after the sync that covers
 * it. A frame is a work of its volume's lane: several run at a time.
 */
#ifndef MAILDIR_DELIVER_H
#define MAILDIR_DELIVER_H

#include "maildir/actor.h"

enum { DELIVER_RCPTS_MAX = 4096 };

/* Takes a MSG_STORE_DELIVER frame of p. fd is taken. Answers, now or later. seat_of
 * gives the volume of a number, NULL when it is not here. */
void deliver_frame(struct actors *as, struct sched *s,
    struct volume_seat *(*seat_of)(uint32_t volume), struct peer *p, const struct frame *f);
/* What a client is told for a negative code, here and at RCPT: code, reply, text. */
void deliver_refusal(int code, struct wire_error *ret);
/* For volume_on_group: sends the answers that a group's sync has made, in one go. */
void deliver_group_synced(void *arg);

#endif
