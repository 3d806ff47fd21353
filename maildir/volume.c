/*
 * A volume: the group sync thread, the mark of its run, its ballast.
 *
 * The mark `run.N` is one line of text and a checksum:
 *
 *	posthorn-run 1 <run, 16 hex> <mailds> <running|clean> <crc32c, 8 hex>
 *
 * It is replaced whole (written beside, synced, renamed, directory synced) before
 * the first change of a run and after the last one. A mark that cannot be read,
 * says `running`, or is of another number of mailds begins a new run.
 */
#include "maildir/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <dirent.h>

#include "lib/base/clock.h"
#include "lib/base/crc32c.h"
#include "lib/base/fd.h"
#include "lib/proc/metrics.h"
#include "maildir/lease.h"

enum { FILE_MODE = 0600, DIR_MODE = 0700, LEASE_WAIT_MS = 5000, SPACE_MS = 1000 };

static struct metric sync_seconds = METRIC_HISTOGRAM("store_sync_seconds", NULL,
    "Time of a volume's group sync");
static struct metric sync_groups = METRIC_COUNTER("store_syncs_total", NULL,
    "Group syncs of volumes");
static struct metric sync_waiters = METRIC_COUNTER("store_synced_total", NULL,
    "Changes made durable by group syncs");
static struct metric free_bytes = METRIC_GAUGE("store_free_bytes", NULL,
    "Free bytes of the volume");
static struct metric failures = METRIC_COUNTER("store_volume_failures_total", NULL,
    "Times that a volume failed");

struct volume {
	uint32_t number;
	unsigned instance, instances;
	char *path;
	_Atomic uint64_t run;
	_Atomic bool unclean;
	struct blob_store blobs;
	struct ledger *ledger;
	struct lease lease;
	_Atomic int mark_fd;      /* the run's mark: synced when a group has no file of its own */

	pthread_t thread;
	pthread_mutex_t lock;     /* of all below */
	pthread_cond_t wake;
	struct list waiting, soon;
	uint64_t soon_due;        /* of the oldest in `soon` */
	bool stopping;
	void (*on_group)(void *arg);
	void *on_group_arg;
	void (*on_fail)(void *arg, int code);
	void *on_fail_arg;

	_Atomic int failed;
	_Atomic uint64_t free_bytes;
	_Atomic uint64_t free_at;  /* clock_ms() of that figure */
	_Atomic bool has_ballast;
};

/* ---- small files ---- */

static void
instance_name(const struct volume *v, const char *what, char out[static 32])
{
	snprintf(out, 32, "%s.%u", what, v->instance);
}

/* Replaces a small file; durable on return. *ret_fd, when given, stays open. */
static int
replace_file(struct volume *v, const char *name, struct str content, int *ret_fd)
{
	int dirfd = v->blobs.dirfd, fd, r;
	char tmp[48];

	snprintf(tmp, sizeof tmp, "%s.new", name);
	fd = openat(dirfd, tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, content);
	if (r == 0 && (fsync(fd) < 0 || renameat(dirfd, tmp, dirfd, name) < 0 || fsync(dirfd) < 0))
		r = -errno;
	if (r == 0 && ret_fd)
		*ret_fd = fd;
	else
		close(fd);
	return r;
}

static int
read_file(struct volume *v, const char *name, struct buf *out)
{
	int fd = openat(v->blobs.dirfd, name, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = fd_read_all(fd, out);
	close(fd);
	return r;
}

/* ---- the run ---- */

static int
write_mark(struct volume *v, bool clean, int *ret_fd)
{
	struct buf b = { 0 };
	char name[32];
	int r;

	buf_printf(&b, "posthorn-run 1 %016llx %u %s", (unsigned long long)volume_run(v), v->instances,
	    clean ? "clean" : "running");
	if (!b.over)
		buf_printf(&b, " %08x\n", crc32c(0, b.p, b.n));
	instance_name(v, "run", name);
	r = b.over ? -ENOMEM : replace_file(v, name, buf_view(&b), ret_fd);
	buf_done(&b);
	return r;
}

/* Whether the mark lets its run go on; *ret_run is then that run. */
static bool
read_mark(struct volume *v, uint64_t *ret_run)
{
	struct buf b = { .max = 1 << 20 };
	unsigned long long run;
	unsigned mailds, sum;
	char state[16], name[32];
	bool ok = false;

	instance_name(v, "run", name);
	if (read_file(v, name, &b) == 0 && b.n < 200 && b.n > 10) {
		const char *text = buf_cstr(&b);

		ok = text && sscanf(text, "posthorn-run 1 %16llx %u %15s %8x", &run, &mailds, state,
		    &sum) == 4 && crc32c(0, text, b.n - 10) == sum && mailds == v->instances &&
		    !strcmp(state, "clean");
	}
	if (ok)
		*ret_run = run;
	buf_done(&b);
	return ok;
}

static uint64_t
fresh_run(void)
{
	uint64_t run = 0;

	while (!run)
		if (getrandom(&run, sizeof run, 0) != sizeof run)
			run = clock_real_us();
	return run;
}

/* Files of mailds that do not exist any more would be old if they came back. */
static void
forget_others(struct volume *v)
{
	char name[32];

	for (unsigned i = v->instances; i < v->instances + 64; i++) {
		snprintf(name, sizeof name, "run.%u", i);
		unlinkat(v->blobs.dirfd, name, 0);
		snprintf(name, sizeof name, "ledger.%u", i);
		unlinkat(v->blobs.dirfd, name, 0);
	}
}

static int
begin_run(struct volume *v, struct err *e)
{
	struct buf b = { 0 };
	char name[32];
	uint64_t run = 0;
	int fd, r;

	if (v->instance == 0)
		forget_others(v);
	v->unclean = !read_mark(v, &run);
	if (v->unclean) {
		/* what a killed maild wrote is here, but perhaps not on the disk: recovery
		 * must not build on it */
		r = blob_sync(&v->blobs, -1);
		if (r < 0)
			return err_sys(e, r, "%s", v->path);
		run = fresh_run();
	}
	v->run = run;
	instance_name(v, "ledger", name);
	if (!v->unclean && read_file(v, name, &b) == 0)
		ledger_load(v->ledger, buf_view(&b), v->run);
	buf_done(&b);
	r = write_mark(v, false, &fd);
	if (r == 0)
		v->mark_fd = fd;
	if (r < 0)
		return err_sys(e, r, "%s: cannot mark the volume as running", v->path);
	return 0;
}

static void
end_run(struct volume *v)
{
	struct buf b = { 0 };
	char name[32];

	instance_name(v, "ledger", name);
	ledger_save(v->ledger, v->run, &b);
	if (!b.over && replace_file(v, name, buf_view(&b), NULL) == 0)
		write_mark(v, true, NULL);
	buf_done(&b);
}

/* ---- space ---- */

static void
look_at_space(struct volume *v)
{
	struct statvfs st;

	atomic_store(&v->free_at, clock_ms());
	if (fstatvfs(v->blobs.dirfd, &st) < 0)
		return;
	atomic_store(&v->free_bytes, (uint64_t)st.f_bavail * st.f_frsize);
	metric_set(&free_bytes, (int64_t)((uint64_t)st.f_bavail * st.f_frsize));
}

/* The ballast is only as good as its blocks are real: written, not promised. */
static void
make_ballast(struct volume *v)
{
	static const char zeros[64 << 10];
	int fd = openat(v->blobs.dirfd, "ballast", O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
	struct stat st;
	off_t at = 0;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0)
		at = st.st_size;
	while (at < VOLUME_BALLAST && pwrite(fd, zeros, sizeof zeros, at) == (ssize_t)sizeof zeros)
		at += (off_t)sizeof zeros;
	atomic_store(&v->has_ballast, at >= VOLUME_BALLAST);
	close(fd);
}

/* What the ballast's end gave back is for expunging, not for new mail: that waits
 * until there is room for a new ballast too. */
int
volume_fits(struct volume *v, uint64_t n)
{
	uint64_t low = VOLUME_LOW;

	if (atomic_load(&v->failed))
		return -EIO;
	if (clock_ms() - atomic_load(&v->free_at) > SPACE_MS)
		look_at_space(v);
	if (!atomic_load(&v->has_ballast))
		low += VOLUME_BALLAST;
	return atomic_load(&v->free_bytes) >= low + n ? 0 : -ENOSPC;
}

int
volume_room(struct volume *v, uint64_t n)
{
	int r = volume_fits(v, n);

	if (r == 0 && n)
		atomic_fetch_sub(&v->free_bytes, n); /* until the next look */
	if (r == 0 && !atomic_load(&v->has_ballast))
		make_ballast(v);
	else if (r == -ENOSPC && atomic_exchange(&v->has_ballast, false))
		unlinkat(v->blobs.dirfd, "ballast", 0);
	return r;
}

uint64_t
volume_free(const struct volume *v)
{
	return atomic_load(&v->free_bytes);
}

/* ---- the group sync ---- */

static void
take_all(struct list *from, struct list *to)
{
	struct list *l;

	while ((l = list_pop(from)))
		list_push(to, l);
}

/* Waits for a group: 0 with its waiters in *ret; -1 when there will be none. */
static int
next_group(struct volume *v, struct list *ret)
{
	for (;;) {
		uint64_t now = clock_ms();

		if (!list_empty(&v->waiting) ||
		    (!list_empty(&v->soon) && (now >= v->soon_due || v->stopping))) {
			take_all(&v->waiting, ret);
			take_all(&v->soon, ret);
			return 0;
		}
		if (v->stopping)
			return -1;
		if (list_empty(&v->soon)) {
			pthread_cond_wait(&v->wake, &v->lock);
		} else {
			struct timespec ts;

			clock_gettime(CLOCK_MONOTONIC, &ts);
			ts.tv_nsec += (long)((v->soon_due - now) % 1000) * 1000000;
			ts.tv_sec += (time_t)((v->soon_due - now) / 1000) + ts.tv_nsec / 1000000000;
			ts.tv_nsec %= 1000000000;
			pthread_cond_timedwait(&v->wake, &v->lock, &ts);
		}
	}
}

static int
sync_group(struct volume *v, struct list *group, unsigned *ret_n)
{
	uint64_t begin = clock_us();
	struct sync_wait *w;
	int r = atomic_load(&v->failed), fd = v->mark_fd; /* in this order: see volume_revive */

	*ret_n = 0;
	LIST_FOREACH(w, group, struct sync_wait, link) {
		++*ret_n;
		if (w->fd >= 0)
			fd = w->fd;
	}
	if (r == 0)
		r = blob_sync(&v->blobs, fd);
	metric_observe_us(&sync_seconds, clock_us() - begin);
	metric_add(&sync_groups, 1);
	metric_add(&sync_waiters, *ret_n);
	return r;
}

static void
finish_group(struct volume *v, struct list *group, int result)
{
	struct list *l;

	if (result < 0)
		volume_fail(v, result);
	while ((l = list_pop(group))) {
		struct sync_wait *w = LIST_ENTRY(l, struct sync_wait, link);

		w->fn(w, result);
	}
	if (v->on_group)
		v->on_group(v->on_group_arg);
}

static void *
sync_thread(void *arg)
{
	struct volume *v = arg;
	struct list group;
	unsigned n;
	int r;

	list_init(&group);
	pthread_mutex_lock(&v->lock);
	while (next_group(v, &group) == 0) {
		pthread_mutex_unlock(&v->lock);
		r = sync_group(v, &group, &n);
		finish_group(v, &group, r);
		pthread_mutex_lock(&v->lock);
	}
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

void
volume_sync(struct volume *v, struct sync_wait *w)
{
	pthread_mutex_lock(&v->lock);
	list_push(&v->waiting, &w->link);
	pthread_cond_signal(&v->wake);
	pthread_mutex_unlock(&v->lock);
}

void
volume_sync_soon(struct volume *v, struct sync_wait *w)
{
	pthread_mutex_lock(&v->lock);
	if (list_empty(&v->soon)) {
		v->soon_due = clock_ms() + VOLUME_SOON_MS;
		pthread_cond_signal(&v->wake);
	}
	list_push(&v->soon, &w->link);
	pthread_mutex_unlock(&v->lock);
}

void
volume_on_group(struct volume *v, void (*fn)(void *), void *arg)
{
	v->on_group = fn;
	v->on_group_arg = arg;
}

/* ---- failing and reviving ---- */

int
volume_failed(const struct volume *v)
{
	return atomic_load(&v->failed);
}

void
volume_on_fail(struct volume *v, void (*fn)(void *, int), void *arg)
{
	v->on_fail = fn;
	v->on_fail_arg = arg;
}

void
volume_fail(struct volume *v, int code)
{
	int none = 0;

	if (!atomic_compare_exchange_strong(&v->failed, &none, code))
		return;
	metric_add(&failures, 1);
	ledger_forget(v->ledger);
	if (v->on_fail)
		v->on_fail(v->on_fail_arg, code);
}

int
volume_revive(struct volume *v, struct err *e)
{
	int fd = -1, r;

	if (!atomic_load(&v->failed))
		return 0;
	if (!lease_held(&v->lease))
		return err_set(e, -ESTALE, "%s: the lease is gone", v->path);
	v->run = fresh_run();
	v->unclean = true;
	r = write_mark(v, false, &fd);
	if (r == 0)
		r = blob_sync(&v->blobs, fd);
	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return err_sys(e, r, "%s: still cannot write", v->path);
	}
	close(atomic_exchange(&v->mark_fd, fd));
	ledger_forget(v->ledger);
	look_at_space(v);
	atomic_store(&v->failed, 0);
	return 0;
}

/* ---- accounts' directories ---- */

void
volume_account_dir(uint64_t account, char out[static VOLUME_DIR_MAX])
{
	uint64_t mix = account * UINT64_C(0x9e3779b97f4a7c15);

	snprintf(out, VOLUME_DIR_MAX, "%02x/%016llx", (unsigned)(mix >> 56),
	    (unsigned long long)account);
}

int
volume_make_account(struct volume *v, const char *dir, struct err *e)
{
	static const char *const subs[] = { "", "/tmp", "/new", "/cur" };
	char shard[3] = { dir[0], dir[1], 0 }, path[VOLUME_DIR_MAX + 8];

	if (mkdirat(v->blobs.dirfd, shard, DIR_MODE) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s/%s", v->path, shard);
	for (size_t i = 0; i < sizeof subs / sizeof *subs; i++) {
		snprintf(path, sizeof path, "%s%s", dir, subs[i]);
		if (mkdirat(v->blobs.dirfd, path, DIR_MODE) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "%s/%s", v->path, path);
	}
	return 0;
}

/* ---- opening and closing ---- */

/* Drafts of a maild that was killed: names begin with its instance, and with the
 * lease held no other process of this instance lives. */
static void
empty_tmp(struct volume *v)
{
	int fd = openat(v->blobs.dirfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	char mine[16];

	snprintf(mine, sizeof mine, "%u.", v->instance);
	while (d && (de = readdir(d)))
		if (!strncmp(de->d_name, mine, strlen(mine)))
			unlinkat(dirfd(d), de->d_name, 0);
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

static int
open_dir(struct volume *v, struct err *e)
{
	int fd;

	if (mkdir(v->path, DIR_MODE) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s", v->path);
	fd = open(v->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "%s", v->path);
	v->blobs.dirfd = fd;
	if (mkdirat(fd, "tmp", DIR_MODE) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s/tmp", v->path);
	return 0;
}

static int
start(struct volume *v, struct err *e)
{
	char name[32];
	int r = open_dir(v, e);

	if (r < 0)
		return r;
	instance_name(v, "lease", name);
	r = lease_take(v->blobs.dirfd, name, LEASE_WAIT_MS, &v->lease, e);
	if (r < 0)
		return err_prefix(e, "%s: ", v->path);
	r = begin_run(v, e);
	if (r < 0)
		return r;
	empty_tmp(v);
	look_at_space(v);
	volume_room(v, 0);
	return 0;
}

static struct volume *
new_volume(const struct volume_options *o)
{
	struct volume *v = calloc(1, sizeof *v);
	pthread_condattr_t ca;

	if (!v)
		return NULL;
	v->number = o->number;
	v->instance = o->instance;
	v->instances = o->instances;
	v->blobs = (struct blob_store){ .ops = o->blob ? o->blob : &blob_files, .dirfd = -1,
		.instance = o->instance, .user = o->blob_user };
	v->lease.fd = -1;
	v->mark_fd = -1;
	list_init(&v->waiting);
	list_init(&v->soon);
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&v->wake, &ca);
	pthread_condattr_destroy(&ca);
	v->ledger = ledger_new();
	if (!v->ledger || asprintf(&v->path, "%s/%u", o->store_dir, o->number) < 0)
		v->path = NULL;
	return v;
}

static void
free_volume(struct volume *v)
{
	lease_drop(&v->lease);
	if (v->mark_fd >= 0)
		close(v->mark_fd);
	if (v->blobs.dirfd >= 0)
		close(v->blobs.dirfd);
	ledger_free(&v->ledger);
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->wake);
	free(v->path);
	free(v);
}

int
volume_open(const struct volume_options *o, struct volume **ret, struct err *e)
{
	struct volume *v = new_volume(o);
	int r;

	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	r = v->path ? start(v, e) : err_set(e, -ENOMEM, "out of memory");
	if (r == 0 && (r = -pthread_create(&v->thread, NULL, sync_thread, v)) < 0)
		err_sys(e, r, "cannot start the sync thread");
	if (r < 0) {
		free_volume(v);
		return r;
	}
	*ret = v;
	return 0;
}

void
volume_close(struct volume **vp, bool clean)
{
	struct volume *v = *vp;

	if (!v)
		return;
	*vp = NULL;
	pthread_mutex_lock(&v->lock);
	v->stopping = true;
	pthread_cond_signal(&v->wake);
	pthread_mutex_unlock(&v->lock);
	pthread_join(v->thread, NULL);
	if (clean && !atomic_load(&v->failed) && blob_sync(&v->blobs, v->mark_fd) == 0)
		end_run(v);
	free_volume(v);
}

uint32_t
volume_number(const struct volume *v)
{
	return v->number;
}

const char *
volume_path(const struct volume *v)
{
	return v->path;
}

struct blob_store *
volume_blobs(struct volume *v)
{
	return &v->blobs;
}

struct ledger *
volume_ledger(struct volume *v)
{
	return v->ledger;
}

uint64_t
volume_run(const struct volume *v)
{
	return v->run;
}

bool
volume_was_unclean(const struct volume *v)
{
	return v->unclean;
}
