/*
 *	delivered rows below the mark, index_upkeep, slices of ROWS, one commit each
 *	-> snapshot, slices of PAGES -> index_idle
 */
#include "maildir/upkeep.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/proc/metrics.h"

enum { ROWS = 500, PAGES = 256 };

static struct metric snapshots_total = METRIC_COUNTER("store_snapshots_total", NULL,
    "Snapshots of indexes that were completed");
static struct metric upkeeps_total = METRIC_COUNTER("store_upkeeps_total", NULL,
    "Upkeeps of idle accounts");
static _Atomic unsigned at_work;

static enum job_next
end(struct job *j)
{
	free(j);
	atomic_fetch_sub(&at_work, 1);
	return JOB_DONE;
}

static void
failed(struct job *j, int code, const char *text)
{
	end(j);
}

static enum job_next
trouble(struct job *j, struct actor *a, int r, const struct err *e)
{
	LOG_WARN("store.upkeep_failed", L_HEX("account", actor_account(a)), L_I64("code", r),
	    L_C("text", e->text));
	actor_failed(a, r);
	return end(j);
}

static enum job_next
snapshot(struct job *j, struct actor *a)
{
	struct err e = { 0 };
	int r = 0;

	if (index_snapshot_due(actor_index(a))) {
		r = index_snapshot_step(actor_index(a), PAGES, &e);
		if (r > 0)
			return actor_yield(a, j, snapshot);
		metric_add(&snapshots_total, r == 0);
	}
	if (r < 0)
		return trouble(j, a, r, &e);
	index_idle(actor_index(a));
	metric_add(&upkeeps_total, 1);
	return end(j);
}

static enum job_next
rows(struct job *j, struct actor *a)
{
	struct err e = { 0 };
	int more, r = index_begin(actor_index(a), &e);

	if (r == 0)
		r = actor_prune(a, &e);
	more = r == 0 ? index_upkeep(actor_index(a), ROWS, &e) : r;
	if (more < 0)
		return trouble(j, a, more, &e);
	r = actor_commit_lazily(a, &e);
	if (r < 0) /* rolled back, or lost, already */
		return end(j);
	return actor_yield(a, j, more ? rows : snapshot);
}

bool
upkeep_post(struct actors *as, struct volume_seat *seat, uint64_t account)
{
	struct job *j;

	if (atomic_load(&at_work) >= UPKEEP_AT_ONCE)
		return false;
	j = calloc(1, sizeof *j);
	if (!j)
		return false;
	j->step = rows;
	j->fail = failed;
	j->quiet = true;
	atomic_fetch_add(&at_work, 1);
	if (actor_post(as, seat, account, j) < 0)
		end(j);
	return true;
}
