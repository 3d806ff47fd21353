/*
 * Blobs as files of the volume. A draft is a file in the volume's own tmp/, so
 * that all new inodes come from one directory's neighbourhood and one place is
 * to be emptied after a crash; publishing is a rename that never replaces.
 */
#include "maildir/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crc32c.h"

enum { COPY_CHUNK = 256 << 10, IOV_SOME = 16 };

/* All of iov, whatever the pieces write(2) takes. */
static int
write_pieces(int fd, const struct iovec *iov, size_t n)
{
	struct iovec v[IOV_SOME];
	size_t at = 0, off = 0;

	while (at < n) {
		size_t k = 0;
		ssize_t w;

		for (size_t i = at; i < n && k < IOV_SOME; i++, k++)
			v[k] = iov[i];
		v[0].iov_base = (char *)v[0].iov_base + off;
		v[0].iov_len -= off;
		w = writev(fd, v, (int)k);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		for (off += (size_t)w; at < n && off >= iov[at].iov_len; at++)
			off -= iov[at].iov_len;
	}
	return 0;
}

/* n bytes of `from` from its beginning, behind what fd has; *crc goes on. */
static int
copy_bytes(int fd, int from, uint64_t n, uint32_t *crc)
{
	static _Thread_local char chunk[COPY_CHUNK];
	uint64_t off = 0;

	while (off < n) {
		size_t want = n - off < sizeof chunk ? (size_t)(n - off) : sizeof chunk;
		ssize_t r = pread(from, chunk, want, (off_t)off);
		struct iovec v = { chunk, 0 };
		int code;

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -ENODATA;
		v.iov_len = (size_t)r;
		code = write_pieces(fd, &v, 1);
		if (code < 0)
			return code;
		*crc = crc32c(*crc, chunk, (size_t)r);
		off += (uint64_t)r;
	}
	return 0;
}

static int
files_draft(struct blob_store *b, const struct blob_source *src, struct blob_draft *ret)
{
	struct blob_draft d = { .fd = -1 };
	int r;

	snprintf(d.name, sizeof d.name, "tmp/%u.%llu", b->instance,
	    (unsigned long long)atomic_fetch_add(&b->serial, 1));
	d.fd = openat(b->dirfd, d.name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d.fd < 0)
		return -errno;
	for (size_t i = 0; i < src->n; i++)
		d.crc = crc32c(d.crc, src->iov[i].iov_base, src->iov[i].iov_len);
	r = write_pieces(d.fd, src->iov, src->n);
	if (r == 0 && src->fd >= 0)
		r = copy_bytes(d.fd, src->fd, src->fd_size, &d.crc);
	if (r < 0) {
		close(d.fd);
		unlinkat(b->dirfd, d.name, 0);
		return r;
	}
	*ret = d;
	return 0;
}

static int
files_link(struct blob_store *b, const char *from, const char *to)
{
	return linkat(b->dirfd, from, b->dirfd, to, 0) < 0 ? -errno : 0;
}

/* File systems without RENAME_NOREPLACE get link and unlink. */
static int
files_move(struct blob_store *b, const char *from, const char *to)
{
	int r;

	if (renameat2(b->dirfd, from, b->dirfd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	r = files_link(b, from, to);
	if (r == 0)
		unlinkat(b->dirfd, from, 0);
	return r;
}

static int
files_open(struct blob_store *b, const char *name)
{
	int fd = openat(b->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

static int
files_remove(struct blob_store *b, const char *name)
{
	return unlinkat(b->dirfd, name, 0) < 0 ? -errno : 0;
}

static int
files_sync(struct blob_store *b, int fd)
{
	if (syncfs(b->dirfd) < 0)
		return -errno;
	return fd >= 0 && fsync(fd) < 0 ? -errno : 0;
}

const struct blob_ops blob_files = {
	.draft = files_draft,
	.move = files_move,
	.link = files_link,
	.open = files_open,
	.remove = files_remove,
	.sync = files_sync,
};
