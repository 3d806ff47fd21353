/*
 * What a volume knows of its accounts without opening them, so that a delivery
 * to an account that is not connected need not touch its index: whether
 * something acts on arriving mail (a script, a push subscription), how many bytes
 * it has, and what lies in new/ to be taken in.
 *
 * An account that is not in the ledger is unknown: only its actor, which opens
 * it, may deliver. The ledger is written at a clean stop, and before a script or
 * a subscription is acknowledged; after an unclean stop it is not believed.
 *
 *	file: "PHLG" | u32 version 1 | u64 run | u64 n | n entries of 32 bytes | u32 CRC32C
 *	entry: u64 account | u64 bytes | u64 bytes in new/ | u32 files in new/ | u32 flags
 *
 * One lock inside; calls are short.
 */
#ifndef MAILDIR_LEDGER_H
#define MAILDIR_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

struct ledger;

enum { LEDGER_MAX = 8000000 }; /* accounts; beyond it they stay unknown */
enum { LEDGER_SCRIPT = 1, LEDGER_PUSH = 2 };

struct ledger *ledger_new(void);
void ledger_free(struct ledger **l);
/* Forgets all (the volume failed). Connections are kept. */
void ledger_forget(struct ledger *l);

void ledger_save(const struct ledger *l, uint64_t run, struct buf *out);
/* -EBADMSG: damaged; -ESTALE: of another run. The ledger is then empty. */
int ledger_load(struct ledger *l, struct str file, uint64_t run);

/* Whether a delivery of `size` bytes may go the fast way; the bytes are then
 * counted at once (ledger_unpromise takes them back). quota 0: none. */
bool ledger_promise(struct ledger *l, uint64_t account, uint64_t quota, uint64_t size);
void ledger_unpromise(struct ledger *l, uint64_t account, uint64_t size);
/* A promised file stands in new/. True: somebody has connected meanwhile: the
 * actor must take it in. */
bool ledger_published(struct ledger *l, uint64_t account, uint64_t now_ms);
/* 0 room, -EDQUOT none, -EAGAIN not known. */
int ledger_room(struct ledger *l, uint64_t account, uint64_t quota, uint64_t size);

/* From the actor: the index says how many bytes there are; `files` of new/ with
 * `size` bytes are no longer waiting. */
void ledger_taken(struct ledger *l, uint64_t account, uint64_t bytes, uint32_t files,
    uint64_t size);
/* The whole of new/ was taken in (an opening). */
void ledger_known(struct ledger *l, uint64_t account, uint64_t bytes, uint32_t flags);
void ledger_unknown(struct ledger *l, uint64_t account);
/* The account was deleted with its mail: nothing is delivered to it any more. */
void ledger_gone(struct ledger *l, uint64_t account);
bool ledger_is_gone(struct ledger *l, uint64_t account);
void ledger_connect(struct ledger *l, uint64_t account, int by);
/* Files that wait in the account's new/. */
uint32_t ledger_waiting(struct ledger *l, uint64_t account);

/* An account whose new/ is to be swept: `files` wait, or the first has waited since
 * before `before_ms`. It is not named again until more is published. */
bool ledger_due(struct ledger *l, uint32_t files, uint64_t before_ms, uint64_t *ret);
size_t ledger_count(struct ledger *l);

#endif
