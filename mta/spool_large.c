/* Content of large messages: a file each, durable (file and folder) before the
 * record that names it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "mta/spool_private.h"

static void
large_name(char out[static 20], uint64_t file)
{
	snprintf(out, 20, "%016llx", (unsigned long long)file);
}

int
spool_large_create(struct spool *s, uint64_t file, struct spool_large *ret)
{
	char name[20];
	int fd;

	large_name(name, file);
	fd = openat(s->largefd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	*ret = (struct spool_large){ .file = file, .fd = fd };
	return 0;
}

int
spool_large_write(struct spool_large *l, struct str bytes)
{
	int rc = spool_full_pwrite(l->fd, bytes.p, bytes.n, l->size);

	if (rc)
		return rc;
	l->crc = crc32c(l->crc, bytes.p, bytes.n);
	l->size += bytes.n;
	return 0;
}

int
spool_large_finish(struct spool *s, struct spool_large *l)
{
	int rc = fsync(l->fd) || fsync(s->largefd) ? -errno : 0;

	if (rc) {
		spool_large_abort(s, l);
		return rc;
	}
	close(l->fd);
	l->fd = -1;
	return 0;
}

void
spool_large_abort(struct spool *s, struct spool_large *l)
{
	if (l->fd < 0)
		return;
	close(l->fd);
	l->fd = -1;
	spool_large_remove(s, l->file);
}

int
spool_large_open(struct spool *s, uint64_t file, uint64_t size)
{
	struct stat st;
	char name[20];
	int fd, rc;

	large_name(name, file);
	fd = openat(s->largefd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) ? -errno : (uint64_t)st.st_size == size ? 0 : -EBADMSG;
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

int
spool_large_remove(struct spool *s, uint64_t file)
{
	char name[20];

	large_name(name, file);
	return unlinkat(s->largefd, name, 0) ? -errno : 0;
}

int
spool_large_list(struct spool *s, void (*fn)(void *arg, uint64_t file, uint64_t size), void *arg)
{
	int fd = openat(s->largefd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d)
		return -errno;
	while ((de = readdir(d))) {
		unsigned long long v;
		struct stat st;
		int end = 0;

		if (sscanf(de->d_name, "%16llx%n", &v, &end) == 1 && end == 16 && !de->d_name[16] &&
		    !fstatat(s->largefd, de->d_name, &st, 0))
			fn(arg, v, (uint64_t)st.st_size);
	}
	closedir(d);
	return 0;
}
