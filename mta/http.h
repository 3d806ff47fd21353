/*
 * Requests over HTTP by libcurl, on a thread of their own: all that are under way share
 * it, so that a server that hangs holds up nobody else.
 *
 *	coroutine --job--> queue --> thread: curl_multi_poll
 *	          <--done-- loop_post <--
 *
 * Nothing here looks a name up: whoever asks brings the addresses.
 */
#ifndef MTA_HTTP_H
#define MTA_HTTP_H

#include <sys/socket.h>

#include "lib/client/fetch.h"
#include "lib/io/loop.h"

struct http;

/* Before confinement: loads what libcurl needs. ca_pem: the authorities that servers are
 * verified by; empty: none will do. NULL and e says why. */
struct http *http_new(struct str ca_pem, struct err *e);
/* After it: starts the thread, which answers on l. 0 or negative. */
int http_start(struct http *h, struct loop *l, struct err *e);

struct http_target {
	struct str host;                 /* of the URL, lower case, no brackets */
	unsigned port;
	bool tls;
	bool literal;                    /* host is an address */
};
/* What a URL names. -EINVAL: libcurl cannot read it, not https (or http, if plain_ok), a
 * user in it, characters beyond ASCII. Strings in a. */
int http_target(struct str url, bool plain_ok, struct arena *a, struct http_target *ret);

struct http_call {
	const struct fetch_request *q;
	const struct http_target *to;
	const struct sockaddr_storage *addresses; /* at least one, unless to->literal */
	size_t n_addresses;
	/* Whether an address may be connected to; on the thread. */
	bool (*may)(void *arg, const struct sockaddr *addr);
	void *arg;
	unsigned default_port;           /* that https URLs without one mean */
};
/* Asks, on a coroutine, and waits. ret in the arena, never without a status. */
void http_run(struct http *h, const struct http_call *c, struct arena *a, struct fetch_answer *ret);

#endif
