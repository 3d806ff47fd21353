/*
 * Check, rebuild and stat of an account.
 *
 *	probe: is there such an account -> check or stat, with the index open
 *	                                -> rebuild: a fresh snapshot of an index that is
 *	                                   sound, so that no flag is lost; then with the
 *	                                   index closed
 *
 * What check and rebuild find goes out in frames of PART bytes while they run.
 */
#include "maildir/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/client/control.h"

enum { PART = 128 << 10, SNAPSHOT_PAGES = 1000 };

struct admin {
	struct job job;
	struct peer *peer;
	uint64_t id;
	uint16_t type;
	struct store_admin q;
	struct buf out;
	uint64_t found;
};

#define ADMIN(j) LIST_ENTRY(&(j)->link, struct admin, job.link)

static const char *const finding_names[] = {
	[FOUND_ROW_WITHOUT_FILE] = "row-without-file",
	[FOUND_SHORT_FILE] = "wrong-length",
	[FOUND_FILE_WITHOUT_ROW] = "file-without-row",
	[FOUND_TORN_NEW] = "torn-delivery",
	[FOUND_LINK_OF_NOTHING] = "unfinished-copy",
	[FOUND_COUNTS] = "counts",
	[FOUND_CHECKSUM] = "checksum",
	[FOUND_FOLDER] = "folder",
	[FOUND_DAMAGE] = "damage",
	[FOUND_FLAGS_LOST] = "flags-lost",
};

static enum job_next
end(struct admin *m)
{
	buf_done(&m->out);
	chan_peer_unref(&m->peer);
	free(m);
	return JOB_DONE;
}

static enum job_next
refuse(struct admin *m, int code, const char *text)
{
	struct wire_error we = { .code = code, .text = str_c(text) };

	chan_answer_error(m->peer, m->id, m->type, &we);
	chan_peer_flush(m->peer);
	return end(m);
}

static enum job_next
answer(struct admin *m)
{
	chan_answer(m->peer, m->id, m->type, &m->out, -1);
	chan_peer_flush(m->peer);
	return end(m);
}

static void
put_count(struct buf *b, const char *name, uint64_t v)
{
	store_item_put(b, &(struct store_item){ .kind = STORE_COUNT, .name = str_c(name), .value = v });
}

static void
found(void *arg, enum index_finding what, const char *mailbox, uint32_t uid, const char *path,
    const char *text)
{
	struct admin *m = arg;
	struct store_item i = { .kind = STORE_FINDING, .uid = uid, .mailbox = str_c(mailbox),
		.path = str_c(path), .text = str_c(text) };

	if (what < sizeof finding_names / sizeof *finding_names && finding_names[what])
		i.name = str_c(finding_names[what]);
	m->found++;
	store_item_put(&m->out, &i);
	if (m->out.n < PART)
		return;
	control_more(&m->out);
	chan_answer(m->peer, m->id, m->type, &m->out, -1);
	chan_peer_flush(m->peer);
	buf_clear(&m->out);
}

/* ---- stat ---- */

static enum job_next
stat_account(struct admin *m, struct actor *a)
{
	struct arena *ar = arena_new(0);
	struct store_mailbox *v = NULL;
	struct err e = { 0 };
	struct index_stat st;
	size_t n = 0;
	int r = ar ? index_list(actor_index(a), ar, &v, &n, &e) : err_set(&e, -ENOMEM, "out of memory");

	for (size_t i = 0; r == 0 && i < n; i++)
		if (!v[i].noselect)
			store_item_put(&m->out, &(struct store_item){ .kind = STORE_BOX, .name = v[i].name,
				.box = v[i] });
	arena_free(&ar);
	if (r < 0) {
		actor_failed(a, r);
		return refuse(m, r, e.text);
	}
	index_stat(actor_index(a), &st);
	put_count(&m->out, "messages", st.messages);
	put_count(&m->out, "bytes", st.bytes);
	put_count(&m->out, "quota", actor_quota(a));
	put_count(&m->out, "modseq", st.modseq);
	put_count(&m->out, "epoch", st.epoch);
	put_count(&m->out, "sessions", actor_handles(a));
	put_count(&m->out, "unlinks_waiting", st.unlinks);
	put_count(&m->out, "changes_since_snapshot", st.changes_since_snapshot);
	put_count(&m->out, "snapshot_time", st.snapshot_time);
	return answer(m);
}

void
admin_stat_all(struct actors *as, const struct volume_seat *seats, size_t n, struct peer *p,
    const struct frame *f)
{
	struct actors_stat st;
	struct buf b = { 0 };
	uint64_t space = 0, accounts = 0, failed = 0;

	actors_stat(as, &st);
	for (size_t i = 0; i < n; i++) {
		space += volume_free(seats[i].volume);
		accounts += ledger_count(volume_ledger(seats[i].volume));
		failed += volume_failed(seats[i].volume) != 0;
	}
	put_count(&b, "volumes", n);
	put_count(&b, "volumes_failed", failed);
	put_count(&b, "bytes_free", space);
	put_count(&b, "accounts_known", accounts);
	put_count(&b, "accounts_open", st.open);
	put_count(&b, "sessions", st.handles);
	put_count(&b, "requests", st.jobs);
	chan_answer(p, f->id, f->type, &b, -1);
	buf_done(&b);
}

/* ---- check and rebuild ---- */

static enum job_next
report(struct admin *m, struct actor *a, const char *what)
{
	LOG_INFO("store.checked", L_HEX("account", actor_account(a)), L_C("verb", what),
	    L_U64("findings", m->found));
	put_count(&m->out, "findings", m->found);
	return answer(m);
}

static enum job_next
check(struct admin *m, struct actor *a)
{
	struct err e = { 0 };
	int r;

	index_set_report(actor_index(a), found, m);
	r = index_check(actor_index(a), m->q.deep, &e);
	actor_report_again(a);
	if (r < 0) {
		actor_failed(a, r);
		found(m, FOUND_DAMAGE, "", 0, "index.db", e.text);
	}
	return report(m, a, "check");
}

static void
count_damage(void *arg, enum index_finding what, const char *mailbox, uint32_t uid,
    const char *path, const char *text)
{
	*(unsigned *)arg += what == FOUND_DAMAGE;
}

/* A snapshot of a damaged index would take the place of a better one. */
static void
fresh_snapshot(struct actor *a)
{
	struct index *x = actor_index(a);
	unsigned damage = 0;
	struct err e = { 0 };
	int r;

	index_set_report(x, count_damage, &damage);
	r = index_check(x, true, &e);
	if (r >= 0 && damage == 0)
		while ((r = index_snapshot_step(x, SNAPSHOT_PAGES, &e)) > 0)
			;
	if (r < 0)
		LOG_WARN("store.upkeep_failed", L_HEX("account", actor_account(a)), L_I64("code", r),
		    L_C("text", e.text));
}

static enum job_next
rebuild(struct admin *m, struct actor *a)
{
	struct volume *v = actor_volume(a);
	struct index_options o = { .run = volume_run(v), .report = found, .report_arg = m };
	struct err e = { 0 };
	char *path = NULL;
	int r;

	if (actor_index(a)) {
		fresh_snapshot(a);
		actor_lose(a, -ESTALE);
	}
	if (asprintf(&path, "%s/%s", volume_path(v), actor_dir(a)) < 0)
		return refuse(m, -ENOMEM, "out of memory");
	o.dir = path;
	r = index_rebuild(&o, &e);
	free(path);
	ledger_unknown(volume_ledger(v), actor_account(a));
	if (r < 0) {
		LOG_ERROR("store.rebuild_failed", L_HEX("account", actor_account(a)), L_I64("code", r),
		    L_C("text", e.text));
		return refuse(m, r, e.text);
	}
	actor_rebuilt(a);
	LOG_WARN("store.rebuilt", L_HEX("account", actor_account(a)), L_U64("findings", m->found));
	return report(m, a, "rebuild");
}

/* ---- the job ---- */

static enum job_next
with_index(struct job *j, struct actor *a)
{
	struct admin *m = ADMIN(j);

	return m->q.verb == STORE_ADMIN_CHECK ? check(m, a) :
	    m->q.verb == STORE_ADMIN_REBUILD ? rebuild(m, a) : stat_account(m, a);
}

/* An account that does not exist would be made by opening it. */
static enum job_next
probe(struct job *j, struct actor *a)
{
	struct admin *m = ADMIN(j);

	if (faccessat(volume_blobs(actor_volume(a))->dirfd, actor_dir(a), F_OK, 0) < 0)
		return refuse(m, -ENOENT, "the store has no mail of this account");
	j->without_index = false;
	return actor_yield(a, j, with_index);
}

/* An index that cannot be opened is what check and rebuild are there for. */
static void
failed(struct job *j, int code, const char *text)
{
	struct admin *m = ADMIN(j);

	if (m->q.verb == STORE_ADMIN_STAT || code != -EUCLEAN) {
		refuse(m, code, text);
		return;
	}
	if (m->q.verb == STORE_ADMIN_REBUILD) {
		rebuild(m, j->actor);
		return;
	}
	found(m, FOUND_DAMAGE, "", 0, "index.db", text);
	put_count(&m->out, "findings", m->found);
	answer(m);
}

int
admin_post(struct actors *as, struct volume_seat *seat, struct peer *p, const struct frame *f,
    const struct store_admin *q)
{
	struct admin *m;
	int r;

	if (q->verb < STORE_ADMIN_STAT || q->verb > STORE_ADMIN_REBUILD)
		return -EPROTO;
	m = calloc(1, sizeof *m);
	if (!m)
		return -ENOMEM;
	m->job.step = probe;
	m->job.fail = failed;
	m->job.without_index = true;
	m->peer = chan_peer_ref(p);
	m->id = f->id;
	m->type = f->type;
	m->q = *q;
	r = actor_post(as, seat, q->account, &m->job);
	if (r < 0)
		end(m);
	return r;
}
