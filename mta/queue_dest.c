/*
 * Destinations and the lanes of tenants that lead to them. A destination takes jobs
 * from its lanes in turn (weighted round-robin), so that no tenant starves another;
 * within a lane the higher priority goes first, then the older job. What may start is
 * bounded by destination, for sites also by their limit, rate and replies
 * (queue_site.c), by the tenant's rate, and by what is under way to all sites together:
 * when that gets scarce, a tenant may have half of what the others leave.
 *
 * A destination is in `ready` when it may be able to start something; those are gone
 * through at the end of the turn. A site is known by its name; as long as that is not
 * known, the domain or next hop is a site of its own.
 */
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "mta/queue_intern.h"
#include "mta/queued.h"

#define WINDOW 1024u            /* jobs at a maild at a time */
#define WINDOW_BYTES ((size_t)32 << 20)
#define PIPES 20u
#define BOUNCES 20u
#define RELAYS 4000u            /* jobs of all sites at a time */
#define RELAY_BYTES ((size_t)128 << 20)
#define PAUSE_MIN_MS 200u
#define PAUSE_MAX_MS 30000u

/* ---- lanes ---- */

static unsigned
band(const struct qmsg *m)
{
	return m->priority > 0 ? 0 : m->priority < 0 ? 2 : 1;
}

static uint64_t
lane_key(const struct tenant *t, const struct qdest *d)
{
	return (uint64_t)t->no << 32 | d->no;
}

static struct lane *
lane_of(struct tenant *t, struct qdest *d)
{
	struct lane *l = map_get(&queued.lanes, lane_key(t, d));

	if (l)
		return l;
	l = calloc(1, sizeof *l);
	if (!l || map_set(&queued.lanes, lane_key(t, d), l))
		fatal("queue.memory", "no memory");
	l->tenant = t;
	l->d = d;
	l->turn = site_turn(t);
	for (unsigned i = 0; i < BANDS; i++)
		list_init(&l->jobs[i]);
	list_push(&d->ring, &l->ring);
	return l;
}

void
dest_enqueue(struct qjob *j, bool first)
{
	struct lane *l = lane_of(j->m->tenant, j->d);
	struct list *jobs = &l->jobs[band(j->m)];

	if (first)
		list_push_front(jobs, &j->link);
	else
		list_push(jobs, &j->link);
	l->n++;
	j->d->waiting++;
	dest_wake(j->d);
}

static void
dequeue(struct lane *l, struct qjob *j)
{
	list_remove(&j->link);
	l->d->waiting--;
	if (--l->n)
		return;
	list_remove(&l->ring);
	map_del(&queued.lanes, lane_key(l->tenant, l->d));
	free(l);
}

static struct qjob *
first_job(struct lane *l)
{
	for (unsigned i = 0; i < BANDS; i++)
		if (!list_empty(&l->jobs[i]))
			return LIST_ENTRY(l->jobs[i].next, struct qjob, link);
	return NULL;
}

static void
to_end(struct qdest *d, struct lane *l)
{
	l->turn = site_turn(l->tenant);
	list_remove(&l->ring);
	list_push(&d->ring, &l->ring);
}

/* ---- what may start ---- */

static bool
is_crowded(const struct tenant *t)
{
	unsigned others = queued.relaying - t->running;

	return queued.relaying > RELAYS / 2 && t->running > (RELAYS - others) / 2;
}

/* Whether a tenant may start one to a site; else *at is brought forward to when. */
static bool
tenant_may(const struct tenant *t, uint64_t now, uint64_t *at, bool *starved)
{
	if (t->next_us > now) {
		if (t->next_us < *at)
			*at = t->next_us;
		return false;
	}
	if (is_crowded(t)) {
		*starved = true;
		return false;
	}
	return true;
}

static void
starve(struct qdest *d)
{
	if (list_linked(&d->ready))
		list_remove(&d->ready);
	list_push(&queued.starved, &d->ready);
}

static void
on_timer(void *arg)
{
	struct qdest *d = arg;

	d->paused = false;
	dest_wake(d);
}

static void
wake_at(struct qdest *d, uint64_t now, uint64_t at)
{
	loop_timer(queued.loop, &d->timer, (at - now + 999) / 1000, on_timer, d);
}

/* The next lane of a site whose tenant may start one. */
static struct lane *
site_lane(struct qdest *d)
{
	uint64_t now = clock_us(), at = UINT64_MAX;
	bool starved = false;

	if (d->next_us > now) {
		wake_at(d, now, d->next_us);
		return NULL;
	}
	if (queued.relaying >= RELAYS || queued.relaying_bytes >= RELAY_BYTES) {
		starve(d);
		return NULL;
	}
	for (struct list *p = d->ring.next, *next; p != &d->ring; p = next) {
		struct lane *l = LIST_ENTRY(p, struct lane, ring);

		next = p->next;
		if (tenant_may(l->tenant, now, &at, &starved))
			return l;
	}
	if (starved)
		starve(d);
	else if (at != UINT64_MAX)
		wake_at(d, now, at);
	return NULL;
}

static bool
has_room(const struct qdest *d)
{
	if (d->paused || queued.stopping || list_empty(&d->ring))
		return false;
	switch (d->kind) {
	case DEST_MAILD:
		return d->running < WINDOW && d->running_bytes < WINDOW_BYTES;
	case DEST_SITE:
		return d->running < site_limit(d);
	case DEST_PIPE:
		return d->running < PIPES;
	case DEST_BOUNCE:
		return d->running < BOUNCES;
	}
	return false;
}

static struct qjob *
next_job(struct qdest *d)
{
	struct lane *l;
	struct qjob *j;

	if (!has_room(d))
		return NULL;
	l = d->kind == DEST_SITE ? site_lane(d) : LIST_ENTRY(d->ring.next, struct lane, ring);
	if (!l)
		return NULL;
	j = first_job(l);
	if (!--l->turn)
		to_end(d, l);
	dequeue(l, j);
	return j;
}

static void
start(struct qdest *d, struct qjob *j)
{
	j->running = true;
	list_push(&d->active, &j->link);
	d->running++;
	d->running_bytes += j->m->size;
	queued.running++;
	if (d->kind == DEST_SITE) {
		queued.relaying++;
		queued.relaying_bytes += j->m->size;
		j->m->tenant->running++;
		site_starting(d, j->m->tenant);
	}
	deliver_start(j);
}

void
dest_dispatch(struct qdest *d)
{
	struct qjob *j;

	while ((j = next_job(d))) {
		if (sched_startable(j))
			start(d, j);
		else
			sched_job_drop(j);
	}
}

static void
on_turn_end(void *arg)
{
	struct list *l;

	(void)arg;
	while ((l = list_pop(&queued.ready)))
		dest_dispatch(LIST_ENTRY(l, struct qdest, ready));
}

void
dest_wake(struct qdest *d)
{
	static struct turn_hook hook;

	if (list_linked(&d->ready) || d->dead)
		return;
	list_push(&queued.ready, &d->ready);
	loop_turn_hook(queued.loop, &hook, on_turn_end, NULL);
}

/* ---- the end of a job ---- */

static void
wake_starved(void)
{
	struct list *l = list_pop(&queued.starved);

	if (l)
		dest_wake(LIST_ENTRY(l, struct qdest, ready));
}

static void
free_dest(void *arg)
{
	struct qdest *d = arg;

	loop_timer_clear(queued.loop, &d->timer);
	if (list_linked(&d->ready))
		list_remove(&d->ready);
	reason_unref(&queued.q, &d->why);
	free(d);
}

/* A site that nothing leads to any more is freed when this turn is over. */
static void
maybe_free(struct qdest *d)
{
	if (d->kind != DEST_SITE || d->dead || d->running || d->waiting || !list_empty(&d->hops))
		return;
	d->dead = true;
	strmap_del(&queued.sites, d->name);
	loop_defer(queued.loop, free_dest, d);
}

void
dest_stop_running(struct qjob *j)
{
	struct qdest *d = j->d;

	if (!j->running)
		return;
	j->running = false;
	list_remove(&j->link);
	d->running--;
	d->running_bytes -= j->m->size;
	queued.running--;
	if (d->kind == DEST_SITE) {
		queued.relaying--;
		queued.relaying_bytes -= j->m->size;
		j->m->tenant->running--;
		wake_starved();
	}
	if (d->waiting)
		dest_wake(d);
	else
		maybe_free(d);
}

/* ---- pauses ---- */

void
dest_pause_ms(struct qdest *d, uint64_t ms)
{
	d->paused = true;
	d->paused_until_ms = queued_now_ms() + ms;
	loop_timer(queued.loop, &d->timer, ms, on_timer, d);
}

void
dest_pause(struct qdest *d)
{
	static const char *const names[] = { "maild", "site", "piped", "bounced" };
	uint64_t ms = PAUSE_MIN_MS;

	if (d->paused)
		return;
	for (unsigned i = 0; i < d->fails && ms < PAUSE_MAX_MS; i++)
		ms *= 2;
	d->fails++;
	LOG_WARN("queue.destination_paused", L_C("kind", names[d->kind]), L_STR("site", d->name),
	    L_U64("instance", d->instance), L_U64("ms", ms));
	dest_pause_ms(d, sched_jitter(ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS));
}

void
dest_resume(struct qdest *d)
{
	if (!d->paused)
		return;
	loop_timer_clear(queued.loop, &d->timer);
	on_timer(d);
}

void
dest_maild_up(unsigned instance)
{
	if (instance < queued.n_mailds && queued.maild[instance].paused)
		dest_pause_ms(&queued.maild[instance], PAUSE_MIN_MS);
}

/* ---- who leads where ---- */

static void
init(struct qdest *d, enum dest_kind kind, unsigned instance)
{
	d->kind = kind;
	d->instance = instance;
	d->no = ++queued.dest_no;
	list_init(&d->hops);
	list_init(&d->ring);
	list_init(&d->active);
}

struct qdest *
dest_site(struct str name)
{
	struct qdest *d = strmap_get(&queued.sites, name);
	unsigned n = chan_instances(ROLE_RELAYD);

	if (d)
		return d;
	d = calloc(1, sizeof *d + name.n);
	if (!d)
		fatal("queue.memory", "no memory");
	if (name.n)
		memcpy(d + 1, name.p, name.n);
	d->name = str_from(d + 1, name.n);
	init(d, DEST_SITE, n ? (unsigned)(str_hash(name) % n) : 0);
	site_init(d);
	if (strmap_set(&queued.sites, d->name, d))
		fatal("queue.memory", "no memory");
	return d;
}

void
dest_configure(void)
{
	struct qdest *d;
	size_t at = 0;

	while ((d = strmap_next(&queued.sites, &at, NULL))) {
		site_configure(d);
		dest_wake(d);
	}
}

struct qdest *
dest_of(const struct qrcpt *r)
{
	if (rcpt_is_owed((enum rcpt_state)r->state))
		return &queued.bounce;
	if (r->state != RCPT_WAITING)
		return NULL;
	switch ((enum rcpt_route)r->route) {
	case ROUTE_LOCAL:
		return queued.n_mailds ? &queued.maild[r->slot % queued.n_mailds] : NULL;
	case ROUTE_REMOTE:
		return site_of_hop(r->hop);
	case ROUTE_PIPE:
		return &queued.pipe;
	}
	return NULL;
}

bool
dest_wants(const struct qrcpt *r, const struct qdest *d)
{
	return (r->flags & (RCPT_COVERED | RCPT_BUSY)) == RCPT_COVERED && dest_of(r) == d;
}

/* ---- a hop whose site has become known ---- */

/* Whether the waiting job is for recipients of the hop, and for others. */
static void
job_is_for(const struct qjob *j, const struct hop *h, bool *hop, bool *others)
{
	*hop = *others = false;
	for (uint32_t i = 0; i < j->m->n_rcpts; i++) {
		const struct qrcpt *r = &j->m->rcpts[i];

		if (r->route == ROUTE_REMOTE && r->hop == h && dest_wants(r, h->dest))
			*hop = true;
		else
			*others |= dest_wants(r, j->d);
	}
}

/* Another job of the message, for what leads where the hop leads now. */
static void
copy_job(const struct qjob *j, const struct hop *h)
{
	struct qjob *copy = calloc(1, sizeof *copy);

	if (!copy)
		fatal("queue.memory", "no memory");
	*copy = (struct qjob){ .m = j->m, .d = h->dest };
	queue_pin(j->m);
	j->m->jobs++;
	dest_enqueue(copy, false);
}

static void
move_job(struct lane *l, struct qjob *j, const struct hop *h)
{
	bool ours, others;

	job_is_for(j, h, &ours, &others);
	if (ours && others) {
		copy_job(j, h);
	} else if (ours) {
		dequeue(l, j);
		j->d = h->dest;
		dest_enqueue(j, false);
	}
}

/* Of a job that runs, what no server has been asked for yet (its message is being read)
 * goes by another one. */
static void
move_active(const struct qdest *from, const struct hop *h)
{
	bool ours, others;
	struct qjob *j;

	LIST_FOREACH(j, &from->active, struct qjob, link) {
		job_is_for(j, h, &ours, &others);
		if (ours)
			copy_job(j, h);
	}
}

/* The lane may be freed by its last job. */
static void
move_lane(struct lane *l, const struct hop *h)
{
	unsigned left = l->n;

	for (unsigned i = 0; i < BANDS && left; i++) {
		struct qjob *j, *next;

		LIST_FOREACH_SAFE(j, next, &l->jobs[i], struct qjob, link) {
			left--;
			move_job(l, j, h);
			if (!left)
				return;
		}
	}
}

void
dest_move_hop(struct hop *h, struct qdest *to)
{
	struct qdest *from = h->dest;
	struct lane *l, *next;

	if (from == to)
		return;
	if (from)
		list_remove(&h->of_dest);
	h->dest = to;
	if (!to) {
		maybe_free(from);
		return;
	}
	list_push(&to->hops, &h->of_dest);
	if (!from)
		return;
	LIST_FOREACH_SAFE(l, next, &from->ring, struct lane, ring)
		move_lane(l, h);
	move_active(from, h);
	maybe_free(from);
}

static void
on_hop_free(void *arg, struct hop *h)
{
	(void)arg;
	if (h->dest)
		dest_move_hop(h, NULL);
}

void
dest_init(void)
{
	queued.n_mailds = chan_instances(ROLE_MAILD);
	if (queued.n_mailds > MAILDS_MAX)
		queued.n_mailds = MAILDS_MAX;
	for (unsigned i = 0; i < queued.n_mailds; i++)
		init(&queued.maild[i], DEST_MAILD, i);
	init(&queued.pipe, DEST_PIPE, 0);
	init(&queued.bounce, DEST_BOUNCE, 0);
	list_init(&queued.ready);
	list_init(&queued.starved);
	queued.q.on_hop_free = on_hop_free;
}
