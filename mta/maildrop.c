/*
 * The maildrop's folders; see maildrop.h.
 *
 * Everything in new/ was put there by anybody: it may be a link, a pipe, a folder, a name of
 * somebody else's file, or be changed while it is read. So a file is opened without
 * following links and without waiting, must be a plain one with this name only, and is
 * copied before it is looked at.
 */
#include "mta/maildrop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"

#define NEW_MODE 03733
#define BAD_MODE 0700
#define UNFINISHED_MAX_MS (24u * 3600 * 1000) /* then its writer has died */

static int
open_sub(const char *dir, const char *sub, mode_t mode, struct err *e)
{
	char path[4096];
	struct stat st;
	int fd, rc = 0;

	snprintf(path, sizeof path, "%s/%s", dir, sub);
	if (mkdir(path, 0700) && errno != EEXIST)
		return err_sys(e, -errno, "cannot make the directory %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		rc = -errno;
	else if ((st.st_mode & 07777) != mode && fchmod(fd, mode))
		rc = -errno;
	if (!rc)
		return fd;
	if (fd >= 0)
		close(fd);
	return err_sys(e, rc, "cannot use the directory %s", path);
}

static unsigned
count(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n > 2 ? n - 2 : 0;
}

int
maildrop_open(struct maildrop *m, struct str dir, struct err *e)
{
	char path[4000];

	snprintf(path, sizeof path, "%.*s", STR_ARG(dir));
	if (mkdir(path, 0711) && errno != EEXIST)
		return err_sys(e, -errno, "cannot make the directory %s", path);
	m->bad_fd = open_sub(path, "bad", BAD_MODE, e);
	if (m->bad_fd < 0)
		return m->bad_fd;
	m->new_fd = open_sub(path, "new", NEW_MODE, e);
	if (m->new_fd < 0) {
		close(m->bad_fd);
		return m->new_fd;
	}
	m->n_bad = count(m->bad_fd);
	return 0;
}

void
maildrop_close(struct maildrop *m)
{
	close(m->new_fd);
	close(m->bad_fd);
}

static uint64_t
mtime_ms(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * 1000 + (uint64_t)st->st_mtim.tv_nsec / 1000000;
}

static enum maildrop_state
judge(const struct stat *st, size_t max, struct maildrop_file *f)
{
	uint64_t now = clock_real_us() / 1000;

	*f = (struct maildrop_file){ st->st_uid, mtime_ms(st), (uint64_t)st->st_size, NULL };
	if (!S_ISREG(st->st_mode))
		f->why = "not a plain file";
	else if (st->st_nlink != 1)
		f->why = "a file with other names";
	else if (!(st->st_mode & S_IXUSR) && now > f->mtime_ms + UNFINISHED_MAX_MS)
		f->why = "never finished";
	else if ((uint64_t)st->st_size > max)
		f->why = "too large";
	if (f->why)
		return MAILDROP_BAD;
	return st->st_mode & S_IXUSR ? MAILDROP_READY : MAILDROP_UNFINISHED;
}

static int
read_all(int fd, struct buf *text)
{
	for (;;) {
		char *room = buf_room(text, 65536);
		ssize_t n = room ? read(fd, room, 65536) : -1;

		if (!room)
			return -EFBIG;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		buf_grown(text, (size_t)n);
	}
}

static enum maildrop_state
read_open(int fd, struct buf *text, struct maildrop_file *ret)
{
	struct stat st;
	enum maildrop_state state;
	int rc;

	if (fstat(fd, &st)) {
		ret->why = "cannot be looked at";
		return MAILDROP_UNREADABLE;
	}
	state = judge(&st, text->max - 65536, ret);
	if (state != MAILDROP_READY)
		return state;
	rc = read_all(fd, text);
	if (!rc)
		return MAILDROP_READY;
	ret->why = rc == -EFBIG ? "too large" : "cannot be read";
	return rc == -EFBIG ? MAILDROP_BAD : MAILDROP_UNREADABLE;
}

/* What cannot be opened may still be what nobody should open. */
static enum maildrop_state
read_closed(const struct maildrop *m, const char *name, int code, size_t max,
    struct maildrop_file *ret)
{
	struct stat st;
	enum maildrop_state state;

	if (fstatat(m->new_fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return MAILDROP_GONE;
	state = judge(&st, max, ret);
	if (state == MAILDROP_READY) {
		/* its owner may open the mode only; what pickupd cannot read is none of its files */
		ret->why = code == -EACCES ? "not readable by the maildrop's group" : "cannot be opened";
		return code == -EACCES ? MAILDROP_BAD : MAILDROP_UNREADABLE;
	}
	return state;
}

enum maildrop_state
maildrop_read(const struct maildrop *m, const char *name, struct buf *text,
    struct maildrop_file *ret)
{
	int fd = openat(m->new_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	enum maildrop_state state;

	*ret = (struct maildrop_file){ 0 };
	if (fd < 0)
		return errno == ENOENT ? MAILDROP_GONE : read_closed(m, name, -errno, text->max, ret);
	state = read_open(fd, text, ret);
	close(fd);
	return state;
}

int
maildrop_remove(const struct maildrop *m, const char *name)
{
	return unlinkat(m->new_fd, name, 0) ? -errno : 0;
}

int
maildrop_set_aside(struct maildrop *m, const char *name)
{
	if (m->n_bad >= MAILDROP_BAD_MAX)
		return maildrop_remove(m, name);
	if (renameat(m->new_fd, name, m->bad_fd, name))
		return -errno;
	m->n_bad++;
	return 1;
}
