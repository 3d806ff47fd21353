/*
 * How many sessions the processes of one role serve, in all and from each client
 * address. Each process counts its own in a part of a memory that they share (the
 * master makes it and hands it out); the sum of all parts is held against the
 * limits, so that they hold for the role and not for each process. A process that
 * starts clears its part.
 *
 * Addresses are hashed into CENSUS_SLOTS counters; IPv6 ones by their /64. What
 * share a slot are counted as one. The hash is keyed per instance of Posthorn.
 */
#ifndef LIB_PROC_CENSUS_H
#define LIB_PROC_CENSUS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

#define CENSUS_SLOTS 32768u

enum census_answer { CENSUS_OK, CENSUS_FULL, CENSUS_ADDRESS_FULL };

/* The master's: a memory for that many processes. Its descriptor, or negative. */
int census_create(unsigned instances, struct err *e);
/* Takes part in it (the descriptor is taken); fd -1: this process counts alone. */
int census_open(int fd, unsigned instance, unsigned instances, struct err *e);

/* Counts a session of this address (16 bytes, IPv4 mapped) unless a limit would be
 * passed; limit 0: none. */
enum census_answer census_enter(const unsigned char addr[static 16], unsigned limit,
    unsigned limit_per_address);
void census_leave(const unsigned char addr[static 16]);
/* Sessions of all processes. */
unsigned census_total(void);

#endif
