/* Messages in memory; see queue_state.h. */
#include "mta/queue_state.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/client/queue.h"
#include "lib/io/wire.h"

#define STRING_MAX 4096 /* of a sender, address, trace kept in memory */
#define ENTRY_FIXED 96u
#define ENTRY_RCPT 44u

void
queue_init(struct queue *q, uint64_t max_recipients)
{
	*q = (struct queue){ .max_recipients = max_recipients };
	list_init(&q->all);
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
	dedup_done(&q->dedup);
	map_done(&q->by_id);
	strmap_done(&q->tenants);
	strmap_done(&q->reasons);
}

/* ---- tenants and reasons ---- */

static struct tenant *
tenant_ref(struct queue *q, struct str name)
{
	struct tenant *t = strmap_get(&q->tenants, name);

	if (!t) {
		t = calloc(1, sizeof *t + name.n);
		if (!t)
			return NULL;
		t->name = str_from(t + 1, name.n);
		if (name.n)
			memcpy(t + 1, name.p, name.n);
		list_init(&t->queues);
		if (strmap_set(&q->tenants, name, t)) {
			free(t);
			return NULL;
		}
	}
	t->refs++;
	return t;
}

static void
tenant_unref(struct queue *q, struct tenant *t)
{
	if (t && !--t->refs) {
		strmap_del(&q->tenants, t->name);
		free(t);
	}
}

static void
reason_unref(struct queue *q, struct reason **rp)
{
	struct reason *r = *rp;

	*rp = NULL;
	if (r && !--r->refs) {
		strmap_del(&q->reasons, r->key);
		free(r);
	}
}

static struct reason *
reason_ref(struct queue *q, uint32_t smtp, struct str enhanced, struct str text)
{
	char key[1024];
	size_t en = enhanced.n < 16 ? enhanced.n : 16, tn = text.n < 512 ? text.n : 512;
	struct reason *r;

	le32_put(key, smtp);
	key[4] = (char)en;
	if (en)
		memcpy(key + 5, enhanced.p, en);
	if (tn)
		memcpy(key + 5 + en, text.p, tn);
	r = strmap_get(&q->reasons, str_from(key, 5 + en + tn));
	if (!r) {
		r = calloc(1, sizeof *r + 5 + en + tn);
		if (!r)
			return NULL;
		memcpy(r + 1, key, 5 + en + tn);
		r->smtp = (uint16_t)smtp;
		r->key = str_from(r + 1, 5 + en + tn);
		r->enhanced = str_from((char *)(r + 1) + 5, en);
		r->text = str_from((char *)(r + 1) + 5 + en, tn);
		if (strmap_set(&q->reasons, r->key, r)) {
			free(r);
			return NULL;
		}
	}
	r->refs++;
	return r;
}

/* ---- making ---- */

static struct qmsg *
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

static void
rcpt_init(struct qmsg *m, struct qrcpt *r, const struct envelope_rcpt *er)
{
	struct str address = clip(er->address), detail = clip(er->detail);

	*r = (struct qrcpt){
		.account = er->account,
		.quota = er->quota,
		.volume = er->volume,
		.slot = (uint16_t)er->slot,
		.route = (uint8_t)er->route,
		.address_n = (uint16_t)address.n,
		.detail_n = (uint16_t)detail.n,
	};
	r->address = put_string(m, address);
	put_string(m, detail);
}

struct qmsg *
qmsg_new(struct queue *q, uint64_t id, const struct envelope *e)
{
	struct qmsg *m = qmsg_alloc(e->n_rcpts, strings_size(e));

	if (!m)
		return NULL;
	m->id = id;
	m->size = e->size;
	m->arrived_us = e->arrived_us;
	m->env_flags = (uint8_t)e->flags;
	m->next_ms = e->hold_until_ms;
	m->n_open = m->n_rcpts;
	m->sender_n = (uint16_t)clip(e->sender).n;
	m->trace_n = (uint16_t)clip(e->trace).n;
	put_string(m, clip(e->sender));
	put_string(m, clip(e->trace));
	for (size_t i = 0; i < e->n_rcpts; i++)
		rcpt_init(m, &m->rcpts[i], &e->rcpts[i]);
	m->tenant = tenant_ref(q, str_head(e->tenant, 256));
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
	for (uint32_t i = 0; i < m->n_rcpts; i++)
		reason_unref(q, &m->rcpts[i].why);
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
	return r->state == RCPT_WAITING && r->why && r->why->smtp >= 500;
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

static void
apply_result(struct queue *q, struct qmsg *m, const struct rcpt_result *res)
{
	struct qrcpt *r;

	if (res->index >= m->n_rcpts)
		return;
	r = &m->rcpts[res->index];
	q->undeliverable -= is_undeliverable(r);
	if (r->state == RCPT_WAITING && res->state != RCPT_WAITING) {
		m->n_open--;
		q->recipients--;
		m->tenant->recipients--;
	}
	if (r->state == RCPT_WAITING)
		r->state = (uint8_t)res->state;
	reason_unref(q, &r->why);
	if (res->smtp)
		r->why = reason_ref(q, res->smtp, res->enhanced, res->text);
	q->undeliverable += is_undeliverable(r);
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

/* ---- checkpoint entries ---- */

/*
 * An entry, little-endian:
 *	 0 u64 id, seq, size, arrived_us, next_ms, off, large       (56 bytes)
 *	56 u32 seg, rec_len, large_crc, n_rcpts                     (72)
 *	72 u16 sender_n, trace_n, attempts, tenant_n                (80)
 *	80 u8 flags, env_flags, 2 zero; u32 strings_n               (88)
 *	88 u64 zero                                                 (96)
 * then per recipient 44 bytes:
 *	 0 u64 account, quota; 16 u32 volume, address; 24 u16 address_n, detail_n, slot
 *	30 u8 route, state, flags, enhanced_n; 34 u16 smtp, text_n; 38 zero
 *	   followed by enhanced, text
 * then tenant, strings.
 */
static void
rcpt_entry_put(struct buf *b, const struct qrcpt *r)
{
	struct str en = r->why ? r->why->enhanced : STR_NULL, text = r->why ? r->why->text : STR_NULL;

	buf_le64(b, r->account);
	buf_le64(b, r->quota);
	buf_le32(b, r->volume);
	buf_le32(b, r->address);
	buf_le16(b, r->address_n);
	buf_le16(b, r->detail_n);
	buf_le16(b, r->slot);
	buf_putc(b, (char)r->route);
	buf_putc(b, (char)r->state);
	buf_putc(b, (char)(r->flags & RCPT_MAYBE_DONE || r->flags & RCPT_BUSY));
	buf_putc(b, (char)en.n);
	buf_le16(b, r->why ? r->why->smtp : 0);
	buf_le16(b, (uint16_t)text.n);
	buf_put(b, "\0\0\0\0\0\0", 6);
	buf_str(b, en);
	buf_str(b, text);
}

void
queue_entry_put(struct buf *b, const struct qmsg *m)
{
	const uint64_t u[7] = { m->id, m->seq, m->size, m->arrived_us, m->next_ms, m->off, m->large };
	size_t start = b->n;

	buf_le32(b, 0);
	for (size_t i = 0; i < 7; i++)
		buf_le64(b, u[i]);
	buf_le32(b, m->seg);
	buf_le32(b, m->rec_len);
	buf_le32(b, m->large_crc);
	buf_le32(b, m->n_rcpts);
	buf_le16(b, m->sender_n);
	buf_le16(b, m->trace_n);
	buf_le16(b, m->attempts);
	buf_le16(b, (uint16_t)m->tenant->name.n);
	buf_putc(b, (char)m->flags);
	buf_putc(b, (char)m->env_flags);
	buf_le16(b, 0);
	buf_le32(b, m->strings_n);
	buf_le64(b, 0);
	for (uint32_t i = 0; i < m->n_rcpts; i++)
		rcpt_entry_put(b, &m->rcpts[i]);
	buf_str(b, m->tenant->name);
	buf_put(b, qmsg_strings(m), m->strings_n);
	if (!b->over)
		le32_put(b->p + start, (uint32_t)(b->n - start - 4));
}

static int
rcpt_entry_get(struct queue *q, struct str *s, const struct qmsg *m, struct qrcpt *r)
{
	const unsigned char *p = (const unsigned char *)s->p;
	size_t en, tn;

	if (s->n < ENTRY_RCPT)
		return -EBADMSG;
	*r = (struct qrcpt){
		.account = le64_get(p),
		.quota = le64_get(p + 8),
		.volume = le32_get(p + 16),
		.address = le32_get(p + 20),
		.address_n = le16_get(p + 24),
		.detail_n = le16_get(p + 26),
		.slot = le16_get(p + 28),
		.route = p[30],
		.state = p[31] < RCPT_STATES ? p[31] : 0,
		.flags = p[32] ? RCPT_MAYBE_DONE : 0,
	};
	en = p[33];
	tn = le16_get(p + 36);
	if (s->n - ENTRY_RCPT < en + tn ||
	    (uint64_t)r->address + r->address_n + r->detail_n > m->strings_n)
		return -EBADMSG;
	if (le16_get(p + 34))
		r->why = reason_ref(q, le16_get(p + 34), str_from(p + ENTRY_RCPT, en),
		    str_from(p + ENTRY_RCPT + en, tn));
	*s = str_skip(*s, ENTRY_RCPT + en + tn);
	return 0;
}

static void
entry_fixed(struct qmsg *m, const unsigned char *p)
{
	m->id = le64_get(p);
	m->seq = le64_get(p + 8);
	m->size = le64_get(p + 16);
	m->arrived_us = le64_get(p + 24);
	m->next_ms = le64_get(p + 32);
	m->off = le64_get(p + 40);
	m->large = le64_get(p + 48);
	m->seg = le32_get(p + 56);
	m->rec_len = le32_get(p + 60);
	m->large_crc = le32_get(p + 64);
	m->sender_n = le16_get(p + 72);
	m->trace_n = le16_get(p + 74);
	m->attempts = le16_get(p + 76);
	m->flags = p[80];
	m->env_flags = p[81];
	m->strings_n = le32_get(p + 84);
	m->state = m->flags & MSG_HELD ? QS_HELD : m->attempts ? QS_DEFERRED : QS_ACTIVE;
}

static int
entry_rest(struct queue *q, struct qmsg *m, struct str s, size_t tenant_n)
{
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		int rc = rcpt_entry_get(q, &s, m, &m->rcpts[i]);

		if (rc)
			return rc;
		m->n_open += m->rcpts[i].state == RCPT_WAITING;
	}
	if (s.n != tenant_n + m->strings_n || (size_t)m->sender_n + m->trace_n > m->strings_n)
		return -EBADMSG;
	m->tenant = tenant_ref(q, str_head(s, tenant_n));
	if (!m->tenant)
		return -ENOMEM;
	memcpy((char *)(uintptr_t)qmsg_strings(m), s.p + tenant_n, m->strings_n);
	return 0;
}

int
queue_visit_entry(void *arg, struct str s)
{
	struct queue *q = arg;
	const unsigned char *p = (const unsigned char *)s.p;
	uint32_t n_rcpts;
	struct qmsg *m;
	int rc;

	if (dedup_is_entry(s))
		return dedup_entry_get(&q->dedup, s);
	if (s.n < ENTRY_FIXED)
		return -EBADMSG;
	n_rcpts = le32_get(p + 68);
	if (n_rcpts > s.n / ENTRY_RCPT || le32_get(p + 84) > s.n)
		return -EBADMSG;
	m = qmsg_alloc(n_rcpts, le32_get(p + 84));
	if (!m)
		return -ENOMEM;
	entry_fixed(m, p);
	rc = entry_rest(q, m, str_skip(s, ENTRY_FIXED), le16_get(p + 78));
	if (!rc && !queue_find(q, m->id))
		rc = queue_enter(q, m, m->seq, &(struct spool_place){ m->seg, m->rec_len, m->off });
	else if (!rc)
		rc = -EEXIST;
	if (rc)
		qmsg_free(q, &m);
	return rc == -EEXIST ? 0 : rc;
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

int
queue_summary(const struct qmsg *m, struct arena *a, struct queue_update *ret)
{
	struct queue_update u = {
		.has_next = m->next_ms != 0,
		.next_ms = m->next_ms,
		.attempts = m->attempts,
		.set = m->flags,
	};

	u.results = ARENA_ARRAY(a, struct rcpt_result, m->n_rcpts + 1);
	if (!u.results)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		const struct qrcpt *r = &m->rcpts[i];

		if (r->state == RCPT_WAITING && !r->why)
			continue;
		u.results[u.n_results++] = (struct rcpt_result){
			.index = i,
			.state = (enum rcpt_state)r->state,
			.smtp = r->why ? r->why->smtp : 0,
			.enhanced = r->why ? r->why->enhanced : STR_NULL,
			.text = r->why ? r->why->text : STR_NULL,
		};
	}
	*ret = u;
	return 0;
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
