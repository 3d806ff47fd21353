/*
 * One table of tabled: threads that each have a connection, the questions that wait for
 * them, and what is known of the server.
 *
 * Threads start when questions wait and none is free, up to the table's `connections`.
 * A question has one deadline from its arrival, whatever it waits for. A connection that
 * broke since its last use is made anew and asked again, once: a look-up changes nothing.
 *
 * When no server can be reached the table is down: until the next try (BACKOFF_*) every
 * question is answered at once, by a failure. Down and up again are logged once each.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/proc/metrics.h"
#include "mta/tabled.h"

#define WAITING_MAX 4096
#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 30000
#define STUCK_MS 10000     /* behind the deadline: the library does not come back */
#define SAY_AGAIN_MS 60000 /* between two log lines about refused questions */
#define IDLE_S 60          /* a thread without work ends its connection, and itself */

#define ASKED(how) METRIC_COUNTER("table_questions_total", "result=\"" how "\"", "Questions to servers by result")
static struct metric found_total = ASKED("found"), missing_total = ASKED("missing"),
    failed_total = ASKED("failed");
static struct metric seconds = METRIC_HISTOGRAM("table_seconds", NULL, "Time per question");
static struct metric down_now = METRIC_GAUGE("table_down", NULL, "Tables whose servers cannot be reached");
static struct metric connections = METRIC_GAUGE("table_connections", NULL, "Connections to servers of tables");

struct question {
	struct list link;
	struct peer *peer;
	uint64_t id, began_us, until_ms;
	uint16_t type;
	struct str key;
	char bytes[TABLE_ASK_MAX];
};

struct worker {
	struct list link;
	struct pool *pool;
	void *conn;
	uint64_t until_ms;         /* of the question that is being asked; 0: none */
};

struct pool {
	const struct conf_table *conf;
	const struct table_driver *driver;
	struct table_query query;
	struct metric *m_down;

	pthread_mutex_t lock;      /* of all below */
	pthread_cond_t wake;
	struct list questions;
	struct list workers;
	unsigned n_waiting, n_workers, n_free;
	bool retired;
	bool down;
	uint64_t retry_ms, backoff_ms, said_ms;
	size_t server;             /* that answered last */
	char why[sizeof((struct err *)0)->text];
};

int
table_wait(int fd, short events, uint64_t until_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now = clock_ms();
	int r;

	do
		r = now < until_ms ? poll(&p, 1, (int)(until_ms - now)) : 0;
	while (r < 0 && errno == EINTR && (now = clock_ms()));
	return r > 0 ? 0 : -ETIMEDOUT;
}

/* ---- answers ---- */

static void
question_free(struct question *q)
{
	chan_peer_flush(q->peer);
	chan_peer_unref(&q->peer);
	free(q);
}

static void
answer_failed(struct question *q, int code, const char *why)
{
	struct wire_error e = { .code = code, .smtp = 451, .enhanced = STR("4.3.0"), .text = str_c(why) };

	metric_add(&failed_total, 1);
	chan_answer_error(q->peer, q->id, q->type, &e);
	question_free(q);
}

static void
answer_values(struct question *q, const struct table_values *v)
{
	struct buf b = { .max = WIRE_MAX - WIRE_HEAD };

	for (size_t i = 0; i < v->n; i++) {
		size_t from = i ? v->ends[i - 1] : 0;
		struct str one = str_from(v->bytes.p + from, v->ends[i] - from);

		table_answer_put(&b, &(struct table_answer){ &one, 1 });
	}
	metric_add(v->n ? &found_total : &missing_total, 1);
	metric_observe_us(&seconds, clock_us() - q->began_us);
	chan_answer(q->peer, q->id, q->type, &b, -1);
	buf_done(&b);
	question_free(q);
}

/* ---- the state of the server ---- */

/* Under the lock. */
static void
set_down(struct pool *p, const char *why)
{
	uint64_t now = clock_ms();

	p->backoff_ms = !p->backoff_ms ? BACKOFF_FIRST_MS :
	    p->backoff_ms * 2 < BACKOFF_MAX_MS ? p->backoff_ms * 2 : BACKOFF_MAX_MS;
	p->retry_ms = now + p->backoff_ms;
	snprintf(p->why, sizeof p->why, "%s", why);
	if (p->down)
		return;
	p->down = true;
	metric_add(&down_now, 1);
	LOG_ERROR("table.down", L_STR("table", p->conf->name), L_C("why", why));
}

static void
set_up(struct pool *p)
{
	p->backoff_ms = 0;
	if (!p->down)
		return;
	p->down = false;
	metric_add(&down_now, (uint64_t)-1);
	LOG_INFO("table.up", L_STR("table", p->conf->name));
}

static void
say_refused(struct pool *p, const struct err *e)
{
	uint64_t now = clock_ms();

	pthread_mutex_lock(&p->lock);
	if (!p->said_ms || now - p->said_ms >= SAY_AGAIN_MS) {
		p->said_ms = now;
		LOG_ERROR("table.refused", L_STR("table", p->conf->name), L_C("why", e->text));
	}
	pthread_mutex_unlock(&p->lock);
}

/* ---- connections ---- */

static void
drop(struct worker *w)
{
	if (!w->conn)
		return;
	w->pool->driver->close(w->conn);
	w->conn = NULL;
	metric_add(&connections, (uint64_t)-1);
}

static int
connect_one(struct worker *w, size_t i, uint64_t until_ms, struct err *e)
{
	const struct conf_table *t = w->pool->conf;
	const struct table_driver *d = w->pool->driver;
	struct table_server s;
	int r = table_server_parse(t->servers[i], d->port, d->tls_port, t->tls, &s);

	if (r)
		return err_set(e, r, "%.*s is not a server", STR_ARG(t->servers[i]));
	r = d->connect(t, &s, until_ms, &w->conn, e);
	return r ? err_prefix(e, "%.*s: ", STR_ARG(t->servers[i])) : 0;
}

/* Any server, the one that answered last first; each gets its share of the time. */
static int
connect_any(struct worker *w, uint64_t until_ms, struct err *e)
{
	struct pool *p = w->pool;
	size_t n = p->conf->n_servers, first;
	int r = -ENOTCONN;

	pthread_mutex_lock(&p->lock);
	first = p->server;
	if (p->down && clock_ms() < p->retry_ms) {
		r = err_set(e, -EHOSTDOWN, "%s", p->why);
		n = 0;
	} else if (p->down) {
		p->retry_ms = clock_ms() + p->backoff_ms; /* the others wait for this try */
	}
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < n && r; i++) {
		uint64_t now = clock_ms(), left = until_ms > now ? until_ms - now : 0;

		r = connect_one(w, (first + i) % n, now + left / (n - i), e);
		if (!r)
			first = (first + i) % n;
	}
	pthread_mutex_lock(&p->lock);
	p->server = first;
	if (!r) {
		metric_add(&connections, 1);
		set_up(p);
	} else if (r != -EHOSTDOWN) {
		set_down(p, e->text);
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

/* ---- one question ---- */

static int
ask_once(struct worker *w, struct question *q, struct table_values *v, struct err *e)
{
	ptrdiff_t at = str_rchr(q->key, '@');
	struct str parts[PARTS] = { q->key, at < 0 ? q->key : str_head(q->key, (size_t)at),
		at < 0 ? STR("") : str_skip(q->key, (size_t)at + 1) };
	struct pool *p = w->pool;
	int r;

	if ((p->query.wants_domain && at <= 0) || !utf8_valid(q->key) || ascii_has_control(q->key))
		return 0; /* no server has such a key */
	r = w->conn ? 0 : connect_any(w, q->until_ms, e);
	if (!r)
		r = p->driver->find(w->conn, p->conf, &p->query, parts, q->until_ms, v, e);
	return r;
}

static void
values_done(struct table_values *v)
{
	buf_done(&v->bytes);
	free(v->ends);
	*v = (struct table_values){ .max = v->max };
}

static void
ask(struct worker *w, struct question *q)
{
	struct table_values v = { .max = w->pool->conf->result_limit };
	struct err e = { 0 };
	bool old = w->conn;
	int r = ask_once(w, q, &v, &e);

	if (r && w->conn && !w->pool->driver->usable(w->conn))
		drop(w);
	if (r && old && !w->conn && r != -EMSGSIZE && r != -ETIMEDOUT) {
		values_done(&v);
		r = ask_once(w, q, &v, &e);
		if (r && w->conn && !w->pool->driver->usable(w->conn))
			drop(w);
	}
	if (r && r != -EHOSTDOWN)
		say_refused(w->pool, &e);
	if (r)
		answer_failed(q, r, e.text);
	else
		answer_values(q, &v);
	values_done(&v);
}

/* ---- threads ---- */

/* Under the lock. A question, or NULL: the thread is to end. */
static struct question *
next_question(struct pool *p)
{
	struct timespec until;
	struct list *l;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_S;
	p->n_free++;
	while (!(l = list_pop(&p->questions)) && !p->retired && !r)
		r = pthread_cond_timedwait(&p->wake, &p->lock, &until);
	p->n_free--;
	if (l)
		p->n_waiting--;
	return l ? LIST_ENTRY(l, struct question, link) : NULL;
}

static void
pool_free(struct pool *p)
{
	if (p->down)
		metric_add(&down_now, (uint64_t)-1);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->wake);
	table_query_done(&p->query);
	free(p);
}

static void *
run(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	struct question *q;
	bool last;

	pthread_mutex_lock(&p->lock);
	while ((q = next_question(p))) {
		w->until_ms = q->until_ms;
		pthread_mutex_unlock(&p->lock);
		if (clock_ms() >= q->until_ms)
			answer_failed(q, -ETIMEDOUT, "no answer in time");
		else
			ask(w, q);
		pthread_mutex_lock(&p->lock);
		w->until_ms = 0;
	}
	list_remove(&w->link);
	p->n_workers--;
	last = p->retired && !p->n_workers;
	pthread_mutex_unlock(&p->lock);
	drop(w);
	free(w);
	log_flush();
	if (last)
		pool_free(p);
	return NULL;
}

/* Under the lock. Threads take no signals but the sandbox's. */
static void
start_worker(struct pool *p)
{
	struct worker *w = calloc(1, sizeof *w);
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t id;
	int r;

	if (!w)
		return;
	w->pool = p;
	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&id, &attr, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r) {
		free(w);
		return;
	}
	list_push(&p->workers, &w->link);
	p->n_workers++;
}

/* ---- the loop's side ---- */

static int
pool_query(struct pool *p, struct err *e)
{
	struct buf b = { .max = 65536 };
	struct str nothing[PARTS] = { STR("x"), STR("x"), STR("x") };
	int r;

	if (p->conf->type != CONF_TABLE_LDAP)
		return table_query_make(p->conf->query, p->driver->style, &p->query, e);
	p->query.wants_domain = table_filter_wants_domain(p->conf->query);
	r = table_filter_put(&b, p->conf->query, nothing);
	buf_done(&b);
	return r ? err_set(e, r, "the filter has a %% that stands for nothing") : 0;
}

struct pool *
pool_new(const struct conf_table *t, const struct table_driver *d, struct err *e)
{
	struct pool *p = calloc(1, sizeof *p);
	pthread_condattr_t attr;

	if (!p) {
		err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	p->conf = t;
	p->driver = d;
	if (pool_query(p, e)) {
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	list_init(&p->questions);
	list_init(&p->workers);
	return p;
}

void
pool_retire(struct pool **at)
{
	struct pool *p = *at;
	bool last;

	*at = NULL;
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->retired = true;
	last = !p->n_workers;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	if (last)
		pool_free(p);
}

void
pool_ask(struct pool *p, struct peer *from, const struct frame *f, struct str key)
{
	struct question *q = calloc(1, sizeof *q);
	bool full;

	if (!q)
		return; /* the caller's own deadline answers */
	q->peer = chan_peer_ref(from);
	q->id = f->id;
	q->type = f->type;
	q->began_us = clock_us();
	q->until_ms = clock_ms() + p->conf->timeout_ms;
	memcpy(q->bytes, key.p, key.n);
	q->key = str_from(q->bytes, key.n);
	pthread_mutex_lock(&p->lock);
	if (p->n_waiting >= p->n_free && p->n_workers < p->conf->connections)
		start_worker(p);
	full = p->n_waiting >= WAITING_MAX || !p->n_workers;
	if (!full) {
		list_push(&p->questions, &q->link);
		p->n_waiting++;
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->lock);
	if (full)
		answer_failed(q, -EAGAIN, "too many questions wait");
}

void
pool_watch(struct pool *p)
{
	uint64_t now = clock_ms();
	struct question *q, *next;
	struct worker *w;
	struct list late;

	list_init(&late);
	pthread_mutex_lock(&p->lock);
	LIST_FOREACH(w, &p->workers, struct worker, link)
		if (w->until_ms && now > w->until_ms + STUCK_MS)
			fatal("table.stuck", "the library of table %.*s does not come back",
			    STR_ARG(p->conf->name));
	LIST_FOREACH_SAFE(q, next, &p->questions, struct question, link) {
		if (now < q->until_ms)
			break;
		list_remove(&q->link);
		list_push(&late, &q->link);
		p->n_waiting--;
	}
	pthread_mutex_unlock(&p->lock);
	LIST_FOREACH_SAFE(q, next, &late, struct question, link)
		answer_failed(q, -ETIMEDOUT, "no answer in time");
}

bool
pool_is_down(struct pool *p)
{
	bool down;

	pthread_mutex_lock(&p->lock);
	down = p->down;
	pthread_mutex_unlock(&p->lock);
	return down;
}
