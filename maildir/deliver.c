/*
 * Deliveries; see deliver.h.
 *
 *	frame -> draft -> each recipient: fast: new/ ... one sync           -> outcome
 *	                                  actor: facts ... row ... its sync -> outcome
 *	      -> all outcomes are there: answer, draft removed
 *
 * `pending` counts the recipients without outcome, plus one for the frame itself
 * while it is handed out; whoever takes it to zero answers.
 */
#include "maildir/deliver.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proc/metrics.h"
#include "maildir/inquiry.h"

static struct metric fast_total = METRIC_COUNTER("store_deliveries_total",
    "way=\"fast\"", "Deliveries by way");
static struct metric actor_total = METRIC_COUNTER("store_deliveries_total",
    "way=\"actor\"", "Deliveries by way");
static struct metric refused_total = METRIC_COUNTER("store_deliveries_refused_total",
    NULL, "Deliveries that got another result than done");

struct delivery {
	struct work work;
	struct actors *all;
	struct volume_seat *seat;
	struct peer *peer;
	uint64_t id;
	uint16_t type;
	int fd;                    /* the content, when it is not in the frame */
	struct arena *arena;
	struct deliver_request q;
	struct deliver_result *results;
	struct buf head;           /* what stands before the content */
	struct blob_draft draft;
	bool draft_left;           /* its name still exists */
	_Atomic unsigned pending;
	struct sync_wait wait;     /* of the fast ones */
	bool *fast;                /* per recipient: published, waits for the sync */
	struct inquiry inquiry;    /* facts for those of the actor's way */
};

struct errand {                /* one recipient's job */
	struct job job;
	struct delivery *d;
	size_t i;
	struct arena *arena;
	struct index_added added;
};

/* ---- outcomes ---- */

struct refusal {
	int code;
	enum deliver_outcome outcome;
	unsigned smtp;
	struct str enhanced, text;
};
static const struct refusal refusals[] = {
	{ -EDQUOT, DELIVER_TEMPFAIL, 452, STR_INIT("4.2.2"), STR_INIT("The mailbox is full") },
	{ -EFBIG, DELIVER_REJECT, 552, STR_INIT("5.2.3"), STR_INIT("Larger than the mailbox may be") },
	{ -ENXIO, DELIVER_REJECT, 550, STR_INIT("5.1.1"), STR_INIT("The account was deleted") },
	{ -ENOSPC, DELIVER_TEMPFAIL, 452, STR_INIT("4.3.1"), STR_INIT("The mail store is full") },
	{ 0, DELIVER_TEMPFAIL, 451, STR_INIT("4.3.0"), STR_INIT("The mail store cannot take it now") },
};

static const struct refusal *
refusal_of(int code)
{
	const struct refusal *r = refusals;

	while (r->code && r->code != code)
		r++;
	return r;
}

void
deliver_refusal(int code, struct wire_error *ret)
{
	const struct refusal *r = refusal_of(code);

	*ret = (struct wire_error){ .code = code, .smtp = r->smtp, .enhanced = r->enhanced,
		.text = r->text };
}

static void
refuse(struct delivery *d, size_t i, int code)
{
	const struct refusal *r = refusal_of(code);

	d->results[i] = (struct deliver_result){ r->outcome, r->smtp, r->enhanced, r->text, 0 };
	metric_add(&refused_total, 1);
	LOG_WARN("store.delivery_refused", L_HEX("qid", d->q.spool_id),
	    L_HEX("account", d->q.rcpts[i].account), L_I64("code", code));
}

static void
free_delivery(struct delivery *d)
{
	if (d->draft.fd >= 0)
		close(d->draft.fd);
	if (d->draft_left)
		blob_remove(volume_blobs(d->seat->volume), d->draft.name);
	if (d->fd >= 0)
		close(d->fd);
	buf_done(&d->head);
	chan_peer_unref(&d->peer);
	arena_free(&d->arena);
	free(d);
}

/* n recipients have their outcome. True: that was the answer, and its peer is to be
 * flushed (*ret_peer, with a reference). */
static bool
answered(struct delivery *d, unsigned n, struct peer **ret_peer)
{
	struct buf b = { 0 };

	if (atomic_fetch_sub(&d->pending, n) != n)
		return false;
	deliver_results_put(&b, d->results, d->q.n_rcpts);
	chan_answer(d->peer, d->id, d->type, &b, -1);
	buf_done(&b);
	*ret_peer = d->peer;
	d->peer = NULL;
	free_delivery(d);
	return true;
}

static void
finished(struct delivery *d, unsigned n)
{
	struct peer *p;

	if (!answered(d, n, &p))
		return;
	chan_peer_flush(p);
	chan_peer_unref(&p);
}

/* On a volume's sync thread: whom the answers of this group are for. */
static _Thread_local struct peer *unflushed;

void
deliver_group_synced(void *arg)
{
	if (!unflushed)
		return;
	chan_peer_flush(unflushed);
	chan_peer_unref(&unflushed);
}

static void
finished_in_group(struct delivery *d, unsigned n)
{
	struct peer *p;

	if (!answered(d, n, &p))
		return;
	if (p != unflushed)
		deliver_group_synced(NULL);
	else
		chan_peer_unref(&unflushed);
	unflushed = p;
}

static void
done(struct delivery *d, size_t i, uint64_t email)
{
	d->results[i] = (struct deliver_result){ .outcome = DELIVER_DONE, .smtp = 250,
		.enhanced = STR("2.1.5"), .text = STR("Delivered"), .email = email };
	LOG_INFO("store.delivered", L_HEX("qid", d->q.spool_id), L_STR("trace", d->q.trace),
	    L_HEX("account", d->q.rcpts[i].account), L_HEX("email", email),
	    L_U64("size", d->head.n + d->q.size));
}

/* ---- the file ---- */

/* Nothing in an envelope may begin a header line of its own. */
static void
put_path(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_putc(b, s.p[i] == '\r' || s.p[i] == '\n' || !s.p[i] ? '?' : s.p[i]);
}

static int
write_draft(struct delivery *d, struct blob_draft *ret)
{
	struct iovec iov[2] = { { d->head.p, d->head.n }, { (void *)d->q.content.p, d->q.content.n } };
	struct blob_source src = { .iov = iov, .n = 2, .fd = d->fd,
		.fd_size = d->fd >= 0 ? d->q.size : 0 };

	return blob_draft(volume_blobs(d->seat->volume), &src, ret);
}

/* Another name for the draft; where it cannot have one more, a copy. */
static int
link_draft(struct delivery *d, const char *to)
{
	struct blob_store *b = volume_blobs(d->seat->volume);
	struct blob_draft copy;
	int r = blob_link(b, d->draft.name, to);

	if (r != -EMLINK && r != -EXDEV)
		return r;
	r = write_draft(d, &copy);
	if (r < 0)
		return r;
	r = blob_move(b, copy.name, to);
	if (r < 0)
		blob_remove(b, copy.name);
	close(copy.fd);
	return r;
}

static void
put_base(struct delivery *d, struct buf *b)
{
	name_base(b, d->q.arrived_us, NAME_DELIVERED, d->q.spool_id, d->head.n + d->q.size,
	    &d->draft.crc);
}

/* ---- the actor's way ---- */

static enum job_next
end_errand(struct errand *x)
{
	struct delivery *d = x->d;

	arena_free(&x->arena);
	free(x);
	finished(d, 1);
	return JOB_DONE;
}

static void
errand_failed(struct job *j, int code, const char *text)
{
	struct errand *x = LIST_ENTRY(&j->link, struct errand, job.link);

	refuse(x->d, x->i, code);
	end_errand(x);
}

static enum job_next
errand_settled(struct job *j, struct actor *a)
{
	struct errand *x = LIST_ENTRY(&j->link, struct errand, job.link);
	struct index_stat st;

	index_stat(actor_index(a), &st);
	ledger_taken(volume_ledger(actor_volume(a)), actor_account(a), st.bytes, 0, 0);
	done(x->d, x->i, x->added.email);
	actor_event(a, index_find(actor_index(a), STR("INBOX")), st.modseq);
	return end_errand(x);
}

/* The row, then the file at the row's place; both before the commit. 1: this
 * account has it already. */
static int
add_row(struct errand *x, struct actor *a, struct err *e)
{
	struct delivery *d = x->d;
	struct index *ix = actor_index(a);
	struct index_new n = { .mailbox = index_find(ix, STR("INBOX")), .size = d->head.n + d->q.size,
		.internal_date = (int64_t)(d->q.arrived_us / 1000000), .spool_id = d->q.spool_id,
		.quota = d->q.rcpts[x->i].quota, .facts = d->inquiry.facts };
	struct buf base = { 0 };
	struct str path;
	int r = index_begin(ix, e);

	if (r < 0)
		return r;
	put_base(d, &base);
	n.base = buf_view(&base);
	r = index_add(ix, &n, x->arena, &x->added, e);
	if (r == 0) {
		path = arena_printf(x->arena, "%s/%.*s", actor_dir(a), STR_ARG(x->added.path));
		r = path.p ? link_draft(d, path.p) : -ENOMEM;
	}
	buf_done(&base);
	return r;
}

static enum job_next
errand_add(struct job *j, struct actor *a)
{
	struct errand *x = LIST_ENTRY(&j->link, struct errand, job.link);
	uint64_t quota = x->d->q.rcpts[x->i].quota, size = x->d->head.n + x->d->q.size;
	struct err e = { 0 };
	int r;

	if (quota && size > quota)
		r = -EFBIG;
	else if (ledger_is_gone(volume_ledger(actor_volume(a)), actor_account(a)))
		r = -ENXIO;
	else
		r = index_delivered(actor_index(a), x->d->q.spool_id, &x->added.email, &e);
	if (r == 0)
		r = add_row(x, a, &e);
	if (r == 0)
		r = actor_commit(a, j, x->d->draft.fd, errand_settled, &e);
	else
		actor_failed(a, r);
	if (r == 0)
		return JOB_WAIT;
	if (r > 0)
		done(x->d, x->i, x->added.email);
	else
		refuse(x->d, x->i, r);
	return end_errand(x);
}

/* What may have come the fast way stands in new/: it is looked for there first. */
static enum job_next
errand_begin(struct job *j, struct actor *a)
{
	if (ledger_waiting(volume_ledger(actor_volume(a)), actor_account(a)))
		return actor_take_in(a, j, errand_add);
	return errand_add(j, a);
}

static void
by_actor(struct delivery *d, size_t i)
{
	struct errand *x = calloc(1, sizeof *x);
	int r = -ENOMEM;

	metric_add(&actor_total, 1);
	if (x && (x->arena = arena_new(1 << 20))) {
		x->d = d;
		x->i = i;
		x->job.step = errand_begin;
		x->job.fail = errand_failed;
		r = actor_post(d->all, d->seat, d->q.rcpts[i].account, &x->job);
	}
	if (r == 0)
		return;
	if (x)
		arena_free(&x->arena);
	free(x);
	refuse(d, i, r);
	finished(d, 1);
}

/* The recipients that hand_out left undecided. */
static void
all_by_actor(struct delivery *d)
{
	for (size_t i = 0, n = d->q.n_rcpts; i < n; i++)
		if (!d->fast[i] && d->results[i].outcome == DELIVER_NOT_HERE)
			by_actor(d, i);
	finished(d, 1);
}

static void
asked(struct inquiry *q)
{
	all_by_actor(LIST_ENTRY(&q->link, struct delivery, inquiry.link));
}

/* Without an answer the messages get their facts later (maildir/backlog.h). */
static void
ask_facts(struct delivery *d)
{
	struct inquiry *q = &d->inquiry;
	uint64_t size = d->head.n + d->q.size;
	char *p = d->fd < 0 && size <= INQUIRY_INLINE ? arena_alloc(d->arena, size + 1) : NULL;

	*q = (struct inquiry){ .fd = d->draft.fd, .size = size, .arena = d->arena, .fn = asked };
	if (p) {
		memcpy(p, d->head.p, d->head.n);
		if (d->q.content.n)
			memcpy(p + d->head.n, d->q.content.p, d->q.content.n);
		q->content = str_from(p, size);
	}
	if (!actors_inquire(d->all, q))
		asked(q);
}

/* ---- the fast way ---- */

/* A job that only makes the actor take in: somebody connected meanwhile. */
static enum job_next
nudge_done(struct job *j, struct actor *a)
{
	free(j);
	return JOB_DONE;
}

static enum job_next
nudge_step(struct job *j, struct actor *a)
{
	return actor_take_in(a, j, nudge_done);
}

static void
nudge_failed(struct job *j, int code, const char *text)
{
	free(j);
}

static void
nudge(struct delivery *d, uint64_t account)
{
	struct job *j = calloc(1, sizeof *j);

	if (!j)
		return;
	j->step = nudge_step;
	j->fail = nudge_failed;
	if (actor_post(d->all, d->seat, account, j) < 0)
		free(j);
}

static int
publish(struct delivery *d, size_t i)
{
	struct volume *v = d->seat->volume;
	char dir[VOLUME_DIR_MAX];
	struct buf to = { 0 };
	int r;

	volume_account_dir(d->q.rcpts[i].account, dir);
	buf_printf(&to, "%s/new/", dir);
	put_base(d, &to);
	if (!buf_cstr(&to))
		r = -ENOMEM;
	else if (d->q.n_rcpts > 1)
		r = link_draft(d, buf_cstr(&to));
	else if ((r = blob_move(volume_blobs(v), d->draft.name, buf_cstr(&to))) == 0)
		d->draft_left = false;
	buf_done(&to);
	return r == -EEXIST ? 0 : r; /* the name says that it is there */
}

/* False: it is the actor's. Else it waits for the sync, or has its outcome. */
static bool
by_file(struct delivery *d, size_t i)
{
	struct ledger *l = volume_ledger(d->seat->volume);
	const struct deliver_rcpt *to = &d->q.rcpts[i];
	uint64_t size = d->head.n + d->q.size;
	int r;

	if (ledger_is_gone(l, to->account)) {
		r = -ENXIO;
	} else {
		if (to->maybe_done || !ledger_promise(l, to->account, to->quota, size))
			return false;
		r = publish(d, i);
		if (r < 0)
			ledger_unpromise(l, to->account, size);
		if (r == -ENOENT) /* somebody removed its directory */
			return false;
		metric_add(&fast_total, r == 0);
	}
	if (r < 0) {
		refuse(d, i, r);
		finished(d, 1);
		return true;
	}
	d->fast[i] = true;
	if (ledger_published(l, to->account, clock_ms()))
		nudge(d, to->account);
	return true;
}

static void
fast_synced(struct sync_wait *w, int result)
{
	struct delivery *d = LIST_ENTRY(&w->link, struct delivery, wait.link);
	unsigned n = 0;

	for (size_t i = 0; i < d->q.n_rcpts; i++) {
		if (!d->fast[i])
			continue;
		n++;
		if (result == 0)
			done(d, i, 0);
		else
			refuse(d, i, result);
	}
	finished_in_group(d, n);
}

/* ---- the frame ---- */

/* The fast ones first: from then on d->results and d->fast are others' too. */
static void
hand_out(struct delivery *d)
{
	bool fast = false, actor = false;

	for (size_t i = 0; i < d->q.n_rcpts; i++)
		if (!by_file(d, i))
			d->results[i].outcome = DELIVER_NOT_HERE; /* undecided */
	for (size_t i = 0; i < d->q.n_rcpts; i++) {
		fast |= d->fast[i];
		actor |= !d->fast[i] && d->results[i].outcome == DELIVER_NOT_HERE;
	}
	if (fast) {
		d->wait.fd = d->draft.fd;
		d->wait.fn = fast_synced;
		volume_sync(d->seat->volume, &d->wait);
	}
	if (actor)
		ask_facts(d);
	else
		finished(d, 1);
}

static void
run(struct work *w)
{
	struct delivery *d = LIST_ENTRY(w, struct delivery, work);
	int r;

	buf_puts(&d->head, "Return-Path: <");
	put_path(&d->head, d->q.sender);
	buf_puts(&d->head, ">\r\n");
	if (d->q.n_rcpts == 1) {
		buf_puts(&d->head, "Delivered-To: ");
		put_path(&d->head, d->q.rcpts[0].address);
		buf_puts(&d->head, "\r\n");
	}
	r = d->head.over ? -ENOMEM : volume_room(d->seat->volume, d->head.n + d->q.size);
	if (r == 0)
		r = write_draft(d, &d->draft);
	if (r < 0) {
		d->draft.fd = -1;
		for (size_t i = 0; i < d->q.n_rcpts; i++)
			refuse(d, i, r);
		finished(d, (unsigned)d->q.n_rcpts + 1);
		return;
	}
	d->draft_left = true;
	hand_out(d);
}

/* The frame's bytes live in the arena, since they outlast the handler. */
static int
parse(struct delivery *d, struct str body)
{
	struct str own;
	int r;

	d->arena = arena_new(0);
	own = d->arena ? arena_dup(d->arena, body) : STR_NULL;
	if (!own.p)
		return -ENOMEM;
	r = deliver_request_get(own, d->arena, &d->q);
	if (r < 0)
		return r;
	if (!d->q.n_rcpts || d->q.n_rcpts > DELIVER_RCPTS_MAX)
		return -EPROTO;
	if (d->fd < 0 ? d->q.content.n != d->q.size : d->q.content.n != 0)
		return -EPROTO;
	d->results = ARENA_ARRAY(d->arena, struct deliver_result, d->q.n_rcpts);
	d->fast = ARENA_ARRAY(d->arena, bool, d->q.n_rcpts);
	return d->results && d->fast ? 0 : -ENOMEM;
}

/* No volume of that number: queued asks authd where the accounts live. */
static void
not_here(struct delivery *d)
{
	struct buf b = { 0 };

	for (size_t i = 0; i < d->q.n_rcpts; i++)
		d->results[i] = (struct deliver_result){ .outcome = DELIVER_NOT_HERE, .smtp = 451,
			.enhanced = STR("4.3.0"), .text = STR("The account lives elsewhere") };
	deliver_results_put(&b, d->results, d->q.n_rcpts);
	chan_answer(d->peer, d->id, d->type, &b, -1);
	buf_done(&b);
}

static struct delivery *
new_delivery(struct peer *p, const struct frame *f)
{
	struct delivery *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->work.run = run;
	d->peer = chan_peer_ref(p);
	d->id = f->id;
	d->type = f->type;
	d->fd = f->fd;
	d->draft.fd = -1;
	return d;
}

void
deliver_frame(struct actors *as, struct sched *s,
    struct volume_seat *(*seat_of)(uint32_t volume), struct peer *p, const struct frame *f)
{
	struct delivery *d = new_delivery(p, f);
	struct wire_error we = { .code = -ENOMEM,
		.text = STR("a deliver frame that cannot be taken") };

	if (d)
		we.code = parse(d, f->body);
	else if (f->fd >= 0)
		close(f->fd);
	if (we.code < 0) {
		chan_answer_error(p, f->id, f->type, &we);
		if (d)
			free_delivery(d);
		return;
	}
	d->all = as;
	d->seat = seat_of(d->q.volume);
	if (!d->seat) {
		not_here(d);
		free_delivery(d);
		return;
	}
	atomic_store(&d->pending, (unsigned)d->q.n_rcpts + 1);
	sched_post(s, &d->seat->lane, &d->work);
}
