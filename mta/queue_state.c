/* Messages in memory; see queue_state.h. What they share is in queue_intern.c, how
 * they stand in a checkpoint in queue_entry.c. */
#include "mta/queue_intern.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/client/queue.h"
#include "lib/io/wire.h"

#define STRING_MAX 4096 /* of a sender, address, trace kept in memory */

void
queue_init(struct queue *q, uint64_t max_recipients)
{
	*q = (struct queue){ .max_recipients = max_recipients };
	list_init(&q->all);
	list_init(&q->idle_hops);
	list_init(&q->idle_tenants);
	dedup_init(&q->dedup, DEDUP_KEYS);
}

void
queue_done(struct queue *q)
{
	struct qmsg *m, *next;

	LIST_FOREACH_SAFE(m, next, &q->all, struct qmsg, all) {
		m->pins = 0;
		queue_remove(q, m);
	}
	hops_done(q);
	tenants_done(q);
	dedup_done(&q->dedup);
	map_done(&q->by_id);
	strmap_done(&q->tenants);
	strmap_done(&q->reasons);
}

/* ---- making ---- */

struct qmsg *
qmsg_alloc(size_t n_rcpts, size_t strings)
{
	struct qmsg *m;

	if (n_rcpts > UINT32_MAX / sizeof(struct qrcpt) || strings > UINT32_MAX)
		return NULL;
	m = calloc(1, sizeof *m + n_rcpts * sizeof(struct qrcpt) + strings);
	if (m)
		m->n_rcpts = (uint32_t)n_rcpts;
	return m;
}

static struct str
clip(struct str s)
{
	return str_head(s, STRING_MAX);
}

static size_t
strings_size(const struct envelope *e)
{
	size_t n = clip(e->sender).n + clip(e->trace).n;

	for (size_t i = 0; i < e->n_rcpts; i++)
		n += clip(e->rcpts[i].address).n + clip(e->rcpts[i].detail).n;
	return n;
}

static uint32_t
put_string(struct qmsg *m, struct str s)
{
	uint32_t at = m->strings_n;

	if (s.n)
		memcpy((char *)(uintptr_t)qmsg_strings(m) + at, s.p, s.n);
	m->strings_n += (uint32_t)s.n;
	return at;
}

static enum rcpt_state
first_state(const struct envelope_rcpt *er)
{
	switch (er->expanded) {
	case EXPANDED_LIST:
		return RCPT_TELL;
	case EXPANDED_ALIAS:
		return RCPT_TELL_EXPANDED;
	}
	return RCPT_WAITING;
}

static int
rcpt_init(struct queue *q, struct qmsg *m, struct qrcpt *r, const struct envelope_rcpt *er)
{
	struct str address = clip(er->address), detail = clip(er->detail);

	*r = (struct qrcpt){
		.quota = er->quota,
		.volume = er->volume,
		.slot = (uint16_t)er->slot,
		.route = (uint8_t)er->route,
		.state = (uint8_t)first_state(er),
		.notify = (uint8_t)er->notify,
		.flags = er->sender.n ? RCPT_OWN_SENDER : 0,
		.address_n = (uint16_t)address.n,
		.detail_n = (uint16_t)detail.n,
	};
	r->address = put_string(m, address);
	put_string(m, detail);
	if (er->route == ROUTE_LOCAL)
		r->account = er->account;
	else if (!(r->hop = hop_ref(q, er->route, er->next_hop, address)))
		return -ENOMEM;
	return 0;
}

static uint32_t
seconds(uint64_t ms)
{
	return ms / 1000 < UINT32_MAX ? (uint32_t)(ms / 1000) : UINT32_MAX;
}

static void
message_init(struct qmsg *m, uint64_t id, const struct envelope *e)
{
	uint64_t arrived_ms = e->arrived_us / 1000;

	m->id = id;
	m->size = e->size;
	m->arrived_us = e->arrived_us;
	m->env_flags = (uint16_t)e->flags;
	m->priority = (int8_t)(e->priority < -9 ? -9 : e->priority > 9 ? 9 : e->priority);
	m->next_ms = e->hold_until_ms;
	m->born_s = seconds(e->hold_until_ms > arrived_ms ? e->hold_until_ms : arrived_ms);
	m->deliver_by_s = seconds(e->deliver_by_ms);
	m->n_open = m->n_rcpts;
	m->sender_n = (uint16_t)clip(e->sender).n;
	m->trace_n = (uint16_t)clip(e->trace).n;
	put_string(m, clip(e->sender));
	put_string(m, clip(e->trace));
}

struct qmsg *
qmsg_new(struct queue *q, uint64_t id, const struct envelope *e)
{
	struct qmsg *m = qmsg_alloc(e->n_rcpts, strings_size(e));
	int rc = 0;

	if (!m)
		return NULL;
	message_init(m, id, e);
	for (size_t i = 0; i < e->n_rcpts && !rc; i++)
		rc = rcpt_init(q, m, &m->rcpts[i], &e->rcpts[i]);
	m->tenant = rc ? NULL : tenant_ref(q, str_head(e->tenant, 256));
	if (!m->tenant)
		qmsg_free(q, &m);
	return m;
}

void
qmsg_free(struct queue *q, struct qmsg **mp)
{
	struct qmsg *m = *mp;

	if (!m)
		return;
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		reason_unref(q, &m->rcpts[i].why);
		if (m->rcpts[i].route != ROUTE_LOCAL)
			hop_unref(q, &m->rcpts[i].hop);
	}
	tenant_unref(q, m->tenant);
	free(m);
	*mp = NULL;
}

/* ---- entering and leaving ---- */

/* By id: nearly always at the end. */
static void
link_by_id(struct queue *q, struct qmsg *m)
{
	struct list *at = q->all.prev;

	while (at != &q->all && LIST_ENTRY(at, struct qmsg, all)->id > m->id)
		at = at->prev;
	list_insert_after(at, &m->all);
}

static bool
is_undeliverable(const struct qrcpt *r)
{
	return r->state == RCPT_FAILED;
}

/* Adds (sign 1) or takes away (-1) what the message counts for. */
static void
count(struct queue *q, const struct qmsg *m, int sign)
{
	uint64_t s = (uint64_t)(int64_t)sign, bad = 0;

	for (uint32_t i = 0; i < m->n_rcpts; i++)
		bad += is_undeliverable(&m->rcpts[i]);
	q->messages += s;
	q->recipients += s * m->n_open;
	q->bytes += s * m->size;
	q->in_state[m->state] += s;
	q->undeliverable += s * bad;
	m->tenant->messages += s;
	m->tenant->recipients += s * m->n_open;
	m->tenant->bytes += s * m->size;
}

int
queue_enter(struct queue *q, struct qmsg *m, uint64_t seq, const struct spool_place *at)
{
	m->seq = seq;
	m->seg = at->seg;
	m->off = at->off;
	m->rec_len = at->len;
	if (map_set(&q->by_id, m->id, m))
		return -ENOMEM;
	link_by_id(q, m);
	count(q, m, 1);
	return 0;
}

struct qmsg *
queue_find(const struct queue *q, uint64_t id)
{
	return map_get(&q->by_id, id);
}

void
queue_set_state(struct queue *q, struct qmsg *m, enum qmsg_state s)
{
	if (m->gone)
		return;
	q->in_state[m->state]--;
	m->state = (uint8_t)s;
	q->in_state[s]++;
}

/* What is final stays so, and what has failed or was delivered never waits again: a
 * record may be older than the entry that it is applied to. */
static bool
may_become(const struct qrcpt *r, enum rcpt_state s)
{
	return qrcpt_is_open(r) && (r->state == RCPT_WAITING || s != RCPT_WAITING);
}

static void
apply_result(struct queue *q, struct qmsg *m, const struct rcpt_result *res)
{
	struct reason *why;
	struct qrcpt *r;

	if (res->index >= m->n_rcpts || !may_become(&m->rcpts[res->index], res->state))
		return;
	r = &m->rcpts[res->index];
	q->undeliverable -= is_undeliverable(r);
	if (!rcpt_is_open(res->state)) {
		m->n_open--;
		q->recipients--;
		m->tenant->recipients--;
	}
	r->state = (uint8_t)res->state;
	if (res->event)
		r->event = (uint16_t)res->event;
	/* what is said may be the text of the old reason itself */
	why = res->smtp || res->enhanced.n ? reason_ref(q, res) : NULL;
	reason_unref(q, &r->why);
	r->why = why;
	q->undeliverable += is_undeliverable(r);
}

uint16_t
qmsg_next_event(const struct qmsg *m)
{
	uint16_t last = 0;

	for (uint32_t i = 0; i < m->n_rcpts; i++)
		if (m->rcpts[i].event > last)
			last = m->rcpts[i].event;
	return (uint16_t)(last + 1);
}

void
queue_apply(struct queue *q, struct qmsg *m, const struct queue_update *u)
{
	if (m->gone)
		return;
	for (size_t i = 0; i < u->n_results; i++)
		apply_result(q, m, &u->results[i]);
	if (u->has_next)
		m->next_ms = u->next_ms;
	if (u->attempts)
		m->attempts = (uint16_t)u->attempts;
	m->flags = (uint8_t)((m->flags | u->set) & ~u->clear);
	queue_set_state(q, m,
	    m->flags & MSG_HELD ? QS_HELD : m->attempts ? QS_DEFERRED : QS_ACTIVE);
}

void
queue_pin(struct qmsg *m)
{
	m->pins++;
}

void
queue_unpin(struct queue *q, struct qmsg *m)
{
	if (!--m->pins && m->gone)
		qmsg_free(q, &m);
}

void
queue_remove(struct queue *q, struct qmsg *m)
{
	if (q->on_remove)
		q->on_remove(q->arg, m);
	count(q, m, -1);
	map_del(&q->by_id, m->id);
	list_remove(&m->all);
	m->gone = true;
	if (!m->pins)
		qmsg_free(q, &m);
}

/* ---- recovery: records ---- */

struct message_meta {
	struct str envelope, update;
	uint64_t file, file_size;
	uint32_t file_crc;
};

static int
meta_get(struct str meta, struct message_meta *ret)
{
	struct wire_field f;
	int rc;

	*ret = (struct message_meta){ 0 };
	while ((rc = wire_next(&meta, &f)) > 0) {
		if (f.tag == SPOOL_META_ENVELOPE)
			ret->envelope = f.v;
		else if (f.tag == SPOOL_META_UPDATE)
			ret->update = f.v;
		else if (f.tag == SPOOL_META_FILE)
			ret->file = wire_int(&f);
		else if (f.tag == SPOOL_META_FILE_SIZE)
			ret->file_size = wire_int(&f);
		else if (f.tag == SPOOL_META_FILE_CRC)
			ret->file_crc = (uint32_t)wire_int(&f);
	}
	return rc;
}

/* The record of a message names its key; one that is there is older. */
static int
recall_key(struct queue *q, uint64_t id, const struct envelope *e)
{
	int rc = e->dedup_key.n ? dedup_add(&q->dedup, e->dedup_key, id,
	    e->arrived_us / 1000 + QUEUE_DEDUP_MS, false) : 0;

	return rc == -ENOMEM ? rc : 0;
}

static int
make_message(struct queue *q, const struct spool_record *r, struct arena *a, struct qmsg **ret)
{
	struct message_meta meta;
	struct queue_update u = { 0 };
	struct envelope e;
	int rc = meta_get(r->meta, &meta);

	if (rc || (rc = envelope_get(meta.envelope, a, &e)) ||
	    (rc = queue_update_get(meta.update, a, &u)))
		return rc;
	if (r->type == SPOOL_LARGE_MESSAGE && !meta.file)
		return -EBADMSG;
	*ret = recall_key(q, r->id, &e) ? NULL : qmsg_new(q, r->id, &e);
	if (!*ret)
		return -ENOMEM;
	(*ret)->size = r->type == SPOOL_LARGE_MESSAGE ? meta.file_size : r->content.n;
	(*ret)->large = r->type == SPOOL_LARGE_MESSAGE ? meta.file : 0;
	(*ret)->large_crc = meta.file_crc;
	return 0;
}

/* A message record: new, or moved (the higher sequence wins). */
static int
visit_message(struct queue *q, const struct spool_record *r, const struct spool_place *at,
    struct arena *a)
{
	struct qmsg *m = queue_find(q, r->id);
	struct message_meta meta;
	struct queue_update u;
	int rc;

	if (m && m->seq >= r->seq)
		return 0;
	if (m) {
		queue_moved(q, NULL, m, r->seq, at);
	} else {
		rc = make_message(q, r, a, &m);
		if (rc)
			return rc;
		rc = queue_enter(q, m, r->seq, at);
		if (rc) {
			qmsg_free(q, &m);
			return rc;
		}
	}
	meta_get(r->meta, &meta);
	rc = queue_update_get(meta.update, a, &u);
	if (!rc)
		queue_apply(q, m, &u);
	return rc;
}

static int
visit_update(struct queue *q, const struct spool_record *r, struct arena *a)
{
	struct qmsg *m = queue_find(q, r->id);
	struct queue_update u;
	int rc;

	if (!m)
		return 0;
	if (r->type == SPOOL_FINAL) {
		queue_remove(q, m);
		return 0;
	}
	rc = queue_update_get(r->meta, a, &u);
	if (!rc)
		queue_apply(q, m, &u);
	return rc;
}

int
queue_visit_record(void *arg, const struct spool_record *r, const struct spool_place *at)
{
	struct queue *q = arg;
	struct arena *a = arena_new(0);
	int rc = 0;

	if (!a)
		return -ENOMEM;
	switch (r->type) {
	case SPOOL_MESSAGE:
	case SPOOL_LARGE_MESSAGE:
		rc = visit_message(q, r, at, a);
		break;
	case SPOOL_UPDATE:
	case SPOOL_FINAL:
		rc = visit_update(q, r, a);
		break;
	case SPOOL_CHECKPOINT:
		break;
	}
	arena_free(&a);
	return rc;
}

/* ---- after recovery ---- */

static bool
is_touched(const struct qmsg *m, const struct spool_recovery *rec)
{
	return !rec->clean || m->seq <= rec->uncertain_seq;
}

void
queue_recovered(struct queue *q, struct spool *s, const struct spool_recovery *rec)
{
	struct qmsg *m, *next;

	LIST_FOREACH_SAFE(m, next, &q->all, struct qmsg, all) {
		/* an entry of a checkpoint that was written while the record's
		 * batch was not durable yet names nothing */
		if (!m->n_open) {
			queue_remove(q, m);
			continue;
		}
		spool_ref(s, m->seg, m->rec_len);
		for (uint32_t i = 0; i < m->n_rcpts && is_touched(m, rec); i++)
			m->rcpts[i].flags |= RCPT_MAYBE_DONE;
		if (rec->checkpoint_lost && m->seq <= rec->uncertain_seq) {
			m->flags |= MSG_HELD | MSG_UNCERTAIN;
			queue_set_state(q, m, QS_HELD);
		}
	}
}

void
queue_moved(struct queue *q, struct spool *s, struct qmsg *m, uint64_t seq,
    const struct spool_place *at)
{
	if (s) {
		spool_ref(s, at->seg, at->len);
		spool_unref(s, m->seg, m->rec_len);
	}
	m->seq = seq;
	m->seg = at->seg;
	m->off = at->off;
	m->rec_len = at->len;
}
