/* Reading a Maildir++ tree: index_tree.h. */
#include "maildir/index_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crc32c.h"

static DIR *
open_list(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d;

	if (fd < 0)
		return NULL;
	if (!(d = fdopendir(fd)))
		close(fd);
	return d;
}

static int
tree_add(struct tree *t, int fd, const char *name, struct arena *ar)
{
	struct tree_file f = { 0 }, *slot;
	struct stat st;

	f.name = arena_dup(ar, str_c(name));
	if (!f.name.p)
		return -ENOMEM;
	if (!name_parse(f.name, &f.n) || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) ||
	    !S_ISREG(st.st_mode))
		return 0;
	f.size = (uint64_t)st.st_size;
	f.mtime = st.st_mtime;
	if (!(slot = index_grow(&t->v, &t->n, &t->cap, sizeof *slot)))
		return -ENOMEM;
	*slot = f;
	return 0;
}

/* The table points into the list, so it is made when the list stands still. */
static int
tree_hash(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (strmap_set(&t->by_name, t->v[i].name, &t->v[i]))
			return -ENOMEM;
	return 0;
}

int
tree_read(int at, const char *dir, const char *sub, struct arena *ar, struct tree *ret,
    struct err *e)
{
	struct tree t = { 0 };
	struct dirent *d;
	struct buf path;
	DIR *list;
	int r = 0;

	buf_init(&path, 0);
	folder_path(&path, dir, sub, STR_NULL);
	list = buf_cstr(&path) ? open_list(at, path.p) : NULL;
	if (!list && errno != ENOENT)
		r = err_sys(e, -errno, "%s/%s", dir, sub);
	while (!r && list && (d = readdir(list)))
		if ((r = tree_add(&t, dirfd(list), d->d_name, ar)))
			err_set(e, r, "no memory for %s/%s", dir, sub);
	if (list)
		closedir(list);
	if (!r && (r = tree_hash(&t)))
		err_set(e, r, "no memory for %s/%s", dir, sub);
	buf_done(&path);
	if (r)
		tree_done(&t);
	else
		*ret = t;
	return r;
}

void
tree_done(struct tree *t)
{
	strmap_done(&t->by_name);
	free(t->v);
	*t = (struct tree){ 0 };
}

bool
tree_whole(const struct tree_file *f)
{
	return !f->torn && (!f->n.has_size || f->n.size == f->size);
}

int64_t
tree_newest(const struct tree *t)
{
	int64_t newest = INT64_MIN;

	for (size_t i = 0; i < t->n; i++)
		newest = t->v[i].mtime > newest ? t->v[i].mtime : newest;
	return newest;
}

/* Whether the content is other than the name's sum says. */
static bool
look(int fd, uint32_t want)
{
	static _Thread_local char chunk[64 << 10];
	uint32_t crc = 0;
	ssize_t n;

	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		crc = crc32c(crc, chunk, (size_t)n);
	return n == 0 && crc != want;
}

bool
tree_good(int at, const char *path, const struct msg_name *n)
{
	int fd = openat(at, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	bool good;

	if (fd < 0)
		return false;
	good = !fstat(fd, &st) && S_ISREG(st.st_mode) &&
	    (!n->has_size || (uint64_t)st.st_size == n->size) && (!n->has_crc || !look(fd, n->crc));
	close(fd);
	return good;
}

void
tree_look(int at, const char *dir, const char *sub, struct tree *t, int64_t since)
{
	struct buf path;

	buf_init(&path, 0);
	for (size_t i = 0; i < t->n; i++) {
		struct tree_file *f = &t->v[i];
		int fd;

		if (!f->n.has_crc || f->mtime < since || !tree_whole(f))
			continue;
		buf_clear(&path);
		folder_path(&path, dir, sub, f->name);
		fd = buf_cstr(&path) ? openat(at, path.p, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
		if (fd < 0)
			continue;
		f->torn = look(fd, f->n.crc);
		close(fd);
	}
	buf_done(&path);
}

int
tree_folders(int dirfd, struct buf *out, struct err *e)
{
	DIR *list = open_list(dirfd, ".");
	struct dirent *d;

	if (!list)
		return err_sys(e, -errno, "the account's directory");
	while ((d = readdir(list))) {
		struct stat st;

		if (d->d_name[0] != '.' || !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
		    strlen(d->d_name) > 230)
			continue;
		if (fstatat(dirfd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode))
			continue;
		buf_put(out, d->d_name, strlen(d->d_name) + 1);
	}
	closedir(list);
	return out->over ? err_set(e, -ENOMEM, "too many folders") : 0;
}
