/*
 * What the files of authd share: authd.c (the service, resolve, records,
 * renewals), authd_login.c (log-ins), authd_admin.c (the admin's verbs).
 */
#ifndef MTA_AUTHD_H
#define MTA_AUTHD_H

#include "lib/proc/service.h"
#include "mta/directory.h"
#include "mta/penalty.h"
#include "mta/recent.h"
#include "mta/workers.h"

/* Everything here belongs to the loop's thread but `changes`. */
struct authd {
	struct service *service;
	struct directory *questions; /* the loop's connection */
	struct directory *changes;   /* the workers', under change_lock */
	struct workers *workers;
	struct penalty *by_account, *by_network;
	struct recent *passwords;    /* that fitted within a minute */
	struct recent *networks;     /* that an account logged in from within a day */
	char decoy[PASSWORD_HASH_MAX]; /* what the passwords of unknown users are held against */
	unsigned logins;             /* log-ins that wait or run */
	int lock_fd;
};
extern struct authd authd;

/* Handlers of messages. */
void authd_login(struct peer *p, struct frame *f);
void authd_admin(struct peer *p, struct frame *f);

/* Fills ans with a fresh ticket for the peer's channel; strings in *keep. */
void authd_grant(struct peer *p, const struct directory_account *a, uint32_t rights,
    struct buf *keep, struct login_answer *ans);
/* Tells every caller; forgets what is remembered of passwords. */
void authd_tell(const struct auth_changed *c);
/* Before threads exist: the decoy hash. */
int authd_login_init(unsigned cost, struct err *e);

#endif
