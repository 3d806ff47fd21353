/*
 * queued: owns the spool. It takes messages from smtpd and submitd, answers when
 * they are durable, hands them on to the store, and keeps trying. See queued.h
 * for its parts, spool.h for what is on disk.
 */
#include "mta/queued.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/queue.h"

#define READY_SEGMENTS 4u
#define DRAIN_MS 5000u

struct queued queued;

static struct confine_spec confinement = { .kind = CONFINE_STORE };

static void
on_remove(void *arg, struct qmsg *m)
{
	(void)arg;
	upkeep_forget(m);
	expire_forget(m);
	sched_forget(m);
	spool_unref(queued.spool, m->seg, m->rec_len);
	if (m->large)
		spool_large_remove(queued.spool, m->large);
}

/* ---- opening ---- */

static int
visit_record(void *arg, const struct spool_record *r, const struct spool_place *at)
{
	int rc = queue_visit_record(arg, r, at);

	if (!rc || rc == -ENOMEM)
		return rc;
	LOG_ERROR("queue.damage", L_U64("segment", at->seg), L_U64("offset", at->off),
	    L_U64("length", at->len), L_C("what", "record not understood"), L_HEX("qid", r->id));
	return 0;
}

static void
on_damage(void *arg, const char *file, uint64_t off, uint64_t len, const char *what)
{
	(void)arg;
	LOG_ERROR("queue.damage", L_C("file", file), L_U64("offset", off), L_U64("length", len),
	    L_C("what", what));
}

struct sweep {
	struct map named;
	unsigned removed;
};

static void
sweep_file(void *arg, uint64_t file, uint64_t size)
{
	struct sweep *s = arg;

	if (!map_get(&s->named, file) && !spool_large_remove(queued.spool, file))
		s->removed++;
	(void)size;
}

/* Files of large messages that no message names were never acknowledged, or are
 * finished. Not after damage: then a lost record may have named one. */
static void
sweep_large(void)
{
	struct sweep s = { 0 };
	struct qmsg *m;

	if (queued.recovery.damaged || queued.recovery.checkpoint_lost)
		return;
	LIST_FOREACH(m, &queued.q.all, struct qmsg, all)
		if (m->large)
			map_set(&s.named, m->large, m);
	spool_large_list(queued.spool, sweep_file, &s);
	map_done(&s.named);
}

static void
log_recovery(uint64_t us)
{
	const struct spool_recovery *r = &queued.recovery;

	if (r->torn_off)
		LOG_WARN("queue.torn_tail", L_C("file", r->torn_file), L_U64("offset", r->torn_off));
	if (r->checkpoint_lost)
		LOG_ERROR("queue.checkpoint_lost",
		    L_C("text", "messages that may have been finished are held"));
	LOG_INFO("queue.recovered", L_U64("messages", queued.q.messages),
	    L_U64("recipients", queued.q.recipients), L_U64("segments", r->segments),
	    L_U64("scanned", r->scanned), L_U64("records", r->records),
	    L_U64("damaged", r->damaged), L_C("clean", r->clean ? "yes" : "no"),
	    L_U64("ms", us / 1000));
}

static int
open_spool(struct err *e)
{
	const struct settings *st = queued.settings;
	char *dir = strndup(st->spool_dir.p, st->spool_dir.n);
	struct spool_options o = {
		.dir = dir,
		.segment_size = st->spool_segment_size,
		.ready = READY_SEGMENTS,
		.size_limit = st->spool_size_limit,
		.min_free = st->spool_min_free,
	};
	struct spool_visitor v = { &queued.q, queue_visit_entry, visit_record, on_damage };
	uint64_t t = clock_us();
	int rc = dir ? spool_open(&o, &v, &queued.spool, &queued.recovery, e) : -ENOMEM;

	free(dir);
	if (rc)
		return rc;
	queue_recovered(&queued.q, queued.spool, &queued.recovery);
	dedup_expire(&queued.q.dedup, queued_now_ms());
	sweep_large();
	log_recovery(clock_us() - t);
	return 0;
}

static int
queued_init(struct service *s, struct err *e)
{
	int rc;

	queued.service = s;
	queued.loop = service_loop(s);
	queued.settings = service_settings(s);
	queued.configured = 1;
	queued.arena = arena_new((size_t)16 << 20);
	list_init(&queued.streams);
	list_init(&queued.peers);
	queue_init(&queued.q, queued.settings->queue_recipient_limit);
	if (!queued.arena)
		return err_set(e, -ENOMEM, "out of memory");
	rc = open_spool(e);
	if (rc)
		return rc;
	queued.q.on_remove = on_remove;
	queued.hold_new = admin_hold_new_load();
	confinement.paths[0] = (struct confine_path){ admin_spool_path(), true };
	return 0;
}

static void
schedule_all(void)
{
	struct qmsg *m;

	LIST_FOREACH(m, &queued.q.all, struct qmsg, all)
		sched_message(m);
}

static void
on_maild(void *arg, struct chan *c, bool up)
{
	(void)arg;
	for (unsigned i = 0; up && i < queued.n_mailds; i++)
		if (chan_to(ROLE_MAILD, i) == c)
			dest_maild_up(i);
}

static int
queued_start(struct service *s, struct err *e)
{
	(void)s;
	queued.commit = commit_new(queued.loop, queued.spool, e);
	queued.io = work_new(queued.loop, e);
	queued.large = work_new(queued.loop, e);
	queued.fill = work_new(queued.loop, e);
	if (!queued.commit || !queued.io || !queued.large || !queued.fill)
		return e->code;
	dest_init();
	chan_on_state(ROLE_MAILD, on_maild, NULL);
	schedule_all();
	upkeep_start();
	expire_start();
	return 0;
}

static void
queued_config(struct service *s, const struct settings *n)
{
	(void)s;
	queued.settings = n;
	queued.configured++;
	dest_configure();
}

static void
queued_peer(struct service *s, struct peer *p, bool up)
{
	(void)s;
	accept_peer(p, up);
}

/* ---- stopping ---- */

static struct timer drain;
static uint64_t drain_until;

/* The end mark says that nothing is unknown: every delivery was answered, and the
 * checkpoint has what no record says (which recipients may be done). */
static void
last_checkpoint_done(int code)
{
	unsigned unanswered = queued.running;

	commit_free(&queued.commit);
	if (!unanswered && !code)
		code = spool_commit_end(queued.spool);
	LOG_INFO("queue.stopped", L_U64("messages", queued.q.messages), L_I64("code", code),
	    L_U64("unanswered", unanswered));
	service_stopped(queued.service);
}

static void
on_drain(void *arg)
{
	(void)arg;
	if ((queued.running || commit_pending(queued.commit)) && clock_ms() < drain_until) {
		loop_timer(queued.loop, &drain, 20, on_drain, NULL);
		return;
	}
	upkeep_last_checkpoint(last_checkpoint_done);
}

static void
queued_stop(struct service *s)
{
	(void)s;
	if (queued.stopping)
		return;
	queued.stopping = true;
	drain_until = clock_ms() + DRAIN_MS;
	on_drain(NULL);
}

static const struct msg_handler handlers[] = {
	{ MSG_QUEUE_ACCEPT, "accept", accept_message, 0 },
	{ MSG_QUEUE_CHUNK, "chunk", accept_chunk, 0 },
	{ MSG_QUEUE_ABORT, "abort", accept_abort, 0 },
	{ MSG_QUEUE_FLUSH, "flush", flush_request, MSG_CO },
	{ MSG_QUEUE_ADMIN, "admin", admin_request, MSG_CO },
};

int
main(int argc, char **argv)
{
	static const struct service_spec spec = {
		.role = ROLE_QUEUED,
		.handlers = handlers,
		.n_handlers = sizeof handlers / sizeof *handlers,
		.init = queued_init,
		.start = queued_start,
		.config = queued_config,
		.peer = queued_peer,
		.stop = queued_stop,
		.confine = &confinement,
	};

	return service_run(&spec, argc, argv);
}
