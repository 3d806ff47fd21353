#include "lib/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int
fd_write_all(int fd, struct str s)
{
	while (s.n) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		s = str_skip(s, (size_t)n);
	}
	return 0;
}

int
fd_read_all(int fd, struct buf *b)
{
	char block[8192];
	ssize_t n;

	while ((n = read(fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			buf_put(b, block, (size_t)n);
	return n < 0 ? -errno : b->over ? -EFBIG : 0;
}

int
fd_read_file(const char *path, struct buf *b)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = fd_read_all(fd, b);
	close(fd);
	return r;
}
