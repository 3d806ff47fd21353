/*
 * Take-in: scan, add, commit, settle, tell; again while files are left.
 *
 * Files go in by name, which begins with the time of acceptance, so UIDs follow
 * arrival. A file that the index knows (index_add says 1) is finished by settle. A
 * name that is no message's, or a file that cannot be added, is left where it is
 * and logged: nothing is dropped, and one bad file locks nobody out.
 */
#include "maildir/takein.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"

enum { ARENA_MAX = 16 << 20 };

static struct metric taken_total = METRIC_COUNTER("store_taken_in_total", NULL,
    "Messages taken in from new/");
static struct metric lag = METRIC_HISTOGRAM("store_take_in_lag_seconds", NULL,
    "From acceptance to the row of a message that came the fast way");

struct found {
	struct str name;
	uint64_t size;
	int64_t mtime;
};

struct takein {
	struct job job;
	struct actor *actor;
	struct arena *arena;       /* of a batch */
	struct list waiters, next; /* jobs */
	bool running;
	uint32_t files;            /* of the batch */
	uint64_t bytes;
	bool more;                 /* the scan stopped at its bound */
	bool refused;              /* a file could not be added: do not try it again now */
	uint32_t mailboxes[64];    /* that got messages */
	unsigned n_mailboxes;
};

struct takein *
takein_new(struct actor *a)
{
	struct takein *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->actor = a;
	t->arena = arena_new(ARENA_MAX);
	list_init(&t->waiters);
	list_init(&t->next);
	if (!t->arena) {
		free(t);
		return NULL;
	}
	return t;
}

void
takein_free(struct takein **t)
{
	if (!*t)
		return;
	arena_free(&(*t)->arena);
	free(*t);
	*t = NULL;
}

/* ---- scanning ---- */

static int
by_name(const void *a, const void *b)
{
	return str_cmp(((const struct found *)a)->name, ((const struct found *)b)->name);
}

/* The message files in an open directory, sorted; the first `max` that it names. */
static size_t
scan(struct takein *t, DIR *d, struct found *v, size_t max)
{
	struct dirent *de;
	struct msg_name name;
	struct stat st;
	size_t n = 0;

	while (n < max && (de = readdir(d))) {
		if (!name_parse(str_c(de->d_name), &name) ||
		    fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		v[n].name = arena_dup(t->arena, str_c(de->d_name));
		v[n].size = (uint64_t)st.st_size;
		v[n].mtime = st.st_mtime;
		n += v[n].name.p != NULL;
	}
	if (n == max)
		t->more = true;
	qsort(v, n, sizeof *v, by_name);
	return n;
}

static DIR *
open_new(struct takein *t, struct str folder)
{
	struct str path = arena_printf(t->arena, "%s/%.*s%snew", actor_dir(t->actor), STR_ARG(folder),
	    folder.n ? "/" : "");
	int fd = path.p ? openat(volume_blobs(actor_volume(t->actor))->dirfd, path.p,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* ---- adding ---- */

static int
add_one(struct takein *t, uint32_t mailbox, const struct found *f)
{
	struct index_new n = { .mailbox = mailbox, .size = f->size, .base = f->name,
		.internal_date = f->mtime, .in_new = true };
	struct index_added added;
	struct msg_name name;
	struct err e = { 0 };
	int r;

	name_parse(f->name, &name);
	if (name.origin == NAME_DELIVERED)
		n.spool_id = name.id;
	if (name.time_us)
		n.internal_date = (int64_t)(name.time_us / 1000000);
	r = index_add(actor_index(t->actor), &n, t->arena, &added, &e);
	if (r < 0) {
		t->refused = true;
		LOG_ERROR("store.take_in_failed", L_HEX("account", actor_account(t->actor)),
		    L_STR("file", f->name), L_I64("code", r), L_C("text", e.text));
		return r;
	}
	if (name.time_us && clock_real_us() > name.time_us)
		metric_observe_us(&lag, clock_real_us() - name.time_us);
	LOG_INFO("store.taken_in", L_HEX("account", actor_account(t->actor)),
	    L_HEX("qid", n.spool_id), L_HEX("email", added.email), L_U64("uid", added.uid));
	t->files++;
	t->bytes += f->size;
	return r;
}

static int
add_folder(struct takein *t, const struct store_mailbox *m)
{
	struct found *v;
	struct str folder;
	struct err e;
	uint32_t before = t->files;
	size_t n;
	DIR *d;

	if (index_folder(actor_index(t->actor), m->id, t->arena, &folder, &e) < 0)
		return 0;
	d = open_new(t, folder);
	v = d ? ARENA_ARRAY(t->arena, struct found, TAKEIN_BATCH) : NULL;
	n = v ? scan(t, d, v, TAKEIN_BATCH - t->files) : 0;
	if (d)
		closedir(d);
	for (size_t i = 0; i < n; i++) {
		int r = add_one(t, m->id, &v[i]);

		if (r == -ESTALE || r == -EUCLEAN || r == -EIO || r == -ENOSPC)
			return r;
	}
	if (t->files > before && t->n_mailboxes < sizeof t->mailboxes / sizeof *t->mailboxes)
		t->mailboxes[t->n_mailboxes++] = m->id;
	return 0;
}

static int
add_batch(struct takein *t, struct err *e)
{
	struct index *x = actor_index(t->actor);
	struct store_mailbox *v;
	size_t n;
	int r = index_list(x, t->arena, &v, &n, e);

	if (r == 0)
		r = index_begin(x, e);
	for (size_t i = 0; i < n && r == 0 && t->files < TAKEIN_BATCH; i++)
		if (!v[i].noselect)
			r = add_folder(t, &v[i]);
	if (r == 0 && t->files)
		r = actor_prune(t->actor, e);
	return r;
}

/* ---- the steps ---- */

static enum job_next begin_batch(struct job *j, struct actor *a);

static void
move_list(struct list *from, struct list *to)
{
	struct list *l;

	while ((l = list_pop(from)))
		list_push(to, l);
}

static void
resume_all(struct list *waiters)
{
	struct list *l;

	while ((l = list_pop(waiters)))
		actor_resume(LIST_ENTRY(l, struct job, link));
}

/* Nothing is left in new/ of what stood there: the waiters go on; those who came
 * meanwhile get a scan of their own. */
static enum job_next
finish(struct takein *t, struct actor *a)
{
	struct index_stat st;

	if (actor_index(a)) {
		index_stat(actor_index(a), &st);
		ledger_known(volume_ledger(actor_volume(a)), actor_account(a), st.bytes, 0);
	}
	resume_all(&t->waiters);
	arena_reset(t->arena);
	if (!actor_index(a)) /* lost: theirs is the same news */
		resume_all(&t->next);
	if (list_empty(&t->next)) {
		t->running = false;
		return JOB_DONE;
	}
	move_list(&t->next, &t->waiters);
	t->refused = false;
	return begin_batch(&t->job, a);
}

static enum job_next
settled(struct job *j, struct actor *a)
{
	struct takein *t = LIST_ENTRY(&j->link, struct takein, job.link);
	struct index_stat st;

	index_stat(actor_index(a), &st);
	ledger_taken(volume_ledger(actor_volume(a)), actor_account(a), st.bytes, t->files, t->bytes);
	metric_add(&taken_total, t->files);
	for (unsigned i = 0; i < t->n_mailboxes; i++)
		actor_event(a, t->mailboxes[i], st.modseq);
	if (t->more && !t->refused)
		return begin_batch(j, a);
	return finish(t, a);
}

static enum job_next
begin_batch(struct job *j, struct actor *a)
{
	struct takein *t = LIST_ENTRY(&j->link, struct takein, job.link);
	struct err e = { 0 };
	int r;

	arena_reset(t->arena);
	t->files = t->n_mailboxes = 0;
	t->bytes = 0;
	t->more = false;
	r = add_batch(t, &e);
	if (r == 0 && t->files)
		r = actor_commit(a, j, -1, settled, &e);
	else
		actor_failed(a, r);
	if (r == 0 && t->files)
		return JOB_WAIT;
	return finish(t, a);
}

static void
failed(struct job *j, int code, const char *text)
{
	struct takein *t = LIST_ENTRY(&j->link, struct takein, job.link);

	resume_all(&t->waiters);
	resume_all(&t->next);
	t->running = false;
}

void
takein_run(struct takein *t, struct job *waiter)
{
	if (t->running) {
		list_push(&t->next, &waiter->link);
		return;
	}
	t->running = true;
	t->refused = false;
	list_push(&t->waiters, &waiter->link);
	t->job.step = begin_batch;
	t->job.fail = failed;
	actor_start(t->actor, &t->job);
}
