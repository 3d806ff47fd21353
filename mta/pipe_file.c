/*
 * Deliveries into files, by a child that has the user's uid already.
 *
 * mbox: the file is opened without following a link, must be a plain file of the
 * user's that not everybody may write, and is locked by fcntl and, where its folder
 * allows it, by PATH.lock, as the tools that read mailboxes expect. The message is
 * appended and synced; when that fails the file gets its old length back. What an
 * interrupted append left is closed by an empty line first.
 *
 * maildir: tmp/ -> sync -> new/ -> sync of new/. Missing folders are made.
 *
 * Reasons that time or an admin may mend are EX_TEMPFAIL.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "mta/pipe.h"

#define LOCK_TRIES 60u
#define LOCK_WAIT_MS 500u
#define LOCK_STALE_S 600 /* a lock file that is older is nobody's */
#define PIECE (64u << 10)

static int
later(struct err *why, const char *what)
{
	bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;

	err_set(why, -errno, "%s%s: %s", full ? "4.2.2 " : "", what, strerror(errno));
	return EX_TEMPFAIL;
}

static int
unsafe(struct err *why, const char *text)
{
	err_set(why, -EPERM, "4.3.5 %s", text);
	return EX_TEMPFAIL;
}

static void
pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

/* ---- bytes ---- */

static int
write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return -1;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

static int
copy(int from, int to)
{
	static char piece[PIECE];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(from, piece, sizeof piece, at)) > 0) {
		if (write_all(to, piece, (size_t)n))
			return -1;
		at += n;
	}
	return n < 0 ? -1 : 0;
}

static int
sync_folder_of(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, rc;

	if ((size_t)snprintf(dir, sizeof dir, "%s", path) >= sizeof dir || !(slash = strrchr(dir, '/')))
		return -1;
	slash[slash == dir] = 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES ? 0 : -1; /* a folder that may be searched, not read */
	rc = fsync(fd);
	close(fd);
	return rc;
}

/* ---- mbox: locks ---- */

/* 1: locked, 0: the folder allows no lock file, -1: somebody holds it. */
static int
dot_lock_once(const char *lock)
{
	int fd = open(lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;

	if (fd >= 0) {
		dprintf(fd, "%d\n", (int)getpid());
		close(fd);
		return 1;
	}
	if (errno != EEXIST)
		return 0;
	if (!lstat(lock, &st) && time(NULL) - st.st_mtime > LOCK_STALE_S)
		unlink(lock);
	return -1;
}

static int
take_locks(int fd, const char *lock, bool *ret_dot)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int dot = -1;

	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (i)
			pause_ms(LOCK_WAIT_MS);
		if (dot < 0)
			dot = dot_lock_once(lock);
		*ret_dot = dot == 1;
		if (dot >= 0 && !fcntl(fd, F_SETLK, &whole))
			return 0;
	}
	errno = EAGAIN;
	return -1;
}

/* ---- mbox: the file ---- */

static int
is_safe(int fd, struct err *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return later(why, "cannot look at the file");
	if (!S_ISREG(st.st_mode))
		return unsafe(why, "the target is no plain file");
	if (st.st_uid != geteuid())
		return unsafe(why, "the file belongs to another user");
	if (st.st_nlink > 1)
		return unsafe(why, "the file has several names");
	if (st.st_mode & S_IWOTH)
		return unsafe(why, "everybody may write the file");
	return 0;
}

static bool
is_still(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !lstat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* An unfinished last line, or a message without the empty line behind it. */
static int
close_last(int fd, off_t end)
{
	char tail[2] = "\n\n";
	off_t n = end < 2 ? end : 2;

	if (n && pread(fd, tail + 2 - n, (size_t)n, end - n) != n)
		return -1;
	if (tail[1] != '\n')
		return write_all(fd, "\n\n", 2);
	return tail[0] != '\n' ? write_all(fd, "\n", 1) : 0;
}

static int
append(int fd, int message, struct err *why)
{
	off_t end = lseek(fd, 0, SEEK_END);
	int rc;

	if (end < 0)
		return later(why, "cannot seek");
	if (!close_last(fd, end) && !copy(message, fd) && !fsync(fd))
		return 0;
	rc = later(why, "cannot write the file");
	if (ftruncate(fd, end) || fsync(fd))
		err_set(why, why->code, "%s (and its old length could not be restored)", why->text);
	return rc;
}

static int
locked_append(int fd, const char *path, int message, bool *ret_again, struct err *why)
{
	char lock[PATH_MAX];
	bool dot = false;
	int rc;

	if ((size_t)snprintf(lock, sizeof lock, "%s.lock", path) >= sizeof lock)
		return unsafe(why, "the path is too long");
	if (take_locks(fd, lock, &dot))
		rc = later(why, "cannot lock the file");
	else if ((*ret_again = !is_still(fd, path)))
		rc = EX_TEMPFAIL; /* somebody put another in its place */
	else
		rc = append(fd, message, why);
	if (dot)
		unlink(lock);
	return rc;
}

int
pipe_mbox(const char *path, int message, struct err *why)
{
	bool again = true;
	int rc = EX_TEMPFAIL;

	err_set(why, -EAGAIN, "the file was exchanged meanwhile");
	for (unsigned i = 0; again && i < 5; i++) {
		int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

		again = false;
		if (fd < 0)
			return errno == ELOOP ? unsafe(why, "the target is a symbolic link") :
			    later(why, "cannot open the file");
		rc = is_safe(fd, why);
		if (!rc)
			rc = locked_append(fd, path, message, &again, why);
		if (!rc && sync_folder_of(path))
			rc = later(why, "cannot sync the folder");
		close(fd);
	}
	return rc;
}

/* ---- maildir ---- */

/* The folder, made when it is missing; must be the user's own. */
static int
open_folder(int at, const char *name, struct err *why)
{
	struct stat st;
	int fd;

	if (mkdirat(at, name, 0700) && errno != EEXIST) {
		later(why, "cannot make the maildir");
		return -1;
	}
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		later(why, "cannot open the maildir");
		return -1;
	}
	if (fstat(fd, &st) || st.st_uid != geteuid() || st.st_mode & S_IWOTH) {
		unsafe(why, "the maildir belongs to another user, or everybody may write it");
		close(fd);
		return -1;
	}
	return fd;
}

/* tmp/NAME -> new/NAME. */
static int
put_file(const int dirs[3], int message, const char *hostname, struct err *why)
{
	uint64_t now = clock_real_us();
	char name[NAME_MAX];
	int fd, rc;

	snprintf(name, sizeof name, "%llu.M%06lluP%d.%.100s", (unsigned long long)(now / 1000000),
	    (unsigned long long)(now % 1000000), (int)getpid(), hostname);
	fd = openat(dirs[0], name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return later(why, "cannot make a file in the maildir");
	rc = copy(message, fd) || fsync(fd) ? later(why, "cannot write the message") : 0;
	close(fd);
	if (!rc && renameat(dirs[0], name, dirs[1], name))
		rc = later(why, "cannot move the message into new");
	if (!rc && fsync(dirs[1]))
		rc = later(why, "cannot sync new");
	if (rc)
		unlinkat(dirs[0], name, 0);
	return rc;
}

int
pipe_maildir(const char *path, int message, const char *hostname, struct err *why)
{
	static const char *const names[3] = { "tmp", "new", "cur" };
	int dirs[3] = { -1, -1, -1 }, rc = EX_TEMPFAIL, root;
	char plain[PATH_MAX];
	size_t n;

	n = (size_t)snprintf(plain, sizeof plain, "%s", path);
	if (n >= sizeof plain)
		return unsafe(why, "the path is too long");
	if (n > 1 && plain[n - 1] == '/')
		plain[n - 1] = 0; /* else a link would be followed */
	root = open_folder(AT_FDCWD, plain, why);
	for (size_t i = 0; root >= 0 && i < 3; i++)
		if ((dirs[i] = open_folder(root, names[i], why)) < 0)
			break;
	if (root >= 0 && dirs[2] >= 0)
		rc = fsync(root) || sync_folder_of(plain) ? later(why, "cannot sync the maildir") :
		    put_file(dirs, message, hostname, why);
	for (size_t i = 0; i < 3; i++)
		if (dirs[i] >= 0)
			close(dirs[i]);
	if (root >= 0)
		close(root);
	return rc;
}
