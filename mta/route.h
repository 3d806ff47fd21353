/*
 * Where mail for an address goes: the router of authd. It walks from the address
 * over aliases and forwarding to accounts, other servers, commands and files.
 *
 *	canonical (rewrite.h)     -> the address as the house knows it
 *	return path of ours (SRS) -> the sender that it stands for
 *	virtual aliases           -> other addresses
 *	transports                -> a next hop, a command, a refusal
 *	a domain of ours:  aliases tables, aliases of the directory, the account and
 *	                   its forwards, the directory's catch-all, the postmaster
 *	another:           relay recipients, the sender's relay, relay-host, the MX
 *
 * Each step that gives other addresses starts anew with them. An address that comes
 * up again below itself is not taken through the same step twice, so that an alias
 * may name itself to keep a copy. Depth and number are bounded.
 */
#ifndef MTA_ROUTE_H
#define MTA_ROUTE_H

#include "mta/directory.h"
#include "mta/srs.h"
#include "mta/table.h"

struct router {
	const struct settings *settings;
	struct tables *tables;
	struct directory *directory;
	unsigned char srs_key[SRS_KEY_BYTES];
	uint64_t day;          /* days since 1970 */
	/* Of the last answer, for metrics and the log. */
	size_t lookups;        /* in tables */
	bool loop;             /* an alias loop or the depth limit was met */
	struct err why;        /* what a negative answer comes from */
};

/* The answer; its strings are in a. 0; -EINPROGRESS: tabled must be asked first (table.h);
 * other negative: nobody can say now. */
int route_resolve(struct router *r, const struct resolve_request *q, struct arena *a,
    struct resolve_answer *ret);

/* For rewrite.c. Asks the tables in turn; whole: the key is all of an address. 1 and *ret
 * (in a), 0, negative and r->why. */
int route_look(struct router *r, const struct conf_names *names, struct str key, bool whole,
    struct arena *a, struct str *ret);
/* Bytes of the local part before the delimiter; 0: there is none. */
size_t route_base_length(const struct settings *s, const char *local);
/* Whether names of this domain are looked up by their local part alone: 1, 0, negative. */
int route_has_aliases(const struct router *r, const char *domain);

/* What a transports table says. */
enum transport_kind {
	TRANSPORT_DEFAULT = 1, /* as without an entry (local:, virtual:, ":") */
	TRANSPORT_HOP,         /* next_hop */
	TRANSPORT_PIPE,        /* next_hop "|command" */
	TRANSPORT_DISCARD,
	TRANSPORT_REFUSE,      /* smtp, enhanced, text */
};
struct transport {
	enum transport_kind kind;
	struct str next_hop;
	unsigned smtp;
	struct str enhanced, text;
};
/* Reads such a value. 0, or -EINVAL: a transport of another kind. */
int transport_parse(struct str value, struct arena *a, struct transport *ret);

#endif
