/*
 * The table of who may call whom; see peers.h. A row lets one role send a range
 * of one callee's message types. The numbers are those of lib/client/<callee>.h
 * (which stands above this layer, hence numbers here and names in the remarks).
 * What the callee sends back, answers and events, needs no row.
 */
#include "lib/proc/peers.h"

#include <string.h>

static const char *const names[ROLE_MAX] = {
	[ROLE_MASTER] = "posthorn",
	[ROLE_SMTPD] = "smtpd",
	[ROLE_SUBMITD] = "submitd",
	[ROLE_QUEUED] = "queued",
	[ROLE_AUTHD] = "authd",
	[ROLE_MAILD] = "maild",
	[ROLE_MIMED] = "mimed",
	[ROLE_IMAPD] = "imapd",
	[ROLE_POP3D] = "pop3d",
	[ROLE_SIEVED] = "sieved",
	[ROLE_JMAPD] = "jmapd",
	[ROLE_RELAYD] = "relayd",
	[ROLE_BOUNCED] = "bounced",
	[ROLE_PIPED] = "piped",
	[ROLE_FILTERD] = "filterd",
	[ROLE_DNSD] = "dnsd",
	[ROLE_FETCHD] = "fetchd",
	[ROLE_TABLED] = "tabled",
	[ROLE_CLI] = "cli",
	[ROLE_PICKUPD] = "pickupd",
	[ROLE_REPORTD] = "reportd",
};

struct row {
	enum role from, to;
	uint8_t lo, hi; /* message numbers, inclusive */
};

static const struct row table[] = {
	{ ROLE_SMTPD, ROLE_AUTHD, 1, 2 },      /* resolve, log-in */
	{ ROLE_SMTPD, ROLE_AUTHD, 5, 5 },      /* rewriting */
	{ ROLE_SMTPD, ROLE_FILTERD, 1, 63 },   /* hooks */
	{ ROLE_SMTPD, ROLE_QUEUED, 1, 3 },     /* accept, chunk, abort */
	{ ROLE_SMTPD, ROLE_QUEUED, 6, 6 },     /* flush: ETRN */
	{ ROLE_SMTPD, ROLE_MAILD, 2, 2 },      /* room */
	{ ROLE_SMTPD, ROLE_DNSD, 1, 15 },

	{ ROLE_SUBMITD, ROLE_AUTHD, 1, 1 },
	{ ROLE_SUBMITD, ROLE_AUTHD, 4, 4 },    /* whether a ticket's log-in was revoked */
	{ ROLE_SUBMITD, ROLE_AUTHD, 5, 5 },    /* rewriting */
	{ ROLE_SUBMITD, ROLE_FILTERD, 1, 63 },
	{ ROLE_SUBMITD, ROLE_QUEUED, 1, 3 },
	{ ROLE_SUBMITD, ROLE_MAILD, 2, 2 },
	{ ROLE_SUBMITD, ROLE_DNSD, 1, 15 },

	{ ROLE_IMAPD, ROLE_AUTHD, 2, 3 },      /* log-in, renew */
	{ ROLE_IMAPD, ROLE_MAILD, 16, 127 },   /* the store, with a ticket */
	{ ROLE_IMAPD, ROLE_SUBMITD, 1, 1 },
	{ ROLE_POP3D, ROLE_AUTHD, 2, 3 },
	{ ROLE_POP3D, ROLE_MAILD, 16, 127 },
	{ ROLE_POP3D, ROLE_SUBMITD, 1, 1 },
	{ ROLE_SIEVED, ROLE_AUTHD, 2, 3 },
	{ ROLE_SIEVED, ROLE_MAILD, 16, 127 },
	{ ROLE_SIEVED, ROLE_SUBMITD, 1, 1 },
	{ ROLE_JMAPD, ROLE_AUTHD, 2, 3 },
	{ ROLE_JMAPD, ROLE_MAILD, 16, 127 },
	{ ROLE_JMAPD, ROLE_SUBMITD, 1, 1 },
	{ ROLE_JMAPD, ROLE_QUEUED, 4, 5 },     /* status, undo */
	{ ROLE_JMAPD, ROLE_FETCHD, 1, 15 },    /* push, image proxy */

	{ ROLE_QUEUED, ROLE_MAILD, 1, 1 },     /* deliver */
	{ ROLE_QUEUED, ROLE_MAILD, 3, 3 },     /* low-water mark */
	{ ROLE_QUEUED, ROLE_RELAYD, 1, 15 },
	{ ROLE_QUEUED, ROLE_PIPED, 1, 15 },
	{ ROLE_QUEUED, ROLE_BOUNCED, 1, 15 },
	{ ROLE_QUEUED, ROLE_AUTHD, 1, 1 },     /* resolve again */
	{ ROLE_QUEUED, ROLE_FILTERD, 1, 63 },

	{ ROLE_MAILD, ROLE_MIMED, 1, 63 },     /* take in */
	{ ROLE_MAILD, ROLE_SUBMITD, 1, 1 },    /* redirects, vacation */
	{ ROLE_MAILD, ROLE_FILTERD, 1, 63 },   /* Junk training */
	{ ROLE_MAILD, ROLE_AUTHD, 4, 4 },      /* account record */

	{ ROLE_AUTHD, ROLE_TABLED, 1, 15 },
	{ ROLE_TABLED, ROLE_DNSD, 1, 15 },
	{ ROLE_AUTHD, ROLE_FETCHD, 1, 15 },    /* token introspection */

	{ ROLE_PICKUPD, ROLE_SUBMITD, 1, 1 },  /* what `sendmail` left in the maildrop */
	{ ROLE_PICKUPD, ROLE_BOUNCED, 1, 1 },  /* what of it cannot be delivered */
	{ ROLE_BOUNCED, ROLE_SUBMITD, 1, 1 },
	{ ROLE_RELAYD, ROLE_DNSD, 1, 15 },
	{ ROLE_RELAYD, ROLE_FETCHD, 1, 15 },   /* MTA-STS */
	{ ROLE_RELAYD, ROLE_REPORTD, 1, 1 },   /* how TLS went */
	{ ROLE_REPORTD, ROLE_DNSD, 1, 15 },
	{ ROLE_REPORTD, ROLE_FETCHD, 1, 1 },
	{ ROLE_REPORTD, ROLE_SUBMITD, 1, 1 },
	{ ROLE_FILTERD, ROLE_DNSD, 1, 15 },
	{ ROLE_FILTERD, ROLE_FETCHD, 1, 15 },
	{ ROLE_FETCHD, ROLE_DNSD, 1, 15 },

	{ ROLE_CLI, ROLE_AUTHD, 1, 1 },        /* sendmail -bv, explain */
	{ ROLE_CLI, ROLE_AUTHD, 16, 31 },      /* the admin's verbs */
	{ ROLE_CLI, ROLE_DNSD, 1, 15 },        /* explain */
	{ ROLE_CLI, ROLE_FETCHD, 1, 15 },      /* tls check */
	{ ROLE_CLI, ROLE_REPORTD, 16, 31 },
	{ ROLE_CLI, ROLE_TABLED, 1, 1 },       /* table lookup */
	{ ROLE_CLI, ROLE_QUEUED, 16, 31 },
	{ ROLE_CLI, ROLE_SUBMITD, 16, 31 },
	{ ROLE_CLI, ROLE_MAILD, 128, 159 },
	{ ROLE_CLI, ROLE_DNSD, 1, 15 },
	{ ROLE_CLI, ROLE_MASTER, 1, 255 },
};

const char *
role_name(enum role r)
{
	return r < ROLE_MAX ? names[r] : "unknown";
}

enum role
role_by_name(const char *name)
{
	for (enum role r = 0; r < ROLE_MAX; r++)
		if (!strcmp(names[r], name))
			return r;
	return ROLE_MAX;
}

bool
peers_allow(enum role from, uint16_t type)
{
	unsigned n = type & 0xff;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].from == from && table[i].to == msg_role(type) && n >= table[i].lo &&
		    n <= table[i].hi)
			return true;
	return false;
}

bool
peers_channel(enum role from, enum role to)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].from == from && table[i].to == to)
			return true;
	return false;
}
