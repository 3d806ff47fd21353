/*
 * A recorder under the file calls of a program (LD_PRELOAD): every call that
 * changes a file or makes it durable, below the folder CRASH_ROOT, goes to the
 * log CRASH_LOG in the order in which it returned, with its data. replay.py
 * builds from it the tree as a crash at any point may have left it.
 *
 * It also makes calls fail: CRASH_FAULT="pwrite:3:EIO" fails the third pwrite
 * below the root, "pwrite:3+:ENOSPC" that and all after it, "pwrite:3:SHORT"
 * writes half. "data" stands for every call that writes, "sync" for every one that
 * syncs, "name" for every one that changes a folder.
 *
 * A sync is two records, 'B' when it begins and 'S' or 'A' (a whole file system)
 * when it has returned, tied by a number: what was written between them may be lost.
 * CRASH_SLOW=N makes syncs take up to N ms more, so that much happens between them.
 *
 * A call and its record are one step, under a lock (flock) of the log: who kills the
 * program takes that lock first (replay.between_calls), or a call could be done and not
 * recorded; what the program's next life finds would be missing from the recording.
 * CRASH_LATE=N leaves N ms between the two, for the test of just that (recorder.py).
 *
 * A log record, little-endian: u32 length of what follows | u8 op | u64 offset or a
 * sync's number | u48 count | u16 length of path | path | u16 length of second path |
 * it | data. Data of zeros alone is not written: op 'Z' instead of 'W'.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 4096
#define PATH_LEN 512

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static char paths[FDS][PATH_LEN];
static char root[PATH_LEN];
static int log_fd = -1;
static uint64_t syncs;   /* begun, over the lives of the program */
static unsigned slow_ms, late_ms;
static struct {
	char call[16];
	unsigned long at, seen;
	int onward, code, brief;
} fault;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void
start(void)
{
	const char *r = getenv("CRASH_ROOT"), *l = getenv("CRASH_LOG"), *f = getenv("CRASH_FAULT");
	const char *slow = getenv("CRASH_SLOW"), *late = getenv("CRASH_LATE");
	char word[16] = "";

	slow_ms = slow ? (unsigned)atoi(slow) : 0;
	late_ms = late ? (unsigned)atoi(late) : 0;
	syncs = (uint64_t)getpid() << 32;
	if (r)
		snprintf(root, sizeof root, "%s", r);
	if (l)
		log_fd = REAL(open)(l, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (!f)
		return;
	if (sscanf(f, "%15[^:]:%lu+:%15s", fault.call, &fault.at, word) == 3)
		fault.onward = 1;
	else
		sscanf(f, "%15[^:]:%lu:%15s", fault.call, &fault.at, word);
	fault.code = !strcmp(word, "ENOSPC") ? ENOSPC : EIO;
	fault.brief = !strcmp(word, "SHORT");
}

static const char *
kind_of(const char *call)
{
	if (strstr(call, "write"))
		return "data";
	return strstr(call, "sync") ? "sync" : "name";
}

/* Whether this call is to fail; errno is set. mu is held. */
static int
fails(const char *call)
{
	if (!fault.at || (strcmp(call, fault.call) && strcmp(kind_of(call), fault.call)))
		return 0;
	fault.seen++;
	if (fault.seen != fault.at && !(fault.onward && fault.seen > fault.at))
		return 0;
	errno = fault.code;
	return 1;
}

static const char *
name_of(int fd)
{
	return fd >= 0 && fd < FDS ? paths[fd] : "";
}

static void
full_path(char out[PATH_LEN], int dirfd, const char *name)
{
	char p[2 * PATH_LEN];
	size_t n;

	if (name[0] == '/' || dirfd == AT_FDCWD)
		snprintf(p, sizeof p, "%s", name);
	else
		snprintf(p, sizeof p, "%s/%s", name_of(dirfd), name);
	n = strlen(p);
	if (n > 2 && !strcmp(p + n - 2, "/."))
		p[n - 2] = '\0';
	snprintf(out, PATH_LEN, "%.*s", PATH_LEN - 1, p);
}

static int
below(const char *path)
{
	size_t n = strlen(root);

	return n && !strncmp(path, root, n);
}

/* A step begins; mu is held. Only before calls that change what is below the root: other
 * programs of an instance may not lock files. */
static void
hold(void)
{
	int r = 0;

	while (log_fd >= 0 && (r = flock(log_fd, LOCK_EX)) < 0 && errno == EINTR)
		;
	if (r < 0)
		_exit(99);
}

/* ... and ends; errno stays the call's. */
static void
let_go(void)
{
	int code = errno;

	if (log_fd >= 0)
		flock(log_fd, LOCK_UN);
	errno = code;
}

static int
all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return 0;
	return 1;
}

static void
record(char op, const char *path, const char *to, uint64_t off, const void *data, uint64_t n)
{
	char head[21];
	uint16_t pn = (uint16_t)strlen(path), tn = (uint16_t)strlen(to);
	uint32_t len;
	size_t dn = op == 'W' && !all_zero(data, n) ? n : 0;
	struct iovec v[5] = { { head, sizeof head }, { (void *)(uintptr_t)path, pn }, { &tn, 2 },
		{ (void *)(uintptr_t)to, tn }, { (void *)(uintptr_t)data, dn } };

	if (log_fd < 0)
		return;
	if (late_ms)
		usleep(late_ms * 1000);
	if (op == 'W' && !dn)
		op = 'Z';
	len = (uint32_t)(sizeof head - 4 + pn + 2 + tn + dn + 0);
	memcpy(head, &len, 4);
	head[4] = op;
	memcpy(head + 5, &off, 8);
	memcpy(head + 13, &n, 6); /* 48 bits are enough */
	memcpy(head + 19, &pn, 2);
	if (REAL(writev)(log_fd, v, 5) < 0)
		_exit(99);
}

/* ---- calls ---- */

static int
opened(int fd, const char *path, int flags, int existed)
{
	if (fd < 0 || fd >= FDS)
		return fd;
	snprintf(paths[fd], PATH_LEN, "%s", path);
	if (below(path) && flags & O_CREAT && !existed)
		record('C', path, "", 0, "", 0);
	else if (below(path) && flags & O_TRUNC)
		record('T', path, "", 0, "", 0);
	return fd;
}

static int
do_open(int dirfd, const char *name, int flags, mode_t mode)
{
	char path[PATH_LEN];
	struct stat st;
	int fd, existed, changes;

	pthread_mutex_lock(&mu);
	full_path(path, dirfd, name);
	changes = below(path) && flags & (O_CREAT | O_TRUNC);
	if (changes)
		hold();
	existed = !fstatat(dirfd, name, &st, 0);
	if (below(path) && flags & O_CREAT && fails("open"))
		fd = -1;
	else
		fd = opened(REAL(openat)(dirfd, name, flags, mode), path, flags, existed);
	if (changes)
		let_go();
	pthread_mutex_unlock(&mu);
	return fd;
}

int
openat(int dirfd, const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? (mode_t)va_arg(ap, int) : 0;
	va_end(ap);
	return do_open(dirfd, name, flags, mode);
}

int
open(const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? (mode_t)va_arg(ap, int) : 0;
	va_end(ap);
	return do_open(AT_FDCWD, name, flags, mode);
}

__attribute__((alias("openat"))) int openat64(int, const char *, int, ...);
__attribute__((alias("open"))) int open64(const char *, int, ...);

int
close(int fd)
{
	int rc;

	pthread_mutex_lock(&mu);
	if (fd >= 0 && fd < FDS)
		paths[fd][0] = '\0';
	rc = REAL(close)(fd);
	pthread_mutex_unlock(&mu);
	return rc;
}

/* libc closes these two by itself, not by close(). */
static void
forget(int fd)
{
	pthread_mutex_lock(&mu);
	if (fd >= 0 && fd < FDS)
		paths[fd][0] = '\0';
	pthread_mutex_unlock(&mu);
}

int
closedir(DIR *d)
{
	forget(dirfd(d));
	return REAL(closedir)(d);
}

int
fclose(FILE *f)
{
	forget(fileno(f));
	return REAL(fclose)(f);
}

/* How many of n bytes a write that may be made to fail is to write; -1: it fails. mu
 * is held. */
static ssize_t
allowed(const char *call, size_t n)
{
	if (!fails(call))
		return (ssize_t)n;
	return fault.brief ? (ssize_t)(n / 2 + (n == 1)) : -1;
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	ssize_t w;

	if (!below(name_of(fd)))
		return REAL(pwrite)(fd, p, n, off);
	pthread_mutex_lock(&mu);
	hold();
	w = allowed("pwrite", n);
	if (w >= 0)
		w = REAL(pwrite)(fd, p, (size_t)w, off);
	if (w > 0)
		record('W', name_of(fd), "", (uint64_t)off, p, (uint64_t)w);
	let_go();
	pthread_mutex_unlock(&mu);
	return w;
}

__attribute__((alias("pwrite"))) ssize_t pwrite64(int, const void *, size_t, off_t);

ssize_t
write(int fd, const void *p, size_t n)
{
	off_t off;
	ssize_t w;

	if (!below(name_of(fd)))
		return REAL(write)(fd, p, n);
	pthread_mutex_lock(&mu);
	hold();
	off = lseek(fd, 0, SEEK_CUR);
	w = allowed("write", n);
	if (w >= 0)
		w = REAL(write)(fd, p, (size_t)w);
	if (w > 0)
		record('W', name_of(fd), "", (uint64_t)off, p, (uint64_t)w);
	let_go();
	pthread_mutex_unlock(&mu);
	return w;
}

/* Written piece by piece, so that each is a record; a short one ends it. */
static ssize_t
write_pieces(int fd, const struct iovec *v, int n, off_t off, int move)
{
	ssize_t all = 0, w, want;

	for (int i = 0; i < n; i++) {
		want = allowed("writev", v[i].iov_len);
		if (want < 0)
			return all ? all : -1;
		w = move ? REAL(write)(fd, v[i].iov_base, (size_t)want) :
			   REAL(pwrite)(fd, v[i].iov_base, (size_t)want, off + all);
		if (w < 0)
			return all ? all : -1;
		if (w > 0)
			record('W', name_of(fd), "", (uint64_t)(off + all), v[i].iov_base, (uint64_t)w);
		all += w;
		if ((size_t)w < v[i].iov_len)
			break;
	}
	return all;
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	ssize_t w;

	if (!below(name_of(fd)))
		return REAL(writev)(fd, v, n);
	pthread_mutex_lock(&mu);
	hold();
	w = write_pieces(fd, v, n, lseek(fd, 0, SEEK_CUR), 1);
	let_go();
	pthread_mutex_unlock(&mu);
	return w;
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	ssize_t w;

	if (!below(name_of(fd)))
		return REAL(pwritev)(fd, v, n, off);
	pthread_mutex_lock(&mu);
	hold();
	w = write_pieces(fd, v, n, off, 0);
	let_go();
	pthread_mutex_unlock(&mu);
	return w;
}

__attribute__((alias("pwritev"))) ssize_t pwritev64(int, const struct iovec *, int, off_t);

static void
linger(uint64_t no)
{
	struct timespec t = { 0, 0 };

	if (!slow_ms)
		return;
	t.tv_nsec = (long)((no * 2654435761u >> 7) % (slow_ms * 1000 + 1)) * 1000;
	nanosleep(&t, NULL);
}

/* Other threads go on while it runs. */
static int
sync_call(int fd, const char *call, char op, int (*real)(int))
{
	char path[PATH_LEN];
	uint64_t no;
	int rc;

	if (!below(name_of(fd)))
		return real(fd);
	pthread_mutex_lock(&mu);
	no = ++syncs;
	snprintf(path, sizeof path, "%s", name_of(fd));
	rc = fails(call) ? -1 : 0;
	record('B', path, "", no, "", 0);
	pthread_mutex_unlock(&mu);
	if (rc)
		return rc;
	linger(no);
	rc = real(fd);
	pthread_mutex_lock(&mu);
	if (!rc)
		record(op, path, "", no, "", 0);
	pthread_mutex_unlock(&mu);
	return rc;
}

int
fsync(int fd)
{
	return sync_call(fd, "fsync", 'S', REAL(fsync));
}

int
fdatasync(int fd)
{
	return sync_call(fd, "fdatasync", 'S', REAL(fdatasync));
}

int
syncfs(int fd)
{
	return sync_call(fd, "syncfs", 'A', REAL(syncfs));
}

int
ftruncate(int fd, off_t n)
{
	int rc;

	if (!below(name_of(fd)))
		return REAL(ftruncate)(fd, n);
	pthread_mutex_lock(&mu);
	hold();
	rc = REAL(ftruncate)(fd, n);
	if (!rc)
		record('T', name_of(fd), "", (uint64_t)n, "", 0);
	let_go();
	pthread_mutex_unlock(&mu);
	return rc;
}

__attribute__((alias("ftruncate"))) int ftruncate64(int, off_t);

/* Open files, and those below a folder, go by their new names. */
static void
renamed(const char *a, const char *b)
{
	size_t n = strlen(a);

	for (int i = 0; i < FDS; i++) {
		char rest[PATH_LEN];

		if (strncmp(paths[i], a, n) || (paths[i][n] && paths[i][n] != '/'))
			continue;
		snprintf(rest, sizeof rest, "%s", paths[i] + n);
		snprintf(paths[i], PATH_LEN, "%.*s%.*s", PATH_LEN / 2, b, PATH_LEN / 2 - 1, rest);
	}
}

/* Calls on names: two folders and names, one of them may be missing. */
static int
name_call(char op, const char *call, int d1, const char *n1, int d2, const char *n2,
    int (*fn)(int, const char *, int, const char *, int), int arg)
{
	char a[PATH_LEN], b[PATH_LEN] = "";
	int rc;

	pthread_mutex_lock(&mu);
	full_path(a, d1, n1);
	if (n2)
		full_path(b, d2, n2);
	if (!below(a)) {
		rc = fn(d1, n1, d2, n2, arg);
	} else {
		hold();
		rc = fails(call) ? -1 : fn(d1, n1, d2, n2, arg);
		if (!rc)
			record(op, a, b, 0, "", 0);
		if (!rc && op == 'R')
			renamed(a, b);
		let_go();
	}
	pthread_mutex_unlock(&mu);
	return rc;
}

static int
real_rename(int d1, const char *a, int d2, const char *b, int arg)
{
	(void)arg;
	return REAL(renameat)(d1, a, d2, b);
}

static int
real_rename2(int d1, const char *a, int d2, const char *b, int flags)
{
	return REAL(renameat2)(d1, a, d2, b, (unsigned)flags);
}

static int
real_link(int d1, const char *a, int d2, const char *b, int flags)
{
	return REAL(linkat)(d1, a, d2, b, flags);
}

static int
real_unlink(int d1, const char *a, int d2, const char *b, int flags)
{
	(void)d2, (void)b;
	return REAL(unlinkat)(d1, a, flags);
}

static int
real_mkdir(int d1, const char *a, int d2, const char *b, int mode)
{
	(void)d2, (void)b;
	return REAL(mkdirat)(d1, a, (mode_t)mode);
}

int
renameat(int d1, const char *a, int d2, const char *b)
{
	return name_call('R', "rename", d1, a, d2, b, real_rename, 0);
}

int
renameat2(int d1, const char *a, int d2, const char *b, unsigned flags)
{
	return name_call('R', "rename", d1, a, d2, b, real_rename2, (int)flags);
}

int
rename(const char *a, const char *b)
{
	return renameat(AT_FDCWD, a, AT_FDCWD, b);
}

int
linkat(int d1, const char *a, int d2, const char *b, int flags)
{
	return name_call('L', "link", d1, a, d2, b, real_link, flags);
}

int
link(const char *a, const char *b)
{
	return linkat(AT_FDCWD, a, AT_FDCWD, b, 0);
}

int
unlinkat(int d1, const char *a, int flags)
{
	return name_call('U', "unlink", d1, a, -1, NULL, real_unlink, flags);
}

int
unlink(const char *a)
{
	return unlinkat(AT_FDCWD, a, 0);
}

int
rmdir(const char *a)
{
	return unlinkat(AT_FDCWD, a, AT_REMOVEDIR);
}

int
mkdirat(int d1, const char *a, mode_t mode)
{
	return name_call('M', "mkdir", d1, a, -1, NULL, real_mkdir, (int)mode);
}

int
mkdir(const char *a, mode_t mode)
{
	return mkdirat(AT_FDCWD, a, mode);
}
