#include "lib/base/fd.h"

#include <errno.h>
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
