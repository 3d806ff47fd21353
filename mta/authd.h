/*
 * What the files of authd share: authd.c (the service, records, renewals),
 * authd_route.c (resolve), authd_login.c (log-ins), authd_admin.c (the admin's verbs).
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
void authd_resolve(struct peer *p, struct frame *f);
void authd_rewrite(struct peer *p, struct frame *f);
void authd_login(struct peer *p, struct frame *f);
void authd_admin(struct peer *p, struct frame *f);

void authd_answer_failed(struct peer *p, const struct frame *f, int code, const char *why);
/* Before files are closed to the process: the key of return paths and the tables. */
int authd_route_init(const char *dir, const struct settings *st, struct err *e);
/* Once the loop runs: tables are looked after. */
void authd_route_start(void);
void authd_route_config(const struct settings *st);
void authd_route_stop(void);
/* The folders that tables are in, into paths (room for n, ended by NULL). */
void authd_route_paths(const struct settings *st, struct confine_path *paths, size_t n);

/* Fills ans with a fresh ticket for the peer's channel; strings in *keep. */
void authd_grant(struct peer *p, const struct directory_account *a, uint32_t rights,
    struct buf *keep, struct login_answer *ans);
/* Tells every caller; forgets what is remembered of passwords. */
void authd_tell(const struct auth_changed *c);
/* Answers MSG_AUTH_LOGIN with a refusal. */
void authd_login_no(struct peer *p, uint64_t id, bool temporary, const char *why);
/* A log-in whose proof was judged already, without a password: waits as failures demand,
 * then answers. a->id 0: nobody. final: the mechanism's last word when it fits, at most
 * LOGIN_FINAL_MAX bytes. */
#define LOGIN_FINAL_MAX 63
void authd_login_proven(struct peer *p, uint64_t id, const struct login_request *q,
    const struct directory_account *a, bool fits, struct str final);

/* authd_scram.c */
void authd_scram(struct peer *p, uint64_t id, const struct login_request *q);
int authd_scram_init(const char *dir, struct err *e);

/* authd_oauth.c */
void authd_oauth(struct peer *p, uint64_t id, const struct login_request *q);
/* The keys of the settings, at the start and when they change. */
void authd_oauth_config(const struct settings *st);

/* Before threads exist: the decoy hash. */
int authd_login_init(unsigned cost, struct err *e);

#endif
