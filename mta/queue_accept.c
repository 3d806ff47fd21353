/*
 * Taking messages in. The envelope and content of an accept frame are copied
 * once, into the batch; the answer is the committer's. Content of a large
 * message comes ahead in chunks, which a worker writes to its file; its record
 * follows when file and folder are durable. An LMTP client's answer waits for
 * the results of its recipients, but no longer than 30 s: then the message is a
 * queued one like any other.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/queue.h"
#include "lib/client/queue_wire.h"
#include "lib/proc/metrics.h"
#include "mta/queued.h"

#define LMTP_WAIT_MS 30000u
#define STREAMS_MAX 1024u  /* large messages that come in at a time */

static struct metric accepted = METRIC_COUNTER("queue_accepted_total", NULL, "Messages accepted");
static struct metric accepted_bytes = METRIC_COUNTER("queue_accepted_bytes_total", NULL,
    "Bytes of accepted messages");
static struct metric refused = METRIC_COUNTER("queue_refused_total", NULL,
    "Messages refused for want of room");
static struct metric duplicates = METRIC_COUNTER("queue_duplicates_total", NULL,
    "Messages whose deduplication key was known");

struct accept_fields {
	struct str envelope, content;
	uint64_t stream, offset;
};

static int
fields_get(struct str body, struct accept_fields *ret)
{
	struct wire_field f;
	int rc;

	*ret = (struct accept_fields){ 0 };
	while ((rc = wire_next(&body, &f)) > 0) {
		if (f.tag == QUEUE_ENVELOPE)
			ret->envelope = f.v;
		else if (f.tag == QUEUE_CONTENT)
			ret->content = f.v;
		else if (f.tag == QUEUE_STREAM)
			ret->stream = wire_int(&f);
		else if (f.tag == QUEUE_OFFSET)
			ret->offset = wire_int(&f);
	}
	return rc;
}

static void
answer(struct peer *p, uint64_t request, const struct queue_answer *a)
{
	struct buf b = { 0 };

	queue_answer_put(&b, a);
	chan_answer(p, request, MSG_QUEUE_ACCEPT, &b, -1);
	buf_done(&b);
}

static void
refuse(struct peer *p, uint64_t request, int code)
{
	struct queue_answer a = { .outcome = QUEUE_TEMPFAIL, .smtp = 451, .enhanced = STR("4.3.0"),
		.text = STR("Local error in processing") };

	metric_add(&refused, 1);
	if (code == -ENOSPC || code == -EAGAIN || code == -EDQUOT) {
		a.smtp = 452;
		a.enhanced = STR("4.3.1");
		a.text = STR("Insufficient system storage");
	} else if (code == -EMSGSIZE) {
		a.outcome = QUEUE_REJECTED;
		a.smtp = 552;
		a.enhanced = STR("5.3.4");
		a.text = STR("Message too big");
	}
	answer(p, request, &a);
}

/* ---- deduplication ---- */

/* A request with the key of a message that is being committed. */
struct key_wait {
	struct list link;
	struct peer *peer;
	uint64_t request;
};

static void
answer_duplicate(struct peer *p, uint64_t request, uint64_t id)
{
	metric_add(&duplicates, 1);
	answer(p, request, &(struct queue_answer){ .spool_id = id, .outcome = QUEUE_ACCEPTED,
		.smtp = 250, .duplicate = true });
}

/* Answers, now or later, when the message was taken before. */
static bool
is_duplicate(struct peer *p, uint64_t request, const struct envelope *env)
{
	struct dedup_key *k = env->dedup_key.n ? dedup_find(&queued.q.dedup, env->dedup_key) : NULL;
	struct key_wait *w;

	if (!k)
		return false;
	if (!k->pending) {
		answer_duplicate(p, request, k->id);
		return true;
	}
	w = calloc(1, sizeof *w);
	if (!w) {
		refuse(p, request, -ENOMEM);
		return true;
	}
	w->peer = chan_peer_ref(p);
	w->request = request;
	list_push(&k->waiting, &w->link);
	return true;
}

static int
key_begin(const struct envelope *env, uint64_t id)
{
	if (!env->dedup_key.n)
		return 0;
	return dedup_add(&queued.q.dedup, env->dedup_key, id, env->arrived_us / 1000 + QUEUE_DEDUP_MS,
	    true);
}

/* The fate of the message's record decides about its key. */
static void
key_committed(uint64_t id, int code)
{
	struct dedup_key *k = dedup_pending(&queued.q.dedup, id);
	struct list *l;

	if (!k)
		return;
	while ((l = list_pop(&k->waiting))) {
		struct key_wait *w = LIST_ENTRY(l, struct key_wait, link);

		if (code)
			refuse(w->peer, w->request, code);
		else
			answer_duplicate(w->peer, w->request, id);
		chan_peer_unref(&w->peer);
		free(w);
	}
	if (code)
		dedup_remove(&queued.q.dedup, k);
	else
		dedup_commit(&queued.q.dedup, k);
}

static void
bad_frame(struct peer *p, uint64_t request, uint16_t type)
{
	struct wire_error e = { .code = -EPROTO, .text = STR("malformed request") };

	LOG_WARN("queue.bad_frame", L_C("from", role_name(chan_peer_role(p))),
	    L_U64("instance", chan_peer_instance(p)), L_U64("type", type & 0xff));
	chan_answer_error(p, request, type, &e);
}

/* ---- LMTP ---- */

bool
accept_lmtp_waits(const struct qmsg *m)
{
	return m->env_flags & ENV_LMTP && map_get(&queued.lmtp, m->id);
}

static void
lmtp_free(struct lmtp_wait *w)
{
	map_del(&queued.lmtp, w->m->id);
	loop_timer_clear(queued.loop, &w->timer);
	chan_peer_unref(&w->peer);
	queue_unpin(&queued.q, w->m);
	free(w);
}

static struct queue_rcpt_result
lmtp_result(const struct qrcpt *r, int code)
{
	struct queue_rcpt_result q = { .outcome = QUEUE_ACCEPTED, .smtp = 250 };

	if (r->state == RCPT_DELIVERED)
		q.outcome = QUEUE_DELIVERED;
	if (r->state != RCPT_RETURNED)
		return q;
	q.outcome = r->why && r->why->smtp >= 500 && !code ? QUEUE_REJECTED : QUEUE_TEMPFAIL;
	q.smtp = r->why && !code ? r->why->smtp : 451;
	if (r->why && !code) {
		q.enhanced = r->why->enhanced;
		q.text = r->why->text;
	}
	return q;
}

static void
lmtp_answer(struct lmtp_wait *w, int code)
{
	struct qmsg *m = w->m;
	struct queue_answer a = { .spool_id = m->id, .outcome = QUEUE_ACCEPTED, .smtp = 250 };

	a.rcpts = calloc(m->n_rcpts + 1u, sizeof *a.rcpts);
	a.n_rcpts = a.rcpts ? m->n_rcpts : 0;
	for (size_t i = 0; i < a.n_rcpts; i++)
		a.rcpts[i] = lmtp_result(&m->rcpts[i], code);
	answer(w->peer, w->request, &a);
	free(a.rcpts);
	lmtp_free(w);
}

void
accept_lmtp_recorded(void *arg, int code)
{
	struct lmtp_wait *w = map_get(&queued.lmtp, (uint64_t)(uintptr_t)arg);

	if (w && !w->m->n_open)
		lmtp_answer(w, code);
}

static void
on_lmtp_timeout(void *arg)
{
	lmtp_answer(arg, 0);
}

static bool
lmtp_begin(struct qmsg *m, struct peer *p, uint64_t request)
{
	struct lmtp_wait *w = calloc(1, sizeof *w);

	if (!w || map_set(&queued.lmtp, m->id, w)) {
		free(w);
		return false;
	}
	w->peer = chan_peer_ref(p);
	w->request = request;
	w->m = m;
	queue_pin(m);
	loop_timer(queued.loop, &w->timer, LMTP_WAIT_MS, on_lmtp_timeout, w);
	LOG_INFO("queue.accepted", L_HEX("qid", m->id), L_STR("sid", qmsg_trace(m)),
	    L_STR("from", qmsg_sender(m)), L_U64("size", m->size), L_U64("rcpts", m->n_rcpts));
	return true;
}

/* ---- the record ---- */

/* After the commit of a message's record. The request of an LMTP client stands in
 * arg's place, as a lmtp_request. */
struct lmtp_request {
	struct peer *peer;
	uint64_t request;
};

static void
lmtp_committed(struct qmsg *m, struct lmtp_request *lr, int code)
{
	if (code)
		refuse(lr->peer, lr->request, code);
	else if (!lmtp_begin(m, lr->peer, lr->request))
		answer(lr->peer, lr->request,
		    &(struct queue_answer){ .spool_id = m->id, .outcome = QUEUE_ACCEPTED, .smtp = 250 });
	chan_peer_unref(&lr->peer);
	free(lr);
}

static void
on_committed(struct commit_entry *e, int code, const struct spool_place *at)
{
	struct qmsg *m = e->m;

	if (!code && queue_enter(&queued.q, m, e->id, at))
		fatal("queue.memory", "no memory for an accepted message");
	if (!code) {
		spool_ref(queued.spool, m->seg, m->rec_len);
		metric_add(&accepted, 1);
		metric_add(&accepted_bytes, m->size);
		if (m->flags & MSG_HELD)
			queue_set_state(&queued.q, m, QS_HELD);
	}
	key_committed(m->id, code);
	if (e->arg)
		lmtp_committed(m, e->arg, code);
	if (code) {
		if (m->large)
			spool_large_remove(queued.spool, m->large);
		qmsg_free(&queued.q, &m);
		return;
	}
	sched_message(m);
}

static struct lmtp_request *
lmtp_request(struct peer *p, uint64_t request)
{
	struct lmtp_request *lr = malloc(sizeof *lr);

	if (lr)
		*lr = (struct lmtp_request){ chan_peer_ref(p), request };
	return lr;
}

static void
field_head(char out[static 6], uint16_t tag, size_t n)
{
	out[0] = (char)tag;
	out[1] = (char)(tag >> 8);
	le32_put(out + 2, (uint32_t)n);
}

/* The update field of a message that is held from its birth. */
static struct str
held_field(struct buf *b)
{
	size_t at = wire_begin(b, SPOOL_META_UPDATE);

	queue_update_put(b, &(struct queue_update){ .set = MSG_HELD });
	wire_end(b, at);
	return buf_view(b);
}

struct take {
	struct peer *peer;
	uint64_t request;
	const struct envelope *env;
	struct str envelope;          /* its bytes */
	struct str content;
	const struct spool_large *large; /* or NULL */
};

static int
add_record(const struct take *t, struct qmsg *m)
{
	struct commit_record r = { .type = t->large ? SPOOL_LARGE_MESSAGE : SPOOL_MESSAGE,
		.seq = m->id, .id = m->id, .content = t->content, .mail = true, .urgent = true };
	struct commit_entry e = { .peer = t->peer, .request = t->request, .id = m->id, .m = m,
		.done = on_committed };
	struct buf held = { 0 }, large = { 0 };
	char head[6];
	int rc;

	field_head(head, SPOOL_META_ENVELOPE, t->envelope.n);
	r.meta[0] = str_from(head, sizeof head);
	r.meta[1] = t->envelope;
	if (m->flags & MSG_HELD)
		r.meta[2] = held_field(&held);
	if (t->large) {
		wire_u64(&large, SPOOL_META_FILE, t->large->file);
		wire_u64(&large, SPOOL_META_FILE_SIZE, t->large->size);
		wire_u64(&large, SPOOL_META_FILE_CRC, t->large->crc);
		r.meta[3] = buf_view(&large);
	}
	if (m->env_flags & ENV_LMTP) {
		e.peer = NULL;
		e.arg = lmtp_request(t->peer, t->request);
		if (!e.arg)
			return -ENOMEM;
	}
	rc = commit_add(queued.commit, &r, &e);
	if (rc && e.arg) {
		chan_peer_unref(&((struct lmtp_request *)e.arg)->peer);
		free(e.arg);
	}
	buf_done(&held);
	buf_done(&large);
	return rc;
}

static int
take_message(const struct take *t)
{
	struct qmsg *m = qmsg_new(&queued.q, spool_next(queued.spool), t->env);
	int rc;

	if (!m)
		return -ENOMEM;
	m->size = t->large ? t->large->size : t->content.n;
	if (t->large) {
		m->large = t->large->file;
		m->large_crc = t->large->crc;
	}
	if (queued.hold_new || t->env->flags & ENV_HELD)
		m->flags |= MSG_HELD;
	rc = key_begin(t->env, m->id);
	if (!rc)
		rc = add_record(t, m);
	if (rc) {
		key_committed(m->id, rc);
		qmsg_free(&queued.q, &m);
	}
	return rc;
}

/* ---- streams of large messages ---- */

struct inflow {
	struct list link;
	struct peer *peer;       /* ref; NULL: gone */
	uint64_t id;
	uint64_t size;           /* bytes that came; written or not */
	struct spool_large l;
	int code;                /* first error of the worker */
	unsigned jobs;
	bool dead;
};

struct inflow_job {
	struct inflow *s;
	struct peer *peer;
	uint64_t request;
	char *bytes;             /* a chunk, or the envelope */
	size_t n;
	int code;
};

static struct inflow *
inflow_find(const struct peer *p, uint64_t id)
{
	struct inflow *s;

	LIST_FOREACH(s, &queued.streams, struct inflow, link)
		if (s->peer == p && s->id == id)
			return s;
	return NULL;
}

static void
inflow_remove_run(void *arg)
{
	struct inflow *s = arg;

	if (s->l.file)
		spool_large_abort(queued.spool, &s->l);
}

static void
inflow_remove_done(void *arg)
{
	struct inflow *s = arg;

	chan_peer_unref(&s->peer);
	free(s);
}

/* Ends a stream; its file goes, unless the record took it over (fd -1). */
static void
inflow_end(struct inflow *s)
{
	s->dead = true;
	list_remove(&s->link);
	if (!s->jobs && work_post(queued.large, inflow_remove_run, inflow_remove_done, s))
		inflow_remove_done(s);
}

static struct inflow *
inflow_new(struct peer *p, uint64_t id)
{
	unsigned n = 0;
	struct list *l;
	struct inflow *s;

	for (l = queued.streams.next; l != &queued.streams; l = l->next)
		n++;
	s = n < STREAMS_MAX ? calloc(1, sizeof *s) : NULL;
	if (!s)
		return NULL;
	s->peer = chan_peer_ref(p);
	s->id = id;
	s->l.fd = -1;
	s->l.file = spool_next(queued.spool);
	list_push(&queued.streams, &s->link);
	return s;
}

static struct inflow_job *
inflow_job(struct inflow *s, struct peer *p, uint64_t request, struct str bytes)
{
	struct inflow_job *j = calloc(1, sizeof *j);

	if (!j || !(j->bytes = malloc(bytes.n + 1))) {
		free(j);
		return NULL;
	}
	memcpy(j->bytes, bytes.p, bytes.n);
	j->n = bytes.n;
	j->s = s;
	j->peer = chan_peer_ref(p);
	j->request = request;
	s->jobs++;
	return j;
}

static void
inflow_job_free(struct inflow_job *j)
{
	struct inflow *s = j->s;

	s->jobs--;
	if (s->dead && !s->jobs && work_post(queued.large, inflow_remove_run, inflow_remove_done, s))
		inflow_remove_done(s);
	chan_peer_unref(&j->peer);
	free(j->bytes);
	free(j);
}

static void
chunk_run(void *arg)
{
	struct inflow_job *j = arg;
	struct inflow *s = j->s;

	if (!s->code && s->l.fd < 0)
		s->code = spool_large_create(queued.spool, s->l.file, &s->l);
	if (!s->code)
		s->code = spool_large_write(&s->l, str_from(j->bytes, j->n));
	j->code = s->code;
}

static void
chunk_done(void *arg)
{
	struct inflow_job *j = arg;
	struct wire_error e = { .code = j->code, .smtp = 451, .enhanced = STR("4.3.0") };
	struct buf none = { 0 };

	if (j->code == -ENOSPC || j->code == -EDQUOT)
		e.smtp = 452, e.enhanced = STR("4.3.1");
	if (j->code)
		chan_answer_error(j->peer, j->request, MSG_QUEUE_CHUNK, &e);
	else
		chan_answer(j->peer, j->request, MSG_QUEUE_CHUNK, &none, -1);
	inflow_job_free(j);
}

void
accept_chunk(struct peer *p, struct frame *f)
{
	struct accept_fields a;
	struct inflow *s;
	struct inflow_job *j;

	if (fields_get(f->body, &a) || !a.stream || !a.content.n) {
		bad_frame(p, f->id, f->type);
		return;
	}
	s = inflow_find(p, a.stream);
	if (a.offset != (s ? s->size : 0)) { /* its beginning went to a queued before us */
		bad_frame(p, f->id, f->type);
		return;
	}
	if (!s)
		s = inflow_new(p, a.stream);
	j = s ? inflow_job(s, p, f->id, a.content) : NULL;
	if (j)
		s->size += a.content.n;
	if (j && s->size > queued.settings->message_size_limit + (1u << 20))
		s->code = -EMSGSIZE;
	if (!j || work_post(queued.large, chunk_run, chunk_done, j))
		chan_answer_error(p, f->id, f->type,
		    &(struct wire_error){ .code = -EAGAIN, .smtp = 452, .enhanced = STR("4.3.1") });
}

void
accept_abort(struct peer *p, struct frame *f)
{
	struct accept_fields a;
	struct buf none = { 0 };
	struct inflow *s = fields_get(f->body, &a) ? NULL : inflow_find(p, a.stream);

	if (s)
		inflow_end(s);
	chan_answer(p, f->id, f->type, &none, -1);
}

static void
finish_run(void *arg)
{
	struct inflow_job *j = arg;

	j->code = j->s->code;
	if (!j->code && j->s->l.fd < 0)
		j->code = -EPROTO;
	if (!j->code)
		j->code = spool_large_finish(queued.spool, &j->s->l);
}

static void
finish_done(void *arg)
{
	struct inflow_job *j = arg;
	struct envelope env;
	struct take t = { .peer = j->peer, .request = j->request, .env = &env,
		.envelope = str_from(j->bytes, j->n), .large = &j->s->l };
	bool known = false;

	arena_reset(queued.arena);
	if (!j->code)
		j->code = envelope_get(t.envelope, queued.arena, &env);
	if (!j->code)
		known = is_duplicate(j->peer, j->request, &env);
	if (!j->code && !known)
		j->code = take_message(&t);
	if (j->code)
		refuse(j->peer, j->request, j->code);
	if ((j->code || known) && j->s->l.fd < 0)
		spool_large_remove(queued.spool, j->s->l.file);
	if (!j->s->dead)
		inflow_end(j->s);
	inflow_job_free(j);
}

/* ---- requests ---- */

static int
accept_large(struct peer *p, uint64_t request, const struct accept_fields *a,
    const struct envelope *env)
{
	struct inflow *s = inflow_find(p, a->stream);
	struct inflow_job *j = NULL;

	if (!s || s->size != env->size)
		return -EPROTO;
	j = inflow_job(s, p, request, a->envelope);
	if (!j)
		return -ENOMEM;
	return work_post(queued.large, finish_run, finish_done, j);
}

static int
accept_small(struct peer *p, uint64_t request, const struct accept_fields *a,
    const struct envelope *env)
{
	struct take t = { .peer = p, .request = request, .env = env, .envelope = a->envelope,
		.content = a->content };

	if (a->content.n > SPOOL_LARGE)
		return -EMSGSIZE;
	return take_message(&t);
}

bool
accept_try(struct peer *p, const struct frame *f)
{
	struct accept_fields a;
	struct envelope env;
	unsigned no;
	int rc = fields_get(f->body, &a);

	arena_reset(queued.arena);
	if (rc || envelope_get(a.envelope, queued.arena, &env) || !env.n_rcpts ||
	    env.dedup_key.n > QUEUE_DEDUP_KEY) {
		bad_frame(p, f->id, f->type);
		return true;
	}
	if (!a.stream && is_duplicate(p, f->id, &env))
		return true;
	no = upkeep_refuses(strmap_get(&queued.q.tenants, env.tenant), env.n_rcpts,
	    env.flags & ENV_EXEMPT && chan_peer_role(p) == ROLE_SUBMITD);
	if (!no && !queued.stopping && !upkeep_has_room(a.stream ? 0 : a.content.n + a.envelope.n))
		return false;
	if (no || queued.stopping)
		rc = -EAGAIN;
	else
		rc = a.stream ? accept_large(p, f->id, &a, &env) : accept_small(p, f->id, &a, &env);
	if (rc == -EPROTO)
		bad_frame(p, f->id, f->type);
	else if (rc)
		refuse(p, f->id, rc);
	return true;
}

void
accept_no_room(struct peer *p, const struct frame *f)
{
	refuse(p, f->id, -EAGAIN);
}

void
accept_message(struct peer *p, struct frame *f)
{
	if (!park_any() && accept_try(p, f))
		return;
	if (!upkeep_room_comes() || !park_message(p, f))
		accept_no_room(p, f);
}

/* ---- callers that come and go ---- */

struct front {
	struct list link;
	struct peer *peer;
};

static void
front_add(struct peer *p)
{
	struct front *fr = calloc(1, sizeof *fr);

	if (!fr)
		return;
	fr->peer = chan_peer_ref(p);
	list_push(&queued.peers, &fr->link);
}

static void
front_remove(struct peer *p)
{
	struct front *fr, *next;
	struct inflow *s, *after;

	LIST_FOREACH_SAFE(fr, next, &queued.peers, struct front, link) {
		if (fr->peer != p)
			continue;
		list_remove(&fr->link);
		chan_peer_unref(&fr->peer);
		free(fr);
	}
	LIST_FOREACH_SAFE(s, after, &queued.streams, struct inflow, link)
		if (s->peer == p)
			inflow_end(s);
}

void
accept_peer(struct peer *p, bool up)
{
	enum role r = chan_peer_role(p);

	if (r != ROLE_SMTPD && r != ROLE_SUBMITD)
		return;
	if (up)
		front_add(p);
	else
		front_remove(p);
}

void
accept_send_event(uint16_t type, const struct buf *b)
{
	struct front *fr;

	LIST_FOREACH(fr, &queued.peers, struct front, link)
		chan_event(fr->peer, type, b, -1);
}
