/* The system call tables of the kinds, and how confine.c reads them. */
#ifndef LIB_PROC_CONFINE_PRIVATE_H
#define LIB_PROC_CONFINE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

/* A system call that is allowed: always (test NONE), or when argument `arg`,
 * masked, equals want (CALL_SOCKET: and the type is this). Several rows of one call
 * are alternatives. */
struct confine_call {
	int nr;
	enum { CALL_ANY, CALL_ARG, CALL_SOCKET } test;
	unsigned arg;
	uint64_t mask, want;
	uint64_t type; /* CALL_SOCKET: of socket(), beside its domain */
};

#define ALLOW(name) { SCMP_SYS(name), CALL_ANY, 0, 0, 0, 0 }
#define ALLOW_ARG(name, arg, want) { SCMP_SYS(name), CALL_ARG, (arg), UINT64_MAX, (want), 0 }
#define ALLOW_MASK(name, arg, mask, want) { SCMP_SYS(name), CALL_ARG, (arg), (mask), (want), 0 }

/* socket(domain, type) with whatever flags beside the type. */
#define ALLOW_SOCKET(domain, type) \
	{ SCMP_SYS(socket), CALL_SOCKET, 0, UINT64_MAX, (domain), (type) }

struct confine_table {
	const struct confine_call *calls;
	size_t n;
	bool chroot; /* an empty root when started as root */
	bool connects; /* to other machines, from an address of its choice */
	bool open;     /* no filter at all */
	const struct confine_table *also; /* what it may do too */
};

extern const struct confine_table confine_front, confine_store, confine_pure,
    confine_relay, confine_resolve, confine_fetch, confine_table, confine_plugin_net,
    confine_plugin_none;

/* confine_seccomp.c. log_only: unlisted calls are logged and run. */
int confine_seccomp(const struct confine_table *t, bool log_only, struct err *e);
/* confine_landlock.c. The kernel's Landlock version, 0 when it has none. connects: TCP is
 * not its affair. */
int confine_landlock(const struct confine_path *paths, bool connects, struct err *e);

#endif
