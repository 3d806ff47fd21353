/*
 * Confinement; see confine.h. The order matters: what needs files is loaded
 * first, then limits, the empty root, the uid, and last what cannot be taken
 * back by any uid: no_new_privs, Landlock, seccomp.
 */
#include "lib/proc/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/proc/confine_private.h"

#ifdef PH_SANITIZE
#define SANITIZED true
#else
#define SANITIZED false
#endif

static const struct confine_table *const tables[] = {
	[CONFINE_FRONT] = &confine_front,
	[CONFINE_STORE] = &confine_store,
	[CONFINE_PURE] = &confine_pure,
	[CONFINE_RESOLVE] = &confine_resolve,
	[CONFINE_TABLE] = &confine_table,
	[CONFINE_RELAY] = &confine_relay,
	[CONFINE_FETCH] = &confine_fetch,
	[CONFINE_PLUGIN_NET] = &confine_plugin_net,
	[CONFINE_PLUGIN_NONE] = &confine_plugin_none,
};

static char summary[160];

static void
preload(const struct confine_spec *spec)
{
	static const char *const digests[] = { "SHA256", "SHA1", "MD5" };
	unsigned char byte;

	tzset();
	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL);
	for (size_t i = 0; i < sizeof digests / sizeof *digests; i++)
		EVP_MD_free(EVP_MD_fetch(NULL, digests[i], NULL));
	RAND_bytes(&byte, 1);
	if (spec->preload)
		spec->preload();
}

static int
limit(int what, rlim_t n, const char *name, struct err *e)
{
	struct rlimit r;

	if (getrlimit(what, &r))
		return err_sys(e, -errno, "limit %s", name);
	if (!setrlimit(what, &(struct rlimit){ n, n }))
		return 0;
	if (errno == EPERM && n > r.rlim_max) /* as much as we may have */
		return setrlimit(what, &(struct rlimit){ r.rlim_max, r.rlim_max }) ?
		    err_sys(e, -errno, "limit %s", name) : 0;
	return err_sys(e, -errno, "limit %s", name);
}

static int
set_limits(const struct confine_spec *spec, struct err *e)
{
	int r = limit(RLIMIT_NOFILE, spec->max_fds ? spec->max_fds : 65536, "of descriptors", e);

	return r ? r : limit(RLIMIT_CORE, 0, "of core files", e);
}

/* A root directory that is empty and stays so: one that is removed already, in
 * which nothing can be made. */
static int
empty_root(struct err *e)
{
	char dir[] = "/tmp/posthorn-empty-XXXXXX";

	if (!mkdtemp(dir))
		return err_sys(e, -errno, "empty root");
	if (chdir(dir) || rmdir(dir) || chroot("."))
		return err_sys(e, -errno, "empty root %s", dir);
	return 0;
}

static int
become(const struct passwd *pw, struct err *e)
{
	if (setgroups(0, NULL) || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid))
		return err_sys(e, -errno, "uid of %s", pw->pw_name);
	return 0;
}

/* A change of uid makes the kernel forget that this process goes with its parent:
 * what it was told before is read, and said again after. */
static int
death_signal(void)
{
	int sig = 0;

	prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0);
	return sig;
}

int
confine_files_as(const struct confine_spec *spec, const char *user, struct err *e)
{
	const struct passwd *pw;
	int sig = death_signal();

	if (geteuid() || spec->kind != CONFINE_STORE || !user || !*user)
		return 0;
	if (!(pw = getpwnam(user)))
		return err_set(e, -ENOENT, "no system user %s", user);
	if (setegid(pw->pw_gid) || seteuid(pw->pw_uid))
		return err_sys(e, -errno, "uid of %s", user);
	prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0);
	return 0;
}

static int
root_again(struct err *e)
{
	if (!getuid() && geteuid() && (seteuid(0) || setegid(0)))
		return err_sys(e, -errno, "uid of root");
	return 0;
}

static int
drop_capabilities(struct err *e)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capset, &head, none))
		return err_sys(e, -errno, "capabilities");
	return 0;
}

/* What only root can do. The user is looked up while there is still an
 * /etc/passwd. */
static int
leave_root(bool chrooted, const char *user, struct err *e)
{
	const struct passwd *pw = NULL;
	int r = 0;

	if (user && *user && !(pw = getpwnam(user)))
		return err_set(e, -ENOENT, "no system user %s", user);
	if (chrooted)
		r = empty_root(e);
	if (!r && pw)
		r = become(pw, e);
	return r ? r : drop_capabilities(e);
}

int
confine(const struct confine_spec *spec, const char *user, struct err *e)
{
	const struct confine_table *t = tables[spec->kind];
	const char *mode = getenv("POSTHORN_SECCOMP");
	bool log_only = SANITIZED || (mode && !strcmp(mode, "log"));
	bool root = getuid() == 0, chrooted = root && t->chroot && !SANITIZED;
	int sig = death_signal(), r = root_again(e), landlock = 0;

	preload(spec);
	if (!r)
		r = set_limits(spec, e);
	if (!r && root)
		r = leave_root(chrooted, user, e);
	if (!r && prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0))
		r = err_sys(e, -errno, "signal of the parent's death");
	if (!r && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		r = err_sys(e, -errno, "no_new_privs");
	if (!r && !SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		r = err_sys(e, -errno, "not dumpable");
	if (!r && !SANITIZED && !t->open)
		r = landlock = confine_landlock(spec->paths, t->connects, e);
	if (r >= 0 && !t->open)
		r = confine_seccomp(t, log_only, e);
	snprintf(summary, sizeof summary, "uid=%s chroot=%s landlock=%d seccomp=%s",
	    root && user && *user ? user : "kept", chrooted ? "yes" : "no", landlock,
	    t->open ? "off" : log_only ? "log" : "enforce");
	return r;
}

const char *
confine_summary(void)
{
	return summary;
}
