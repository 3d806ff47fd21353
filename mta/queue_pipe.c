/* Deliveries to commands and files by piped: one request for each recipient. */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/client/pipe.h"
#include "mta/queued.h"

#define PIPE_MS (20u * 60 * 1000) /* piped ends a command long before */

static void
take_result(struct dframe *df, const struct pipe_answer *r)
{
	struct qmsg *m = df->job->m;
	struct qrcpt *q = &m->rcpts[df->v[0]];
	struct rcpt_result res = { .index = df->v[0], .state = RCPT_WAITING, .smtp = r->smtp,
		.enhanced = r->enhanced, .text = r->text };
	struct queue_update u = { .results = &res, .n_results = 1 };

	q->flags &= (uint8_t)~(RCPT_BUSY | RCPT_COVERED | RCPT_MAYBE_DONE);
	if (r->outcome == PIPE_DONE)
		res.state = deliver_done(m, q, false);
	else if (r->outcome == PIPE_REJECT)
		res.state = deliver_failed(m, q);
	if (res.state == RCPT_WAITING && (res.smtp < 400 || res.smtp >= 500))
		res.smtp = 451;
	if (r->outcome == PIPE_REJECT && res.smtp < 500)
		res.smtp = 550;
	deliver_log(m, &res);
	deliver_record(m, &u);
}

static void
on_answer(void *arg, int code, const struct frame *f)
{
	struct dframe *df = arg;
	struct qjob *j = df->job;
	struct pipe_answer ans;

	if (!code)
		code = pipe_answer_get(f->body, &ans);
	if (code) {
		deliver_lost(df, code);
	} else {
		j->d->fails = 0;
		take_result(df, &ans);
	}
	free(df);
	deliver_frame_done(j);
}

static void
send_one(struct qjob *j, const struct mail *mail, const struct envelope *env, uint32_t i)
{
	static const struct envelope_rcpt none;
	const struct qmsg *m = j->m;
	const struct qrcpt *q = &m->rcpts[i];
	const struct envelope_rcpt *er = i < env->n_rcpts ? &env->rcpts[i] : &none;
	struct dframe *df = deliver_frame(j, &i, 1);
	struct pipe_request req = {
		.spool_id = m->id,
		.arrived_us = m->arrived_us,
		.sender = er->sender.n ? er->sender : qmsg_sender(m),
		.trace = qmsg_trace(m),
		.client_name = env->client_name,
		.client_ip = env->client_ip,
		.user = env->user,
		.address = qrcpt_address(m, q),
		.original = er->original,
		.orcpt = er->orcpt,
		.detail = qrcpt_detail(m, q),
		.target = q->hop->next_hop,
		.size = m->size,
		.content = mail->fd < 0 ? mail->bytes : STR_NULL,
	};
	struct buf b = { 0 };

	pipe_request_put(&b, &req);
	deliver_send(df, chan_to(ROLE_PIPED, 0), MSG_PIPE_DELIVER, &b, mail->fd, PIPE_MS, on_answer);
	buf_done(&b);
}

void
pipe_send(struct qjob *j, const struct mail *mail)
{
	struct arena *a = arena_new(0);
	struct envelope env;
	int rc = a ? deliver_envelope(mail->meta, a, &env) : -ENOMEM;
	uint32_t n = 0, *v = NULL;

	j->frames = 1; /* until all are sent */
	if (rc)
		LOG_ERROR("queue.envelope", L_HEX("qid", j->m->id), L_C("error", strerror(-rc)));
	else
		v = deliver_rcpts(j, &n);
	for (uint32_t i = 0; i < n; i++)
		send_one(j, mail, &env, v[i]);
	free(v);
	arena_free(&a);
	deliver_frame_done(j);
}
