/*
 * The MTA-STS policies of domains (RFC 8461).
 *
 *	question -> entry -> TXT _mta-sts.DOMAIN -> same id as kept -> answer
 *	                                         -> new id -> https://mta-sts.DOMAIN -> keep -> answer
 *
 * A policy that was fetched holds until its max_age is over, whatever becomes of the
 * record or of the policy's server (section 5.1). What could not be fetched under an id
 * is not tried again for fetch.policy-retry (section 3.3). Past half of its life a policy
 * that was asked for is fetched again, with or without a new id, so that it does not run out while
 * somebody blocks the DNS (section 10.2).
 *
 * An entry is what is known of a domain while this process runs. One coroutine at a time
 * looks a domain up; those that ask meanwhile wait for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/dns.h"
#include "lib/client/sts.h"
#include "lib/io/co.h"
#include "lib/proc/metrics.h"
#include "mta/fetchd.h"
#include "mta/sts_cache.h"
#include "mta/workers.h"

#define ARENA_MAX (4u << 20)
#define ENTRIES_MAX 100000u
#define SAVE_MS 2000
#define TTL_MAX_MS 60000u       /* of an answer */
#define TTL_MIN_MS 1000u        /* so that a burst of mail asks once */
#define TTL_FAILED_MS 5000u     /* when the DNS gave none */
#define SWEEP_MS 60000
#define REFRESH_MIN_S 2u
#define REFRESH_MAX_S (7u * 86400)
#define REFRESHES 20u           /* begun in a sweep */

#define POLICIES(result)                                                                           \
	METRIC_COUNTER("sts_fetches_total", "result=\"" result "\"", "MTA-STS policies fetched, by result")
static struct metric fetched = POLICIES("ok");
static struct metric faults[] = {
	[STS_FAULT_FETCH] = POLICIES("fetch-error"), [STS_FAULT_INVALID] = POLICIES("invalid"),
	[STS_FAULT_WEBPKI] = POLICIES("webpki-invalid"),
};
static struct metric kept = METRIC_GAUGE("sts_policies", NULL, "MTA-STS policies that are kept");

struct entry {
	struct list waiters;        /* struct waiter */
	bool busy;
	unsigned users;             /* coroutines that hold it */
	bool asked;                 /* since the policy was fetched */
	uint64_t until_ms;          /* what is known holds until then */
	bool record;                /* there is one, with this id */
	char id[STS_ID_MAX + 1];
	uint64_t retry_ms;          /* no fetch for this id before */
	enum sts_fault fault;       /* of the last fetch */
	char why[200];
};

struct waiter {
	struct list link;
	struct co *co;
	bool woken;
};

/* A file on its way to the disk. */
struct save {
	struct job job;
	struct buf text;
	uint64_t sequence;
	int code;
};

static struct {
	struct loop *loop;
	struct workers *workers;
	struct sts_cache cache;
	struct strmap entries;
	struct timer save_timer, sweep_timer;
	bool dirty, saving;
} sts;

static uint64_t
now_s(void)
{
	return clock_real_us() / 1000000;
}

/* ---- writing down ---- */

static void save_soon(void);

static void
save_work(struct job *j)
{
	struct save *s = (struct save *)j;

	s->code = sts_cache_write(&sts.cache, buf_view(&s->text), s->sequence);
}

static void
save_done(struct job *j)
{
	struct save *s = (struct save *)j;

	if (s->code)
		LOG_ERROR("sts.not_saved", L_I64("code", -s->code));
	buf_done(&s->text);
	free(s);
	sts.saving = false;
	if (sts.dirty)
		save_soon();
}

static void
save(void *arg)
{
	struct save *s;

	(void)arg;
	if (sts.saving || !(s = calloc(1, sizeof *s)))
		return;
	sts_cache_text(&sts.cache, &s->text);
	s->sequence = sts.cache.sequence;
	s->job = (struct job){ .work = save_work, .done = save_done };
	sts.dirty = s->text.over;
	sts.saving = !s->text.over && !workers_add(sts.workers, &s->job, false);
	if (sts.saving)
		return;
	buf_done(&s->text);
	free(s);
}

static void
save_soon(void)
{
	sts.dirty = true;
	if (!sts.save_timer.pos)
		loop_timer(sts.loop, &sts.save_timer, SAVE_MS, save, NULL);
}

void
fetch_sts_stop(void)
{
	struct buf text = { 0 };

	if (!sts.dirty || sts.saving)
		return;
	sts_cache_text(&sts.cache, &text);
	if (!text.over)
		sts_cache_write(&sts.cache, buf_view(&text), sts.cache.sequence);
	buf_done(&text);
}

/* ---- the record ---- */

/* The id of the domain's record, or nothing: more than one record is as good as none
 * (section 3.1). */
static void
ask_record(struct entry *e, struct str domain, struct arena *a)
{
	struct dns_texts t = { 0 };
	struct str id, name = arena_printf(a, "_mta-sts.%.*s", STR_ARG(domain));
	size_t n = 0, at = 0;
	uint64_t ttl = TTL_FAILED_MS;

	e->record = false;
	if (!dns_txt(name, a, &t) && t.from.status <= DNS_NXDOMAIN)
		ttl = (uint64_t)t.from.ttl * 1000;
	ttl = ttl > TTL_MAX_MS ? TTL_MAX_MS : ttl < TTL_MIN_MS ? TTL_MIN_MS : ttl;
	e->until_ms = clock_ms() + ttl;
	if (t.from.status != DNS_OK)
		return;
	for (size_t i = 0; i < t.n; i++)
		if (sts_record_is(t.v[i])) {
			n++;
			at = i;
		}
	if (n != 1 || sts_record_get(t.v[at], &id)) {
		if (n)
			LOG_INFO("sts.bad_record", L_STR("domain", domain), L_U64("records", n));
		return;
	}
	e->record = true;
	if (!str_eq(str_c(e->id), id)) {
		snprintf(e->id, sizeof e->id, "%.*s", STR_ARG(id));
		e->retry_ms = 0;
		e->fault = STS_FAULT_NONE;
	}
}

/* ---- the policy ---- */

static bool
is_text(struct str type)
{
	return str_ieq(str_trim(str_cut(&type, ';')), STR("text/plain"));
}

static enum sts_fault
judge(const struct fetch_answer *v, struct arena *a, struct sts_policy *ret, struct err *e)
{
	if (v->status == FETCH_TLS) {
		err_set(e, -EPROTO, "TLS: %.*s", STR_ARG(v->why));
		return STS_FAULT_WEBPKI;
	}
	if (v->status != FETCH_OK) {
		err_set(e, -EPROTO, "%s: %.*s", fetch_status_name(v->status), STR_ARG(v->why));
		return STS_FAULT_FETCH;
	}
	if (v->http != 200) {
		err_set(e, -EPROTO, "the server answers %u", v->http);
		return STS_FAULT_FETCH;
	}
	if (!is_text(v->type)) {
		err_set(e, -EPROTO, "content type '%.*s', not text/plain", STR_ARG(str_head(v->type, 60)));
		return STS_FAULT_INVALID;
	}
	return sts_policy_get(v->body, a, ret, e) ? STS_FAULT_INVALID : STS_FAULT_NONE;
}

static void
keep(struct entry *e, struct str domain, const struct sts_policy *p)
{
	const struct sts_kept *old = sts_cache_get(&sts.cache, domain, now_s());
	bool same = old && !strcmp(old->id, e->id);

	if (sts_cache_put(&sts.cache, domain, str_c(e->id), p, now_s()))
		LOG_WARN("sts.cache_full", L_STR("domain", domain), L_U64("policies", sts.cache.domains.n));
	else
		save_soon();
	metric_set(&kept, (int64_t)sts.cache.domains.n);
	metric_add(&fetched, 1);
	LOG_INFO("sts.policy", L_STR("domain", domain), L_C("id", e->id),
	    L_C("mode", sts_mode_name(p->mode)), L_U64("hosts", p->n_mx),
	    L_U64("max_age", p->max_age), L_U64("refreshed", same));
}

static void
fetch_policy(struct entry *e, struct str domain, struct arena *a)
{
	struct fetch_request q = {
		.url = arena_printf(a, "https://mta-sts.%.*s/.well-known/mta-sts.txt", STR_ARG(domain)),
		.max_bytes = STS_POLICY_MAX,
		.timeout_ms = fetchd_settings()->fetch_policy_timeout_ms,
	};
	struct fetch_answer v = { .status = FETCH_REFUSED, .why = STR("out of memory") };
	struct sts_policy p;
	struct err err = { 0 };

	e->asked = false;
	if (q.url.p)
		fetchd_ask(&q, a, &v);
	e->fault = judge(&v, a, &p, &err);
	if (!e->fault) {
		keep(e, domain, &p);
		return;
	}
	metric_add(&faults[e->fault], 1);
	snprintf(e->why, sizeof e->why, "%.180s", err.text);
	e->retry_ms = clock_ms() + fetchd_settings()->fetch_policy_retry_ms;
	LOG_WARN("sts.fetch_failed", L_STR("domain", domain), L_C("id", e->id), L_C("why", e->why),
	    L_U64("kept", sts_cache_get(&sts.cache, domain, now_s()) != NULL));
}

/* Past half of its life, at most a week. */
static bool
wants_refresh(const struct sts_kept *k, uint64_t now)
{
	uint64_t after = k->policy.max_age / 2;

	if (after > REFRESH_MAX_S)
		after = REFRESH_MAX_S;
	if (after < REFRESH_MIN_S)
		after = REFRESH_MIN_S;
	return now >= k->fetched_s + after;
}

static void
look_up(struct entry *e, struct str domain, struct arena *a)
{
	const struct sts_kept *k;

	ask_record(e, domain, a);
	if (!e->record)
		return;
	k = sts_cache_get(&sts.cache, domain, now_s());
	if (k && !strcmp(k->id, e->id) && !wants_refresh(k, now_s()))
		return;
	if (clock_ms() >= e->retry_ms)
		fetch_policy(e, domain, a);
}

/* ---- entries ---- */

static void
forget_entries(void)
{
	struct entry *e;
	struct str domain;
	size_t pos = 0;
	uint64_t now = clock_ms();

	while ((e = strmap_next(&sts.entries, &pos, &domain))) {
		if (e->users || e->until_ms > now || e->retry_ms > now ||
		    (e->asked && sts_cache_get(&sts.cache, domain, now_s())))
			continue;
		strmap_del(&sts.entries, domain);
		free(e);
	}
}

static struct entry *
entry_of(struct str domain)
{
	struct entry *e = strmap_get(&sts.entries, domain);

	if (e)
		return e;
	if (sts.entries.n >= ENTRIES_MAX)
		forget_entries();
	if (sts.entries.n >= ENTRIES_MAX || !(e = calloc(1, sizeof *e)))
		return NULL;
	list_init(&e->waiters);
	if (strmap_set(&sts.entries, domain, e)) {
		free(e);
		return NULL;
	}
	return e;
}

static void
wait_for(struct entry *e)
{
	struct waiter w = { .co = co_self() };

	list_push(&e->waiters, &w.link);
	while (!w.woken)
		co_wait(-1);
}

static void
wake_waiters(struct entry *e)
{
	struct list *l;

	while ((l = list_pop(&e->waiters))) {
		struct waiter *w = LIST_ENTRY(l, struct waiter, link);

		w->woken = true;
		co_wake(w->co);
	}
}

/* Makes what is known of the domain as new as it must be. */
static void
learn(struct entry *e, struct str domain, struct arena *a)
{
	if (e->busy) {
		wait_for(e);
		return;
	}
	if (clock_ms() < e->until_ms)
		return;
	e->busy = true;
	look_up(e, domain, a);
	e->busy = false;
	wake_waiters(e);
}

/* ---- questions ---- */

static void
fill(struct entry *e, struct str domain, struct sts_answer *v)
{
	const struct sts_kept *k = sts_cache_get(&sts.cache, domain, now_s());
	uint64_t now = clock_ms(), left;

	*v = (struct sts_answer){ .ttl_ms = e->until_ms > now ? e->until_ms - now : 0 };
	if (e->record && e->fault) {
		v->fault = e->fault;
		v->why = str_c(e->why);
	}
	if (!k)
		return;
	e->asked = true;
	v->found = true;
	v->id = str_c(k->id);
	v->policy = k->policy;
	left = (k->fetched_s + k->policy.max_age - now_s()) * 1000;
	if (left < v->ttl_ms)
		v->ttl_ms = left;
}

void
fetch_sts_answer(struct peer *p, struct frame *f)
{
	struct arena *a = arena_new(ARENA_MAX);
	struct wire_error we = { .code = -EPROTO, .text = STR("not a domain") };
	struct sts_answer v;
	struct buf b = { 0 };
	struct str domain;
	struct entry *e = NULL;
	bool good = a && !sts_question_get(f->body, &domain);

	if (good) {
		domain = arena_lower(a, domain);
		e = domain.p ? entry_of(domain) : NULL;
		we = (struct wire_error){ .code = -ENOMEM, .text = STR("out of memory") };
	}
	if (e) {
		e->users++;
		learn(e, domain, a);
		e->users--;
		fill(e, domain, &v);
		sts_answer_put(&b, &v);
		chan_answer(p, f->id, f->type, &b, -1);
	} else {
		chan_answer_error(p, f->id, f->type, &we);
	}
	buf_done(&b);
	arena_free(&a);
}

/* ---- refreshing ---- */

static void
refresh(void *arg)
{
	struct str domain = str_c(arg);
	struct arena *a = arena_new(ARENA_MAX);
	struct entry *e = a ? entry_of(domain) : NULL;

	if (e && !e->busy) {
		e->until_ms = 0;
		e->users++;
		learn(e, domain, a);
		e->users--;
	}
	arena_free(&a);
	free(arg);
}

/* Begins with those that are due and were asked for; at most REFRESHES. */
static void
refresh_due(void)
{
	struct sts_kept *k;
	struct entry *e;
	struct str domain;
	char *due[REFRESHES];
	size_t pos = 0, n = 0;

	while (n < REFRESHES && (k = strmap_next(&sts.cache.domains, &pos, &domain))) {
		e = strmap_get(&sts.entries, domain);
		if (e && e->asked && !e->busy && clock_ms() >= e->retry_ms && wants_refresh(k, now_s()) &&
		    (due[n] = strndup(domain.p, domain.n)))
			n++;
	}
	for (size_t i = 0; i < n; i++)
		if (co_spawn(sts.loop, "sts-refresh", refresh, due[i]))
			free(due[i]);
}

static void
sweep(void *arg)
{
	uint64_t every = fetchd_settings()->fetch_policy_retry_ms;

	(void)arg;
	refresh_due();
	sts_cache_sweep(&sts.cache, now_s());
	metric_set(&kept, (int64_t)sts.cache.domains.n);
	loop_timer(sts.loop, &sts.sweep_timer, every < SWEEP_MS ? every : SWEEP_MS, sweep, NULL);
}

/* ---- beginning ---- */

int
fetch_sts_init(const struct settings *s, struct err *e)
{
	const char *dir = arena_cstr(s->arena, s->cache_dir);

	if (!dir)
		return err_set(e, -ENOMEM, "out of memory");
	return sts_cache_open(&sts.cache, dir, e);
}

int
fetch_sts_start(struct loop *l, struct err *e)
{
	sts.loop = l;
	sts.workers = workers_new(l, 1, 2, e);
	if (!sts.workers)
		return e->code;
	sts_cache_sweep(&sts.cache, now_s());
	metric_set(&kept, (int64_t)sts.cache.domains.n);
	LOG_INFO("sts.kept", L_U64("policies", sts.cache.domains.n));
	sweep(NULL);
	return 0;
}
