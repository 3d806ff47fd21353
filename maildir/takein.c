/*
 * Take-in: scan, ask mimed, add, commit, settle, tell; again while files are left.
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
#include "maildir/asking.h"
#include "maildir/backlog.h"

/* Facts beyond FACTS_BUDGET end a batch; one group may go beyond it. */
enum { FACTS_BUDGET = 8 << 20, ARENA_MAX = 64 << 20 };

static struct metric taken_total = METRIC_COUNTER("store_taken_in_total", NULL,
    "Messages taken in from new/");
static struct metric lag = METRIC_HISTOGRAM("store_take_in_lag_seconds", NULL,
    "From acceptance to the row of a message that came the fast way");

struct found {
	uint32_t mailbox;
	struct str name, path;     /* path: below the account's directory */
	uint64_t size;
	int64_t mtime;
	struct str facts;          /* empty: not known yet */
};

struct takein {
	struct job job;
	struct actor *actor;
	struct arena *arena;       /* of a batch */
	struct asking *group;
	struct backlog *backlog;
	struct found *v;
	size_t n, asked;           /* asked: those before the group that is asked for */
	struct list waiters, next; /* jobs */
	bool running;
	uint32_t files;            /* of the batch */
	uint64_t bytes;
	bool more;                 /* files are left for another batch */
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
	t->group = asking_new();
	t->backlog = backlog_new();
	list_init(&t->waiters);
	list_init(&t->next);
	if (!t->arena || !t->group || !t->backlog)
		takein_free(&t);
	return t;
}

void
takein_free(struct takein **t)
{
	if (!*t)
		return;
	backlog_free(&(*t)->backlog);
	asking_free(&(*t)->group);
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

static struct str
new_dir(struct takein *t, struct str folder)
{
	return arena_printf(t->arena, "%.*s%snew", STR_ARG(folder), folder.n ? "/" : "");
}

static DIR *
open_new(struct takein *t, struct str dir)
{
	struct str path = arena_printf(t->arena, "%s/%.*s", actor_dir(t->actor), STR_ARG(dir));
	int fd = path.p ? openat(volume_blobs(actor_volume(t->actor))->dirfd, path.p,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

static bool
scan_file(struct takein *t, DIR *d, const char *file, struct str dir, struct found *ret)
{
	struct msg_name name;
	struct stat st;

	if (!name_parse(str_c(file), &name) ||
	    fstatat(dirfd(d), file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	ret->path = arena_printf(t->arena, "%.*s/%s", STR_ARG(dir), file);
	ret->name = str_skip(ret->path, dir.n + 1);
	ret->size = (uint64_t)st.st_size;
	ret->mtime = st.st_mtime;
	return ret->path.p != NULL;
}

/* The message files in a folder's new/, sorted; as many as the batch has place for. */
static void
scan_folder(struct takein *t, uint32_t mailbox, struct str folder)
{
	struct str dir = new_dir(t, folder);
	size_t from = t->n;
	struct dirent *de;
	DIR *d = dir.p ? open_new(t, dir) : NULL;

	while (d && t->n < TAKEIN_BATCH && (de = readdir(d))) {
		t->v[t->n].mailbox = mailbox;
		t->n += scan_file(t, d, de->d_name, dir, &t->v[t->n]);
	}
	if (t->n == TAKEIN_BATCH)
		t->more = true;
	if (d)
		closedir(d);
	qsort(t->v + from, t->n - from, sizeof *t->v, by_name);
}

static int
scan(struct takein *t, struct err *e)
{
	struct index *x = actor_index(t->actor);
	struct store_mailbox *m;
	struct str folder;
	size_t n;
	int r = index_list(x, t->arena, &m, &n, e);

	t->v = ARENA_ARRAY(t->arena, struct found, TAKEIN_BATCH);
	if (r == 0 && !t->v)
		r = err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < n && t->n < TAKEIN_BATCH; i++)
		if (!m[i].noselect && index_folder(x, m[i].id, t->arena, &folder, e) == 0)
			scan_folder(t, m[i].id, folder);
	return r;
}

/* ---- adding ---- */

static int
add_one(struct takein *t, const struct found *f)
{
	struct index_new n = { .mailbox = f->mailbox, .size = f->size, .base = f->name,
		.internal_date = f->mtime, .in_new = true, .facts = f->facts };
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

static void
remember_mailbox(struct takein *t, uint32_t id)
{
	if (t->n_mailboxes && t->mailboxes[t->n_mailboxes - 1] == id)
		return;
	if (t->n_mailboxes < sizeof t->mailboxes / sizeof *t->mailboxes)
		t->mailboxes[t->n_mailboxes++] = id;
}

static int
add_all(struct takein *t, struct err *e)
{
	int r = index_begin(actor_index(t->actor), e);

	for (size_t i = 0; i < t->n && r == 0; i++) {
		int added = add_one(t, &t->v[i]);

		if (added == -ESTALE || added == -EUCLEAN || added == -EIO || added == -ENOSPC)
			r = added;
		else if (added >= 0)
			remember_mailbox(t, t->v[i].mailbox);
	}
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
	asking_clear(t->group);
	arena_reset(t->arena);
	if (actor_index(a))
		backlog_run(t->backlog, a);
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
add_batch(struct takein *t, struct actor *a)
{
	struct err e = { 0 };
	int r = add_all(t, &e);

	asking_clear(t->group);
	if (r == 0 && t->files)
		r = actor_commit(a, &t->job, -1, settled, &e);
	else
		actor_failed(a, r);
	return r == 0 && t->files ? JOB_WAIT : finish(t, a);
}

static enum job_next answered(struct job *j, struct actor *a);

/* Facts stay in the arena from group to group; the files' bytes do not. */
static enum job_next
ask_group(struct takein *t, struct actor *a)
{
	asking_clear(t->group);
	for (size_t i = t->asked; i < t->n && asking_count(t->group) < ASKING_MAX; i++)
		asking_add(t->group, a, t->v[i].path, t->v[i].size);
	return asking_go(t->group, a, &t->job, answered);
}

static enum job_next
answered(struct job *j, struct actor *a)
{
	struct takein *t = LIST_ENTRY(&j->link, struct takein, job.link);
	size_t n = asking_count(t->group);

	for (size_t i = 0; i < n; i++) {
		struct str facts;

		if (asking_result(t->group, i, &facts) >= 0)
			t->v[t->asked + i].facts = arena_dup(t->arena, facts);
	}
	t->asked += n;
	if (t->asked < t->n && arena_used(t->arena) < FACTS_BUDGET)
		return ask_group(t, a);
	t->more |= t->asked < t->n;
	t->n = t->asked;
	return add_batch(t, a);
}

static enum job_next
begin_batch(struct job *j, struct actor *a)
{
	struct takein *t = LIST_ENTRY(&j->link, struct takein, job.link);
	struct err e = { 0 };
	int r;

	arena_reset(t->arena);
	t->files = t->n_mailboxes = 0;
	t->n = t->asked = 0;
	t->bytes = 0;
	t->more = false;
	r = scan(t, &e);
	if (r == 0 && t->n)
		return ask_group(t, a);
	actor_failed(a, r);
	return finish(t, a);
}

static void
failed(struct job *j, int code, const char *text)
{
	struct takein *t = LIST_ENTRY(&j->link, struct takein, job.link);

	asking_clear(t->group);
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
