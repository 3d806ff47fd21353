/*
 * Deliveries to other servers: for each next hop (and sender) of a job one request to the
 * relayd that keeps the connections of the site. What only the record has, such as the
 * DSN parameters, is read from it for each try.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/client/relay.h"
#include "mta/queue_intern.h"
#include "mta/queued.h"

/* ---- results ---- */

static void
one_result(const struct qmsg *m, uint32_t index, const struct relay_result *r,
    struct rcpt_result *ret)
{
	const struct qrcpt *q = &m->rcpts[index];

	*ret = (struct rcpt_result){ .index = index, .state = RCPT_WAITING, .smtp = r->smtp,
		.enhanced = r->enhanced, .text = r->text, .mta = r->mta };
	switch (r->outcome) {
	case RELAY_DONE:
		ret->state = r->dsn ? RCPT_DELIVERED : deliver_done(m, q, true);
		break;
	case RELAY_REJECT:
		ret->state = deliver_failed(m, q);
		if (r->smtp < 500)
			ret->smtp = 550;
		break;
	case RELAY_TEMPFAIL:
		if (r->smtp < 400 || r->smtp >= 500)
			ret->smtp = 451;
		break;
	}
}

static void
take_results(struct dframe *df, const struct relay_answer *ans, struct arena *a)
{
	struct qmsg *m = df->job->m;
	struct queue_update u = { 0 };

	u.results = ARENA_ARRAY(a, struct rcpt_result, df->n + 1);
	if (!u.results)
		fatal("queue.memory", "no memory");
	for (uint32_t i = 0; i < df->n; i++) {
		m->rcpts[df->v[i]].flags &= (uint8_t)~(RCPT_BUSY | RCPT_COVERED | RCPT_MAYBE_DONE);
		if (i >= ans->n_rcpts)
			continue;
		one_result(m, df->v[i], &ans->rcpts[i], &u.results[u.n_results]);
		deliver_log(m, &u.results[u.n_results++]);
	}
	deliver_record(m, &u);
}

static void
on_answer(void *arg, int code, const struct frame *f)
{
	struct dframe *df = arg;
	struct qjob *j = df->job;
	struct arena *a = arena_new(0);
	struct relay_answer ans;

	if (!code)
		code = a ? relay_answer_get(f->body, a, &ans) : -ENOMEM;
	if (code) {
		deliver_lost(df, code);
	} else {
		take_results(df, &ans, a);
		if (!j->m->gone)
			site_answered(j->d, j->m->rcpts[df->v[0]].hop, &ans);
	}
	arena_free(&a);
	free(df);
	deliver_frame_done(j);
}

/* ---- frames ---- */

struct relaying {
	const struct qmsg *m;
	const struct mail *mail;
	struct envelope env;
};

/* The recipient in the envelope: of what memory does not keep. */
static const struct envelope_rcpt *
in_envelope(const struct relaying *s, uint32_t i)
{
	static const struct envelope_rcpt none;

	return i < s->env.n_rcpts ? &s->env.rcpts[i] : &none;
}

/* Recipients that may share a request stand together: of one hop and one sender. */
static int
by_hop(const struct relaying *s, uint32_t i, uint32_t k)
{
	uintptr_t x = (uintptr_t)s->m->rcpts[i].hop, y = (uintptr_t)s->m->rcpts[k].hop;

	if (x != y)
		return x < y ? -1 : 1;
	return str_cmp(in_envelope(s, i)->sender, in_envelope(s, k)->sender);
}

static int
by_hop_and_place(const void *a, const void *b, void *arg)
{
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	int rc = by_hop(arg, i, k);

	return rc ? rc : i < k ? -1 : i > k;
}

static struct relay_credential
credential(struct str next_hop)
{
	const struct conf_next_hop *h = conf_next_hop_of(queued.settings, next_hop);

	if (!h || !h->user.n)
		return (struct relay_credential){ 0 };
	return (struct relay_credential){
		.mech = str_ieq(h->mechanism, STR("auto")) ? STR_NULL : h->mechanism,
		.user = h->user,
		.secret = h->password,
	};
}

static void
fill(const struct relaying *s, const uint32_t *v, uint32_t n, struct arena *a,
    struct relay_request *req)
{
	const struct qmsg *m = s->m;
	const struct hop *h = m->rcpts[v[0]].hop;
	const struct envelope *e = &s->env;
	struct str own = in_envelope(s, v[0])->sender;
	bool leaves = !str_istarts(h->next_hop, STR("lmtp:"));

	*req = (struct relay_request){
		.spool_id = m->id,
		.arrived_us = m->arrived_us,
		.sender = own.n ? own : leaves && e->generic_sender.n ? e->generic_sender : qmsg_sender(m),
		.trace = qmsg_trace(m),
		.envid = own.n ? STR_NULL : s->env.envid, /* RFC 3461 section 5.2.7.1 */
		.ret = own.n ? 0 : s->env.ret,
		.body = s->env.body,
		.flags = m->env_flags,
		.priority = m->priority,
		.deliver_by_ms = s->env.deliver_by_ms,
		.next_hop = h->next_hop,
		.domain = h->domain.n ? h->domain :
		    arena_lower(a, queue_domain_of(qrcpt_address(m, &m->rcpts[v[0]]))),
		.credential = credential(h->next_hop),
		.edits = leaves ? e->generic_header : STR_NULL,
		.size = m->size,
		.content = s->mail->fd < 0 ? s->mail->bytes : STR_NULL,
		.rcpts = ARENA_ARRAY(a, struct relay_rcpt, n),
	};
	for (uint32_t i = 0; req->rcpts && i < n; i++)
		req->rcpts[req->n_rcpts++] = (struct relay_rcpt){
			.address = leaves && in_envelope(s, v[i])->generic.n ? in_envelope(s, v[i])->generic :
			    qrcpt_address(m, &m->rcpts[v[i]]),
			.orcpt = in_envelope(s, v[i])->orcpt,
			.notify = m->rcpts[v[i]].notify,
		};
}

static void
send_frame(struct qjob *j, const struct relaying *s, const uint32_t *v, uint32_t n,
    struct arena *a)
{
	struct dframe *df = deliver_frame(j, v, n);
	struct relay_request req;
	struct buf b = { 0 };

	fill(s, v, n, a, &req);
	if (!req.rcpts)
		b.over = true;
	else
		relay_request_put(&b, &req);
	deliver_send(df, chan_to(ROLE_RELAYD, j->d->instance), MSG_RELAY_DELIVER, &b, s->mail->fd,
	    queued.settings->relay_time_limit_ms + RELAY_GRACE_MS, on_answer);
	buf_done(&b);
}

static void
send_frames(struct qjob *j, const struct relaying *s, struct arena *a)
{
	uint32_t n, from = 0, *v = deliver_rcpts(j, &n);

	qsort_r(v, n, sizeof *v, by_hop_and_place, (void *)(uintptr_t)s);
	j->frames = 1; /* until all are sent */
	for (uint32_t i = 1; i <= n; i++)
		if (i == n || by_hop(s, v[i], v[from]) || i - from == RELAY_RCPTS_MAX) {
			send_frame(j, s, v + from, i - from, a);
			from = i;
		}
	free(v);
	deliver_frame_done(j);
}

void
relay_send(struct qjob *j, const struct mail *mail)
{
	struct relaying s = { .m = j->m, .mail = mail };
	struct arena *a = arena_new(0);
	int rc = a ? deliver_envelope(mail->meta, a, &s.env) : -ENOMEM;

	if (rc) {
		LOG_ERROR("queue.envelope", L_HEX("qid", j->m->id), L_C("error", strerror(-rc)));
		sched_job_done(j);
	} else {
		send_frames(j, &s, a);
	}
	arena_free(&a);
}
