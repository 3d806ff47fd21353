/*
 * A lease as a file lock. The file holds the epoch, decimal and a newline; it is
 * raised and synced by each new owner before anything is done under the lease. An
 * unreadable epoch counts as lost and is replaced by the clock, which is higher
 * than any that was counted.
 */
#include "maildir/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"

static int
lock_within(int fd, unsigned wait_ms)
{
	uint64_t end = clock_ms() + wait_ms;
	struct timespec nap = { 0, 20 * 1000 * 1000 };

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK || clock_ms() >= end)
			return errno == EWOULDBLOCK ? -EBUSY : -errno;
		nanosleep(&nap, NULL);
	}
	return 0;
}

static int
raise_epoch(int fd, uint64_t *ret)
{
	char text[32];
	uint64_t epoch = 0;
	ssize_t n = pread(fd, text, sizeof text, 0);

	if (n < 0)
		return -errno;
	if (n > 0 && !str_u64(str_trim(str_from(text, (size_t)n)), UINT64_MAX - 1, &epoch))
		epoch = clock_real_us();
	epoch++;
	n = snprintf(text, sizeof text, "%llu\n", (unsigned long long)epoch);
	if (pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) < 0 || fsync(fd) < 0)
		return errno ? -errno : -EIO;
	*ret = epoch;
	return 0;
}

int
lease_take(int dirfd, const char *name, unsigned wait_ms, struct lease *ret, struct err *e)
{
	struct lease l;
	int r;

	l.fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l.fd < 0)
		return err_sys(e, -errno, "%s", name);
	r = lock_within(l.fd, wait_ms);
	if (r == 0)
		r = raise_epoch(l.fd, &l.epoch);
	if (r < 0) {
		close(l.fd);
		if (r == -EBUSY)
			return err_set(e, r, "%s: another process owns this part of the store", name);
		return err_sys(e, r, "%s", name);
	}
	*ret = l;
	return 0;
}

bool
lease_held(const struct lease *l)
{
	struct stat st;

	return l->fd >= 0 && fstat(l->fd, &st) == 0 && st.st_nlink > 0;
}

void
lease_drop(struct lease *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}
