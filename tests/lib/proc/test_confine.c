/*
 * lib/proc/confine: each test forks, confines the child, and looks at what it
 * can still do. A check that fails says its line and makes the child fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/str.h"
#include "lib/proc/confine.h"

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			give_up(__LINE__);                                                         \
	} while (0)

static void
give_up(int line)
{
	dprintf(2, "failed at line %d: errno %d\n", line, errno);
	_exit(1);
}

static void
in_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
confined(enum confine_kind kind)
{
	static struct confine_spec spec;
	struct err e;

	spec.kind = kind;
	if (confine(&spec, NULL, &e)) {
		dprintf(2, "%s\n", e.text);
		_exit(2);
	}
}

#ifndef PH_SANITIZE
/* What no kind may do. */
static void
forbidden_everywhere(void)
{
	struct iovec v = { &v, sizeof v };
	char *const argv[] = { "true", NULL };

	CHECK(kill(getppid(), 0) < 0 && errno == ENOSYS);
	CHECK(kill(getpid(), 0) < 0 && errno == ENOSYS);
	CHECK(syscall(SYS_tgkill, getppid(), getppid(), 0) < 0 && errno == ENOSYS);
	CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 && errno == ENOSYS);
	CHECK(process_vm_readv(getppid(), &v, 1, &v, 1, 0) < 0 && errno == ENOSYS);
	CHECK(syscall(SYS_pidfd_open, getppid(), 0) < 0 && errno == ENOSYS);
	CHECK(syscall(SYS_pidfd_getfd, 0, 0, 0) < 0 && errno == ENOSYS);
	CHECK(execve("/bin/true", argv, argv) < 0 && errno == ENOSYS);
	CHECK(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0 && errno == ENOSYS);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == ENOSYS);
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == ENOSYS);
	CHECK(syscall(SYS_chroot, "/") < 0 && errno == ENOSYS);
	CHECK(syscall(SYS_setuid, 0) < 0 && errno == ENOSYS);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	          0) == MAP_FAILED);
	CHECK(syscall(499) < 0 && errno == ENOSYS); /* a call of the future */
}

static void
no_files(void)
{
	struct stat st;

	CHECK(open("/etc/passwd", O_RDONLY) < 0 && errno == ENOSYS);
	CHECK(stat("/etc/passwd", &st) < 0 && errno == ENOSYS);
	CHECK(unlink("/tmp/nothing") < 0 && errno == ENOSYS);
}
#else
static void
forbidden_everywhere(void)
{
}

static void
no_files(void)
{
}
#endif

static void *
in_thread(void *arg)
{
	forbidden_everywhere();
	*(int *)arg = 1;
	return NULL;
}

static void
allowed_everywhere(void)
{
	struct rlimit core;
	unsigned char md[32];
	unsigned n;
	pthread_t t;
	int fds[2], ran = 0, mem;
	time_t now = time(NULL);
	struct tm tm;
	void *p;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	CHECK(write(fds[0], "x", 1) == 1);
	CHECK(!pthread_create(&t, NULL, in_thread, &ran) && !pthread_join(t, NULL) && ran);
	CHECK((mem = memfd_create("test", MFD_ALLOW_SEALING)) >= 0);
	CHECK(!ftruncate(mem, 4096) && !fcntl(mem, F_ADD_SEALS, F_SEAL_WRITE));
	CHECK(EVP_Digest("x", 1, md, &n, EVP_sha256(), NULL) == 1 && n == 32);
	CHECK(localtime_r(&now, &tm));
	CHECK(!getrlimit(RLIMIT_CORE, &core) && !core.rlim_cur && !core.rlim_max);
	CHECK((p = malloc(1 << 20)));
	free(p);
	forbidden_everywhere();
}

static iconv_t latin;

static void
open_converter(void)
{
	latin = iconv_open("UTF-8", "ISO-8859-15");
}

static void
front(void)
{
	confined(CONFINE_FRONT);
	allowed_everywhere();
	no_files();
	CHECK(accept4(-1, NULL, NULL, 0) < 0 && errno == EBADF);
}

static void
pure(void)
{
	static struct confine_spec spec = { .kind = CONFINE_PURE, .preload = open_converter };
	char in[] = "\xa4", out[8] = "", *ip = in, *op = out;
	size_t in_n = 1, out_n = sizeof out;
	struct err e;

	CHECK(!confine(&spec, "", &e));
	allowed_everywhere();
	no_files();
	CHECK(accept4(-1, NULL, NULL, 0) < 0 && errno == EBADF);
	CHECK(!iconv(latin, &ip, &in_n, &op, &out_n) && !strcmp(out, "\xe2\x82\xac"));
}

static char inside[] = "/tmp/posthorn-inside-XXXXXX", outside[] = "/tmp/posthorn-outside-XXXXXX";

static int
file_in(const char *dir, const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return open(path, flags, 0600);
}

static void
store(void)
{
	static struct confine_spec spec = { .kind = CONFINE_STORE, .paths = { { inside, true } } };
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	struct err e;
	int fd;

	CHECK(!confine(&spec, NULL, &e));
	allowed_everywhere();
	CHECK((fd = file_in(inside, "f", O_RDWR | O_CREAT)) >= 0);
	CHECK(write(fd, "x", 1) == 1 && !fdatasync(fd) && !syncfs(fd));
	CHECK(!fcntl(fd, F_SETLK, &fl) && !fcntl(fd, F_OFD_GETLK, &fl));
	if (!strstr(confine_summary(), "landlock=0"))
		CHECK(file_in(outside, "f", O_RDWR | O_CREAT) < 0 && errno == EACCES);
}

/* Uid, groups, capabilities and root directory, where we are root. */
static void
as_nobody(void)
{
	static struct confine_spec spec = { .kind = CONFINE_FRONT };
	int status = open("/proc/self/status", O_RDONLY);
	char text[4096];
	struct err e;
	ssize_t n;

	CHECK(!prctl(PR_SET_PDEATHSIG, SIGTERM));
	CHECK(!confine(&spec, "nobody", &e));
	CHECK(getuid() && geteuid() && getgid());
	CHECK((n = pread(status, text, sizeof text - 1, 0)) > 0);
	text[n] = '\0';
	CHECK(strstr(text, "CapEff:\t0000000000000000"));
	CHECK(strstr(text, "CapPrm:\t0000000000000000"));
	CHECK(strstr(text, "NoNewPrivs:\t1"));
	CHECK(strstr(text, "Groups:\t \n") || strstr(text, "Groups:\t\n"));
#ifndef PH_SANITIZE
	CHECK(strstr(confine_summary(), "chroot=yes"));
#endif
}

/* The empty root: looked at where the filter lets a process look. */
static void
empty_root(void)
{
	static struct confine_spec spec = { .kind = CONFINE_FRONT };
	struct err e;

	setenv("POSTHORN_SECCOMP", "log", 1);
	CHECK(!confine(&spec, "nobody", &e));
#ifndef PH_SANITIZE
	CHECK(open("/etc/passwd", O_RDONLY) < 0);
	CHECK(open("/file", O_CREAT | O_RDWR, 0600) < 0);
	CHECK(mkdir("/dir", 0700) < 0);
#endif
}

/* What init makes belongs to the keeper already, and so does what comes later. */
static void
files_as_nobody(void)
{
	char dir[] = "/tmp/confine-XXXXXX", file[64];
	struct confine_spec spec = { .kind = CONFINE_STORE, .paths = { { dir, true } } };
	int sig = 0, fd;
	struct stat st;
	struct err e;

	CHECK(mkdtemp(dir) && !chmod(dir, 01777) && !prctl(PR_SET_PDEATHSIG, SIGTERM));
	CHECK(!confine_files_as(&spec, "nobody", &e));
	snprintf(file, sizeof file, "%s/file", dir);
	CHECK((fd = open(file, O_CREAT | O_RDWR, 0600)) >= 0);
	CHECK(!fstat(fd, &st) && st.st_uid && st.st_uid == geteuid() && st.st_gid == getegid());
	CHECK(!prctl(PR_GET_PDEATHSIG, &sig) && sig == SIGTERM);
	CHECK(!confine(&spec, "nobody", &e));
	CHECK(getuid() == st.st_uid && geteuid() == st.st_uid);
	CHECK((fd = open(file, O_RDWR)) >= 0);
	CHECK(!unlink(file));
	rmdir(dir);
}

static void
no_such_user(void)
{
	static struct confine_spec spec = { .kind = CONFINE_FRONT };
	struct err e;

	CHECK(confine(&spec, "posthorn-no-such-user", &e) == -ENOENT);
}

/* POSTHORN_SECCOMP=log: unlisted calls run. */
static void
log_mode(void)
{
	setenv("POSTHORN_SECCOMP", "log", 1);
	confined(CONFINE_PURE);
	CHECK(strstr(confine_summary(), "seccomp=log"));
	CHECK(!kill(getpid(), 0));
	CHECK(getpgid(0) > 0);
	CHECK(syscall(499) < 0 && errno == ENOSYS);
}

/* An unlisted call is logged once, by its number. */
static void
logs_once(void)
{
#ifndef PH_SANITIZE
	char text[1024], *at;
	int p[2];
	ssize_t n;

	CHECK(!pipe(p) && dup2(p[1], 2) == 2);
	confined(CONFINE_PURE);
	for (int i = 0; i < 3; i++)
		getpgid(0);
	n = read(p[0], text, sizeof text - 1);
	CHECK(n > 0);
	text[n] = '\0';
	CHECK((at = strstr(text, "ev=confine.denied syscall=121\n")));
	CHECK(!strstr(strchr(at, '\n'), "syscall=121"));
#endif
}

static void
aborts(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		close(2);
		confined(CONFINE_PURE);
		abort();
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !WCOREDUMP(status));
}

#define IN_CHILD(fn)                                                                               \
	static void test_##fn(void **st)                                                           \
	{                                                                                          \
		in_child(fn);                                                                      \
	}
IN_CHILD(front)
IN_CHILD(pure)
IN_CHILD(log_mode)
IN_CHILD(logs_once)
IN_CHILD(aborts)

static void
test_store(void **st)
{
	char file[64];

	assert_non_null(mkdtemp(inside));
	assert_non_null(mkdtemp(outside));
	in_child(store);
	snprintf(file, sizeof file, "%s/f", inside);
	unlink(file);
	rmdir(inside);
	rmdir(outside);
}

static void
test_as_root(void **st)
{
	if (geteuid())
		skip();
	in_child(as_nobody);
	in_child(files_as_nobody);
	in_child(empty_root);
	in_child(no_such_user);
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_front),
		cmocka_unit_test(test_pure),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_log_mode),
		cmocka_unit_test(test_logs_once),
		cmocka_unit_test(test_aborts),
		cmocka_unit_test(test_as_root),
	};

	return cmocka_run_group_tests_name("lib/proc/confine", t, NULL, NULL);
}
