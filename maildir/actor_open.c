/*
 * Opening an account's index, closing it, and dropping it when an outcome became
 * unknown: the next job opens it anew, and recovers first.
 */
#include "maildir/actor_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/proc/metrics.h"

enum { OPEN_SLACK = 32 };

static struct metric open_gauge = METRIC_GAUGE("store_open_accounts", NULL,
    "Accounts whose index is open");
static struct metric opened_total = METRIC_COUNTER("store_opens_total", NULL,
    "Indexes opened");
static struct metric lost_total = METRIC_COUNTER("store_lost_total", NULL,
    "Accounts dropped because an outcome became unknown");
static struct metric damaged_total = METRIC_COUNTER("store_damaged_total", NULL,
    "Times that an index was found damaged");
static struct metric recovered_total = METRIC_COUNTER("store_recovered_total", NULL,
    "Accounts recovered after an unclean stop");

static void
report(void *arg, enum index_finding what, const char *mailbox, uint32_t uid, const char *path,
    const char *text)
{
	struct actor *a = arg;

	LOG_WARN("store.recovered", L_HEX("account", a->account), L_U64("finding", what),
	    L_C("mailbox", mailbox), L_U64("uid", uid), L_C("path", path), L_C("text", text));
}

void
actor_report_again(struct actor *a)
{
	if (a->index)
		index_set_report(a->index, report, a);
}

/* Counts the index in, or -EAGAIN when too many are open; asks the one that was
 * not used for longest to close. */
static int
count_open(struct actor *a)
{
	struct actors *as = a->all;
	int r = 0;

	pthread_mutex_lock(&as->lock);
	if (as->n_open >= as->max_open && !list_empty(&as->idle)) {
		struct actor *old = LIST_ENTRY(as->idle.next, struct actor, idle);

		old->close = true;
		actor_schedule(old);
	}
	if (as->n_open >= as->max_open + OPEN_SLACK)
		r = -EAGAIN;
	else
		as->n_open++;
	a->is_open = r == 0;
	metric_set(&open_gauge, as->n_open);
	pthread_mutex_unlock(&as->lock);
	return r;
}

static void
count_closed(struct actor *a)
{
	pthread_mutex_lock(&a->all->lock);
	if (a->is_open)
		a->all->n_open--;
	a->is_open = false;
	metric_set(&open_gauge, a->all->n_open);
	pthread_mutex_unlock(&a->all->lock);
}

/* A damaged index is told to the admin, whoever ran into it. */
static void
note_damage(struct actor *a, int code)
{
	if (code != -EUCLEAN)
		return;
	metric_add(&damaged_total, 1);
	LOG_ERROR("store.damaged", L_HEX("account", a->account), L_C("dir", a->dir),
	    L_C("hint", "posthorn store check, posthorn store rebuild"));
}

/* What was committed before the loss may be undone by a power cut as long as no sync has
 * covered it, so the recovery must not build on it before. */
static int
sync_before_recovery(struct volume *v, struct err *e)
{
	int r = blob_sync(volume_blobs(v), -1);

	if (r < 0)
		volume_fail(v, r);
	return r < 0 ? err_sys(e, r, "%s", volume_path(v)) : 0;
}

void
actor_rebuilt(struct actor *a)
{
	pthread_mutex_lock(&a->all->lock);
	a->recover = false;
	pthread_mutex_unlock(&a->all->lock);
}

int
actor_open_index(struct actor *a, bool *ret_recovered, struct err *e)
{
	struct volume *v = a->seat->volume;
	struct index_options o = { .create = true, .run = volume_run(v), .recover = a->recover,
		.report = report, .report_arg = a };
	char *path = NULL;
	bool recovered = false;
	int r = volume_failed(v);

	if (r < 0)
		return err_set(e, -EIO, "the volume has failed");
	r = count_open(a);
	if (r < 0)
		return err_set(e, r, "too many accounts are open");
	if (asprintf(&path, "%s/%s", volume_path(v), a->dir) < 0)
		path = NULL;
	r = path ? volume_make_account(v, a->dir, e) : err_set(e, -ENOMEM, "out of memory");
	if (r == 0 && o.recover)
		r = sync_before_recovery(v, e);
	if (r == 0) {
		o.dir = path;
		r = index_open(&o, &a->index, &recovered, e);
	}
	free(path);
	if (r < 0) {
		count_closed(a);
		LOG_ERROR("store.open_failed", L_HEX("account", a->account), L_I64("code", r),
		    L_C("text", e->text));
		note_damage(a, r);
		return r;
	}
	metric_add(&opened_total, 1);
	metric_add(&recovered_total, recovered);
	actor_rebuilt(a);
	*ret_recovered = recovered;
	return 0;
}

void
actor_close_index(struct actor *a)
{
	if (!a->index)
		return;
	index_close(&a->index);
	count_closed(a);
}

void
actor_lose(struct actor *a, int code)
{
	if (a->index) {
		index_abandon(a->index);
		actor_close_index(a);
	}
	a->life++;
	ledger_unknown(volume_ledger(a->seat->volume), a->account);
	metric_add(&lost_total, 1);
	LOG_WARN("store.lost", L_HEX("account", a->account), L_I64("code", code));
	pthread_mutex_lock(&a->all->lock);
	a->lose = 0;
	a->hold = false;
	a->recover = true;
	actor_void_handles(a, UINT64_MAX);
	pthread_mutex_unlock(&a->all->lock);
}

void
actor_failed(struct actor *a, int code)
{
	note_damage(a, code);
	if (!a->index)
		return;
	if (code == -ESTALE || index_lost(a->index))
		actor_lose(a, code);
	else
		index_rollback(a->index);
}
