/*
 * What queued knows of a site, by what answers say:
 *
 *	no server could be talked to   it is dead: a pause that grows from failure to
 *	                               failure, and after it one delivery as a probe
 *	it asks us to slow down        half as many deliveries at a time, and a gap
 *	                               between two starts that doubles
 *	it talks to us                 the limit grows by one for each round of
 *	                               deliveries, the gap shrinks
 *
 * A pause ends by its timer. While a site is failing its limit is one: the probe.
 */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/client/relay.h"
#include "lib/proc/metrics.h"
#include "mta/queue_intern.h"
#include "mta/queued.h"

#define ONE 256u                /* of limit */
#define START 5u                /* deliveries at a time to a site that is new */
#define TURN 8u                 /* jobs of a tenant before the next one's */
#define GAP_MIN_MS 1000u
#define GAP_MAX_MS 300000u
#define GAP_NONE_MS 100u        /* a gap below this is none */
#define KNOWN_MIN_MS 60000u     /* a site's name holds at least so long */
#define KNOWN_MAX_MS (24u * 3600 * 1000)

static struct metric dead = METRIC_COUNTER("queue_site_failures_total", NULL,
    "Times that no server of a site could be reached");
static struct metric throttled = METRIC_COUNTER("queue_site_throttled_total", NULL,
    "Answers that asked to send more slowly");

/* us between two starts for so many a minute; 0: no limit. */
static uint32_t
interval(unsigned per_minute)
{
	return per_minute ? 60000000u / per_minute : 0;
}

void
site_configure(struct qdest *d)
{
	const struct settings *s = queued.settings;
	const struct conf_site *own = conf_site_of(s, d->name);

	d->most = own && own->concurrency ? own->concurrency : s->site_concurrency;
	d->interval_us = interval(own && own->rate ? own->rate : s->site_rate);
	if (d->limit > d->most * ONE)
		d->limit = d->most * ONE;
}

void
site_init(struct qdest *d)
{
	d->limit = START * ONE;
	site_configure(d);
}

struct qdest *
site_of_hop(struct hop *h)
{
	if (!h->dest)
		dest_move_hop(h, dest_site(h->next_hop.n ? h->next_hop : h->domain));
	return h->dest;
}

unsigned
site_limit(const struct qdest *d)
{
	return d->fails ? 1 : d->limit / ONE;
}

/* What the settings say of a tenant, looked up once for each reading of them. */
static void
tenant_configure(struct tenant *t)
{
	const struct settings *s = queued.settings;
	const struct conf_tenant *own;

	if (t->configured == queued.configured)
		return;
	own = conf_tenant_of(s, t->name);
	t->weight = own ? (uint8_t)own->weight : 1;
	t->interval_us = interval(own && own->rate ? own->rate : s->tenant_rate);
	t->configured = queued.configured;
}

unsigned
site_turn(struct tenant *t)
{
	tenant_configure(t);
	return TURN * t->weight;
}

/* Moves *next on by one interval: evenly, and no burst after a rest. */
static void
take_turn(uint64_t *next, uint64_t now, uint64_t us)
{
	*next = (*next > now ? *next : now) + us;
}

void
site_starting(struct qdest *d, struct tenant *t)
{
	uint64_t now;

	tenant_configure(t);
	if (!t->interval_us && !d->interval_us && !d->gap_ms)
		return;
	now = clock_us();
	if (t->interval_us)
		take_turn(&t->next_us, now, t->interval_us);
	if (d->gap_ms && d->gap_ms * 1000ull > d->interval_us)
		take_turn(&d->next_us, now, sched_jitter(d->gap_ms) * 1000);
	else if (d->interval_us)
		take_turn(&d->next_us, now, d->interval_us);
}

/* ---- answers ---- */

static void
set_why(struct qdest *d, const struct relay_answer *a)
{
	for (size_t i = 0; i < a->n_rcpts; i++) {
		const struct relay_result *r = &a->rcpts[i];

		if (r->outcome == RELAY_DONE)
			continue;
		reason_unref(&queued.q, &d->why);
		d->why = reason_ref(&queued.q, &(struct rcpt_result){ .smtp = r->smtp,
			.enhanced = r->enhanced, .text = r->text, .mta = r->mta });
		return;
	}
}

static void
halve(struct qdest *d)
{
	d->limit /= 2;
	if (d->limit < ONE)
		d->limit = ONE;
}

static void
fail(struct qdest *d, const struct relay_answer *a)
{
	uint64_t ms = queued.settings->retry_min_ms, max = queued.settings->site_retry_max_ms;

	if (d->paused) /* one of several that were under way */
		return;
	halve(d);
	for (unsigned i = 0; i < d->fails && ms < max; i++)
		ms *= 2;
	d->fails++;
	set_why(d, a);
	ms = sched_jitter(ms < max ? ms : max);
	metric_add(&dead, 1);
	LOG_WARN("queue.site_dead", L_STR("site", d->name), L_U64("failures", d->fails),
	    L_U64("waiting", d->waiting), L_U64("ms", ms),
	    L_STR("text", d->why ? d->why->text : STR_NULL));
	dest_pause_ms(d, ms);
}

static void
slow_down(struct qdest *d, const struct relay_answer *a)
{
	uint64_t now = clock_us();

	metric_add(&throttled, 1);
	if (d->gap_ms && d->next_us > now) /* said by one that had started before */
		return;
	halve(d);
	d->gap_ms = d->gap_ms < GAP_MIN_MS / 2 ? GAP_MIN_MS : d->gap_ms * 2;
	if (d->gap_ms > GAP_MAX_MS)
		d->gap_ms = GAP_MAX_MS;
	d->next_us = now + sched_jitter(d->gap_ms) * 1000;
	set_why(d, a);
	LOG_INFO("queue.site_throttled", L_STR("site", d->name), L_U64("gap_ms", d->gap_ms),
	    L_U64("limit", site_limit(d)), L_STR("text", d->why ? d->why->text : STR_NULL));
}

static void
grow(struct qdest *d)
{
	d->limit += ONE * ONE / d->limit;
	if (d->limit > d->most * ONE)
		d->limit = d->most * ONE;
	d->gap_ms -= d->gap_ms / 4;
	if (d->gap_ms < GAP_NONE_MS)
		d->gap_ms = 0;
}

static void
alive(struct qdest *d)
{
	if (d->fails) {
		LOG_INFO("queue.site_alive", L_STR("site", d->name), L_U64("waiting", d->waiting));
		d->fails = 0;
		dest_resume(d);
	}
}

/* DNS has named the hop's site, or another one than before. */
static void
learn(struct hop *h, struct str site, uint64_t ttl_ms)
{
	struct qdest *from = h->dest, *to;
	uint64_t now = queued_now_ms();

	if (!site.n || h->known_until_ms > now)
		return;
	if (ttl_ms < KNOWN_MIN_MS)
		ttl_ms = KNOWN_MIN_MS;
	h->known_until_ms = now + (ttl_ms < KNOWN_MAX_MS ? ttl_ms : KNOWN_MAX_MS);
	to = dest_site(site);
	if (to == from)
		return;
	LOG_DEBUG("queue.site_known", L_STR("hop", h->key), L_STR("site", site));
	if (list_empty(&to->hops) && from)
		to->limit = from->limit < to->most * ONE ? from->limit : to->most * ONE;
	dest_move_hop(h, to);
}

void
site_answered(struct qdest *d, struct hop *h, const struct relay_answer *a)
{
	if (h->dest == d)
		learn(h, a->site, a->site_ttl_ms);
	if (h->dest != d && list_empty(&d->hops))
		d = h->dest; /* the answer speaks of the site that it names */
	if (a->unreachable) {
		fail(d, a);
		return;
	}
	alive(d);
	if (a->throttled)
		slow_down(d, a);
	else
		grow(d);
}
