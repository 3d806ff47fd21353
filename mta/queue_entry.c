/*
 * A message in a checkpoint, and all that happened to it as one update. An entry,
 * little-endian:
 *	 0 u64 id, seq, size, arrived_us, next_ms, off, large       (56 bytes)
 *	56 u32 seg, rec_len, large_crc, n_rcpts                     (72)
 *	72 u16 sender_n, trace_n, attempts, tenant_n                (80)
 *	80 u8 flags; u16 env_flags; u8 priority; u32 strings_n      (88)
 *	88 u32 born_s, deliver_by_s                                 (96)
 * then per recipient 44 bytes:
 *	 0 u64 account (0: not local), quota
 *	16 u32 volume, address; 24 u16 address_n, detail_n, slot
 *	30 u8 route, state, flags (RCPT_E_*), enhanced_n; 34 u16 smtp, text_n
 *	38 u8 notify, mta_n; 40 u16 event, next_hop_n
 *	   followed by enhanced, text, mta, next_hop
 * then tenant, strings. What stood there as zeros once reads as its absence.
 */
#include "mta/queue_intern.h"

#include <errno.h>

#include "lib/client/queue.h"

#define ENTRY_FIXED 96u
#define ENTRY_RCPT 44u

enum { RCPT_E_MAYBE_DONE = 1, RCPT_E_OWN_SENDER = 2 };

static uint8_t
entry_flags(const struct qrcpt *r)
{
	bool maybe = r->flags & (RCPT_MAYBE_DONE | RCPT_BUSY);

	return (uint8_t)((maybe ? RCPT_E_MAYBE_DONE : 0) |
	    (r->flags & RCPT_OWN_SENDER ? RCPT_E_OWN_SENDER : 0));
}

static void
rcpt_entry_put(struct buf *b, const struct qrcpt *r)
{
	static const struct reason none;
	const struct reason *why = r->why ? r->why : &none;
	bool local = r->route == ROUTE_LOCAL;
	struct str next_hop = local ? STR_NULL : r->hop->next_hop;

	buf_le64(b, local ? r->account : 0);
	buf_le64(b, r->quota);
	buf_le32(b, r->volume);
	buf_le32(b, r->address);
	buf_le16(b, r->address_n);
	buf_le16(b, r->detail_n);
	buf_le16(b, r->slot);
	buf_putc(b, (char)r->route);
	buf_putc(b, (char)r->state);
	buf_putc(b, (char)entry_flags(r));
	buf_putc(b, (char)why->enhanced.n);
	buf_le16(b, why->smtp);
	buf_le16(b, (uint16_t)why->text.n);
	buf_putc(b, (char)r->notify);
	buf_putc(b, (char)why->mta.n);
	buf_le16(b, r->event);
	buf_le16(b, (uint16_t)next_hop.n);
	buf_str(b, why->enhanced);
	buf_str(b, why->text);
	buf_str(b, why->mta);
	buf_str(b, next_hop);
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
	buf_le16(b, m->env_flags);
	buf_putc(b, (char)m->priority);
	buf_le32(b, m->strings_n);
	buf_le32(b, m->born_s);
	buf_le32(b, m->deliver_by_s);
	for (uint32_t i = 0; i < m->n_rcpts; i++)
		rcpt_entry_put(b, &m->rcpts[i]);
	buf_str(b, m->tenant->name);
	buf_put(b, qmsg_strings(m), m->strings_n);
	if (!b->over)
		le32_put(b->p + start, (uint32_t)(b->n - start - 4));
}

static struct str
take(struct str *s, size_t n)
{
	struct str v = str_head(*s, n);

	*s = str_skip(*s, n);
	return v;
}

static void
rcpt_fixed(struct qmsg *m, struct qrcpt *r, const unsigned char *p)
{
	bool known = p[31] < RCPT_STATES;

	*r = (struct qrcpt){
		.quota = le64_get(p + 8),
		.volume = le32_get(p + 16),
		.address = le32_get(p + 20),
		.address_n = le16_get(p + 24),
		.detail_n = le16_get(p + 26),
		.slot = le16_get(p + 28),
		.route = p[30],
		.state = known ? p[31] : RCPT_WAITING,
		.flags = (uint8_t)((p[32] & RCPT_E_MAYBE_DONE ? RCPT_MAYBE_DONE : 0) |
		    (p[32] & RCPT_E_OWN_SENDER ? RCPT_OWN_SENDER : 0)),
		.notify = p[38],
		.event = le16_get(p + 40),
	};
	if (!known)
		m->flags |= MSG_HELD | MSG_UNCERTAIN;
}

static int
rcpt_entry_get(struct queue *q, struct str *s, struct str strings, struct qmsg *m, struct qrcpt *r)
{
	const unsigned char *p = (const unsigned char *)s->p;
	struct rcpt_result res = { 0 };
	size_t en, tn, mn, hn;
	struct str next_hop;

	if (s->n < ENTRY_RCPT)
		return -EBADMSG;
	rcpt_fixed(m, r, p);
	en = p[33], tn = le16_get(p + 36), mn = p[39], hn = le16_get(p + 42);
	if (s->n - ENTRY_RCPT < en + tn + mn + hn ||
	    (uint64_t)r->address + r->address_n + r->detail_n > m->strings_n)
		return -EBADMSG;
	*s = str_skip(*s, ENTRY_RCPT);
	res.smtp = le16_get(p + 34);
	res.enhanced = take(s, en);
	res.text = take(s, tn);
	res.mta = take(s, mn);
	next_hop = take(s, hn);
	if (res.smtp || en)
		r->why = reason_ref(q, &res);
	if (r->route == ROUTE_LOCAL)
		r->account = le64_get(p);
	else if (!(r->hop = hop_ref(q, (enum rcpt_route)r->route, next_hop,
	    str_head(str_skip(strings, r->address), r->address_n))))
		return -ENOMEM;
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
	m->env_flags = le16_get(p + 81);
	m->priority = (int8_t)p[83];
	m->strings_n = le32_get(p + 84);
	m->born_s = le32_get(p + 88);
	m->deliver_by_s = le32_get(p + 92);
	if (!m->born_s)
		m->born_s = (uint32_t)(m->arrived_us / 1000000);
}

static int
entry_rest(struct queue *q, struct qmsg *m, struct str s, size_t tenant_n)
{
	struct str strings;

	if (s.n < tenant_n + m->strings_n || (size_t)m->sender_n + m->trace_n > m->strings_n)
		return -EBADMSG;
	strings = str_skip(s, s.n - m->strings_n);
	for (uint32_t i = 0; i < m->n_rcpts; i++) {
		int rc = rcpt_entry_get(q, &s, strings, m, &m->rcpts[i]);

		if (rc)
			return rc;
		m->n_open += qrcpt_is_open(&m->rcpts[i]);
	}
	if (s.n != tenant_n + m->strings_n)
		return -EBADMSG;
	m->tenant = tenant_ref(q, str_head(s, tenant_n));
	if (!m->tenant)
		return -ENOMEM;
	memcpy((char *)(uintptr_t)qmsg_strings(m), strings.p, m->strings_n);
	m->state = m->flags & MSG_HELD ? QS_HELD : m->attempts ? QS_DEFERRED : QS_ACTIVE;
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
			.mta = r->why ? r->why->mta : STR_NULL,
			.event = r->event,
		};
	}
	*ret = u;
	return 0;
}

