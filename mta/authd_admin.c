/*
 * The admin's verbs: each is a job for a worker, since it may hash and it waits
 * for the disk; one change runs at a time. Answers of many rows go in parts.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/client/control.h"
#include "mta/authd.h"

#define PART (64u << 10)

static pthread_mutex_t change_lock = PTHREAD_MUTEX_INITIALIZER; /* of authd.changes */

struct admin_job {
	struct job job;
	struct peer *peer;
	uint64_t id;
	struct buf body;      /* the request's fields */
	struct auth_admin q;  /* strings in body */
	unsigned cost;
	struct buf rows;
	int result;
	struct auth_changed changed;
	char changed_name[DIRECTORY_NAME_MAX + 1];
	struct err e;
};

static void
add_row(void *arg, const struct auth_row *r)
{
	struct admin_job *a = arg;

	if (a->rows.n >= PART) {
		control_more(&a->rows);
		chan_answer(a->peer, a->id, MSG_AUTH_ADMIN, &a->rows, -1);
		buf_clear(&a->rows);
		chan_peer_flush(a->peer);
		chan_peer_drain(a->peer, 4 * PART, 30000);
	}
	auth_row_put(&a->rows, r);
}

static void
work(struct job *j)
{
	struct admin_job *a = LIST_ENTRY(j, struct admin_job, job);

	pthread_mutex_lock(&change_lock);
	a->result = directory_admin(authd.changes, &a->q, a->cost, add_row, a, &a->changed,
	    a->changed_name, &a->e);
	pthread_mutex_unlock(&change_lock);
}

static void
done(struct job *j)
{
	struct admin_job *a = LIST_ENTRY(j, struct admin_job, job);

	if (a->result == 1)
		authd_tell(&a->changed);
	if (a->result < 0) {
		struct wire_error we = { .code = a->result, .text = str_c(a->e.text) };

		chan_answer_error(a->peer, a->id, MSG_AUTH_ADMIN, &we);
	} else {
		LOG_INFO("auth.admin", L_U64("op", a->q.op), L_STR("name", a->q.name));
		chan_answer(a->peer, a->id, MSG_AUTH_ADMIN, &a->rows, -1);
	}
	password_wipe(a->body.p, a->body.n);
	buf_done(&a->body);
	buf_done(&a->rows);
	chan_peer_unref(&a->peer);
	free(a);
}

static void
refuse(struct peer *p, uint64_t id, int code, const char *text)
{
	struct wire_error we = { .code = code, .text = str_c(text) };

	chan_answer_error(p, id, MSG_AUTH_ADMIN, &we);
}

void
authd_admin(struct peer *p, struct frame *f)
{
	struct admin_job *a = calloc(1, sizeof *a);

	if (!a) {
		refuse(p, f->id, -ENOMEM, "no memory");
		return;
	}
	buf_str(&a->body, f->body);
	if (a->body.over || auth_admin_get(buf_view(&a->body), &a->q)) {
		refuse(p, f->id, -EPROTO, "malformed request");
		buf_done(&a->body);
		free(a);
		return;
	}
	a->peer = chan_peer_ref(p);
	a->id = f->id;
	a->cost = service_settings(authd.service)->password_cost;
	a->job.work = work;
	a->job.done = done;
	if (authd.workers && !workers_add(authd.workers, &a->job, true))
		return;
	refuse(p, f->id, -EAGAIN, "too busy");
	chan_peer_unref(&a->peer);
	password_wipe(a->body.p, a->body.n);
	buf_done(&a->body);
	free(a);
}
