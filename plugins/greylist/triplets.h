/*
 * What greylisting remembers: one SQLite file (format: PRAGMA user_version 1, upgraded in
 * place by later ones) with two tables:
 *
 *	triplet (key, first, last, passed)	one attempt: network, sender, recipient
 *	client  (key, last, passed)		one network, and how many of its triplets passed
 *
 * Times are milliseconds since 1970. Not thread-safe: its caller lets one in at a time.
 */
#ifndef PLUGINS_GREYLIST_TRIPLETS_H
#define PLUGINS_GREYLIST_TRIPLETS_H

#include "plugins/plugin.h"

struct triplets;

struct triplets_policy {
	uint64_t delay_ms;      /* before this the attempt is too early */
	uint64_t window_ms;     /* an attempt that is not repeated within is forgotten */
	uint64_t expire_ms;     /* what passed is forgotten when it was not seen for so long */
	uint64_t allow_after;   /* triplets of a network that passed, until it is known; 0: never */
	uint64_t rows_max;      /* of each table; the oldest go */
};

/* Opens or makes the file. A file that is damaged is moved aside (PATH.damaged) and a new one
 * made: *ret_lost is 1 then. 0 or negative, with what is wrong in why. */
int triplets_open(const char *path, const struct triplets_policy *p, struct triplets **ret,
    int *ret_lost, char *why, size_t size);
void triplets_close(struct triplets **t);

enum triplets_answer {
	TRIPLETS_NEW,       /* never seen: try again after the delay */
	TRIPLETS_EARLY,     /* seen, too early */
	TRIPLETS_PASSED,    /* was tried again in time */
	TRIPLETS_SEEN,      /* passed before */
	TRIPLETS_KNOWN,     /* the network is known to come again */
};

/* Says what the attempt is, and remembers it. *ret_wait_ms: how long it has still to
 * wait, for NEW and EARLY. 0, or negative: the database cannot be used now. */
int triplets_try(struct triplets *t, struct ph_str net, struct ph_str sender, struct ph_str rcpt,
    uint64_t now_ms, enum triplets_answer *ret, uint64_t *ret_wait_ms);

/* Forgets what is too old or too much. *ret_gone: how many rows. */
int triplets_expire(struct triplets *t, uint64_t now_ms, uint64_t *ret_gone);
/* Rows of both tables. */
uint64_t triplets_count(struct triplets *t);

#define TRIPLETS_NET_MAX 48
/* The network of an address: the first so many bits, "192.0.2.0/24". 0, or -1: no address. */
int triplets_net(struct ph_str ip, unsigned bits4, unsigned bits6, char ret[TRIPLETS_NET_MAX]);

#define TRIPLETS_ADDRESS_MAX 1024
/* An address as it is compared: lower case, and of a sender what changes from message to
 * message taken out (digits of its local part, what stands behind '+', BATV and SRS tags). The length. */
size_t triplets_sender(struct ph_str address, char ret[TRIPLETS_ADDRESS_MAX]);
size_t triplets_rcpt(struct ph_str address, char ret[TRIPLETS_ADDRESS_MAX]);

#endif
