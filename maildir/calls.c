/*
 * The mailbox calls; see calls.h.
 *
 *	post -> step (the row's fn) -> answer now
 *	                            -> commit ... settled -> event, answer
 */
#include "maildir/calls.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/log.h"

struct call {
	struct job job;
	struct peer *peer;
	uint64_t id;
	uint16_t type;
	int fd;                    /* that came with the frame, or -1 */
	struct arena *arena;
	struct store_request q;
	struct store_answer ans;
	uint32_t mailbox;          /* that changed, and another one (copy) */
	uint32_t other;
	int sync_fd;               /* an append's file, until its sync */
};

/* The setting flag-durability-now. */
static _Atomic bool flags_durable_now; /* a reload sets it while workers run */

void
calls_flags_durable_now(bool on)
{
	flags_durable_now = on;
}

#define CALL(j) LIST_ENTRY(&(j)->link, struct call, job.link)

static enum job_next
end(struct call *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->sync_fd >= 0)
		close(c->sync_fd);
	chan_peer_unref(&c->peer);
	arena_free(&c->arena);
	free(c);
	return JOB_DONE;
}

static enum job_next
refuse(struct call *c, int code, const char *text)
{
	struct wire_error we = { .code = code, .text = str_c(text) };

	chan_answer_error(c->peer, c->id, c->type, &we);
	chan_peer_flush(c->peer);
	return end(c);
}

static void
call_failed(struct job *j, int code, const char *text)
{
	refuse(CALL(j), code, text);
}

/* Answers with b's fields (b is done after) and perhaps a descriptor, taken. */
static enum job_next
answer(struct call *c, struct buf *b, int fd)
{
	int r = 0;

	if (fd < 0)
		r = store_big_put(b, &fd);
	if (r == 0) {
		chan_answer(c->peer, c->id, c->type, b, fd);
		chan_peer_flush(c->peer);
	}
	buf_done(b);
	return r < 0 ? refuse(c, r, "the answer is too long") : end(c);
}

static enum job_next
answer_fields(struct call *c, int fd)
{
	struct buf b = { 0 };

	store_answer_put(&b, &c->ans);
	return answer(c, &b, fd);
}

/* An index call gave r. */
static enum job_next
failed(struct call *c, struct actor *a, int r, const struct err *e)
{
	actor_failed(a, r);
	return refuse(c, r, e->text);
}

static void
tell(struct call *c, struct actor *a)
{
	struct index_stat st;

	index_stat(actor_index(a), &st);
	if (c->mailbox)
		actor_event(a, c->mailbox, st.modseq);
	if (c->other && c->other != c->mailbox)
		actor_event(a, c->other, st.modseq);
	ledger_taken(volume_ledger(actor_volume(a)), actor_account(a), st.bytes, 0, 0);
}

static enum job_next
settled(struct job *j, struct actor *a)
{
	tell(CALL(j), a);
	return answer_fields(CALL(j), -1);
}

/* The end of every change: r is what the index call gave. */
static enum job_next
commit(struct call *c, struct actor *a, int r, struct err *e)
{
	if (r < 0)
		return failed(c, a, r, e);
	r = actor_commit(a, &c->job, c->sync_fd, settled, e);
	return r < 0 ? refuse(c, r, e->text) : JOB_WAIT;
}

/* ---- mailboxes ---- */

static enum job_next
do_list(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct store_mailbox *v;
	struct buf b = { 0 };
	struct err e = { 0 };
	size_t n;
	int r = index_list(actor_index(a), c->arena, &v, &n, &e);

	if (r < 0)
		return failed(c, a, r, &e);
	store_mailboxes_put(&b, v, n);
	return answer(c, &b, -1);
}

static enum job_next
do_status(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct store_mailbox m;
	struct buf b = { 0 };
	struct err e = { 0 };
	int r = index_status(actor_index(a), c->q.mailbox, c->arena, &m, &e);

	if (r < 0)
		return failed(c, a, r, &e);
	store_mailboxes_put(&b, &m, 1);
	return answer(c, &b, -1);
}

static enum job_next
do_create(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct err e = { 0 };
	int r = index_begin(actor_index(a), &e);

	if (r == 0)
		r = index_create(actor_index(a), c->q.name, c->q.role, &c->ans.id, &e);
	c->mailbox = c->ans.id;
	return commit(c, a, r, &e);
}

static enum job_next
do_delete(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct err e = { 0 };
	int r = index_begin(actor_index(a), &e);

	if (r == 0)
		r = index_delete(actor_index(a), c->q.mailbox, &e);
	c->mailbox = c->q.mailbox;
	return commit(c, a, r, &e);
}

static enum job_next
do_rename(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct err e = { 0 };
	int r = index_begin(actor_index(a), &e);

	if (r == 0)
		r = index_rename(actor_index(a), c->q.mailbox, c->q.name, &e);
	c->mailbox = c->q.mailbox;
	return commit(c, a, r, &e);
}

static enum job_next
do_subscribe(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct err e = { 0 };
	int r = index_begin(actor_index(a), &e);

	if (r == 0)
		r = index_subscribe(actor_index(a), c->q.name, c->q.on, &e);
	return commit(c, a, r, &e);
}

static enum job_next
do_quota(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct index_stat st;

	index_stat(actor_index(a), &st);
	c->ans.used = st.bytes;
	c->ans.limit = actor_quota(a);
	return answer_fields(c, -1);
}

/* ---- reading ---- */

static enum job_next
do_select(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct err e = { 0 };
	size_t size;
	int fd, r;

	r = index_view(actor_index(a), c->q.mailbox, c->q.on, &fd, &size, &e);
	if (r < 0)
		return failed(c, a, r, &e);
	c->ans.size = size;
	return answer_fields(c, fd);
}

static enum job_next
do_sync(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct store_delta d = { 0 };
	struct buf b = { 0 };
	struct err e = { 0 };
	int r = index_sync(actor_index(a), c->q.mailbox, c->q.since, c->q.on, c->arena, &d, &e);

	if (r < 0)
		return failed(c, a, r, &e);
	store_delta_put(&b, &d);
	return answer(c, &b, -1);
}

/* As many rows as fit a frame; one that is alone may be longer. */
static int
put_fact(void *arg, const struct store_fact *f)
{
	struct buf *b = arg;
	size_t need = f->envelope.n + f->structure.n + f->preview.n + 80;

	if (b->n && b->n + need > STORE_FRAME_MAX)
		return 1;
	store_fact_put(b, f);
	return 0;
}

static enum job_next
do_facts(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct buf b = { 0 };
	struct err e = { 0 };
	uint32_t next = 0;
	int r = index_facts(actor_index(a), c->q.mailbox, &c->q.set, c->q.uid, c->q.want, put_fact, &b,
	    &next, &e);

	if (r < 0) {
		buf_done(&b);
		return failed(c, a, r, &e);
	}
	store_facts_end(&b, next);
	return answer(c, &b, -1);
}

static enum job_next
do_content(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct err e = { 0 };
	struct str path;
	int fd, r;

	r = index_path(actor_index(a), c->q.mailbox, c->q.uid, c->arena, &path, &c->ans.size, &e);
	if (r < 0)
		return failed(c, a, r, &e);
	path = arena_printf(c->arena, "%s/%.*s", actor_dir(a), STR_ARG(path));
	fd = path.p ? blob_open(volume_blobs(actor_volume(a)), path.p) : -ENOMEM;
	if (fd < 0) {
		LOG_ERROR("store.file_missing", L_HEX("account", actor_account(a)), L_STR("path", path),
		    L_I64("code", fd));
		return refuse(c, fd == -ENOENT ? -EIO : fd, "the message's file cannot be opened");
	}
	return answer_fields(c, fd);
}

/* ---- changing ---- */

static enum job_next
do_flags(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct err e = { 0 };
	uint64_t since = c->q.since ? c->q.since - 1 : UINT64_MAX;
	int r = c->q.op > FLAGS_REMOVE ? err_set(&e, -EPROTO, "no such flag operation") :
	    index_begin(actor_index(a), &e);

	if (r == 0)
		r = index_flags(actor_index(a), c->q.mailbox, &c->q.set, (enum store_flag_op)c->q.op,
		    c->q.sysflags, c->q.keywords, c->q.n_keywords, since, c->arena, &c->ans.set,
		    &c->ans.modseq, &e);
	if (r < 0)
		return failed(c, a, r, &e);
	c->mailbox = c->q.mailbox;
	if (flags_durable_now)
		return commit(c, a, 0, &e);
	r = actor_commit_lazily(a, &e);
	if (r < 0)
		return refuse(c, r, e.text);
	tell(c, a);
	return answer_fields(c, -1);
}

static enum job_next
do_copy(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct store_copied copied = { 0 };
	struct err e = { 0 };
	int r = volume_room(actor_volume(a), 0);

	if (r == 0)
		r = index_begin(actor_index(a), &e);
	else
		err_set(&e, r, "the mail store is full");
	if (r == 0)
		r = index_copy(actor_index(a), c->q.mailbox, &c->q.set, c->q.dest, c->q.on,
		    actor_quota(a), c->arena, &copied, &e);
	c->ans.uidvalidity = copied.uidvalidity;
	c->ans.from = copied.from;
	c->ans.to = copied.to;
	c->ans.n = copied.n;
	c->mailbox = c->q.dest;
	c->other = c->q.on ? c->q.mailbox : 0;
	return commit(c, a, r, &e);
}

static enum job_next
do_expunge(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct err e = { 0 };
	int r = index_begin(actor_index(a), &e);

	if (r == 0)
		r = index_expunge(actor_index(a), c->q.mailbox, c->q.all ? NULL : &c->q.set, c->arena,
		    &c->ans.set, &c->ans.modseq, &e);
	c->mailbox = c->q.mailbox;
	return commit(c, a, r, &e);
}

static int
append_row(struct call *c, struct actor *a, const struct blob_draft *d, struct err *e)
{
	struct index_new n = { .mailbox = c->q.mailbox, .sysflags = c->q.sysflags,
		.keywords = c->q.keywords, .n_keywords = c->q.n_keywords, .size = c->q.size,
		.internal_date = c->q.internal_date, .internal_zone = c->q.internal_zone,
		.facts = c->q.facts, .quota = actor_quota(a), .crc = &d->crc };
	struct index_added added;
	struct str path;
	int r = index_begin(actor_index(a), e);

	if (r == 0)
		r = index_add(actor_index(a), &n, c->arena, &added, e);
	if (r < 0)
		return r;
	path = arena_printf(c->arena, "%s/%.*s", actor_dir(a), STR_ARG(added.path));
	r = path.p ? blob_move(volume_blobs(actor_volume(a)), d->name, path.p) : -ENOMEM;
	if (r < 0)
		return err_sys(e, r, "the message's file");
	c->ans.uidvalidity = added.uidvalidity;
	c->ans.uid = added.uid;
	c->ans.email = added.email;
	return 0;
}

static enum job_next
do_append(struct job *j, struct actor *a)
{
	struct call *c = CALL(j);
	struct blob_source src = { .fd = c->fd, .fd_size = c->q.size };
	struct blob_draft d;
	struct err e = { 0 };
	int r = c->fd < 0 ? -EPROTO : volume_room(actor_volume(a), c->q.size);

	if (r == 0)
		r = blob_draft(volume_blobs(actor_volume(a)), &src, &d);
	if (r < 0)
		return refuse(c, r, "the message cannot be stored");
	c->sync_fd = d.fd;
	r = append_row(c, a, &d, &e);
	if (r < 0)
		blob_remove(volume_blobs(actor_volume(a)), d.name);
	c->mailbox = c->q.mailbox;
	return commit(c, a, r, &e);
}

/* ---- the table ---- */

static const struct row {
	uint16_t type;
	enum job_next (*step)(struct job *j, struct actor *a);
} rows[] = {
	{ MSG_STORE_LIST, do_list },
	{ MSG_STORE_CREATE, do_create },
	{ MSG_STORE_DELETE, do_delete },
	{ MSG_STORE_RENAME, do_rename },
	{ MSG_STORE_SUBSCRIBE, do_subscribe },
	{ MSG_STORE_SELECT, do_select },
	{ MSG_STORE_SYNC, do_sync },
	{ MSG_STORE_FACTS, do_facts },
	{ MSG_STORE_CONTENT, do_content },
	{ MSG_STORE_FLAGS, do_flags },
	{ MSG_STORE_COPY, do_copy },
	{ MSG_STORE_EXPUNGE, do_expunge },
	{ MSG_STORE_APPEND, do_append },
	{ MSG_STORE_STATUS, do_status },
	{ MSG_STORE_QUOTA, do_quota },
};

static struct call *
new_call(struct handle *h, uint64_t id, uint16_t type)
{
	struct call *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->peer = chan_peer_ref(h->peer);
	c->id = id;
	c->type = type;
	c->fd = c->sync_fd = -1;
	c->job.fail = call_failed;
	return c;
}

int
call_post(struct handle *h, const struct frame *f, struct arena *a, const struct store_request *q)
{
	const struct row *row = rows;
	struct call *c;
	int r;

	while (row < rows + sizeof rows / sizeof *rows && row->type != f->type)
		row++;
	if (row == rows + sizeof rows / sizeof *rows)
		return -EPROTO;
	c = new_call(h, f->id, f->type);
	if (!c)
		return -ENOMEM;
	c->q = *q;
	c->job.step = row->step;
	c->arena = a;
	c->fd = f->fd;
	r = actor_post_handle(h, &c->job);
	if (r < 0) { /* the caller keeps what it gave */
		c->arena = NULL;
		c->fd = -1;
		end(c);
	}
	return r;
}

/* ---- opening and sweeping ---- */

static enum job_next
attached(struct job *j, struct actor *a)
{
	CALL(j)->ans.id = actor_handles(a);
	return answer_fields(CALL(j), -1);
}

static enum job_next
do_attach(struct job *j, struct actor *a)
{
	return actor_take_in(a, j, attached);
}

int
call_attach(struct handle *h, uint64_t id, uint16_t type)
{
	struct call *c = new_call(h, id, type);
	int r;

	if (!c)
		return -ENOMEM;
	c->job.step = do_attach;
	r = actor_post_handle(h, &c->job);
	if (r < 0)
		end(c);
	return r;
}

static enum job_next
swept(struct job *j, struct actor *a)
{
	free(j);
	return JOB_DONE;
}

static enum job_next
do_sweep(struct job *j, struct actor *a)
{
	return actor_take_in(a, j, swept);
}

static void
sweep_failed(struct job *j, int code, const char *text)
{
	free(j);
}

void
call_sweep(struct actors *as, struct volume_seat *seat, uint64_t account)
{
	struct job *j = calloc(1, sizeof *j);

	if (!j)
		return;
	j->step = do_sweep;
	j->fail = sweep_failed;
	if (actor_post(as, seat, account, j) < 0)
		free(j);
}
