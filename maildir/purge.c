/* The purge's job: rename -> remove a slice -> ... -> the empty directory. */
#include "maildir/purge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/log.h"

/* DEPTH: account, folder, cur, file, and some for what an admin left there. */
enum { SLICE = 500, DEPTH = 8, NAME_SIZE = 48 };

static void
purge_name(uint64_t account, char out[static NAME_SIZE])
{
	snprintf(out, NAME_SIZE, "purge/%016llx", (unsigned long long)account);
}

static int remove_tree(int dirfd, const char *name, unsigned *budget, unsigned depth);

/* Removes what is in an open directory, which it closes. */
static int
remove_entries(DIR *d, unsigned *budget, unsigned depth)
{
	struct dirent *de;
	int r = 0;

	while (r == 0 && (de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (unlinkat(dirfd(d), de->d_name, 0) == 0) {
			if (--*budget == 0)
				r = 1;
		} else if (errno == EISDIR || errno == EPERM) {
			r = remove_tree(dirfd(d), de->d_name, budget, depth + 1);
		} else if (errno != ENOENT) {
			r = -errno;
		}
	}
	closedir(d);
	return r;
}

/* 0: gone; 1: the budget is used up; negative. */
static int
remove_tree(int dirfd, const char *name, unsigned *budget, unsigned depth)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r == -ENOENT ? 0 : r;
	}
	if (depth > DEPTH) {
		closedir(d);
		return -ELOOP;
	}
	r = remove_entries(d, budget, depth);
	if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

static enum job_next
purge_slice(struct job *j, struct actor *a)
{
	unsigned budget = SLICE;
	char name[NAME_SIZE];
	int r;

	purge_name(actor_account(a), name);
	r = remove_tree(volume_blobs(actor_volume(a))->dirfd, name, &budget, 0);
	if (r > 0)
		return actor_yield(a, j, purge_slice);
	if (r < 0)
		LOG_ERROR("store.purge_failed", L_HEX("account", actor_account(a)), L_I64("code", r));
	else
		LOG_INFO("store.purged", L_HEX("account", actor_account(a)));
	free(j);
	return JOB_DONE;
}

static enum job_next
purge_begin(struct job *j, struct actor *a)
{
	int dirfd = volume_blobs(actor_volume(a))->dirfd;
	char name[NAME_SIZE];

	if (actor_index(a))
		actor_lose(a, -ENOENT);
	ledger_gone(volume_ledger(actor_volume(a)), actor_account(a));
	purge_name(actor_account(a), name);
	mkdirat(dirfd, "purge", 0700);
	if (renameat(dirfd, actor_dir(a), dirfd, name) < 0 && errno != ENOENT)
		LOG_ERROR("store.purge_failed", L_HEX("account", actor_account(a)), L_I64("code", -errno));
	if (faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		free(j);
		return JOB_DONE;
	}
	return actor_yield(a, j, purge_slice);
}

static void
purge_stopped(struct job *j, int code, const char *text)
{
	free(j);
}

static void
post(struct actors *as, struct volume_seat *seat, uint64_t account,
    enum job_next (*step)(struct job *, struct actor *))
{
	struct job *j = calloc(1, sizeof *j);

	if (!j)
		return;
	j->step = step;
	j->fail = purge_stopped;
	j->without_index = true;
	if (actor_post(as, seat, account, j) < 0)
		free(j);
}

void
purge_post(struct actors *as, struct volume_seat *seat, uint64_t account)
{
	ledger_gone(volume_ledger(seat->volume), account);
	post(as, seat, account, purge_begin);
}

void
purge_left(struct actors *as, struct volume_seat *seat)
{
	int fd = openat(volume_blobs(seat->volume)->dirfd, "purge", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		char *end;
		uint64_t account = strtoull(de->d_name, &end, 16);

		if (end == de->d_name + 16 && !*end)
			post(as, seat, account, purge_slice);
	}
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}
