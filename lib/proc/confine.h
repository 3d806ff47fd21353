/*
 * Confinement: what a process may do once it has its descriptors. Each program
 * names a kind (one file per kind: confine_front.c, ...), and may add paths.
 * Started as root: its own uid and, where the kind says so, an empty chroot.
 * Always: no_new_privs, not dumpable, rlimits, seccomp (unknown calls get ENOSYS
 * and a log line; none of kill, ptrace, process_vm_*, pidfd_getfd, execve),
 * Landlock where the kernel has it.
 */
#ifndef LIB_PROC_CONFINE_H
#define LIB_PROC_CONFINE_H

#include <stdbool.h>

#include "lib/base/err.h"

enum confine_kind {
	CONFINE_FRONT,  /* accepts network sessions, opens no files */
	CONFINE_STORE,  /* files under its paths, threads, no network */
	CONFINE_PURE,   /* computes on descriptors it is given: no files, no network */
};

struct confine_path {
	const char *path;
	bool write;
};

struct confine_spec {
	enum confine_kind kind;
	unsigned max_fds;         /* RLIMIT_NOFILE; 0: 65,536 or what is allowed */
	/* Filled by init for kinds with files; ends with path NULL. */
	struct confine_path paths[8];
};

/* uid name of the role's system user, such as "posthorn-smtpd". */
int confine(const struct confine_spec *spec, const char *role, struct err *e);

#endif
