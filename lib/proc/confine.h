/*
 * Confinement: what a process may do once it has its descriptors. Each program
 * names a kind (one file per kind: confine_front.c, ...), and may add paths.
 *
 * Started as root with a system user named: its uid and gid, no groups, no
 * capabilities, and for fronts an empty root directory. Always: no_new_privs,
 * not dumpable, rlimits, seccomp, and Landlock where the kernel has it.
 *
 * seccomp: a call that the kind's table does not list returns ENOSYS and is
 * logged once per process and call (event `confine.denied`); the process goes
 * on. No kind lists kill, ptrace, process_vm_*, pidfd_getfd, fork or execve;
 * tgkill reaches the process itself only. A thread must not block SIGSYS, or
 * the kernel ends the process at an unlisted call.
 *
 * With POSTHORN_SECCOMP=log in the environment unlisted calls are logged and run.
 * A sanitizer build runs them too (the kernel logs them), and does without
 * Landlock and chroot: its runtime opens files.
 */
#ifndef LIB_PROC_CONFINE_H
#define LIB_PROC_CONFINE_H

#include <stdbool.h>

#include "lib/base/err.h"

enum confine_kind {
	CONFINE_FRONT,  /* accepts network sessions, opens no files */
	CONFINE_STORE,  /* files under its paths, threads, no network */
	CONFINE_PURE,   /* computes on descriptors it is given: no files, no network */
	CONFINE_RESOLVE, /* asks name servers: no files, no listening */
	CONFINE_TABLE,  /* connects to databases; reads files under its paths */
	CONFINE_RELAY,  /* connects to other servers over TCP: no files, no listening */
	CONFINE_FETCH,  /* the same, and writes files that are open already */
	CONFINE_PLUGIN_NET, /* connects wherever it wants, files under its paths */
	CONFINE_PLUGIN_NONE, /* whatever its uid may: neither seccomp nor Landlock */
};

struct confine_path {
	const char *path;
	bool write;
};

struct confine_spec {
	enum confine_kind kind;
	unsigned max_fds;         /* RLIMIT_NOFILE; 0: 65,536 or what is allowed */
	/* Filled by init for kinds with files; ends with path NULL. */
	struct confine_path paths[32];
	/* Runs first: loads what cannot be loaded later (character set
	 * converters). The time zone and OpenSSL's providers and error texts are
	 * loaded for everybody. May be NULL. */
	void (*preload)(void);
};

/* Confines this process, for good, and every thread it starts later; call it
 * before there are any. user: the role's system user, such as "posthorn-smtpd";
 * empty or NULL: the uid stays what it is. Who was not started as root keeps
 * his uid too. 0, or negative: the process must not go on. */
int confine(const struct confine_spec *spec, const char *user, struct err *e);

/* Started as root with a system user for a kind with files: makes files as that user
 * until confine, so that what init makes is the keeper's own. Other kinds and users: does
 * nothing. */
int confine_files_as(const struct confine_spec *spec, const char *user, struct err *e);

/* What confine did, for the log: "uid=posthorn-smtpd chroot=yes landlock=7
 * seccomp=enforce". Static. */
const char *confine_summary(void);

#endif
