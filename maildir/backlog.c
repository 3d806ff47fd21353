/*
 *	list a group -> ask ... -> rows -> commit ... -> the next group
 *
 * A message whose file is gone is given the facts of an opaque one: nothing will ever
 * be known of it. What could not be asked stays; when a whole group stays the work
 * ends, and actors_unasked names the account again after a while.
 */
#include "maildir/backlog.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "maildir/asking.h"

struct backlog {
	struct job job;
	struct arena *arena;
	struct asking *group;
	struct index_unparsed *v;
	size_t n;
	uint64_t after;            /* Emails up to this one were looked at */
	bool running, left;
};

#define BACKLOG(j) LIST_ENTRY(&(j)->link, struct backlog, job.link)

struct backlog *
backlog_new(void)
{
	struct backlog *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->arena = arena_new(0);
	b->group = asking_new();
	if (!b->arena || !b->group)
		backlog_free(&b);
	return b;
}

void
backlog_free(struct backlog **bp)
{
	struct backlog *b = *bp;

	if (!b)
		return;
	asking_free(&b->group);
	arena_free(&b->arena);
	free(b);
	*bp = NULL;
}

static enum job_next
end(struct backlog *b, struct actor *a)
{
	asking_clear(b->group);
	arena_reset(b->arena);
	b->running = false;
	if (b->left)
		actor_unasked(a);
	return JOB_DONE;
}

static void
failed(struct job *j, int code, const char *text)
{
	struct backlog *b = BACKLOG(j);

	asking_clear(b->group);
	b->running = false;
}

static enum job_next next_group(struct job *j, struct actor *a);

/* The rows of the group. Returns how many, or negative. */
static int
put_rows(struct backlog *b, struct actor *a, struct err *e)
{
	int done = 0, r = index_begin(actor_index(a), e);

	for (size_t i = 0; r == 0 && i < b->n; i++) {
		struct str facts = STR_NULL;
		int got = asking_result(b->group, i, &facts);

		if (got < 0 && got != -ENOENT) {
			b->left = true;
			continue;
		}
		r = index_set_facts(actor_index(a), b->v[i].email, facts, e);
		if (r == -ENOENT) /* expunged meanwhile */
			r = 0;
		else if (r == 0)
			done++;
	}
	return r < 0 ? r : done;
}

static enum job_next
answered(struct job *j, struct actor *a)
{
	struct backlog *b = BACKLOG(j);
	struct err e = { 0 };
	int r = put_rows(b, a, &e);

	if (r > 0)
		r = actor_commit(a, j, -1, next_group, &e);
	else if (r == 0)
		index_rollback(actor_index(a));
	else
		actor_failed(a, r);
	if (r == 0 && j->commit)
		return JOB_WAIT;
	if (r < 0)
		LOG_ERROR("store.backlog_failed", L_HEX("account", actor_account(a)), L_I64("code", r),
		    L_C("text", e.text));
	return end(b, a);
}

static enum job_next
next_group(struct job *j, struct actor *a)
{
	struct backlog *b = BACKLOG(j);
	struct err e = { 0 };
	int r;

	asking_clear(b->group);
	arena_reset(b->arena);
	r = index_unparsed(actor_index(a), b->after, ASKING_MAX, b->arena, &b->v, &b->n, &e);
	if (r < 0)
		actor_failed(a, r);
	if (r < 0 || b->n == 0)
		return end(b, a);
	for (size_t i = 0; i < b->n; i++)
		asking_add(b->group, a, b->v[i].path, b->v[i].size);
	b->after = b->v[b->n - 1].email;
	return asking_go(b->group, a, j, answered);
}

void
backlog_run(struct backlog *b, struct actor *a)
{
	if (b->running)
		return;
	b->running = true;
	b->left = false;
	b->after = 0;
	b->job.step = next_group;
	b->job.fail = failed;
	actor_start(a, &b->job);
}
