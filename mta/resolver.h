/*
 * The resolver in dnsd: libunbound as the house uses it. One thread of the library's own
 * asks the servers, follows and validates; what it found comes back on the loop. Its
 * cache keeps nothing longer than its TTL.
 *
 * Records of the configuration are answered without a server and count as validated. A
 * name that has one has nothing else, and a zone of the configuration nothing but them.
 */
#ifndef MTA_RESOLVER_H
#define MTA_RESOLVER_H

#include "lib/client/dns.h"
#include "lib/conf/settings.h"

struct resolver;

struct resolver_list {
	const struct str *v;
	size_t n;
};
struct resolver_spec {
	struct resolver_list servers; /* "192.0.2.53:53", "[::1]:53" */
	struct resolver_list anchors; /* DS or DNSKEY records; none: the root's keys */
	struct resolver_list records, zones;
	bool validate;
};
/* What the settings say; servers when they name none. */
struct resolver_spec resolver_spec_of(const struct settings *s, struct resolver_list servers);

/* Reads the system's own file of the root's keys, where there is one; else those of this
 * version serve. Once, before confinement. */
void resolver_root_keys(void);
/* NULL when a record, an anchor or a server cannot be read (e says which). Opens no files. */
struct resolver *resolver_new(const struct resolver_spec *spec, struct err *e);
/* Nothing waits for an answer of it, and it is not called from within resolver_process. */
void resolver_free(struct resolver **r);

/* Readable when there are answers: call resolver_process then. */
int resolver_fd(const struct resolver *r);
void resolver_process(struct resolver *r);
/* How many questions have no answer yet. */
unsigned resolver_waiting(const struct resolver *r);

/* A question that waits. The caller's memory, which stays until fn is called or
 * resolver_cancel; fn and arg are set by the caller. */
struct resolver_ask {
	void (*fn)(void *arg, const struct dns_answer *v); /* the answer is valid during the call */
	void *arg;
	struct resolver *r;
	int id;
	bool waiting;
};
/* Asks; fn is called by resolver_process, never from within. 0, -EINVAL for what cannot be a
 * name, or -ENOMEM. */
int resolver_ask(struct resolver *r, struct resolver_ask *k, struct str name, uint16_t type);
/* fn is not called any more. Does nothing when k does not wait. */
void resolver_cancel(struct resolver_ask *k);

/* The servers of a resolv.conf(5): "nameserver" lines, as resolver_spec has them, in the arena. At
 * most RESOLVER_SERVERS. */
#define RESOLVER_SERVERS 8
size_t resolver_conf_servers(struct str text, struct arena *a, struct str ret[static RESOLVER_SERVERS]);
/* The same of a file; 0 when it cannot be read. */
size_t resolver_system_servers(const char *path, struct arena *a,
    struct str ret[static RESOLVER_SERVERS]);

#endif
