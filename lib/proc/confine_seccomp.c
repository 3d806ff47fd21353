/*
 * The seccomp filter: what every kind may do, then the kind's own table.
 *
 * An unlisted call traps (SIGSYS). The handler logs it, once per number, and
 * gives the caller -ENOSYS: programs and libraries fall back or fail as on an
 * old kernel, and a new libc's new calls are seen in the log instead of killing
 * the house. clone3 gets ENOSYS without a word, since its flags stand in memory
 * where a filter cannot look; libc then uses clone.
 *
 * A sanitizer build lets unlisted calls run, and the kernel logs them. In log-only
 * mode of other builds the handler runs the call itself, marking it by a sixth
 * argument that the filter lets pass: a call that has a sixth argument of its
 * own (those are listed) or is made with SIGSYS blocked cannot be run so.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <ucontext.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/proc/confine.h"
#include "lib/proc/confine_private.h"
#include "lib/proc/metrics.h"

#define MARK UINT64_C(0x70686f726e6c6f67)
#define NR_MAX 512
#define SOCKET_TYPE 0xf

#ifdef PH_SANITIZE
/* The runtime makes unlisted calls with every signal blocked: a trap would kill. */
#define OTHERWISE SCMP_ACT_LOG
#define MEMORY(name, arg) ALLOW(name)
#else
#define OTHERWISE SCMP_ACT_TRAP
#define MEMORY(name, arg) ALLOW_MASK(name, arg, PROT_EXEC, 0) /* no new code */
#endif

static const struct confine_call common[] = {
	/* descriptors */
	ALLOW(read), ALLOW(readv), ALLOW(pread64), ALLOW(preadv), ALLOW(preadv2),
	ALLOW(write), ALLOW(writev), ALLOW(pwrite64), ALLOW(pwritev), ALLOW(pwritev2),
	ALLOW(lseek), ALLOW(close), ALLOW(close_range), ALLOW(fstat), ALLOW(ftruncate),
	ALLOW(dup), ALLOW(dup2), ALLOW(dup3), ALLOW(pipe2), ALLOW(sendfile), ALLOW(splice),
	ALLOW(memfd_create), ALLOW(eventfd2),
	ALLOW(timerfd_create), ALLOW(timerfd_settime), ALLOW(timerfd_gettime),
	ALLOW(poll), ALLOW(ppoll), ALLOW(select), ALLOW(pselect6),
	ALLOW(epoll_create1), ALLOW(epoll_ctl), ALLOW(epoll_wait), ALLOW(epoll_pwait),
	ALLOW(epoll_pwait2),
	ALLOW_ARG(newfstatat, 3, AT_EMPTY_PATH), /* libc's fstat */
	ALLOW_ARG(fcntl, 1, F_GETFD), ALLOW_ARG(fcntl, 1, F_SETFD),
	ALLOW_ARG(fcntl, 1, F_GETFL), ALLOW_ARG(fcntl, 1, F_SETFL),
	ALLOW_ARG(fcntl, 1, F_DUPFD), ALLOW_ARG(fcntl, 1, F_DUPFD_CLOEXEC),
	ALLOW_ARG(fcntl, 1, F_ADD_SEALS), ALLOW_ARG(fcntl, 1, F_GET_SEALS),
	ALLOW_ARG(ioctl, 1, FIONREAD), ALLOW_ARG(ioctl, 1, FIONBIO), ALLOW_ARG(ioctl, 1, TCGETS),
	/* sockets that exist already (accept: the control socket); new ones in pairs */
	ALLOW(accept4),
	ALLOW(sendto), ALLOW(sendmsg), ALLOW(sendmmsg), ALLOW(recvfrom), ALLOW(recvmsg),
	ALLOW(recvmmsg), ALLOW(shutdown), ALLOW(getsockopt), ALLOW(setsockopt),
	ALLOW(getsockname), ALLOW(getpeername), ALLOW_ARG(socketpair, 0, AF_UNIX),
	/* memory */
	MEMORY(mmap, 2), MEMORY(mprotect, 2), ALLOW(munmap), ALLOW(mremap), ALLOW(madvise),
	ALLOW(brk), ALLOW(mlock), ALLOW(mlock2), ALLOW(munlock), ALLOW(membarrier),
	/* time, identity, chance */
	ALLOW(nanosleep), ALLOW(clock_nanosleep), ALLOW(clock_gettime), ALLOW(clock_getres),
	ALLOW(gettimeofday), ALLOW(time), ALLOW(times), ALLOW(getpid), ALLOW(gettid),
	ALLOW(getppid), ALLOW(getuid), ALLOW(geteuid), ALLOW(getgid), ALLOW(getegid),
	ALLOW(getrusage), ALLOW(getrlimit), ALLOW_ARG(prlimit64, 2, 0), ALLOW(sysinfo),
	ALLOW(uname), ALLOW(getrandom),
	ALLOW_ARG(prctl, 0, PR_SET_NAME), ALLOW_ARG(prctl, 0, PR_GET_NAME),
	ALLOW_ARG(prctl, 0, PR_SET_VMA),
	/* threads and signals of this process */
	ALLOW_MASK(clone, 0, CLONE_THREAD, CLONE_THREAD),
	ALLOW(futex), ALLOW(set_robust_list), ALLOW(rseq), ALLOW(set_tid_address),
	ALLOW(sched_yield), ALLOW(sched_getaffinity),
	ALLOW(rt_sigaction), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(rt_sigtimedwait),
	ALLOW(sigaltstack), ALLOW(restart_syscall), ALLOW(exit), ALLOW(exit_group),
};

static struct metric denied = METRIC_COUNTER("confine_denied_total", NULL,
    "System calls that the sandbox refused");
static bool run_anyway;
static atomic_bool said[NR_MAX];

static void
trapped(int sig, siginfo_t *si, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	int nr = si->si_syscall, saved = errno;
	long got = -ENOSYS;

	metric_add(&denied, 1);
	if (nr >= 0 && nr < NR_MAX && !atomic_exchange(&said[nr], true))
		log_signal("confine.denied", "syscall", (unsigned long)nr);
	if (run_anyway) {
		got = syscall(nr, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], MARK);
		if (got < 0)
			got = -errno;
	}
	r[REG_RAX] = got;
	errno = saved;
}

static int
add_call(scmp_filter_ctx ctx, const struct confine_call *c)
{
	if (c->nr < 0)
		return 0; /* this machine has no such call */
	if (c->test == CALL_ANY)
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 0);
	if (c->test == CALL_SOCKET)
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 2,
		    SCMP_CMP64(0, SCMP_CMP_EQ, c->want),
		    SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, SOCKET_TYPE, c->type));
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, c->nr, 1,
	    SCMP_CMP64(c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->want));
}

static int
add_calls(scmp_filter_ctx ctx, const struct confine_call *calls, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = add_call(ctx, &calls[i]);
	return r;
}

/* Lets marked calls of every number pass. A number that is allowed without
 * condition answers -EEXIST or nothing: both fine. */
static void
add_marks(scmp_filter_ctx ctx)
{
	for (int nr = 0; nr < NR_MAX; nr++)
		seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 1, SCMP_CMP64(5, SCMP_CMP_EQ, MARK));
}

static int
handle_traps(void)
{
	struct sigaction sa = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER };
	sigset_t set;

	if (sigaction(SIGSYS, &sa, NULL))
		return -errno;
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	return sigprocmask(SIG_UNBLOCK, &set, NULL) ? -errno : 0;
}

int
confine_seccomp(const struct confine_table *t, bool log_only, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(OTHERWISE);
	struct confine_call self = ALLOW_ARG(tgkill, 0, (uint64_t)getpid()); /* abort, raise */
	int r;

	if (!ctx)
		return err_set(e, -ENOMEM, "seccomp: no memory");
	run_anyway = log_only;
	metric_add(&denied, 0); /* registers here, not in the handler */
	r = add_calls(ctx, common, sizeof common / sizeof *common);
	if (!r)
		r = add_calls(ctx, t->calls, t->n);
	if (!r && t->also)
		r = add_calls(ctx, t->also->calls, t->also->n);
	if (!r)
		r = add_call(ctx, &self);
	if (!r && OTHERWISE != SCMP_ACT_LOG)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (!r && log_only && OTHERWISE != SCMP_ACT_LOG)
		add_marks(ctx);
	if (!r)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
	if (!r)
		r = handle_traps();
	if (!r)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r ? err_sys(e, r, "seccomp filter") : 0;
}
