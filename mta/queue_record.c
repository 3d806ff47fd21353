/* Records of what happened to messages, and what follows their commit. */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/io/wire.h"
#include "mta/queued.h"

/* What waits for the commit of an update. */
struct after {
	void (*done)(void *arg, int code);
	void *arg;
};

#define RETRY_FINAL_MS 1000u

static void
call_after(struct after *a, int code)
{
	if (!a)
		return;
	a->done(a->arg, code);
	free(a);
}

static void
on_update(struct commit_entry *e, int code, const struct spool_place *at)
{
	(void)at;
	call_after(e->arg, code);
}

static void
on_final(struct commit_entry *e, int code, const struct spool_place *at)
{
	struct qmsg *m = e->m;

	(void)at;
	m->finishing = false;
	call_after(e->arg, code);
	if (!code) {
		queue_remove(&queued.q, m);
	} else {
		/* the results stand in memory; the record is tried again */
		m->next_ms = queued_now_ms() + RETRY_FINAL_MS;
		sched_message(m);
	}
	queue_unpin(&queued.q, m);
}

static int
add_update(struct qmsg *m, const struct buf *meta, bool final, bool urgent, struct after *a)
{
	struct commit_record r = { .type = final ? SPOOL_FINAL : SPOOL_UPDATE, .id = m->id,
		.seq = spool_next(queued.spool), .urgent = urgent };
	struct commit_entry e = { .id = m->id, .m = m, .done = final ? on_final : on_update,
		.arg = a };

	r.meta[0] = buf_view(meta);
	return meta->over ? -ENOMEM : commit_add(queued.commit, &r, &e);
}

void
record_update(struct qmsg *m, const struct queue_update *u, bool urgent,
    void (*done)(void *, int), void *arg)
{
	struct after *a = NULL;
	struct buf meta = { 0 };
	bool final;
	int rc;

	if (m->gone || m->finishing)
		return;
	queue_update_put(&meta, u); /* first: its texts may be of reasons that go with the next line */
	queue_apply(&queued.q, m, u);
	final = !m->n_open;
	if (done && (a = malloc(sizeof *a)))
		*a = (struct after){ done, arg };
	if (final) {
		m->finishing = true;
		queue_pin(m);
		sched_forget(m);
	}
	rc = add_update(m, &meta, final, urgent, a);
	buf_done(&meta);
	if (!rc)
		return;
	LOG_WARN("queue.record_failed", L_HEX("qid", m->id), L_C("error", strerror(-rc)));
	if (final)
		on_final(&(struct commit_entry){ .m = m, .arg = a }, rc, NULL);
	else
		call_after(a, rc);
}

/* ---- moving ---- */

static void
on_moved(struct commit_entry *e, int code, const struct spool_place *at)
{
	struct qmsg *m = e->m;

	if (!code && !m->gone)
		queue_moved(&queued.q, queued.spool, m, e->request, at);
	queue_unpin(&queued.q, m);
}

/* The fields of the record but an older summary. */
static struct str
without_update(struct str meta, struct buf *b)
{
	struct wire_field f;
	struct str walk = meta;

	while (wire_next(&walk, &f) > 0)
		if (f.tag != SPOOL_META_UPDATE)
			wire_str(b, f.tag, f.v);
	return buf_view(b);
}

int
record_move(struct qmsg *m, const struct spool_record *r)
{
	struct commit_record c = { .type = r->type, .id = m->id, .content = r->content };
	struct commit_entry e = { .id = m->id, .m = m, .done = on_moved };
	struct arena *a = arena_new(0);
	struct queue_update u;
	struct buf b = { 0 };
	size_t at;
	int rc = a ? queue_summary(m, a, &u) : -ENOMEM;

	if (!rc) {
		without_update(r->meta, &b);
		at = wire_begin(&b, SPOOL_META_UPDATE);
		queue_update_put(&b, &u);
		wire_end(&b, at);
		c.meta[0] = buf_view(&b);
		c.seq = e.request = spool_next(queued.spool);
		rc = b.over ? -ENOMEM : commit_add(queued.commit, &c, &e);
	}
	if (!rc)
		queue_pin(m);
	buf_done(&b);
	arena_free(&a);
	return rc;
}

void
record_checkpoint(uint64_t covers)
{
	struct commit_record r = { .type = SPOOL_CHECKPOINT, .id = covers };
	struct commit_entry e = { .id = covers };

	r.seq = spool_next(queued.spool);
	if (commit_add(queued.commit, &r, &e))
		LOG_WARN("queue.record_failed", L_C("error", "checkpoint record"));
}
