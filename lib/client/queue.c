/*
 * The callers' side of queued. A message up to 256 KiB goes in one frame whose
 * content stays where it is until the channel has written it; a larger one goes
 * ahead in chunks, each answered before the next is sent, and the accept frame
 * names the stream.
 */
#include "lib/client/queue.h"

#include <errno.h>
#include <stdatomic.h>

#include "lib/client/queue_wire.h"

#define ANSWER_MS 600000u /* above any disk; the client's own time limit comes first */
#define IOV_MAX_PIECES 64

static _Atomic int pressure_level;
static _Atomic uint64_t pressure_delay;

/* ---- codecs ---- */

enum { A_ID = 1, A_OUTCOME = 2, A_SMTP = 3, A_ENHANCED = 4, A_TEXT = 5, A_RCPT = 6, A_DUPLICATE = 7 };

static void
outcome_put(struct buf *b, enum queue_outcome o, unsigned smtp, struct str enhanced, struct str text)
{
	wire_u64(b, A_OUTCOME, o);
	wire_u64(b, A_SMTP, smtp);
	if (enhanced.n)
		wire_str(b, A_ENHANCED, enhanced);
	if (text.n)
		wire_str(b, A_TEXT, text);
}

void
queue_answer_put(struct buf *b, const struct queue_answer *r)
{
	wire_u64(b, A_ID, r->spool_id);
	outcome_put(b, r->outcome, r->smtp, r->enhanced, r->text);
	if (r->duplicate)
		wire_u64(b, A_DUPLICATE, 1);
	for (size_t i = 0; i < r->n_rcpts; i++) {
		const struct queue_rcpt_result *q = &r->rcpts[i];
		size_t at = wire_begin(b, A_RCPT);

		outcome_put(b, q->outcome, q->smtp, q->enhanced, q->text);
		wire_end(b, at);
	}
}

static int
rcpt_get(struct str body, struct queue_rcpt_result *r)
{
	struct wire_field f;
	int rc;

	*r = (struct queue_rcpt_result){ 0 };
	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag == A_OUTCOME)
			r->outcome = (enum queue_outcome)wire_int(&f);
		else if (f.tag == A_SMTP)
			r->smtp = (unsigned)wire_int(&f);
		else if (f.tag == A_ENHANCED)
			r->enhanced = f.v;
		else if (f.tag == A_TEXT)
			r->text = f.v;
	}
	return rc;
}

static size_t
count_rcpts(struct str body)
{
	struct wire_field f;
	size_t n = 0;

	while (wire_next(&body, &f) > 0)
		n += f.tag == A_RCPT;
	return n;
}

int
queue_answer_get(struct str body, struct arena *a, struct queue_answer *ret)
{
	struct queue_answer r = { 0 };
	struct queue_rcpt_result own;
	struct wire_field f;
	struct str walk = body;
	size_t n = count_rcpts(body);
	int rc;

	if (n && !(r.rcpts = ARENA_ARRAY(a, struct queue_rcpt_result, n)))
		return -ENOMEM;
	rc = rcpt_get(body, &own);
	while (!rc && (rc = wire_next(&walk, &f)) > 0) {
		rc = 0;
		if (f.tag == A_ID)
			r.spool_id = wire_int(&f);
		else if (f.tag == A_DUPLICATE)
			r.duplicate = wire_int(&f) != 0;
		else if (f.tag == A_RCPT)
			rc = rcpt_get(f.v, &r.rcpts[r.n_rcpts++]);
	}
	if (rc)
		return rc;
	r.outcome = own.outcome;
	r.smtp = own.smtp;
	r.enhanced = own.enhanced;
	r.text = own.text;
	*ret = r;
	return 0;
}

void
queue_pressure_put(struct buf *b, const struct queue_pressure_event *p)
{
	wire_u64(b, 1, p->level);
	wire_u64(b, 2, p->delay_ms);
}

int
queue_pressure_get(struct str body, struct queue_pressure_event *ret)
{
	struct queue_pressure_event p = { 0 };
	struct wire_field f;
	int rc;

	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag == 1)
			p.level = (unsigned)wire_int(&f);
		else if (f.tag == 2)
			p.delay_ms = wire_int(&f);
	}
	if (!rc)
		*ret = p;
	return rc;
}

/* ---- calls ---- */

static size_t
total(const struct iovec *v, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i].iov_len;
	return sum;
}

static int
take_answer(const struct frame *f, struct arena *a, struct queue_answer *ret)
{
	return queue_answer_get(f->body, a, ret);
}

static int
accept_inline(const struct envelope *env, const struct iovec *content, size_t n, size_t size,
    struct arena *a, struct queue_answer *ret)
{
	struct iovec iov[IOV_MAX_PIECES + 1];
	struct buf b = { 0 };
	struct wire_error we;
	struct frame f;
	size_t at;
	char tag[6] = { QUEUE_CONTENT, 0 };
	int rc;

	at = wire_begin(&b, QUEUE_ENVELOPE);
	envelope_put(&b, env);
	wire_end(&b, at);
	le32_put(tag + 2, (uint32_t)size);
	buf_put(&b, tag, sizeof tag);
	if (b.over)
		return -ENOMEM;
	iov[0] = (struct iovec){ b.p, b.n };
	for (size_t i = 0; i < n; i++)
		iov[i + 1] = content[i];
	rc = chan_call(chan_to(ROLE_QUEUED, 0), MSG_QUEUE_ACCEPT, iov, n + 1, -1, ANSWER_MS, a, &f,
	    &we);
	buf_done(&b);
	return rc ? rc : take_answer(&f, a, ret);
}

static void
on_pressure(void *arg, struct chan *c, const struct frame *f)
{
	struct queue_pressure_event p;

	(void)arg, (void)c;
	if (queue_pressure_get(f->body, &p))
		return;
	atomic_store(&pressure_level, (int)p.level);
	atomic_store(&pressure_delay, p.delay_ms);
}

/* A queued that went has taken its pressure along. */
static void
on_state(void *arg, struct chan *c, bool up)
{
	(void)arg, (void)c, (void)up;
	atomic_store(&pressure_level, 0);
}

static void
listen_once(void)
{
	static _Atomic bool done;

	if (atomic_exchange(&done, true))
		return;
	chan_on_event(ROLE_QUEUED, MSG_QUEUE_EV_PRESSURE, on_pressure, NULL);
	chan_on_state(ROLE_QUEUED, on_state, NULL);
}

/* One chunk; v[0] is left free for what stands before the content. */
static int
send_chunk(struct queue_stream *s, struct iovec *v, size_t n, size_t size, struct arena *a,
    struct wire_error *we)
{
	struct buf b = { 0 };
	struct frame f;
	char tag[6] = { QUEUE_CONTENT, 0 };
	int rc;

	wire_u64(&b, QUEUE_STREAM, s->id);
	wire_u64(&b, QUEUE_OFFSET, s->size);
	le32_put(tag + 2, (uint32_t)size);
	buf_put(&b, tag, sizeof tag);
	v[0] = (struct iovec){ b.p, b.n };
	*we = (struct wire_error){ 0 };
	rc = b.over ? -ENOMEM : chan_call(chan_to(ROLE_QUEUED, 0), MSG_QUEUE_CHUNK, v, n + 1, -1,
	    ANSWER_MS, a, &f, we);
	buf_done(&b);
	if (!rc)
		s->size += size;
	return rc;
}

int
queue_stream_put(struct queue_stream *s, const struct iovec *content, size_t n, struct arena *a,
    struct wire_error *ret_error)
{
	static _Atomic uint64_t streams;
	struct iovec v[IOV_MAX_PIECES + 1];
	size_t k = 0, size = 0;
	int rc = 0;

	*ret_error = (struct wire_error){ 0 };
	if (!chan_to(ROLE_QUEUED, 0))
		return -ENOTCONN;
	if (!s->id)
		s->id = atomic_fetch_add(&streams, 1) + 1;
	for (size_t i = 0; i < n && !rc; i++)
		for (size_t at = 0, take; at < content[i].iov_len && !rc; at += take) {
			take = content[i].iov_len - at;
			if (take > QUEUE_CHUNK_SIZE - size)
				take = QUEUE_CHUNK_SIZE - size;
			v[++k] = (struct iovec){ (char *)content[i].iov_base + at, take };
			size += take;
			if (size < QUEUE_CHUNK_SIZE && k < IOV_MAX_PIECES)
				continue;
			rc = send_chunk(s, v, k, size, a, ret_error);
			k = size = 0;
		}
	return rc || !size ? rc : send_chunk(s, v, k, size, a, ret_error);
}

static void
forget(void *arg, int code, const struct frame *f)
{
	(void)arg, (void)code, (void)f;
}

void
queue_stream_abort(struct queue_stream *s)
{
	struct chan *c = chan_to(ROLE_QUEUED, 0);
	struct buf b = { 0 };

	wire_u64(&b, QUEUE_STREAM, s->id);
	if (c && s->id)
		chan_send(c, MSG_QUEUE_ABORT, &b, -1, ANSWER_MS, forget, NULL);
	buf_done(&b);
	*s = (struct queue_stream){ 0 };
}

int
queue_stream_accept(const struct envelope *env, struct queue_stream *s, struct arena *a,
    struct queue_answer *ret)
{
	struct buf b = { 0 };
	struct wire_error we;
	struct frame f;
	size_t at;
	int rc;

	wire_u64(&b, QUEUE_STREAM, s->id);
	at = wire_begin(&b, QUEUE_ENVELOPE);
	envelope_put(&b, env);
	wire_end(&b, at);
	listen_once();
	rc = b.over ? -ENOMEM : chan_call_buf(chan_to(ROLE_QUEUED, 0), MSG_QUEUE_ACCEPT, &b,
	    ANSWER_MS, a, &f, &we);
	buf_done(&b);
	if (rc)
		queue_stream_abort(s);
	*s = (struct queue_stream){ 0 };
	return rc ? rc : take_answer(&f, a, ret);
}

static int
accept_chunks(const struct envelope *env, const struct iovec *content, size_t n, struct arena *a,
    struct queue_answer *ret)
{
	struct queue_stream s = { 0 };
	struct wire_error we;
	int rc = queue_stream_put(&s, content, n, a, &we);

	if (!rc)
		return queue_stream_accept(env, &s, a, ret);
	queue_stream_abort(&s);
	if (!we.smtp)
		return rc;
	*ret = (struct queue_answer){ .outcome = QUEUE_TEMPFAIL, .smtp = we.smtp,
		.enhanced = we.enhanced, .text = we.text };
	return 0;
}

int
queue_accept(const struct envelope *env, const struct iovec *content, size_t n, struct arena *a,
    struct queue_answer *ret)
{
	size_t size = total(content, n);

	if (!chan_to(ROLE_QUEUED, 0))
		return -ENOTCONN;
	listen_once();
	if (size > QUEUE_INLINE || n > IOV_MAX_PIECES)
		return accept_chunks(env, content, n, a, ret);
	return accept_inline(env, content, n, size, a, ret);
}

int
queue_pressure(uint64_t *ret_delay_ms)
{
	int level;

	listen_once();
	level = atomic_load(&pressure_level);
	*ret_delay_ms = level ? atomic_load(&pressure_delay) : 0;
	return level;
}
