/*
 * Who may call whom: the one table of the house. The master makes a channel
 * (a socket pair) for each pair of processes that it allows; a process cannot
 * reach a peer that the table does not give it. Each message type belongs to
 * its callee (0xRRnn, RR = the callee's role), and a callee takes from a caller
 * only the types that the table lists for the pair.
 */
#ifndef LIB_PROC_PEERS_H
#define LIB_PROC_PEERS_H

#include <stdbool.h>
#include <stdint.h>

enum role {
	ROLE_MASTER = 0,
	ROLE_SMTPD = 1,
	ROLE_SUBMITD = 2,
	ROLE_QUEUED = 3,
	ROLE_AUTHD = 4,
	ROLE_MAILD = 5,
	ROLE_MIMED = 6,
	ROLE_IMAPD = 7,
	ROLE_POP3D = 8,
	ROLE_SIEVED = 9,
	ROLE_JMAPD = 10,
	ROLE_RELAYD = 11,
	ROLE_BOUNCED = 12,
	ROLE_PIPED = 13,
	ROLE_FILTERD = 14,
	ROLE_DNSD = 15,
	ROLE_FETCHD = 16,
	ROLE_TABLED = 17,
	ROLE_CLI = 18, /* the admin, over a control socket */
	ROLE_PICKUPD = 19,
	ROLE_REPORTD = 20,
	ROLE_MAX
};

const char *role_name(enum role r);
enum role role_by_name(const char *name); /* ROLE_MAX when there is none */

/* The callee of a message type. */
#define MSG_TYPE(role, n) ((uint16_t)((role) << 8 | (n)))
static inline enum role
msg_role(uint16_t type)
{
	return (enum role)(type >> 8);
}

/* Whether `from` may send a message of this type. */
bool peers_allow(enum role from, uint16_t type);
/* Whether the master makes a channel from caller to callee at all. */
bool peers_channel(enum role from, enum role to);

#endif
