/*
 * A daemon as a process of its own, with the test in the places of the master and
 * of the daemon's peers: frames over plain sockets, set-up as in lib/proc/setup.h.
 * Every wait ends after 20 s. Run from the top of the build tree.
 */
#ifndef TESTS_MTA_PLAY_H
#define TESTS_MTA_PLAY_H

#include "lib/proc/setup.h"

struct play {
	pid_t pid;
	int master;             /* our end of its descriptor 3 */
	struct arena *arena;    /* of what is read */
};

/* Starts the program and sends SELF, with the ticket key and, for each of roles
 * (ends with ROLE_MAX), one instance. */
void play_start(struct play *p, const char *program, const unsigned char key[SETUP_KEY],
    const enum role *roles);
void play_config(struct play *p, const char *text);
/* A channel to it (SETUP_CALLER) or from it (SETUP_CALLEE); our end. */
int play_channel(struct play *p, uint16_t type, enum role role, uint64_t number);
/* GO; whether it got ready. */
bool play_go(struct play *p);
/* STOP; its exit status. */
int play_stop(struct play *p);

/* fd: -1, or a descriptor that is passed and closed. b may be NULL. */
void play_send(int to, uint16_t type, uint8_t flags, uint64_t id, const struct buf *b, int fd);
struct frame play_read(struct play *p, int from);
/* Sends a request (b is emptied) and reads its answer; events before it are skipped. */
struct frame play_call(struct play *p, int fd, uint16_t type, struct buf *b);

#endif
