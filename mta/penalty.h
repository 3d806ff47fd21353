/*
 * Growing delay on failed log-ins. A table counts failures by key (an account
 * name, whether it exists or not; a client's network); each attempt asks how long
 * it must wait before the password is looked at, and tells how it ended. Attempts
 * that still run count as failures to those that follow, so that guessing in
 * parallel gains nothing. Counts halve every ten minutes. Bounded: the entry
 * that was touched longest ago makes room.
 */
#ifndef MTA_PENALTY_H
#define MTA_PENALTY_H

#include <stddef.h>
#include <stdint.h>

struct penalty;

/* free_tries failures cost nothing; then 500 ms, doubling up to max_ms. */
struct penalty *penalty_new(size_t max_entries, unsigned free_tries, uint64_t max_ms);
void penalty_free(struct penalty **p);
void penalty_max(struct penalty *p, uint64_t max_ms); /* after a reload */

/* An attempt begins: how many milliseconds it waits. */
uint64_t penalty_enter(struct penalty *p, uint64_t key, uint64_t now_ms);
/* How many attempts of this key have entered and not left. */
unsigned penalty_running(const struct penalty *p, uint64_t key);
enum penalty_end {
	PENALTY_FAILED,
	PENALTY_PASSED,    /* forgets the failures */
	PENALTY_UNKNOWN,   /* gave up, or nothing can be said: counts neither way */
};
void penalty_leave(struct penalty *p, uint64_t key, enum penalty_end how, uint64_t now_ms);

#endif
