/* The admin's verbs; see lib/client/queue_admin.h. Each runs on a coroutine of
 * its own and lets other work go on between messages. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/client/control.h"
#include "lib/client/queue_admin.h"
#include "mta/queued.h"

#define PART_ROWS 200u
#define PART_BYTES (128u << 10)
#define UNSENT_MAX ((size_t)4 << 20)
#define STEP 500u
#define SITES_BYTES (900u << 10)

static const char *const state_names[] = { "active", "deferred", "held" };
static const char *const rcpt_names[RCPT_STATES] = { "waiting", "delivered", "returned", "removed",
	"failed", "bounced", "dropped", "delivered", "relayed",
	"expanded" };

/* ---- which ---- */

static bool
matches(const struct qmsg *m, const struct queue_admin *q)
{
	bool rcpt = !q->rcpt.n && !q->domain.n && !q->site.n;

	if (m->finishing || (q->state.n && !str_eq(q->state, str_c(state_names[m->state]))) ||
	    (q->sender.n && !str_ieq(q->sender, qmsg_sender(m))) ||
	    (q->older_ms && m->arrived_us / 1000 + q->older_ms > queued_now_ms()))
		return false;
	for (uint32_t i = 0; i < m->n_rcpts && !rcpt; i++) {
		struct str a = qrcpt_address(m, &m->rcpts[i]);
		ptrdiff_t at = str_rchr(a, '@');

		rcpt = (!q->rcpt.n || str_ieq(a, q->rcpt)) &&
		    (!q->site.n || why_leads_to(&m->rcpts[i], q->site)) &&
		    (!q->domain.n || str_ieq(str_skip(a, (size_t)(at + 1)), q->domain));
	}
	return rcpt;
}

static bool
has_filter(const struct queue_admin *q)
{
	return q->sender.n || q->rcpt.n || q->domain.n || q->state.n || q->site.n || q->older_ms;
}

/* The ids that are meant. */
static int
choose(const struct queue_admin *q, uint64_t **ret, size_t *ret_n)
{
	size_t cap = q->n_ids ? q->n_ids : queued.q.messages, n = 0;
	uint64_t *v = calloc(cap + 1, sizeof *v);
	struct qmsg *m;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < q->n_ids; i++) {
		m = queue_find(&queued.q, q->ids[i]);
		if (m && matches(m, q))
			v[n++] = m->id;
	}
	if (!q->n_ids)
		LIST_FOREACH(m, &queued.q.all, struct qmsg, all)
			if (n < cap && matches(m, q) && (!q->limit || n < q->limit))
				v[n++] = m->id;
	*ret = v;
	*ret_n = n;
	return 0;
}

static void
answer_error(struct peer *p, uint64_t request, int code, const char *text)
{
	chan_answer_error(p, request, MSG_QUEUE_ADMIN,
	    &(struct wire_error){ .code = code, .text = str_c(text) });
}

static void
answer_summary(struct peer *p, uint64_t request, const struct queue_summary *s)
{
	struct buf b = { 0 };

	queue_summary_put(&b, s);
	chan_answer(p, request, MSG_QUEUE_ADMIN, &b, -1);
	buf_done(&b);
}

/* ---- list, show ---- */

static void
rcpt_row(const struct qmsg *m, const struct qrcpt *q, struct arena *why, struct queue_row_rcpt *ret)
{
	*ret = (struct queue_row_rcpt){
		.address = qrcpt_address(m, q),
		.state = str_c(rcpt_names[q->state]),
	};
	if (q->why) {
		ret->smtp = q->why->smtp;
		ret->enhanced = q->why->enhanced;
		ret->text = q->why->text;
		ret->mta = q->why->mta;
	}
	if (why) {
		ret->site = why_site(q);
		ret->why = why_waits(m, q, why);
	}
}

/* all: recipients that are final too. why: the arena for what they wait for, or NULL. */
static void
row_put(struct buf *b, const struct qmsg *m, bool all, struct arena *why)
{
	struct queue_row r = {
		.id = m->id, .size = m->size, .arrived_us = m->arrived_us, .next_ms = m->next_ms,
		.attempts = m->attempts, .state = str_c(state_names[m->state]),
		.sender = qmsg_sender(m), .tenant = m->tenant->name, .n_rcpts = m->n_rcpts,
		.n_open = m->n_open, .uncertain = m->flags & MSG_UNCERTAIN,
	};

	r.rcpts = calloc(m->n_rcpts + 1u, sizeof *r.rcpts);
	for (uint32_t i = 0; r.rcpts && i < m->n_rcpts && (all || r.n < 20); i++) {
		const struct qrcpt *q = &m->rcpts[i];

		if (!all && !qrcpt_is_open(q))
			continue;
		rcpt_row(m, q, why, &r.rcpts[r.n++]);
	}
	queue_row_put(b, &r);
	free(r.rcpts);
}

static void
send_part(struct peer *p, uint64_t request, struct buf *b, bool more)
{
	if (more)
		control_more(b);
	chan_answer(p, request, MSG_QUEUE_ADMIN, b, -1);
	buf_clear(b);
	while (chan_peer_unsent(p) > UNSENT_MAX)
		co_sleep(5);
}

static void
do_list(struct peer *p, uint64_t request, const struct queue_admin *q)
{
	struct arena *a = arena_new(0);
	struct buf b = { 0 };
	uint64_t *ids;
	size_t n, rows = 0;

	if (!a || choose(q, &ids, &n)) {
		answer_error(p, request, -ENOMEM, "out of memory");
		arena_free(&a);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct qmsg *m = queue_find(&queued.q, ids[i]);

		if (m)
			row_put(&b, m, q->verb != QUEUE_LIST, q->verb == QUEUE_WHY ? a : NULL);
		if (++rows < PART_ROWS && b.n < PART_BYTES)
			continue;
		rows = 0;
		arena_reset(a);
		send_part(p, request, &b, true);
		co_yield();
	}
	send_part(p, request, &b, false);
	buf_done(&b);
	arena_free(&a);
	free(ids);
}

static void
put_site(void *arg, const struct queue_site *s)
{
	struct buf *b = arg;

	if (b->n < SITES_BYTES)
		queue_site_put(b, s);
}

/* All in one frame, or as many as it takes. */
static void
do_sites(struct peer *p, uint64_t request)
{
	struct buf b = { 0 };

	why_sites(put_site, &b);
	send_part(p, request, &b, false);
	buf_done(&b);
}

/* ---- cat ---- */

struct cat {
	struct co *co;
	struct spool_place at;
	uint64_t id, file, size;
	void *mem;
	struct spool_record r;
	int fd, code;
	bool done;
};

static void
cat_open(void *arg)
{
	struct cat *c = arg;

	if (c->file) {
		c->fd = spool_large_open(queued.spool, c->file, c->size);
		c->code = c->fd < 0 ? c->fd : 0;
		return;
	}
	c->mem = malloc(c->at.len);
	c->code = c->mem ? spool_read(queued.spool, &c->at, c->id, c->mem, &c->r) : -ENOMEM;
}

static void
cat_wake(void *arg)
{
	struct cat *c = arg;

	c->done = true;
	co_wake(c->co);
}

static int
on_worker(struct cat *c, void (*run)(void *))
{
	c->done = false;
	c->co = co_self();
	if (work_post(queued.io, run, cat_wake, c))
		return -ENOMEM;
	while (!c->done)
		co_wait(-1);
	return c->code;
}

static void
do_cat(struct peer *p, uint64_t request, const struct queue_admin *q)
{
	struct qmsg *m = q->n_ids == 1 ? queue_find(&queued.q, q->ids[0]) : NULL;
	struct cat c = { .fd = -1 };
	struct buf b = { 0 };
	int rc;

	if (!m) {
		answer_error(p, request, -ENOENT, "no such message");
		return;
	}
	c.at = (struct spool_place){ m->seg, m->rec_len, m->off };
	c.id = m->id, c.file = m->large, c.size = m->size;
	spool_read_begin(queued.spool, c.at.seg);
	rc = on_worker(&c, cat_open);
	spool_read_end(queued.spool, c.at.seg);
	if (rc)
		answer_error(p, request, rc, "the message cannot be read");
	if (!rc && !c.file)
		queue_piece_put(&b, c.r.content);
	/* a large message goes as the descriptor of its file */
	if (!rc)
		chan_answer(p, request, MSG_QUEUE_ADMIN, &b, c.fd);
	buf_done(&b);
	free(c.mem);
}

/* ---- verbs that change ---- */

struct change {
	struct co *co;
	unsigned waiting;
	uint64_t touched;
	int code;
};

static void
changed(void *arg, int code)
{
	struct change *c = arg;

	c->waiting--;
	if (code)
		c->code = code;
	co_wake(c->co);
}

static void
remove_all(struct qmsg *m, struct queue_update *u)
{
	u->results = calloc(m->n_rcpts + 1u, sizeof *u->results);
	for (uint32_t i = 0; u->results && i < m->n_rcpts; i++)
		if (qrcpt_is_open(&m->rcpts[i]))
			u->results[u->n_results++] = (struct rcpt_result){ .index = i,
				.state = RCPT_REMOVED };
}

/* All that waits fails; what is being delivered now does as it will. */
static void
give_up(struct qmsg *m, struct queue_update *u)
{
	u->clear = MSG_HELD | MSG_UNCERTAIN;
	u->results = calloc(m->n_rcpts + 1u, sizeof *u->results);
	for (uint32_t i = 0; u->results && i < m->n_rcpts; i++) {
		struct qrcpt *r = &m->rcpts[i];

		if (r->state != RCPT_WAITING || r->flags & RCPT_BUSY)
			continue;
		r->flags &= (uint8_t)~RCPT_COVERED;
		u->results[u->n_results++] = (struct rcpt_result){ .index = i, .smtp = 554,
			.state = deliver_failed(m, r), .enhanced = STR("5.0.0"),
			.text = STR("Returned by the administrator") };
		deliver_log(m, &u->results[u->n_results - 1]);
	}
}

/* Where the message leads is tried at once, whatever is known of it. */
static void
resume_sites(const struct qmsg *m)
{
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		struct qdest *d = m->rcpts[i].route == ROUTE_REMOTE ? dest_of(&m->rcpts[i]) : NULL;

		if (d && d->kind == DEST_SITE)
			dest_resume(d);
	}
}

static void
change_one(struct qmsg *m, enum queue_verb verb, struct change *c)
{
	struct queue_update u = { 0 };

	if (verb == QUEUE_HOLD)
		u.set = MSG_HELD;
	if (verb == QUEUE_RELEASE)
		u.clear = MSG_HELD | MSG_UNCERTAIN;
	if (verb == QUEUE_BOUNCE)
		give_up(m, &u);
	if (verb == QUEUE_RETRY)
		resume_sites(m);
	if (verb == QUEUE_RELEASE || verb == QUEUE_RETRY || verb == QUEUE_BOUNCE) {
		u.has_next = true;
		u.next_ms = queued_now_ms();
	}
	if (verb == QUEUE_DELETE) {
		LOG_INFO("queue.deleted", L_HEX("qid", m->id), L_STR("from", qmsg_sender(m)),
		    L_U64("size", m->size));
		remove_all(m, &u);
	}
	c->waiting++;
	c->touched++;
	record_update(m, &u, true, changed, c);
	free(u.results);
	sched_message(m);
}

static void
do_change(struct peer *p, uint64_t request, const struct queue_admin *q)
{
	struct queue_summary s = { 0 };
	struct change c = { .co = co_self() };
	uint64_t *ids;
	size_t n;

	if (!q->n_ids && !q->all && !has_filter(q)) {
		answer_error(p, request, -EINVAL, "say which messages, or all");
		return;
	}
	if (choose(q, &ids, &n)) {
		answer_error(p, request, -ENOMEM, "out of memory");
		return;
	}
	for (size_t i = 0; i < n && !q->dry_run; i++) {
		struct qmsg *m = queue_find(&queued.q, ids[i]);

		if (m && !m->finishing)
			change_one(m, q->verb, &c);
		while (c.waiting > STEP)
			co_wait(-1);
	}
	while (c.waiting)
		co_wait(-1);
	s.touched = q->dry_run ? n : c.touched;
	if (c.code)
		answer_error(p, request, c.code, "the change could not be recorded");
	else
		answer_summary(p, request, &s);
	free(ids);
}

/* ---- hold --new: a file in the spool says it ---- */

const char *
admin_spool_path(void)
{
	static char path[4096];
	struct str d = queued.settings->spool_dir;

	if (!d.n || d.n >= sizeof path)
		return "";
	memcpy(path, d.p, d.n);
	path[d.n] = '\0';
	return path;
}

static void
hold_path(struct buf *b)
{
	buf_puts(b, admin_spool_path());
	buf_puts(b, "/hold-new");
}

bool
admin_hold_new_load(void)
{
	struct buf b = { 0 };
	bool on;

	hold_path(&b);
	on = !access(buf_cstr(&b), F_OK);
	buf_done(&b);
	return on;
}

static int
hold_new_save(bool on)
{
	struct buf b = { 0 };
	int fd, rc = 0;

	hold_path(&b);
	if (on) {
		fd = open(buf_cstr(&b), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		rc = fd < 0 || fsync(fd) ? -errno : 0;
		if (fd >= 0)
			close(fd);
	} else if (unlink(buf_cstr(&b)) && errno != ENOENT) {
		rc = -errno;
	}
	buf_done(&b);
	return rc;
}

static void
do_hold_new(struct peer *p, uint64_t request, bool on)
{
	int rc = hold_new_save(on);

	if (rc) {
		answer_error(p, request, rc, "the spool cannot be written");
		return;
	}
	queued.hold_new = on;
	LOG_INFO("queue.hold_new", L_C("on", on ? "yes" : "no"));
	answer_summary(p, request, &(struct queue_summary){ .hold_new = on });
}

/* ---- summary ---- */

static void
do_summary(struct peer *p, uint64_t request)
{
	struct queue_summary s = {
		.messages = queued.q.messages, .recipients = queued.q.recipients,
		.bytes = queued.q.bytes, .active = queued.q.in_state[QS_ACTIVE],
		.deferred = queued.q.in_state[QS_DEFERRED], .held = queued.q.in_state[QS_HELD],
		.undeliverable = queued.q.undeliverable, .tenants = queued.q.tenants.n - queued.q.n_idle_tenants,
		.hold_new = queued.hold_new, .pressure = queued.pressure,
	};
	struct spool_usage u;

	spool_usage(queued.spool, &u);
	s.segments = u.segments;
	s.ready = u.ready;
	s.disk_bytes = u.disk_bytes;
	s.disk_free = u.disk_free;
	s.failed = u.failed;
	if (!list_empty(&queued.q.all))
		s.oldest_ms = queued_now_ms() -
		    LIST_ENTRY(queued.q.all.next, struct qmsg, all)->arrived_us / 1000;
	answer_summary(p, request, &s);
}

void
admin_request(struct peer *p, struct frame *f)
{
	struct arena *a = arena_new(0);
	struct queue_admin q;

	chan_peer_ref(p);
	if (!a || queue_admin_get(f->body, a, &q))
		answer_error(p, f->id, -EPROTO, "malformed request");
	else if (q.verb == QUEUE_LIST || q.verb == QUEUE_SHOW || q.verb == QUEUE_WHY)
		do_list(p, f->id, &q);
	else if (q.verb == QUEUE_SITES)
		do_sites(p, f->id);
	else if (q.verb == QUEUE_CAT)
		do_cat(p, f->id, &q);
	else if (q.verb == QUEUE_SUMMARY)
		do_summary(p, f->id);
	else if (q.verb == QUEUE_HOLD_NEW)
		do_hold_new(p, f->id, q.on);
	else if ((q.verb >= QUEUE_RETRY && q.verb <= QUEUE_DELETE) || q.verb == QUEUE_BOUNCE)
		do_change(p, f->id, &q);
	else
		answer_error(p, f->id, -ENOSYS, "no such request");
	arena_free(&a);
	chan_peer_unref(&p);
}
