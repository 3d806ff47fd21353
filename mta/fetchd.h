/*
 * fetchd inside:
 *
 *	fetchd.c         the program: requests, metrics
 *	fetch_address.c  which addresses may be connected to
 *	fetch_sts.c      the MTA-STS policies of domains: asked for, kept, refreshed
 *	sts_cache.c      how they are kept
 *	http.c           libcurl
 */
#ifndef MTA_FETCHD_H
#define MTA_FETCHD_H

#include <sys/socket.h>

#include "lib/client/fetch.h"
#include "lib/conf/settings.h"
#include "lib/proc/service.h"

/* The settings of now. */
const struct settings *fetchd_settings(void);

/* Looks the URL's host up and asks its server, on a coroutine; ret in a. */
void fetchd_ask(const struct fetch_request *q, struct arena *a, struct fetch_answer *ret);

/* Whether an address is one of the Internet at large, or in the networks that are excepted. */
bool fetch_address_public(const struct sockaddr *addr, const struct conf_nets *excepted);

/* Before confinement: opens what is kept of policies, and reads it. */
int fetch_sts_init(const struct settings *s, struct err *e);
/* After it. */
int fetch_sts_start(struct loop *l, struct err *e);
void fetch_sts_answer(struct peer *p, struct frame *f); /* MSG_FETCH_STS, on a coroutine */
/* Writes down what has not been yet. */
void fetch_sts_stop(void);

#endif
